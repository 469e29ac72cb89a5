"""Plans a promotion: which digests another environment would run, which must not be promoted; copies their images."""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from slipway.backend import History, UpdateInfo
from slipway.backend.promotion import (
    IMAGES_KEY,
    HistoryOf,
    Promotion,
    ProvenanceError,
    build_of,
    deployed_by,
    image_references,
    promotions,
    time_of,
    was_never_updated,
)
from slipway.backend.services import RecordedServices
from slipway.errors import ConfigurationError, SlipwayError
from slipway.promotion.settings_file import SettingsFile
from slipway.registry import image_digest
from slipway.render.words import DIGEST_DIGITS
from slipway.rollback.target import last_good, unverified
from slipway.stack import Stack

REQUESTS_AT_ONCE = 16
TAG_DIGITS = 16


@dataclass(frozen=True)
class ImageMove:
    """A service whose digest a promotion changes; `old` is `None` if the environment had none."""

    service: str
    old: Promotion | None
    new: Promotion


@dataclass(frozen=True)
class PromotionPlan:
    """From update `update` of `source`, the `moves` that are new to `target`; `notes` are lines for the user.

    `copies` are the images that the registry of the target does not have yet.
    """

    source: str
    target: str
    update: UpdateInfo
    moves: tuple[ImageMove, ...]
    notes: tuple[str, ...]
    copies: tuple[ImageCopy, ...] = ()

    @property
    def images(self) -> dict[str, Promotion]:
        return {each.service: each.new for each in self.moves}


def plan_promotion(
    source: Stack, target: Stack, settings: SettingsFile, services: Sequence[str] = (), to_update: int | None = None
) -> PromotionPlan:
    """The changes for `target` from `source`'s last verified state, or update `to_update`; all services by default.

    Raises ConfigurationError for a state or service that cannot be promoted, and for settings that were edited by
    hand. Raises SlipwayError if no registry has a digest any more, or a registry does not answer.
    """
    if settings.builds:
        raise ConfigurationError(
            f"{target} builds its own images: digests in {settings.file.name} would not run.",
            next_step=f"Set `slipway:build: false` under `config` of {settings.file.name}, then promote again.",
        )
    history = source.history()
    update = _update(history, to_update)
    histories = cache(
        lambda name: source.history() if name == source.name else History.open(source.engine, source.project, name)
    )
    running = promotions(target.present() or {})
    _require_as_promoted(settings, running, histories)
    state = history.checkpoint(update.number)
    references = image_references(state)
    chosen = _chosen(source.name, update, references, services)
    new = {name: _promotion(source.name, history, update, name, references[name]) for name in chosen}
    moves = tuple(
        ImageMove(name, settings.images.get(name), each)
        for name, each in new.items()
        if name not in settings.images or settings.images[name].digest != each.digest
    )
    for each in moves:
        build = build_of(histories, each.service, each.new)
        if build.entry.dirty:
            raise ConfigurationError(
                f"The image of {each.service} was built by #{build.entry.number} of {build.environment} from a work "
                f"tree with uncommitted changes.",
                why="Its content could not be traced to a commit.",
                next_step=f"Commit them, run `slipway up -s {build.environment}`, and promote that; or an earlier "
                "update, with --to-update.",
            )
    copies = _missing_images(target, {each.service: (references[each.service], each.new) for each in moves})
    left_out = [] if services else sorted(set(settings.images) - set(new))
    notes = [*_source_notes(history, update, left_out), *_target_notes(target, settings, new, running)]
    return PromotionPlan(source.name, target.name, update, moves, tuple(notes), copies)


def _update(history: History, number: int | None) -> UpdateInfo:
    stack = history.stack
    if not history.numbers:
        raise ConfigurationError(
            f"Stack {stack} has no verified state: it was never updated.",
            next_step=f"`slipway up -s {stack}` builds, tests and verifies one.",
        )
    lists = f"`slipway history -s {stack}` lists its updates"
    if number is not None:
        entry = history.entry(number)
        if problem := unverified(history, entry):
            raise ConfigurationError(
                f"Update #{number} of {stack} is not promoted: it {problem}.",
                next_step=f"{lists}; without --to-update the last verified one is promoted.",
            )
        return entry
    found = last_good(history)
    if found is None:
        raise ConfigurationError(
            f"Stack {stack} has no verified state: each update failed, or was rolled back from.",
            next_step=f"{lists}; `slipway up -s {stack}` makes another.",
        )
    return found


def _require_as_promoted(settings: SettingsFile, running: Mapping[str, Promotion], histories: HistoryOf) -> None:
    """Raise ConfigurationError if a digest in the settings was not promoted; running ones were checked before."""
    for service, each in settings.images.items():
        if running.get(service) == each:
            continue
        try:
            if was_never_updated(histories(each.source)):
                continue
            build_of(histories, service, each)
        except ProvenanceError as error:
            raise ConfigurationError(
                f"{settings.file.name}: {error.what}",
                why=f"{error.why} The file is unchanged.",
                next_step="Restore the committed file (`git restore`), or remove the service from "
                f"`{IMAGES_KEY}`; then promote again.",
            ) from error


def _chosen(source: str, update: UpdateInfo, references: Mapping[str, str], services: Sequence[str]) -> Sequence[str]:
    there = sorted(references)
    if not there:
        raise ConfigurationError(
            f"Update #{update.number} of {source} has no service.", next_step="Name another with --to-update."
        )
    if missing := [name for name in services if name not in references]:
        near = difflib.get_close_matches(missing[0], there, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigurationError(
            f"Update #{update.number} of {source} has no service {', '.join(missing)}.",
            why=f"Its services: {', '.join(there)}.{hint}",
            next_step=f"Name one of them, or deploy it with `slipway up -s {source}` first.",
        )
    return sorted(set(services)) or there


def _promotion(source: str, history: History, update: UpdateInfo, service: str, reference: str) -> Promotion:
    """The entry in the settings for the image that the service had after `update`."""
    entry = deployed_by(history, update.number, service)
    # An environment that gets promoted images records the image's commit, which is not that of its settings.
    earlier = promotions(history.checkpoint(entry.number)).get(service)
    commit = earlier.commit if earlier else entry.commit
    if not commit:
        raise ConfigurationError(
            f"Update #{entry.number} of {source} was not made from a commit.",
            why="A promotion records the commit of each image.",
            next_step=f"Run `slipway up -s {source}` in a clone with git, and promote that.",
        )
    return Promotion(
        digest=reference.rpartition("@")[2],
        source=source,
        update=entry.number,
        commit=commit,
        time=time_of(entry),
    )


def _missing_images(target: Stack, images: Mapping[str, tuple[str, Promotion]]) -> tuple[ImageCopy, ...]:
    """The images that the target's registry lacks; `images` are references in the source's registry, by service.

    Raises SlipwayError if no registry has a digest any more.
    """
    registry = target.config().get("slipway:registry") or target.engine.environment.get("SLIPWAY_REGISTRY", "")
    if not registry:
        raise ConfigurationError(
            f"{target} has no image registry.",
            next_step="Set SLIPWAY_REGISTRY, or `slipway:registry` in its settings.",
        )
    copies = [
        ImageCopy(service, reference.rpartition("@")[0], f"{registry}/{service}", new.digest)
        for service, (reference, new) in images.items()
    ]
    missing = _not_in_registry([(each, each.target) for each in copies])
    lost = _not_in_registry([(each, each.source) for each in missing])
    if lost:
        raise SlipwayError(
            f"The registry does not have {', '.join(f'{each.source}@{each.digest}' for each in lost)} any more.",
            why="It was deleted, for example by a clean-up. Nothing was changed.",
            next_step="Build it again from its commit, or promote another update with --to-update.",
        )
    if missing:
        crane(target.engine.environment)
    return tuple(missing)


def _not_in_registry(images: Sequence[tuple[ImageCopy, str]]) -> list[ImageCopy]:
    """The images whose digest is not in the repository beside them."""
    names = [f"{repository}@{each.digest}" for each, repository in images]
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        digests = list(pool.map(image_digest, names))
    return [each for (each, _), digest in zip(images, digests, strict=True) if digest != each.digest]


def _source_notes(history: History, update: UpdateInfo, left_out: Sequence[str]) -> list[str]:
    """Why `update` is not the source's last one, and which services of the target it does not have."""
    notes, last = [], history.latest(1)[0]
    if last.number > update.number:
        how = "cannot be read" if last.problem else "came later" if last.succeeded else "failed"
        notes.append(f"#{last.number} of {history.stack} {how}; #{update.number} is what is promoted.")
    if left_out:
        verb = "keeps its digest" if len(left_out) == 1 else "keep their digests"
        notes.append(f"{', '.join(left_out)} {verb}: not in #{update.number} of {history.stack}.")
    return notes


def _target_notes(
    target: Stack, settings: SettingsFile, new: Mapping[str, Promotion], running: Mapping[str, Promotion]
) -> list[str]:
    """The images that were rolled back in the target, and that this promotion or its next update would bring back."""
    notes = []
    for service, each in new.items():
        here, file = running.get(service), settings.images.get(service)
        if file and here and file.digest == each.digest != here.digest:
            notes.append(
                f"{service} of {target} runs {first_digits(here.digest)}, of update {here}, and {settings.file.name} "
                f"has {first_digits(each.digest)} already: `slipway up -s {target}` deploys it."
            )
    for service, number in _rolled_back(target.history(), new).items():
        notes.append(f"#{number} of {target} was a rollback from {first_digits(new[service].digest)} of {service}.")
    return notes


def _rolled_back(history: History, new: Mapping[str, Promotion]) -> dict[str, int]:
    """The last rollback, by service, that took the service back from the digest in `new`."""
    recorded = RecordedServices(history)
    found: dict[str, int] = {}
    for entry in history.entries:
        if not entry.rollback or not entry.succeeded:
            continue
        with suppress(SlipwayError):  # a state that cannot be read is left out
            before, after = recorded.of(entry.rollback.source), recorded.of(entry.number)
            for service, each in new.items():
                images = [state[service].image if service in state else "" for state in (before, after)]
                if images[0].endswith(f"@{each.digest}") and not images[1].endswith(f"@{each.digest}"):
                    found[service] = entry.number
    recorded.save()
    return found


def first_digits(digest: str) -> str:
    """The part of a digest that identifies it to a person."""
    return digest.removeprefix("sha256:")[:DIGEST_DIGITS]


@dataclass(frozen=True)
class ImageCopy:
    """`source` and `target` are repositories, without a tag; `digest` is `sha256:…`."""

    service: str
    source: str
    target: str
    digest: str

    @property
    def tag(self) -> str:
        """A registry's clean-up removes images without a tag. Not `sha256-…`, which is for referrers of an image."""
        return f"promoted-{self.digest.removeprefix('sha256:')[:TAG_DIGITS]}"


def crane(environment: Mapping[str, str]) -> str:
    """The path of `crane`; raises ConfigurationError if it is not on PATH."""
    found = shutil.which("crane", path=environment.get("PATH", os.defpath))
    if found is None:
        raise ConfigurationError(
            "`crane`, which copies images to another registry, was not found on PATH.",
            next_step="Run `make up`, or `make lab` with a cluster and a registry of your own: both install it.",
        )
    return found


def copy_image(copy: ImageCopy, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Copy the image and check its digest in the target's registry; raises SlipwayError if it was not copied.

    `environment` has PATH, and the variables that locate Docker's configuration. `crane` copies an index with all its
    platforms byte for byte, mounts layers if both repositories are in one registry, and logs in as Docker does.
    """
    program = crane(environment)
    source, target = f"{copy.source}@{copy.digest}", f"{copy.target}:{copy.tag}"
    done = subprocess.run(
        [program, "copy", source, target],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        host = copy.target.partition("/")[0]
        raise SlipwayError(
            f"{copy.service} was not copied from {source} to {copy.target}.",
            why=(done.stderr.strip().splitlines() or ["crane gave no reason."])[-1],
            next_step=f"`docker login {host}` stores credentials that may push there. No settings were changed; "
            "copied images are not copied again.",
        )
    for name in (f"{copy.target}@{copy.digest}", target):
        if (found := image_digest(name)) != copy.digest:
            raise SlipwayError(
                f"{copy.service} was copied, but its registry has {found or 'no image'} as {name}.",
                why="A registry that keeps no images of several platforms, or changes what is pushed, cannot be "
                "promoted to.",
                next_step="Use another registry, or one that stores OCI indexes as they are.",
            )
    say(f"Copied {copy.service} to {target}: the same digest.")
