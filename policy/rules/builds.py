"""Builds: nothing is pushed that was not tested."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem, Resource
from policy.define import stack_rule
from policy.kinds import IMAGE, any_of, builds, is_pushed, other_builds
from policy.stack import Stack
from policy.view import View

TEST_TARGET = "test"


@stack_rule(
    "unit-tests-first",
    title="A build of stage `test` precedes every pushed image",
    why="An image whose unit tests did not run, or ran on other files, is deployed on hope.",
    source="https://docs.docker.com/build/building/multi-stage/#stop-at-a-specific-build-stage",
    remedy="Declare an Image `NAME-test` of the same context with target `test`, and let the pushed one depend on it, "
    "as `ServiceImage` does.",
    of=any_of(builds, other_builds),
)
def unit_tests_first(build: View, stack: Stack) -> Iterator[Problem]:
    pushed = build.resource
    if pushed.type != IMAGE:
        yield from _past_the_tests(build)
        return
    if not is_pushed(build):
        return
    wanted = f"{pushed.name}-{TEST_TARGET}"
    test = stack.by_type_and_name.get((IMAGE, wanted))
    if test is None:
        yield build.problem(f"the image is pushed and there is no Image `{wanted}`; allowed: one of target `test`")
    else:
        yield from _tests(View.of(test), build)
        if not _precedes(test, pushed):
            yield build.problem(f"the image does not depend on Image `{wanted}`; allowed: `depends_on` it")


def _past_the_tests(build: View) -> Iterator[Problem]:
    if build.at("skipPush").read() is not True:
        yield build.problem(f"{build.resource.type} is pushed past the unit tests; allowed: {IMAGE}")


def _tests(test: View, pushed: View) -> Iterator[Problem]:
    target = test.at("target")
    if target.text() != TEST_TARGET:
        yield pushed.problem(f"Image `{test.resource.name}` builds target {target.shown()}; allowed: `{TEST_TARGET}`")
    tested, context = test.at("context", "location"), pushed.at("context", "location")
    if tested.read() != context.read():
        yield context.problem(
            f"the image is built from {context.shown()}, its test from {tested.shown()}; allowed: the same context"
        )
    named = pushed.at("context", "named")
    if test.at("context", "named").known() != named.known():
        yield named.problem("the image has other named contexts than its test; allowed: the same")
    if TEST_TARGET in named.entries():  # https://docs.docker.com/reference/cli/docker/buildx/build/#build-context
        yield named.problem(f"the named context `{TEST_TARGET}` takes the place of that stage; allowed: another name")


def _precedes(test: Resource, pushed: Resource) -> bool:
    """Where dependencies are not known, the engine's order is not ours to judge."""
    dependencies = pushed.options.dependencies
    return dependencies is None or not test.urn or test.urn in dependencies
