"""Reads the kubeconfig files and the cluster: the objects of a Deployment, its pods' logs, and whatever has a path."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import yaml

from slipway.cluster.diagnosis import Cause, Diagnosis, Evidence, JobEvidence, Log, diagnose, is_complete, is_rolled_out
from slipway.cluster.diagnosis.diagnose import LINES_READ, last_lines, log_tails
from slipway.cluster.diagnosis.model import Finding, Object, name_of, object_at, objects_at, text_at
from slipway.environment_variables import proxy_of
from slipway.masking import masked_text
from slipway.tls import shared

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

# The client is imported only when needed: it takes a fifth of a second, and most commands do not use it.
# ruff: noqa: PLC0415

AnyEvidence = TypeVar("AnyEvidence", bound=Evidence)

TIMEOUT_SECONDS = 4.0
FIELD_MANAGER = "pulumi-slipway"
LOG_LENGTH = 64 * 1024
# With more of them, a request that names all would grow long.
SELECTED_DEPLOYMENTS = 20
# The Kubernetes client's temporary files are shared by all threads.
_TEMPORARY_FILES = Lock()
# Served from the API server's cache; a slightly older state is good enough.
_ANY_VERSION = {"resourceVersion": "0"}


class ClusterError(Exception):
    """The cluster cannot be reached, or does not allow the request; the text says which and why."""


class NotFoundError(ClusterError):
    """There is no such object."""


class ForbiddenError(ClusterError):
    """We may not read it."""


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

    They are merged as kubectl does it, the first file that sets a value counts:
    https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files

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


def client(context: str | None, kubeconfig: str | None = None) -> ApiClient:
    """A client for `context` of the kubeconfig files (not given: those of KUBECONFIG); ClusterError without them.

    It uses the `proxy-url` of the kubeconfig, else the proxy that the environment names, but never for loopback, as the
    provider and kubectl do.
    """
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config.kube_config import _cleanup_temp_files
    from urllib3.util import make_headers, parse_url

    # Without `proxy=""` it would use a proxy for loopback too. No retries: the callers know when to retry.
    settings = Configuration(proxy="", retries=False)
    try:
        found = read_kubeconfig(kubeconfig or os.environ.get("KUBECONFIG"))
        # With several current contexts the client would use the last, but kubectl and the provider use the first.
        if found.files:
            context = found.context(context)
        with _TEMPORARY_FILES:
            try:
                config.load_kube_config(kubeconfig, context, client_configuration=settings)  # type: ignore[no-untyped-call]
                tls = settings.proxy_ssl_context = _tls(settings)
            finally:
                # They hold the private key, and the client removes them only when the process ends by itself.
                _cleanup_temp_files()  # type: ignore[no-untyped-call]
    except KubeconfigError as error:
        raise ClusterError(str(error)) from error
    except (config.ConfigException, OSError) as error:
        raise ClusterError(f"there is no usable kubeconfig: {error}") from error
    if not settings.proxy and (proxy := proxy_of(settings.host, os.environ)):
        settings.proxy = proxy.url
    if settings.proxy and (login := parse_url(settings.proxy).auth):
        settings.proxy_headers = make_headers(proxy_basic_auth=unquote(login))
    made = ApiClient(settings)
    in_files = dict.fromkeys(("ca_certs", "ca_cert_data", "cert_file", "key_file"))
    made.rest_client.pool_manager.connection_pool_kw.update(in_files, ssl_context=tls)
    return made


def _tls(settings: Configuration) -> ssl.SSLContext:
    """The authorities and the client certificate of a kubeconfig, read once for all connections."""
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if settings.verify_ssl else ssl.CERT_NONE)
    if settings.ssl_ca_cert or settings.ca_cert_data:
        context.load_verify_locations(settings.ssl_ca_cert, cadata=settings.ca_cert_data)
    elif settings.verify_ssl:
        context.load_default_certs()
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return shared(context)


def unreachable(client: ApiClient, error: BaseException) -> ClusterError:
    """An error that names the proxy of the request, if any: people easily forget a proxy that was set long ago."""
    host = client.configuration.host
    reason = error.__cause__ or error
    if client.rest_client.pool_manager.proxy is None:
        return ClusterError(f"the cluster at {host} does not answer: {reason}")
    proxy = proxy_of(host, os.environ)
    named = proxy is not None and proxy.url == client.configuration.proxy
    source = f"{proxy.variable} in the environment" if proxy and named else "`proxy-url` in the kubeconfig"
    next_step = f"; if it is reachable without a proxy, add {urlsplit(host).hostname} to NO_PROXY" if named else ""
    return ClusterError(
        f"the cluster at {host} does not answer through the proxy {masked_text(str(client.configuration.proxy))}, "
        f"which {source} names: {masked_text(str(reason))}{next_step}"
    )


def no_answer(context: str, kubeconfig: str) -> str:
    """Why the API server of a context does not answer, through its proxy if it has one; empty if it does. A refusal is
    an answer too.
    """
    from urllib3.exceptions import HTTPError

    try:
        asking = client(context, kubeconfig)
    except ClusterError as error:
        return str(error)
    try:
        asking.rest_client.pool_manager.request("GET", f"{asking.configuration.host}/version", timeout=TIMEOUT_SECONDS)
    except (HTTPError, OSError) as error:
        return str(unreachable(asking, error))
    return ""


@dataclass(frozen=True)
class Cluster:
    """The API server behind one kubeconfig context; every method raises ClusterError when it gives no answer."""

    client: ApiClient
    context: str | None = None

    @classmethod
    def connect(cls, context: str | None, kubeconfig: str | None = None) -> Cluster:
        return cls(client(context, kubeconfig), context)

    def kubectl(self, namespace: str) -> str:
        """The command by which a person reaches the namespace."""
        return f"kubectl{f' --context {self.context}' if self.context else ''} -n {namespace}"

    def now(self) -> datetime:
        """The time by the server's clock, as in timestamps of objects."""
        _, headers = self._get("/version")
        try:
            return parsedate_to_datetime(headers.get("date", ""))
        except ValueError:
            return datetime.now(UTC)

    def evidence(self, namespace: str, deployment: str) -> Evidence:
        """Everything that a diagnosis of one Deployment needs, except the logs, in four requests."""
        found = self._object(f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}")
        labels = object_at(found, "spec", "selector", "matchLabels")
        selector = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())}
        with ThreadPoolExecutor(3) as pool:
            sets = pool.submit(self._list, f"/apis/apps/v1/namespaces/{namespace}/replicasets", selector)
            pods = pool.submit(self._list, f"/api/v1/namespaces/{namespace}/pods", selector)
            events = pool.submit(self.events, namespace)
            return Evidence(found, sets.result(), pods.result(), events.result(), (), self.kubectl(namespace))

    def diagnosis(self, namespace: str, deployment: str) -> Diagnosis | None:
        """Why the rollout of a Deployment does not progress; `None` if it is rolled out."""
        evidence = self.evidence(namespace, deployment)
        if is_complete(evidence):
            return None
        return diagnose(self.with_logs(evidence, diagnose(evidence).finding))

    def log(self, namespace: str, deployment: str, lines: int) -> tuple[str, ...]:
        """The last lines, secrets masked, of the newest pod of a Deployment's newest template; empty without a pod."""
        evidence = self.evidence(namespace, deployment)
        pods = sorted(evidence.current_pods(), key=lambda pod: text_at(pod, "metadata", "creationTimestamp"))
        if not pods:
            return ()
        # The container with the Deployment's name, else the first: a mesh may put its own container in front.
        containers = [text_at(each, "name") for each in objects_at(pods[-1], "spec", "containers")]
        main = deployment if deployment in containers else next(iter(containers), "")
        newest = Finding(Cause.STARTING, name_of(pods[-1]), main)
        read = self.with_logs(evidence, newest)
        return next((tail.lines for tail in log_tails(read.logs, newest)), ())[-lines:]

    def rollouts(self, namespace: str, names: Collection[str] | None = None) -> dict[str, Evidence]:
        """Every Deployment of the namespace by name, without events and logs, in one to three requests.

        ReplicaSets and pods are read only for the Deployments of `names` (default: all) that are not rolled out.
        """
        apps = f"/apis/apps/v1/namespaces/{namespace}"
        deployments = self._list(f"{apps}/deployments")
        unready = deployments
        if names is not None:
            unready = [item for item in deployments if name_of(item) in names and not is_rolled_out(item)]
        sets: list[Object] = []
        pods: list[Object] = []
        if unready:
            selector = _selector_of(unready)
            with ThreadPoolExecutor(2) as pool:
                paths = [f"{apps}/replicasets", f"/api/v1/namespaces/{namespace}/pods"]
                sets, pods = pool.map(lambda path: self._list(path, selector), paths)
        kubectl = self.kubectl(namespace)
        return {name_of(item): Evidence(item, sets, pods, (), (), kubectl) for item in deployments}

    def job_evidence(self, job: Object) -> JobEvidence:
        """Everything that a diagnosis of a Job needs, except the logs, in two requests."""
        namespace = text_at(job, "metadata", "namespace")
        selector = {"labelSelector": f"batch.kubernetes.io/job-name={name_of(job)}"}
        with ThreadPoolExecutor(2) as pool:
            pods = pool.submit(self._list, f"/api/v1/namespaces/{namespace}/pods", selector)
            events = pool.submit(self.events, namespace)
            return JobEvidence(job, (), pods.result(), events.result(), (), self.kubectl(namespace))

    def cron_jobs(self, namespace: str) -> tuple[dict[str, Object], list[Object]]:
        """The CronJobs of the namespace by name, and all of its Jobs, in two requests."""
        with ThreadPoolExecutor(2) as pool:
            paths = [f"/apis/batch/v1/namespaces/{namespace}/{kind}" for kind in ("cronjobs", "jobs")]
            cron_jobs, jobs = pool.map(self._list, paths)
        return {name_of(each): each for each in cron_jobs}, jobs

    def read(self, path: str) -> Object:
        """The API server's answer to GET `path`, parsed; NotFoundError if there is nothing."""
        return self._object(path)

    def patch(self, path: str, operations: Sequence[Object]) -> None:
        """Change the object at `path` by JSON Patch."""
        self._request("PATCH", path, {"fieldManager": FIELD_MANAGER}, operations)

    def endpoint_slices(self, namespace: str) -> list[Object]:
        """Every EndpointSlice of the namespace as it is now."""
        found = self._object(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
        return list(objects_at(found, "items"))

    def events(self, namespace: str) -> list[Object]:
        """Every event; empty if they may not be read, because the objects say most of it too."""
        try:
            return self._list(f"/api/v1/namespaces/{namespace}/events")
        except ForbiddenError:
            return []

    def with_logs(self, evidence: AnyEvidence, finding: Finding) -> AnyEvidence:
        """The evidence with the log of the container that `finding` is about, and of its previous run."""
        if not finding.pod or not finding.container:
            return evidence
        namespace = str(object_at(evidence.deployment, "metadata").get("namespace", ""))
        path = f"/api/v1/namespaces/{namespace}/pods/{finding.pod}/log"
        with ThreadPoolExecutor(2) as pool:
            texts = pool.map(lambda previous: self._log(path, finding.container, previous), (False, True))
            logs = [
                Log(finding.pod, finding.container, previous, text)
                for previous, text in zip((False, True), texts, strict=True)
                if text
            ]
        return replace(evidence, logs=logs)

    def _log(self, path: str, container: str, previous: bool) -> str:
        # Without `limitBytes`, which keeps the start of these lines and cuts the last one off. A runtime writes
        # lines of 16 KiB at most, so this is less than a megabyte.
        query = {"container": container, "tailLines": str(LINES_READ)}
        try:
            body, _ = self._get(path, query | ({"previous": "true"} if previous else {}))
        except ClusterError:
            return ""  # there was no such run
        return last_lines(body.decode(errors="replace"), LOG_LENGTH)

    def _object(self, path: str) -> Object:
        body, _ = self._get(path)
        found: Object = json.loads(body)
        return found

    def _list(self, path: str, query: Mapping[str, str] | None = None) -> list[Object]:
        body, _ = self._get(path, {**_ANY_VERSION, **(query or {})})
        listed: dict[str, Any] = json.loads(body)
        return list(listed.get("items") or ())

    def is_allowed(self, namespace: str, verb: str, resource: str, group: str = "") -> bool:
        """Whether `verb` is allowed in the namespace, which need not exist; `resource` is `pods` or `pods/portforward`.

        https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/
        """
        resource, _, subresource = resource.partition("/")
        attributes = {
            "namespace": namespace,
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        body, _ = self._request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
        return object_at(json.loads(body), "status").get("allowed") is True

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
        return self._request("GET", path, query)

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Object] | None = None,
    ) -> tuple[bytes, Mapping[str, str]]:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        content_type = "application/json-patch+json" if method == "PATCH" else "application/json"
        request = self.client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "*/*"} | ({"Content-Type": content_type} if body else {}),
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self.client.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
            answer: bytes = response.read()  # type: ignore[no-untyped-call]
        except ApiException as error:  # of TLS, behind two lines of the client's own
            raise unreachable(self.client, error.__context__ or error) from error
        except (HTTPError, OSError) as error:
            raise unreachable(self.client, error) from error
        if response.status == 404:
            raise NotFoundError(f"{path} does not exist")
        if response.status == 403:
            raise ForbiddenError(f"{method} {path} is not allowed: {status_message(answer)}")
        if response.status >= 400:
            raise ClusterError(f"{method} {path} failed with {response.status}: {status_message(answer)}")
        return answer, {key.lower(): value for key, value in response.getheaders().items()}  # type: ignore[no-untyped-call]


def _selector_of(deployments: Sequence[Object]) -> dict[str, str]:
    """A query that leaves out most ReplicaSets and pods of other Deployments; empty if no label tells them apart."""
    labels = [object_at(each, "spec", "selector", "matchLabels") for each in deployments]
    common = set.intersection(*map(set, labels))
    if not common or len(deployments) > SELECTED_DEPLOYMENTS:
        return {}
    key = min(common)
    return {"labelSelector": f"{key} in ({','.join(sorted({str(each[key]) for each in labels}))})"}


def status_message(body: bytes) -> str:
    """The message of a Kubernetes Status, or the start of any other body."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(body[:300].decode(errors="replace").split())
