"""The plain progress of an image build, step by step."""

from __future__ import annotations

from slipway.engine.stages import BuildLog, without_marks


def read(*lines: str) -> BuildLog:
    log = BuildLog()
    for at_seconds, line in enumerate(lines):
        log.add(line, float(at_seconds))
    return log


def test_a_step_lasted_as_long_as_its_end_says() -> None:
    step = read("#7 [build 4/5] RUN make", "#7 0.051 compiling", "#7 0.9 compiled", "#7 DONE 1.3s").steps["7"]
    assert (step.stage, step.instruction) == ("build", "RUN make")
    assert step.ended_seconds == 3.0
    assert step.began_seconds == 3.0 - 1.3
    assert step.output == ["compiling", "compiled"]


def test_steps_that_run_side_by_side_are_distinguished() -> None:
    log = read(
        "#1 [a 1/1] RUN x", "#1 0.1 of x", "#1 ...", "", "#2 [b 1/1] RUN y", "#2 0.1 of y", "#2 ...", "",
        "#1 [a 1/1] RUN x", "#1 0.2 more of x", "#1 DONE 0.3s",
    )  # fmt: skip
    assert log.steps["1"].output == ["of x", "more of x"]
    assert log.steps["2"].output == ["of y"]


def test_a_platform_may_stand_before_the_stage() -> None:
    step = read("#7 [linux/amd64 test  2/13] RUN pytest").steps["7"]
    assert (step.stage, step.instruction) == ("test", "RUN pytest")


def test_buildkits_own_steps_belong_to_no_stage() -> None:
    assert read("#1 [internal] load build context").steps["1"].stage == ""


def test_a_cached_step_did_not_run() -> None:
    log = BuildLog()
    assert log.add("#6 [build 3/5] COPY a b", 0) is None
    assert log.add("#6 CACHED", 0) is None
    assert log.steps["6"].cached


def test_a_step_is_reported_once_and_only_when_it_runs() -> None:
    log = BuildLog()
    assert log.add("#6 [build 3/5] RUN make", 0) is None
    assert log.add("#6 0.1 compiling", 1) is log.steps["6"]
    assert log.add("#6 0.2 compiled", 2) is None
    assert log.add("#6 DONE 2.0s", 3) is None


def test_output_keeps_its_indentation_and_empty_lines() -> None:
    step = read("#9 [test 1/1] RUN pytest", "#9 0.5     assert 1 == 2", "#9 0.5 ", "#9 0.5 1.5 seconds").steps["9"]
    assert step.output == ["    assert 1 == 2", "", "1.5 seconds"]


def test_the_failed_step_is_the_one_with_the_error() -> None:
    log = read(
        "#8 [build 1/2] RUN make", "#8 0.1 working",
        "#9 [test 1/1] RUN pytest", "#9 0.5 E assert", "#9 ERROR: process did not complete successfully: exit code: 1",
        "------", " > [test 1/1] RUN pytest:", "0.5 E assert", "------",
    )  # fmt: skip
    failed = log.failed_step()
    assert failed is log.steps["9"]
    assert failed.output == ["E assert"]


def test_without_the_error_it_is_the_last_one_that_never_ended() -> None:
    log = read("#8 [build 1/2] RUN make", "#8 0.1 a", "#8 DONE 1.0s", "#9 [test 1/1] RUN pytest", "#9 0.5 E assert")
    assert log.failed_step() is log.steps["9"]


def test_a_build_that_did_not_fail_has_no_failed_step() -> None:
    assert read("#8 [build 1/2] RUN make", "#8 0.1 a", "#8 DONE 1.0s").failed_step() is None


def test_a_long_instruction_gets_a_headline_on_one_line() -> None:
    step = read("#8 [build 1/2] RUN pip install     --no-deps " + "a-package " * 20).steps["8"]
    assert len(step.headline) <= 100
    assert step.headline.startswith("[build 1/2] RUN pip install --no-deps a-package")
    assert step.headline.endswith("…")


def test_marks_are_taken_off() -> None:
    assert without_marks("#13 6.900 tests/test_a.py .... [ 20%]") == "tests/test_a.py .... [ 20%]"
    assert without_marks("#13 [test 4/4] RUN pytest") == "[test 4/4] RUN pytest"
    assert without_marks("Waiting for the rollout") == "Waiting for the rollout"
