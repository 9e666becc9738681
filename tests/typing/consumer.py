"""Code of an operator's author, outside of captep: each `match` below is exhaustive.

`test_exhaustive.py` checks this module under mypy and pyright, and then once more without each of
the cases. So each case names one class and returns on the next line.
"""

from datetime import datetime
from typing import assert_never

from attrs import frozen

from captep_core import (
    Absent,
    Action,
    APIEndpoint,
    Apply,
    AwaitingWorkspaceDeletion,
    Conflicted,
    ControlPlane,
    ControlPlaneUnreadable,
    Create,
    Creating,
    Decision,
    Degraded,
    Delete,
    Deleting,
    Endpoint,
    Failed,
    Gone,
    Invalid,
    Manifest,
    Missing,
    ObjectRef,
    Observed,
    Patch,
    Paused,
    Present,
    Ready,
    ReconcileState,
    RecordEvent,
    Refusal,
    Refused,
    Released,
    Reverted,
    Secrets,
    Throttled,
    Unknown,
    Unreadable,
    Verdict,
    controller_reference,
    difference,
    is_deleting,
    outstanding,
    preconditions_of,
    reconcile,
    set_condition,
    with_finalizer,
)
from captep_core.ports import Read


def headline(  # noqa: C901 - one case for each verdict
    control_plane: ControlPlane, secrets: Secrets, endpoint: Endpoint, now: datetime
) -> str:
    """The union of verdicts reaches a caller of `reconcile` without an annotation."""
    decision = reconcile(control_plane, secrets, endpoint, now=now)
    match decision.verdict:
        case Gone():
            return "gone"
        case ControlPlaneUnreadable(message=message):
            return message
        case Paused(message=message):
            return message
        case Released():
            return "released"
        case Deleting(message=message):
            return message
        case AwaitingWorkspaceDeletion(message=message):
            return message
        case Creating(message=message):
            return message
        case Failed(reason=reason):
            return reason
        case Unknown(reason=reason):
            return reason
        case Degraded(reason=reason):
            return reason
        case Ready():
            return "ready"
        case _ as unreachable:
            assert_never(unreachable)


def requests(decision: Decision[Verdict]) -> list[str]:
    """The actions of a decision are a closed union too."""
    return [request(action) for action in decision.actions]


def request(action: Action) -> str:
    """Name the HTTP method of an action."""
    match action:
        case Create():
            return "POST"
        case Patch():
            return "PATCH"
        case Delete():
            return "DELETE"
        case Apply():
            return "PATCH what it owns"
        case RecordEvent():
            return "POST an Event"
        case _ as unreachable:
            assert_never(unreachable)


def complaint(refusal: Refusal) -> str:
    """Say why a write did not go through."""
    match refusal:
        case Refused(status=status):
            return f"HTTP {status}"
        case Conflicted():
            return "conflict"
        case Throttled():
            return "later"
        case Reverted():
            return "reverted"
        case _ as unreachable:
            assert_never(unreachable)


def address(endpoint: Endpoint) -> str:
    """Say where the API server listens."""
    match endpoint:
        case Present(value=APIEndpoint(host=host, port=port)):
            return f"{host}:{port}"
        case Missing():
            return "not yet"
        case Invalid(problem=problem):
            return problem
        case Unreadable(reason=reason):
            return reason
        case _ as unreachable:
            assert_never(unreachable)


def looked_up(observed: Observed[APIEndpoint]) -> str:
    """Present, absent and unreadable are three answers."""
    match observed:
        case APIEndpoint(host=host):
            return host
        case Absent():
            return "absent"
        case Unreadable(reason=reason):
            return reason
        case _ as unreachable:
            assert_never(unreachable)


def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """What `read` returns can be indexed, and the helpers take it as it is."""
    found = read(key)
    if isinstance(found, Absent | Unreadable):
        return Decision((), None, Said("Gone"))
    copy = ObjectRef("v1", "ConfigMap", key.namespace, f"{found['metadata']['name']}-copy")
    desired: Manifest = {
        "apiVersion": copy.api_version,
        "kind": copy.kind,
        "metadata": {"name": copy.name, "ownerReferences": [controller_reference(found)]},
        "data": {"colour": found["spec"]["colours"][0]},
    }
    conditions = set_condition(
        found["status"].get("conditions"), "Ready", "True", "Copied", now=now, generation=1
    )
    report: Manifest = {**found, "status": {"conditions": conditions}}
    writes = [
        difference(with_finalizer(found, "example.com/copy"), found, "hold it"),
        difference(desired, read(copy), "it differs", keys={"spec.ports": "name"}),
        difference(report, found, "report", subresource="status"),
    ]
    actions: tuple[Action, ...] = tuple(write for write in writes if write is not None)
    if is_deleting(found):
        actions = (Delete(copy, preconditions_of(found), "its owner goes"),)
    return Decision(actions, None, Said("Copied"), outstanding(state, actions))


@frozen
class Said:
    """A verdict of this operator."""

    reason: str
    message: str = ""
