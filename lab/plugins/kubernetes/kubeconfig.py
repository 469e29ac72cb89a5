"""Kubeconfig files, parsed into typed records: which server, trusted how, as whom, in which namespace.

The rules are those of client-go's clientcmd: several files in `KUBECONFIG` are merged with the first to name a thing
winning, relative paths are relative to the file that has them, and a pod without a kubeconfig uses its service account.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeconfigError(Exception):
    """The configuration names no usable cluster; the text says what was met and what to do."""


@dataclass(frozen=True)
class ExecPlugin:
    """A program that prints an ExecCredential."""

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    api_version: str = "client.authentication.k8s.io/v1"
    install_hint: str = ""
    provide_cluster_info: bool = False


@dataclass(frozen=True)
class User:
    """Who the requests come from; every field is optional."""

    client_certificate: bytes = b""
    client_key: bytes = b""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    exec_plugin: ExecPlugin | None = None
    impersonate: str = ""
    impersonate_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """Where the API server is, and how its certificate is checked; an empty CA means the system's."""

    server: str
    certificate_authority: bytes = b""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


@dataclass(frozen=True)
class Connection:
    """One cluster as one user; `context` is empty inside a pod."""

    cluster: Cluster
    user: User
    context: str = ""
    namespace: str = ""


@dataclass(frozen=True)
class Overrides:
    """What the provider's configuration says beside the kubeconfig; empty means not said."""

    context: str = ""
    cluster: str = ""
    namespace: str = ""


@dataclass(frozen=True)
class _Entry:
    """A named record of a kubeconfig, with the folder its relative paths start at."""

    name: str
    body: Mapping[str, Any]
    folder: Path

    def text(self, key: str) -> str:
        return str(self.body.get(key) or "")

    def flag(self, key: str) -> bool:
        return bool(self.body.get(key))

    def path(self, key: str) -> Path | None:
        return self.folder / Path(self.text(key)).expanduser() if self.text(key) else None

    def content(self, key: str) -> bytes:
        """The bytes of `key-data` (base64), else of the file `key` names, else nothing."""
        if data := self.text(f"{key}-data"):
            try:
                return base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError) as error:
                raise KubeconfigError(f"kubeconfig entry {self.name!r}: {key}-data is no base64: {error}") from error
        path = self.path(key)
        if path is None:
            return b""
        try:
            return path.read_bytes()
        except OSError as error:
            raise KubeconfigError(f"kubeconfig entry {self.name!r}: {key} cannot be read: {error}") from error


@dataclass(frozen=True)
class Kubeconfig:
    """The merged content of one or more kubeconfig files."""

    clusters: Mapping[str, _Entry]
    users: Mapping[str, _Entry]
    contexts: Mapping[str, _Entry]
    current_context: str = ""

    def connection(self, overrides: Overrides) -> Connection:
        """The connection that the current (or overriding) context and cluster name."""
        name = overrides.context or self.current_context
        context = self._context(name)
        cluster = overrides.cluster or context.text("cluster")
        return Connection(
            cluster=_cluster(_named(self.clusters, cluster, "cluster", f"context {name!r}")),
            user=_user(
                _named(self.users, context.text("user"), "user", f"context {name!r}") if context.text("user") else None
            ),
            context=name,
            namespace=overrides.namespace or context.text("namespace") or "default",
        )

    def active_cluster(self, context: str, cluster: str) -> Mapping[str, Any] | None:
        """The record of the cluster in use, compared between two configurations; `None` where there is none."""
        entry = self.contexts.get(context or self.current_context)
        found = self.clusters.get(cluster or (entry.text("cluster") if entry else ""))
        return found.body if entry and found else None

    def _context(self, name: str) -> _Entry:
        if name:
            return _named(self.contexts, name, "context", "the configuration")
        if not self.contexts and len(self.clusters) == 1:
            return _Entry("", {"cluster": next(iter(self.clusters))}, Path())
        raise KubeconfigError(
            "the kubeconfig has no current context; set one (`kubectl config use-context NAME`) or name one in the "
            f"provider's `context`. Contexts: {_names(self.contexts)}"
        )


def connect(path_or_contents: str, overrides: Overrides) -> Connection:
    """The connection for the provider's `kubeconfig` (a path or the content; empty means the environment's)."""
    if path_or_contents:
        return parse(path_or_contents).connection(overrides)
    files = _default_files()
    config = _merge([_load_file(path) for path in files])
    if not config.clusters and "KUBERNETES_SERVICE_HOST" in os.environ and (_SERVICE_ACCOUNT / "token").exists():
        return _in_cluster(overrides)
    if not config.clusters:
        looked = ", ".join(str(path) for path in _candidates())
        raise KubeconfigError(f"no kubeconfig with a cluster in it was found; looked at {looked}")
    return config.connection(overrides)


def parse(path_or_contents: str) -> Kubeconfig:
    """A kubeconfig given as a path (`~` is the home folder) or as its YAML or JSON content."""
    if "\n" in path_or_contents or path_or_contents.lstrip().startswith("{"):
        return _load(path_or_contents, Path.cwd(), "the provider's kubeconfig")
    path = Path(path_or_contents).expanduser()
    if _exists(path):
        return _load_file(path)
    files = [Path(part).expanduser() for part in path_or_contents.split(os.pathsep) if part]
    if any(_exists(file) for file in files):  # the SDK passes $KUBECONFIG on as it is
        return _merge([_load_file(file) for file in files if _exists(file)])
    if ": " not in path_or_contents:
        raise KubeconfigError(f"the kubeconfig {path_or_contents!r} does not exist")
    return _load(path_or_contents, Path.cwd(), "the provider's kubeconfig")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # content that is no name of a file
        return False


def _candidates() -> list[Path]:
    if listed := os.environ.get("KUBECONFIG"):
        return [Path(part).expanduser() for part in listed.split(os.pathsep) if part]
    return [Path.home() / ".kube" / "config"]


def _default_files() -> list[Path]:
    return [path for path in _candidates() if path.exists()]


def _load_file(path: Path) -> Kubeconfig:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"the kubeconfig {path} cannot be read: {error}") from error
    return _load(text, path.absolute().parent, f"the kubeconfig {path}")


def _load(text: str, folder: Path, name: str) -> Kubeconfig:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(text, Loader=loader)  # noqa: S506 -- both are safe loaders, the first is the fast one
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{name} is no valid YAML: {error}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise KubeconfigError(f"{name} is no kubeconfig: an object with `clusters` and `contexts` is expected")
    return Kubeconfig(
        clusters=_entries(content, "clusters", "cluster", folder, name),
        users=_entries(content, "users", "user", folder, name),
        contexts=_entries(content, "contexts", "context", folder, name),
        current_context=str(content.get("current-context") or ""),
    )


def _entries(content: Mapping[str, Any], plural: str, singular: str, folder: Path, source: str) -> dict[str, _Entry]:
    records = content.get(plural) or []
    if not isinstance(records, list) or not all(isinstance(item, dict) and "name" in item for item in records):
        raise KubeconfigError(f"{source}: `{plural}` must be a list of objects with a name")
    found: dict[str, _Entry] = {}
    for item in records:
        found.setdefault(str(item["name"]), _Entry(str(item["name"]), item.get(singular) or {}, folder))
    return found


def _merge(configs: Sequence[Kubeconfig]) -> Kubeconfig:
    clusters: dict[str, _Entry] = {}
    users: dict[str, _Entry] = {}
    contexts: dict[str, _Entry] = {}
    for config in reversed(configs):
        clusters |= config.clusters
        users |= config.users
        contexts |= config.contexts
    return Kubeconfig(clusters, users, contexts, next((c.current_context for c in configs if c.current_context), ""))


def _named(entries: Mapping[str, _Entry], name: str, what: str, wanted_by: str) -> _Entry:
    if name not in entries:
        raise KubeconfigError(f"{what} {name!r} of {wanted_by} is not in the kubeconfig; it has {_names(entries)}")
    return entries[name]


def _names(entries: Mapping[str, _Entry]) -> str:
    return ", ".join(sorted(entries)) or "none"


def _cluster(entry: _Entry) -> Cluster:
    server = entry.text("server").rstrip("/")
    if not server:
        raise KubeconfigError(f"cluster {entry.name!r} of the kubeconfig has no `server`")
    return Cluster(
        server=server if "://" in server else f"https://{server}",
        certificate_authority=entry.content("certificate-authority"),
        insecure_skip_tls_verify=entry.flag("insecure-skip-tls-verify"),
        tls_server_name=entry.text("tls-server-name"),
        proxy_url=entry.text("proxy-url"),
    )


def _user(entry: _Entry | None) -> User:
    if entry is None:
        return User()
    if entry.body.get("auth-provider"):
        raise KubeconfigError(
            f"user {entry.name!r} of the kubeconfig uses `auth-provider`, which Kubernetes 1.26 removed; use `exec`"
        )
    token_file = entry.path("tokenFile")
    return User(
        client_certificate=entry.content("client-certificate"),
        client_key=entry.content("client-key"),
        token=entry.text("token"),
        token_file=str(token_file) if token_file else "",
        username=entry.text("username"),
        password=entry.text("password"),
        exec_plugin=_exec_plugin(entry),
        impersonate=entry.text("as"),
        impersonate_groups=tuple(entry.body.get("as-groups") or ()),
    )


def _exec_plugin(entry: _Entry) -> ExecPlugin | None:
    body = entry.body.get("exec")
    if not body:
        return None
    command = str(body.get("command") or "")
    if not command:
        raise KubeconfigError(f"user {entry.name!r} of the kubeconfig: `exec` has no `command`")
    if "/" in command:
        command = str(entry.folder / command)
    return ExecPlugin(
        command=command,
        args=tuple(str(item) for item in body.get("args") or ()),
        env=tuple((str(item["name"]), str(item["value"])) for item in body.get("env") or ()),
        api_version=str(body.get("apiVersion") or ExecPlugin.api_version),
        install_hint=str(body.get("installHint") or ""),
        provide_cluster_info=bool(body.get("provideClusterInfo")),
    )


def _in_cluster(overrides: Overrides) -> Connection:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace_file = _SERVICE_ACCOUNT / "namespace"
    return Connection(
        cluster=Cluster(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            certificate_authority=(_SERVICE_ACCOUNT / "ca.crt").read_bytes(),
        ),
        user=User(token_file=str(_SERVICE_ACCOUNT / "token")),
        namespace=overrides.namespace or (namespace_file.read_text().strip() if namespace_file.exists() else "default"),
    )
