"""Asks user-service whether a user exists, and gives up in time when it does not answer."""

from __future__ import annotations

import logging
import time

import httpx
from kit.logs import request_id
from kit.telemetry import REQUEST_ID_HEADER
from prometheus_client import CollectorRegistry, Histogram
from werkzeug.exceptions import BadGateway, ServiceUnavailable

ATTEMPTS = 3
PAUSE_SECONDS = 0.1
# for connecting and for answering, each
ATTEMPT_TIMEOUT_SECONDS = 1.0
# no attempt starts later than this after the first
DEADLINE_SECONDS = 2.0
RETRY_AFTER_SECONDS = 2
# Fewer than gunicorn has threads: while user-service hangs, orders are refused at once and /healthz is still answered.
MAX_CONNECTIONS = 8
CONNECTION_WAIT_SECONDS = 0.2
# shorter than user-service keeps idle connections, so that a request seldom meets one that is being closed
KEEPALIVE_SECONDS = 4.0
_RETRIED_STATUSES = frozenset({502, 503, 504})

_log = logging.getLogger("user-service")


class _NoAnswerError(Exception):
    """An attempt that says nothing about the user; the next one may."""


class UserService:
    """A client with a pool of connections; the id of the request being served goes along."""

    def __init__(self, url: str, registry: CollectorRegistry) -> None:
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS)
        # a proxy for the outside world, set in the environment, does not know the cluster's names
        self._client = httpx.Client(base_url=url, limits=limits, trust_env=False)
        self._duration = Histogram(
            "user_service_request_duration_seconds", "Time user-service took.", ("outcome",), registry=registry
        )

    def has_user(self, user_id: int) -> bool:
        """Whether there is such a user; raises ServiceUnavailable (503) or BadGateway (502) where it cannot tell."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        attempt = 1
        while True:
            try:
                return self._ask(user_id)
            except _NoAnswerError as error:
                _log.warning("attempt %s of %s to ask for user %s: %s", attempt, ATTEMPTS, user_id, error)
            if attempt == ATTEMPTS or time.monotonic() > deadline:
                raise _unavailable("user-service does not answer")
            time.sleep(PAUSE_SECONDS * attempt)
            attempt += 1

    def close(self) -> None:
        """Closes every connection."""
        self._client.close()

    def _ask(self, user_id: int) -> bool:
        started, outcome = time.monotonic(), "no answer"
        timeout = httpx.Timeout(ATTEMPT_TIMEOUT_SECONDS, pool=CONNECTION_WAIT_SECONDS)
        headers = {REQUEST_ID_HEADER: request_id() or ""}
        try:
            status = self._client.get(f"/users/{user_id}", timeout=timeout, headers=headers).status_code
            outcome = str(status)
        except httpx.PoolTimeout:
            _log.warning("all %s connections to user-service wait for an answer", MAX_CONNECTIONS)
            raise _unavailable("user-service is slow") from None
        except httpx.TransportError as error:
            raise _NoAnswerError(f"{type(error).__name__}: {error}") from error
        finally:
            self._duration.labels(outcome).observe(time.monotonic() - started)
        if status in _RETRIED_STATUSES:
            raise _NoAnswerError(f"status {status}")
        if status not in (200, 404):
            _log.error("user-service answered %s where 200 or 404 was expected", status)
            raise BadGateway("user-service gave an answer that is not understood, so the user cannot be checked")
        return status == 200


def _unavailable(what: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{what}, so the user cannot be checked; try again later", retry_after=RETRY_AFTER_SECONDS
    )
