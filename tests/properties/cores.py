"""Cluster API's core as a neighbour, in the three ways in which its releases treat our objects.

Each is one pass of core over the Cluster `tokyo`, as measured with a provider of contract v1beta1:

1. 1.8 copies `status.ready` to `controlPlaneReady`, in both directions.
2. 1.11 and 1.12 store the one-way `initialization`, and set it from `status.ready`.
3. 1.13 and newer store the same, and set it from `status.initialized`.

In the v1beta1 view of a Cluster the one-way field is `controlPlaneReady`.
"""

from collections.abc import Mapping
from typing import Any, Final

from captep_memory import World
from tests.capt.worlds import SINCE, Object
from tests.properties.moves import Move, request

__all__ = ["CORES", "core"]

_FINALIZER: Final = "cluster.cluster.x-k8s.io"
CORES: Final = ("1.8", "1.11", "1.13")


def core(release: str) -> Move:
    """One pass of core, in as many requests as it has differences."""

    def move(world: World) -> World:
        cluster = _get(world, "Cluster")
        if cluster is None or cluster["metadata"].get("deletionTimestamp"):
            return world
        if (cluster.get("spec") or {}).get("paused"):
            return world
        world = _claimed(world, cluster)
        control_plane = _owned(world, cluster)
        if control_plane is None or control_plane["metadata"].get("deletionTimestamp"):
            # Core goes no further while the control plane is being deleted.
            return world
        world = _published(world, cluster, control_plane)
        return _reported(world, cluster, control_plane, release)

    return move


def _get(world: World, kind: str) -> Object | None:
    found = [
        dict(obj)
        for obj in world.objects()
        if (obj["kind"], obj["metadata"]["name"]) == (kind, "tokyo")
    ]
    return found[0] if found else None


def _claimed(world: World, cluster: Object) -> World:
    held = cluster["metadata"].get("finalizers", [])
    if _FINALIZER in held:
        return world
    body = {"metadata": {"finalizers": [*held, _FINALIZER]}}
    return request("patch", "Cluster", "tokyo", body)(world)


def _owned(world: World, cluster: Object) -> Object | None:
    """The control plane that controlPlaneRef names."""
    reference = (cluster.get("spec") or {}).get("controlPlaneRef") or {}
    is_ours = (reference.get("kind"), reference.get("name")) == ("CAPTControlPlane", "tokyo")
    return _get(world, "CAPTControlPlane") if is_ours else None


def _status(obj: Object) -> Mapping[str, Any]:
    return obj.get("status") or {}


def _published(world: World, cluster: Object, control_plane: Object) -> World:
    """Core copies the endpoint once, and never corrects it."""
    status = _status(control_plane)
    theirs = (cluster.get("spec") or {}).get("controlPlaneEndpoint") or {}
    ours = (control_plane.get("spec") or {}).get("controlPlaneEndpoint") or {}
    is_known = bool(ours.get("host")) and bool(ours.get("port"))
    if not (status.get("ready") or status.get("initialized")) or theirs.get("host") or not is_known:
        return world
    body = {"spec": {"controlPlaneEndpoint": dict(ours)}}
    return request("patch", "Cluster", "tokyo", body)(world)


def _reported(world: World, cluster: Object, control_plane: Object, release: str) -> World:
    before = _status(cluster)
    after = dict(before)
    theirs = _status(control_plane)
    match release:
        case "1.8":
            after["controlPlaneReady"] = bool(theirs.get("ready"))
        case "1.11":
            after["controlPlaneReady"] = bool(
                before.get("controlPlaneReady") or theirs.get("ready")
            )
        case _:
            initialized = theirs.get("initialized")
            after["controlPlaneReady"] = bool(before.get("controlPlaneReady") or initialized)
    if release != "1.8":
        after["v1beta2"] = {"conditions": [{"type": "Available", "status": "Unknown"}]}
    for field in ("failureReason", "failureMessage"):
        if theirs.get(field):
            after[field] = theirs[field]
    after["conditions"] = _conditions(before.get("conditions") or [], theirs)
    after["phase"] = "Provisioned" if after["controlPlaneReady"] else "Provisioning"
    if after == before:
        return world
    return request("patch", "Cluster", "tokyo", {"status": after}, subresource="status")(world)


def _conditions(before: list[Object], theirs: Mapping[str, Any]) -> list[Object]:
    """ControlPlaneInitialized latches; ControlPlaneReady mirrors our Ready."""
    entries = {entry["type"]: dict(entry) for entry in before}
    held = entries.get("ControlPlaneInitialized", {})
    if held.get("status") != "True":
        is_true = bool(theirs.get("initialized"))
        reason = {} if is_true else {"reason": "WaitingForControlPlane", "severity": "Info"}
        entries["ControlPlaneInitialized"] = {
            "type": "ControlPlaneInitialized",
            "status": "True" if is_true else "False",
            "lastTransitionTime": held.get("lastTransitionTime", SINCE),
            **reason,
        }
    for entry in theirs.get("conditions") or []:
        if entry["type"] == "Ready":
            entries["ControlPlaneReady"] = {**entry, "type": "ControlPlaneReady"}
    return list(entries.values())
