"""Gives every request an id, a log line and its place in the metrics, and serves `/metrics`."""

from __future__ import annotations

import logging
import re
import time
import uuid

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

REQUEST_ID_HEADER = "X-Request-ID"
# ids of callers end up in logs and headers: anything other than this is replaced by an id of our own
_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# requested every few seconds by the platform; logged only at level debug while they succeed
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

_log = logging.getLogger("request")


def init_telemetry(app: Flask) -> CollectorRegistry:
    """Sets all of this up for `app`; returns the registry for the service's own metrics."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    # Correct for one process, which is why gunicorn runs a single worker with threads.
    answered = Counter("http_requests", "Requests answered.", ("method", "route", "status"), registry=registry)
    duration = Histogram(
        "http_request_duration_seconds", "Time to answer a request.", ("method", "route"), registry=registry
    )

    @app.before_request
    def start() -> None:
        g.started_seconds = time.perf_counter()
        offered = request.headers.get(REQUEST_ID_HEADER, "")
        g.request_id = offered if _ACCEPTABLE_ID.fullmatch(offered) else uuid.uuid4().hex

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = g.request_id
        seconds = time.perf_counter() - g.started_seconds
        # labels must stay few: a path or method a caller makes up must not become a new time series
        route = request.url_rule.rule if request.url_rule else "unmatched"
        method = request.method if request.method in _KNOWN_METHODS else "other"
        answered.labels(method, route, str(response.status_code)).inc()
        duration.labels(method, route).observe(seconds)
        _log_answer(response.status_code, seconds)
        return response

    @app.get("/metrics")
    def serve_metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(registry), content_type=content_type)

    return registry


def _log_answer(status: int, seconds: float) -> None:
    level = logging.INFO
    if status >= 500:
        level = logging.ERROR
    elif request.path in _QUIET_PATHS:
        level = logging.DEBUG
    fields = {
        "method": request.method,
        "path": request.path,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "client": request.remote_addr,
    }
    _log.log(level, "%s %s %s", request.method, request.path, status, extra={"fields": fields})
