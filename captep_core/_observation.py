"""Absent, unreadable and present are three different observations; unreadable is never treated as absent."""

from enum import Enum
from typing import Final, TypeAlias, TypeVar

from attrs import frozen

from captep_core._actions import Refusal

__all__ = ["ABSENT", "Absent", "Observed", "ReconcileState", "Unreadable"]

T = TypeVar("T")


class Absent(Enum):
    """The server said that there is no such object."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@frozen
class Unreadable:
    """The object could not be read, or is malformed: whether it exists, and what it says, is unknown.

    `reason` is a Kubernetes reason (`Forbidden`, `Timeout`) or `Malformed`; `detail` says more, never a value of a Secret.
    """

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


Observed: TypeAlias = T | Absent | Unreadable


@frozen
class ReconcileState:
    """What the executor remembers from earlier passes over one control plane; empty after a restart, and nothing breaks.

    `refusals`: writes that did not go through, oldest try first. `verdict`: the reason of the verdict
    that was told last, "" when there was none.
    """

    refusals: tuple[Refusal, ...] = ()
    verdict: str = ""
