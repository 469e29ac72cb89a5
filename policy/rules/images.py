"""Images: where they come from, that every pushed one was tested, and that the build of every promoted one is known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from policy.declaration import Problem, View, problems_of
from policy.kinds import (
    IMAGE,
    any_of,
    builds,
    container_name,
    containers,
    image_volumes,
    is_pushed,
    other_builds,
    promoted_images,
)
from policy.model import ADVISED, Family, rule, stack_rule
from policy.stack import DeclaredStack

IMAGES = Family("Images")
BY_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
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
    if not BY_DIGEST.fullmatch(image.text() or ""):
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
        if IMAGE_ARGUMENT.fullmatch(name) and not BY_DIGEST.fullmatch(value.text() or ""):
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
    tags = build.at("tags").items()
    if not tags:  # then the names in `exports` are pushed
        ways = [each.at(kind, "names") for each in build.at("exports").items() for kind in ("registry", "image")]
        tags = [name for names in ways for name in names.items()]
    if not tags:
        yield build.at("tags").problem("the image is pushed without a tag; allowed: tags other than `latest`")
    for tag in tags:
        name = (tag.text() or "").rpartition("/")[2]
        if ":" not in name or name.endswith(":latest"):
            yield tag.problem(f"the image is tagged {tag.shown()}; allowed: a tag other than `latest`")


BUILDS = Family("Builds")
TEST_SUFFIX = "-test"
# The value is `none` on an image without unit tests, `stage NAME` on an image that is built from their stage.
# `components.service_image` writes it.
UNIT_TESTS_LABEL = "slipway.dev/unit-tests"
NO_TESTS, IN_STAGE = "none", "stage "
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@stack_rule(
    "unit-tests-first",
    title="Unit tests run before an image is pushed",
    why="Otherwise an image is deployed whose unit tests did not run, or ran on other files.",
    source="https://docs.docker.com/build/building/multi-stage/#stop-at-a-specific-build-stage",
    remedy="Copy files into the image from the stage that runs the tests (`COPY --from=test`), or declare an Image "
    "`NAME-test` of the same context and Dockerfile with that stage as `target`, and let the pushed image depend on "
    "it, as `ServiceImage` does.",
    of=any_of(builds, other_builds),
)
def unit_tests_first(build: View, stack: DeclaredStack) -> Iterator[Problem]:
    pushed = build.resource
    if pushed.type != IMAGE:
        if build.at("skipPush").read() is not True:
            yield build.problem(f"{pushed.type} is pushed without unit tests; allowed: {IMAGE}")
        return
    if not is_pushed(build) or (said := _unit_tests(build)) == NO_TESTS:
        return
    if said.startswith(IN_STAGE):
        yield from _tests(said.removeprefix(IN_STAGE), build)
        return
    test_image = f"{pushed.name}{TEST_SUFFIX}"
    found = stack.by_type_and_name.get((IMAGE, test_image))
    if found is None:
        yield build.problem(
            f"the image is pushed and there is no Image `{test_image}`; allowed: one whose stage runs the unit tests"
        )
        return
    test = View.of(found)
    yield from _tests(test.at("target").text() or "", build)
    for keys in (("context", "location"), ("dockerfile", "location")):
        tested, built = test.at(*keys), build.at(*keys)
        if tested.read() != built.read():
            yield built.problem(
                f"the image is built from {built.shown()}, its test from {tested.shown()}; allowed: the same {keys[0]}"
            )
    named = build.at("context", "named")
    if test.at("context", "named").known() != named.known():
        yield named.problem("the image has other named contexts than its test; allowed: the same")
    # Without dependencies or a URN it is not known whether the test is built first.
    dependencies = pushed.options.dependencies
    if dependencies is not None and found.urn and found.urn not in dependencies:
        yield build.problem(f"the image does not depend on Image `{test_image}`; allowed: `depends_on` it")


def _unit_tests(build: View) -> str:
    return build.at("labels", UNIT_TESTS_LABEL).text() or ""


def _tests(stage: str, pushed: View) -> Iterator[Problem]:
    """The problems of `stage` as the stage of the unit tests; `stage` is empty if none is named."""
    target = pushed.at("target")
    if not stage or stage == target.text():
        yield pushed.problem(
            f"the target of the unit tests is {f'`{stage}`' if stage else 'missing'}, the target of the image is "
            f"{target.shown()}; allowed: a separate stage for the tests"
        )
    named = pushed.at("context", "named")
    # https://docs.docker.com/reference/cli/docker/buildx/build/#build-context
    for each in filter(None, (stage, target.text())):
        if each in named.entries():
            yield named.problem(f"the named context `{each}` replaces the stage of that name; allowed: another name")


@rule(
    "unit-tests-exist",
    title="Images have unit tests",
    why="Without unit tests, bugs are found only after the deployment.",
    source="https://docs.docker.com/build/building/multi-stage/#stop-at-a-specific-build-stage",
    remedy="Give the Dockerfile a stage that runs the unit tests, and remove `testTarget: null` from service.yaml.",
    of=builds,
    levels=ADVISED,
)
def unit_tests_exist(build: View) -> Iterator[Problem]:
    if is_pushed(build) and _unit_tests(build) == NO_TESTS:
        yield build.problem(
            "the image is declared to have no unit tests (`build: {testTarget: null}`); allowed: a stage that runs them"
        )


@rule(
    "promoted-image-tested",
    title="A promoted image names the build whose unit tests passed",
    why="A promoted image is not built here: only the record of its build shows that its unit tests passed.",
    source="https://slsa.dev/spec/v1.0/provenance",
    remedy="Write `slipway:images` with `slipway promote`: it only takes images built after their unit tests.",
    of=promoted_images,
)
def promoted_image_tested(image: View) -> Iterator[Problem]:
    digest = image.at("digest")
    if not DIGEST.fullmatch(digest.text() or ""):
        yield digest.problem(f"the digest is {digest.shown()}; allowed: `sha256:` and 64 hex digits")
    origin = image.at("promotedFrom")
    environment, update = origin.at("environment"), origin.at("update")
    if not environment.text():
        yield environment.problem(f"the image is promoted from {environment.shown()}; allowed: an environment's name")
    number = update.read()
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        yield update.problem(f"the image is promoted from update {update.shown()}; allowed: its number in the history")
