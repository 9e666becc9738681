"""Manifests of a realistic size: a Deployment, a custom resource and its definition."""

from typing import Any, TypeAlias

__all__ = ["DEFINITION", "DEPLOYMENT", "WIDGET"]

Manifest: TypeAlias = dict[str, Any]

DEPLOYMENT: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "web",
        "namespace": "fleet",
        "labels": {
            "app.kubernetes.io/name": "web",
            "app.kubernetes.io/instance": "prod",
            "app.kubernetes.io/version": "1.4.2",
        },
        "annotations": {"team": "payments"},
    },
    "spec": {
        "replicas": 3,
        "revisionHistoryLimit": 5,
        "selector": {
            "matchLabels": {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "prod"}
        },
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": {
            "metadata": {
                "labels": {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "prod"},
                "annotations": {"prometheus.io/scrape": "true"},
            },
            "spec": {
                "serviceAccountName": "web",
                "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
                "containers": [
                    {
                        "name": "web",
                        "image": "registry.example.com/web:1.4.2",
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["--port=8080", "--log=json"],
                        "ports": [
                            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                            {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
                        ],
                        "env": [
                            {
                                "name": "DATABASE_URL",
                                "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}},
                            },
                            {"name": "LOG_LEVEL", "value": "info"},
                            {
                                "name": "POD_NAME",
                                "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                            },
                        ],
                        "resources": {
                            "requests": {"cpu": "100m", "memory": "128Mi"},
                            "limits": {"cpu": "500m", "memory": "256Mi"},
                        },
                        "livenessProbe": {
                            "httpGet": {"path": "/healthz", "port": "http"},
                            "initialDelaySeconds": 10,
                            "periodSeconds": 10,
                        },
                        "readinessProbe": {
                            "httpGet": {"path": "/readyz", "port": "http"},
                            "periodSeconds": 5,
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [
                            {"name": "config", "mountPath": "/etc/web", "readOnly": True},
                            {"name": "tmp", "mountPath": "/tmp"},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "config", "configMap": {"name": "web"}},
                    {"name": "tmp", "emptyDir": {}},
                ],
            },
        },
    },
}
WIDGET: Manifest = {
    "apiVersion": "ex.io/v1",
    "kind": "Widget",
    "metadata": {"name": "a", "namespace": "fleet", "labels": {"app": "a", "team": "b"}},
    "spec": {
        "replicas": 3,
        "version": "1.31",
        "paused": False,
        "template": {
            "image": "registry.example.com/w:1",
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "value": "2"},
                {"name": "C", "value": "3"},
            ],
            "resources": {"cpu": "100m", "memory": "128Mi"},
        },
        "zones": ["a", "b", "c"],
        "endpoints": [
            {"host": "one.example.com", "port": 80, "weight": 1},
            {"host": "two.example.com", "port": 443, "weight": 2},
        ],
        "selector": {"matchLabels": {"app": "a"}},
        "ref": {"kind": "Secret", "name": "s", "namespace": "default"},
    },
}
DEFINITION: Manifest = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.ex.io"},
    "spec": {
        "group": "ex.io",
        "scope": "Namespaced",
        "names": {
            "plural": "widgets",
            "singular": "widget",
            "kind": "Widget",
            "listKind": "WidgetList",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "apiVersion": {"type": "string"},
                            "kind": {"type": "string"},
                            "metadata": {"type": "object"},
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer", "minimum": 0, "default": 1},
                                    "version": {"type": "string"},
                                    "paused": {"type": "boolean", "default": False},
                                    "template": {
                                        "type": "object",
                                        "properties": {
                                            "image": {"type": "string"},
                                            "env": {
                                                "type": "array",
                                                "x-kubernetes-list-type": "map",
                                                "x-kubernetes-list-map-keys": ["name"],
                                                "items": {
                                                    "type": "object",
                                                    "properties": {
                                                        "name": {"type": "string"},
                                                        "value": {"type": "string"},
                                                    },
                                                    "required": ["name"],
                                                },
                                            },
                                            "resources": {
                                                "type": "object",
                                                "additionalProperties": {"type": "string"},
                                            },
                                        },
                                    },
                                    "zones": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "set",
                                        "items": {"type": "string"},
                                    },
                                    "endpoints": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "properties": {
                                                "host": {"type": "string"},
                                                "port": {"type": "integer"},
                                                "weight": {"type": "integer"},
                                            },
                                        },
                                    },
                                    "selector": {
                                        "type": "object",
                                        "properties": {
                                            "matchLabels": {
                                                "type": "object",
                                                "additionalProperties": {"type": "string"},
                                            }
                                        },
                                    },
                                    "ref": {
                                        "type": "object",
                                        "properties": {
                                            "kind": {"type": "string"},
                                            "name": {"type": "string"},
                                            "namespace": {"type": "string"},
                                        },
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {"ready": {"type": "boolean"}},
                            },
                        },
                    }
                },
            }
        ],
    },
}
