"""What all tests need of the process that runs them, and how those that share the lab share it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # what tests share is below `tests`

# A background job of a shell without job control, as on a build server, has Ctrl-C ignored, and so would have every
# program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Ends parts of the lab, so nothing else may use it meanwhile.
ALONE = "tests/lab/test_lab_recovery.py"
ALONE_SECONDS = 240.0
ON_THE_LAB = pytest.StashKey[set[str]]()


class _EncodableReports:
    """Workers send their reports as UTF-8, which cannot hold what some tests log on purpose: lone surrogates."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
        return report


def pytest_configure(config: pytest.Config) -> None:
    # Registered, and not a hook of this file: the tests of services/ are outside of this folder.
    config.pluginmanager.register(_EncodableReports())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several workers take a file each: first what needs the lab for itself, then what takes long."""
    if not os.environ.get("SLIPWAY_TEST_ALL"):
        for item in items:
            if "thorough" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="one of many of its kind: SLIPWAY_TEST_ALL=1 runs them all"))
    config.stash[ON_THE_LAB] = {_file(item) for item in items if _is_on_the_lab(item)}
    tests = Counter(map(_file, items))

    def turn(item: pytest.Item) -> tuple[bool, bool, bool, int]:
        file = _file(item)
        return file != ALONE, "e2e" not in item.keywords, not _is_on_the_lab(item), -tests[file]

    items.sort(key=turn)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _is_on_the_lab(item: pytest.Item) -> bool:
    return "lab" in item.keywords or "e2e" in item.keywords


@pytest.fixture(scope="module", autouse=True)
def _share_of_the_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever uses the lab waits for the first file, which one of the workers begins with, to be done with it."""
    file, on_the_lab = request.node.nodeid, request.config.stash[ON_THE_LAB]
    folder = tmp_path_factory.getbasetemp()
    done = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "alone.done"
    if file != ALONE and {file, ALONE} <= on_the_lab:
        given_up = time.monotonic() + ALONE_SECONDS  # its worker died
        while not done.exists() and time.monotonic() < given_up:
            time.sleep(0.2)
    yield
    if file == ALONE:
        done.touch()
