"""The client's own rate limit, as client-go has it: so many requests a second, with a burst above that."""

from __future__ import annotations

import threading
import time


class Throttle:
    """A token bucket shared by all threads; `qps` of zero or less means no limit."""

    def __init__(self, qps: float, burst: int) -> None:
        self._qps = qps
        self._burst = max(burst, 1)
        self._lock = threading.Lock()
        self._tokens = float(self._burst)
        self._counted_at = time.monotonic()

    def wait(self, cancelled: threading.Event) -> None:
        """Block until a request may go out, or until everything is cancelled."""
        if self._qps > 0:
            delay = self._take()
            if delay > 0:
                cancelled.wait(delay)

    def _take(self) -> float:
        """Take one token, on credit if need be; returns the seconds until it is really there."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._qps)
            self._counted_at = now
            self._tokens -= 1
            return -self._tokens / self._qps
