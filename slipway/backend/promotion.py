"""Promoted images: what an environment's settings say of one, and the recorded update of another that built it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from slipway.backend.history import History
from slipway.backend.update_info import UpdateInfo, UpdateKind
from slipway.engine.stages import IMAGE_TYPE
from slipway.errors import ConfigurationError
from slipway.state.checkpoint import TEST_SUFFIX, ResourceState, Snapshot, resources

IMAGES_KEY, BUILD_KEY = "slipway:images", "slipway:build"
SERVICE_IMAGE_TYPE = "slipway:index:ServiceImage"
PROMOTED_FROM = "promotedFrom"
TEST_TARGET = "test"
HistoryOf = Callable[[str], History]


class Promotion(BaseModel):
    """One service under `slipway:images`: a digest, and the update of another environment that verified it.

    `time` is when that update began, in UTC; `commit` what it was made from. `slipway promote` writes all of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    digest: Annotated[StrictStr, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    source: Annotated[StrictStr, Field(alias="from", min_length=1)]
    update: Annotated[StrictInt, Field(ge=1)]
    commit: Annotated[StrictStr, Field(pattern=r"^[0-9a-f]{7,64}$")]
    time: Annotated[StrictStr, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

    def properties(self) -> dict[str, Any]:
        """As the component ServiceImage of a promoted environment has it among its inputs."""
        origin = {"environment": self.source, "update": self.update, "commit": self.commit, "time": self.time}
        return {"digest": self.digest, PROMOTED_FROM: origin}

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> Promotion | None:
        """What `properties` wrote, read from a state; `None` for an image that was built where it runs."""
        origin = properties.get(PROMOTED_FROM)
        if not isinstance(origin, Mapping):
            return None
        # The engine keeps every number as a float.
        return cls(
            digest=str(properties["digest"]),
            source=str(origin["environment"]),
            update=int(origin["update"]),
            commit=str(origin["commit"]),
            time=str(origin["time"]),
        )

    def __str__(self) -> str:
        return f"#{self.update} of {self.source}"


def promotions(snapshot: Snapshot) -> dict[str, Promotion]:
    """The promoted images of a recorded state, by service."""
    found = {name: Promotion.from_properties(each.inputs) for name, each in _service_images(snapshot).items()}
    return {name: each for name, each in found.items() if each}


def image_references(snapshot: Snapshot) -> dict[str, str]:
    """The image of each service of a recorded state, `repository@sha256:…`, built or promoted."""
    return {name: str(each.outputs.get("reference", "")) for name, each in _service_images(snapshot).items()}


def _service_images(snapshot: Snapshot) -> dict[str, ResourceState]:
    return {each.name: each for each in resources(snapshot) if each.type == SERVICE_IMAGE_TYPE}


@dataclass(frozen=True)
class Build:
    """The recorded update that built an image: `environment` and `entry` name it, `images` are its two resources."""

    environment: str
    entry: UpdateInfo
    images: tuple[Mapping[str, Any], ...]


class ProvenanceError(ConfigurationError):
    """What `slipway:images` says of a digest is not what the history of its source says."""


def deployed_by(history: History, number: int, service: str) -> UpdateInfo:
    """The update whose program the service has been as since: what a rollback of it went to, else `number` itself.

    A rollback of other services, a refresh and an import leave the service as the update before them did.
    """
    entry = history.entry(number)
    while entry.kind is not UpdateKind.UPDATE and not entry.problem:
        if entry.rollback and (not entry.rollback.services or service in entry.rollback.services):
            older = entry.rollback.target
        else:
            older = next((each for each in reversed(history.numbers) if each < entry.number), 0)
        if older not in history.numbers or older >= entry.number:  # files were taken out
            break
        entry = history.entry(older)
    return entry


def build_of(history_of: HistoryOf, service: str, promotion: Promotion) -> Build:
    """The build of a promoted image, through as many environments as it was promoted through.

    Raises ProvenanceError where the source's history says otherwise, or says of no unit tests before it; other
    SlipwayErrors where the history, or that state, cannot be read.
    """
    seen: set[tuple[str, int]] = set()
    while True:
        seen.add((promotion.source, promotion.update))
        history = history_of(promotion.source)
        if promotion.update not in history.numbers:
            raise _contradicted(service, promotion, f"{promotion.source} has no update #{promotion.update}")
        entry, state = history.entry(promotion.update), history.checkpoint(promotion.update)
        digest = image_references(state).get(service, "").rpartition("@")[2]
        if digest != promotion.digest:
            left = f"left {digest}" if digest else f"left no image of {service}"
            raise _contradicted(service, promotion, f"update {promotion} {left}")
        if entry.commit and not entry.commit.startswith(promotion.commit) and service not in promotions(state):
            raise _contradicted(service, promotion, f"update {promotion} was made from commit {entry.commit}")
        earlier = promotions(state).get(service)
        if earlier is None:
            return Build(promotion.source, entry, _tested(service, promotion, state))
        if (earlier.source, earlier.update) in seen:
            raise _contradicted(service, promotion, f"update {promotion} has it from {earlier}, which goes in a circle")
        promotion = earlier


def _tested(service: str, promotion: Promotion, state: Snapshot) -> tuple[Mapping[str, Any], ...]:
    """The two builds, unit tests first; ProvenanceError where one is missing or does not come before the other."""
    images = {each.name: each for each in resources(state) if each.type == IMAGE_TYPE}
    test, image = images.get(f"{service}{TEST_SUFFIX}"), images.get(service)
    if not test or not image or test.inputs.get("target") != TEST_TARGET or test.urn not in image.dependencies:
        raise ProvenanceError(
            f"The image of {service} in update {promotion} comes from no build whose unit tests passed.",
            why=f"Its state has no Image `{service}{TEST_SUFFIX}` of target `{TEST_TARGET}` before the image.",
            next_step=f"`slipway up -s {promotion.source}` builds and tests it; promote that.",
        )
    return test.raw, image.raw


def _contradicted(service: str, promotion: Promotion, found: str) -> ProvenanceError:
    return ProvenanceError(
        f"`{IMAGES_KEY}.{service}` says {promotion.digest}, commit {promotion.commit}, of {promotion}; {found}.",
        why="It was edited by hand, or the history of its source has changed.",
        next_step="Put the file back as it is committed (`git restore`), and let `slipway promote` write it.",
    )


def was_never_updated(history: History) -> bool:
    """Whether this backend knows nothing of the stack: it may be kept in another."""
    return not history.numbers and history.present() is None
