"""The lab's interfaces, addresses, CNI configuration and packet filter (iptables) rules."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from slipway.errors import ConfigurationError

from .node import cni_config_folder
from .settings import LabSettings, Network
from .system import attempt, find_program, make_folder, read_json_object, run, write_text

CNI_NETWORK = "slipway-lab"
# libcni keeps its results here whatever the configuration says.
CNI_RESULTS = Path("/var/lib/cni/results")
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
INPUT_CHAIN, FORWARD_CHAIN, MASQUERADE_CHAIN = "SLIPWAY-LAB-INPUT", "SLIPWAY-LAB-FORWARD", "SLIPWAY-LAB-MASQ"
_OWN_CHAIN = re.compile(r"^(SLIPWAY-LAB|KUBE)-")
_CHAIN_LINE = re.compile(r"^:(\S+) ")
# iptables and ip6tables: kube-proxy keeps a few chains in the second one too.
_FAMILIES = ("iptables", "ip6tables")
_IPV6 = Path("/proc/net/if_inet6")


def ip_json(*arguments: str) -> list[dict[str, Any]]:
    text = run(["ip", "-json", *arguments])
    found = json.loads(text) if text.strip() else []
    # `ip -json` prints an empty object for each entry that a filter left out.
    return [entry for entry in found if entry]


def overlapping_routes(routes: Iterable[dict[str, Any]], network: Network) -> list[str]:
    """Routes of other interfaces into the lab's ranges."""
    ours = [ipaddress.ip_network(text) for text in (network.pod_range, network.service_range, network.node_address)]
    found = []
    for route in routes:
        destination, interface = route.get("dst", "default"), route.get("dev", "")
        if destination == "default" or interface in (network.node_interface, network.pod_interface):
            continue
        target = ipaddress.ip_network(destination, strict=False)
        if any(target.overlaps(own) for own in ours):
            found.append(f"{destination} via {interface or 'no interface'}")
    return found


def require_free_ranges(network: Network) -> None:
    taken = overlapping_routes(ip_json("-4", "route", "show"), network)
    if taken:
        raise ConfigurationError(
            f"this machine already has routes into the lab's networks: {', '.join(taken)}",
            why=f"pods get {network.pod_range}, services {network.service_range}, the node {network.node_address}",
            next_step="disconnect from that network (a VPN, another cluster), or change the ranges in lab/settings.py",
        )


def create_interfaces(settings: LabSettings) -> None:
    """Create both interfaces. Both are bridges: the one kind that a machine for containers always has."""
    network = settings.network
    _ensure_bridge(network.node_interface, f"{network.node_address}/32")
    _ensure_bridge(network.pod_interface, f"{network.pod_gateway}/{network.node_pod_range.split('/')[1]}")
    IP_FORWARD.write_text("1")
    _filter_bridged_packets()


def _ensure_bridge(name: str, address: str) -> None:
    links = [link for link in ip_json("-details", "link", "show") if link["ifname"] == name]
    if not links:
        run(["ip", "link", "add", name, "type", "bridge"])
    elif links[0].get("linkinfo", {}).get("info_kind") != "bridge":
        raise ConfigurationError(f"the interface {name} is not a bridge", next_step=f"remove it: ip link delete {name}")
    run(["ip", "address", "replace", address, "dev", name])
    run(["ip", "link", "set", name, "up"])


def _filter_bridged_packets() -> None:
    """Enable bridge-nf-call-iptables: a Service's answer from a pod on the same bridge needs reverse NAT."""
    if not BRIDGE_FILTER.exists() and find_program("modprobe"):  # a container has no modprobe
        attempt(["modprobe", "br_netfilter"])
    if not BRIDGE_FILTER.exists():
        raise ConfigurationError(
            "the kernel cannot filter bridged packets, so pods could not reach Services",
            next_step="load the module br_netfilter (in a container: on its host)",
        )
    if BRIDGE_FILTER.read_text().strip() != "1":
        BRIDGE_FILTER.write_text("1")


def address_folder(settings: LabSettings) -> Path:
    """The folder of the pods' addresses; they are useless after a reboot, which clears it."""
    return settings.run / "addresses"


def write_cni_config(settings: LabSettings) -> None:
    network = settings.network
    bridge = {
        "type": "bridge",
        "bridge": network.pod_interface,
        "isGateway": True,
        # One rule of the lab's own firewall masquerades all pods, so that a dead pod leaves no rule behind.
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(make_folder(address_folder(settings))),
            "ranges": [[{"subnet": network.node_pod_range, "gateway": network.pod_gateway}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    conflist = {"cniVersion": "1.0.0", "name": CNI_NETWORK, "plugins": [bridge]}
    write_text(cni_config_folder(settings) / "10-slipway.conflist", json.dumps(conflist, indent=2) + "\n")


def pod_links(settings: LabSettings) -> list[str]:
    """The host's ends of the pods' veth pairs."""
    links = ip_json("link", "show", "type", "veth")
    return [link["ifname"] for link in links if link.get("master") == settings.network.pod_interface]


def interfaces(settings: LabSettings) -> list[str]:
    """Interfaces of the lab that exist."""
    ours = (settings.network.node_interface, settings.network.pod_interface)
    return [link["ifname"] for link in ip_json("link", "show") if link["ifname"] in ours]


def remove_pod_links(settings: LabSettings) -> None:
    for name in pod_links(settings):
        # May already be gone: the kernel removes both ends of a veth pair with the pod's network namespace.
        attempt(["ip", "link", "delete", name])
    deadline = time.monotonic() + 5
    while pod_links(settings) and time.monotonic() < deadline:
        time.sleep(0.1)


def is_own_result(note: dict[str, Any], run_folder: Path) -> bool:
    """Whether libcni's result is of a pod of this lab: its network namespace is below `run_folder`."""
    found = note.get("result", {}).get("interfaces", [])
    return any(run_folder in Path(interface.get("sandbox", "")).parents for interface in found)


def remove_results(settings: LabSettings) -> None:
    """Delete libcni's results of the lab's pods; results of other container engines in the same folder stay."""
    for path in CNI_RESULTS.glob("*"):
        note = read_json_object(path)
        if note and is_own_result(note, settings.run):
            path.unlink(missing_ok=True)


def remove_interfaces(settings: LabSettings) -> None:
    remove_pod_links(settings)
    remove_results(settings)
    for name in interfaces(settings):
        run(["ip", "link", "delete", name])


def packet_filter_rules(settings: LabSettings) -> str:
    """Input for `iptables-restore --noflush`; each chain is flushed and filled in one step."""
    network, ports = settings.network, settings.ports
    return "\n".join(
        (
            "*filter",
            f":{INPUT_CHAIN} - [0:0]",
            f":{FORWARD_CHAIN} - [0:0]",
            # This machine and its pods may reach everything, other machines nothing of the lab.
            f"-A {INPUT_CHAIN} -i lo -j RETURN",
            f"-A {INPUT_CHAIN} -i {network.pod_interface} -j RETURN",
            f"-A {INPUT_CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
            f"-A {INPUT_CHAIN} -d {network.node_address}/32 -j DROP",
            f"-A {INPUT_CHAIN} -p tcp -m tcp --dport {ports.apiserver} -j DROP",
            # Docker and some distributions forward nothing by default.
            f"-A {FORWARD_CHAIN} -i {network.pod_interface} -j ACCEPT",
            f"-A {FORWARD_CHAIN} -o {network.pod_interface} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "COMMIT",
            "*nat",
            f":{MASQUERADE_CHAIN} - [0:0]",
            f"-A {MASQUERADE_CHAIN} -s {network.pod_range} ! -d {network.pod_range} -j MASQUERADE",
            "COMMIT",
            "",
        )
    )


def rules_of_version_6(settings: LabSettings) -> str:
    """IPv6 rules: the API server's socket accepts IPv6 too, as Go's do; the lab uses IPv4 only."""
    return "\n".join(
        (
            "*filter",
            f":{INPUT_CHAIN} - [0:0]",
            f"-A {INPUT_CHAIN} -i lo -j RETURN",
            f"-A {INPUT_CHAIN} -p tcp -m tcp --dport {settings.ports.apiserver} -j DROP",
            "COMMIT",
            "",
        )
    )


def install_rules(settings: LabSettings) -> None:
    jumps = (
        ("filter", "INPUT", INPUT_CHAIN),
        ("filter", "FORWARD", FORWARD_CHAIN),
        ("nat", "POSTROUTING", MASQUERADE_CHAIN),
    )
    _install_family("iptables", packet_filter_rules(settings), jumps)
    if _IPV6.exists() and find_program("ip6tables-restore"):
        _install_family("ip6tables", rules_of_version_6(settings), jumps[:1])


def _install_family(family: str, text: str, jumps: Sequence[tuple[str, str, str]]) -> None:
    run([f"{family}-restore", "--noflush", "--wait", "10"], stdin=text)
    for table, builtin, chain in jumps:
        jump = [builtin, "-j", chain]
        if attempt([family, "--wait", "10", "-t", table, "-C", *jump]).returncode != 0:
            run([family, "--wait", "10", "-t", table, "-I", *jump])


def own_chains(saved: str) -> list[str]:
    """The lab's and kube-proxy's chains in the output of `iptables-save`."""
    names = (found[1] for line in saved.splitlines() if (found := _CHAIN_LINE.match(line)))
    return sorted({name for name in names if _OWN_CHAIN.match(name)})


def rules_removal(saved: str) -> str:
    """Input for `iptables-restore --noflush` that removes only the lab's chains, and the jumps into them from others.

    `saved` is the output of `iptables-save`; the result is empty if it has no chain of ours.
    """
    output: list[str] = []
    for table, lines in _tables(saved):
        chains = own_chains("\n".join(lines))
        if chains:
            jumps = [line for line in lines if line.startswith("-A ") and _jumps_in(line)]
            # Naming a chain flushes it. A chain can be deleted only if it is empty and no rule jumps to it.
            output += [f"*{table}", *(f":{chain} - [0:0]" for chain in chains)]
            output += [f"-D {line.removeprefix('-A ')}" for line in jumps]
            output += [*(f"-X {chain}" for chain in chains), "COMMIT"]
    return "\n".join([*output, ""]) if output else ""


def _jumps_in(rule: str) -> bool:
    """Whether the rule is in a chain of others and jumps into one of ours."""
    words = shlex.split(rule)  # a comment is one word, whatever its text
    targets = [target for flag, target in pairwise(words) if flag in ("-j", "-g")]
    return any(_OWN_CHAIN.match(target) for target in targets) and not _OWN_CHAIN.match(words[1])


def _tables(saved: str) -> Iterator[tuple[str, list[str]]]:
    name, lines = "", list[str]()
    for line in saved.splitlines():
        if line.startswith("*"):
            name, lines = line[1:], []
        elif line == "COMMIT":
            yield name, lines
        else:
            lines.append(line)


def leftover_chains() -> list[str]:
    """Chains of ours that exist now, in either family."""
    return [
        chain
        for family in _FAMILIES
        if find_program(f"{family}-save")
        for chain in own_chains(attempt([f"{family}-save"]).stdout)
    ]


def remove_rules() -> None:
    for family in _FAMILIES:
        if find_program(f"{family}-save"):
            script = rules_removal(attempt([f"{family}-save"]).stdout)
            if script:
                run([f"{family}-restore", "--noflush", "--wait", "10"], stdin=script)
