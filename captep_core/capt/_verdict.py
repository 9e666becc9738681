"""The one reason why a control plane is where it is, chosen from all that was found.

Rules of this module:

1. One verdict per pass. Two parts of the code can never report against each other (both hot loops of the Go controller were that).
2. Findings have one fixed order (`Rank`). Before the control plane was Ready for the first time, the first one that holds Ready back is
   the verdict.
3. Once it is `initialized`, Ready is withdrawn only by what says that the control plane itself is not available (`Holds.ALWAYS`);
   everything else is surfaced: still Ready, with the reason and message of what is wrong.
4. The interval is a property of the verdict (`_intervals`).
"""

from collections.abc import Iterable
from enum import Enum, IntEnum, auto
from typing import TypeAlias, assert_never

from attrs import frozen

__all__ = [
    "AwaitingWorkspaceDeletion",
    "ControlPlaneUnreadable",
    "Creating",
    "Degraded",
    "Deleting",
    "Failed",
    "Finding",
    "Gone",
    "Holds",
    "Paused",
    "Rank",
    "Ready",
    "Released",
    "Severity",
    "Unknown",
    "Verdict",
    "judge",
]


class Rank(IntEnum):
    """In which order findings are looked at (capt-reference, section 8.1)."""

    CLUSTER = auto()
    CONTROL_PLANE = auto()
    TEMPLATE = auto()
    APPLY = auto()
    WORKSPACE = auto()
    PROVIDER = auto()
    SPOT_ROLE = auto()
    CREATING = auto()
    ENDPOINT = auto()
    NO_ENDPOINT = auto()
    SOURCE = auto()
    KUBECONFIG = auto()
    SECRET = auto()
    NO_SECRETS = auto()


class Severity(Enum):
    """What a finding calls for: patience, a person, or a second look."""

    WAITING = auto()
    FAILURE = auto()
    UNREADABLE = auto()


class Holds(Enum):
    """When a finding keeps the control plane from being Ready."""

    ALWAYS = auto()
    UNTIL_READY = auto()


@frozen
class Finding:
    """One thing that is not as it should be; `reason` and `message` go into the condition, without any Secret's content."""

    rank: Rank
    kind: Severity
    reason: str
    message: str
    holds: Holds = Holds.UNTIL_READY


@frozen
class Gone:
    """There is no such control plane."""

    reason: str = "Gone"
    message: str = "there is no such control plane"


@frozen
class ControlPlaneUnreadable:
    """The control plane itself could not be read."""

    message: str
    reason: str = "ControlPlaneUnreadable"


@frozen
class Paused:
    """The Cluster or the control plane is paused: nothing is done, deletion included."""

    message: str
    reason: str = "Paused"


@frozen
class Released:
    """The control plane is being deleted and our finalizer is gone: nothing is left to do."""

    reason: str = "Released"
    message: str = "our part of the deletion is done"


@frozen
class Deleting:
    """The deletion is under way."""

    message: str
    reason: str = "Deleting"


@frozen
class AwaitingWorkspaceDeletion:
    """The deletion waits until Terraform has destroyed the Workspace."""

    message: str
    reason: str = "AwaitingWorkspaceDeletion"


@frozen
class Creating:
    """Something is still expected to appear."""

    message: str
    reason: str = "Creating"


@frozen
class Failed:
    """Something is wrong."""

    reason: str
    message: str


@frozen
class Unknown:
    """Something could not be read."""

    reason: str
    message: str


@frozen
class Degraded:
    """Ready, and yet something is to be said."""

    kind: Severity
    reason: str
    message: str


@frozen
class Ready:
    """All is as it should be."""

    reason: str = "Ready"
    message: str = "Control plane is ready"


Verdict: TypeAlias = (
    Gone
    | ControlPlaneUnreadable
    | Paused
    | Released
    | Deleting
    | AwaitingWorkspaceDeletion
    | Creating
    | Failed
    | Unknown
    | Degraded
    | Ready
)


def judge(
    findings: Iterable[Finding], *, initialized: bool
) -> Creating | Failed | Unknown | Degraded | Ready:
    """Choose the verdict on a control plane that is neither gone, paused nor being deleted."""
    ranked = sorted(findings, key=lambda finding: finding.rank)
    holding = (Holds.ALWAYS,) if initialized else (Holds.ALWAYS, Holds.UNTIL_READY)
    for finding in ranked:
        if finding.holds in holding:
            return _not_ready(finding)
    if not ranked:
        return Ready()
    first = ranked[0]
    if first.kind is Severity.UNREADABLE:
        return Unknown(first.reason, first.message)
    return Degraded(first.kind, first.reason, first.message)


def _not_ready(finding: Finding) -> Creating | Failed | Unknown:
    match finding.kind:
        case Severity.WAITING:
            return Creating(finding.message, finding.reason)
        case Severity.FAILURE:
            return Failed(finding.reason, finding.message)
        case Severity.UNREADABLE:
            return Unknown(finding.reason, finding.message)
        case _:
            assert_never(finding.kind)
