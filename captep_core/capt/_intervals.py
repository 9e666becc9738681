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

__all__ = ["PUBLISH_TO_CLUSTER", "Policy", "interval"]


def _positive(_: object, attribute: "Attribute[timedelta]", value: timedelta) -> None:
    if value <= timedelta(0):
        raise ValueError(f"{attribute.name} must be positive, found {value}")


PUBLISH_TO_CLUSTER = ("auto", "always", "never")


def _mode(_: object, attribute: "Attribute[str]", value: str) -> None:
    if value not in PUBLISH_TO_CLUSTER:
        expected = ", ".join(PUBLISH_TO_CLUSTER)
        raise ValueError(f"{attribute.name} must be one of {expected}, found {value!r}")


@frozen
class Policy:
    """How often to look, and what of the Cluster is written.

    `initializing`: something is still to appear. `failing`: something is wrong, or the server
    refused a write; decisions take that interval from nowhere else. `ready`: everything is well, or
    a deletion is under way. `publish_to_cluster`: `auto` writes the status of the Cluster only
    where Cluster API's core does not act on it, `always` writes it in any case, and `never` writes
    nothing of the Cluster.
    """

    initializing: timedelta = field(default=timedelta(seconds=5), validator=_positive)
    failing: timedelta = field(default=timedelta(seconds=10), validator=_positive)
    ready: timedelta = field(default=timedelta(seconds=30), validator=_positive)
    publish_to_cluster: str = field(default="auto", validator=_mode)


def interval(verdict: Verdict, policy: Policy) -> timedelta | None:
    """Return when to look again, None when there is nothing to come back for."""
    match verdict:
        case Ready() | Deleting() | AwaitingWorkspaceDeletion():
            return policy.ready
        case Gone() | Paused() | Released():
            return None
        case Creating():
            return policy.initializing
        case Failed() | Unknown() | ControlPlaneUnreadable():
            return policy.failing
        case Degraded():
            return policy.initializing if verdict.severity is Severity.WAITING else policy.failing
        case _:
            assert_never(verdict)
