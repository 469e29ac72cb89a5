"""What comes before anything is registered: the policies are evaluated, and the cluster, the stack's state and promoted
images looked up; and what the program asks of the cluster and the state without the provider.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from components.program import register_transformation
from components.settings import StackSettings
from policy import program_check
from slipway.backend import History
from slipway.backend.promotion import Promotion, ProvenanceError, build_of, promotions, was_never_updated
from slipway.backend.recording import RecordedStack
from slipway.cluster.checks import missing_rights
from slipway.cluster.client import Cluster, ClusterError, ForbiddenError, KubeconfigError, read_kubeconfig
from slipway.cluster.diagnosis.model import text_at
from slipway.engine.messages import POLICY_ERROR
from slipway.engine.pulumi_cli import Pulumi
from slipway.environment_variables import BACKEND_URL
from slipway.errors import ConfigurationError, SlipwayError
from slipway.project import Project
from slipway.registry import RegistryError, image_digest
from slipway.state.checkpoint import Snapshot

# Registries answer one request in tens of milliseconds.
REQUESTS_AT_ONCE = 16
NEXT_STEP = "Run `slipway up`, which evaluates the policies with the engine."


def kubeconfig_problem(context: str | None) -> str:
    """Why no cluster can be reached with KUBECONFIG and `context`; empty if both are usable."""
    variable = os.environ.get("KUBECONFIG", "")
    try:
        kubeconfig = read_kubeconfig(variable)
        if kubeconfig.files:
            kubeconfig.context(context)
            return ""
    except KubeconfigError as error:
        return str(error)
    if variable.strip(os.pathsep):
        return f"KUBECONFIG names {variable}, which does not exist; set it to a kubeconfig file"
    # Without a kubeconfig the provider uses the account of the pod that it runs in.
    return f"`slipway:context` is {context!r}, but there is no kubeconfig to find it in" if context else ""


def checks_problem(context: str | None, namespace: str) -> str:
    """Why checks could not run at the end of an update, found before it begins; empty if nothing is wrong."""
    try:
        return missing_rights(Cluster.connect(context), namespace)
    except ForbiddenError:  # without the right to review its rights, an account finds out when it uses them
        return ""
    except ClusterError as error:
        return str(error)


def cluster_id(context: str | None) -> str:
    """The uid of namespace kube-system, which no two clusters share; empty if it cannot be read."""
    try:
        return text_at(Cluster.connect(context).read("/api/v1/namespaces/kube-system"), "metadata", "uid")
    except ClusterError:
        return ""


def journal_problem(stack: str) -> str:
    """Says that the state lacks what a killed update did; empty if not so, and where `slipway` runs the engine."""
    if os.environ.get(BACKEND_URL) or isinstance(get_monitor(), MockMonitor):
        return ""
    try:
        recorded = RecordedStack.of(history(stack).source)
    except ConfigurationError:  # of a kind that only the engine reads, which has no journal
        return ""
    if recorded is None or not recorded.is_left_over(holds_lock=not pulumi.runtime.is_dry_run()):
        return ""
    return (
        f"an update of {stack} was killed, and the state lacks some of its changes. Run `slipway up -s {stack}`, "
        "which writes the state from the update's journal"
    )


def present_state() -> Snapshot:
    """The stack's state before this update; empty if there is none, and under mocks."""
    if isinstance(get_monitor(), MockMonitor):
        return {}
    return history(pulumi.get_stack()).present() or {}


def history(stack: str) -> History:
    """The recorded updates of `stack` in the program's backend."""
    folder = Path.cwd()
    return History.open(Pulumi(folder, os.environ), Project(folder), stack)


def promotion_problems(settings: StackSettings, services: Sequence[str]) -> list[str]:
    """Problems of `slipway:build` and `slipway:images` for these services; empty if there are none.

    A digest that does not run here yet is looked up: in the history of the environment that it was promoted from, and
    in the registry. If one of them cannot be asked, there is a warning.
    """
    stack = pulumi.get_stack()
    if settings.build:
        if settings.images:
            return [
                "`slipway:build` is true and `slipway:images` names digests, which would not run; "
                "set `slipway:build: false` to run them, or remove `slipway:images`"
            ]
        return []
    if missing := [name for name in services if name not in settings.images]:
        others = [name for name in Project(Path.cwd()).environments() if name != stack]
        source = others[0] if len(others) == 1 else "ENV"
        unknown = [name for name in settings.images if name not in services]
        misspelt = f" (it also has {', '.join(unknown)}: not a service)" if unknown else ""
        return [
            f"{stack} builds nothing (`slipway:build` is false), and `slipway:images` has no digest of "
            f"{', '.join(missing)}{misspelt}; run `slipway promote --from {source} --to {stack}`, which writes it"
        ]
    if isinstance(get_monitor(), MockMonitor):
        return []
    running = promotions(present_state())
    new = {name: settings.images[name] for name in services if running.get(name) != settings.images[name]}
    histories = cache(history)
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        origins = pool.map(lambda name: _origin(histories, name, new[name], stack), new)
        images = pool.map(lambda name: _in_registry(f"{settings.repository(name)}@{new[name].digest}"), new)
        answers = [*origins, *images]
    for each in answers:
        if each.warning:  # not from a thread: the SDK sends messages in its event loop
            pulumi.log.warn(each.warning)
    return [each.problem for each in answers if each.problem]


@dataclass(frozen=True)
class _ImageStatus:
    """Why an image must not run, or why that could not be checked; both empty if the image may run."""

    problem: str = ""
    warning: str = ""


def _origin(histories: Callable[[str], History], service: str, promotion: Promotion, stack: str) -> _ImageStatus:
    environments = Project(Path.cwd()).environments()
    if promotion.source == stack or promotion.source not in environments:
        allowed = ", ".join(name for name in environments if name != stack)
        return _ImageStatus(f"`slipway:images.{service}.from` is {promotion.source!r}; allowed: {allowed}")
    not_asked = f"The image of {service} could not be compared with update {promotion}:"
    try:
        if was_never_updated(histories(promotion.source)):
            return _ImageStatus(warning=f"{not_asked} this backend has no stack {promotion.source}.")
        build_of(histories, service, promotion)
    except ProvenanceError as error:
        return _ImageStatus(" ".join(str(error).split("\n")))
    except SlipwayError as error:
        return _ImageStatus(warning=f"{not_asked} {error}")
    return _ImageStatus()


def _in_registry(reference: str) -> _ImageStatus:
    """A problem if the registry lacks the image; a warning if it does not answer, or only the nodes have its login."""
    try:
        if image_digest(reference) is None:
            return _ImageStatus(
                f"the registry does not have {reference}, which `slipway:images` names; promote one it has"
            )
    except RegistryError as error:
        return _ImageStatus(warning=f"The registry could not be checked for {reference}: {error}")
    return _ImageStatus()


def enforce_policies() -> None:
    """Return when the policies allow what this program declares; raises RunError, which lists the violations.

    A preview reports the same and goes on. The policies are not checked twice: not behind `slipway preview` and
    `slipway up`, which check them with the whole engine, nor while the program itself is being checked. A resource that
    an update declares and the check did not see is refused when it is declared.
    """
    folder, project, stack = Path.cwd(), pulumi.get_project(), pulumi.get_stack()
    if program_check.is_declaring() or program_check.is_passed(os.environ, folder, project, stack):
        return
    verdict = program_check.judge(
        program_check.CheckRequest(
            str(folder),
            project,
            stack,
            pulumi.get_organization(),
            get_config_env(),
            get_config_secret_keys_env(),
        )
    )
    if verdict.notes:
        pulumi.log.warn(verdict.notes)
    if verdict.program_error:
        raise pulumi.RunError(verdict.program_error)  # as the program would, in its own words
    problem, previews = _problem(verdict), pulumi.runtime.is_dry_run()
    if problem and previews and not verdict.error:
        pulumi.log.warn(f"{problem}\nAn update would be refused.")
    elif problem:
        raise pulumi.RunError(f"{problem}\nNothing was changed.")
    elif not previews:
        judged = {(type_, name) for type_, name in verdict.judged}

        def refuse_unjudged(args: pulumi.ResourceTransformationArgs) -> None:
            # A program may declare more in an update than in the check: in an `apply`, or if it asks whether it is a
            # preview. The check does not list resources that are only read.
            if (args.type_, args.name) not in judged and not args.opts.id and not args.opts.urn:
                kind = args.type_.rsplit(":", 1)[-1]
                raise pulumi.RunError(
                    f"{POLICY_ERROR} the program's policy check did not see {kind} {args.name}.\n{NEXT_STEP}"
                )

        register_transformation(refuse_unjudged)


def _problem(verdict: program_check.Verdict) -> str:
    """Why an update must not go on; empty if it may."""
    if verdict.not_inspectable:
        return f"{POLICY_ERROR} the program's policy check cannot inspect {verdict.not_inspectable}.\n{NEXT_STEP}"
    if verdict.error or verdict.refusal:
        return f"{POLICY_ERROR} {verdict.error}" if verdict.error else verdict.refusal
    return f"{POLICY_ERROR} {verdict.undecided}\n{NEXT_STEP}" if verdict.undecided else ""
