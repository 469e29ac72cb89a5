"""RBAC: only named rights, for named accounts."""

from __future__ import annotations

from collections.abc import Iterator

from policy.declaration import Problem
from policy.kinds import objects
from policy.model import rule
from policy.view import View

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
    title="Roles name what they allow",
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
        yield aggregation.problem("the role takes over what others are given; allowed: rules of its own")


@rule(
    "rbac-no-escalation",
    title="No role lets its holder give itself more",
    why="escalate, bind and impersonate are as good as every right there is.",
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
    why="Whoever lists Secrets holds every password and every token of the namespace.",
    source=f"{GOOD_PRACTICES}#listing-secrets",
    remedy="Mount the one Secret that a pod needs; the kubelet reads it on the pod's behalf.",
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
    title="Nobody is bound to a role that allows everything",
    why="cluster-admin, admin and edit include Secrets, and cluster-admin every right there is.",
    source=f"{GOOD_PRACTICES}#least-privilege; kube-linter: cluster-admin-role-binding",
    remedy="Bind a role of the stack's own that names what is needed.",
    of=bindings,
)
def rbac_no_admin_binding(binding: View) -> Iterator[Problem]:
    role = binding.at("roleRef", "name")
    if role.read() in POWERFUL_ROLES:
        yield role.problem(f"the binding gives {role.shown()}; allowed: none of {', '.join(POWERFUL_ROLES)}")


@rule(
    "rbac-named-subjects",
    title="Rights are given to named accounts",
    why="A right of everybody, or of the default account, is a right of every pod that is broken into.",
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
