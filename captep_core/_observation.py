"""Absent, unreadable and present are three different observations; unreadable is never treated as
absent.
"""

from enum import Enum
from typing import Final, TypeAlias, TypeVar

from attrs import frozen

from captep_core._actions import Refusal

__all__ = ["ABSENT", "Absent", "Observed", "ReconcileState", "Unreadable"]

T = TypeVar("T")


class Absent(Enum):
    """The server answered that the object does not exist."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@frozen
class Unreadable:
    """The object could not be read, or is malformed: whether it exists, and what it says, is
    unknown.

    `reason` is a Kubernetes reason (`Forbidden`, `Timeout`) or `Malformed`; `detail` says more and
    never holds a value of a Secret.
    """

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


Observed: TypeAlias = T | Absent | Unreadable


@frozen
class ReconcileState:
    """State carried from one pass to the next for one object. Losing it, as on a restart, is safe.

    `refusals`: the writes that did not go through, oldest try first. `verdict`: the reason of the
    verdict that was recorded last, "" before the first one.
    """

    refusals: tuple[Refusal, ...] = ()
    verdict: str = ""
