"""The verdict: the one reason why a control plane is in its state, chosen from all findings.

Rules of this module:

1. One verdict per pass. Two parts of the code can never report against each other; both hot loops
   of the Go controller were that.
2. Findings have one fixed order (`Rank`). Before the control plane was Ready for the first time,
   the first finding is the verdict.
3. Once the control plane is `initialized`, Ready is withdrawn only by a finding that says that the
   control plane itself is not available (`Holds.ALWAYS`). With any other finding it is Degraded:
   still Ready, with the reason and message of the problem.
4. The interval is a property of the verdict (`captep_core.capt._intervals`).
"""

from collections.abc import Iterable
from enum import Enum, IntEnum, auto
from typing import TypeAlias, assert_never

from attrs import frozen

__all__ = [
    "REPORTS_READY",
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
    """The order of findings: the cause before its consequences.

    A control plane without a Cluster has no template to look at, one without a Workspace no
    endpoint, and so on.
    """

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
    """The move that a finding calls for: waiting, a person, or another look."""

    WAITING = auto()
    FAILURE = auto()
    UNREADABLE = auto()


class Holds(Enum):
    """How long a finding keeps the control plane from being Ready: always, or until it was Ready
    once.
    """

    ALWAYS = auto()
    UNTIL_READY = auto()


@frozen
class Finding:
    """One problem; `reason` and `message` go into the condition and hold no content of a Secret."""

    rank: Rank
    severity: Severity
    reason: str
    message: str
    holds: Holds = Holds.UNTIL_READY


@frozen
class Gone:
    """The control plane does not exist."""

    reason: str = "Gone"
    message: str = "there is no such control plane"


@frozen
class ControlPlaneUnreadable:
    """The control plane itself could not be read."""

    message: str
    reason: str = "ControlPlaneUnreadable"


@frozen
class Paused:
    """The Cluster or the control plane is paused: nothing is written, and a deletion waits."""

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
    """Something is still to appear."""

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
    """Ready, with a problem to report."""

    severity: Severity
    reason: str
    message: str


@frozen
class Ready:
    """Everything is as it should be."""

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


# Both report Ready. A tuple, because `isinstance` with a union builds the union in each pass.
REPORTS_READY = (Ready, Degraded)


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
    if first.severity is Severity.UNREADABLE:
        return Unknown(first.reason, first.message)
    return Degraded(first.severity, first.reason, first.message)


def _not_ready(finding: Finding) -> Creating | Failed | Unknown:
    match finding.severity:
        case Severity.WAITING:
            return Creating(finding.message, finding.reason)
        case Severity.FAILURE:
            return Failed(finding.reason, finding.message)
        case Severity.UNREADABLE:
            return Unknown(finding.reason, finding.message)
        case _:
            assert_never(finding.severity)
