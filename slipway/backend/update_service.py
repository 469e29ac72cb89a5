"""Serves the engine for one update as a backend that takes a journal, in front of the stack's self-managed backend.

In a folder or bucket the engine writes the whole state before and after each step, and does nothing else meanwhile. To
a backend that speaks HTTP it sends only what each step changes. For as long as an update runs, this is such a backend,
on loopback, of one stack. Lock, state, history and backup are those that the engine itself would have written.

The requests are those of Pulumi Cloud, pulumi's pkg/backend/httpstate/client; it serves only what an update needs.
"""

from __future__ import annotations

import getpass
import gzip
import json
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic_core import from_json, to_json

from slipway.backend.recording import HeldError, RecordedStack, UpdateJournal
from slipway.backend.self_managed import CHECKPOINT_VERSION, NANOSECONDS, ORGANIZATION
from slipway.environment_variables import BACKEND_URL
from slipway.errors import SlipwayError

STACK_PATH = re.compile(rf"/api/stacks/{ORGANIZATION}/(?P<project>[^/]+)/(?P<stack>[^/]+)/?(?P<rest>.*)")
OWN_VARIABLES = {"PULUMI_CREDENTIALS_PATH", "PULUMI_DEFAULT_ORGANIZATION", "PULUMI_JOURNALING_BATCH_PERIOD"}
"""Set for the engine here; the history records which variables of Pulumi a user has set."""
BATCH_PERIOD_MILLISECONDS = 5
"""How long the engine collects entries before it sends them: each step waits for it twice."""


class RequestError(Exception):
    """A request that is not met; the engine shows the text."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class ServedUpdate:
    """One update of `stack`, which the engine begins, reports and ends by requests from several threads."""

    stack: RecordedStack
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    engine_pid: int = 0
    """The process of the engine, which holds the lock."""
    engine_is_old: bool = False
    """Whether the engine keeps no journal; nothing has started then."""
    _identity: str = field(default_factory=lambda: secrets.token_hex(8))
    _ended_at: int = 0
    _begun: dict[str, Any] = field(default_factory=dict, repr=False)
    _lock: str = ""
    _journal: UpdateJournal | None = None
    _changes: Mapping[str, int] = field(default_factory=dict)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def engine_started(self, pid: int) -> None:
        self.engine_pid = pid

    def answer(self, method: str, path: str, body: bytes, engine: str) -> bytes:
        """The JSON of the answer to a request of an `engine` of this version; raises RequestError."""
        found = STACK_PATH.fullmatch(path)
        with self._one_at_a_time:
            answer: Mapping[str, Any]
            if found and found["rest"] in ("", "export") and method == "GET":  # of another stack: a StackReference
                stack = replace(self.stack, project=unquote(found["project"]), stack=unquote(found["stack"]))
                if not stack.exists():
                    raise RequestError(HTTPStatus.NOT_FOUND, "there is no such stack")
                if found["rest"]:  # the state, in the layout of `pulumi stack export`
                    content = from_json(stack.content(), cache_strings="keys")
                    answer = {
                        "version": content.get("version", CHECKPOINT_VERSION),
                        **({"features": content["features"]} if content.get("features") else {}),
                        "deployment": content.get("checkpoint", {}).get("latest"),
                    }
                else:
                    names = {"orgName": ORGANIZATION, "projectName": stack.project, "stackName": stack.stack}
                    answer = {**names, "activeUpdate": "", "tags": stack.tags(), "version": 0}
            elif found and (found["project"], found["stack"]) == (self.stack.project, self.stack.stack):
                answer = self._updated(method, found["rest"], body, engine)
            elif path == "/api/user":
                answer = {"githubLogin": getpass.getuser(), "organizations": []}
            elif path == "/api/capabilities":
                answer = {"capabilities": []}
            else:
                raise RequestError(HTTPStatus.NOT_FOUND, f"{method} {path} is not served")
        return to_json(answer)

    def _updated(self, method: str, path: str, body: bytes, engine: str) -> Mapping[str, Any]:
        """Answer a request that concerns the update itself."""
        match [method, *path.split("/")]:
            case ["POST", "update" | "destroy" as kind]:
                self._begun = _begun(kind, from_json(body))
                return {"updateID": self._identity}
            case ["POST", "update" | "destroy", _]:
                return self._start(engine, from_json(body).get("journalVersion", 0))
            case ["PATCH", _, _, "journalentries"]:
                # Kept before the engine goes on: an operation begins only when its entry is kept.
                if self._journal is None:
                    raise RequestError(HTTPStatus.CONFLICT, "the update has not started, or has ended")
                self._journal.append(body)
                return {}
            case ["POST", _, _, "events", "batch"]:
                # The last event says how many resources each kind of operation concerned.
                if b'"summaryEvent"' in body:
                    for event in from_json(body).get("events") or ():
                        self._changes = (event.get("summaryEvent") or {}).get("resourceChanges") or self._changes
                return {}
            case ["POST", _, _, "renew_lease"]:
                return {"token": self.token}
            case ["POST", _, _, "complete"]:
                return self._complete(from_json(body)["status"])
        raise RequestError(HTTPStatus.NOT_FOUND, f"{method} {path} is not served")

    def leave(self, *, killed: bool) -> None:
        """Write the state that the engine left without ending the update; as ever, a killed engine leaves its lock.

        Raises SlipwayError if it cannot be written: the journal is kept then.
        """
        with self._one_at_a_time:
            try:
                self._write_state()
            except (OSError, ValueError, KeyError, RequestError, SlipwayError) as error:
                self._unlock(killed=killed)
                raise SlipwayError(
                    f"The state of stack {self.stack.stack} could not be written: {error}",
                    next_step=f"`slipway up -s {self.stack.stack}` continues from the state and the journal.",
                ) from error
            self._close()
            self._unlock(killed=killed)

    def _write_state(self) -> None:
        if self._journal and not self._journal.write_state():
            kept, self._journal = self._journal.keep_aside(), None
            raise RequestError(HTTPStatus.CONFLICT, f"it was replaced during the update; the journal is kept as {kept}")

    def _start(self, engine: str, journal_version: int) -> dict[str, Any]:
        if journal_version < 1:
            self.engine_is_old = True
            raise RequestError(HTTPStatus.BAD_REQUEST, "this engine keeps no journal")
        try:
            self._lock = self.stack.lock(self.engine_pid)
            self._journal = self.stack.begin({**self._begun, "engine": engine})
        except HeldError as error:
            raise RequestError(HTTPStatus.CONFLICT, str(error)) from error
        return {"version": 1, "token": self.token, "journalVersion": 1}

    def _complete(self, result: str) -> dict[str, Any]:
        """Write state and history; the engine repeats this request if it fails."""
        if self._journal:
            self._write_state()
            self._ended_at = self._ended_at or time.time_ns()
            damage = self._journal.damage
            ended = {
                "version": 0,
                "result": "failed" if damage else result,
                "endTime": self._ended_at // NANOSECONDS,
                "resourceChanges": self._changes,
            }
            self.stack.add_to_history({**self._begun, **ended}, self._ended_at)
            self._close()
            self._unlock(killed=False)
            if damage:
                raise RequestError(HTTPStatus.CONFLICT, f"the state that it left is damaged: {damage[0]}")
        return {}

    def _close(self) -> None:
        if self._journal:
            self._journal.remove()
            self._journal = None

    def _unlock(self, *, killed: bool) -> None:
        """A killed engine's lock stays, as its own would."""
        if self._lock and not killed:
            self.stack.unlock(self._lock)
        self._lock = ""


def _begun(kind: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What the history records of an update that begins, in the layout of the engine's own files."""
    metadata = request.get("metadata") or {}
    environment = metadata.get("environment") or {}
    config: dict[str, Any] = {}
    for key, value in (request.get("config") or {}).items():  # in the layout of `Pulumi.<stack>.yaml`
        if value.get("object"):
            config[key] = json.loads(value["string"])
        else:
            config[key] = {"secure": value["string"]} if value.get("secret") else value["string"]
    return {
        "kind": kind,
        "startTime": int(time.time()),
        "message": metadata.get("message") or "",
        "environment": {key: each for key, each in environment.items() if key.rpartition(".")[2] not in OWN_VARIABLES},
        "config": config,
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, update: ServedUpdate) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.update = update

    def handle_error(self, _request: object, _client: object) -> None:
        """An engine that was killed takes no answer; every other error has been answered."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        update = self.server.update
        engine = self.headers.get("User-Agent", "").partition("(")[2].partition(";")[0]
        try:
            if not secrets.compare_digest(self.headers.get("Authorization", "").rpartition(" ")[2], update.token):
                raise RequestError(HTTPStatus.UNAUTHORIZED, "unauthorized")
            status, answer = HTTPStatus.OK, update.answer(self.command, self.path.partition("?")[0], body, engine)
        except RequestError as error:
            status, answer = error.status, to_json({"code": error.status, "message": str(error)})
        except Exception as error:  # noqa: BLE001 -- a full disk, a backend that fails: the engine tries again, and ends
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            answer = to_json({"code": status, "message": f"{type(error).__name__}: {error}"})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = _serve  # noqa: N815 -- the names that the base class calls

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of single requests: the log of the update has all that matters."""


@contextmanager
def serve(update: ServedUpdate, backend_url: str) -> Iterator[Mapping[str, str]]:
    """Serve `update`; yields the variables with which the engine uses it, and the program still uses `backend_url`."""
    server = _Server(update)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        with tempfile.TemporaryDirectory(prefix="slipway-login-") as folder:
            account = {
                "accessToken": update.token,
                "username": getpass.getuser(),
                "organizations": [ORGANIZATION],
                "lastValidatedAt": datetime.now(UTC).isoformat(),
            }
            url = server.url
            login = {"current": url, "accessTokens": {url: update.token}, "accounts": {url: account}}
            # Without a file of its own, the engine would add this backend to the user's logins.
            Path(folder, "credentials.json").write_text(json.dumps(login), encoding="utf-8")
            yield {
                BACKEND_URL: backend_url,
                "PULUMI_BACKEND_URL": url,
                "PULUMI_CREDENTIALS_PATH": folder,
                "PULUMI_DEFAULT_ORGANIZATION": ORGANIZATION,
                "PULUMI_JOURNALING_BATCH_PERIOD": str(BATCH_PERIOD_MILLISECONDS),
            }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
