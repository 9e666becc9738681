"""Parts that every Kubernetes object has: metadata, owners, finalizers, conditions and times, each
implemented once.

Rules of this module:

1. Ownership is decided by the uid of the controller and never by a name.
2. A function that changes a list returns the same tuple when nothing changes, so that equality is
   cheap.
3. List entries keep every field that they came with (`wire`): they go back to the server whole.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from attrs import Factory, evolve, field, frozen

from captep_core._actions import JSON

__all__ = [
    "Condition",
    "ObjectMeta",
    "Owner",
    "OwnerReference",
    "controller_of",
    "find_condition",
    "foreign_controller",
    "instant",
    "is_controlled_by",
    "is_foreign",
    "rfc3339",
    "with_condition",
    "with_controller",
    "with_finalizer",
    "without_finalizer",
]

_EMPTY: Mapping[str, JSON] = {}


@frozen
class OwnerReference:
    """One entry of metadata.ownerReferences; `wire` is the entry as it came."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    wire: Mapping[str, JSON] = field(default=_EMPTY, eq=False, repr=False)


@frozen
class ObjectMeta:
    """The fields of metadata that decisions read. `namespace` is "" for a cluster-scoped object."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str = ""
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()
    labels: Mapping[str, str] = Factory(dict)
    annotations: Mapping[str, str] = field(factory=dict, repr=False)


@frozen
class Condition:
    """One entry of status.conditions; times stay text, and `wire` is the entry as it came."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    wire: Mapping[str, JSON] = field(default=_EMPTY, eq=False, repr=False)


def controller_of(meta: ObjectMeta) -> OwnerReference | None:
    """Find the one owner that controls the object."""
    for reference in meta.owner_references:
        if reference.controller:
            return reference
    return None


def is_controlled_by(meta: ObjectMeta, uid: str) -> bool:
    """Whether the owner with this uid controls the object."""
    controller = controller_of(meta)
    return controller is not None and controller.uid == uid


def foreign_controller(meta: ObjectMeta, uid: str) -> OwnerReference | None:
    """Find the controller of the object when it is not the owner with this uid.

    An earlier owner of the same name has another uid, so it counts as foreign.
    """
    for reference in meta.owner_references:
        if reference.controller:
            return None if reference.uid == uid else reference
    return None


def is_foreign(meta: ObjectMeta, uid: str) -> bool:
    """Whether another owner than the one with this uid controls the object."""
    return foreign_controller(meta, uid) is not None


@frozen
class Owner:
    """An object as the controller of its dependents."""

    api_version: str
    kind: str
    metadata: ObjectMeta

    def reference(self) -> OwnerReference:
        """Build the entry of a dependent's ownerReferences.

        `blockOwnerDeletion` makes a foreground deletion of the owner wait for the dependent.
        """
        name = self.metadata.name
        uid = self.metadata.uid
        wire: Mapping[str, JSON] = {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": name,
            "uid": uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        return OwnerReference(self.api_version, self.kind, name, uid, controller=True, wire=wire)


def with_controller(
    references: tuple[OwnerReference, ...], owner: Owner
) -> tuple[OwnerReference, ...]:
    """Make `owner` the controller; a plain reference of its own is replaced."""
    uid = owner.metadata.uid
    for reference in references:
        if reference.controller and reference.uid == uid:
            return references
    others = (reference for reference in references if reference.uid != uid)
    return (*others, owner.reference())


def with_finalizer(finalizers: tuple[str, ...], ours: str) -> tuple[str, ...]:
    """Add `ours` behind the finalizers of others."""
    return finalizers if ours in finalizers else (*finalizers, ours)


def without_finalizer(finalizers: tuple[str, ...], ours: str) -> tuple[str, ...]:
    """Remove `ours` and keep the finalizers of others in their order."""
    return tuple(finalizer for finalizer in finalizers if finalizer != ours)


def find_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Find the condition of a type."""
    for condition in conditions:
        if condition.type == type_:
            return condition
    return None


def with_condition(
    conditions: tuple[Condition, ...], wanted: Condition, *, now: datetime
) -> tuple[Condition, ...]:
    """Put `wanted` in the place of its type; its transition time moves only with its status."""
    before = find_condition(conditions, wanted.type)
    if before is None:
        return (*conditions, evolve(wanted, last_transition_time=rfc3339(now)))
    since = before.last_transition_time if before.status == wanted.status else ""
    stamped = Condition(
        wanted.type,
        wanted.status,
        wanted.reason,
        wanted.message,
        since or rfc3339(now),
        before.wire,
    )
    return tuple(
        stamped if condition is before else condition
        for condition in conditions
        if condition is before or condition.type != wanted.type
    )


Timespec: TypeAlias = Literal["seconds", "milliseconds", "microseconds"]


def instant(text: str) -> datetime | None:
    """Parse a time as Kubernetes (RFC 3339) or Go's `time.String()` writes it; None when it is
    neither.
    """
    words = text.split()
    if len(words) >= 3:
        text = f"{words[0]}T{words[1]}{words[2]}"
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


def rfc3339(moment: datetime, timespec: Timespec = "seconds") -> str:
    """Write a time as Kubernetes does, in UTC with `Z`.

    `Time` has whole seconds, the default; `MicroTime`, which a Lease holds, has microseconds.
    """
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"
