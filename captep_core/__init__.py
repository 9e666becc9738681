"""The pure core: a kit for any operator, and the reconcile function of the CAPTControlPlane.

Each name is imported on first use (PEP 562): an operator loads the parts that it uses, and never
the CAPTControlPlane domain (`captep_core.capt`).
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from captep_core._actions import (
        JSON,
        Action,
        Apply,
        Create,
        Delete,
        Manifest,
        ObjectRef,
        Patch,
        Preconditions,
        RecordEvent,
        Write,
        purpose_of,
        write_of,
    )
    from captep_core._decision import Decision, VerdictLike
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
    from captep_core._refusals import (
        Conflicted,
        Refusal,
        Refused,
        Reverted,
        Throttled,
        refusal_of,
        worded,
    )
    from captep_core._remembered import remembered
    from captep_core._workqueue import Backoff, WorkQueue, jittered
    from captep_core._write import difference
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

_MODULES: Final[Mapping[str, str]] = {
    "Action": "captep_core._actions",
    "Apply": "captep_core._actions",
    "Conflicted": "captep_core._refusals",
    "Create": "captep_core._actions",
    "Decision": "captep_core._decision",
    "Delete": "captep_core._actions",
    "JSON": "captep_core._actions",
    "Manifest": "captep_core._actions",
    "ObjectRef": "captep_core._actions",
    "Patch": "captep_core._actions",
    "Preconditions": "captep_core._actions",
    "RecordEvent": "captep_core._actions",
    "Refusal": "captep_core._refusals",
    "Refused": "captep_core._refusals",
    "Reverted": "captep_core._refusals",
    "Throttled": "captep_core._refusals",
    "VerdictLike": "captep_core._decision",
    "Write": "captep_core._actions",
    "purpose_of": "captep_core._actions",
    "refusal_of": "captep_core._refusals",
    "worded": "captep_core._refusals",
    "write_of": "captep_core._actions",
    "merge_patch": "captep_core._diff",
    "controller_reference": "captep_core._manifest",
    "is_controlled_by": "captep_core._manifest",
    "is_deleting": "captep_core._manifest",
    "outstanding": "captep_core._manifest",
    "preconditions_of": "captep_core._manifest",
    "ref_of": "captep_core._manifest",
    "set_condition": "captep_core._manifest",
    "with_finalizer": "captep_core._manifest",
    "without_finalizer": "captep_core._manifest",
    "ABSENT": "captep_core._observation",
    "Absent": "captep_core._observation",
    "Listed": "captep_core._observation",
    "Observed": "captep_core._observation",
    "ReconcileState": "captep_core._observation",
    "Selection": "captep_core._observation",
    "Unreadable": "captep_core._observation",
    "remembered": "captep_core._remembered",
    "Backoff": "captep_core._workqueue",
    "WorkQueue": "captep_core._workqueue",
    "jittered": "captep_core._workqueue",
    "difference": "captep_core._write",
    "Policy": "captep_core.capt._intervals",
    "interval": "captep_core.capt._intervals",
    "FINALIZER": "captep_core.capt._names",
    "control_plane_ref": "captep_core.capt._names",
    "observe": "captep_core.capt._observe",
    "AppliedTemplate": "captep_core.capt._observed",
    "ControlPlane": "captep_core.capt._observed",
    "Secrets": "captep_core.capt._observed",
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
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
