"""Images: which ones may run, and where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from policy.declaration import Problem, View, problems_of
from policy.kinds import any_of, builds, container_name, containers, image_volumes, is_pushed
from policy.model import rule, stack_rule
from policy.stack import DeclaredStack

DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
IMAGE_ARGUMENT = re.compile(r"(.*_)?IMAGE")
DEFAULT_REGISTRY = "docker.io"
IMAGES_PAGE = "https://kubernetes.io/docs/concepts/containers/images/"
containers_and_volumes = any_of(containers, image_volumes)


def _image(subject: View) -> View:
    """The image of a container or an image volume."""
    image = subject.at("image")
    return image.at("reference") if isinstance(image.value, Mapping) else image


def _who(subject: View) -> str:
    name = container_name(subject)
    return name.replace("container", "volume", 1) if ".volumes[" in f".{subject.path}" else name


@rule(
    "image-by-digest",
    title="Containers run images by digest",
    why="A tag can be moved: the tested image would not be the one that runs, and a rollback could not restore it.",
    source=f"{IMAGES_PAGE}#image-names",
    remedy="Deploy `repository@sha256:…` with the digest of the built image.",
    of=containers_and_volumes,
)
def image_by_digest(subject: View) -> Iterator[Problem]:
    image = _image(subject)
    if not DIGEST.fullmatch(image.text() or ""):
        yield image.problem(
            f"{_who(subject)} has image {image.shown()}; allowed: `repository@sha256:` and 64 hex digits"
        )


@stack_rule(
    "image-registry",
    title="Images come from an allowed registry",
    why="The origin of any other image is unknown, and its registry may be unavailable when a pod needs it.",
    source="https://kubernetes.io/docs/concepts/security/security-checklist/#images",
    remedy="Push the image to the stack's own registry (`slipway:registry`), or add its registry to `registries` in "
    "policy/settings.yaml.",
    of=containers_and_volumes,
)
def image_registry(subject: View, stack: DeclaredStack) -> Iterator[Problem]:
    image = _image(subject)
    reference = image.text()
    if reference is None or any(_is_within(reference, registry) for registry in stack.registries):
        return
    allowed = ", ".join(f"`{registry}`" for registry in stack.registries) or "none, until one is named"
    yield image.problem(f"{_who(subject)} has image {image.shown()}; allowed registries: {allowed}")


def _is_within(reference: str, registry: str) -> bool:
    return _complete(reference).startswith(_complete(f"{registry.rstrip('/')}/"))


def _complete(reference: str) -> str:
    """With the registry's host, as the container runtime adds it."""
    host, slash, _ = reference.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return reference
    return f"{DEFAULT_REGISTRY}/{reference}" if slash else f"{DEFAULT_REGISTRY}/library/{reference}"


@rule(
    "base-image-by-digest",
    title="Builds start from base images by digest",
    why="The tag of a base image can be moved: the same source would then give another image.",
    source="https://docs.docker.com/build/building/best-practices/#pin-base-image-versions",
    remedy="Pass `BASE_IMAGE` with its digest, as `Environment.base_image()` does.",
    of=builds,
)
def base_image_by_digest(build: View) -> Iterator[Problem]:
    def check(argument: tuple[str, View]) -> Iterator[Problem]:
        name, value = argument
        if IMAGE_ARGUMENT.fullmatch(name) and not DIGEST.fullmatch(value.text() or ""):
            yield value.problem(
                f"build argument `{name}` is {value.shown()}; allowed: `repository@sha256:` and 64 hex digits"
            )

    return problems_of(build.at("buildArgs").entries().items(), check)


@rule(
    "image-tag-fixed",
    title="Pushed images have a tag other than `latest`",
    why="Registries may delete untagged images, which a rollback needs; `latest` is overwritten.",
    source=f"{IMAGES_PAGE}#image-names",
    remedy="Set `tags` to a tag that changes with the content, as `ServiceImage` does.",
    of=builds,
)
def image_tag_fixed(build: View) -> Iterator[Problem]:
    if not is_pushed(build):
        return
    tags = build.at("tags").items() or _exported_names(build)
    if not tags:
        yield build.at("tags").problem("the image is pushed without a tag; allowed: tags other than `latest`")
    for tag in tags:
        name = (tag.text() or "").rpartition("/")[2]
        if ":" not in name or name.endswith(":latest"):
            yield tag.problem(f"the image is tagged {tag.shown()}; allowed: a tag other than `latest`")


def _exported_names(build: View) -> list[View]:
    """The names in `exports`, which are pushed if there are no `tags`."""
    ways = [each.at(kind, "names") for each in build.at("exports").items() for kind in ("registry", "image")]
    return [name for names in ways for name in names.items()]
