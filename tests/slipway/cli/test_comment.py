"""`slipway comment` against a server that speaks GitHub's issue-comment API, with its pages, limits and failures."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from slipway.cli.comment import ACTIONS_BOT, Target, comment, upsert
from slipway.errors import ConfigurationError, ExitCode, SlipwayError
from slipway.github import PATIENCE_SECONDS, GitHub

MARKER = "<!-- slipway:preview:shop:dev -->"
BODY = f"{MARKER}\n\n## dev: 1 to update\n"
TOKEN = "a-token"
COMMENTS = "/repos/acme/shop/issues/7/comments"


@dataclass
class Answer:
    """What the server says instead of doing what it was asked; `after` lets it do that first."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = field(default_factory=dict)
    after: bool = False


@dataclass
class FakeGitHub:
    """The state of one pull request, and what is to go wrong, by method and path, in order."""

    port: int = 0
    login: str | None = None
    app: str = ACTIONS_BOT
    """Who comments with a token that may not ask who it is."""
    comments: list[dict[str, Any]] = field(default_factory=list)
    troubles: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    page_size: int = 100

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, body: str, login: str = ACTIONS_BOT) -> int:
        number = 1000 + len(self.comments)
        html_url = f"https://github.example/acme/shop/pull/7#issuecomment-{number}"
        user = {"login": login, "type": "Bot" if login.endswith("[bot]") else "User"}
        self.comments.append({"id": number, "body": body, "user": user, "html_url": html_url})
        return number

    def bodies(self) -> list[str]:
        return [entry["body"] for entry in self.comments]

    def trouble(self, method: str, path: str, *answers: Answer) -> None:
        self.troubles.setdefault((method, path), []).extend(answers)

    def count(self, method: str) -> int:
        return sum(each == method for each, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    """https://docs.github.com/en/rest/issues/comments"""

    fake: FakeGitHub

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PATCH = do_GET  # noqa: N815

    def log_message(self, *_arguments: object) -> None:
        """Tests print enough."""

    def _handle(self) -> None:
        path = urlsplit(self.path).path
        length = int(self.headers.get("Content-Length") or 0)
        sent = json.loads(self.rfile.read(length) or b"null")
        self.fake.requests.append((self.command, self.path))
        troubles = self.fake.troubles.get((self.command, path), [])
        trouble = troubles.pop(0) if troubles else None
        if trouble and not trouble.after:
            self._answer(trouble.status, trouble.body, trouble.headers)
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"message": "Bad credentials"})
            return
        answer = self._do(path, sent)
        self._answer(*((trouble.status, trouble.body, trouble.headers) if trouble else answer))

    def _do(self, path: str, sent: Any) -> tuple[int, Any, dict[str, str]]:
        if (self.command, path) == ("GET", "/user"):
            if self.fake.login is None:
                return 403, {"message": "Resource not accessible by integration"}, {}
            return 200, {"login": self.fake.login}, {}
        if path == COMMENTS and self.command == "GET":
            return self._page()
        if path == COMMENTS and self.command == "POST":
            self.fake.add(sent["body"], self.fake.login or self.fake.app)
            return 201, self.fake.comments[-1], {}
        if self.command == "PATCH" and (found := re.fullmatch(r"/repos/acme/shop/issues/comments/(\d+)", path)):
            return self._edit(int(found[1]), sent)
        return 404, {"message": "Not Found"}, {}

    def _page(self) -> tuple[int, Any, dict[str, str]]:
        query = parse_qs(urlsplit(self.path).query)
        size, page = min(int(query["per_page"][0]), self.fake.page_size), int(query.get("page", ["1"])[0])
        found = self.fake.comments[(page - 1) * size : page * size]
        more = page * size < len(self.fake.comments)
        link = f'<{self.fake.url}{COMMENTS}?per_page={size}&page={page + 1}>; rel="next"'
        return 200, found, {"Link": link} if more else {}

    def _edit(self, number: int, sent: Any) -> tuple[int, Any, dict[str, str]]:
        for entry in self.fake.comments:
            if entry["id"] == number:
                if entry["user"]["login"] not in (self.fake.login, self.fake.app):
                    return 403, {"message": "Resource not accessible by integration"}, {}
                entry["body"] = sent["body"]
                return 200, entry, {}
        return 404, {"message": "Not Found"}, {}

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def fake() -> Iterator[FakeGitHub]:
    fake = FakeGitHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisTest", (Handler,), {"fake": fake}))
    fake.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Patient:
    """Waits without waiting, and remembers how long it would have."""

    now: float = 1_000_000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def patient() -> Patient:
    return Patient()


def put(fake: FakeGitHub, patient: Patient, body: str = BODY, token: str = TOKEN) -> str:
    with GitHub(token, fake.url, sleep=patient.sleep, clock=lambda: patient.now) as github:
        return upsert(github, Target("acme/shop", 7), body)[0]


def test_the_first_preview_makes_a_comment(fake: FakeGitHub, patient: Patient) -> None:
    fake.add("Looks good to me!", "someone")
    assert put(fake, patient) == "created"
    assert fake.bodies() == ["Looks good to me!", BODY]


def test_the_next_preview_updates_it(fake: FakeGitHub, patient: Patient) -> None:
    fake.add(f"{MARKER}\n\nolder\n")
    fake.add("<!-- slipway:preview:shop:prod -->\n\nof another environment\n")
    assert put(fake, patient) == "updated"
    assert fake.bodies() == [BODY, "<!-- slipway:preview:shop:prod -->\n\nof another environment\n"]


def test_the_same_again_is_not_sent(fake: FakeGitHub, patient: Patient) -> None:
    fake.add(BODY.replace("\n", "\r\n").rstrip())
    assert put(fake, patient) == "unchanged"
    assert fake.count("PATCH") == fake.count("POST") == 0


def test_the_comment_is_found_on_a_later_page(fake: FakeGitHub, patient: Patient) -> None:
    fake.page_size = 3
    for number in range(10):
        fake.add(f"comment {number}", "someone")
    fake.add(f"{MARKER}\n\nolder\n")
    assert put(fake, patient) == "updated"
    assert fake.bodies()[-1] == BODY
    assert len(fake.comments) == 11


def test_a_comment_of_somebody_else_with_our_marker_is_left_alone(fake: FakeGitHub, patient: Patient) -> None:
    fake.add(f"{MARKER}\n\nhijacked\n", "mallory")
    assert put(fake, patient) == "created"
    assert fake.bodies()[0] == f"{MARKER}\n\nhijacked\n"


def test_the_token_of_an_app_finds_its_own_comment_again(fake: FakeGitHub, patient: Patient) -> None:
    """It may not ask who it is, and another bot's comment is not its own to change."""
    fake.app = "our-app[bot]"
    fake.add(f"{MARKER}\n\nof another app\n", "other-app[bot]")
    assert [put(fake, patient, BODY + line) for line in ("one", "two")] == ["created", "updated"]
    assert fake.bodies() == [f"{MARKER}\n\nof another app\n", f"{BODY}two"]


def test_a_quoted_marker_is_not_ours(fake: FakeGitHub, patient: Patient) -> None:
    fake.add(f"> {MARKER}\n\nWhat is this?")
    assert put(fake, patient) == "created"


def test_a_persons_token_edits_that_persons_comment(fake: FakeGitHub, patient: Patient) -> None:
    fake.login = "deployer"
    fake.add(f"{MARKER}\n\nolder\n", "deployer")
    assert put(fake, patient) == "updated"


def test_a_comment_that_is_deleted_meanwhile_is_made_anew(fake: FakeGitHub, patient: Patient) -> None:
    number = fake.add(f"{MARKER}\n\nolder\n")
    fake.trouble("PATCH", f"/repos/acme/shop/issues/comments/{number}", Answer(404, body={"message": "Not Found"}))
    assert put(fake, patient) == "created"


@pytest.mark.parametrize("status", [403, 429])
def test_retry_after_is_kept_to(fake: FakeGitHub, patient: Patient, status: int) -> None:
    fake.trouble("GET", COMMENTS, Answer(status, {"Retry-After": "17"}, {"message": "secondary rate limit"}))
    assert put(fake, patient) == "created"
    assert patient.waits == [17.0]


def test_a_used_up_limit_is_waited_for(fake: FakeGitHub, patient: Patient) -> None:
    used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(patient.now) + 40)}
    fake.trouble("POST", COMMENTS, Answer(403, used_up, {"message": "API rate limit exceeded"}))
    assert put(fake, patient) == "created"
    assert patient.waits == [41.0]
    assert len(fake.comments) == 1


def test_a_limit_without_a_time_is_waited_for_a_minute(fake: FakeGitHub, patient: Patient) -> None:
    message = "You have exceeded a secondary rate limit"
    fake.trouble("GET", COMMENTS, Answer(403, body={"message": message}))
    assert put(fake, patient) == "created"
    assert patient.waits == [60.0]


def test_patience_ends(fake: FakeGitHub, patient: Patient) -> None:
    used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(patient.now) + 3600)}
    fake.trouble("GET", COMMENTS, Answer(429, used_up))
    with pytest.raises(SlipwayError, match="accepts no requests for 3601 seconds") as raised:
        put(fake, patient)
    assert raised.value.code is ExitCode.FAILED
    assert patient.waits == []


def test_patience_is_for_all_waits_together(fake: FakeGitHub, patient: Patient) -> None:
    fake.trouble("GET", COMMENTS, *[Answer(429, {"Retry-After": "120"})] * 5)
    with pytest.raises(SlipwayError):
        put(fake, patient)
    assert sum(patient.waits) <= PATIENCE_SECONDS


def test_a_limit_that_names_no_wait_ends_too(fake: FakeGitHub, patient: Patient) -> None:
    fake.trouble("GET", COMMENTS, *[Answer(429, {"Retry-After": "0"})] * int(PATIENCE_SECONDS + 2))
    with pytest.raises(SlipwayError, match="accepts no requests"):
        put(fake, patient)
    assert sum(patient.waits) == PATIENCE_SECONDS


def test_a_server_error_passes(fake: FakeGitHub, patient: Patient) -> None:
    fake.trouble("GET", COMMENTS, Answer(502, body="<html>Bad gateway</html>"), Answer(503))
    assert put(fake, patient) == "created"
    assert patient.waits == [1.0, 2.0]


def test_a_server_error_that_stays(fake: FakeGitHub, patient: Patient) -> None:
    fake.trouble("GET", COMMENTS, *[Answer(500, body={"message": "oops"})] * 10)
    with pytest.raises(SlipwayError, match=r"failed 5 times: GET .* 500 oops"):
        put(fake, patient)
    assert patient.waits == [1.0, 2.0, 4.0, 8.0]


def test_a_comment_whose_creation_was_not_confirmed_is_not_made_twice(fake: FakeGitHub, patient: Patient) -> None:
    fake.trouble("POST", COMMENTS, Answer(502, body="", after=True))
    assert put(fake, patient) == "unchanged"
    assert fake.bodies() == [BODY]


def test_a_creation_that_failed_is_tried_again(fake: FakeGitHub, patient: Patient) -> None:
    fake.trouble("POST", COMMENTS, Answer(502, body=""))
    assert put(fake, patient) == "created"
    assert fake.bodies() == [BODY]


def test_no_server(patient: Patient) -> None:
    with pytest.raises(SlipwayError, match="failed 5 times: ConnectError"):
        put(FakeGitHub(port=1), patient)


@pytest.mark.parametrize(
    ("status", "message", "next_step"),
    [
        (401, "Bad credentials", "GITHUB_TOKEN"),
        (403, "Resource not accessible by integration", "pull-requests: write"),
        (404, "Not Found", "--repo and --pr"),
        (410, "Issues are disabled for this repo", "switched off"),
        (422, "Validation Failed", "--file"),
    ],
)
def test_a_refusal_says_what_to_do(
    fake: FakeGitHub, patient: Patient, status: int, message: str, next_step: str
) -> None:
    fake.trouble("POST", COMMENTS, Answer(status, body={"message": message, "errors": [{"message": "body is bad"}]}))
    with pytest.raises(ConfigurationError) as raised:
        put(fake, patient)
    assert f"{status} {message}: body is bad" in raised.value.what
    assert next_step in raised.value.next_step
    assert patient.waits == []


def test_a_wrong_token(fake: FakeGitHub, patient: Patient) -> None:
    with pytest.raises(ConfigurationError, match="401 Bad credentials"):
        put(fake, patient, token="another")


def test_the_token_goes_to_no_other_server(fake: FakeGitHub, patient: Patient) -> None:
    elsewhere = {"Link": f'<http://localhost:{fake.port}{COMMENTS}?page=2>; rel="next"'}
    fake.trouble("GET", COMMENTS, Answer(200, elsewhere, []))
    with pytest.raises(SlipwayError, match="links to another server, localhost"):
        put(fake, patient)


def test_a_circle_of_pages_ends(fake: FakeGitHub, patient: Patient) -> None:
    circle = {"Link": f'<{fake.url}{COMMENTS}?per_page=100>; rel="next"'}
    fake.trouble("GET", COMMENTS, *[Answer(200, circle, [])] * 9)
    assert put(fake, patient) == "created"
    assert fake.count("GET") <= 4


@pytest.mark.parametrize("body", ["<html>", {"not": "a list"}, ["text"]])
def test_a_server_that_is_not_github(fake: FakeGitHub, patient: Patient, body: object) -> None:
    fake.trouble("GET", COMMENTS, Answer(200, body=body))
    with pytest.raises(SlipwayError) as raised:
        put(fake, patient)
    assert "GITHUB_API_URL" in raised.value.next_step


@pytest.fixture
def variables(fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch) -> FakeGitHub:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    monkeypatch.setenv("GITHUB_API_URL", fake.url)
    return fake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "preview.md"
    file.write_text(BODY)
    return file


def test_the_command(variables: FakeGitHub, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert comment(repo="acme/shop", pr=7, file=file) == ExitCode.DONE
    assert comment(repo="acme/shop", pr=7, file=file) == ExitCode.DONE
    address = "https://github.example/acme/shop/pull/7#issuecomment-1000"
    assert capsys.readouterr().out == f"created: {address}\nunchanged: {address}\n"
    assert variables.bodies() == [BODY]


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nbreak", "umläut"])
def test_a_token_that_is_none(variables: FakeGitHub, file: Path, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", token)
    with pytest.raises(ConfigurationError, match="GITHUB_TOKEN"):
        comment(repo="acme/shop", pr=7, file=file)
    assert variables.requests == []


@pytest.mark.parametrize("url", ["ftp://example.org", "nonsense", "http://[", "https://"])
def test_an_address_that_is_none(variables: FakeGitHub, file: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("GITHUB_API_URL", url)
    with pytest.raises(ConfigurationError, match="GITHUB_API_URL is"):
        comment(repo="acme/shop", pr=7, file=file)


@pytest.mark.parametrize(
    "repo", ["acme", "acme/shop/x", "acme/", "../x", "acme/shop?x", "https://github.com/acme/shop"]
)
def test_a_repository_that_is_none(variables: FakeGitHub, file: Path, repo: str) -> None:
    with pytest.raises(ConfigurationError, match="OWNER/NAME"):
        comment(repo=repo, pr=7, file=file)


def test_a_pull_request_that_is_none(variables: FakeGitHub, file: Path) -> None:
    with pytest.raises(ConfigurationError, match="--pr is 0"):
        comment(repo="acme/shop", pr=0, file=file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"", "does not start with the hidden line"),
        (b"# Hello\n" + MARKER.encode(), "does not start with the hidden line"),
        (MARKER.encode() + b"x" * 65_537, "65,536"),
    ],
)
def test_a_file_that_is_no_preview(variables: FakeGitHub, tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "other.md"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        comment(repo="acme/shop", pr=7, file=file)
    assert variables.requests == []
