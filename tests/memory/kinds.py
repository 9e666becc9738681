"""A manifest of every built-in kind that the server models, and their paths."""

from typing import Any, TypeAlias

from captep_memory._typed import typed_kinds

__all__ = ["KINDS", "MANIFESTS", "manifest_of", "path_of"]

Manifest: TypeAlias = dict[str, Any]

KINDS: dict[str, tuple[str, ...]] = {
    "v1": (
        "ConfigMap",
        "Endpoints",
        "Event",
        "LimitRange",
        "Namespace",
        "PersistentVolumeClaim",
        "Pod",
        "ResourceQuota",
        "Secret",
        "Service",
        "ServiceAccount",
    ),
    "admissionregistration.k8s.io/v1": (
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
    ),
    "apps/v1": ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "batch/v1": ("CronJob", "Job"),
    "coordination.k8s.io/v1": ("Lease",),
    "discovery.k8s.io/v1": ("EndpointSlice",),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "policy/v1": ("PodDisruptionBudget",),
    "rbac.authorization.k8s.io/v1": (
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
    ),
    "scheduling.k8s.io/v1": ("PriorityClass",),
    "storage.k8s.io/v1": ("StorageClass",),
}
"""The recorded kinds of each apiVersion."""

_POD = {
    "containers": [
        {
            "name": "c",
            "image": "i",
            "ports": [{"containerPort": 80, "name": "web"}],
            "env": [
                {"name": "A", "value": "b"},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "m"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "readinessProbe": {"httpGet": {"port": 80}},
            "livenessProbe": {"tcpSocket": {"port": "web"}},
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
        }
    ],
    "initContainers": [{"name": "i", "image": "i:1", "command": ["sh"]}],
    "volumes": [
        {"name": "v", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "m", "configMap": {"name": "m"}},
        {"name": "p", "persistentVolumeClaim": {"claimName": "p"}},
    ],
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "s"}],
    "securityContext": {"fsGroup": 1},
}
_SMALL_POD = {"containers": [{"name": "c", "image": "i:1"}]}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_NEAR = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
_NODES = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}
_PLACED_POD = {
    "containers": [
        {
            "name": "c",
            "image": "i:1",
            "ports": [{"containerPort": 80, "hostPort": 8080}],
            "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
            "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
        }
    ],
    "affinity": {
        "podAntiAffinity": {_PREFERRED: [{"weight": 1, "podAffinityTerm": _NEAR}]},
        "podAffinity": {_REQUIRED: [_NEAR]},
        "nodeAffinity": {
            _REQUIRED: {"nodeSelectorTerms": [_NODES]},
            _PREFERRED: [{"weight": 100, "preference": _NODES}],
        },
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
}
_SELECTOR = {"matchLabels": {"a": "b"}}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _POD}
_SMALL_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _SMALL_POD}
_RBAC = "rbac.authorization.k8s.io/v1"
_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
_RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
_SUBJECT = {"kind": "ServiceAccount", "name": "s", "namespace": "default"}
_JOB = {"template": {"spec": {**_SMALL_POD, "restartPolicy": "Never"}}, "backoffLimit": 2}
_WEBHOOK = {
    "name": "a.ex.io",
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
    "clientConfig": {"service": {"namespace": "default", "name": "s"}},
    "rules": [
        {
            "apiGroups": ["ex.io"],
            "apiVersions": ["v1"],
            "resources": ["gadgets"],
            "operations": ["CREATE"],
        }
    ],
}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}

MANIFESTS: tuple[Manifest, ...] = (
    {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "secrets": [{"name": "s"}],
        "imagePullSecrets": [{"name": "s"}],
    },
    {"apiVersion": _RBAC, "kind": "Role", "rules": [_RULE]},
    {"apiVersion": _RBAC, "kind": "ClusterRole", "rules": [_RULE]},
    {"apiVersion": _RBAC, "kind": "RoleBinding", "roleRef": _REF, "subjects": [_SUBJECT]},
    {"apiVersion": _RBAC, "kind": "ClusterRoleBinding", "roleRef": _REF, "subjects": [_SUBJECT]},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"selector": _SELECTOR, "template": _TEMPLATE, "strategy": {}},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "spec": {
            "serviceName": "s",
            "selector": _SELECTOR,
            "template": _SMALL_TEMPLATE,
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": _CLAIM}],
        },
    },
    {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "spec": {"selector": _SELECTOR, "template": _SMALL_TEMPLATE},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "spec": {
            "selector": _SELECTOR,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": _PLACED_POD},
            "replicas": 2,
        },
    },
    {"apiVersion": "batch/v1", "kind": "Job", "spec": _JOB},
    {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": _JOB}},
    },
    {"apiVersion": "v1", "kind": "Pod", "spec": _POD},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {"selector": {"a": "b"}, "ports": [{"name": "web", "port": 80}]},
    },
    {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": _CLAIM},
    {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}],
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"]}],
        "ports": [{"port": 80}],
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "spec": {
            "ingressClassName": "c",
            "rules": [
                {
                    "host": "a.example.com",
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "s", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ],
            "tls": [{"hosts": ["a.example.com"], "secretName": "s"}],
        },
    },
    {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {
            "podSelector": _SELECTOR,
            "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}],
        },
    },
    {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "spec": {"minAvailable": 1, "selector": _SELECTOR},
    },
    {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        },
    },
    {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "4", "cpu": "2"}}},
    {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}}]},
    },
    {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 100},
    {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "ex.io/p"},
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "webhooks": [_WEBHOOK],
    },
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "webhooks": [_WEBHOOK],
    },
    {"apiVersion": "v1", "kind": "Namespace"},
)
"""A sound manifest of each kind that a Go type describes, without its name."""


def manifest_of(kind: str) -> Manifest:
    """Return the manifest of a kind."""
    return next(each for each in MANIFESTS if each["kind"] == kind)


def path_of(manifest: Manifest) -> str:
    """Return the path of the objects of a manifest's kind; `{}` stands for the namespace."""
    api_version = manifest["apiVersion"]
    resource = typed_kinds()[f"{api_version}/{manifest['kind']}"]["resource"]
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    place = f"{root}/namespaces/{{}}" if resource["namespaced"] else root
    return f"{place}/{resource['name']}"
