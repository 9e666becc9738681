"""The Cluster controller of Cluster API's core, in three generations, and the CAPTCluster
controller.

They write as far as they touch a control plane and its Cluster. The facts, with the version that
shows each:

1. 1.8.5 and newer: core puts the finalizer `cluster.cluster.x-k8s.io` on the Cluster, and a
   controller reference and the label `cluster.x-k8s.io/cluster-name` on the control plane. It does
   nothing while the Cluster is paused. On deletion it deletes the control plane, waits for it, and
   then lets go.
2. 1.8.5 and newer: core copies failureReason and failureMessage to the Cluster and never clears
   them.
3. 1.8.5 and newer: core copies the endpoint once, while the Cluster has no valid one.
4. 1.8.5: `status.controlPlaneReady` follows the control plane's `status.ready`, back to false too;
   the condition ControlPlaneInitialized follows `status.initialized` and latches.
5. 1.11 and newer: core stores and writes v1beta2. `status.initialization.controlPlaneInitialized`
   is one-way: core sets it, and sets it again when somebody removes it. The references that core
   adds carry v1beta2.
6. 1.11 and 1.12: for a provider of the v1beta1 contract core reads `status.ready` as "initialized".
7. 1.13 and newer (read at 1.13.0, 1.13.5 and 1.14.0): core reads `status.initialized` instead.
8. 1.8.5 and newer: core copies no readiness from a control plane in deletion. 1.11 and newer: a
   control plane that disappeared after its initialization is an error; core retries and copies
   nothing.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

from captep_core import ObjectRef
from captep_memory._json import Object, identical
from captep_memory._request import Request
from captep_world._conversion import CLUSTER_V1BETA1, CLUSTER_V1BETA2
from captep_world._neighbour import (
    IDLE,
    Memory,
    Objects,
    Turn,
    deletion,
    patch,
    ref_of,
    set_conditions,
    with_conditions,
    with_finalizer,
    without_finalizer,
)

__all__ = ["CLUSTER_FINALIZER", "CORE_VERSIONS", "CAPTClusters", "ClusterAPI", "CoreVersion"]

CoreVersion: TypeAlias = Literal["1.8", "1.11", "1.13"]
CORE_VERSIONS: Final[tuple[CoreVersion, ...]] = ("1.8", "1.11", "1.13")
"""Each stands for the versions up to the next one; 1.13 for all newer ones."""

CLUSTER_FINALIZER = "cluster.cluster.x-k8s.io"
_LABEL = "cluster.x-k8s.io/cluster-name"
_PAUSED = "cluster.x-k8s.io/paused"
# externalReadyWait of Cluster API's controllers/cluster.
_RETRY = timedelta(seconds=30)
_WAITING = {
    "type": "ControlPlaneInitialized",
    "status": "False",
    "severity": "Info",
    "reason": "WaitingForControlPlaneProviderInitialized",
    "message": (
        "Waiting for control plane provider to indicate the control plane has been initialized"
    ),
}
_INITIALIZED = {"type": "ControlPlaneInitialized", "status": "True"}
_NEWER_WAITING = {
    "type": "ControlPlaneInitialized",
    "status": "False",
    "reason": "NotInitialized",
    "message": "Control plane not yet initialized",
}
# Kubernetes' type of condition has a message, which may be empty.
_NEWER_INITIALIZED = {
    "type": "ControlPlaneInitialized",
    "status": "True",
    "reason": "Initialized",
    "message": "",
}


@frozen
class ClusterAPI:
    """Cluster API's own Cluster controller, with ready infrastructure.

    From 1.11 on it needs a server that converts Clusters: `load(conversions=CLUSTER_CONVERSIONS)`,
    or one that serves v1beta2.
    """

    version: CoreVersion = "1.8"
    name: str = "cluster-api"

    @property
    def api_version(self) -> str:
        """The version in which core reads and writes Clusters."""
        return CLUSTER_V1BETA1 if self.version == "1.8" else CLUSTER_V1BETA2

    def concerned(self, ref: ObjectRef, obj: Mapping[str, Any], /) -> ObjectRef | None:
        """It watches Clusters, and the control planes that one of them owns."""
        if ref.kind == "Cluster":
            return ObjectRef(self.api_version, "Cluster", ref.namespace, ref.name)
        if ref.kind != "CAPTControlPlane":
            return None
        owners = obj["metadata"].get("ownerReferences", ())
        names = (each["name"] for each in owners if each["kind"] == "Cluster")
        name = next(names, None)
        return ObjectRef(self.api_version, "Cluster", ref.namespace, name) if name else None

    def turn(self, key: ObjectRef, objects: Objects, _memory: Memory, /, *, now: datetime) -> Turn:
        """Bring a Cluster in line with its control plane."""
        cluster = objects.get(key)
        if cluster is None or _is_paused(cluster):
            return Turn()
        to = _reference(cluster)
        control_plane = objects.get(to) if to else None
        if cluster["metadata"].get("deletionTimestamp"):
            return Turn(_delete(cluster, control_plane))
        if finalizer := with_finalizer(cluster, CLUSTER_FINALIZER):
            return Turn(finalizer, due=now)
        report = _report if self.version == "1.8" else self._report_newer
        if control_plane is None:
            return Turn(report(cluster, None, now=now), due=now + _RETRY if to else None)
        return Turn(
            (
                *_own(cluster, control_plane),
                *self._endpoint(cluster, control_plane),
                *report(cluster, control_plane, now=now),
            )
        )

    def _is_initialized(self, control_plane: Object) -> bool:
        """Fact 4, 6 and 7: the field that core reads of a provider of the v1beta1 contract."""
        name = "initialized" if self.version == "1.13" else "ready"
        return bool(control_plane.get("status", {}).get(name))

    def _endpoint(self, cluster: Object, control_plane: Object) -> tuple[Request, ...]:
        """Fact 3. Core copies what the control plane has, an empty endpoint included."""
        held = cluster["spec"].get("controlPlaneEndpoint", {})
        offered = control_plane["spec"].get("controlPlaneEndpoint", {})
        latched = self.version != "1.8" and _is_latched(cluster)
        initialized = self._is_initialized(control_plane) and not _is_deleting(control_plane)
        if not (initialized or latched) or _is_valid(held) or held == offered or not offered:
            return ()
        return (patch(ref_of(cluster), {"spec": {"controlPlaneEndpoint": offered}}),)

    def _report_newer(
        self, cluster: Object, control_plane: Object | None, *, now: datetime
    ) -> tuple[Request, ...]:
        """Fact 2, 5 and 8: the status of a Cluster in v1beta2."""
        latched = _is_latched(cluster)
        if control_plane is None and latched:
            return ()
        held = cluster.get("status", {})
        counts = control_plane is not None and not _is_deleting(control_plane)
        initialized = latched or bool(
            counts and control_plane and self._is_initialized(control_plane)
        )
        old = dict(held.get("deprecated", {}).get("v1beta1", {}))
        old |= {} if control_plane is None else _failures(control_plane)
        shown = _older_condition(old.get("conditions", []), initialized=initialized)
        old["conditions"] = set_conditions(old.get("conditions", []), (shown,), now=now)
        newer = _NEWER_INITIALIZED if initialized else _NEWER_WAITING
        status: Object = {
            "initialization": {"infrastructureProvisioned": True}
            | ({"controlPlaneInitialized": True} if initialized else {}),
            "deprecated": {"v1beta1": old},
            "phase": _phase(cluster, old),
            "conditions": with_conditions(cluster, (newer,), now=now),
        }
        return _changed(cluster, status)


def _reference(cluster: Object) -> ObjectRef | None:
    """Return the control plane that a Cluster of either version names."""
    to = cluster["spec"].get("controlPlaneRef")
    if not to:
        return None
    # Core finds the version of a v1beta2 reference by the contract label of the definition.
    api_version = to.get("apiVersion") or f"{to['apiGroup']}/v1beta1"
    namespace = to.get("namespace") or cluster["metadata"].get("namespace")
    return ObjectRef(api_version, to["kind"], namespace, to["name"])


def _is_paused(cluster: Object) -> bool:
    annotations = cluster["metadata"].get("annotations", {})
    return bool(cluster["spec"].get("paused")) or _PAUSED in annotations


def _is_deleting(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _is_latched(cluster: Object) -> bool:
    initialization = cluster.get("status", {}).get("initialization", {})
    return bool(initialization.get("controlPlaneInitialized"))


def _is_valid(endpoint: Mapping[str, Any]) -> bool:
    return bool(endpoint.get("host") and endpoint.get("port"))


def _delete(cluster: Object, control_plane: Object | None) -> tuple[Request, ...]:
    if control_plane is None:
        return without_finalizer(cluster, CLUSTER_FINALIZER)
    return () if _is_deleting(control_plane) else (deletion(ref_of(control_plane)),)


def _own(cluster: Object, control_plane: Object) -> tuple[Request, ...]:
    name = cluster["metadata"]["name"]
    metadata = control_plane["metadata"]
    owner = {
        "apiVersion": cluster["apiVersion"],
        "kind": "Cluster",
        "name": name,
        "uid": cluster["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    held = metadata.get("ownerReferences", [])
    change: Object = {}
    if owner not in held:
        change["ownerReferences"] = [*(each for each in held if each["uid"] != owner["uid"]), owner]
        change["resourceVersion"] = metadata["resourceVersion"]
    if metadata.get("labels", {}).get(_LABEL) != name:
        change["labels"] = {_LABEL: name}
    return (patch(ref_of(control_plane), {"metadata": change}),) if change else ()


def _failures(control_plane: Object) -> Object:
    """Fact 2. The message gets a prefix."""
    status = control_plane.get("status", {})
    failures: Object = {}
    if status.get("failureReason"):
        failures["failureReason"] = status["failureReason"]
    if status.get("failureMessage"):
        group, _, version = control_plane["apiVersion"].partition("/")
        kind = f"{group}/{version}, Kind={control_plane['kind']}"
        name = control_plane["metadata"]["name"]
        prefix = f'Failure detected from referenced resource {kind} with name "{name}": '
        failures["failureMessage"] = prefix + status["failureMessage"]
    return failures


def _phase(cluster: Object, failures: Mapping[str, Any]) -> str:
    if failures.get("failureReason") or failures.get("failureMessage"):
        return "Failed"
    endpoint = cluster["spec"].get("controlPlaneEndpoint", {})
    return "Provisioned" if _is_valid(endpoint) else "Provisioning"


def _older_condition(conditions: list[Object], *, initialized: bool) -> Mapping[str, str]:
    """ControlPlaneInitialized of v1beta1; once True it stays."""
    latched = any(
        each["type"] == "ControlPlaneInitialized" and each["status"] == "True"
        for each in conditions
    )
    return _INITIALIZED if latched or initialized else _WAITING


def _report(cluster: Object, control_plane: Object | None, *, now: datetime) -> tuple[Request, ...]:
    """Fact 2 and 4: the status of a Cluster in v1beta1."""
    held = cluster.get("status", {})
    status: Object = {}
    initialized = False
    if control_plane is not None:
        status = _failures(control_plane)
    if control_plane is not None and not _is_deleting(control_plane):
        shown = control_plane.get("status", {})
        initialized = bool(shown.get("initialized"))
        status["controlPlaneReady"] = bool(shown.get("ready"))
    condition = _older_condition(held.get("conditions", []), initialized=initialized)
    status["infrastructureReady"] = True
    status["phase"] = _phase(cluster, held | status)
    status["conditions"] = with_conditions(cluster, (condition,), now=now)
    return _changed(cluster, status)


def _changed(cluster: Object, status: Object) -> tuple[Request, ...]:
    held = cluster.get("status", {})
    changed = {
        name: value for name, value in status.items() if not identical(held.get(name), value)
    }
    return (patch(ref_of(cluster), {"status": changed}, "status"),) if changed else ()


@frozen
class CAPTClusters:
    """The CAPTCluster controller's writes on a Cluster: it clears every failure while ready.

    It speaks v1beta1.
    """

    name: str = "captcluster"

    def concerned(self, ref: ObjectRef, _obj: Mapping[str, Any], /) -> ObjectRef | None:
        """It watches Clusters."""
        if ref.kind != "Cluster":
            return None
        return ObjectRef(CLUSTER_V1BETA1, "Cluster", ref.namespace, ref.name)

    def turn(self, key: ObjectRef, objects: Objects, _memory: Memory, /, *, now: datetime) -> Turn:
        """Null failureReason and failureMessage."""
        del now  # It keeps no time.
        cluster = objects.get(key)
        held = (cluster or {}).get("status", {})
        if cluster is None or not (held.get("failureReason") or held.get("failureMessage")):
            return Turn(memory=IDLE)
        cleared = {"failureReason": None, "failureMessage": None}
        return Turn((patch(key, {"status": cleared}, "status"),))
