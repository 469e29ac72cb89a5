"""Promoted images: their entries in an environment's settings, and the update of another one that built them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from slipway.backend.history import History
from slipway.backend.update_info import UpdateInfo, UpdateKind
from slipway.engine.stages import IMAGE_TYPE
from slipway.errors import ConfigurationError
from slipway.state.checkpoint import SERVICE_IMAGE_TYPE, TEST_SUFFIX, ResourceState, Snapshot, resources

IMAGES_KEY, BUILD_KEY = "slipway:images", "slipway:build"
PROMOTED_FROM = "promotedFrom"
BUILT_ELSEWHERE = "builtElsewhere"
"""An input of the ServiceImage of a service whose service.yaml names its `image`."""
UNIT_TESTS_LABEL = "slipway.dev/unit-tests"
"""A label with the value `stage NAME` on an image whose build also runs the unit tests, and with `none` on one that has
no unit tests (`build: {testTarget: null}`). An image whose tests another Image runs first does not have it.
"""
UNTESTED, IN_STAGE = "none", "stage "
HistoryOf = Callable[[str], History]


class Promotion(BaseModel):
    """One service under `slipway:images`: a digest, and the update of another environment that verified it.

    `time` is when that update began, in UTC; `commit` is its commit. `slipway promote` writes all fields.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    digest: Annotated[StrictStr, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    source: Annotated[StrictStr, Field(alias="from", min_length=1)]
    update: Annotated[StrictInt, Field(ge=1)]
    commit: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{7,64}$")]
    time: Annotated[StrictStr, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

    def properties(self) -> dict[str, Any]:
        """The inputs for it in the component ServiceImage of a promoted environment."""
        origin = {"environment": self.source, "update": self.update, "commit": self.commit, "time": self.time}
        return {"digest": self.digest, PROMOTED_FROM: origin}

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> Promotion | None:
        """Read from a state what `properties` wrote; `None` for an image that was built where it runs, and for invalid
        properties: the policy `promoted-image-tested` says what is wrong with them.
        """
        origin = properties.get(PROMOTED_FROM)
        if not isinstance(origin, Mapping):
            return None
        try:
            return cls(
                digest=properties["digest"],
                source=origin["environment"],
                update=int(origin["update"]),  # the engine keeps every number as a float
                commit=origin["commit"],
                time=origin["time"],
            )
        except (KeyError, TypeError, ValueError):
            return None

    def __str__(self) -> str:
        return f"#{self.update} of {self.source}"


def promotions(snapshot: Snapshot) -> dict[str, Promotion]:
    """The promoted images of a recorded state, by service."""
    return promotions_of(resources(snapshot))


def promotions_of(recorded: Iterable[ResourceState]) -> dict[str, Promotion]:
    """The promoted images among these resources, by service."""
    images = (each for each in recorded if each.type == SERVICE_IMAGE_TYPE)
    found = {each.name: Promotion.from_properties(each.inputs) for each in images}
    return {name: each for name, each in found.items() if each}


def image_references(snapshot: Snapshot) -> dict[str, str]:
    """The image of each service of a recorded state, `repository@sha256:…`, built or promoted; without images that
    are built elsewhere.
    """
    images = (each for each in resources(snapshot) if each.type == SERVICE_IMAGE_TYPE)
    return {each.name: str(each.outputs.get("reference", "")) for each in images if BUILT_ELSEWHERE not in each.inputs}


@dataclass(frozen=True)
class RecordedBuild:
    """The recorded update that built an image: `environment` and `entry` name it, `images` are its resources. The first
    of them runs the unit tests, if there are any.
    """

    environment: str
    entry: UpdateInfo
    images: tuple[Mapping[str, Any], ...]


class ProvenanceError(ConfigurationError):
    """`slipway:images` and the history of its source contradict each other about a digest."""

    def __init__(self, what: str, why: str, next_step: str) -> None:
        super().__init__(what, why=why, next_step=next_step)


class UnknownUpdateError(ProvenanceError):
    """The history of the source has no such update: it has lost it, or the stack was recreated."""


def time_of(entry: UpdateInfo) -> str:
    """When the update began, in the format of `Promotion.time`."""
    return entry.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployed_by(history: History, number: int, service: str) -> UpdateInfo:
    """The update that declared the service as it is after `number`: the target of its rollback, else `number`.

    A rollback of other services, a refresh and an import leave the service as the update before them did.
    """
    entry = history.entry(number)
    while entry.kind is not UpdateKind.UPDATE and not entry.problem:
        if entry.rollback and (not entry.rollback.services or service in entry.rollback.services):
            older = entry.rollback.target
        else:
            older = next((each for each in reversed(history.numbers) if each < entry.number), 0)
        if older not in history.numbers or older >= entry.number:  # history files were removed
            break
        entry = history.entry(older)
    return entry


def build_of(histories: HistoryOf, service: str, promotion: Promotion) -> RecordedBuild:
    """The build of a promoted image, through as many environments as it was promoted through.

    Raises ProvenanceError if the source's history contradicts it, or has no unit tests before it. Raises other
    SlipwayErrors if the history, or that state, cannot be read.
    """
    seen: set[tuple[str, int]] = set()
    while True:
        seen.add((promotion.source, promotion.update))
        history = histories(promotion.source)
        if promotion.update not in history.numbers:
            raise UnknownUpdateError(
                *_contradiction(service, promotion, f"{promotion.source} has no update #{promotion.update}")
            )
        entry = history.entry(promotion.update)
        if not entry.problem and time_of(entry) != promotion.time:
            raise UnknownUpdateError(*_contradiction(service, promotion, f"that update began at {time_of(entry)}"))
        state = history.checkpoint(promotion.update)
        earlier = promotions(state).get(service)
        commit = earlier.commit if earlier else entry.commit
        digest = image_references(state).get(service, "").rpartition("@")[2]
        if digest != promotion.digest:
            left = f"has {digest}" if digest else f"has no image of {service}"
            raise ProvenanceError(*_contradiction(service, promotion, f"that update {left}"))
        if not commit.startswith(promotion.commit):
            raise ProvenanceError(*_contradiction(service, promotion, f"that update has it from commit {commit}"))
        if earlier is None:
            return RecordedBuild(promotion.source, entry, _tested(service, promotion, state))
        if (earlier.source, earlier.update) in seen:
            raise ProvenanceError(
                *_contradiction(service, promotion, f"that update has it from {earlier}, in a circle")
            )
        promotion = earlier


def _tested(service: str, promotion: Promotion, state: Snapshot) -> tuple[Mapping[str, Any], ...]:
    """The builds, unit tests first. Raises ProvenanceError if the unit tests do not come before the image, or are
    missing although the image neither runs them itself nor says that it has none.
    """
    images = {each.name: each for each in resources(state) if each.type == IMAGE_TYPE}
    test, image = images.get(f"{service}{TEST_SUFFIX}"), images.get(service)
    if image and not test and (says_untested(image.inputs) or runs_tests(image.inputs)):
        return (image.raw,)
    if (
        not test
        or not image
        or test.inputs.get("target") == image.inputs.get("target")
        or test.urn not in image.dependencies
    ):
        raise ProvenanceError(
            f"The image of {service} in update {promotion} has no build whose unit tests passed.",
            f"Its state has no Image `{service}{TEST_SUFFIX}` of another stage before the image.",
            f"`slipway up -s {promotion.source}` builds and tests it; promote that.",
        )
    return test.raw, image.raw


def runs_tests(inputs: Mapping[str, Any]) -> bool:
    """Whether an Image with these inputs is built from the stage of its unit tests."""
    return _unit_tests(inputs).startswith(IN_STAGE)


def says_untested(inputs: Mapping[str, Any]) -> bool:
    """Whether an Image with these inputs says that it has no unit tests."""
    return _unit_tests(inputs) == UNTESTED


def _unit_tests(inputs: Mapping[str, Any]) -> str:
    return str((inputs.get("labels") or {}).get(UNIT_TESTS_LABEL, ""))


def _contradiction(service: str, promotion: Promotion, found: str) -> tuple[str, str, str]:
    """`what`, `why` and `next_step` of a ProvenanceError."""
    return (
        f"`{IMAGES_KEY}.{service}` says {promotion.digest}, commit {promotion.commit}, {promotion.time}, update "
        f"{promotion}; {found}.",
        "It was edited by hand, or its source environment has another history now.",
        "Restore the committed file (`git restore`), and run `slipway promote`.",
    )


def was_never_updated(history: History) -> bool:
    """Whether this backend has no history and no state of the stack: another backend may have them."""
    return not history.numbers and history.present() is None
