"""The CustomResourceDefinitions of the kinds that the controller touches.

They are small ones of our own, or the real ones from the folder that CAPTEP_UPSTREAM names.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

__all__ = ["definitions", "newer_definitions"]

Schema: TypeAlias = Mapping[str, Any]
_ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_CONDITIONS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            name: {"type": "string"}
            for name in ("type", "status", "reason", "message", "severity", "lastTransitionTime")
        },
    },
}
_ENDPOINT = {
    "type": "object",
    "required": ["host", "port"],
    "properties": {"host": {"type": "string"}, "port": {"type": "integer"}},
}
_DEPRECATED = ("failureReason", "failureMessage", "conditions")
_CONTROL_PLANE_SPEC = {
    "type": "object",
    "required": ["version", "workspaceTemplateRef"],
    "properties": {
        "version": {"type": "string"},
        "workspaceTemplateRef": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "namespace": {"type": "string"}},
        },
        "workspaceTemplateApplyName": {"type": "string"},
        "controlPlaneConfig": _ANYTHING,
        "additionalTags": {"type": "object", "additionalProperties": {"type": "string"}},
        "controlPlaneEndpoint": _ENDPOINT,
    },
}
_CONTROL_PLANE_STATUS = {
    "type": "object",
    "properties": {
        "ready": {"type": "boolean"},
        "initialized": {"type": "boolean"},
        "secretsReady": {"type": "boolean", "default": False},
        "phase": {"type": "string", "enum": ["Creating", "Ready", "Failed"]},
        "failureReason": {"type": "string"},
        "failureMessage": {"type": "string"},
        "workspaceTemplateStatus": _ANYTHING,
        "workspaceStatus": _ANYTHING,
        "conditions": _CONDITIONS,
    },
}


def definitions() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions to install, one for each name."""
    upstream = os.environ.get("CAPTEP_UPSTREAM")
    return _upstream(Path(upstream)) if upstream else _own()


def newer_definitions() -> list[dict[str, Any]]:
    """Return the definitions with a Cluster that is served in v1beta2 alone.

    It is upstream's newest one where CAPTEP_UPSTREAM is set. Its conversion webhook is not
    included, and nothing needs it while one version is served.
    """
    others = [each for each in definitions() if each["spec"]["names"]["kind"] != "Cluster"]
    upstream = os.environ.get("CAPTEP_UPSTREAM")
    if not upstream:
        return [*others, _newer_cluster()]
    (file,) = Path(upstream).rglob("crds/*clusters-newest.yaml")
    definition = yaml.safe_load(file.read_text("utf-8"))
    spec = definition["spec"]
    versions = [{**each, "served": each["name"] == "v1beta2"} for each in spec["versions"]]
    return [*others, {**definition, "spec": {**spec, "versions": versions}}]


def _newer_cluster() -> dict[str, Any]:
    """A Cluster of v1beta2 with the fields that captep writes, as strict as upstream's."""
    text = {"type": "string", "minLength": 1}
    host = {"host": {**text, "maxLength": 512}}
    port = {"port": {"type": "integer", "minimum": 1, "maximum": 65535}}
    names = ("apiGroup", "kind", "name")
    flag = {"type": "boolean"}
    condition = {
        "type": "object",
        "required": ["lastTransitionTime", "message", "reason", "status", "type"],
        "properties": {
            "type": {"type": "string"},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": text,
            "message": {"type": "string"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "observedGeneration": {"type": "integer"},
        },
    }
    spec = {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "paused": flag,
            "controlPlaneEndpoint": {
                "type": "object",
                "minProperties": 1,
                "properties": {**host, **port},
            },
            "controlPlaneRef": {
                "type": "object",
                "required": list(names),
                "properties": dict.fromkeys(names, text),
            },
        },
    }
    older = {name: _CONDITIONS if name == "conditions" else text for name in _DEPRECATED}
    status = {
        "type": "object",
        "minProperties": 1,
        "properties": {
            "initialization": {
                "type": "object",
                "minProperties": 1,
                "properties": {"controlPlaneInitialized": flag, "infrastructureProvisioned": flag},
            },
            "phase": text,
            "conditions": {"type": "array", "items": condition},
            "deprecated": {
                "type": "object",
                "properties": {"v1beta1": {"type": "object", "properties": older}},
            },
        },
    }
    made = _definition("cluster.x-k8s.io", "Cluster", spec=spec, status=status)
    made["spec"]["versions"][0]["name"] = "v1beta2"
    return made


def _upstream(folder: Path) -> list[dict[str, Any]]:
    """Load the definitions of a folder; of two releases of one, the last in name order counts.

    So `clusters-v1.8.5` counts and not `clusters-newest`, which wants a webhook.
    """
    found = {}
    for file in sorted(folder.rglob("crds/*.yaml")):
        for document in yaml.safe_load_all(file.read_text("utf-8")):
            if document and document.get("kind") == "CustomResourceDefinition":
                found[document["metadata"]["name"]] = document
    assert found, f"CAPTEP_UPSTREAM={folder} has no crds/*.yaml"
    return list(found.values())


def _own() -> list[dict[str, Any]]:
    infrastructure = "infrastructure.cluster.x-k8s.io"
    return [
        _definition(
            "controlplane.cluster.x-k8s.io",
            "CAPTControlPlane",
            spec=_CONTROL_PLANE_SPEC,
            status=_CONTROL_PLANE_STATUS,
        ),
        _definition("cluster.x-k8s.io", "Cluster"),
        _definition(infrastructure, "WorkspaceTemplate"),
        _definition(infrastructure, "WorkspaceTemplateApply", plural="workspacetemplateapplies"),
        _definition("tf.upbound.io", "Workspace", scope="Cluster"),
    ]


def _definition(
    group: str,
    kind: str,
    *,
    plural: str = "",
    scope: str = "Namespaced",
    spec: Schema = _ANYTHING,
    status: Schema = _ANYTHING,
) -> dict[str, Any]:
    plural = plural or f"{kind.lower()}s"
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
            },
            "versions": [version],
        },
    }
