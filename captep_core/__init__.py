"""The pure core: a kit for any operator, and the reconcile function of the CAPTControlPlane.

The kit is imported at once. The names of the CAPTControlPlane domain (`captep_core.capt`) are
imported on first use, so that another operator never loads them (PEP 562).
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

from captep_core._actions import (
    JSON,
    Action,
    Apply,
    Conflicted,
    Create,
    Decision,
    Delete,
    Manifest,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
    Refusal,
    Refused,
    Reverted,
    Throttled,
    VerdictLike,
    Write,
    purpose_of,
    refusal_of,
    worded,
    write_of,
)
from captep_core._diff import merge_patch
from captep_core._manifest import (
    controller_reference,
    is_controlled_by,
    is_deleting,
    outstanding,
    preconditions_of,
    ref_of,
    set_condition,
    with_finalizer,
    without_finalizer,
)
from captep_core._observation import (
    ABSENT,
    Absent,
    Listed,
    Observed,
    ReconcileState,
    Selection,
    Unreadable,
)
from captep_core._remembered import remembered
from captep_core._workqueue import Backoff, WorkQueue, jittered
from captep_core._write import difference

if TYPE_CHECKING:
    from captep_core.capt._intervals import Policy, interval
    from captep_core.capt._names import FINALIZER, control_plane_ref
    from captep_core.capt._observe import observe
    from captep_core.capt._observed import AppliedTemplate, ControlPlane, Secrets
    from captep_core.capt._outputs import (
        APIEndpoint,
        Endpoint,
        Invalid,
        Missing,
        Output,
        Present,
        parse_endpoint,
    )
    from captep_core.capt._reconcile import decide, reconcile
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
        Unknown,
        Verdict,
    )

__all__ = [
    "ABSENT",
    "FINALIZER",
    "JSON",
    "APIEndpoint",
    "Absent",
    "Action",
    "AppliedTemplate",
    "Apply",
    "AwaitingWorkspaceDeletion",
    "Backoff",
    "Conflicted",
    "ControlPlane",
    "ControlPlaneUnreadable",
    "Create",
    "Creating",
    "Decision",
    "Degraded",
    "Delete",
    "Deleting",
    "Endpoint",
    "Failed",
    "Gone",
    "Invalid",
    "Listed",
    "Manifest",
    "Missing",
    "ObjectRef",
    "Observed",
    "Output",
    "Patch",
    "Paused",
    "Policy",
    "Preconditions",
    "Present",
    "Ready",
    "ReconcileState",
    "RecordEvent",
    "Refusal",
    "Refused",
    "Released",
    "Reverted",
    "Secrets",
    "Selection",
    "Throttled",
    "Unknown",
    "Unreadable",
    "Verdict",
    "VerdictLike",
    "WorkQueue",
    "Write",
    "control_plane_ref",
    "controller_reference",
    "decide",
    "difference",
    "interval",
    "is_controlled_by",
    "is_deleting",
    "jittered",
    "merge_patch",
    "observe",
    "outstanding",
    "parse_endpoint",
    "preconditions_of",
    "purpose_of",
    "reconcile",
    "ref_of",
    "refusal_of",
    "remembered",
    "set_condition",
    "with_finalizer",
    "without_finalizer",
    "worded",
    "write_of",
]

_DOMAIN: Final[Mapping[str, str]] = {
    "Policy": "captep_core.capt._intervals",
    "interval": "captep_core.capt._intervals",
    "FINALIZER": "captep_core.capt._names",
    "control_plane_ref": "captep_core.capt._names",
    "AppliedTemplate": "captep_core.capt._observed",
    "ControlPlane": "captep_core.capt._observed",
    "Secrets": "captep_core.capt._observed",
    "observe": "captep_core.capt._observe",
    "APIEndpoint": "captep_core.capt._outputs",
    "Endpoint": "captep_core.capt._outputs",
    "Invalid": "captep_core.capt._outputs",
    "Missing": "captep_core.capt._outputs",
    "Output": "captep_core.capt._outputs",
    "Present": "captep_core.capt._outputs",
    "parse_endpoint": "captep_core.capt._outputs",
    "decide": "captep_core.capt._reconcile",
    "reconcile": "captep_core.capt._reconcile",
    "AwaitingWorkspaceDeletion": "captep_core.capt._verdict",
    "ControlPlaneUnreadable": "captep_core.capt._verdict",
    "Creating": "captep_core.capt._verdict",
    "Degraded": "captep_core.capt._verdict",
    "Deleting": "captep_core.capt._verdict",
    "Failed": "captep_core.capt._verdict",
    "Gone": "captep_core.capt._verdict",
    "Paused": "captep_core.capt._verdict",
    "Ready": "captep_core.capt._verdict",
    "Released": "captep_core.capt._verdict",
    "Unknown": "captep_core.capt._verdict",
    "Verdict": "captep_core.capt._verdict",
}


def __getattr__(name: str) -> object:
    module = _DOMAIN.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOMAIN})
