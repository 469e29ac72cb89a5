"""Stops rules that would never end."""

from __future__ import annotations

import faulthandler
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
DEADLINE_SECONDS = 60.0
# For a rule that lets no other thread run, such as a regular expression that backtracks for ever.
LAST_RESORT_SECONDS = 5.0


class DeadlineError(TimeoutError):
    """A call was not done in time; says which."""


class Deadline:
    """The time for each of any number of calls, in seconds; if a call blocks the process, the process is ended."""

    def __init__(self, timeout_seconds: float = DEADLINE_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._running = 0

    def run(self, work: Callable[[], T], doing: Callable[[], str]) -> T:
        """The result of `work`. If it takes too long, raises DeadlineError, which names the result of `doing`."""
        result: Future[T] = Future()
        with self._lock:
            self._running += 1
            faulthandler.dump_traceback_later(self._timeout_seconds + LAST_RESORT_SECONDS, exit=True)
        try:
            threading.Thread(target=_fulfil, args=(result, work), daemon=True).start()
            return result.result(self._timeout_seconds)
        except TimeoutError as error:
            if result.done():  # it raised a TimeoutError of its own
                raise
            raise DeadlineError(f"{doing()} did not finish in {self._timeout_seconds:g} s") from error
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    faulthandler.cancel_dump_traceback_later()


def _fulfil(result: Future[T], work: Callable[[], T]) -> None:
    try:
        result.set_result(work())
    except BaseException as error:  # noqa: BLE001 (handed over to the caller)
        result.set_exception(error)
