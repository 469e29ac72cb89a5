"""Runs a worker: pods that fetch their work from elsewhere, so that nothing connects to them."""

from __future__ import annotations

from pulumi import Output, ResourceOptions
from pulumi_kubernetes import core

from components.kubernetes_defaults import COMPONENT_LABEL
from components.workload import Workload, WorkloadArgs

WORKER = {COMPONENT_LABEL: "worker"}


class Worker(Workload):
    """A Deployment without a port, with its ServiceAccount, ConfigMap, NetworkPolicy and PodDisruptionBudget, and if
    the spec asks for them, a Secret and a HorizontalPodAutoscaler.
    """

    def __init__(self, name: str, args: WorkloadArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("slipway:index:Worker", name, args, opts)
        deployment = self._deployment(self._network_policy(), self._config_map(), self._secret())
        self.depended_on = [deployment]
        self.rolled_out = args.rollouts.complete(deployment)
        self._disruption_budget()
        if self._spec.autoscaling:
            self._autoscaler(self._spec.autoscaling)
        self.register_outputs({})

    def _pod_template(
        self, image: Output[str], config_map: core.v1.ConfigMap, secret: core.v1.Secret | None
    ) -> core.v1.PodTemplateSpecArgsDict:
        """Adds the label of a worker, for which the policies do not require every probe."""
        template = super()._pod_template(image, config_map, secret)
        return {
            **template,
            "metadata": {**template["metadata"], "labels": {**template["metadata"]["labels"], **WORKER}},
        }
