"""The command line: all commands, and the one place that turns an error into a message and an exit code."""

# ruff: noqa: PLC0415 -- each command imports what it needs, so that `slipway --help` and `slipway env` start at once.

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from slipway.process import collect_garbage_rarely, require_own_packages

require_own_packages()  # before the first import of a package that PYTHONPATH may replace

import typer  # noqa: E402
from typer.core import TyperCommand, TyperGroup  # noqa: E402
from typer.models import CommandFunctionType  # noqa: E402

from slipway.errors import ExitCode, SlipwayError  # noqa: E402


def _flags_without_values(parameters: list[Any]) -> list[Any]:
    """The same parameters; flags that typer adds (`--help`, `--install-completion`) show no `<bool>` in the help."""
    for each in parameters:
        if getattr(each, "is_flag", False) and each.metavar is None:
            each.metavar = ""
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _flags_without_values(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _flags_without_values(super().get_params(ctx))


class _Commands(typer.Typer):
    """An app whose groups and commands use these classes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        return super().command(name, cls=_Command, **options)


app = _Commands(
    name="slipway",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _flag(*names: str, help: str, **more: Any) -> Any:
    """An option without a value: its help shows no `<bool>` beside it."""
    return typer.Option(*names, help=help, metavar="", **more)


lab_app = _Commands(
    help="The lab: a one-node Kubernetes, a registry and BuildKit on this machine.", no_args_is_help=True
)
app.add_typer(lab_app, name="lab")


def _environments(incomplete: str) -> list[str]:
    """For shell completion: the matching environments of the current project."""
    from slipway.project import find

    project = find(Path.cwd())
    return [name for name in project.environments() if name.startswith(incomplete)] if project else []


StackOption = Annotated[
    str,
    typer.Option(
        "--stack",
        "-s",
        metavar="ENV",
        help="The environment: a Pulumi.ENV.yaml.",
        autocompletion=_environments,
    ),
]
JsonOption = Annotated[bool, _flag("--json", help="Print JSON.")]


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"slipway {version('slipway')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[bool, _flag("--version", help="Print the version.", is_eager=True, callback=_print_version)] = False,
) -> None:
    """Build, test, package, deploy and check microservices on Kubernetes with Pulumi."""


@app.command()
def env(json_output: JsonOption = False) -> None:
    """Print the exports a shell needs: eval "$(slipway env)"."""
    from slipway.cli.variables import env as command

    raise typer.Exit(command(json_output=json_output))


@app.command()
def up(
    *,
    stack: StackOption,
    yes: Annotated[bool, _flag("--yes", "-y", help="Do not ask before updating.")] = False,
    approved: Annotated[
        Path | None,
        typer.Option(
            "--approved", metavar="FILE", help="Do not ask: update only if nothing has changed since this approval."
        ),
    ] = None,
    no_rollback: Annotated[bool, _flag("--no-rollback", help="Keep a failed update as it is, for debugging.")] = False,
    allow_dirty: Annotated[
        bool, _flag("--allow-dirty", help="Update production from uncommitted changes; the history records it.")
    ] = False,
    refresh: Annotated[
        bool, _flag("--refresh", help="Read the cluster first, and revert changes that were made by hand.")
    ] = False,
    force: Annotated[
        bool,
        _flag(
            "--force",
            help="Run the engine even if nothing has changed since the last update, and run migrations again.",
        ),
    ] = False,
    like: Annotated[
        str,
        typer.Option(
            "--like",
            metavar="ENV",
            help="Make a temporary environment with the settings of this one, or write its settings again.",
            autocompletion=_environments,
        ),
    ] = "",
    expires: Annotated[
        str,
        typer.Option(
            "--expires",
            metavar="TIME",
            help="When `slipway reap` may delete a temporary environment: after 90m, 12h, 3d, 2w.",
        ),
    ] = "",
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown", metavar="FILE", help="Write the addresses of a temporary environment, for `slipway comment`."
        ),
    ] = None,
) -> None:
    """Preview, then build, test, deploy and check every service of an environment."""
    from slipway.cli.up import UpOptions
    from slipway.cli.up import up as command
    from slipway.environments.creation import TemporaryRequest

    options = UpOptions(
        yes,
        approved,
        rollback=not no_rollback,
        allow_dirty=allow_dirty,
        refresh=refresh,
        force=force,
        temporary=TemporaryRequest(like, expires) if like or expires else None,
        markdown=markdown,
    )
    raise typer.Exit(command(name=stack, options=options))


@app.command()
def down(
    *,
    stack: StackOption,
    yes: Annotated[bool, _flag("--yes", "-y", help="Do not ask before deleting.")] = False,
    committed: Annotated[
        bool, _flag("--committed", help="Delete an environment even if its settings are committed; the settings stay.")
    ] = False,
    if_exists: Annotated[bool, _flag("--if-exists", help="Succeed if the environment does not exist.")] = False,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown", metavar="FILE", help="Write that the environment is deleted, for `slipway comment`."
        ),
    ] = None,
) -> None:
    """Delete an environment: its objects and namespace, its stack, history and generated settings."""
    from slipway.cli.down import DownOptions
    from slipway.cli.down import down as command

    options = DownOptions(yes, committed, if_exists, markdown)
    raise typer.Exit(command(name=stack, options=options))


@app.command()
def reap(
    *,
    preview: Annotated[bool, _flag("--preview", help="List the environments without deleting them.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Take down every expired temporary environment, but never one that the repository declares."""
    from slipway.cli.down import reap as command

    raise typer.Exit(command(preview=preview, json_output=json_output))


@app.command()
def rollback(
    *,
    stack: StackOption,
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", help="The update to go back to; the last good one by default.")
    ] = None,
    service: Annotated[
        list[str] | None, typer.Option("--service", metavar="NAME", help="Only this service; can be repeated.")
    ] = None,
    preview: Annotated[bool, _flag("--preview", help="Show the rollback without doing it.")] = False,
    yes: Annotated[bool, _flag("--yes", "-y", help="Do not ask before rolling back.")] = False,
    keep_secrets: Annotated[
        bool, _flag("--keep-secrets", help="Keep the present Secrets, for example after they were rotated.")
    ] = False,
    include_stateful: Annotated[
        bool,
        _flag("--include-stateful", help="Also delete or replace objects that hold data, and their data with them."),
    ] = False,
    break_glass: Annotated[
        str,
        typer.Option(
            "--break-glass", metavar="REASON", help="Override today's policies; the history records the reason."
        ),
    ] = "",
) -> None:
    """Roll an environment back to exactly a recorded state, and verify it."""
    from slipway.cli.rollback import rollback as command
    from slipway.rollback.run import RollbackOptions

    options = RollbackOptions(tuple(service or ()), keep_secrets, include_stateful, break_glass.strip())
    raise typer.Exit(command(name=stack, to=to, options=options, preview=preview, yes=yes))


@app.command()
def promote(
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="ENV",
            help="The environment whose verified digests are promoted.",
            autocompletion=_environments,
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--to", metavar="ENV", help="The environment whose settings get the digests.", autocompletion=_environments
        ),
    ],
    service: Annotated[
        list[str] | None, typer.Option("--service", metavar="NAME", help="Only this service; can be repeated.")
    ] = None,
    to_update: Annotated[
        int | None,
        typer.Option("--to-update", metavar="N", help="The update to promote; the last verified one by default."),
    ] = None,
    pull_request: Annotated[
        bool,
        _flag("--pull-request", help="Open a pull request on GitHub, with a preview; do not change the local file."),
    ] = False,
) -> None:
    """Write the digests that one environment has verified into the settings of another, to be committed."""
    from slipway.cli.promote import PromoteOptions
    from slipway.cli.promote import promote as command

    options = PromoteOptions(tuple(service or ()), to_update, pull_request)
    raise typer.Exit(command(source=source, target=target, options=options))


@app.command()
def preview(
    stack: StackOption,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write the preview for a pull request, also if it fails."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the preview as JSON.")] = None,
    approval: Annotated[
        Path | None, typer.Option("--approval", metavar="FILE", help="Write an approval for `slipway up --approved`.")
    ] = None,
    drift: Annotated[bool, _flag("--drift", help="Also show where the cluster differs from the state.")] = False,
) -> None:
    """Build and test what changed, evaluate the policies, and show what an update would do."""
    from slipway.cli.preview import Files
    from slipway.cli.preview import preview as command

    raise typer.Exit(command(stack=stack, files=Files(markdown, json_file, approval), drift=drift))


@app.command()
def history(
    stack: StackOption,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="The number of updates to show.")] = 20,
    json_output: JsonOption = False,
) -> None:
    """Show the recorded updates of an environment, newest first: author, commit and changed services."""
    from slipway.cli.history import history as command

    raise typer.Exit(command(name=stack, limit=limit, json_output=json_output))


@app.command()
def where(
    service: Annotated[str | None, typer.Argument(metavar="SERVICE", help="Only this service.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Show which image of each service runs in each environment, since when, and by which commits one is ahead."""
    from slipway.cli.promote import where as command

    raise typer.Exit(command(service=service, json_output=json_output))


@app.command()
def diff(
    stack: StackOption,
    old: Annotated[int, typer.Argument(metavar="A", help="The number of an update, as `slipway history` shows it.")],
    new: Annotated[
        int | None, typer.Argument(metavar="B", help="The number of another update; the present state by default.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Show what changed between two recorded states, service by service; secrets are masked."""
    from slipway.cli.diff import diff as command

    raise typer.Exit(command(name=stack, old=old, new=new, json_output=json_output))


@app.command()
def verify(stack: StackOption, json_output: JsonOption = False) -> None:
    """Show whether every service now runs what the state says, and meets its checks."""
    from slipway.cli.diff import verify as command

    raise typer.Exit(command(name=stack, json_output=json_output))


@app.command()
def drift(stack: StackOption, json_output: JsonOption = False) -> None:
    """Show where the cluster differs from the state: changed by hand, deleted or left over; exits with 6 if it does."""
    from slipway.cli.diff import drift as command

    raise typer.Exit(command(name=stack, json_output=json_output))


@app.command()
def comment(
    repo: Annotated[str, typer.Option("--repo", metavar="OWNER/NAME", help="The repository on GitHub.")],
    pr: Annotated[int, typer.Option("--pr", metavar="N", help="The pull request's number.")],
    file: Annotated[
        Path, typer.Option("--file", metavar="FILE", help="The file that `slipway preview --markdown` wrote.")
    ],
) -> None:
    """Post a preview on a pull request, or update the one that is already there."""
    from slipway.cli.comment import comment as command

    raise typer.Exit(command(repo=repo, pr=pr, file=file))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The service's name, a DNS label like `parcel-service`.")],
    template: Annotated[
        str,
        typer.Option(
            "--template",
            help="The kind of service: python, go, node, java or static for HTTP; worker or cron, in Python.",
        ),
    ] = "python",
    port: Annotated[
        int | None, typer.Option("--port", help="The port that its container listens on; 8080 by default.")
    ] = None,
) -> None:
    """Make a working service under services/."""
    from slipway.cli.new import new as command
    from slipway.cli.new import template_of
    from slipway.project import require

    folder = require(Path.cwd()).folder
    raise typer.Exit(command(name, folder, template=template_of(template), port=port))


@app.command()
def doctor(json_output: JsonOption = False) -> None:
    """Show every part that the project needs: where it is, its version, and what to do if it is missing."""
    from slipway.cli.doctor import doctor as command

    raise typer.Exit(command(json_output))


@lab_app.command("up")
def lab_up(
    if_needed: Annotated[
        bool, _flag("--if-needed", help="Only the toolchain, if KUBECONFIG and a registry of your own are set.")
    ] = False,
) -> None:
    """Start the lab, and install its toolchain if that is missing."""
    from slipway.cli import lab
    from slipway.progress import Progress
    from slipway.stack import brings_own_cluster, make_lab_stacks

    progress = Progress()
    if if_needed and brings_own_cluster():
        progress.note("KUBECONFIG and a registry of your own are set: the lab is not used.")
        raise typer.Exit(lab.install(progress))
    code = lab.up(progress)
    make_lab_stacks(progress.note)
    raise typer.Exit(code)


@lab_app.command("down")
def lab_down(
    purge: Annotated[bool, _flag("--purge", help="Also remove its data, except Pulumi's history.")] = False,
) -> None:
    """Stop the lab; no process, mount, network interface or firewall rule is left."""
    from slipway.cli import lab

    raise typer.Exit(lab.down(purge=purge))


@lab_app.command("status")
def lab_status(json_output: JsonOption = False) -> None:
    """Show each process of the lab, its health and its log."""
    from slipway.cli import lab

    raise typer.Exit(lab.status(json_output))


@lab_app.command("databases")
def lab_databases(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="The environment.", autocompletion=_environments)],
    drop: Annotated[bool, _flag("--drop", help="Delete these databases and their data.")] = False,
) -> None:
    """Create an environment's databases on the lab's PostgreSQL, as its first update does."""
    from slipway.cli import lab

    raise typer.Exit(lab.databases(environment, drop=drop))


@lab_app.command("toolchain")
def lab_toolchain() -> None:
    """Install the pinned engine, its plugins and kubectl: all you need besides a cluster and registry of your own."""
    from slipway.cli import lab

    raise typer.Exit(lab.install())


def main() -> None:
    """Run the command line and exit with the code that `slipway.errors.ExitCode` documents."""
    from slipway.cli.output import lasting_output
    from slipway.cli.variables import correct_variables

    collect_garbage_rarely()
    try:
        correct_variables(os.environ)
    except SlipwayError as error:
        from slipway.errors import report

        sys.exit(report(error))
    with lasting_output(sys.argv[1:]) as output, _interruptible() as interrupted:
        try:
            app()
            code: object = 0
        except SlipwayError as error:
            from slipway.errors import report

            code = report(error)
        except SystemExit as end:
            code = end.code
        except Exception as error:  # noqa: BLE001 -- the last line of defence: a defect must not look like a crash
            from slipway.errors import report_unexpected

            code = report_unexpected(error)
        number = code if isinstance(code, int) else 0 if code is None else 1
        if interrupted and number == ExitCode.FAILED:  # `Aborted.`
            number = ExitCode.INTERRUPTED
        number = output.end(number)
    sys.exit(number)


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Make SIGTERM, and SIGHUP of a closed terminal, interrupt as Ctrl-C does; yields the signals received.

    A process that ignores SIGHUP, under `nohup`, keeps ignoring it.
    """
    came: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
