"""`slipway new`: what it makes works as it is, and what it refuses leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.service_image import context_problems
from lab.toolchain.go import FLAGS, build_environment
from services import catalog
from services.builds import Dockerfile
from slipway.cli import new as command
from slipway.cli.new import MADE, TEMPLATES, Template, new, template_of
from slipway.errors import ConfigurationError, SlipwayError
from slipway.paths import CHECKOUT
from tests.e2e.languages import ARGUMENTS

LONGEST = "a-name-as-long-as-the-catalogue-allows-it-4567"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "services").mkdir()
    return tmp_path


def _with_kit(root: Path) -> None:
    shutil.copytree(CHECKOUT / "services/kit", root / "services/kit", ignore=shutil.ignore_patterns("__pycache__"))


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# What a machine has to have for the tests of a template, and what they print when they pass.
NEEDED = {
    Template.GO: ("go", "ok  \tservices/greeter"),
    Template.NODE: ("npm", "fail 0"),
    Template.JAVA: ("mvn", "Failures: 0"),
    Template.STATIC: ("nginx", "passed: it ends in order"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [pytest.param(each, marks=pytest.mark.thorough if each is Template.JAVA else ()) for each in Template],
)
def test_a_new_service_passes_its_own_tests(root: Path, template: Template) -> None:
    _with_kit(root)
    assert new("greeter", root, template=template) == 0
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    program, passed = NEEDED.get(template, (sys.executable, " passed"))
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on this machine: the image build of tests/e2e/test_templates.py runs these tests")
    if template is Template.GO:  # what the toolchain has compiled of Go's library, it does not compile again
        environment |= build_environment() | {"GOFLAGS": " ".join(FLAGS)}
    tests = shlex.split(MADE[template].tests.format(folder="services/greeter"))
    if MADE[template].package:
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "services/greeter"]
    ended = subprocess.run(tests, cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert passed in ended.stdout + ended.stderr


def test_the_catalogue_takes_it_as_it_is(root: Path) -> None:
    _with_kit(root)
    new("order-desk", root, port=9000)
    (service,) = catalog.load(root / "services")
    assert (service.name, service.spec.port, service.folder) == ("order-desk", 9000, Path("services/order_desk"))
    assert service.contexts == {"kit": Path("services/kit")}
    assert [(check.get, check.has) for check in service.spec.checks] == [("/hello", "greeting")]


@pytest.mark.parametrize("name", ["on", "null", "yes"])
def test_the_catalogue_takes_a_name_that_yaml_reads_as_another_value(root: Path, name: str) -> None:
    _with_kit(root)
    new(name, root)
    (service,) = catalog.load(root / "services")
    assert service.name == name


@pytest.mark.parametrize("template", [Template.GO, Template.NODE, Template.JAVA, Template.STATIC])
def test_the_catalogue_takes_it_in_any_language(root: Path, template: Template) -> None:
    new("order-desk", root, template=template, port=9000)
    (service,) = catalog.load(root / "services")
    assert (service.name, service.spec.port, service.folder) == ("order-desk", 9000, Path("services/order_desk"))
    assert service.contexts == {}
    # Each of its base images is a build argument, so that an environment may have another.
    dockerfile = root / service.dockerfile
    assert set(re.findall(r"^FROM .*\$\{(\w+_IMAGE)\}", dockerfile.read_text(), re.MULTILINE)) == set(
        re.findall(r"^ARG (\w+_IMAGE)=\S+:\S+$", dockerfile.read_text(), re.MULTILINE)
    )
    assert set(ARGUMENTS[template]) <= set(Dockerfile.read(dockerfile).arguments)


@pytest.mark.parametrize(("template", "kind"), [(Template.WORKER, "Worker"), (Template.CRON, "CronJob")])
def test_the_catalogue_takes_what_has_no_port(root: Path, template: Template, kind: str) -> None:
    new("order-desk", root, template=template)
    (service,) = catalog.load(root / "services")
    assert (service.name, service.spec.kind) == ("order-desk", kind)


def test_a_template_that_is_none_and_a_port_of_none_are_refused(root: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no template 'rust'") as caught:
        template_of("rust")
    assert ", ".join(folder.name for folder in sorted(TEMPLATES.iterdir())) == ", ".join(sorted(Template))
    assert "python, go, node, java, static, worker, cron" in str(caught.value)
    with pytest.raises(ConfigurationError, match="template worker has no port"):
        new("order-desk", root, template=template_of("worker"), port=9000)
    assert _files(root) == {"services"}


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize("name", ["x", "order-desk", LONGEST])
def test_nothing_of_the_template_is_left_and_the_code_stays_clean(root: Path, name: str, template: Template) -> None:
    port = 9000 if MADE[template].port else None
    new(name, root, template=template, port=port)
    folder = root / "services" / name.replace("-", "_")
    text = "".join(f"{path}\n{path.read_text()}" for path in folder.rglob("*") if path.is_file())
    assert "sample" not in text
    assert "8080" not in text
    assert ("EXPOSE 9000\n" in (folder / "Dockerfile").read_text()) == (port is not None)
    shutil.copy(CHECKOUT / "pyproject.toml", root)
    for arguments in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, "services"], cwd=root, check=True)


def test_what_tools_left_in_the_template_is_not_taken_along(root: Path) -> None:
    left = TEMPLATES / "python" / "tests" / "__pycache__" / "left.pyc"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"\xff")
    try:
        new("greeter", root)
    finally:
        left.unlink()
    assert not [name for name in _files(root) if "cache" in name]


def test_it_says_what_comes_next(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new("greeter", root)
    assert capsys.readouterr().out == (
        "Made services/greeter: the service greeter, with a Dockerfile and tests, answering GET /hello.\n"
        "  .venv/bin/python -m pytest services/greeter  its unit tests; the image build runs them too\n"
        "  slipway up -s dev                            build, test, deploy and check it\n"
        "  services/greeter/greeter/routes.py           the code to change\n"
        "  services/greeter/service.yaml                its replicas, resources, secrets, calls and checks\n"
    )


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Order_Desk", "slipway new order-desk"),
        ("order_desk", "slipway new order-desk"),
        ("-desk", "slipway new desk"),
        ("desk-", "slipway new desk"),
        ("3rd desk", "slipway new rd-desk"),
        ("../desk", "slipway new desk"),
        ("/etc/desk", "slipway new etc-desk"),
        ("", "greeting-service"),
        ("ü", "greeting-service"),
        ("a\n", "slipway new a"),
        (LONGEST + "x", "greeting-service"),
    ],
)
def test_a_name_that_is_no_dns_label_is_refused(root: Path, name: str, suggestion: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        new(name, root)
    assert refused.value.what == f"{name!r} is not a DNS label."
    assert refused.value.why.startswith("Allowed are lower-case letters, digits and '-'")
    assert suggestion in refused.value.next_step
    assert _files(root) == {"services"}


@pytest.mark.parametrize(
    "name", ["json", "class", "flask", "prometheus-client", "pytest", "tests", "kit", "slipway", "yaml"]
)
def test_a_name_that_would_hide_a_python_package_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        new(name, root)
    assert refused.value.what == f"A service cannot be named {name!r}."
    assert refused.value.next_step == f"Try `slipway new {name}-service`."
    assert _files(root) == {"services"}
    assert new(name, root, template=Template.GO) == 0  # which hides none


@pytest.mark.parametrize("port", [0, 80, 1023, 65536, -1])
def test_a_port_that_pods_cannot_have_is_refused(root: Path, port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"^{port} cannot be the port"):
        new("greeter", root, port=port)
    assert _files(root) == {"services"}


def test_nothing_that_exists_is_touched(root: Path) -> None:
    (root / "services/a_folder").mkdir()
    (root / "services/a_file").write_text("mine")
    (root / "services/a_link").symlink_to("nowhere")
    before = _files(root)
    for name in ("a-folder", "a-file", "a-link"):
        with pytest.raises(ConfigurationError, match="exists already"):
            new(name, root)
    assert _files(root) == before
    assert (root / "services/a_file").read_text() == "mine"


def test_a_name_taken_by_another_folder_is_refused(root: Path) -> None:
    new("greeter", root)
    (root / "services/greeter").rename(root / "services/moved")
    (root / "services/broken").mkdir()
    (root / "services/broken/service.yaml").write_text("{")
    with pytest.raises(ConfigurationError, match=r"moved/service.yaml already has the name 'greeter'"):
        new("greeter", root)


def test_a_pod_can_read_it_whatever_the_umask(root: Path) -> None:
    """Else its image would be refused: a pod runs as another user."""
    before = os.umask(0o077)
    try:
        new("greeter", root)
    finally:
        os.umask(before)
    folder = root / "services/greeter"
    assert list(context_problems([folder], folder / "Dockerfile")) == []


def test_outside_of_a_project_it_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no folder .*/services") as refused:
        new("greeter", tmp_path)
    assert "clone of the project" in refused.value.next_step


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_half_a_service_is_never_left(root: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    written = command._write_file
    calls: list[Path] = []

    def fail_at_the_fifth(file: Path, text: str) -> None:
        calls.append(file)
        if len(calls) == 5:
            raise failure
        written(file, text)

    monkeypatch.setattr(command, "_write_file", fail_at_the_fifth)
    with pytest.raises((SlipwayError, KeyboardInterrupt)):
        new("greeter", root)
    assert len(calls) == 5
    assert _files(root) == {"services"}
