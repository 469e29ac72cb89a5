"""Stateful kinds: data survive mistakes in a program."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem, View, known_matches
from policy.kinds import objects
from policy.model import ADVISED_IN_DEV, Family, rule, stack_rule
from policy.stack import DeclaredStack, namespace, object_name

STATEFUL = Family("Stateful kinds")
PROTECT_PAGE = "https://www.pulumi.com/docs/iac/concepts/resources/options/protect/"
CLAIMS_PAGE = "https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/"
RECLAIM_PAGE = "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#reclaiming"
STATEFUL_KINDS = ("PersistentVolumeClaim", "PersistentVolume", "StatefulSet")


@rule(
    "stateful-protected",
    title="Stateful resources are protected",
    why="A renamed resource is deleted and created again, and its data are lost.",
    source=PROTECT_PAGE,
    remedy="Declare it with `ResourceOptions(protect=True)`.",
    of=objects(*STATEFUL_KINDS),
    levels=ADVISED_IN_DEV,
)
def stateful_protected(view: View) -> Iterator[Problem]:
    if not view.resource.options.protect:
        yield view.problem(f"the {view.resource.kind} is not protected; allowed: `protect=True`")


@stack_rule(
    "stateful-namespace-protected",
    title="A namespace with stateful resources is protected",
    why="Deleting a namespace deletes every claim in it, even if the claims are protected.",
    source=PROTECT_PAGE,
    remedy="Declare the Namespace with `ResourceOptions(protect=True)`.",
    of=objects("Namespace"),
    levels=ADVISED_IN_DEV,
)
def stateful_namespace_protected(view: View, stack: DeclaredStack) -> Iterator[Problem]:
    if view.resource.options.protect:
        return
    stateful = stack.of_kind("PersistentVolumeClaim", "StatefulSet")
    name = object_name(view.resource)
    inside = known_matches(stateful, lambda each: bool(stateful and namespace(each).read() == name.read()))
    if inside:
        yield view.problem(
            f"it contains {', '.join(each.ref for each in inside)} and is not protected; allowed: `protect=True`"
        )


@rule(
    "stateful-data-kept",
    title="Data are kept when a StatefulSet or claim is deleted",
    why="`Delete` deletes the disk with the claim, or the claims with the StatefulSet.",
    source=f"{CLAIMS_PAGE}#persistentvolumeclaim-retention; {RECLAIM_PAGE}",
    remedy="Use `Retain`.",
    of=objects("StatefulSet", "PersistentVolume"),
    levels=ADVISED_IN_DEV,
)
def stateful_data_kept(view: View) -> Iterator[Problem]:
    policies = view.at("spec", "persistentVolumeClaimRetentionPolicy")
    for fate in (
        policies.at("whenDeleted"),
        policies.at("whenScaled"),
        view.at("spec", "persistentVolumeReclaimPolicy"),
    ):
        if fate.read() in ("Delete", "Recycle"):
            yield fate.problem(f"{fate.path.rpartition('.')[2]} is {fate.shown()}; allowed: `Retain`")
