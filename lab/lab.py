"""The lab as a whole: the steps that bring it up, the steps that take it down."""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lab import toolchain
from slipway.environment_variables import secret_variable
from slipway.errors import ConfigurationError
from slipway.paths import STACK_PLACEHOLDER, lab_environment_file
from slipway.progress import Progress

from . import base_image, cgroups, control_plane, images, machine, network, node, pki, postgres, proc
from .processes import Daemon, Processes, ProcessStatus, check_daemons
from .settings import DATABASES, LabSettings
from .system import make_folder, write_json, write_text

# In the order of stopping: no process may restart a pod while the pods are ended.
_STOP_FIRST = ("kubelet", "kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager", "buildkitd")
_STOP_THEN = ("containerd", "kube-apiserver", "registry")
_STOP_LAST = ("etcd", "postgres")
_POD_GRACE_SECONDS = 3.0
# All but the last can be killed at any moment. An API server would wait for its clients' open watches.
_DAEMON_GRACE_SECONDS = 3.0
_DATABASE_GRACE_SECONDS = 30.0
_LOG_LINKS = Path("/var/log/containers")


class Lab:
    """One lab and its commands. Every step can be repeated, and does nothing if nothing is missing."""

    def __init__(self, settings: LabSettings, progress: Progress) -> None:
        self.settings = settings
        self.progress = progress
        self.processes = Processes(settings)
        self._changed = False

    def up(self) -> bool:
        """Bring everything up; returns whether anything had to be started or made."""
        machine.require_root()
        with self._only_one_at_a_time():
            machine.require_own_runtime(self.settings)
            if not self.processes.running_names():
                machine.require_disk(self.settings)
            toolchain.install_debian_tools(self.progress)
            toolchain.install_lab_parts(self.progress)
            machine.require_linux_features()
            self.processes.require_ports(self.daemons())
            # Parts that the lab does not need are compiled while it starts and makes its base image.
            with ThreadPoolExecutor(1) as pool:
                others = pool.submit(toolchain.install, self.progress)
                self._prepare()
                self._start()
                others.result()
            write_json(lab_environment_file(), self.variables())
        return self._changed

    def _prepare(self) -> None:
        """Make what the daemons need: a clean machine, networks, keys, Pulumi's backend and their configuration."""
        settings = self.settings
        clear_leftovers(settings, self.processes)
        make_folder(settings.run, 0o711)
        write_text(settings.run / "home", f"{settings.home}\n")

        network.require_free_ranges(settings.network)
        if settings.network.pod_interface not in network.interfaces(settings):
            # Pods that outlived their bridge stay disconnected: the kubelet recreates them.
            cgroups.stop_processes(settings, grace_seconds=0)
        machine.remember_kernel_settings(settings)
        network.create_interfaces(settings)
        network.install_rules(settings)
        cgroups.create(settings)

        pki.ensure_pki(settings.pki, pki.certificate_specs(settings))
        make_folder(settings.config)
        pki.write_kubeconfigs(settings)
        make_folder(settings.backend)
        if not settings.passphrase_file.exists():  # it decrypts the secrets in the backend
            write_text(settings.passphrase_file, secrets.token_urlsafe(32) + "\n")

        images.write_registry_config(settings)
        node.write_containerd_config(settings)
        network.write_cni_config(settings)
        images.write_buildkit_config(settings, node.snapshotter(settings))
        images.write_builder(settings)
        node.write_coredns_config(settings)
        node.write_kubelet_config(settings)
        postgres.prepare(settings)
        control_plane.prepare_apiserver(settings)

    def _start(self) -> None:
        """Start the daemons, and make what only running ones can: the lab's objects, images and databases."""
        settings = self.settings
        self._ensure(self._stores())
        server, *clients = self._control_plane()
        self._ensure([server])
        self._ensure(clients)
        control_plane.apply_objects(settings)
        images.ensure_pause_image(settings, self.progress)
        self._ensure(self._node())
        if not control_plane.node_condition(settings)[0]:
            self._changed = True
            with self.progress.step("Waiting for the node to be Ready"):
                control_plane.wait_node_ready(settings)
        if not base_image.is_current(settings):
            self._changed = True
            with self.progress.step("Building the base image for Python services") as step:
                base_image.make(settings, step)
        postgres.ensure_databases(settings, postgres.environments(settings))

    def _ensure(self, daemons: Sequence[Daemon]) -> None:
        self._changed |= bool(self.processes.ensure(daemons, self.progress))

    def down(self, *, purge: bool = False) -> str:
        """Stop everything and remove its traces outside the lab's folder; returns a message for the user."""
        machine.require_root()
        settings = self.settings
        if not settings.home.exists():
            return "There is no lab on this machine."
        with self._only_one_at_a_time():
            machine.require_own_runtime(settings)
            self._stop()
            clear_pods(settings)
            remove_log_links(settings)
            machine.unmount_below(machine.lab_folders(settings))
            network.remove_interfaces(settings)
            network.remove_rules()
            cgroups.remove(settings)
            machine.restore_kernel_settings(settings)
            machine.remove_tree(settings.run)
            if purge:
                keep = (settings.backend, settings.passphrase_file, settings.home / "lock")
                for entry in settings.home.iterdir():
                    if entry not in keep:
                        machine.remove_tree(entry)
        kept = "Pulumi's history and its passphrase are kept" if purge else "Its data are kept"
        return f"The lab is down. {kept} in {settings.home}"

    def _stop(self) -> None:
        """End the pods and all daemons, in an order in which no daemon starts a pod again."""
        signals = {"postgres": postgres.STOP_SIGNAL}
        with self.progress.step("Stopping the lab") as step:
            step.update(", ".join(_STOP_FIRST))
            self.processes.stop(_STOP_FIRST, signals, _DAEMON_GRACE_SECONDS)
            step.update("pods")
            cgroups.stop_processes(self.settings, _POD_GRACE_SECONDS)
            step.update(", ".join(_STOP_THEN))
            self.processes.stop((base_image.PROCESS_NAME, *_STOP_THEN), signals, _DAEMON_GRACE_SECONDS)
            step.update(", ".join(_STOP_LAST))
            self.processes.stop(_STOP_LAST, signals, _DATABASE_GRACE_SECONDS)

    def status(self) -> list[ProcessStatus]:
        """The current status of every process of the lab; empty if no lab was ever made here."""
        return check_daemons(self.daemons(), self.processes) if self.settings.records.exists() else []

    def make_databases(self, environment: str) -> None:
        """Create an environment's databases if they are missing.

        Raises ConfigurationError if there is no lab, or if the environment's name is invalid.
        """
        postgres.require_environment(environment)
        with self._only_one_with_databases():
            postgres.ensure_databases(self.settings, [environment])

    def drop_databases(self, environment: str) -> None:
        """Delete an environment's databases with their data. Raises ConfigurationError like `make_databases`."""
        postgres.require_environment(environment)
        with self._only_one_with_databases():
            postgres.drop_databases(self.settings, environment)

    @contextmanager
    def _only_one_with_databases(self) -> Iterator[None]:
        machine.require_root()
        if not postgres.password_file(self.settings).exists():
            raise ConfigurationError("There is no lab on this machine.", next_step="Make one with `slipway lab up`.")
        with self._only_one_at_a_time():
            yield

    def variables(self) -> dict[str, str]:
        """The environment variables that make Pulumi, kubectl and the program use the lab."""
        settings = self.settings
        found = {
            "KUBECONFIG": str(pki.user_kubeconfig(settings)),
            # The engine writes attribute files in place: killed meanwhile, it leaves a state that cannot be read.
            "PULUMI_BACKEND_URL": f"file://{settings.backend}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(settings.passphrase_file),
            "BUILDX_CONFIG": str(images.buildx_folder(settings)),
            "SLIPWAY_REGISTRY": settings.registry_address,
            "SLIPWAY_BASE_IMAGE": base_image.reference(settings),
        }
        # Files with the URLs, so that no password is printed into a shell; `{stack}` stands for the environment.
        for database, services in DATABASES.items():
            file = str(postgres.url_file(settings, STACK_PLACEHOLDER, database))
            found |= {f"{secret_variable(service, 'DATABASE_URL')}_FILE": file for service in services}
        return found

    def daemons(self) -> list[Daemon]:
        """Every process of the lab, in the order of starting."""
        return [*self._stores(), *self._control_plane(), *self._node()]

    def _stores(self) -> list[Daemon]:
        make = (control_plane.etcd, images.registry_daemon, node.containerd, images.buildkitd, postgres.daemon)
        return [daemon(self.settings) for daemon in make]

    def _control_plane(self) -> list[Daemon]:
        make = (control_plane.apiserver, control_plane.controller_manager, control_plane.scheduler)
        return [daemon(self.settings) for daemon in make]

    def _node(self) -> list[Daemon]:
        return [daemon(self.settings) for daemon in (node.kubelet, node.kube_proxy, node.coredns)]

    @contextmanager
    def _only_one_at_a_time(self) -> Iterator[None]:
        make_folder(self.settings.home)
        with (self.settings.home / "lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with self.progress.step("Waiting for another `slipway lab` command to end"):
                    fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def remaining(settings: LabSettings, names: Sequence[str]) -> list[str]:
    """Remains of the lab outside its home, to check that `down` removed everything; empty if there are none."""
    processes = Processes(settings)
    found = [f"process {stray.pid} of {name}" for name in names for stray in processes.strays(name)]
    found += [f"process {process.pid} in a control group" for process in cgroups.processes(settings)]
    found += [f"mount {point}" for point in machine.current_mounts(machine.lab_folders(settings))]
    found += [f"interface {name}" for name in network.interfaces(settings)]
    found += [f"packet filter chain {chain}" for chain in network.leftover_chains()]
    found += [f"control group {group}" for group in cgroups.groups(settings)]
    return found + [f"folder {path}" for path in (settings.run,) if Path(path).exists()]


def clear_leftovers(settings: LabSettings, processes: Processes) -> None:
    """Clean up for a fresh start of every part that is not running; leaves running parts unchanged."""
    proc.stop_all(processes.strays(base_image.PROCESS_NAME), 5)
    machine.unmount_below([base_image.work_folder(settings)])
    if processes.running("buildkitd") is None and not processes.strays("buildkitd"):
        machine.unmount_below([settings.home / "buildkit", images.buildkit_temporary_folder(settings)])
        machine.remove_tree(images.buildkit_temporary_folder(settings))
        settings.buildkit_socket.unlink(missing_ok=True)
    if processes.running("postgres") is None:
        postgres.clear_after_crash(settings)
    # While shims run, a new containerd adopts their pods; without any, its state about pods is useless.
    if processes.running("containerd") is None and not processes.strays("containerd"):
        clear_pods(settings)


def clear_pods(settings: LabSettings) -> None:
    """Remove every trace of running pods; containerd and its shims must be gone."""
    cgroups.stop_processes(settings, grace_seconds=0)
    # The shims' sockets are outside containerd's own folders; the `address` file of each pod has the path.
    notes = node.containerd_state_folder(settings).glob("io.containerd.runtime.v2.task/*/*/address")
    sockets = [Path(note.read_text().strip().removeprefix("unix://")) for note in notes]
    machine.unmount_below(
        [node.containerd_state_folder(settings), node.containerd_root_folder(settings), node.kubelet_folder(settings)]
    )
    for folder in (
        node.containerd_state_folder(settings),
        node.runc_folder(settings),
        network.address_folder(settings),
    ):
        machine.remove_tree(folder)
    for path in (settings.containerd_socket, Path(f"{settings.containerd_socket}.ttrpc"), *sockets):
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in sockets}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    network.remove_pod_links(settings)
    network.remove_results(settings)


def remove_log_links(settings: LabSettings) -> None:
    """Remove the kubelet's links to the pods' logs from a folder of the system."""
    if not _LOG_LINKS.is_dir():
        return
    for link in _LOG_LINKS.iterdir():
        if link.is_symlink() and node.pod_logs_folder(settings) in link.readlink().parents:
            link.unlink()
