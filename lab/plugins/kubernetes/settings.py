"""The provider's configuration, as the engine hands it to Configure: strings, nested values as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.plugins.kubernetes.client import ClientSettings
from lab.plugins.kubernetes.kubeconfig import Overrides
from lab.plugins.serving import PluginError

_PREFIX = "kubernetes:config:"


@dataclass(frozen=True)
class Settings:
    """Everything the provider was told, with the official plugin's defaults."""

    kubeconfig: str = ""
    overrides: Overrides = field(default_factory=Overrides)
    client: ClientSettings = field(default_factory=ClientSettings)
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    enable_patch_force: bool = False
    upsert_existing_objects: bool = False
    enable_config_map_mutable: bool = False
    enable_secret_mutable: bool = False
    suppress_deprecation_warnings: bool = False
    suppress_helm_hook_warnings: bool = False

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Settings:
        """Parse the configuration variables; raises `PluginError` naming the one that is wrong."""
        return cls(
            kubeconfig=_text(variables, "kubeconfig"),
            overrides=Overrides(
                _text(variables, "context"), _text(variables, "cluster"), _text(variables, "namespace")
            ),
            client=_client_settings(variables),
            delete_unreachable=_flag(variables, "deleteUnreachable", "DELETE_UNREACHABLE"),
            skip_update_unreachable=_flag(variables, "skipUpdateUnreachable", "SKIP_UPDATE_UNREACHABLE"),
            enable_patch_force=_flag(variables, "enablePatchForce", "ENABLE_PATCH_FORCE"),
            upsert_existing_objects=_flag(variables, "upsertExistingObjects", "UPSERT_EXISTING_OBJECTS"),
            enable_config_map_mutable=_flag(variables, "enableConfigMapMutable", "ENABLE_CONFIGMAP_MUTABLE"),
            enable_secret_mutable=_flag(variables, "enableSecretMutable", "ENABLE_SECRET_MUTABLE"),
            suppress_deprecation_warnings=_flag(
                variables, "suppressDeprecationWarnings", "SUPPRESS_DEPRECATION_WARNINGS"
            ),
            suppress_helm_hook_warnings=_flag(variables, "suppressHelmHookWarnings", "SUPPRESS_HELM_HOOK_WARNINGS"),
        )


def _text(variables: Mapping[str, str], name: str) -> str:
    return variables.get(_PREFIX + name, "")


def _flag(variables: Mapping[str, str], name: str, environment: str) -> bool:
    """The configuration wins over `PULUMI_K8S_…`."""
    told = variables.get(_PREFIX + name) or os.environ.get(f"PULUMI_K8S_{environment}")
    return told is not None and told.lower() in ("true", "1", "t")


def _client_settings(variables: Mapping[str, str]) -> ClientSettings:
    nested = _nested(variables, "kubeClientSettings")
    defaults = ClientSettings()
    return ClientSettings(
        qps=_number(nested, "qps", "CLIENT_QPS", defaults.qps),
        burst=int(_number(nested, "burst", "CLIENT_BURST", defaults.burst)),
        timeout_seconds=_number(nested, "timeout", "CLIENT_TIMEOUT", defaults.timeout_seconds),
    )


def _nested(variables: Mapping[str, str], name: str) -> Mapping[str, Any]:
    text = _text(variables, name)
    try:
        nested = json.loads(text) if text else {}
    except ValueError as error:
        raise PluginError(f"failed to unmarshal {name} option: {error}") from error
    if not isinstance(nested, dict):
        raise PluginError(f"the provider's {name} must be an object, not {text}")
    return nested


def _number(nested: Mapping[str, Any], key: str, environment: str, default: float) -> float:
    variable = f"PULUMI_K8S_{environment}"
    told = nested.get(key)
    source = f"kubeClientSettings.{key}"
    if told is None and os.environ.get(variable):
        told, source = os.environ[variable], variable
    try:
        return default if told is None else float(told)
    except (TypeError, ValueError) as error:
        raise PluginError(f"invalid value specified for {source}: {told!r} is no number") from error
