"""Cluster API's core, version 1.8.5, and the CAPTCluster controller.

They write as far as they touch a control plane and its Cluster.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from captep_core import ObjectRef
from captep_memory._json import Object
from captep_memory._request import Request
from captep_world._neighbour import (
    IDLE,
    Memory,
    Objects,
    Turn,
    condition_of,
    deletion,
    patch,
    ref_of,
    with_conditions,
    with_finalizer,
    without_finalizer,
)

__all__ = ["CLUSTER_FINALIZER", "CAPTClusters", "ClusterAPI"]

CLUSTER_FINALIZER = "cluster.cluster.x-k8s.io"
_LABEL = "cluster.x-k8s.io/cluster-name"
_PAUSED = "cluster.x-k8s.io/paused"
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


def _cluster_key(ref: ObjectRef, obj: Mapping[str, Any]) -> ObjectRef | None:
    if ref.kind == "Cluster":
        return ref
    owners = obj["metadata"].get("ownerReferences", ())
    return next(
        (
            ObjectRef(each["apiVersion"], "Cluster", ref.namespace, each["name"])
            for each in owners
            if each["kind"] == "Cluster"
        ),
        None,
    )


@frozen
class ClusterAPI:
    """Cluster API's own Cluster controller, with ready infrastructure.

    It owns the control plane, copies readiness, endpoint and failures from it, never clears a
    failure, and on deletion deletes the control plane first.
    """

    name: str = "cluster-api"

    def concerned(self, ref: ObjectRef, obj: Mapping[str, Any], /) -> ObjectRef | None:
        """It watches Clusters, and the control planes that one of them owns."""
        return _cluster_key(ref, obj) if ref.kind in ("Cluster", "CAPTControlPlane") else None

    def turn(self, key: ObjectRef, objects: Objects, _memory: Memory, /, *, now: datetime) -> Turn:
        """Bring a Cluster in line with its control plane."""
        cluster = objects.get(key)
        if cluster is None or _is_paused(cluster):
            return Turn()
        to = cluster["spec"].get("controlPlaneRef")
        control_plane = (
            objects.get(
                ObjectRef(
                    to["apiVersion"], to["kind"], to.get("namespace", key.namespace), to["name"]
                )
            )
            if to
            else None
        )
        if cluster["metadata"].get("deletionTimestamp"):
            return Turn(_delete(cluster, control_plane))
        if finalizer := with_finalizer(cluster, CLUSTER_FINALIZER):
            return Turn(finalizer, due=now)
        if control_plane is None:
            return Turn(_phase(cluster, {}, now=now), due=now + _RETRY if to else None)
        return Turn(
            (
                *_own(cluster, control_plane),
                *_endpoint(cluster, control_plane),
                *_phase(cluster, _copied(control_plane), now=now),
            )
        )


def _is_paused(cluster: Object) -> bool:
    return bool(cluster["spec"].get("paused")) or _PAUSED in cluster["metadata"].get(
        "annotations", {}
    )


def _delete(cluster: Object, control_plane: Object | None) -> tuple[Request, ...]:
    if control_plane is None:
        return without_finalizer(cluster, CLUSTER_FINALIZER)
    return (
        ()
        if control_plane["metadata"].get("deletionTimestamp")
        else (deletion(ref_of(control_plane)),)
    )


def _own(cluster: Object, control_plane: Object) -> tuple[Request, ...]:
    name, metadata = cluster["metadata"]["name"], control_plane["metadata"]
    owner = {
        "apiVersion": cluster["apiVersion"],
        "kind": "Cluster",
        "name": name,
        "uid": cluster["metadata"]["uid"],
    }
    owner |= {"controller": True, "blockOwnerDeletion": True}
    held = metadata.get("ownerReferences", [])
    change: Object = {}
    if owner not in held:
        change["ownerReferences"] = [*(each for each in held if each["uid"] != owner["uid"]), owner]
        change["resourceVersion"] = metadata["resourceVersion"]
    if metadata.get("labels", {}).get(_LABEL) != name:
        change["labels"] = {_LABEL: name}
    return (patch(ref_of(control_plane), {"metadata": change}),) if change else ()


def _endpoint(cluster: Object, control_plane: Object) -> tuple[Request, ...]:
    held = cluster["spec"].get("controlPlaneEndpoint", {})
    offered = control_plane["spec"].get("controlPlaneEndpoint", {})
    if (
        not control_plane.get("status", {}).get("ready")
        or (held.get("host") and held.get("port"))
        or held == offered
    ):
        return ()
    return (patch(ref_of(cluster), {"spec": {"controlPlaneEndpoint": offered}}),)


def _copied(control_plane: Object) -> Object:
    """What the Cluster's status copies. Core copies a failure and never clears it."""
    status = control_plane.get("status", {})
    copied: Object = {"controlPlaneReady": bool(status.get("ready"))}
    if status.get("failureReason"):
        copied["failureReason"] = status["failureReason"]
    if status.get("failureMessage"):
        group, _, version = control_plane["apiVersion"].partition("/")
        kind = f"{group}/{version}, Kind={control_plane['kind']}"
        name = control_plane["metadata"]["name"]
        prefix = f'Failure detected from referenced resource {kind} with name "{name}": '
        copied["failureMessage"] = prefix + status["failureMessage"]
    copied["initialized"] = bool(status.get("initialized"))
    return copied


def _phase(cluster: Object, copied: Object, *, now: datetime) -> tuple[Request, ...]:
    held = cluster.get("status", {})
    initialized = condition_of(cluster, "ControlPlaneInitialized")
    latched = initialized is not None and initialized["status"] == "True"
    wanted = _INITIALIZED if latched or copied.get("initialized") else _WAITING
    status = {name: value for name, value in copied.items() if name != "initialized"}
    failed = (held | status).get("failureReason") or (held | status).get("failureMessage")
    endpoint = cluster["spec"].get("controlPlaneEndpoint", {})
    status["infrastructureReady"] = True
    status["phase"] = (
        "Failed" if failed else "Provisioned" if endpoint.get("host") else "Provisioning"
    )
    status["conditions"] = with_conditions(cluster, (wanted,), now=now)
    changed = {name: value for name, value in status.items() if held.get(name) != value}
    return (patch(ref_of(cluster), {"status": changed}, "status"),) if changed else ()


@frozen
class CAPTClusters:
    """The CAPTCluster controller's writes on a Cluster: it clears every failure while ready."""

    name: str = "captcluster"

    def concerned(self, ref: ObjectRef, _obj: Mapping[str, Any], /) -> ObjectRef | None:
        """It watches Clusters."""
        return ref if ref.kind == "Cluster" else None

    def turn(self, key: ObjectRef, objects: Objects, _memory: Memory, /, *, now: datetime) -> Turn:  # noqa: ARG002 - it keeps no time
        """Null failureReason and failureMessage."""
        cluster = objects.get(key)
        held = (cluster or {}).get("status", {})
        if cluster is None or not (held.get("failureReason") or held.get("failureMessage")):
            return Turn(memory=IDLE)
        return Turn(
            (patch(key, {"status": {"failureReason": None, "failureMessage": None}}, "status"),)
        )
