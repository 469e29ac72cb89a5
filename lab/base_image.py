"""The Python image that services are built on in the lab, made with mmdebstrap: no public registry is needed."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from slipway.errors import SlipwayError
from slipway.progress import Step

from .files import last_lines, make_folder, read_json_object, write_json
from .images import Entry, ImageConfig, Layer, Registry, archive_of, compress_layer
from .mounts import remove_tree
from .processes import owner_mark
from .recipe import BUNDLE, PACKAGES, UNWANTED, Recipe, read_recipe, signature
from .settings import IMAGE_FOLDER, LabSettings
from .shell import program, search_path

_REPOSITORY = f"{IMAGE_FOLDER}/python"
_LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")
# Any fixed time: the same packages make the same archive, and so the same digest.
_EPOCH = "1700000000"
PROCESS_NAME = "base-image"


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
    _push(settings, recipe, f"{python}-{recipe.suite}", [system, additions])
    remove_tree(folder)


def _push(settings: LabSettings, recipe: Recipe, tag: str, layers: Sequence[Layer]) -> None:
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
        registry.push(_REPOSITORY, tag, layers, config)
    _remember(settings, recipe.digest(), tag)


def _additions(recipe: Recipe, python: str) -> list[Entry]:
    """The files that make the system behave like the public Python images, on this host's network."""
    return [
        Entry("usr/local/bin/python", link="/usr/bin/python3"),
        Entry("etc/ssl/certs/ca-certificates.crt", recipe.authorities.encode()),
        Entry("etc/pip.conf", recipe.pip_config.encode()),
        Entry("etc/dpkg/dpkg.cfg.d/slipway", _dpkg_config().encode()),
        # pip may install into the system's Python: an image has no other.
        Entry(f"usr/lib/python{python}/.wh.EXTERNALLY-MANAGED"),
    ]


def _dpkg_config() -> str:
    """Excludes the removed folders from packages that a Dockerfile installs."""
    return "".join(f"path-exclude=/usr/share/{name}/*\n" for name in UNWANTED)


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
                _wait_a_second(child)
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


def _wait_a_second(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(1)
    except subprocess.TimeoutExpired:
        return


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
