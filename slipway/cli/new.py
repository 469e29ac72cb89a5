"""`slipway new`: makes a service folder that builds, passes its tests and answers without any edit."""

from __future__ import annotations

import keyword
import re
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import typer
import yaml

from services.spec import service_name
from services.yaml_source import scalar
from slipway.errors import ConfigurationError, SlipwayError

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
# Each template is a working service with this name; the new service's name replaces it.
TEMPLATE_NAME, TEMPLATE_PACKAGE, TEMPLATE_PORT = "sample-service", "sample_service", 8080
# The package of services/kit, which the template uses as a build context.
KIT = "kit"
# Below 1024 the kernel requires a capability that the pods do not have.
PORTS = range(1024, 65536)
_ANSWERS = "the service {name}, with a Dockerfile and tests, answering GET /hello"
_SETTINGS = "its replicas, resources, secrets, calls and checks"
_LEFT_BY_TOOLS = re.compile(r"__pycache__|node_modules|target|\..+_cache")


class Template(StrEnum):
    """The kinds of a new service: the folders of `slipway/templates/`."""

    PYTHON = "python"
    GO = "go"
    NODE = "node"
    JAVA = "java"
    STATIC = "static"
    WORKER = "worker"
    CRON = "cron"


@dataclass(frozen=True)
class Made:
    """What a template makes, the file to edit next, the settings in its service.yaml, and the command of its unit
    tests. `port` says whether anything connects to it, `package` whether it is a Python package.
    """

    what: str
    code: str
    settings: str
    tests: str = ".venv/bin/python -m pytest {folder}"
    port: bool = True
    package: bool = False


MADE = {
    Template.PYTHON: Made(_ANSWERS, "{package}/routes.py", _SETTINGS, package=True),
    Template.GO: Made(_ANSWERS, "main.go", _SETTINGS, "go -C {folder} test ./..."),
    Template.NODE: Made(_ANSWERS, "src/service.js", _SETTINGS, "npm --prefix {folder} test"),
    Template.JAVA: Made(_ANSWERS, "src/main/java/app/Service.java", _SETTINGS, "mvn --file {folder} test"),
    Template.STATIC: Made(
        "the service {name}, with a Dockerfile and tests, serving the files of site/ with nginx",
        "site/index.html",
        _SETTINGS,
        "sh {folder}/tests/test.sh",
    ),
    Template.WORKER: Made(
        "the worker {name}, with a Dockerfile and tests",
        "{package}/main.py",
        "its replicas, resources, secrets, health and egress",
        port=False,
        package=True,
    ),
    Template.CRON: Made(
        "the cron job {name}, with a Dockerfile and tests",
        "{package}/main.py",
        "its schedule, resources, secrets and egress",
        port=False,
        package=True,
    ),
}


def template_of(text: str) -> Template:
    """The template of that name; ConfigurationError if there is none."""
    try:
        return Template(text)
    except ValueError as error:
        raise ConfigurationError(
            f"There is no template {text!r}.",
            why=f"There are: {', '.join(Template)}.",
            next_step="Name one of them; a service of any other kind is a folder with a Dockerfile and a service.yaml.",
        ) from error


def new(name: str, root: Path, *, template: Template = Template.PYTHON, port: int | None = None) -> int:
    """Make `root/services/<name>`, complete or not at all; ConfigurationError if the name or port cannot be used.

    The default `port` is 8080; a worker and a cron job have none.
    """
    services = root / "services"
    package = _package(name, template)
    folder = services / package
    if port is not None and not MADE[template].port:
        with_port = ", ".join(each for each in Template if MADE[each].port)
        raise ConfigurationError(
            f"A service of template {template} has no port.",
            why="It accepts no connections.",
            next_step=f"Leave --port out, or choose a template that has one: {with_port}.",
        )
    if port is not None and port not in PORTS:
        raise ConfigurationError(
            f"{port} cannot be the port of a service.",
            why=f"Allowed are {PORTS.start} to {PORTS.stop - 1}; lower ones need rights that pods do not have.",
            next_step=f"Leave --port out to use {TEMPLATE_PORT}; every pod has its own address.",
        )
    _refuse_taken(name, folder, services)
    _write(folder, name, package, TEMPLATES / template, port or TEMPLATE_PORT)
    made, shown = MADE[template], folder.relative_to(root)
    typer.echo(f"Made {shown}: {made.what.format(name=name)}.")
    steps = {
        made.tests.format(folder=shown): "its unit tests; the image build runs them too",
        "slipway up -s dev": "build, test, deploy and check it",
        f"{shown}/{made.code.format(package=package)}": "the code to change",
        f"{shown}/service.yaml": made.settings,
    }
    width = max(map(len, steps))
    for step, meaning in steps.items():
        typer.echo(f"  {step:{width}}  {meaning}")
    return 0


def _package(name: str, template: Template) -> str:
    """The folder for `name`; for a Python template, this is also the package's name."""
    try:
        package = service_name(name).replace("-", "_")
    except ValueError as error:
        what, _, allowed = str(error).partition(": ")
        likely = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        raise ConfigurationError(f"{what}.", why=f"Allowed are {allowed}.", next_step=_suggest(likely)) from error
    if not MADE[template].package:
        return package
    # Python packages that a service needs, and the folder its tests are in.
    files = TEMPLATES.glob("*/requirements*.txt")
    pins = "".join(file.read_text(encoding="utf-8") for file in files)
    needed = {pin.lower().replace("-", "_") for pin in re.findall(r"^([\w-]+)==", pins, re.MULTILINE)}
    reserved = needed | sys.stdlib_module_names | {KIT, "kit_testing", "tests"}
    installed = find_spec(package)
    is_installed = installed is not None and installed.origin is not None
    if keyword.iskeyword(package) or package in reserved or is_installed:
        raise ConfigurationError(
            f"A service cannot be named {name!r}.",
            why=f"Its Python package would be `{package}`, which hides an existing package.",
            next_step=_suggest(f"{name}-service"),
        )
    return package


def _suggest(name: str) -> str:
    try:
        return f"Try `slipway new {service_name(name)}`."
    except ValueError:
        return "Try a name like `greeting-service`."


def _refuse_taken(name: str, folder: Path, services: Path) -> None:
    if not services.is_dir():
        raise ConfigurationError(
            f"There is no folder {services}.", next_step="Run this in a clone of the project, where `services/` is."
        )
    if folder.exists() or folder.is_symlink():
        raise ConfigurationError(
            f"{folder} exists already.",
            why="`slipway new` does not overwrite files.",
            next_step="Choose another name, or remove it first.",
        )
    for file in sorted(services.glob("*/service.yaml")):
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # the catalogue reports a broken service.yaml; this service can be made anyway
        if isinstance(content, dict) and content.get("name") == name:
            raise ConfigurationError(f"{file} already has the name {name!r}.", next_step="Choose another name.")


def _write(folder: Path, name: str, package: str, template: Path, port: int) -> None:
    # Beside services/, not in it: files that an interrupt leaves behind must not look like a service.
    root = folder.parent.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".slipway-new-", dir=root) as temporary:
            made = Path(temporary) / package
            for source in sorted(template.rglob("*")):
                relative = source.relative_to(template)
                if source.is_file() and not any(_LEFT_BY_TOOLS.fullmatch(part) for part in relative.parts):
                    text = source.read_text(encoding="utf-8")
                    text = text.replace(f"\nname: {TEMPLATE_NAME}", f"\nname: {scalar(name)}").replace(
                        TEMPLATE_NAME, name
                    )
                    text = text.replace(TEMPLATE_PACKAGE, package).replace(str(TEMPLATE_PORT), str(port))
                    _write_file(made / str(relative).replace(TEMPLATE_PACKAGE, package), text)
            for path in (made, *made.rglob("*")):
                readable = path.stat().st_mode & 0o500  # by its owner; a pod runs as another user, whatever the umask
                path.chmod(path.stat().st_mode | readable >> 3 | readable >> 6)
            made.rename(folder)
    except OSError as error:
        raise SlipwayError(
            f"{folder} could not be created: {error.strerror}.",
            why=f"The error is at {error.filename}." if error.filename else "",
            next_step="No files were left behind; fix the error and run it again.",
        ) from error


def _write_file(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
