"""`/healthz` (the process answers) and `/readyz` (it can do its work now), asked by the platform."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, Response, jsonify
from werkzeug.exceptions import ServiceUnavailable

CHECK_TIMEOUT_SECONDS = 2.0

_log = logging.getLogger("health")


def init_health(app: Flask, why_not_ready: Callable[[], str | None] = lambda: None) -> None:
    """Adds both; `why_not_ready` returns a reason or None, and is given up after CHECK_TIMEOUT_SECONDS."""
    # A thread of its own: a driver waiting for a silent server cannot be interrupted, but we can stop waiting for it.
    checker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="readiness")

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @app.get("/readyz")
    def readyz() -> Response:
        check = checker.submit(why_not_ready)
        try:
            reason = check.result(timeout=CHECK_TIMEOUT_SECONDS)
        except TimeoutError:
            check.cancel()
            reason = f"no answer within {CHECK_TIMEOUT_SECONDS:g} s"
        if reason:
            _log.warning("not ready: %s", reason)
            raise ServiceUnavailable(f"not ready: {reason}")
        return jsonify(status="ready")
