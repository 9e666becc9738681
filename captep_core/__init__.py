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

__all__ = [
    "ABSENT",
    "JSON",
    "Absent",
    "Action",
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
    "Write",
    "write_of",
]
