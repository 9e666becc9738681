"""Code of an operator's author, outside of captep: each `match` below is exhaustive.

`test_exhaustive.py` checks this module under mypy and pyright, and then once more without each of
the cases. So each case names one class and returns on the next line.
"""

from datetime import datetime
from typing import assert_never

from captep_core import (
    Absent,
    Action,
    APIEndpoint,
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
    Missing,
    Observed,
    Patch,
    Paused,
    Present,
    Ready,
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
    reconcile,
)


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
