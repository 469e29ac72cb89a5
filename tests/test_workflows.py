"""The workflows are valid, ask for no more rights than they need, and run only pinned actions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.go_programs import built

CHECKOUT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((CHECKOUT / ".github/workflows").glob("*.yml"))
ACTION = CHECKOUT / ".github/actions/slipway/action.yml"
SETUP_GUIDE = CHECKOUT / "docs/pull-requests.md"
# A tag can be moved to other code, a commit cannot; the comment is what a person, and renovate, reads.
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def loaded(file: Path) -> dict[Any, Any]:
    content = yaml.safe_load(file.read_text())
    assert isinstance(content, dict)
    return content


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{file.name}:{name}", job) for file in WORKFLOWS for name, job in loaded(file)["jobs"].items()]


@pytest.mark.lab
def test_actionlint_has_nothing_to_say() -> None:
    done = subprocess.run([actionlint(), "-no-color", *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


@pytest.mark.lab
def test_actionlint_would_say_something(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs: {a: {runs-on: ubuntu-24.04, steps: [{run: 'echo ${{ nonsense.x }}'}]}}\n")
    done = subprocess.run([actionlint(), "-no-color", broken], capture_output=True, text=True, check=False)
    assert 'undefined variable "nonsense"' in done.stdout


def actionlint() -> Path:
    return built("actionlint", "1.7.12", "github.com/rhysd/actionlint/cmd/actionlint")


def test_there_are_the_five_workflows() -> None:
    assert [file.stem for file in WORKFLOWS] == ["ci", "deploy", "drift", "environment", "preview"]


@pytest.mark.parametrize("file", [*WORKFLOWS, ACTION], ids=lambda file: file.stem)
def test_actions_are_pinned(file: Path) -> None:
    used = re.findall(r"uses: (?!\./).*", file.read_text())
    assert used
    assert [action for action in used if not PINNED.fullmatch(action)] == []


def test_an_action_is_of_one_commit_everywhere() -> None:
    used = {line for file in [*WORKFLOWS, ACTION] for line in re.findall(PINNED, file.read_text())}
    names = [line.partition("@")[0] for line in used]
    assert sorted(names) == sorted(set(names))


def test_every_pinned_package_is_audited() -> None:
    (patterns,) = re.findall(r"for file in (.*); do", (CHECKOUT / ".ci/audit").read_text())
    audited = {file for pattern in patterns.split() for file in CHECKOUT.glob(pattern)}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    pinned = {CHECKOUT / name for name in tracked if re.search(r"(^|/)(requirements[\w-]*|constraints)\.txt$", name)}
    assert len(pinned) > 4
    assert audited == pinned


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_nothing_is_permitted_by_default(file: Path) -> None:
    assert loaded(file)["permissions"] == {}


@pytest.mark.parametrize(("name", "job"), jobs())
def test_jobs_may_read_and_only_comments_and_promotions_may_write(name: str, job: dict[str, Any]) -> None:
    allowed = {"contents": "read"}
    if name in ("preview.yml:preview", "environment.yml:up", "environment.yml:down"):
        allowed["pull-requests"] = "write"
    if name == "deploy.yml:promote":
        allowed = {"contents": "write", "pull-requests": "write"}
    assert job["permissions"] in ({}, allowed)


@pytest.mark.parametrize(("name", "job"), jobs())
def test_no_credentials_are_left_in_the_checkout(name: str, job: dict[str, Any]) -> None:
    checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False] * len(checkouts)


def test_forks_never_meet_a_secret() -> None:
    """`pull_request_target` would hand them out, and so would a job without the condition."""
    workflow = loaded(CHECKOUT / ".github/workflows/preview.yml")
    assert set(workflow[True]) == {"pull_request"}  # YAML 1.1 takes `on` for true
    assert "head.repo.full_name == github.repository" in workflow["jobs"]["preview"]["if"]
    assert "${{" not in str(workflow["jobs"]["not-previewed"])


@pytest.mark.parametrize("name", ["up", "down"])
def test_no_environment_is_made_of_a_fork(name: str) -> None:
    workflow = loaded(CHECKOUT / ".github/workflows/environment.yml")
    assert "pull_request_target" not in workflow[True]
    condition = workflow["jobs"][name]["if"]
    assert "head.repo.full_name == github.repository" in condition
    assert ("!= 'closed'" in condition, "== 'closed'" in condition) == (name == "up", name == "down")


def test_an_environment_is_taken_down_after_its_last_update_and_never_during_one() -> None:
    concurrency = loaded(CHECKOUT / ".github/workflows/environment.yml")["concurrency"]
    assert "pull_request.number" in concurrency["group"]
    assert "cancel-in-progress" not in concurrency


def test_approval_is_asked_only_where_prod_would_change() -> None:
    jobs_of_deploy = loaded(CHECKOUT / ".github/workflows/deploy.yml")["jobs"]
    assert jobs_of_deploy["prod"]["if"] == "needs.prod-preview.outputs.changes != '0'"
    (step,) = [each for each in jobs_of_deploy["prod-preview"]["steps"] if each.get("id") == "changes"]
    assert "jq '.changes | length' preview.json" in step["run"]


def test_only_one_preview_a_pull_request_and_one_update_at_a_time() -> None:
    preview = loaded(CHECKOUT / ".github/workflows/preview.yml")
    assert "pull_request.number" in preview["concurrency"]["group"]
    deploy = loaded(CHECKOUT / ".github/workflows/deploy.yml")
    for name in ("dev", "prod"):
        assert deploy["jobs"][name]["concurrency"] == {"group": f"deploy-{name}"}


def test_prod_waits_for_dev_and_for_approval() -> None:
    deploy = loaded(CHECKOUT / ".github/workflows/deploy.yml")["jobs"]
    needs = [deploy[name]["needs"] for name in ("promote", "prod-preview", "prod")]
    assert needs == ["dev", "promote", "prod-preview"]
    assert deploy["prod"]["environment"] == "prod"


def test_every_secret_and_variable_is_explained() -> None:
    text = "".join(file.read_text() for file in WORKFLOWS)
    names = set(re.findall(r"\b(?:secrets|vars)\.(\w+)", text))
    assert names
    guide = SETUP_GUIDE.read_text()
    assert [name for name in sorted(names) if f"`{name}`" not in guide] == []


@pytest.mark.parametrize("file", [*WORKFLOWS, ACTION], ids=lambda file: file.stem)
def test_no_path_leads_upwards(file: Path) -> None:
    """actions/cache saves nothing of such a path: https://github.com/actions/cache/issues/684"""
    assert "/../" not in file.read_text()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_what_an_environment_sets_is_required_in_its_jobs(file: Path) -> None:
    assert re.findall(r"(?:vars|secrets)\.\w+", str(loaded(file).get("env", {}))) == []


@pytest.mark.parametrize("file", [*WORKFLOWS, ACTION], ids=lambda file: file.stem)
def test_text_of_others_is_never_part_of_a_script(file: Path) -> None:
    """https://docs.github.com/en/actions/reference/security/secure-use#good-practices-for-mitigating-script-injection-attacks"""
    content = loaded(file)
    steps = content.get("runs", {}).get("steps") or [step for job in content["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


def test_signals_of_a_cancelled_job_reach_slipway() -> None:
    """A shell in front of it keeps SIGINT to itself; ten seconds later all are killed."""
    scripts = [step["run"] for _, job in jobs() for step in job["steps"] if "run" in step]
    scripts += ["\n".join(job["script"]) for job in gitlab_jobs() if isinstance(job["script"], list)]
    started = [line for script in scripts for line in script.splitlines() if ".venv/bin/slipway" in line]
    assert len(started) > 9
    assert [line for line in started if not line.startswith("exec ")] == []


class FakeGitLab(BaseHTTPRequestHandler):
    """The notes of one merge request, two to a page: https://docs.gitlab.com/api/notes/#merge-requests"""

    notes: list[dict[str, Any]]
    path_of_notes = "/projects/7/merge_requests/3/notes"

    def do_GET(self) -> None:
        assert self.headers["PRIVATE-TOKEN"] == "a-token"
        address = urlsplit(self.path)
        if address.path == "/user":
            self._answer({"id": 1})
            return
        assert address.path == self.path_of_notes
        page = int(parse_qs(address.query)["page"][0])
        more = str(page + 1) if page * 2 < len(self.notes) else ""
        self._answer(self.notes[page * 2 - 2 : page * 2], {"X-Next-Page": more})

    def do_POST(self) -> None:
        assert self.path == self.path_of_notes
        self.notes.append({"id": len(self.notes), "author": {"id": 1}, "body": self._sent()["body"]})
        self._answer(self.notes[-1])

    def do_PUT(self) -> None:
        note = self.notes[int(self.path.removeprefix(f"{self.path_of_notes}/"))]
        note["body"] = self._sent()["body"]
        self._answer(note)

    def log_message(self, *_arguments: object) -> None:
        """Tests print enough."""

    def _sent(self) -> dict[str, str]:
        content: dict[str, str] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return content

    def _answer(self, body: object, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def gitlab_pipeline() -> dict[str, Any]:
    (block,) = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "docs/gitlab-ci.md").read_text(), re.DOTALL)
    content = yaml.safe_load(block)
    assert isinstance(content, dict)
    return content


@pytest.fixture
def gitlab() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    notes: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisTest", (FakeGitLab,), {"notes": notes}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", notes
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.toolchain
@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="needs jq and curl, as the pipeline does")
def test_the_note_of_a_merge_request_is_kept_up_to_date(
    gitlab: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, notes = gitlab
    marker = "<!-- slipway:preview:shop:dev -->"
    notes += [{"id": number, "author": {"id": 2}, "body": f"{marker}\nof somebody else"} for number in range(3)]
    for body in ('first | `a` "b" $x\n', "second\n"):
        (tmp_path / "preview.md").write_text(f"{marker}\n\n{body}")
        script = "set -eo pipefail\n" + "\n".join(gitlab_pipeline()["preview"]["after_script"])
        variables = {"CI_API_V4_URL": url, "CI_PROJECT_ID": "7", "CI_MERGE_REQUEST_IID": "3", "GITLAB_TOKEN": "a-token"}
        environment = {"PATH": os.environ["PATH"], **variables}
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "note 3\n"), done.stderr
        assert [note["body"] for note in notes[3:]] == [f"{marker}\n\n{body}"]


def test_the_builder_of_the_gitlab_pipeline_is_not_called_as_its_context() -> None:
    """`docker buildx create` refuses that: "instance name … already exists as context builder"."""
    script = "\n".join(gitlab_pipeline()[".slipway"]["before_script"])
    (context,) = re.findall(r"docker context create (\S+)", script)
    ((builder, endpoint),) = re.findall(r"docker buildx create --name (\S+) .*--use (\S+)", script)
    assert endpoint == context != builder


def gitlab_jobs() -> list[dict[str, Any]]:
    return [job for job in gitlab_pipeline().values() if isinstance(job, dict) and "script" in job]


def test_the_gitlab_pipeline_has_the_same_jobs() -> None:
    jobs_of_gitlab = {name for name, job in gitlab_pipeline().items() if job in gitlab_jobs()}
    assert jobs_of_gitlab == {"test", "audit", "preview", "drift", "dev", "prod-preview", "prod"}
