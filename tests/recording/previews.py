"""What the engine says in previews of the real program, and of one with 300 services."""

from __future__ import annotations

import json
import lzma
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slipway.cluster.client import Cluster
from slipway.cluster.deployed import Deployed
from slipway.cluster.drift import to_read
from slipway.deploy.preview_events import STREAMING
from slipway.render.markdown import render
from tests.recording.workspace import CHECKOUT, STACK, Workspace, workspace, written
from tests.slipway.render.reading import LINKS, plain, summarize

RECORDINGS = CHECKOUT / "tests/slipway/render"
NAMESPACE = "slipway-previews"
# One write of the state at the end of an update: with 2,000 resources the rest would take most of the time.
FAST = {"PULUMI_EXPERIMENTAL": "true", "PULUMI_SKIP_CHECKPOINTS": "true"}

POLICIES = """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy, StackValidationPolicy

def containers(args):
    if args.resource_type == "kubernetes:apps/v1:Deployment":
        yield from args.props["spec"]["template"]["spec"]["containers"]

def memory(args, report):
    for container in containers(args):
        limit = container.get("resources", {}).get("limits", {}).get("memory")
        if limit == "512Mi":
            report(f"container `{container['name']}` may use {limit} | <b>more</b> than 256Mi; ask @platform (#12)")

def liveness(args, report):
    for container in containers(args):
        if container.get("livenessProbe", {}).get("httpGet") == container.get("startupProbe", {}).get("httpGet"):
            report("liveness asks the same as startup\\nask for something that a dependency cannot break")

def many(args, report):
    if len(args.resources) > 1000:
        report(f"the stack has {len(args.resources)} resources; more than 1000 make slow updates")

PolicyPack("slipway", enforcement_level=EnforcementLevel.MANDATORY, policies=[
    ResourceValidationPolicy("memory-limit", "No container uses more than 256Mi.", memory),
    ResourceValidationPolicy("liveness-differs", "Liveness and startup differ.", liveness, EnforcementLevel.ADVISORY),
    StackValidationPolicy("stack-size", "Stacks stay small.", many, EnforcementLevel.ADVISORY),
])
"""

HUGE = """
import hashlib
import pulumi, pulumi_kubernetes as kubernetes
from components.kinds import Microservice
from components.workload import WorkloadArgs
from components.rollouts import AwaitedRollouts
from services.spec import ServiceSpec

round_ = pulumi.Config("slipway").require_int("round")
namespace = pulumi.Config("slipway").require("namespace")
provider = kubernetes.Provider("dev")
opts = pulumi.ResourceOptions(provider=provider)
rollouts = AwaitedRollouts(None)

def no_pods(args):
    if args.type_ == "kubernetes:apps/v1:Deployment":
        args.props["spec"]["replicas"] = 0
        args.props["metadata"]["annotations"]["pulumi.com/skipAwait"] = "true"
    if args.type_ == "kubernetes:core/v1:Service":
        args.props["spec"]["cluster_ip"] = "None"  # the lab's range is small
    return pulumi.ResourceTransformationResult(args.props, args.opts)

pulumi.runtime.register_stack_transformation(no_pods)
kubernetes.core.v1.Namespace("dev", metadata={"name": namespace}, opts=opts)
text = "\\n".join(f"line {n} of round {round_ if n % 7 == 0 else 1}" for n in range(120))
kubernetes.core.v1.ConfigMap("settings", metadata={"name": "settings", "namespace": namespace},
    data={"app.conf": text, "mode": "a|b"}, opts=opts)
if round_ == 1:
    kubernetes.core.v1.PersistentVolumeClaim("orders", opts=opts,
        metadata={"name": "orders", "namespace": namespace, "annotations": {"pulumi.com/skipAwait": "true"}},
        spec={"access_modes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}})
for number in range(0 if round_ == 1 else 20, 300 if round_ == 1 else 330):
    name = f"service-{number:03}"
    noisy = number % 3 == 0 and round_ == 2
    spec = ServiceSpec.model_validate({"name": name, "env": {"LOG_LEVEL": "debug" if noisy else "info"},
        "resources": {"memory": "512Mi" if round_ == 2 and number % 10 == 0 else f"{128 * round_}Mi"}})
    digest = hashlib.sha256(f"{name} {round_}".encode()).hexdigest()
    Microservice(name, WorkloadArgs(spec=spec, image=f"registry.example/shop/{name}@sha256:{digest}",
        namespace=namespace, rollouts=rollouts), pulumi.ResourceOptions(providers=[provider]))
"""

FIFTY = """
import os
from pathlib import Path
import pulumi, pulumi_docker_build as docker_build, pulumi_kubernetes as kubernetes
from components.kinds import Microservice
from components.workload import WorkloadArgs
from components.rollouts import AwaitedRollouts
from components.service_image import ServiceImage, ServiceImageArgs
from services.spec import ServiceSpec

round_ = pulumi.Config("slipway").require_int("round")
namespace = pulumi.Config("slipway").require("namespace")
provider, builder = kubernetes.Provider("dev"), docker_build.Provider("dev")
opts = pulumi.ResourceOptions(provider=provider)

def no_pods(args):
    if args.type_ == "kubernetes:apps/v1:Deployment" and args.name.startswith("service-"):
        args.props["spec"]["replicas"] = 0
    if args.type_ == "kubernetes:core/v1:Service":
        args.props["spec"]["cluster_ip"] = "None"  # the lab's range is small
    return pulumi.ResourceTransformationResult(args.props, args.opts)

pulumi.runtime.register_stack_transformation(no_pods)
kubernetes.core.v1.Namespace("dev", metadata={"name": namespace}, opts=opts)
for number in range(50):
    name = {7: "order-service", 8: "user-service"}.get(number, f"service-{number:02}")
    built, memory = number in (7, 8), 128 * round_ if number in (7, 8) else 128
    image = f"registry.example/shop/{name}@sha256:{number:064x}"
    if built:
        folder = Path("services") / name.replace("-", "_")
        args = ServiceImageArgs(folder, f"{os.environ['SLIPWAY_REGISTRY']}/{name}", os.environ["SLIPWAY_BASE_IMAGE"],
            named_contexts={"kit": Path("services/kit")})
        image = ServiceImage(name, args, pulumi.ResourceOptions(providers=[builder])).reference
    env = {"DATABASE_URL": "sqlite:////tmp/data.db", "USER_SERVICE_URL": "http://user-service"} if built else {}
    spec = ServiceSpec.model_validate({"name": name, "replicas": 2 if built else 1, "env": env,
        "resources": {"memory": f"{memory}Mi"}})
    Microservice(name, WorkloadArgs(spec=spec, image=image, namespace=namespace, rollouts=AwaitedRollouts(None)),
        pulumi.ResourceOptions(providers=[provider]))
"""

FAILING_TEST = """

def test_hostile() -> None:
    print("::error::<img src=x onerror=alert(1)> @everyone ``` </details> | #1")
    assert "total" == "sum", "the answer must say how many users there are"
"""


@contextmanager
def _previews() -> Iterator[Workspace]:
    with workspace(NAMESPACE, Workspace) as made:
        made.engine = made.engine.with_variables(STREAMING, FAST)
        _add_policies(made)
        yield made


def _add_policies(made: Workspace) -> None:
    pack = made.folder / "recorded_policy"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("runtime: {name: python, options: {virtualenv: ../.venv}}\n")
    (pack / "__main__.py").write_text(POLICIES)


def _record(made: Workspace, name: str, *arguments: str) -> None:
    """One preview, and what is made of it for the tests to compare with and for people to read."""
    command = ["preview", "--stack", STACK, "--json", "--policy-pack", "recorded_policy", *arguments]
    ended, lines = made.stream(*command)
    (RECORDINGS / f"{name}.jsonl.xz").write_bytes(lzma.compress(written(lines).encode()))
    write_text(name)
    print(f"previews {name}: {len(lines)} events, exit code {ended.exit_code} {ended.errors.strip()[:200]}", flush=True)


def record() -> None:
    with _previews() as made:
        _record(made, "first")
        made.up()
        _record(made, "unchanged")
        for name, edit in EDITS.items():
            edit(made)
            _record(made, name)
            made.reset()
            _add_policies(made)
        _meddle(made)
        _record_drift(made)
        _record(made, "drift")


def _small(made: Workspace) -> None:
    made.edit("services/user_service/user_service/users.py", "\n\n\n", "\n\n# another commit\n\n")
    made.edit("services/order_service/service.yaml", "memory: 128Mi", "memory: 192Mi")
    made.edit("services/order_service/service.yaml", "LOG_LEVEL: info", 'LOG_LEVEL: debug, FEATURES: "a|b"')
    made.config("--secret", "order-service:DATABASE_URL", "sqlite:////data/other-orders.db")


def _refused(made: Workspace) -> None:
    made.edit("services/user_service/service.yaml", "memory: 128Mi", "memory: 512Mi")


def _failing(made: Workspace) -> None:
    tests = made.folder / "services/user_service/tests/test_users.py"
    tests.write_text(tests.read_text() + FAILING_TEST)
    made.edit("services/order_service/service.yaml", "memory: 128Mi", "memory: 512Mi")


def _removed(made: Workspace) -> None:
    shutil.rmtree(made.folder / "services/order_service")


def _env(made: Workspace) -> None:
    made.edit("services/order_service/service.yaml", "LOG_LEVEL: info", "LOG_LEVEL: debug")


def _removed_refused(made: Workspace) -> None:
    _removed(made)
    _refused(made)


EDITS: dict[str, Callable[[Workspace], None]] = {
    "env": _env,
    "small": _small,
    "refused": _refused,
    "failing": _failing,
    "removed": _removed,
    "removed_refused": _removed_refused,
}


def _meddle(made: Workspace) -> None:
    """What people do in a cluster at night."""
    for command in (
        ("scale", "deployment/user-service", "--replicas=3"),
        ("set", "env", "deployment/order-service", "LOG_LEVEL=debug"),
        ("delete", "service/order-service"),
        ("label", "networkpolicies", "--all", "team=payments"),
    ):
        made.kubectl("-n", NAMESPACE, *command)


def _record_drift(made: Workspace) -> None:
    """The state, secrets opened (they are none), and the objects that the cluster has of it."""
    state = json.loads(made.run("stack", "export", "--stack", STACK, "--show-secrets").output)["deployment"]
    cluster = Cluster.connect(None, made.engine.environment["KUBECONFIG"])
    live = to_read(Deployed(STACK, state, cluster).objects(), cluster)
    found = {"state": state, "live": list(live.objects.values())}
    (RECORDINGS / "drift.json.xz").write_bytes(lzma.compress(made.masked(json.dumps(found)).encode()))


def record_huge() -> None:
    with _previews() as made:
        (made.folder / "__main__.py").write_text(HUGE)
        made.config("slipway:round", "1")
        made.up()
        made.config("slipway:round", "2")
        _record(made, "huge")


def record_fifty() -> None:
    with _previews() as made:
        (made.folder / "__main__.py").write_text(FIFTY)
        made.config("slipway:round", "1")
        made.up()
        made.config("slipway:round", "2")
        for service in ("user", "order"):
            source = made.folder / f"services/{service}_service/gunicorn.conf.py"
            source.write_text(f"{source.read_text()}# another commit\n")
        _record(made, "fifty")


def write_texts() -> None:
    """Of every recorded preview, after a change of how previews are shown."""
    for recording in RECORDINGS.glob("*.jsonl.xz"):
        write_text(recording.name.removesuffix(".jsonl.xz"))
    (CHECKOUT / "docs/preview-examples.md").write_text(examples())


EXAMPLES = {
    "env": "One value of one service is another: the pods that read it restart, and no others.",
    "fifty": "Of 50 services two have a new image and more memory.",
    "removed_refused": "A service is removed, and another wants more memory than a policy allows: it is refused.",
}


def examples() -> str:
    """The page of docs/ that shows comments as they are written."""
    parts = ["# Comments on pull requests\n\nWritten by `make record KINDS=texts`, of previews of real programs.\n"]
    for name, about in EXAMPLES.items():
        comment = render(summarize(name), LINKS).partition("\n\n")[2].strip()
        parts.append(f"\n---\n\n*{about}*\n\n{comment}\n")
    return "".join(parts)


def write_text(name: str) -> None:
    summary = summarize(name)
    (RECORDINGS / f"{name}.md").write_text(render(summary, LINKS))
    (RECORDINGS / f"{name}.txt").write_text(plain(summary))
