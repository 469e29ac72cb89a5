"""A client for GitHub's REST API, for comments and pull requests: pages, rate limits, retries, clear errors."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from slipway.errors import ConfigurationError, SlipwayError

API_URL = "https://api.github.com"
# Of a comment and of the description of a pull request, in characters.
LONGEST_BODY = 65_536
API_VERSION = "2022-11-28"
TIMEOUT_SECONDS = 30.0
# Longer than a secondary rate limit lasts, shorter than users wait for a job.
PATIENCE_SECONDS = 300.0
# The wait that the documentation requires if a secondary rate limit names no time.
# https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
UNNAMED_WAIT_SECONDS = 60.0
RETRIES = 4
PAGE_SIZE = 100
NEXT_STEPS = {
    401: "Set GITHUB_TOKEN to a token that has not expired.",
    403: "Give the token the right to write pull requests: `permissions: {pull-requests: write}` in the workflow. "
    "A pull request from a fork gets a token that may only read: see docs/pull-requests.md.",
    404: "Check --repo and --pr; a token that may not see a private repository gets the same answer.",
    410: "Issues or pull requests are switched off in this repository.",
    422: "Check what --file contains; GitHub takes at most 65,536 characters.",
}


class RefusedError(ConfigurationError):
    """GitHub refused the request, and a retry does not help; `status` is the HTTP status."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what, next_step=NEXT_STEPS.get(status, "Check --repo, --pr and the token."))
        self.status = status


class TransientError(Exception):
    """The server or the network failed, and the same request may succeed later."""


@dataclass
class GitHub:
    """A connection to GitHub; `url` is GITHUB_API_URL, `say` tells the user why the command waits.

    Reads and edits are retried after a transient error. A creation is not, because GitHub may have carried it out
    although the answer was lost: it raises TransientError, and the caller checks before it tries again.
    """

    token: str = field(repr=False)
    url: str = API_URL
    say: Callable[[str], None] = lambda _text: None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    _left_seconds: float = PATIENCE_SECONDS
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_address = False
        if not is_address:
            raise ConfigurationError(
                f"GITHUB_API_URL is {self.url!r}; it must be an http or https URL.",
                next_step=f"Unset it for {API_URL}.",
            )
        self._client = httpx.Client(
            base_url=self.url.rstrip("/") + "/",
            timeout=TIMEOUT_SECONDS,
            follow_redirects=True,  # a renamed repository
            headers={
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": API_VERSION,
                "User-Agent": "slipway",
            },
        )

    def __enter__(self) -> GitHub:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        return self._with_retries("GET", path).json()

    def patch(self, path: str, body: dict[str, str]) -> Any:
        return self._with_retries("PATCH", path, body).json()

    def post(self, path: str, body: dict[str, str]) -> Any:
        """Create an object; raises TransientError if it is not known whether GitHub created it."""
        return self._request("POST", path, body).json()

    def put(self, path: str, body: dict[str, str]) -> Any:
        """Create or replace the object at `path`."""
        return self._with_retries("PUT", path, body).json()

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Every item of a list, from all pages that the Link headers name."""
        address: str | None = f"{path}?per_page={PAGE_SIZE}"
        seen: set[str] = set()
        while address and address not in seen:
            seen.add(address)
            response = self._with_retries("GET", address)
            content = response.json()
            if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
                raise SlipwayError(f"{response.url} did not return a list.", next_step="Check GITHUB_API_URL.")
            yield from content
            address = response.links.get("next", {}).get("url")
            if address is not None:
                target, own = response.url.join(address), response.url
                # The token is not sent to another server.
                if (target.scheme, target.host, target.port) != (own.scheme, own.host, own.port):
                    raise SlipwayError(f"GitHub's answer links to another server, {target.host}, for its next page.")
                address = str(target)

    def pause(self, attempt: int, why: str) -> None:
        """Wait longer after each failed attempt (1, 2, 4, … seconds), or give up."""
        if attempt > RETRIES:
            raise SlipwayError(
                f"GitHub at {self.url} failed {attempt} times: {why}",
                next_step="Check the network and GITHUB_API_URL; https://www.githubstatus.com lists outages.",
            )
        self._wait(2.0 ** (attempt - 1), why)

    def _with_retries(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        attempt = 0
        while True:
            try:
                return self._request(method, path, body)
            except TransientError as error:
                attempt += 1
                self.pause(attempt, str(error))

    def _request(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        """Send one request; repeat it only if GitHub did not carry it out because of a rate limit."""
        while True:
            try:
                response = self._client.request(method, path.lstrip("/"), json=body)
            except httpx.TransportError as error:
                raise TransientError(f"{type(error).__name__}: {error}") from error
            except httpx.TooManyRedirects as error:
                raise SlipwayError(f"GitHub at {self.url} redirects {path} in a loop.") from error
            if response.is_success:
                try:
                    response.json()
                except ValueError as error:
                    raise SlipwayError(
                        f"{self.url} does not answer like GitHub's API: "
                        f"{response.request.method} {response.url} returned no JSON.",
                        next_step="Check GITHUB_API_URL; for an Enterprise server it ends in /api/v3.",
                    ) from error
                return response
            if response.status_code >= 500:
                raise TransientError(f"{method} {path} failed with {_answer(response)}")
            wait_seconds = self._rate_limited(response)
            if wait_seconds is None:
                asked = f"{method} /{path.lstrip('/').split('?')[0]}"
                raise RefusedError(f"GitHub refused {asked}: {_answer(response)}", response.status_code)
            self._wait(wait_seconds, f"rate limit: {_answer(response)}")

    def _rate_limited(self, response: httpx.Response) -> float | None:
        """Seconds until GitHub accepts the next request; `None` if it refused for another reason."""
        if response.status_code not in (403, 429):
            return None
        headers = response.headers
        if (after := headers.get("retry-after", "")).isdigit():
            return max(1.0, float(after))  # a repeated "0" must reach the time limit too
        if headers.get("x-ratelimit-remaining") == "0" and headers.get("x-ratelimit-reset", "").isdigit():
            return max(0.0, math.ceil(float(headers["x-ratelimit-reset"]) - self.clock())) + 1.0
        limited = response.status_code == 429 or "rate limit" in _message(response).lower()
        return UNNAMED_WAIT_SECONDS if limited else None

    def _wait(self, seconds: float, why: str) -> None:
        if seconds > self._left_seconds:
            raise SlipwayError(
                f"GitHub accepts no requests for {seconds:.0f} seconds.",
                why=f"{why}\nThe command waits at most {PATIENCE_SECONDS:.0f} seconds in all.",
                next_step="Run the command again later, or with another token.",
            )
        self._left_seconds -= seconds
        self.say(f"Waiting {seconds:.0f} s for GitHub: {why}")
        self.sleep(seconds)


def token_of(environ: Mapping[str, str]) -> str:
    """The value of GITHUB_TOKEN; raises ConfigurationError if it is not set or cannot be a token."""
    token = environ.get("GITHUB_TOKEN", "").strip()
    if not token:
        raise ConfigurationError(
            "GITHUB_TOKEN is not set.",
            next_step="In a workflow: `env: {GITHUB_TOKEN: '${{ github.token }}'}` on the step.",
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError("GITHUB_TOKEN is not a token: it contains blanks or unprintable characters.")
    return token


def _message(response: httpx.Response) -> str:
    try:
        content = response.json()
    except ValueError:
        return ""
    if not isinstance(content, dict):
        return ""
    errors = content.get("errors") or []
    details = [str(error.get("message") or error) if isinstance(error, dict) else str(error) for error in errors]
    return ": ".join([str(content.get("message", "")), *details])


def _answer(response: httpx.Response) -> str:
    return f"{response.status_code} {_message(response)}".strip()
