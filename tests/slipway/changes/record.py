"""Records what the engine says in previews of the real program, for the tests: run it by hand, on the lab.

    .venv/bin/python -m tests.slipway.changes.record [program] [huge] [texts]

It works on a copy of the checkout, with a backend, a namespace and images of its own, and takes all of it away again.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slipway.changes.markdown import render
from slipway.changes.preview_events import STREAMING
from slipway.engine.events import is_debug
from slipway.environment_variables import resolve
from slipway.pulumi_cli import Completed, Pulumi
from tests.slipway.changes.reading import LINKS, plain, summarize

CHECKOUT = Path(__file__).resolve().parents[3]
RECORDINGS = Path(__file__).resolve().parent
NAMESPACE = "slipway-previews"
STACK = "dev"
NOT_RECORDED = (str(CHECKOUT), str(Path.home()))

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
from components.microservice import Microservice, MicroserviceArgs
from services.spec import ServiceSpec

round_ = pulumi.Config("slipway").require_int("round")
namespace = pulumi.Config("slipway").require("namespace")
provider = kubernetes.Provider("dev")
opts = pulumi.ResourceOptions(provider=provider)

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
    Microservice(name, MicroserviceArgs(spec=spec, image=f"registry.example/shop/{name}@sha256:{digest}",
        namespace=namespace, secrets={}, callees=[], callers=[]), pulumi.ResourceOptions(providers=[provider]))
"""

FAILING_TEST = """

def test_hostile() -> None:
    print("::error::<img src=x onerror=alert(1)> @everyone ``` </details> | #1")
    assert "total" == "sum", "the answer must say how many users there are"
"""


class Recorder:
    """A copy of the checkout, and the engine in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "slipway"
        self.initial_settings = ""
        self.commit = _git("rev-parse", "HEAD").decode().strip()
        self.reset()
        (folder / "backend").mkdir()
        resolved = resolve({**os.environ, "SLIPWAY_REGISTRY": "127.0.0.1:5000/slipway-previews"}, None)
        variables = {
            **resolved.complete(os.environ),
            **STREAMING,
            "SLIPWAY_REGISTRY": "127.0.0.1:5000/slipway-previews",
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "recording",
            # One write of the state at the end of an update: with 2,000 resources the rest would take most of the time.
            "PULUMI_EXPERIMENTAL": "true",
            "PULUMI_SKIP_CHECKPOINTS": "true",
        }
        self.engine = Pulumi(self.folder, variables)

    def reset(self) -> None:
        """Everything as it was committed at the start."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        subprocess.run(["tar", "-x"], cwd=self.folder, input=_git("archive", self.commit), check=True)
        (self.folder / ".venv").symlink_to(CHECKOUT / ".venv")
        pack = self.folder / "recorded_policy"
        pack.mkdir()
        (pack / "PulumiPolicy.yaml").write_text("runtime: {name: python, options: {virtualenv: ../.venv}}\n")
        (pack / "__main__.py").write_text(POLICIES)
        if self.initial_settings:
            self.settings.write_text(self.initial_settings)

    @property
    def settings(self) -> Path:
        return self.folder / f"Pulumi.{STACK}.yaml"

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        if old not in text:
            raise SystemExit(f"{file} does not have {old!r}; adapt the recorder")
        path.write_text(text.replace(old, new))

    def run(self, *arguments: str) -> Completed:
        done = self.engine.run(*arguments)
        if done.exit_code:
            raise SystemExit(f"pulumi {' '.join(arguments)}: {done.output[-3000:]}{done.errors}")
        return done

    def kubectl(self, *arguments: str) -> None:
        subprocess.run(["kubectl", *arguments], env=dict(self.engine.environment), check=True)

    def config(self, *arguments: str) -> None:
        self.run("config", "set", "--stack", STACK, *arguments)

    def record(self, name: str, *arguments: str) -> None:
        """One preview, as JSON lines that begin with the seconds since its start."""
        lines: list[str] = []

        def on_line(line: str, at_seconds: float) -> None:
            if not is_debug(line):
                lines.append(f"{at_seconds:.3f} {line.rstrip()}\n")

        command = ["preview", "--stack", STACK, "--json", "--policy-pack", "recorded_policy", *arguments]
        ended = self.engine.stream(command, on_line, print)
        text = "".join(lines)
        for unwanted in (*NOT_RECORDED, str(self.folder)):
            text = text.replace(unwanted, "/somewhere")
        (RECORDINGS / f"{name}.jsonl.xz").write_bytes(lzma.compress(text.encode()))
        print(f"{name}: {len(lines)} events, exit code {ended.exit_code} {ended.errors.strip()[:200]}")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, check=True).stdout


@contextmanager
def recorder() -> Iterator[Recorder]:
    """With a stack of its own, whose resources are destroyed in the end."""
    with tempfile.TemporaryDirectory(prefix="slipway-previews-") as folder:
        made = Recorder(Path(folder))
        made.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
        made.run("stack", "init", STACK)
        made.config("slipway:namespace", NAMESPACE)
        made.initial_settings = made.settings.read_text()
        try:
            yield made
        finally:
            made.run("destroy", "--stack", STACK, "--yes", "--skip-preview")


def record_program() -> None:
    with recorder() as made:
        made.record("first")
        made.run("up", "--stack", STACK, "--yes", "--skip-preview")
        made.record("unchanged")
        for name, edit in EDITS.items():
            edit(made)
            made.record(name)
            made.reset()
        _meddle(made)
        made.record("drift", "--refresh")


def _small(made: Recorder) -> None:
    made.edit("services/user_service/user_service/users.py", "\n\n\n", "\n\n# another commit\n\n")
    made.edit("services/order_service/service.yaml", "memory: 128Mi", "memory: 192Mi")
    made.edit("services/order_service/service.yaml", "LOG_LEVEL: info", 'LOG_LEVEL: debug, FEATURES: "a|b"')
    made.config("--secret", "order-service:DATABASE_URL", "sqlite:////data/other-orders.db")


def _refused(made: Recorder) -> None:
    made.edit("services/user_service/service.yaml", "memory: 128Mi", "memory: 512Mi")


def _failing(made: Recorder) -> None:
    tests = made.folder / "services/user_service/tests/test_users.py"
    tests.write_text(tests.read_text() + FAILING_TEST)
    made.edit("services/order_service/service.yaml", "memory: 128Mi", "memory: 512Mi")


def _removed(made: Recorder) -> None:
    shutil.rmtree(made.folder / "services/order_service")


EDITS: dict[str, Callable[[Recorder], None]] = {
    "small": _small,
    "refused": _refused,
    "failing": _failing,
    "removed": _removed,
}


def _meddle(made: Recorder) -> None:
    """What people do in a cluster at night."""
    for command in (
        ("scale", "deployment/user-service", "--replicas=3"),
        ("set", "env", "deployment/order-service", "LOG_LEVEL=debug"),
        ("delete", "poddisruptionbudget/order-service"),
    ):
        made.kubectl("-n", NAMESPACE, *command)


def record_huge() -> None:
    with recorder() as made:
        (made.folder / "__main__.py").write_text(HUGE)
        made.config("slipway:round", "1")
        made.run("up", "--stack", STACK, "--yes", "--skip-preview")
        made.config("slipway:round", "2")
        made.record("huge")


def write_texts() -> None:
    """What is made of the recordings, for the tests to compare with and for people to read."""
    for recording in RECORDINGS.glob("*.jsonl.xz"):
        name = recording.name.removesuffix(".jsonl.xz")
        summary = summarize(name)
        (RECORDINGS / f"{name}.md").write_text(render(summary, LINKS))
        (RECORDINGS / f"{name}.txt").write_text(plain(summary))


RECORDERS = {"program": record_program, "huge": record_huge, "texts": write_texts}

if __name__ == "__main__":
    for name in sys.argv[1:] or RECORDERS:
        RECORDERS[name]()
