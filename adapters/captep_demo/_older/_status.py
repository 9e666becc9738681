"""The three statuses of the older loop.

Each is a full update of the control plane's status and a patch of its Cluster's status.
"""

from datetime import UTC, datetime

from captep_core._objects import rfc3339
from captep_demo._older._client import Client, copied
from captep_memory import Object

__all__ = [
    "WriteError",
    "raised",
    "set_condition",
    "take_over",
    "write_creating",
    "write_failed",
    "write_ready",
]


class WriteError(Exception):
    """Ends the pass with an error, as the Go function returns one."""


def raised(status: int, what: str) -> None:
    """Raise WriteError when the server refused a write."""
    if status >= 300:
        raise WriteError(f"{what}: HTTP {status}")


def set_condition(
    control_plane: Object, status: str, reason: str, message: str, *, now: datetime
) -> None:
    """Set the condition Ready; its time changes only with its status."""
    conditions = control_plane.setdefault("status", {}).setdefault("conditions", [])
    ready = next((entry for entry in conditions if entry["type"] == "Ready"), None)
    if ready is None:
        ready = {"type": "Ready"}
        conditions.append(ready)
    if ready.get("status") != status:
        ready["lastTransitionTime"] = rfc3339(now)
    ready.update(status=status, reason=reason, message=message)


def write_creating(
    client: Client, control_plane: Object, cluster: Object | None, *, now: datetime
) -> None:
    """Report that the control plane is being created."""
    set_condition(control_plane, "False", "Creating", "Control plane is being created", now=now)
    status = control_plane["status"]
    status.update(phase="Creating", ready=False, initialized=False)
    status.setdefault("workspaceTemplateStatus", {})["ready"] = False
    _write(client, control_plane, cluster, {"controlPlaneReady": False})


def write_ready(
    client: Client,
    control_plane: Object,
    cluster: Object | None,
    applied_at: str | None,
    *,
    now: datetime,
) -> None:
    """Report that the control plane is Ready."""
    set_condition(control_plane, "True", "Ready", "Control plane is ready", now=now)
    status = control_plane["status"]
    status.update(phase="Ready", ready=True, initialized=True)
    status.pop("failureReason", None)
    status.pop("failureMessage", None)
    template = status.setdefault("workspaceTemplateStatus", {})
    template["ready"] = True
    template.pop("lastFailureMessage", None)
    if applied_at:
        template["lastAppliedRevision"] = (
            datetime.fromisoformat(applied_at)
            .astimezone(UTC)
            .strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
        )
    _write(client, control_plane, cluster, {"controlPlaneReady": True})


def write_failed(
    client: Client,
    control_plane: Object,
    cluster: Object | None,
    reason: str,
    message: str,
    *,
    now: datetime,
) -> None:
    """Report a failure, on the control plane and on the Cluster."""
    set_condition(control_plane, "False", reason, message, now=now)
    status = control_plane["status"]
    status.update(
        phase="Failed", ready=False, initialized=False, failureReason=reason, failureMessage=message
    )
    if "workspaceTemplateStatus" in status:
        status["workspaceTemplateStatus"].update(ready=False, lastFailureMessage=message)
    _write(
        client,
        control_plane,
        cluster,
        {"controlPlaneReady": False, "failureReason": reason, "failureMessage": message},
    )


def _write(
    client: Client, control_plane: Object, cluster: Object | None, on_cluster: Object
) -> None:
    response = client.update(control_plane, "status")
    raised(response.status, "the status")
    take_over(control_plane, response.body)
    if cluster is not None:
        base = copied(cluster)
        cluster.setdefault("status", {}).update(on_cluster)
        response = client.patch(base, cluster, "status")
        raised(response.status, "the status of the Cluster")
        take_over(cluster, response.body)


def take_over(obj: Object, answered: Object) -> None:
    """Replace `obj` by the server's answer, as a Go client decodes it into the same object."""
    obj.clear()
    obj.update(copied(answered))
