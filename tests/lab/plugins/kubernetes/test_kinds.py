"""Objects of many kinds, as people write them: made, refreshed, declared again without a difference."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.lab

MANIFESTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: worker, annotations: {}}
automountServiceAccountToken: false
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota}
spec: {hard: {pods: 1000, requests.cpu: "1000000m", limits.memory: 1024Gi}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec:
  limits:
    - {type: Container, default: {cpu: 0.5}, defaultRequest: {cpu: 100m, memory: 128000Ki}, max: {cpu: "1000"}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: NAMESPACE-volume}
spec:
  capacity: {storage: 1024Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: none-such
  hostPath: {path: /tmp/none, type: ""}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  resources: {requests: {storage: 0.5Gi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  publishNotReadyAddresses: false
  ports: [{name: http, port: 80, targetPort: http}, {name: admin, port: 81, targetPort: 8081, protocol: TCP}]
---
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  initContainers: [{name: first, image: none/none:1, args: [], resources: {}}]
  containers: [{name: app, image: none/none:1, imagePullPolicy: IfNotPresent, ports: [{containerPort: 80}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 0
  minReadySeconds: 0
  progressDeadlineSeconds: 300
  revisionHistoryLimit: 0
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {note: ""}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      hostNetwork: false
      serviceAccountName: worker
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {matchLabels: {app: web}}
      tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]
      containers:
        - name: app
          image: none/none:1
          env:
            - {name: EMPTY, value: ""}
            - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1000m}}}
            - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
          envFrom: [{configMapRef: {name: settings, optional: true}}]
          ports: [{name: http, containerPort: 8080, hostPort: 0}]
          resources: {requests: {cpu: 0.05, memory: 128Mi}, limits: {memory: 0.5Gi, ephemeral-storage: 1024Mi}}
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          startupProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 60}
          readinessProbe: {httpGet: {path: /readyz, port: 8080}, initialDelaySeconds: 0}
          livenessProbe: {tcpSocket: {port: http}}
          lifecycle: {preStop: {sleep: {seconds: 5}}}
          volumeMounts: [{name: tmp, mountPath: /tmp, readOnly: false}]
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 1024Mi}}
        - {name: run, emptyDir: {}}
        - {name: config, configMap: {name: settings, optional: true, items: [{key: a, path: b}]}}
        - name: tokens
          projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 3600}}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 0
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: none/none:1}]}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: collector}
spec:
  selector: {matchLabels: {app: collector}}
  template:
    metadata: {labels: {app: collector}}
    spec: {nodeSelector: {nowhere: "true"}, containers: [{name: collector, image: none/none:1}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  suspend: true
  template:
    spec: {restartPolicy: Never, containers: [{name: job, image: none/none:1, command: ["true"]}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  suspend: false
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: OnFailure, containers: [{name: job, image: none/none:1}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 3
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
    - {type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 1024Mi}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{podSelector: {}}, {namespaceSelector: {}, podSelector: {matchLabels: {app: x}}}]
      ports: [{port: http, protocol: TCP}]
  egress: [{}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nothing}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: []}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  defaultBackend: {service: {name: web, port: {number: 80}}}
  tls: []
  rules:
    - host: web.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: worker, namespace: NAMESPACE}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: NAMESPACE-class}
provisioner: example.com/none
parameters: {kind: none}
allowVolumeExpansion: false
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: NAMESPACE-class}
value: 10
globalDefault: false
description: ""
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: NAMESPACE-hook}
webhooks:
  - name: hook.example.com
    clientConfig: {service: {namespace: NAMESPACE, name: hook, path: /}}
    rules: [{apiGroups: [example.com], apiVersions: [v1], operations: [CREATE], resources: [things]}]
    failurePolicy: Ignore
    sideEffects: None
    admissionReviewVersions: [v1]
"""
OBJECTS = list(yaml.safe_load_all(MANIFESTS))
SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}


def token_of(body: dict[str, Any]) -> str:
    version = body["apiVersion"]
    return f"kubernetes:{version if '/' in version else 'core/' + version}:{body['kind']}"


@pytest.mark.parametrize("body", OBJECTS, ids=[f"{body['kind']}-{body['metadata']['name']}" for body in OBJECTS])
def test_an_object_as_people_write_it(provider: Any, namespace: str, body: dict[str, Any]) -> None:
    inputs = yaml.safe_load(yaml.safe_dump(body).replace("NAMESPACE", namespace))
    inputs["metadata"]["annotations"] = {**inputs["metadata"].get("annotations", {}), **SKIP_AWAIT}
    if not inputs["metadata"]["name"].startswith(namespace):
        inputs["metadata"]["namespace"] = namespace
    token, name = token_of(inputs), inputs["metadata"]["name"]

    provider.create(token, name, inputs)
    try:
        assert provider.up(token, name, inputs) == "same"
        provider.read(token, name)
        assert {str(path) for path in provider.diff(token, name, inputs).detailedDiff} == set()
        inputs["metadata"]["labels"] = {**inputs["metadata"].get("labels", {}), "step": "2"}
        assert provider.up(token, name, inputs) == "update"
        provider.read(token, name)
        assert provider.up(token, name, inputs) == "same"
        previewed = provider.update(token, name, inputs, preview=True)
        assert previewed.live["metadata"]["labels"]["step"] == "2"
    finally:
        provider.delete(token, name)
