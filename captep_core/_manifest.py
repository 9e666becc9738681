"""Objects as JSON, for operators without a typed model: metadata, owners, finalizers, conditions.

Rules of this module:

1. `_objects` decides and this module translates: each rule has one implementation.
2. No function raises for what a server may send, and none changes its arguments.
3. A function that changes an object returns another one; `captep_core.difference` of the two is the
   write.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

from captep_core import _objects
from captep_core._actions import JSON, Action, Manifest, ObjectRef, Preconditions, write_of
from captep_core._objects import Condition, ObjectMeta, Owner, OwnerReference
from captep_core._observation import ReconcileState
from captep_core._refusals import Refusal

__all__ = [
    "ConditionStatus",
    "controller_reference",
    "is_controlled_by",
    "is_deleting",
    "meta_of",
    "outstanding",
    "preconditions_of",
    "ref_of",
    "set_condition",
    "with_finalizer",
    "without_finalizer",
]

ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]


def ref_of(obj: Mapping[str, JSON]) -> ObjectRef:
    """Name an object, as `read` and actions do.

    >>> str(ref_of({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}))
    'Secret a'
    """
    meta = meta_of(obj)
    kind = (_text(obj.get("apiVersion")), _text(obj.get("kind")))
    return ObjectRef(*kind, meta.namespace or None, meta.name)


def meta_of(obj: Mapping[str, JSON]) -> ObjectMeta:
    """Return the metadata of an object; what has another shape than the API's counts as absent."""
    metadata = _map(obj.get("metadata"))
    generation = metadata.get("generation")
    return ObjectMeta(
        name=_text(metadata.get("name")),
        namespace=_text(metadata.get("namespace")),
        uid=_text(metadata.get("uid")),
        resource_version=_text(metadata.get("resourceVersion")),
        generation=generation if isinstance(generation, int) else 0,
        deletion_timestamp=_text(metadata.get("deletionTimestamp")),
        finalizers=tuple(map(str, _list(metadata.get("finalizers")))),
        owner_references=tuple(_reference(each) for each in _maps(metadata.get("ownerReferences"))),
        labels=_texts(metadata.get("labels")),
        annotations=_texts(metadata.get("annotations")),
    )


def preconditions_of(obj: Manifest) -> Preconditions:
    """Return the preconditions for a write that must meet exactly the object that you saw."""
    meta = meta_of(obj)
    return Preconditions(meta.uid or None, meta.resource_version or None)


def is_deleting(obj: Manifest) -> bool:
    """Whether the object is being deleted, and only finalizers or a grace period still hold it."""
    return bool(meta_of(obj).deletion_timestamp)


def controller_reference(owner: Manifest) -> dict[str, JSON]:
    """Return the entry of a dependent's ownerReferences that makes `owner` its controller.

    The garbage collector deletes the dependent after its owner.
    """
    meta = meta_of(owner)
    kind = (_text(owner.get("apiVersion")), _text(owner.get("kind")))
    return dict(Owner(*kind, meta).reference().wire)


def is_controlled_by(obj: Manifest, owner: Manifest) -> bool:
    """Whether `owner`, this incarnation of it, controls the object."""
    uid = meta_of(owner).uid
    return bool(uid) and _objects.is_controlled_by(meta_of(obj), uid)


def with_finalizer(obj: Manifest, ours: str) -> Manifest:
    """Return the object with the finalizer `ours` behind those of others.

    >>> with_finalizer({"metadata": {"finalizers": ["a"]}}, "b")
    {'metadata': {'finalizers': ['a', 'b']}}
    """
    return _finalized(obj, _objects.with_finalizer(meta_of(obj).finalizers, ours))


def without_finalizer(obj: Manifest, ours: str) -> Manifest:
    """Return the object without the finalizer `ours`; removing the last one deletes an object that
    is being deleted.
    """
    return _finalized(obj, _objects.without_finalizer(meta_of(obj).finalizers, ours))


def _finalized(obj: Manifest, finalizers: tuple[str, ...]) -> Manifest:
    if finalizers == meta_of(obj).finalizers:
        return obj
    return {**obj, "metadata": {**_map(obj.get("metadata")), "finalizers": list(finalizers)}}


def set_condition(
    conditions: object,
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str = "",
    *,
    now: datetime,
    generation: int | None = None,
) -> list[dict[str, JSON]]:
    """Return `conditions` with one condition set; its transition time moves only with its status.

    Args:
        conditions: `status.conditions` as it is, None without one; entries of other types
            stay as they are.
        type_: the type of the condition.
        status: "True", "False" or "Unknown".
        reason: one word in CamelCase.
        message: words for people.
        now: the time, aware.
        generation: `metadata.generation` of the object that the status speaks of, None for a
            condition without observedGeneration.
    """
    held = tuple(_condition(each) for each in _maps(conditions))
    wanted = Condition(type_, status, reason, message)
    return [
        _shown(each, generation) if each.type == type_ else dict(each.wire)
        for each in _objects.with_condition(held, wanted, now=now)
    ]


def outstanding(state: ReconcileState, actions: Iterable[Action]) -> tuple[Refusal, ...]:
    """Return the refusals whose writes are among `actions`: `Decision.outstanding` of an operator
    that goes on to want them.
    """
    wanted = {write_of(action) for action in actions}
    return tuple(refusal for refusal in state.refusals if refusal.write in wanted)


def _reference(entry: Mapping[str, JSON]) -> OwnerReference:
    return OwnerReference(
        _text(entry.get("apiVersion")),
        _text(entry.get("kind")),
        _text(entry.get("name")),
        _text(entry.get("uid")),
        controller=entry.get("controller") is True,
        wire=entry,
    )


def _condition(entry: Mapping[str, JSON]) -> Condition:
    return Condition(
        _text(entry.get("type")),
        _text(entry.get("status")),
        _text(entry.get("reason")),
        _text(entry.get("message")),
        _text(entry.get("lastTransitionTime")),
        entry,
    )


def _shown(condition: Condition, generation: int | None) -> dict[str, JSON]:
    """Return the entry of a condition; reason and message are there even when they are empty."""
    shown: dict[str, JSON] = {
        **condition.wire,
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": condition.last_transition_time,
    }
    return shown if generation is None else {**shown, "observedGeneration": generation}


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def _map(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, dict) else {}


def _list(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def _maps(value: Any) -> list[dict[str, JSON]]:  # noqa: ANN401 - JSON, or nothing
    return [each for each in _list(value) if isinstance(each, dict)]


def _texts(value: JSON) -> dict[str, str]:
    return {name: text for name, text in _map(value).items() if isinstance(text, str)}
