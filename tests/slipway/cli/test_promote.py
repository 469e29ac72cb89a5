"""`slipway promote` as a user runs it, over a backend, a registry and a repository of its own."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from slipway.promotion.pull_request import REMOTE
from slipway.promotion.settings_file import SettingsFile, only_promotion
from slipway.promotion.where import commits_between
from tests.slipway.environments import Environments, Repository, digest

SETTINGS = "config:\n  slipway:build: false # dev builds\n  # Its own.\n  a:b: c\n"


@dataclass
class Registry:
    """Has every image but those in `lost`, and in `lost_from` of a repository below `team/`."""

    port: int = 0
    lost: set[str] = field(default_factory=set)
    lost_from: dict[str, set[str]] = field(default_factory=dict)
    status: int = 200

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}/team"


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            repository, reference = self.path.removeprefix("/v2/team/").split("/manifests/")
            lost = made.lost | made.lost_from.get(repository, set())
            self.send_response(404 if reference in lost else made.status)
            self.send_header("Docker-Content-Digest", reference)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Tests print enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_port
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        server.shutdown()


@dataclass
class Shop:
    """A project with dev, which builds, and prod, which does not."""

    slipway: Any
    environments: Environments
    registry: Registry

    @property
    def file(self) -> Path:
        return Path(self.slipway.folder / "Pulumi.prod.yaml")

    def add(self, stack: str = "dev", **more: Any) -> int:
        return self.environments.add(stack, **more)

    def promote(self, *more: str, code: int = 0, variables: Mapping[str, str] | None = None) -> str:
        """What it prints; the file is as it was unless it succeeds."""
        before = self.file.read_bytes()
        done = self.slipway("promote", "--from", "dev", "--to", "prod", *more, **(variables or {}))
        assert done.returncode == code, done.stdout + done.stderr
        if code:
            assert self.file.read_bytes() == before
        return " ".join((done.stderr if code else done.stdout).split())

    def images(self) -> dict[str, tuple[str, int]]:
        """The letter of each digest in the file, and its update."""
        return {name: (each.digest[7], each.update) for name, each in SettingsFile.read(self.file).images.items()}

    def up(self) -> int:
        """An update of prod, which runs what its file says."""
        return self.add("prod", images=dict(SettingsFile.read(self.file).images))


@pytest.fixture
def shop(slipway: Any, registry: Registry) -> Shop:
    slipway.write_toolchain()
    backend = slipway.home / "backend"
    slipway.write_lab(PULUMI_BACKEND_URL=f"file://{backend}", SLIPWAY_REGISTRY=registry.name)
    made = Shop(slipway, Environments(backend, registry.name), registry)
    made.file.write_text(SETTINGS)
    return made


def test_the_last_verified_digests_are_written_and_shown(shop: Shop) -> None:
    shop.add(images={"a": "a", "b": "b"})
    shown = shop.promote()
    assert "prod from #1 of dev, " in shown
    assert "by Ada, commit 11111111: a - → aaaaaaaa its first digest here, commit 11111111" in shown
    assert "--- a/Pulumi.prod.yaml +++ b/Pulumi.prod.yaml" in shown
    assert (
        f"+ digest: {digest('a')} + from: dev + update: 1 + commit: '{'1' * 40}' + time: '2020-01-01T01:00:00Z'"
        in shown
    )
    assert "Next: git commit -m 'Promote #1 of dev to prod' -- Pulumi.prod.yaml" in shown
    assert shop.images() == {"a": ("a", 1), "b": ("b", 1)}
    assert set(SETTINGS.splitlines()) < set(shop.file.read_text().splitlines())


def test_what_is_there_already_is_said_and_nothing_written(shop: Shop) -> None:
    shop.add(images={"a": "a", "b": "b"})
    shop.promote()
    text = shop.file.read_text()
    shop.add(images={})
    assert "prod from #2 of dev" in (shown := shop.promote())
    assert "nothing to promote, every digest is there already." in shown
    assert shop.file.read_text() == text
    shop.add(images={"b": "c"})
    assert "b bbbbbbbb → cccccccc" in shop.promote()
    assert shop.images() == {"a": ("a", 1), "b": ("c", 3)}


def test_a_service_or_an_update_may_be_named(shop: Shop) -> None:
    shop.add(images={"a": "a", "b": "b"})
    shop.add(images={"a": "c", "b": "d"})
    shop.promote("--service", "a", "--to-update", "1")
    assert shop.images() == {"a": ("a", 1)}
    shop.promote("--service", "b")
    assert shop.images() == {"a": ("a", 1), "b": ("d", 2)}
    shown = shop.promote("--service", "c", code=2)
    assert "Update #2 of dev has no service c. Its services: a, b." in shown


def test_a_service_that_the_source_lacks_keeps_its_digest(shop: Shop) -> None:
    shop.add(images={"a": "a", "old": "b"})
    shop.promote()
    shop.environments.images["dev"].pop("old")
    shop.add(images={"a": "c"})
    assert "old keeps its digest: not in #2 of dev." in shop.promote()
    assert shop.images() == {"a": ("c", 2), "old": ("b", 1)}


def test_what_failed_or_was_rolled_back_from_is_not_promoted(shop: Shop) -> None:
    assert "Stack dev has no verified state: it was never updated." in shop.promote(code=2)
    shop.add(images={"a": "a"}, ok=False)
    assert "each update failed, or was rolled back from" in shop.promote(code=2)
    shop.add(images={"a": "b"})
    shop.add(images={"a": "c"}, ok=False)
    shown = shop.promote()
    assert "#3 of dev failed; #2 is what is promoted." in shown
    assert shop.images() == {"a": ("b", 2)}
    assert "Update #3 of dev is not promoted: it failed." in shop.promote("--to-update", "3", code=2)
    assert "There is no update #9 of dev." in shop.promote("--to-update", "9", code=2)
    shop.add(images={"a": "d"})
    shop.environments.back("dev", 2, a="b")
    assert "it was rolled back from by #5." in shop.promote("--to-update", "4", code=2)
    assert "nothing to promote" in shop.promote(), "the rollback left what #2 had built"
    shop.add(kind="refresh")
    assert "it is a refresh, which runs no checks." in shop.promote("--to-update", "6", code=2)


def test_after_a_rollback_of_the_source_the_build_is_that_of_its_target(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    shop.add(images={"a": "b"})
    shop.environments.back("dev", 1, a="a")
    shop.promote()
    assert shop.images() == {"a": ("a", 1)}


def test_what_is_in_no_commit_is_not_promoted(shop: Shop) -> None:
    shop.add(images={"a": "a"}, dirty=True)
    assert "was built by #1 of dev from a work tree with uncommitted changes" in shop.promote(code=2)
    shop.add(images={"a": "b"})
    shop.promote()


def test_what_was_not_tested_is_not_promoted(shop: Shop) -> None:
    shop.add(images={"a": "a"}, tested=False)
    assert "has no build whose unit tests passed" in shop.promote(code=2)


def test_a_digest_that_the_registry_lost(shop: Shop) -> None:
    shop.add(images={"a": "a", "b": "b"})
    shop.registry.lost.add(digest("b"))
    shown = shop.promote(code=1)
    assert f"The registry does not have {shop.registry.name}/b@{digest('b')} any more." in shown
    shop.promote("--service", "a")


def test_a_registry_that_refuses(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    shop.registry.status = 403
    assert "403" in shop.promote(code=1)


@pytest.fixture
def crane(tmp_path: Path) -> Path:
    """Stands in for the program: writes down what it is asked for, and fails where its file `fails` is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "crane"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{folder}/asked\n[ ! -e {folder}/fails ] || {{ cat {folder}/fails; exit 1; }} >&2\n'
    )
    program.chmod(0o755)
    return folder


def test_an_image_of_another_registry_is_copied_before_the_file_is_written(shop: Shop, crane: Path) -> None:
    shop.add(images={"a": "a", "b": "b"})
    shop.registry.lost_from["live/a"] = {digest("a")}
    shop.file.write_text(SETTINGS + f"  slipway:registry: {shop.registry.name}/live\n")
    path = {"PATH": f"{crane}:{os.environ['PATH']}"}
    (crane / "fails").write_text("Error: pushing: UNAUTHORIZED: authentication required\n")
    shown = shop.promote(code=1, variables=path)
    assert "UNAUTHORIZED: authentication required" in shown
    assert "No settings were changed" in shown
    (crane / "fails").unlink()
    shown = shop.promote(code=1, variables=path)
    assert f"a was copied, but its registry has no image as {shop.registry.name}/live/a@{digest('a')}" in shown
    tag = f"promoted-{'a' * 16}"
    source, target = f"{shop.registry.name}/a@{digest('a')}", f"{shop.registry.name}/live/a:{tag}"
    assert (crane / "asked").read_text().splitlines() == [f"copy {source} {target}"] * 2


def test_without_crane_nothing_is_copied(shop: Shop, crane: Path) -> None:
    shop.add(images={"a": "a"})
    shop.registry.lost_from["live/a"] = {digest("a")}
    shop.file.write_text(SETTINGS + f"  slipway:registry: {shop.registry.name}/live\n")
    (crane / "crane").unlink()
    git = Path(shutil.which("git") or "").parent
    if (git / "crane").exists():
        pytest.skip("crane is beside git")
    shown = shop.promote(code=2, variables={"PATH": str(git)})
    assert "`crane`, which copies images to another registry, was not found on PATH." in shown


def test_a_digest_that_no_registry_has_is_not_copied(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    shop.registry.lost.add(digest("a"))
    shop.file.write_text(SETTINGS + f"  slipway:registry: {shop.registry.name}/live\n")
    shown = shop.promote(code=1)
    assert f"The registry does not have {shop.registry.name}/a@{digest('a')} any more." in shown


def test_an_environment_that_builds_is_not_promoted_to(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    shop.file.write_text("config:\n  a:b: c\n")
    assert "prod builds its own images" in shop.promote(code=2)
    done = shop.slipway("promote", "--from", "dev", "--to", "dev")
    assert (done.returncode, "--from and --to are both dev" in done.stderr) == (2, True)
    done = shop.slipway("promote", "--from", "dve", "--to", "prod")
    assert (done.returncode, "Did you mean `dev`?" in done.stderr) == (2, True)


@pytest.mark.parametrize("more", ["  c:d: &x e\n", "  c:d: e\t# f\n", "\tc:d: e\n"])
def test_a_file_that_lines_cannot_be_changed_in(shop: Shop, more: str) -> None:
    shop.add(images={"a": "a"})
    shop.file.write_text(SETTINGS + more)
    assert "Pulumi.prod.yaml" in shop.promote(code=2)


def test_a_digest_that_was_edited_by_hand(shop: Shop) -> None:
    shop.add(images={"a": "a", "b": "b"})
    shop.promote()
    good = shop.file.read_text()
    shop.add(images={"b": "c"})
    for old, new in ((digest("a"), digest("f")), ("update: 1", "update: 2"), ("1" * 40, "2" * 40), ("T01:", "T02:")):
        shop.file.write_text(good.replace(old, new, 1))
        assert "It was edited by hand" in shop.promote(code=2), new
    shop.file.write_text(good)
    shop.promote()


def test_two_at_once(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    with only_promotion(shop.slipway.folder):
        assert "Another promotion is under way" in shop.promote(code=1)
    shop.promote()


def test_after_a_rollback_it_says_what_would_come_again(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    shop.promote()
    shop.up()
    shop.add(images={"a": "b"})
    shop.promote()
    shop.up()
    shop.environments.back("prod", 1, a=shop.environments.promotion("a", 1))
    shown = shop.promote()
    assert "nothing to promote" in shown
    assert (
        "a of prod runs aaaaaaaa, of update #1 of dev, and Pulumi.prod.yaml has bbbbbbbb already: `slipway up -s prod` "
        "deploys it." in shown
    )
    assert "#3 of prod was a rollback from bbbbbbbb of a." in shown
    shop.promote("--to-update", "1")
    assert "#3 of prod was a rollback from bbbbbbbb of a." in shop.promote()


def test_a_promoted_environment_is_promoted_on_with_the_commit_of_the_image(shop: Shop) -> None:
    (shop.slipway.folder / "Pulumi.live.yaml").write_text(SETTINGS)
    shop.add(images={"a": "a"}, commit="c" * 40)
    shop.promote()
    shop.add("prod", images=dict(SettingsFile.read(shop.file).images), commit="d" * 40)
    done = shop.slipway("promote", "--from", "prod", "--to", "live")
    assert done.returncode == 0, done.stderr
    (found,) = SettingsFile.read(shop.slipway.folder / "Pulumi.live.yaml").images.values()
    assert (found.source, found.update, found.commit) == ("prod", 1, "c" * 40)


def test_the_commits_of_what_an_image_is_built_from(shop: Shop) -> None:
    repository = Repository(shop.slipway.folder)
    spec = shop.slipway.folder / "services" / "a" / "service.yaml"
    spec.parent.mkdir(parents=True)
    spec.write_text("name: a\ncontexts: {kit: ../kit}\n")
    first = repository.commit("Begin", "services/a/a.py")
    shop.add(images={"a": "a"}, commit=first)
    shop.promote()
    repository.commit("Say hello", "services/a/a.py")
    repository.commit("Something else", "services/b/b.py")
    last = repository.commit("Change the kit", "services/kit/kit.py")
    shop.add(images={"a": "b"}, commit=last)
    shown = shop.promote()
    assert f"a aaaaaaaa → bbbbbbbb {last[:8]} Change the kit " in shown
    assert "Say hello" in shown
    assert "Something else" not in shown
    assert f"reverted: {last[:8]} Change the kit" in shop.promote("--to-update", "1")
    assert commits_between(shop.slipway.folder, first, "f" * 40, ()) is None


@dataclass
class GitHubOfATest:
    """One repository with one file, as the API shows it."""

    file: str
    port: int = 0
    branches: dict[str, str] = field(default_factory=lambda: {"main": SETTINGS})
    opened: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def github() -> Iterator[GitHubOfATest]:
    """https://docs.github.com/en/rest/git/refs, .../repos/contents, .../pulls/pulls"""
    made = GitHubOfATest("Pulumi.prod.yaml")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers = {
                "/repos/acme/shop": {"default_branch": "main"},
                "/repos/acme/shop/git/ref/heads/main": {"object": {"sha": "c0ffee"}},
                f"/repos/acme/shop/contents/{made.file}?ref=c0ffee": {
                    "content": base64.encodebytes(made.branches["main"].encode()).decode(),
                    "sha": "b10b",
                },
            }
            self._answer(200 if self.path in answers else 404, answers.get(self.path, {}))

        def do_POST(self) -> None:
            sent = self._sent()
            if self.path == "/repos/acme/shop/git/refs":
                name = sent["ref"].removeprefix("refs/heads/")
                taken = name in made.branches
                made.branches.setdefault(name, made.branches["main"])
                self._answer(422 if taken else 201, {"message": "Reference already exists"} if taken else {})
                return
            assert self.path == "/repos/acme/shop/pulls"
            made.opened.append(sent)
            self._answer(201, {"html_url": "https://github.example/acme/shop/pull/8"})

        def do_PUT(self) -> None:
            assert self.path == f"/repos/acme/shop/contents/{made.file}"
            sent = self._sent()
            assert sent["sha"] == "b10b"
            made.branches[sent["branch"]] = base64.b64decode(sent["content"]).decode()
            self._answer(200, {})

        def log_message(self, *_arguments: object) -> None:
            """Tests print enough."""

        def _sent(self) -> dict[str, str]:
            content: dict[str, str] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            return content

        def _answer(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_port
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield made
        server.shutdown()


def test_a_pull_request_has_the_change_and_the_clone_stays_as_it_was(shop: Shop, github: GitHubOfATest) -> None:
    """There is no engine here, so the preview says that; a failed preview is in the pull request too."""
    shop.add(images={"a": "a"})
    assert "GITHUB_TOKEN is not set" in shop.promote("--pull-request", code=2)
    variables = {"GITHUB_TOKEN": "t", "GITHUB_API_URL": f"http://127.0.0.1:{github.port}"}
    assert "Set GITHUB_REPOSITORY=OWNER/NAME." in shop.promote("--pull-request", code=2, variables=variables)
    variables["GITHUB_REPOSITORY"] = "acme/shop"
    github.branches["main"] = SETTINGS + "  on: github\n"
    shown = shop.promote("--pull-request", variables=variables)
    assert "Opened https://github.example/acme/shop/pull/8 (branch promote-to-prod-" in shown
    assert "the local Pulumi.prod.yaml is unchanged." in shown
    assert shop.file.read_text() == SETTINGS
    (opened,) = github.opened
    assert (opened["title"], opened["base"]) == ("Promote #1 of dev to prod", "main")
    assert opened["body"].startswith("```text\nprod from #1 of dev")
    assert "slipway:preview:slipway:prod" in opened["body"]
    proposed = github.branches[opened["head"]]
    assert "  on: github\n" in proposed
    assert list(SettingsFile.of_text(shop.file, proposed).images) == ["a"]
    shop.add(images={"a": "a"})
    assert f"was proposed already (branch {opened['head']})" in shop.promote("--pull-request", variables=variables)
    assert len(github.opened) == 1
    github.branches["main"] = proposed
    assert "has other images than the local file" in shop.promote("--pull-request", code=2, variables=variables)


@pytest.mark.parametrize(
    "remote",
    ["git@github.com:acme/shop.git", "https://github.com/acme/shop", "ssh://git@github.example/acme/shop.git"],
)
def test_the_repository_of_a_remote(remote: str) -> None:
    found = REMOTE.search(remote)
    assert found
    assert found["repository"] == "acme/shop"


def test_nothing_is_promoted_from_a_temporary_environment(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    (shop.slipway.folder / "Pulumi.pr-1.yaml").write_text("# Made by `slipway up --like dev`.\nconfig: {}\n")
    done = shop.slipway("promote", "--from", "pr-1", "--to", "prod")
    assert (done.returncode, "pr-1 is a temporary environment, which cannot be promoted" in done.stderr) == (2, True)
    assert shop.file.read_text() == SETTINGS
