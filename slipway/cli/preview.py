"""`slipway preview`: builds and unit-tests what changed, evaluates the policies, and says what an update would do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from slipway import project as projects
from slipway.deploy import approval
from slipway.deploy.approval import Approval
from slipway.deploy.preparation import ensure_databases
from slipway.deploy.preview import Preview, policy_pack
from slipway.deploy.summary import PreviewResult
from slipway.deploy.work_tree import links
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.render.json_summary import to_json
from slipway.render.markdown import render
from slipway.render.terminal import show
from slipway.stack import open_stack

EXIT_CODES = {
    PreviewResult.SUCCEEDED: ExitCode.DONE,
    PreviewResult.REFUSED: ExitCode.POLICY,
    PreviewResult.INTERRUPTED: ExitCode.INTERRUPTED,
}


@dataclass(frozen=True)
class Files:
    """Where to write the summary, also of a failed preview, and the approval, only if the preview succeeds."""

    markdown: Path | None = None
    json: Path | None = None
    approval: Path | None = None


def preview(*, stack: str, files: Files, drift: bool) -> int:
    """Preview `stack`, print the summary, and write the files; returns the exit code."""
    for file in filter(None, (files.markdown, files.json, files.approval)):
        _clear(file)
    project = projects.require(Path.cwd())
    project.require_environment(stack)
    attempt = Preview(project, stack, drift)
    approved: Approval | None = None
    error: SlipwayError | None = None
    try:
        policy_pack(project)
        opened = open_stack(stack)
        opened.stacks.ensure(opened.name, attempt.progress.note)
        ensure_databases(opened, attempt.progress.note)
        approved = approval.take(opened) if files.approval else None
        attempt.run(opened)
    except SlipwayError as raised:  # the summary has it, with all that the preview has found before
        error = raised
    summary = attempt.summary(error)
    if files.markdown:
        _write(files.markdown, render(summary, links(os.environ, summary.commits)))
    if files.json:
        _write(files.json, to_json(summary))
    if files.approval and approved and summary.result is PreviewResult.SUCCEEDED:
        _write(files.approval, approval.to_text(approved, project.name, stack))
    show(summary, Console(highlight=False))
    if summary.result is PreviewResult.SUCCEEDED and summary.drift:
        return ExitCode.DRIFT
    return EXIT_CODES.get(summary.result, error.code if error else ExitCode.FAILED)


def _clear(file: Path) -> None:
    """Remove the file of an earlier preview: it must not look like this one if this one cannot be written.

    A link, a pipe or a device such as /dev/stdout is not removed.
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
