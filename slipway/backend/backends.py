"""Finds the backend that the engine uses, and opens its URL: a folder, a bucket, or Pulumi Cloud."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from slipway.backend.buckets import EXTRAS, BucketStorage, bucket
from slipway.backend.pulumi_cloud import CloudHistory
from slipway.backend.self_managed import SelfManagedSource, backend_folder
from slipway.backend.source import Source
from slipway.backend.storage import Folder
from slipway.engine.pulumi_cli import Pulumi
from slipway.environment_variables import BACKEND_URL
from slipway.errors import ConfigurationError
from slipway.masking import masked_text
from slipway.project import Project

PULUMI_CLOUD = "https://api.pulumi.com"


def backend_url(engine: Pulumi, project: Project) -> str:
    """The URL of the engine's backend; raises ConfigurationError if none is set."""
    url = find_backend_url(engine, project)
    if not url:
        raise ConfigurationError(
            "No backend is set, so there is no history.",
            why="PULUMI_BACKEND_URL is not set, Pulumi.yaml has no `backend.url`, and `pulumi login` has not run.",
            next_step='Run `eval "$(slipway env)"` for the lab\'s, or `pulumi login URL` for your own.',
        )
    return url


def find_backend_url(engine: Pulumi, project: Project) -> str:
    """The URL from the engine's sources, in its order: PULUMI_BACKEND_URL, `backend.url` of Pulumi.yaml, the login, and
    Pulumi Cloud if only a token for it is set. Empty if there is none.
    """
    variables = engine.environment
    if url := variables.get(BACKEND_URL):
        return url
    by_token = (variables.get("PULUMI_API") or PULUMI_CLOUD) if variables.get("PULUMI_ACCESS_TOKEN") else ""
    return variables.get("PULUMI_BACKEND_URL") or _project_backend(project) or _logged_in(engine) or by_token


def open_source(url: str, engine: Pulumi, project: str, stack: str) -> Source:
    """The history of `stack` in the backend at `url`; raises ConfigurationError for an unsupported kind of backend."""
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https"):
        return CloudHistory(url, engine, stack)
    if folder := backend_folder(url, engine.folder):
        return SelfManagedSource(Folder(folder), project, stack)
    if scheme in EXTRAS:
        found = bucket(url, engine.environment)
        return SelfManagedSource(BucketStorage.open(found, engine.environment), project, stack)
    raise ConfigurationError(
        f"The history of the backend {masked_text(url)} cannot be read.",
        why=f"Supported: file://, {', '.join(f'{each}://' for each in EXTRAS)}, and Pulumi Cloud's https://.",
        next_step="Move the stack to one of them, or use `pulumi stack history`.",
    )


def _project_backend(project: Project) -> str:
    content = yaml.safe_load(project.file.read_text(encoding="utf-8"))
    backend = content.get("backend") if isinstance(content, dict) else None
    return str(backend.get("url") or "") if isinstance(backend, dict) else ""


def _logged_in(engine: Pulumi) -> str:
    """The backend of `pulumi login`, from its credentials file; empty if there is none."""
    variables = engine.environment
    home = variables.get("PULUMI_HOME") or str(Path(variables.get("HOME") or Path.home()) / ".pulumi")
    file = Path(variables.get("PULUMI_CREDENTIALS_PATH") or home) / "credentials.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read.", why=str(error), next_step="Run `pulumi login`.") from error
    return str(content.get("current") or "") if isinstance(content, dict) else ""
