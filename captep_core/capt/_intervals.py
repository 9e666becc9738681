"""When to look again: 5 s, 10 s, 30 s or never (CAPTEP-0016), a property of the verdict alone."""

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
    """How often to look, and whether the Cluster is written to.

    `initializing`: something is still expected to appear. `failing`: something is wrong, or a write was refused.
    `ready`: all is well, or a deletion is under way. `publishes_to_cluster`: whether spec.controlPlaneEndpoint and status of the Cluster
    are kept in step; switch it off where Cluster API copies them itself (contract v1beta2).
    """

    initializing: timedelta = field(default=timedelta(seconds=5), validator=_positive)
    failing: timedelta = field(default=timedelta(seconds=10), validator=_positive)
    ready: timedelta = field(default=timedelta(seconds=30), validator=_positive)
    publishes_to_cluster: bool = True


def interval(verdict: Verdict, policy: Policy) -> timedelta | None:
    """When to look again, None when there is nothing to come back for."""
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
            return policy.initializing if verdict.kind is Severity.WAITING else policy.failing
        case _:
            assert_never(verdict)
