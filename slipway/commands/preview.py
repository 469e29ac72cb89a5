"""`slipway preview`: builds and unit-tests what changed, asks the policies, and says what an update would do."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from slipway import project as projects
from slipway.changes.commits import links
from slipway.changes.json_summary import to_json
from slipway.changes.markdown import render
from slipway.changes.summary import Result, Summary
from slipway.changes.terminal import show
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.gate.preview import Preview, policy_pack
from slipway.session import open_session

EXIT_CODES = {
    Result.SUCCEEDED: ExitCode.DONE,
    Result.REFUSED: ExitCode.POLICY,
    Result.INTERRUPTED: ExitCode.INTERRUPTED,
}


def preview(*, stack: str, markdown: Path | None, json_file: Path | None, drift: bool) -> int:
    """Preview `stack`, print the summary, and write it to the files, also when the preview fails; the exit code."""
    for file in filter(None, (markdown, json_file)):
        _clear(file)
    project = projects.require(Path.cwd())
    project.require_environment(stack)
    attempt = Preview(project, stack, drift)
    error = _attempt(attempt)
    summary = attempt.summary(error)
    if markdown:
        _write(markdown, render(summary, links(os.environ, summary.commits)))
    if json_file:
        _write(json_file, to_json(summary))
    show(summary, Console(highlight=False))
    return _exit_code(summary, error)


def _exit_code(summary: Summary, error: SlipwayError | None) -> ExitCode:
    if summary.result is Result.SUCCEEDED and summary.drift:
        return ExitCode.DRIFT
    return EXIT_CODES.get(summary.result, error.code if error else ExitCode.FAILED)


def _attempt(preview: Preview) -> SlipwayError | None:
    """Why the preview did not come to its end; `None` if it did, whatever it found."""
    try:
        policy_pack(preview.project)
        session = open_session(preview.stack)
        session.stacks.ensure(preview.stack, preview.progress.note)
        preview.run(session)
    except SlipwayError as error:
        return error
    return None


def _clear(file: Path) -> None:
    """Remove what an earlier preview wrote: a preview that cannot be written must not look like that one.

    A link, a pipe or a device such as /dev/stdout is not ours to remove.
    """
    try:
        if file.is_fifo():
            return
        if file.is_symlink() or file.is_char_device():
            file.write_text("")
            return
        file.unlink(missing_ok=True)
        file.touch()
        file.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {error.strerror}.", next_step="Name a file in a folder that exists."
        ) from error


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
