"""Finds the meaning of messages from registries, runtimes and admission, and removes their wrapping."""

from __future__ import annotations

import re

from slipway.cluster.diagnosis.model import Cause

_REFUSED = re.compile(
    r"(?i)unauthorized|authentication required|authorization failed|access denied|requested access to the resource"
    r"|no basic auth|\b401\b|\b403\b|forbidden"
)
_NOT_FOUND = re.compile(r"(?i)not ?found|manifest unknown|name unknown|does not exist|no match for platform")
# Text that runc, crun and containerd put around the actual reason.
_WRAPPING = re.compile(
    r"rpc error: code = \w+ desc = |failed to pull and unpack image \"[^\"]*\": |"
    r"failed to resolve reference \"[^\"]*\": "
    r"|failed to resolve image: |Back-off pulling image \"[^\"]*\"(?:: )?|ErrImagePull: "
    r"|failed to (?:create|start) containerd task: |failed to create shim task: "
    r"|failed to create containerd container: "
    r"|OCI runtime create failed: |OCI runtime error: |runc create failed: |unable to start container process: "
    r"|Error creating: |Error: "
)
_ENTRYPOINT = re.compile(r"(?i)executable file not found|no such file or directory|exec: |exec format error|stat /")
_MISSING = re.compile(
    r"(?i)(?:secret|configmap|serviceaccount|persistentvolumeclaim) \"[^\"]*\" not found|couldn't find key"
    r"|non-existent (?:secret|config) key|references non-existent"
)
# The kubelet has not heard from the API server yet.
_PASSING = re.compile(r"failed to sync (?:configmap|secret) cache")
_QUOTA = re.compile(r"(?i)exceeded quota|failed quota|insufficient quota")
_FORBIDDEN_OBJECT = re.compile(r'^pods "[^"]*" is forbidden: ')


def unwrapped(message: str) -> str:
    """The message without the prefixes that the layers on its way have added."""
    return _FORBIDDEN_OBJECT.sub("", _WRAPPING.sub("", message)).strip()


def pull_cause(message: str) -> Cause:
    """Why an image was not pulled. Refusals first: a registry that hides existing images names both in one answer."""
    if _REFUSED.search(message):
        return Cause.IMAGE_REFUSED
    return Cause.IMAGE_NOT_FOUND if _NOT_FOUND.search(message) else Cause.REGISTRY_UNREACHABLE


def is_entrypoint(message: str) -> bool:
    """Whether a runtime could not start a container because of its command."""
    return bool(_ENTRYPOINT.search(message))


def is_missing_object(message: str) -> bool:
    return bool(_MISSING.search(message))


def is_passing(message: str) -> bool:
    """Whether it says nothing about the container, only about the moment."""
    return bool(_PASSING.search(message))


def refusal_cause(message: str) -> Cause:
    """Why the API server refused all pods."""
    if is_missing_object(message):
        return Cause.MISSING_OBJECT
    return Cause.QUOTA if _QUOTA.search(message) else Cause.ADMISSION
