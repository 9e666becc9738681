"""The conversion of Clusters between v1beta1 and v1beta2, as Cluster API 1.11 and newer do it.

The facts, read in the conversion code of 1.11 to 1.14:

1. `status.controlPlaneReady` and `status.infrastructureReady` of v1beta1 are the one-way fields
   `status.initialization.controlPlaneInitialized` and `infrastructureProvisioned` of v1beta2. A
   false of v1beta1 removes the field.
2. Conditions, failureReason and failureMessage of v1beta1 live under `status.deprecated.v1beta1`;
   conditions and counters of v1beta2 live under `status.v1beta2` of v1beta1.
3. References of v1beta2 have apiGroup, kind and name. Their version in v1beta1 is that of the
   contract label; the CAPT kinds have v1beta1.
4. An empty endpoint of v1beta1 is no endpoint in v1beta2, and back: v1beta1 always shows one, with
   an empty host and port 0.

Left out: topology, failureDomains, and the annotation in which a v1beta1 object carries the rest
of its v1beta2 form; the API server removes it before storing.
"""

from collections.abc import Mapping
from typing import Final

from captep_memory._json import Object, without
from captep_memory._kinds import Conversion

__all__ = ["CLUSTER_CONVERSIONS", "CLUSTER_V1BETA1", "CLUSTER_V1BETA2", "convert_cluster"]

CLUSTER_V1BETA1: Final = "cluster.x-k8s.io/v1beta1"
CLUSTER_V1BETA2: Final = "cluster.x-k8s.io/v1beta2"
_REFERENCES = ("controlPlaneRef", "infrastructureRef")
_FAILURES = ("failureReason", "failureMessage")
_COUNTERS = ("controlPlane", "workers")
_NO_ENDPOINT: Object = {"host": "", "port": 0}
# v1beta1 field, v1beta2 field
_LATCHES = (
    ("infrastructureReady", "infrastructureProvisioned"),
    ("controlPlaneReady", "controlPlaneInitialized"),
)


def convert_cluster(cluster: Object, api_version: str) -> Object:
    """Return a Cluster in v1beta1 or v1beta2; the argument stays unchanged."""
    if cluster["apiVersion"] == api_version:
        return cluster
    is_up = api_version == CLUSTER_V1BETA2
    converted = {**cluster, "apiVersion": api_version}
    if isinstance(cluster.get("spec"), dict):
        converted["spec"] = _spec_up(cluster["spec"]) if is_up else _spec_down(cluster)
    if isinstance(cluster.get("status"), dict):
        status = cluster["status"]
        converted["status"] = _status_up(status) if is_up else _status_down(status)
    return converted


CLUSTER_CONVERSIONS: Final[Mapping[tuple[str, str], Conversion]] = {
    ("cluster.x-k8s.io", "Cluster"): Conversion(
        CLUSTER_V1BETA2, (CLUSTER_V1BETA1, CLUSTER_V1BETA2), convert_cluster
    )
}
"""For `load(conversions=...)`: a server that stores Clusters as Cluster API 1.11 and newer do."""


def _spec_up(spec: Object) -> Object:
    converted = without(spec, *_REFERENCES, "controlPlaneEndpoint", "paused")
    for name in _REFERENCES:
        if spec.get(name):
            group = spec[name].get("apiVersion", "").rpartition("/")[0]
            kept = {key: spec[name][key] for key in ("kind", "name") if key in spec[name]}
            converted[name] = {"apiGroup": group, **kept}
    endpoint = spec.get("controlPlaneEndpoint") or {}
    if present := {key: value for key, value in endpoint.items() if value}:
        converted["controlPlaneEndpoint"] = present
    if spec.get("paused"):
        converted["paused"] = True
    return converted


def _spec_down(cluster: Object) -> Object:
    spec = cluster["spec"]
    converted = without(spec, *_REFERENCES, "paused")
    converted["controlPlaneEndpoint"] = _NO_ENDPOINT | (spec.get("controlPlaneEndpoint") or {})
    for name in _REFERENCES:
        if spec.get(name):
            reference = without(spec[name], "apiGroup")
            reference["apiVersion"] = f"{spec[name].get('apiGroup', '')}/v1beta1"
            reference["namespace"] = cluster["metadata"].get("namespace", "")
            converted[name] = reference
    if spec.get("paused"):
        converted["paused"] = True
    return converted


def _status_up(status: Object) -> Object:
    latches = (before for before, _ in _LATCHES)
    converted = without(status, *latches, *_FAILURES, *_COUNTERS, "conditions", "v1beta2")
    initialization = {after: True for before, after in _LATCHES if status.get(before)}
    if initialization:
        converted["initialization"] = initialization
    newer = status.get("v1beta2") or {}
    converted |= {name: newer[name] for name in ("conditions", *_COUNTERS) if newer.get(name)}
    old = {name: status[name] for name in ("conditions", *_FAILURES) if status.get(name)}
    if old:
        converted["deprecated"] = {"v1beta1": old}
    return converted


def _status_down(status: Object) -> Object:
    converted = without(status, "initialization", "deprecated", "conditions", *_COUNTERS)
    initialization = status.get("initialization") or {}
    converted["infrastructureReady"] = bool(initialization.get("infrastructureProvisioned"))
    if initialization.get("controlPlaneInitialized"):
        converted["controlPlaneReady"] = True
    old = (status.get("deprecated") or {}).get("v1beta1") or {}
    converted |= {name: old[name] for name in ("conditions", *_FAILURES) if old.get(name)}
    newer = {name: status[name] for name in ("conditions", *_COUNTERS) if status.get(name)}
    if newer:
        converted["v1beta2"] = newer
    return converted
