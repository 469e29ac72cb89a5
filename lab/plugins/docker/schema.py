"""The part of the official plugin's schema that this one serves."""

from __future__ import annotations

import json

VERSION = "5.2.0"
GET_REGISTRY_IMAGE = "docker:index/getRegistryImage:getRegistryImage"
REGISTRY_AUTH = "docker:index/ProviderRegistryAuth:ProviderRegistryAuth"


def schema() -> str:
    """JSON of a package schema: https://www.pulumi.com/docs/iac/extending-pulumi/schema/."""
    text, flag = {"type": "string"}, {"type": "boolean"}
    settings = {
        "disableDockerDaemonCheck": flag,
        "host": text,
        "registryAuth": {"type": "array", "items": {"$ref": f"#/types/{REGISTRY_AUTH}"}},
    }
    inputs = {"name": text, "insecureSkipVerify": flag}
    outputs = {"id": text, "sha256Digest": text, **inputs}
    entry = {
        "address": text,
        "authDisabled": flag,
        "configFile": text,
        "configFileContent": text,
        "password": text | {"secret": True},
        "username": text,
    }
    package = {
        "name": "docker",
        "version": VERSION,
        "description": "The part of the docker package that needs no Docker engine.",
        "config": {"variables": settings},
        "types": {REGISTRY_AUTH: {"type": "object", "properties": entry, "required": ["address"]}},
        "provider": {"properties": settings, "inputProperties": settings},
        "functions": {
            GET_REGISTRY_IMAGE: {
                "description": "Reads the digest of an image from a registry.",
                "inputs": {"type": "object", "properties": inputs, "required": ["name"]},
                "outputs": {"type": "object", "properties": outputs, "required": ["id", "name", "sha256Digest"]},
            }
        },
    }
    return json.dumps(package)
