"""The content of the kubeconfig files, merged as kubectl does it: the first file that sets a value counts.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


class KubeconfigError(ValueError):
    """A kubeconfig cannot be read, or lacks what is needed; the text says which file, and what to do."""


@dataclass(frozen=True)
class Kubeconfig:
    """`files` are those that exist; `current_context` is empty if none of them has one."""

    files: tuple[Path, ...] = ()
    current_context: str = ""
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    clusters: dict[str, dict[str, Any]] = field(default_factory=dict)

    def context(self, chosen: str | None) -> str:
        """The name of the context to use: `chosen`, or else the current one; KubeconfigError if there is none."""
        known = f"it has: {', '.join(self.contexts) or 'no context'}"
        name = chosen or self.current_context
        setting = f"`slipway:context` is {chosen!r}" if chosen else f"the current-context is {name!r}"
        if not name:
            raise KubeconfigError(
                f"the kubeconfig has no current-context; name one with `slipway:context`, or choose one with "
                f"`kubectl config use-context`; {known}"
            )
        if name not in self.contexts:
            raise KubeconfigError(f"{setting}, which the kubeconfig does not have; {known}")
        return name

    def server(self, context: str) -> str:
        """The API server's address in a context; empty if it names none."""
        return self._of_cluster(context, "server")

    def proxy(self, context: str) -> str:
        """The proxy of a context's cluster, whatever the environment says; empty if there is none."""
        return self._of_cluster(context, "proxy-url")

    def _of_cluster(self, context: str, key: str) -> str:
        cluster = self.clusters.get(str(self.contexts.get(context, {}).get("cluster")), {})
        return str(cluster.get(key, ""))


def read_kubeconfig(variable: str | None) -> Kubeconfig:
    """Read the files that `variable`, the value of KUBECONFIG, names, or else the file in the home folder.

    Raises KubeconfigError if a file is not a kubeconfig.
    """
    named = [Path(file).expanduser() for file in (variable or "").split(os.pathsep) if file]
    files = tuple(file for file in named or [Path.home() / ".kube" / "config"] if file.is_file())
    current = ""
    found: dict[str, dict[str, dict[str, Any]]] = {"contexts": {}, "clusters": {}}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            current = current or str(content.get("current-context") or "")
            for kind, entries in found.items():
                for entry in content.get(kind) or ():
                    entries.setdefault(str(entry["name"]), entry.get(kind.removesuffix("s")) or {})
        except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise KubeconfigError(f"{file} is not a kubeconfig: {error!r}") from error
    return Kubeconfig(files, current, **found)
