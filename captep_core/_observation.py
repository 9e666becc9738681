"""Absent, unreadable and present are three different observations; unreadable is never treated as
absent.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias, TypeVar

from attrs import field, frozen

from captep_core._actions import JSON, Manifest, ObjectRef
from captep_core._refusals import Refusal

__all__ = [
    "ABSENT",
    "Absent",
    "Listed",
    "NotKept",
    "Observed",
    "ReconcileState",
    "Selection",
    "Unreadable",
]

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

Listed: TypeAlias = tuple[Manifest, ...] | Unreadable
"""The objects of a list, by namespace and name. A list that failed is unreadable, never empty."""


def _pairs(
    labels: Mapping[str, str] | tuple[tuple[str, str], ...] | None,
) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(dict(labels or ()).items()))


@frozen(cache_hash=True, order=True)
class Selection:
    """The objects of a kind that a list asks for.

    `namespace`: None for all namespaces, or for a cluster-scoped kind. `labels`: each of these
    labels with exactly this value; a mapping, kept as sorted pairs.
    """

    api_version: str
    kind: str
    namespace: str | None = None
    labels: tuple[tuple[str, str], ...] = field(default=(), converter=_pairs)

    def __str__(self) -> str:
        place = f"{self.kind} {self.namespace}/*" if self.namespace else f"{self.kind} *"
        return f"{place} with {self.selector}" if self.labels else place

    @property
    def selector(self) -> str:
        """The labels as the API takes them, `a=b,c=d`."""
        return ",".join(f"{name}={value}" for name, value in self.labels)

    def fits(self, obj: Mapping[str, JSON]) -> bool:
        """Whether an object of the kind has the labels."""
        if not self.labels:
            return True
        metadata = obj.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        if not isinstance(labels, dict):
            return False
        return all(labels.get(name) == value for name, value in self.labels)


@frozen
class NotKept:
    """A field that the server did not keep from a write that it accepted.

    `uid`: of the object that was patched, "" for a create. `generation`: of the object in the
    answer, 0 for a kind without one. `wanted`, `kept`: digests of the value in the write and of the
    value that the server made of it ("" for none).
    """

    target: ObjectRef
    subresource: str | None
    path: tuple[str, ...]
    wanted: str = field(repr=False)
    kept: str = field(default="", repr=False)
    uid: str = ""
    generation: int = 0

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} of {self.target}"


@frozen
class ReconcileState:
    """State carried from one pass to the next for one object. Losing it, as on a restart, is safe.

    `refusals`: the writes that did not go through, oldest try first. `verdict`: the reason of the
    verdict that was recorded last, "" before the first one. `not_kept`: the fields that the server
    did not keep from writes that it accepted. `deleted`: the objects that earlier passes deleted.
    """

    refusals: tuple[Refusal, ...] = ()
    verdict: str = ""
    not_kept: tuple[NotKept, ...] = ()
    deleted: tuple[ObjectRef, ...] = ()
