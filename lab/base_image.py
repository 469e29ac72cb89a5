"""The Python image that services are built on in the lab, made with mmdebstrap: no public registry is needed."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from slipway.errors import SlipwayError
from slipway.progress import Step

from .images import Entry, ImageConfig, Registry, archive_of, compress_layer
from .machine import remove_tree
from .processes import owner_mark
from .settings import IMAGE_FOLDER, LabSettings
from .system import attempt, last_lines, make_folder, program, read_json_object, search_path, write_json

_REPOSITORY = f"{IMAGE_FOLDER}/python"
_LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")
# Any fixed time: the same packages make the same archive, and so the same digest.
_EPOCH = "1700000000"
PROCESS_NAME = "base-image"
_DEFAULT_SUITE = "bookworm"
# With pip, like the public images: `RUN pip install` in a Dockerfile must work in both.
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
# Documentation and translations are half of a small system, and no service reads them.
UNWANTED = ("doc", "man", "locale", "info", "lintian")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# Counts up when a different image is made from the same inputs.
_REVISION = 3
_APT_OPTION = re.compile(r'^(Acquire::[^ ]*(?:Proxy|CaInfo|Verify|Check|Retries|Timeout)[^ ]* ".+");$')
# pip's settings that mean the same inside an image. Those that name folders and files of the host do not.
_PIP_SETTINGS = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "timeout",
    "default-timeout",
    "retries",
    "proxy",
)


def _remembered(settings: LabSettings) -> Path:
    return settings.home / "base-image.json"


def reference(settings: LabSettings) -> str:
    """The image's name, `REGISTRY/slipway/python:VERSION-SUITE`."""
    known = read_json_object(_remembered(settings)) or {}
    return f"{settings.registry_address}/{_REPOSITORY}:{known.get('tag', '')}"


def is_current(settings: LabSettings) -> bool:
    """Whether the registry has the image, and its recipe has not changed since."""
    known = read_json_object(_remembered(settings)) or {}
    recipe, tag = str(known.get("recipe", "")), str(known.get("tag", ""))
    unchanged = known.get("signature") == signature() or recipe == read_recipe().digest()
    if not tag or not unchanged:
        return False
    _remember(settings, recipe, tag)
    with Registry(settings.registry_address) as registry:
        return registry.recipe(_REPOSITORY, tag) == recipe


def _remember(settings: LabSettings, recipe: str, tag: str) -> None:
    write_json(_remembered(settings), {"recipe": recipe, "signature": signature(), "tag": tag})


def work_folder(settings: LabSettings) -> Path:
    return settings.home / "base-image"


def make(settings: LabSettings, step: Step) -> None:
    """Make the image and push it; takes about half a minute, most of it unpacking."""
    recipe = read_recipe()
    folder = work_folder(settings)
    remove_tree(folder)
    make_folder(folder)
    archive = folder / "rootfs.tar"
    _bootstrap(settings, recipe, archive, step)
    step.update("packing")
    python = python_version(archive)
    with archive.open("rb") as stream:
        system = compress_layer(stream, folder / "system.tar.gz")
    additions = compress_layer(archive_of(_additions(recipe, python)), folder / "additions.tar.gz")
    step.update("pushing")
    tag = f"{python}-{recipe.suite}"
    config = ImageConfig(
        recipe.digest(),
        command=("python3",),
        environment={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "SSL_CERT_FILE": str(BUNDLE),
            "REQUESTS_CA_BUNDLE": str(BUNDLE),
        },
    )
    with Registry(settings.registry_address) as registry:
        registry.push(_REPOSITORY, tag, [system, additions], config)
    _remember(settings, recipe.digest(), tag)
    remove_tree(folder)


def _additions(recipe: Recipe, python: str) -> list[Entry]:
    """The files that make the system behave like the public Python images, on this host's network."""
    # Packages that a Dockerfile installs leave out the removed folders too.
    dpkg_config = "".join(f"path-exclude=/usr/share/{name}/*\n" for name in UNWANTED)
    return [
        Entry("usr/local/bin/python", link="/usr/bin/python3"),
        Entry("etc/ssl/certs/ca-certificates.crt", recipe.authorities.encode()),
        Entry("etc/pip.conf", recipe.pip_config.encode()),
        Entry("etc/dpkg/dpkg.cfg.d/slipway", dpkg_config.encode()),
        # pip may install into the system's Python: an image has no other.
        Entry(f"usr/lib/python{python}/.wh.EXTERNALLY-MANAGED"),
    ]


def python_version(archive: Path) -> str:
    """`3.11`, from the target of `/usr/bin/python3`."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name.removeprefix("./") == "usr/bin/python3":
                return member.linkname.rpartition("python")[2]
    raise SlipwayError("the base image has no /usr/bin/python3", why=f"looked in {archive}")


def _bootstrap(settings: LabSettings, recipe: Recipe, archive: Path, step: Step) -> None:
    log = settings.logs / "base-image.log"
    make_folder(settings.logs)
    environment = {
        "PATH": search_path(),
        "HOME": str(archive.parent),
        "TMPDIR": str(archive.parent),
        "SOURCE_DATE_EPOCH": _EPOCH,
        **{key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")},
        **owner_mark(settings, PROCESS_NAME),
    }
    with log.open("wb") as stream:
        child = subprocess.Popen(
            _bootstrap_command(recipe, archive), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment
        )
        try:
            while child.poll() is None:
                step.update(last_lines(log, 1, 2048))
                with suppress(subprocess.TimeoutExpired):
                    child.wait(1)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(30)
    if child.returncode != 0:
        raise SlipwayError(
            f"mmdebstrap could not make the base image (exit status {child.returncode})",
            why=f"the last lines of {log}:\n{last_lines(log)}",
            next_step="check that apt-get update works on this machine, then run `slipway lab up` again",
        )


def _bootstrap_command(recipe: Recipe, archive: Path) -> list[str]:
    command = [program("mmdebstrap"), "--variant=apt", f"--include={','.join(PACKAGES)}", "--mode=root"]
    # Removed at the end: an exclusion from the start would filter every archive, which takes far longer.
    unwanted = " ".join(f'"$1"/usr/share/{name}/*' for name in UNWANTED)
    command += [f"--customize-hook=rm -rf {unwanted}"]
    command += [f"--aptopt={option}" for option in recipe.apt_options]
    if any(_LOCAL_AUTHORITIES.glob("*.crt")):
        command += [
            f"--customize-hook=copy-in {_LOCAL_AUTHORITIES} {_LOCAL_AUTHORITIES.parent}",
            '--customize-hook=chroot "$1" update-ca-certificates',
        ]
    return [*command, "--format=tar", recipe.suite, str(archive), *recipe.sources]


@dataclass(frozen=True)
class Recipe:
    """All inputs of the image; their digest decides whether the image must be made again."""

    suite: str
    sources: tuple[str, ...]
    apt_options: tuple[str, ...]
    authorities: str
    pip_config: str

    def digest(self) -> str:
        parts = (*astuple(self), PACKAGES, UNWANTED, _REVISION)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def apt_sources(index_targets: str, suite: str) -> tuple[str, ...]:
    """Source lines for Debian's own `suite`, from `ORIGIN|RELEASE|COMPONENT|URI` lines of `apt-get indextargets`.

    Empty if the system has no mirror of Debian: mmdebstrap then uses Debian's public one.
    """
    suites = (suite, f"{suite}-updates", f"{suite}-security")
    lines = []
    for line in index_targets.splitlines():
        origin, release, component, uri = line.split("|", 3)
        # Before the first `apt-get update` the origin is unknown, and apt prints the placeholder instead.
        debian = origin == "Debian" or (origin.startswith("$(") and uri.rstrip("/").endswith(("debian", "-security")))
        if debian and release in suites and component == "main":
            lines.append(f"deb {uri} {release} {component}")
    return tuple(dict.fromkeys(lines))


def apt_options(dump: str) -> tuple[str, ...]:
    """The options for this host's mirrors (proxy, authorities, checks), from `apt-config dump`."""
    return tuple(found[1] for line in dump.splitlines() if (found := _APT_OPTION.match(line)))


def read_recipe() -> Recipe:
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    system = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    suite = system.get("VERSION_CODENAME", _DEFAULT_SUITE) if system.get("ID") == "debian" else _DEFAULT_SUITE
    target_format = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
    targets = attempt(["apt-get", "indextargets", "--format", target_format, "Created-By: Packages"]).stdout
    # As pip itself resolves them here: the environment overrides files.
    pip_command = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    pip_settings = subprocess.run(pip_command, capture_output=True, text=True, check=False).stdout
    return Recipe(
        suite=suite,
        sources=apt_sources(targets, suite),
        apt_options=apt_options(attempt(["apt-config", "dump"]).stdout),
        authorities=BUNDLE.read_text() if BUNDLE.exists() else "",
        pip_config=image_pip_config(parse_pip_settings(pip_settings), str(BUNDLE)),
    )


def signature() -> str:
    """A quick hash over the files and variables that a recipe is read from; the same hash means the same recipe."""
    home, apt = Path.home(), Path("/etc/apt")
    folders = (apt, apt / "sources.list.d", apt / "apt.conf.d")
    candidates = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    candidates += [BUNDLE, Path("/etc/os-release"), Path("/etc/pip.conf"), Path("/etc/xdg/pip/pip.conf")]
    candidates += [home / ".pip/pip.conf", home / ".config/pip/pip.conf", Path(sys.prefix) / "pip.conf"]
    candidates += [Path(path) for path in [os.environ.get("PIP_CONFIG_FILE")] if path]
    files = sorted({path for path in candidates if path.is_file()})
    seen = [f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in files]
    variables = [f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith("PIP_")]
    return hashlib.sha256("\n".join([str(_REVISION), *seen, *variables]).encode()).hexdigest()


def parse_pip_settings(listing: str) -> dict[str, str]:
    """Parse `global.index-url='https://…'` and `:env:.timeout='180'` lines to names and values."""
    found: dict[str, str] = {}
    by_strength = sorted(listing.splitlines(), key=lambda line: line.startswith(":env:"))
    for line in by_strength:
        key, separator, value = line.partition("=")
        if separator and value[:1] in "'\"":
            found[key.rpartition(".")[2]] = str(ast.literal_eval(value))
    return found


def has_credentials(value: str) -> bool:
    return any(urlsplit(part).username is not None for part in value.split())


def image_pip_config(settings: Mapping[str, str], bundle: str) -> str:
    """The text of an image's `/etc/pip.conf`, with which `RUN pip install` finds packages where the host finds them.

    An address with a login stays out: images are pushed to registries.
    """
    carried = {key: value for key, value in settings.items() if key in _PIP_SETTINGS and not has_credentials(value)}
    lines = [f"{key} = {' '.join(value.split())}" for key, value in sorted(carried.items())]
    return "\n".join(["[global]", f"cert = {bundle}", "disable-pip-version-check = true", *lines, ""])
