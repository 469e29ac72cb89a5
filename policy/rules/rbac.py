"""RBAC: only named rights, for named accounts."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem, View
from policy.kinds import objects
from policy.model import rule

GOOD_PRACTICES = "https://kubernetes.io/docs/concepts/security/rbac-good-practices/"
roles = objects("Role", "ClusterRole")
bindings = objects("RoleBinding", "ClusterRoleBinding")
ESCALATING_VERBS = ("escalate", "bind", "impersonate")
READING_VERBS = ("get", "list", "watch", "*")
POWERFUL_ROLES = ("cluster-admin", "admin", "edit")
EVERYBODY = ("system:authenticated", "system:unauthenticated", "system:anonymous", "system:serviceaccounts")
MASTERS = "system:masters"


@rule(
    "rbac-no-wildcards",
    title="Roles have no wildcards",
    why="A wildcard also allows every verb and resource that is added later.",
    source=f"{GOOD_PRACTICES}#least-privilege",
    remedy="List the verbs, API groups and resources that are needed.",
    of=roles,
)
def rbac_no_wildcards(role: View) -> Iterator[Problem]:
    for each in role.at("rules").items():
        for key in ("verbs", "resources", "apiGroups", "nonResourceURLs"):
            for value in each.at(key).items():
                if "*" in (value.text() or ""):
                    yield value.problem(f"{key} has {value.shown()}; allowed: names without `*`")
    aggregation = role.at("aggregationRule")
    if aggregation.present:
        yield aggregation.problem("the role has an aggregationRule; allowed: `rules` of its own")


@rule(
    "rbac-no-escalation",
    title="No role has the verbs escalate, bind or impersonate",
    why="An account with escalate, bind or impersonate can get every other right.",
    source=f"{GOOD_PRACTICES}#privilege-escalation-risks",
    remedy="Leave these verbs to the cluster's administrators.",
    of=roles,
)
def rbac_no_escalation(role: View) -> Iterator[Problem]:
    for each in role.at("rules").items():
        for verb in each.at("verbs").items():
            if verb.read() in ESCALATING_VERBS:
                yield verb.problem(f"the role allows {verb.shown()}; allowed: none of {', '.join(ESCALATING_VERBS)}")


@rule(
    "rbac-no-secret-reads",
    title="No role reads Secrets",
    why="An account that can list Secrets can read every password and token of the namespace.",
    source=f"{GOOD_PRACTICES}#listing-secrets",
    remedy="Mount the one Secret that a pod needs; the kubelet reads it for the pod.",
    of=roles,
)
def rbac_no_secret_reads(role: View) -> Iterator[Problem]:
    for each in role.at("rules").items():
        reads = any(verb.read() in READING_VERBS for verb in each.at("verbs").items())
        for resource in each.at("resources").items():
            if reads and (resource.text() or "").partition("/")[0] in ("secrets", "*"):
                yield resource.problem(f"the role reads {resource.shown()}; allowed: no get, list or watch of secrets")


@rule(
    "rbac-no-admin-binding",
    title="No binding refers to cluster-admin, admin or edit",
    why="cluster-admin, admin and edit give access to Secrets, and cluster-admin allows everything.",
    source=f"{GOOD_PRACTICES}#least-privilege; kube-linter: cluster-admin-role-binding",
    remedy="Bind a role of this stack that lists the rights that are needed.",
    of=bindings,
)
def rbac_no_admin_binding(binding: View) -> Iterator[Problem]:
    role = binding.at("roleRef", "name")
    if role.read() in POWERFUL_ROLES:
        yield role.problem(f"the binding gives {role.shown()}; allowed: none of {', '.join(POWERFUL_ROLES)}")


@rule(
    "rbac-named-subjects",
    title="Rights are given to named accounts",
    why="An attacker in any pod can use the rights of all users and of the default ServiceAccount.",
    source=f"{GOOD_PRACTICES}#hardening",
    remedy="Bind the role to the ServiceAccount of the workload that needs it.",
    of=bindings,
)
def rbac_named_subjects(binding: View) -> Iterator[Problem]:
    for subject in binding.at("subjects").items():
        name = subject.at("name").text() or ""
        default = subject.at("kind").read() == "ServiceAccount" and name == "default"
        if default or name == MASTERS or name.startswith(EVERYBODY):
            yield subject.at("name").problem(f"the binding is for {name}; allowed: a ServiceAccount of a workload")
