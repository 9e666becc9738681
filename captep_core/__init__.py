"""The pure core: what a CAPTControlPlane needs next, decided from what was observed."""

from captep_core._actions import (
    JSON,
    Action,
    Conclusion,
    Create,
    Decision,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    Record,
    Refusal,
    Write,
    write_of,
)
from captep_core._observation import ABSENT, Absent, Observed, Recollection, Unreadable
from captep_core._workqueue import Backoff, WorkQueue, jittered

__all__ = [
    "ABSENT",
    "JSON",
    "Absent",
    "Action",
    "Backoff",
    "Conclusion",
    "Create",
    "Decision",
    "Delete",
    "ObjectRef",
    "Observed",
    "Patch",
    "Preconditions",
    "Recollection",
    "Record",
    "Refusal",
    "Unreadable",
    "WorkQueue",
    "Write",
    "jittered",
    "write_of",
]
