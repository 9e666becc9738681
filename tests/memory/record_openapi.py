"""Record what a real kube-apiserver says of built-in kinds: their schemas and their resources.

    KUBEBUILDER_ASSETS=$(tests/apiserver/build) python -m tests.memory.record_openapi

The schemas come from /openapi/v3 as they are, with every extension and description; the resources
come from discovery. Paths are left out, because they follow from the resources.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.cluster.apiserver import ApiServer

__all__ = ["KINDS"]

Schema: TypeAlias = dict[str, Any]
_DATA = Path(__file__).parents[2] / "adapters" / "captep_memory" / "openapi-1.37.json"
_PREFIX = "#/components/schemas/"

KINDS: Mapping[str, tuple[str, ...]] = {
    "v1": (
        "ConfigMap",
        "Endpoints",
        "Event",
        "LimitRange",
        "Namespace",
        "Node",
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


def main() -> None:
    """Start a server and record it."""
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer(Path(os.environ["KUBEBUILDER_ASSETS"]), Path(folder))
        server.start()
        try:
            data = record(server)
        finally:
            server.stop()
    _DATA.write_text(json.dumps(data, separators=(",", ":"), ensure_ascii=False) + "\n", "utf-8")


def record(server: ApiServer) -> Schema:
    """Return the content of the data file, from a running server."""
    index = server.call("GET", "/openapi/v3")[1]["paths"]
    kinds: Schema = {}
    schemas: Schema = {}
    for api_version, names in KINDS.items():
        group = f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
        known = server.call("GET", index[group]["serverRelativeURL"])[1]["components"]["schemas"]
        resources = server.call("GET", f"/{group}")[1]["resources"]
        for kind in names:
            root = _root(known, api_version, kind)
            found = [each for each in resources if each["kind"] == kind and "/" not in each["name"]]
            plural = found[0]["name"]
            kinds[f"{api_version}/{kind}"] = {
                "schema": root,
                "resource": found[0],
                "subresources": [
                    each for each in resources if each["name"].startswith(f"{plural}/")
                ],
            }
            for name in (root, f"{root}List"):
                _collect(name, known, schemas)
        for name in known:
            if name.endswith((".autoscaling.v1.Scale", ".meta.v1.Status")):
                _collect(name, known, schemas)
    groups = [each["name"] for each in server.call("GET", "/apis")[1]["groups"]]
    version = server.call("GET", "/version")[1]["gitVersion"]
    return {"version": version, "groups": groups, "kinds": kinds, "schemas": schemas}


def _root(schemas: Mapping[str, Schema], api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    return next(
        name
        for name, schema in schemas.items()
        if wanted in schema.get("x-kubernetes-group-version-kind", ()) and name.endswith(kind)
    )


def _collect(name: str, known: Mapping[str, Schema], schemas: Schema) -> None:
    """Add a schema and all those that it refers to."""
    if name in schemas:
        # Every group serves the shared types; two forms of one name would need two files.
        assert schemas[name] == known[name], name
        return
    schemas[name] = known[name]
    for below in _references(known[name]):
        _collect(below, known, schemas)


def _references(value: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix(_PREFIX)
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


if __name__ == "__main__":
    main()
