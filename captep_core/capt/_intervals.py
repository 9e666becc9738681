"""When to look again (CAPTEP-0016): 5 s, 10 s, 30 s or never, as the verdict says."""

from datetime import timedelta
from typing import assert_never

from attrs import Attribute, field, frozen

from captep_core.capt._verdict import (
    AwaitingWorkspaceDeletion,
    ControlPlaneUnreadable,
    Creating,
    Degraded,
    Deleting,
    Failed,
    Gone,
    Paused,
    Ready,
    Released,
    Severity,
    Unknown,
    Verdict,
)

__all__ = ["Policy", "interval"]


def _positive(_: object, attribute: "Attribute[timedelta]", value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError(f"{attribute.name} must be positive, found {value}")


@frozen
class Policy:
    """How often to look, and whether the Cluster is written.

    `initializing`: something is still to appear. `failing`: something is wrong, or a write was
    refused; the one source of that interval. `ready`: everything is well, or a deletion is under
    way. `publishes_to_cluster`: spec.controlPlaneEndpoint and the status of the Cluster are kept in
    step. Switch it off where Cluster API copies them itself (contract v1beta2).
    """

    initializing: timedelta = field(default=timedelta(seconds=5), validator=_positive)
    failing: timedelta = field(default=timedelta(seconds=10), validator=_positive)
    ready: timedelta = field(default=timedelta(seconds=30), validator=_positive)
    publishes_to_cluster: bool = True


def interval(verdict: Verdict, policy: Policy) -> timedelta | None:
    """Return when to look again, None when there is nothing to come back for."""
    match verdict:
        case Gone() | Paused() | Released():
            return None
        case Ready() | Deleting() | AwaitingWorkspaceDeletion():
            return policy.ready
        case Creating():
            return policy.initializing
        case Failed() | Unknown() | ControlPlaneUnreadable():
            return policy.failing
        case Degraded():
            return policy.initializing if verdict.severity is Severity.WAITING else policy.failing
        case _:
            assert_never(verdict)
