"""The environment variables that make Pulumi, kubectl and the program use the lab."""

from __future__ import annotations

import secrets

from slipway.environment_variables import secret_variable
from slipway.paths import STACK_PLACEHOLDER, lab_environment_file

from . import base_image, images, postgres
from .files import make_folder, write_json, write_text
from .pki import user_kubeconfig
from .settings import DATABASES, LabSettings


def variables(settings: LabSettings) -> dict[str, str]:
    return {
        "KUBECONFIG": str(user_kubeconfig(settings)),
        # The engine writes attribute files in place: killed meanwhile, it leaves a state that cannot be read.
        "PULUMI_BACKEND_URL": f"file://{settings.backend}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(settings.passphrase_file),
        "BUILDX_CONFIG": str(images.buildx_folder(settings)),
        "SLIPWAY_REGISTRY": settings.registry_address,
        "SLIPWAY_BASE_IMAGE": base_image.reference(settings),
    } | _database_variables(settings)


def _database_variables(settings: LabSettings) -> dict[str, str]:
    """Variables that name files with the databases' URLs, so that no password is printed into a shell.

    Each environment has its own files; `{stack}` stands for its name.
    """
    return {
        f"{secret_variable(service, 'DATABASE_URL')}_FILE": str(
            postgres.url_file(settings, STACK_PLACEHOLDER, database)
        )
        for database, services in DATABASES.items()
        for service in services
    }


def make_backend(settings: LabSettings) -> None:
    """Create Pulumi's file backend and passphrase if missing; the passphrase decrypts the backend's secrets."""
    make_folder(settings.backend)
    if not settings.passphrase_file.exists():
        write_text(settings.passphrase_file, secrets.token_urlsafe(32) + "\n")


def write(settings: LabSettings) -> None:
    """Save the variables for `slipway env`."""
    write_json(lab_environment_file(), variables(settings))
