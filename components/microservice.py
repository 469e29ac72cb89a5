"""Runs a service that answers on a port."""

from __future__ import annotations

from pulumi import Output, ResourceOptions

from components import network
from components.workload import Workload, WorkloadArgs


class Microservice(Workload):
    """A Deployment with its ServiceAccount, Service, ConfigMap, NetworkPolicy and PodDisruptionBudget, and if the
    spec asks for them, a Secret, a HorizontalPodAutoscaler and an Ingress.
    """

    url: Output[str]

    def __init__(self, name: str, args: WorkloadArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("slipway:index:Microservice", name, args, opts)
        network_policy = self._network_policy()
        service = self._service()
        deployment = self._deployment(network_policy, self._config_map(), self._secret())
        self.depended_on = [deployment]
        self.rolled_out = args.rollouts.complete(deployment)
        self._disruption_budget()
        if self._spec.autoscaling:
            self._autoscaler(self._spec.autoscaling)
        if self._spec.ingress:
            self._ingress(self._spec.ingress)
        self.url = network.url(self._spec, service, args.rollouts)
        self.register_outputs({"url": self.url})
