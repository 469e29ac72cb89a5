"""Prepares every update and rollback: the stack exists with its lab databases, is unlocked, and its state is in order.

An engine that was killed leaves each operation in progress as a pending operation in the state: it was started, and its
end is unknown. The engine itself asks a person at a terminal about each. This module reads the cluster instead.

The engine creates a replacement under another name (for example in another namespace) first, and deletes the replaced
object at the end. An update that fails in between leaves both in the state: the new one as the resource, the old one
marked for deletion. A rollback or a fixed release wants the old one again, and would fail: the engine would create it
again under the name that it still has. So the replacement is reverted in the state first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway.backend import History
from slipway.backend.recording import RecordedStack
from slipway.backend.self_managed import CHECKPOINT_VERSION
from slipway.deploy.last_update import service_sources
from slipway.engine.errors import failure
from slipway.engine.events import Event, Failed, Started, Urn
from slipway.engine.stages import KUBERNETES_PREFIX
from slipway.environment_variables import lab_variables, secret_variable
from slipway.errors import SlipwayError
from slipway.paths import CHECKOUT, STACK_PLACEHOLDER
from slipway.stack import Stack
from slipway.state.checkpoint import PROVIDER_PREFIX, ResourceState, Snapshot, objects
from slipway.state.integrity import in_engine_order, problems, repaired
from slipway.state.kubernetes_objects import has_namespace, without_namespace

Say = Callable[[str], None]
DATABASES_TIMEOUT_SECONDS = 300
PENDING = "pending_operations"
INIT_ERRORS = "initErrors"
UNSURE = "An update was killed while it was at this: it has to be read from the cluster."
"""An error of the resource until a refresh has read it; a resource that is only claimed must not count as existing."""
UNCHECKED = "--disable-integrity-checking"
RECOVERY_MESSAGE = "recovery of an update that was killed"
STATES_LOOKED_AT = 20
CREATING, REPLACING = "create", "create-replacement"
REPLACEMENTS_REVERTED = "Reverted a replacement that a failed update left half-finished: the old objects are kept."


def prepare_stack(stack: Stack, say: Say) -> None:
    """Create the stack and its databases on the lab if they are missing, release the lock of an engine that is gone,
    and repair what a killed update or a damaged state has left; raises SlipwayError if another update holds the stack.
    """
    to_read = restore_unreadable(stack, say)
    stack.stacks.ensure(stack.name, say)
    ensure_databases(stack, say)
    stack.stacks.require_unlocked(stack.name)
    write_journal(stack, say)
    repair(stack, say)
    recover(stack, say)
    refresh(stack, to_read)
    forget_unmanaged_namespace(stack, say)


def forget_unmanaged_namespace(stack: Stack, say: Say) -> None:
    """Remove from the state a Namespace that the stack no longer manages; the cluster keeps it as it is."""
    name = stack.unmanaged_namespace()
    present = stack.present() if name else None
    if present and has_namespace(present, name):
        import_state(stack, without_namespace(present, name))
        say(f"Removed Namespace {name} from the state of {stack}: `slipway:namespace` has `managed: false`.")


def ensure_databases(stack: Stack, say: Say) -> None:
    """Make the lab create the databases of `stack`, if a service takes the address of one from the lab and there is
    none yet. SlipwayError if the lab cannot.
    """
    missing = [name for name, file in _url_files(stack).items() if not file.exists()]
    if not missing:
        return
    # The stack's settings take precedence over the lab's files.
    keys = (str(key).partition(":") for key in stack.project.settings(stack.name))
    configured = {f"{secret_variable(service, key)}_FILE" for service, _, key in keys}
    try:
        services = tuple(secret_variable(each.name, "") for each in service_sources(stack.project.folder))
    except ValueError:  # the program reports it, with file and line
        return
    if any(name not in configured and name.startswith(services) for name in missing):
        _lab_databases(stack)
        say(f"{stack} has databases of its own on the lab.")


def drop_databases(stack: Stack, say: Say) -> None:
    """Make the lab delete the databases of `stack` with all their data. SlipwayError if it cannot."""
    if any(file.exists() for file in _url_files(stack).values()):
        _lab_databases(stack, "--drop")
        say(f"Deleted the databases of {stack} on the lab.")


def _url_files(stack: Stack) -> dict[str, Path]:
    """The lab's files with the addresses of this stack's databases, by the variable that names the file."""
    if not stack.environment.uses_lab:
        return {}
    given = stack.engine.environment
    return {
        name: Path(path.replace(STACK_PLACEHOLDER, stack.name))
        for name, path in lab_variables().items()
        if STACK_PLACEHOLDER in path and given.get(name) == path
    }


def _lab_databases(stack: Stack, *options: str) -> None:
    """Runs the command, because in this package only the commands `lab`, `toolchain` and `doctor` know the lab."""
    command = [sys.executable, "-m", "slipway.cli.main", "lab", "databases", stack.name, *options]
    done = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=DATABASES_TIMEOUT_SECONDS, check=False
    )
    if done.returncode:
        raise SlipwayError(
            f"The lab's databases of {stack} could not be {'deleted' if options else 'created'}.",
            why=done.stderr.strip(),
            next_step=f"`slipway lab databases {' '.join([stack.name, *options])}` tries again.",
        )


def recover(stack: Stack, say: Say) -> None:
    """Settle every pending operation of `stack`, if there are any; raises SlipwayError if the engine cannot.

    The operations of a running update are left alone: it may end before another state could replace its own. The engine
    tells a second update of the stack which update holds it.
    """
    history = stack.history()
    held = history.source.is_held()  # first: if no update holds the stack, none owns its pending operations
    present = history.present()
    if held or not present or not (present.get(PENDING) or unsettled(present)):
        return
    started = len(present.get(PENDING) or unsettled(present))
    say(f"An earlier update of {stack} was killed in the middle of {started} operation{'' if started == 1 else 's'}.")
    if present.get(PENDING):
        import_state(stack, settled := settle_pending_operations(present))
    else:  # its refresh was interrupted, too
        settled = present
    refresh(stack, unsettled(settled))
    say(
        f"The state of {stack} is repaired: {'its result was' if started == 1 else 'their results were'} read from "
        "the cluster."
    )
    for name in unknown_creations(present):
        say(f"Check with its provider whether {name} was created, and remove it by hand.")


def write_journal(stack: Stack, say: Say) -> None:
    """Write the state from the journal of an update that was killed together with its command line, if there is one."""
    recorded = RecordedStack.of(stack.history().source)
    if recorded and recorded.is_left_over(holds_lock=False):
        for sentence in recorded.settle():
            say(sentence)


def refresh(stack: Stack, urns: Sequence[str]) -> None:
    """Refresh these resources: missing ones leave the state, the others are recorded as they are."""
    targets = [argument for urn in urns for argument in ("--target", urn)]
    if targets:
        _run(stack, "refresh", "--yes", "--skip-preview", "--message", RECOVERY_MESSAGE, *targets)


def unknown_creations(snapshot: Snapshot) -> list[str]:
    """Resources outside the cluster whose creation began, under an unknown id; not images, which are built again."""
    started = [operation["resource"] for operation in snapshot.get(PENDING) or () if operation["type"] == "creating"]
    made = [ResourceState(raw) for raw in started if not object_id(raw)]
    return [str(Urn(each.urn)) for each in made if each.is_object]


def unsettled(snapshot: Snapshot) -> list[str]:
    """The URNs of resources that a refresh has to read."""
    return [str(raw["urn"]) for raw in snapshot.get("resources") or () if UNSURE in (raw.get(INIT_ERRORS) or ())]


def settle_pending_operations(snapshot: Snapshot) -> Snapshot:
    """The state without pending operations, with a mark on resources that have to be read from the cluster.

    An object whose creation began is added to the state under the id that it would have, so that it is neither
    lost nor created twice. The half-made replacement of an existing object is marked for deletion, because nothing
    refers to it yet; the next update begins with that. The replacement of an already deleted object takes its place.
    """
    operations = snapshot.get(PENDING) or ()
    started = {str(each["resource"]["urn"]) for each in operations}
    begun = [each["resource"] for each in operations if each["type"] == "creating" and object_id(each["resource"])]
    made = [{**raw, "id": object_id(raw), "outputs": raw.get("inputs") or {}} for raw in begun]
    instead = {raw["urn"] for raw in made}
    known = [
        raw for raw in snapshot.get("resources") or () if not (raw.get("pendingReplacement") and raw["urn"] in instead)
    ]
    there = {raw["urn"] for raw in known if not raw.get("delete")}
    made = [{**raw, "delete": True} if raw["urn"] in there else raw for raw in made]
    settled = (_marked(raw) if raw["urn"] in started else raw for raw in _each_once([*known, *made]))
    return {**{key: value for key, value in snapshot.items() if key != PENDING}, "resources": list(settled)}


def _marked(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Mark only if a refresh can remove the mark; a resource that waits for deletion is deleted in any case."""
    never_read = not raw.get("custom") or str(raw["type"]).startswith(PROVIDER_PREFIX)
    if never_read or raw.get("delete") or raw.get("pendingReplacement"):
        return raw
    return {**raw, INIT_ERRORS: [*(raw.get(INIT_ERRORS) or ()), UNSURE]}


def _each_once(resources: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Each once: a state may hold an operation twice if it was started again after a first kill."""
    seen: set[tuple[str, str, bool]] = set()
    for raw in resources:
        key = (str(raw["urn"]), str(raw.get("id", "")), bool(raw.get("delete")))
        if key not in seen:
            seen.add(key)
            yield raw


def object_id(raw: Mapping[str, Any]) -> str:
    """The id that the Kubernetes provider gives an object, `namespace/name`; empty for anything else."""
    metadata = (raw.get("inputs") or {}).get("metadata")
    if not str(raw["type"]).startswith(KUBERNETES_PREFIX) or not isinstance(metadata, Mapping):
        return ""
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str):
        return ""
    return f"{namespace}/{name}" if isinstance(namespace, str) else name


def import_state(stack: Stack, snapshot: Snapshot, *flags: str) -> None:
    """Replace the stack's state with `snapshot`; with UNCHECKED, even a state that the engine refuses."""
    with tempfile.TemporaryDirectory(prefix="slipway-state-") as folder:
        file = Path(folder, "state.json")
        file.write_text(json.dumps({"version": CHECKPOINT_VERSION, "deployment": snapshot}))  # secrets are ciphertext
        _run(stack, "stack", "import", "--file", str(file), *flags)


def _run(stack: Stack, *arguments: str) -> None:
    done = stack.engine.run(*arguments, "--stack", stack.name)
    if done.exit_code:
        raise failure(stack.name, (), done.errors or done.output)


def restore_unreadable(stack: Stack, say: Say) -> list[str]:
    """If the state's file cannot be read, replace it with the state that the last update left; returns the URNs of
    resources that have to be read from the cluster then.

    This can only happen in a folder: a bucket or Pulumi Cloud replaces a state as a whole. Nothing is done while an
    update holds the stack.
    """
    files = stack.stacks.files
    if files is None or not all(lock.is_dead for lock in files.locks(stack.name)):
        return []
    if (file := files.unreadable(stack.name)) is None:
        return []
    history = stack.history()
    number, state = next(_whole_states(history), (0, None))
    if state is None:
        return []  # the next read of it says what to do
    kept = files.replace_state(stack.name, file, state)
    say(f"The state of {stack} cannot be read: {file.name} is truncated. It is kept as {kept}.")
    say(f"The state of update #{number} replaces it; later changes are read from the cluster.")
    return list(objects(state))


def repair(stack: Stack, say: Say) -> None:
    """If the engine would refuse the state, repair it, or take the newest recorded state that is valid.

    SlipwayError if there is none, or if the engine refuses that, too.
    """
    history = stack.history()
    if history.source.is_held():
        return
    present = history.present()
    if not present or not (wrong := problems(present)):
        return
    kept = stack.own_file("refused-states").with_suffix(f".{datetime.now(UTC):%Y%m%d-%H%M%S}.json")
    kept.parent.mkdir(parents=True, exist_ok=True)
    exported = stack.engine.run("stack", "export", "--stack", stack.name, "--file", str(kept), UNCHECKED)
    where = f" It is kept as {kept}." if not exported.exit_code else ""
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    say(f"The state of {stack} is damaged: {wrong[0]}{more}.{where}")
    fixed = repaired(present, _recorded(history))
    if not problems(fixed):
        import_state(stack, fixed, UNCHECKED)
        say("It is repaired.")
        return
    number, state = next(_whole_states(history), (0, None))
    if state is None:
        raise SlipwayError(
            f"The state of {stack} is damaged, and so is each recorded state.",
            why="\n".join(wrong[:5]),
            next_step="`pulumi state repair` may help; it does not change the cluster.",
        )
    import_state(stack, state, UNCHECKED)
    say(f"The state of update #{number} replaces it; later changes are read from the cluster.")
    refresh(stack, list(objects(state)))


def _recorded(history: History) -> Iterator[Snapshot]:
    """The states, newest first."""
    for number in reversed(history.numbers[-STATES_LOOKED_AT:]):
        with suppress(SlipwayError):  # it is damaged as well
            yield history.checkpoint(number)


def _whole_states(history: History) -> Iterator[tuple[int, Snapshot]]:
    """The states that the engine accepts, newest first, with their numbers."""
    for number in reversed(history.numbers[-STATES_LOOKED_AT:]):
        with suppress(SlipwayError):  # it is damaged as well
            if not problems(state := history.checkpoint(number)):
                yield number, state


def replaced_objects(events: Iterable[Event], operation: str = REPLACING) -> dict[str, str]:
    """The ids of Kubernetes objects, by URN, whose replacement the engine began or would begin to create."""
    started = (each for each in events if isinstance(each, Started) and each.operation == operation)
    ids = {each.resource.urn: object_id({"type": each.resource.type, "inputs": each.inputs}) for each in started}
    return {urn: identity for urn, identity in ids.items() if identity}


def collisions(events: Sequence[Event], operation: str = REPLACING) -> dict[str, str]:
    """The same, if the engine failed to create the replacement."""
    failed = {each.resource.urn for each in events if isinstance(each, Failed) and each.operation == operation}
    return {urn: identity for urn, identity in replaced_objects(events, operation).items() if urn in failed}


def revert_replacements(stack: Stack, declared: Mapping[str, str]) -> bool:
    """Restore in the state the objects of `declared`, ids by URN, that were to be deleted; whether there were any."""
    present = stack.present() if declared else None
    state = with_replacements_reverted(present, declared) if present else None
    if state is None:
        return False
    import_state(stack, state)
    return True


def with_replacements_reverted(snapshot: Snapshot, declared: Mapping[str, str]) -> Snapshot | None:
    """The state with each declared object as the resource, and the other marked for deletion; `None` if there is none.

    `declared` are ids by URN.
    """
    resources = list(snapshot.get("resources") or ())
    found = False
    for urn, identity in declared.items():
        present = _index_of(resources, urn, marked=False)
        marked = _index_of(resources, urn, marked=True, identity=identity)
        if present is None or marked is None or resources[present].get("id") == identity:
            continue
        found = True
        resources[marked] = {key: value for key, value in resources[marked].items() if key != "delete"}
        resources[present] = {**resources[present], "delete": True}
    return {**snapshot, "resources": in_engine_order(resources)} if found else None


def _index_of(resources: list[Mapping[str, Any]], urn: str, *, marked: bool, identity: str = "") -> int | None:
    for index, raw in enumerate(resources):
        is_it = raw["urn"] == urn and bool(raw.get("delete")) is marked
        if is_it and (not identity or raw.get("id") == identity):
            return index
    return None
