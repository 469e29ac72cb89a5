"""Asks the cluster without the provider: whether its kubeconfig is usable, and which cluster it is."""

from __future__ import annotations

import os

from slipway.cluster.checks import missing_rights
from slipway.cluster.client import Cluster, ClusterError, ForbiddenError
from slipway.cluster.diagnosis.objects import text_at
from slipway.cluster.kubeconfig import KubeconfigError, read_kubeconfig


def kubeconfig_problem(context: str | None) -> str:
    """Why no cluster can be reached with KUBECONFIG and `context`; empty if both are usable."""
    variable = os.environ.get("KUBECONFIG", "")
    try:
        kubeconfig = read_kubeconfig(variable)
        if kubeconfig.files:
            kubeconfig.context(context)
            return ""
    except KubeconfigError as error:
        return str(error)
    if variable.strip(os.pathsep):
        return f"KUBECONFIG names {variable}, which does not exist; set it to a kubeconfig file"
    # Without a kubeconfig the provider uses the account of the pod that it runs in.
    return f"`slipway:context` is {context!r}, but there is no kubeconfig to find it in" if context else ""


def checks_problem(context: str | None, namespace: str) -> str:
    """Why checks could not run at the end of an update, found before it begins; empty if nothing is wrong."""
    try:
        return missing_rights(Cluster.connect(context), namespace)
    except ForbiddenError:  # without the right to review its rights, an account finds out when it uses them
        return ""
    except ClusterError as error:
        return str(error)


def cluster_id(context: str | None) -> str:
    """The uid of namespace kube-system, which no two clusters share; empty if it cannot be read."""
    try:
        return text_at(Cluster.connect(context).read("/api/v1/namespaces/kube-system"), "metadata", "uid")
    except ClusterError:
        return ""
