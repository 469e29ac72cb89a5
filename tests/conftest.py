"""What all tests need of the process that runs them, and how those that share the lab share it."""

from __future__ import annotations

import gc
import os
import signal
import ssl
import time
from collections import Counter
from collections.abc import Generator, Iterator
from functools import cache
from typing import Any

import certifi
import pytest
from xdist.scheduler import LoadScopeScheduling

from slipway.process import THRESHOLDS

# To read all tests takes a quarter less processor time.
gc.set_threshold(*THRESHOLDS)
# A background job of a shell without job control, as on a build server, has Ctrl-C ignored, and so would have every
# program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Ends parts of the lab, so nothing else may use it meanwhile.
ALONE = "tests/lab/test_lab_recovery.py"
SCENARIOS = "tests/e2e/"
ALONE_SECONDS = 240.0
# What the other workers do meanwhile: files of so many tests, none of which takes seconds.
MANY, TAKE_SECONDS = 20, {"lab", "e2e", "toolchain", "slow"}
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
    _read_public_authorities_once()


def _read_public_authorities_once() -> None:
    """Every HTTP client reads the bundle of public certificate authorities anew, for 60 ms: share what is read."""
    create, bundles = ssl.create_default_context, (certifi.where(), os.environ.get("SSL_CERT_FILE"))
    shared = cache(create)

    def create_or_share(*arguments: Any, **options: Any) -> ssl.SSLContext:
        public = not arguments and options.keys() == {"cafile"} and options["cafile"] in bundles
        return (shared if public else create)(*arguments, **options)

    ssl.create_default_context = create_or_share


@pytest.hookimpl(trylast=True)  # what `-m` leaves out is not waited for
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """First what needs the lab for itself, and what others do meanwhile, then what takes long: of scenarios those of
    small files, a long one each.
    """
    left_out = [] if os.environ.get("SLIPWAY_TEST_ALL") else [item for item in items if "thorough" in item.keywords]
    for item in left_out:
        item.add_marker(pytest.mark.skip(reason="one of many of its kind: SLIPWAY_TEST_ALL=1 runs them all"))
    config.stash[ON_THE_LAB] = {_file(item) for item in items if _is_on_the_lab(item)}
    tests = Counter(map(_file, items))
    tests.subtract(map(_file, left_out))
    take_seconds = {_file(item) for item in items if not TAKE_SECONDS.isdisjoint(item.keywords)}

    def turn(item: pytest.Item) -> tuple[bool, bool, bool, bool, int]:
        file, is_scenario = _file(item), "e2e" in item.keywords
        meanwhile = tests[file] >= MANY and file not in take_seconds
        number = tests[file] if is_scenario else -tests[file]
        return file != ALONE, not meanwhile, not is_scenario, not _is_on_the_lab(item), number

    items.sort(key=turn)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """A worker takes a file, whose tests share what is made for it once, or one scenario with a stack of its own."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(SCENARIOS) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return _Scheduling(config, log) if config.getoption("dist") == "loadscope" else None


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
