"""The lab as a whole: the steps that bring it up, the steps that take it down."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lab import toolchain
from slipway.errors import ConfigurationError
from slipway.progress import Progress

from . import (
    base_image,
    buildkit,
    cgroups,
    cluster,
    containerd,
    control_plane,
    dns,
    environment,
    etcd,
    firewall,
    host_settings,
    kubeconfig,
    leftovers,
    mounts,
    network,
    node,
    pause_image,
    pki,
    postgres,
    preflight,
    registry,
)
from .files import make_folder, write_text
from .processes import Daemon, Processes, ProcessStatus, look_at
from .settings import LabSettings

# In the order of stopping: no process may restart a pod while the pods are ended.
_STOP_FIRST = ("kubelet", "kube-proxy", "coredns", "kube-scheduler", "kube-controller-manager", "buildkitd")
_STOP_THEN = ("containerd", "kube-apiserver", "registry")
_STOP_LAST = ("etcd", "postgres")
_POD_GRACE_SECONDS = 3.0
# All but the last can be killed at any moment. An API server would wait for its clients' open watches.
_DAEMON_GRACE_SECONDS = 3.0
_DATABASE_GRACE_SECONDS = 30.0


class Lab:
    """One lab and its commands. Every step can be repeated, and does nothing if nothing is missing."""

    def __init__(self, settings: LabSettings, progress: Progress) -> None:
        self.settings = settings
        self.progress = progress
        self.processes = Processes(settings)
        self._changed = False

    def up(self) -> bool:
        """Bring everything up; returns whether anything had to be started or made."""
        preflight.require_root()
        with self._only_one_at_a_time():
            self._check_machine()
            self._install_programs()
            self._check_ports()
            # Parts that the lab does not need are compiled while it starts and makes its base image.
            with ThreadPoolExecutor(1) as pool:
                others = pool.submit(toolchain.install, self.progress)
                self._start()
                others.result()
            self._write_environment()
        return self._changed

    def _start(self) -> None:
        self._clear_leftovers()
        self._make_network()
        self._make_keys()
        self._write_configuration()
        self._start_stores()
        self._start_control_plane()
        self._start_node()
        self._make_base_image()
        self._prepare_databases()

    def down(self, *, purge: bool = False) -> str:
        """Stop everything and remove its traces outside the lab's folder; returns a message for the user."""
        preflight.require_root()
        if not self.settings.home.exists():
            return "There is no lab on this machine."
        with self._only_one_at_a_time():
            preflight.require_own_runtime(self.settings)
            self._stop_daemons()
            self._remove_traces()
            if purge:
                self._purge()
        kept = "Pulumi's history and its passphrase are kept" if purge else "Its data are kept"
        return f"The lab is down. {kept} in {self.settings.home}"

    def status(self) -> list[ProcessStatus]:
        """The current status of every process of the lab; empty if no lab was ever made here."""
        return look_at(self.daemons(), self.processes) if self.settings.records.exists() else []

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
        preflight.require_root()
        if not postgres.password_file(self.settings).exists():
            raise ConfigurationError("There is no lab on this machine.", next_step="Make one with `slipway lab up`.")
        with self._only_one_at_a_time():
            yield

    def variables(self) -> dict[str, str]:
        return environment.variables(self.settings)

    def daemons(self) -> list[Daemon]:
        """Every process of the lab, in the order of starting."""
        return [*self._stores(), *self._control_plane(), *self._node()]

    def _stores(self) -> list[Daemon]:
        make = (etcd.daemon, registry.daemon, containerd.daemon, buildkit.daemon, postgres.daemon)
        return [daemon(self.settings) for daemon in make]

    def _control_plane(self) -> list[Daemon]:
        make = (control_plane.apiserver, control_plane.controller_manager, control_plane.scheduler)
        return [daemon(self.settings) for daemon in make]

    def _node(self) -> list[Daemon]:
        return [daemon(self.settings) for daemon in (node.kubelet, node.kube_proxy, dns.daemon)]

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

    def _check_machine(self) -> None:
        preflight.require_own_runtime(self.settings)
        if not self.processes.running_names():
            preflight.require_disk(self.settings)

    def _install_programs(self) -> None:
        toolchain.install_debian_tools(self.progress)
        toolchain.install_lab_parts(self.progress)
        preflight.require_linux_features()

    def _check_ports(self) -> None:
        self.processes.require_ports(self.daemons())

    def _clear_leftovers(self) -> None:
        leftovers.clear(self.settings, self.processes)
        make_folder(self.settings.run, 0o711)
        write_text(self.settings.run / "home", f"{self.settings.home}\n")

    def _make_network(self) -> None:
        settings = self.settings
        network.require_free_ranges(settings.network)
        if settings.network.pod_interface not in network.interfaces(settings):
            # Pods that outlived their bridge stay disconnected: the kubelet recreates them.
            cgroups.stop_processes(settings, grace_seconds=0)
        host_settings.remember(settings)
        network.create(settings)
        firewall.install(settings)
        cgroups.create(settings)

    def _make_keys(self) -> None:
        pki.ensure_pki(self.settings.pki, pki.certificate_specs(self.settings))
        make_folder(self.settings.config)
        kubeconfig.write_kubeconfigs(self.settings)
        environment.make_backend(self.settings)

    def _write_configuration(self) -> None:
        settings = self.settings
        registry.write_config(settings)
        containerd.write_config(settings)
        network.write_cni_config(settings)
        buildkit.write_config(settings, containerd.snapshotter(settings))
        buildkit.write_builder(settings)
        dns.write_config(settings)
        node.write_kubelet_config(settings, dns.resolver_file(settings))
        postgres.prepare(settings)
        control_plane.prepare_apiserver(settings)

    def _ensure(self, daemons: Sequence[Daemon]) -> None:
        self._changed |= bool(self.processes.ensure(daemons, self.progress))

    def _start_stores(self) -> None:
        self._ensure(self._stores())

    def _start_control_plane(self) -> None:
        server, *clients = self._control_plane()
        self._ensure([server])
        self._ensure(clients)
        cluster.apply_objects(self.settings)

    def _start_node(self) -> None:
        pause_image.ensure(self.settings, self.progress)
        self._ensure(self._node())
        if not cluster.node_condition(self.settings)[0]:
            self._changed = True
            with self.progress.step("Waiting for the node to be Ready"):
                cluster.wait_node_ready(self.settings)

    def _make_base_image(self) -> None:
        if not base_image.is_current(self.settings):
            self._changed = True
            with self.progress.step("Building the base image for Python services") as step:
                base_image.make(self.settings, step)

    def _prepare_databases(self) -> None:
        postgres.ensure_databases(self.settings, postgres.environments(self.settings))

    def _write_environment(self) -> None:
        environment.write(self.settings)

    def _stop_daemons(self) -> None:
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

    def _remove_traces(self) -> None:
        settings = self.settings
        leftovers.clear_pods(settings)
        leftovers.remove_log_links(settings)
        mounts.unmount_below(mounts.lab_folders(settings))
        network.remove(settings)
        firewall.remove()
        cgroups.remove(settings)
        host_settings.restore(settings)
        mounts.remove_tree(settings.run)

    def _purge(self) -> None:
        keep = (self.settings.backend, self.settings.passphrase_file, self.settings.home / "lock")
        for entry in self.settings.home.iterdir():
            if entry not in keep:
                mounts.remove_tree(entry)


def remaining(settings: LabSettings, names: Sequence[str]) -> list[str]:
    """Remains of the lab outside its home, to check that `down` removed everything; empty if there are none."""
    processes = Processes(settings)
    found = [f"process {stray.pid} of {name}" for name in names for stray in processes.strays(name)]
    found += [f"process {process.pid} in a control group" for process in cgroups.processes(settings)]
    found += [f"mount {point}" for point in mounts.current_mounts(mounts.lab_folders(settings))]
    found += [f"interface {name}" for name in network.interfaces(settings)]
    found += [f"packet filter chain {chain}" for chain in firewall.leftovers()]
    found += [f"control group {group}" for group in cgroups.groups(settings)]
    return found + [f"folder {path}" for path in (settings.run,) if Path(path).exists()]
