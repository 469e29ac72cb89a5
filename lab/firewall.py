"""The lab's packet filter (iptables) rules. Removes only rules that the lab and kube-proxy made."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from .settings import LabSettings
from .shell import attempt, find_program, run

INPUT, FORWARD, MASQUERADE = "SLIPWAY-LAB-INPUT", "SLIPWAY-LAB-FORWARD", "SLIPWAY-LAB-MASQ"
_OWN_CHAIN = re.compile(r"^(SLIPWAY-LAB|KUBE)-")
_CHAIN_LINE = re.compile(r"^:(\S+) ")
# iptables and ip6tables: kube-proxy keeps a few chains in the second one too.
_FAMILIES = ("iptables", "ip6tables")
_IPV6 = Path("/proc/net/if_inet6")


def rules(settings: LabSettings) -> str:
    """Input for `iptables-restore --noflush`; each chain is flushed and filled in one step."""
    network, ports = settings.network, settings.ports
    return "\n".join(
        (
            "*filter",
            f":{INPUT} - [0:0]",
            f":{FORWARD} - [0:0]",
            # This machine and its pods may reach everything, other machines nothing of the lab.
            f"-A {INPUT} -i lo -j RETURN",
            f"-A {INPUT} -i {network.pod_interface} -j RETURN",
            f"-A {INPUT} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
            f"-A {INPUT} -d {network.node_address}/32 -j DROP",
            f"-A {INPUT} -p tcp -m tcp --dport {ports.apiserver} -j DROP",
            # Docker and some distributions forward nothing by default.
            f"-A {FORWARD} -i {network.pod_interface} -j ACCEPT",
            f"-A {FORWARD} -o {network.pod_interface} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "COMMIT",
            "*nat",
            f":{MASQUERADE} - [0:0]",
            f"-A {MASQUERADE} -s {network.pod_range} ! -d {network.pod_range} -j MASQUERADE",
            "COMMIT",
            "",
        )
    )


def rules_of_version_6(settings: LabSettings) -> str:
    """IPv6 rules: the API server's socket accepts IPv6 too, as Go's do; the lab uses IPv4 only."""
    return "\n".join(
        (
            "*filter",
            f":{INPUT} - [0:0]",
            f"-A {INPUT} -i lo -j RETURN",
            f"-A {INPUT} -p tcp -m tcp --dport {settings.ports.apiserver} -j DROP",
            "COMMIT",
            "",
        )
    )


def install(settings: LabSettings) -> None:
    jumps = (("filter", "INPUT", INPUT), ("filter", "FORWARD", FORWARD), ("nat", "POSTROUTING", MASQUERADE))
    _install("iptables", rules(settings), jumps)
    if _IPV6.exists() and find_program("ip6tables-restore"):
        _install("ip6tables", rules_of_version_6(settings), jumps[:1])


def _install(family: str, text: str, jumps: Sequence[tuple[str, str, str]]) -> None:
    run([f"{family}-restore", "--noflush", "--wait", "10"], stdin=text)
    for table, builtin, chain in jumps:
        jump = [builtin, "-j", chain]
        if attempt([family, "--wait", "10", "-t", table, "-C", *jump]).returncode != 0:
            run([family, "--wait", "10", "-t", table, "-I", *jump])


def own_chains(saved: str) -> list[str]:
    """The lab's and kube-proxy's chains in the output of `iptables-save`."""
    names = (found[1] for line in saved.splitlines() if (found := _CHAIN_LINE.match(line)))
    return sorted({name for name in names if _OWN_CHAIN.match(name)})


def removal(saved: str) -> str:
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


def leftovers() -> list[str]:
    """Chains of ours that exist now, in either family."""
    return [
        chain
        for family in _FAMILIES
        if find_program(f"{family}-save")
        for chain in own_chains(attempt([f"{family}-save"]).stdout)
    ]


def remove() -> None:
    for family in _FAMILIES:
        if find_program(f"{family}-save"):
            script = removal(attempt([f"{family}-save"]).stdout)
            if script:
                run([f"{family}-restore", "--noflush", "--wait", "10"], stdin=script)
