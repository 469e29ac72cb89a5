"""Turns failures of the engine into errors that the user can act on. Pure: text and events in, error out."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slipway.engine.events import STACK_TYPE, Diagnostic, Event, Failed, Finished, Started, Urn
from slipway.engine.messages import CHECKS_FAILED, CONFIGURATION_ERROR, DIAGNOSIS, POLICY_REFUSALS, ROLLBACK_ERROR
from slipway.engine.stages import EXIT_CODE, IMAGE_TYPE, KUBERNETES_PREFIX, OWNERSHIP_HOOK, BuildStep, build_logs
from slipway.errors import ConfigurationError, ExitCode, SlipwayError

# Messages that the engine adds after it has reported the reason.
ECHOES = (
    "update failed",
    "preview failed",
    "update canceled",
    "resource monitor shut down",
    "an unhandled error occurred: program exited with non-zero exit code",
)
# The API server's words: `deployments.apps "user-service" not found`.
GONE = re.compile(
    r"\b(?:namespaces|services|serviceaccounts|secrets|configmaps|persistentvolumeclaims|"
    r"[a-z]+\.(?:apps|autoscaling|batch|policy|[a-z.]+\.k8s\.io))"
    r' \\?"[^"\s\\]+\\?" not found'
)
NOT_OWNED = re.compile(rf'before hook "{OWNERSHIP_HOOK}" failed: (?P<what>[^\n]*)(?:\n(?P<next>.*))?', re.DOTALL)
PREFIX = re.compile(r"^(?:error|warning): ")


@dataclass(frozen=True)
class KnownFailure:
    """A failure of the engine itself: the pattern to recognize it, and the text to show instead."""

    pattern: re.Pattern[str]
    what: str
    next_step: str
    code: ExitCode = ExitCode.USAGE


KNOWN_FAILURES = (
    KnownFailure(
        re.compile(r"incorrect passphrase"),
        "The passphrase does not decrypt the secrets of stack {stack}.",
        "Set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the one the stack was created with. "
        "If the `encryptionsalt` in Pulumi.{stack}.yaml belongs to another stack, remove that line.",
    ),
    KnownFailure(
        re.compile(r"unable to read PULUMI_CONFIG_PASSPHRASE_FILE.*"),
        "The passphrase of stack {stack} cannot be read.",
        "Make PULUMI_CONFIG_PASSPHRASE_FILE name a file you may read, or unset it to use the lab's.",
    ),
    KnownFailure(
        re.compile(r"passphrase must be set"),
        "Stack {stack} encrypts its secrets with a passphrase, and none is set.",
        "Set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE.",
    ),
    KnownFailure(
        re.compile(r"the stack is currently locked by.*(?:\n.*created by.*)*"),
        "Stack {stack} is locked: another update holds it, or a killed update did not release it.",
        "Wait for it to end. If its process has ended, release the lock with `pulumi cancel -s {stack}`.",
        ExitCode.FAILED,
    ),
    KnownFailure(
        re.compile(r"Another update is currently in progress.*"),
        "Stack {stack} is locked by another update.",
        "Wait for it to end, or stop it with `pulumi cancel -s {stack}`.",
        ExitCode.FAILED,
    ),
    KnownFailure(
        re.compile(r"invalid YAML file: .*"),
        "The settings of stack {stack} cannot be read.",
        "Fix Pulumi.{stack}.yaml or Pulumi.yaml; the line is named above.",
    ),
    KnownFailure(
        re.compile(r"unable to open (?:state directory|bucket) .*"),
        "The backend that keeps the state cannot be opened.",
        "Check PULUMI_BACKEND_URL; for the lab's, run `slipway lab up`.",
    ),
    KnownFailure(
        re.compile(r"PULUMI_ACCESS_TOKEN must be set.*|not logged in.*"),
        "The engine is not logged in to a backend.",
        "Set PULUMI_BACKEND_URL (a file://, s3://, gs:// or azblob:// URL), or run `pulumi login`.",
    ),
    KnownFailure(
        re.compile(r"no stack named '.*' found"),
        "There is no stack {stack} in the backend.",
        "`slipway up -s {stack}` creates it.",
    ),
    KnownFailure(
        re.compile(
            r"(?:no (?P<kind>resource|language|analyzer) plugin|failed to load (?:resource|language) plugin|"
            r"could not find (?:resource|language) plugin).*"
        ),
        "A plugin of the engine is missing.",
        "`slipway doctor` shows what is missing; `make up` installs it.",
    ),
    KnownFailure(
        re.compile(r".*failed to resolve source metadata for .*"),
        "A base image of a build cannot be pulled.",
        "Check its name and that the builder reaches its registry. Set another with `slipway:baseImage`, or with "
        "`build.args` of the service if its Dockerfile names its own: docs/templates.md.",
        ExitCode.FAILED,
    ),
)


def failure(stack: str, events: Sequence[Event], stderr_tail: str) -> SlipwayError:
    """The error for a failed update: the program's own error, a known failure, or else all error messages."""
    # The diagnoses of failed rollouts, and every other error.
    errors = [event for event in events if isinstance(event, Diagnostic) and event.severity == "error"]
    screens = [event.message.removeprefix(DIAGNOSIS) for event in errors if event.message.startswith(DIAGNOSIS)]
    own = messages(event for event in errors if not event.message.startswith(DIAGNOSIS))
    if not screens and not own:
        own = _errors_in(stderr_tail) or [stderr_tail.strip() or "The engine gave no reason."]
    text = "\n".join([*screens, *own])
    # The output of services, in a log or a response, is not a message of the program or the engine.
    own = [message for message in own if not CHECKS_FAILED.match(message)]
    if refused := list(filter(None, map(NOT_OWNED.search, own))):
        return NotOwnedError(
            f"The update of stack {stack} would take over objects that this stack did not create.",
            why="\n".join(dict.fromkeys(found["what"] for found in refused)),
            next_step=refused[0]["next"] or "",
        )
    for message in own:
        if CONFIGURATION_ERROR in message:
            what, _, why = message.split(CONFIGURATION_ERROR, 1)[1].strip().partition("\n")
            return ConfigurationError(what, why=why)
        if message.startswith(ROLLBACK_ERROR):
            what, _, why = message.removeprefix(ROLLBACK_ERROR).strip().partition("\n")
            return NotRolledBackError(f"{what[:1].upper()}{what[1:]}", why=why, next_step="Nothing was changed.")
        if message.startswith(POLICY_REFUSALS):
            return _refused(stack, message)
    if not screens and (known := known_failure(stack, "\n".join(own))):
        return known
    return SlipwayError(f"The update of stack {stack} failed.", why=text, next_step=_next_step(stack, events, text))


class NotOwnedError(SlipwayError):
    """The program refuses to create an object that this stack did not make."""


class NotRolledBackError(SlipwayError):
    """The program refuses to restore a recorded state."""


def _refused(stack: str, message: str) -> SlipwayError:
    what, _, why = message.partition("\n")
    return SlipwayError(
        what,
        why=why,
        next_step=f"Fix it, or waive the rule in policy/waivers.yaml; `slipway preview -s {stack}` shows every rule.",
        code=ExitCode.POLICY,
    )


def gone_advice(stack: str, text: str) -> str:
    """The advice if the cluster lacks an object that the state has; empty for any other failure."""
    if not GONE.search(text):
        return ""
    return f"`slipway up -s {stack} --refresh` creates objects deleted by hand again; `slipway drift` lists them."


def _next_step(stack: str, events: Sequence[Event], text: str) -> str:
    if gone := gone_advice(stack, text):
        return gone
    if not any(isinstance(event, Started) for event in events):
        return ""
    done = [event for event in events if isinstance(event, Finished) and event.changes]
    deployed = any(event.resource.type.startswith(KUBERNETES_PREFIX) for event in done)
    fix = f"Fix it and run `slipway up -s {stack}` again."
    if any(isinstance(event, Failed) and event.resource.kind == "Deployment" for event in events):
        return fix  # some of its pods may run
    return fix if deployed else f"Nothing was deployed. {fix}"


def killed(stack: str, signal_number: int) -> SlipwayError:
    """The error for an engine that a signal killed."""
    return SlipwayError(
        f"The engine was killed by {signal.Signals(signal_number).name} while it updated stack {stack}.",
        why="It could not release the stack's lock. The usual reason is memory: see `dmesg` for the OOM killer.",
        next_step=f"Run `slipway up -s {stack}` again: with a file:// backend it releases the lock itself; "
        f"with another, run `pulumi cancel -s {stack}` first.",
    )


def known_failure(stack: str, text: str) -> SlipwayError | None:
    """A clear error for a known failure in the engine's output; `None` for any other."""
    for known in KNOWN_FAILURES:
        if found := known.pattern.search(text):
            return SlipwayError(
                known.what.format(stack=stack),
                why=found[0],
                next_step=known.next_step.format(stack=stack),
                code=known.code,
            )
    return None


def messages(events: Iterable[Event]) -> list[str]:
    """Every error message about a resource or the run, once, with the resource's name in front."""
    found: dict[str, None] = {}
    for event in events:
        if not isinstance(event, Diagnostic) or event.severity != "error":
            continue
        text, resource = event.message.strip(), event.resource
        if not text or text.startswith(ECHOES):
            continue
        text = PREFIX.sub("", text)
        if resource is not None and resource.type != STACK_TYPE:
            if exit_code := EXIT_CODE.search(text):
                text = f"a step of the build ended with exit code {exit_code[1]}; what it printed is above."
            text = f"{resource}: {text}"
        found[text] = None
    return list(found)


def failed_builds(events: Sequence[Event]) -> dict[Urn, BuildStep]:
    """For each image whose build failed, the failed step with its output."""
    logs = build_logs(events)
    failed = [event.resource for event in events if isinstance(event, Failed) and event.resource.type == IMAGE_TYPE]
    steps = {resource: logs[resource].failed_step() for resource in dict.fromkeys(failed) if resource in logs}
    return {resource: step for resource, step in steps.items() if step is not None}


def _errors_in(stderr_tail: str) -> list[str]:
    """The engine's own errors on standard error, without the prefix; continued lines stay with the first."""
    errors: list[str] = []
    within = False
    for line in stderr_tail.splitlines():
        if line.startswith("error: "):
            errors.append(line.removeprefix("error: "))
            within = True
        elif within and line.startswith(" "):
            errors[-1] += f"\n{line}"
        else:
            within = False
    return errors
