"""The one builder of writes: an object as it should be and as it was observed become a Create, a
Patch or nothing.

`difference` is for operators that work on JSON, `dependent`, `shared` and `status` are for those
with a typed model.

Rules of this module:

1. Nothing else constructs a `Create` or a `Patch`. That makes "every write is a difference"
   structure: where nothing differs, there is no write to send.
2. We own fields, not objects: a patch touches the owned fields that differ, and no other field.
3. Typed values are compared first, and JSON is built only where they differ: most passes change
   nothing.
4. A patch carries the uid that it was computed from. It carries the resourceVersion as well where
   it replaces a list, because a merge patch would undo the entries of others, and on `/status`,
   where the API server does not compare the uid.
5. A field that the server does not keep is not wanted again (`captep_core._not_kept`).

There are two kinds of targets. A *dependent* is an object that an owner controls: another
controller's is left alone, an orphan is adopted, and one that is being deleted is not written. A
*shared object* has other owners or none (the object that is reconciled, its parent): the caller
decides when to write it.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

import attrs
from attrs import AttrsInstance

from captep_core._actions import (
    JSON,
    Create,
    Manifest,
    ObjectRef,
    Patch,
    Preconditions,
    require_same,
)
from captep_core._diff import merge_patch, merged, owned_part, without_nulls
from captep_core._manifest import meta_of, ref_of
from captep_core._not_kept import without_not_kept
from captep_core._objects import (
    ObjectMeta,
    Owner,
    OwnerReference,
    controller_of,
    is_foreign,
    with_controller,
)
from captep_core._observation import ABSENT, NotKept, Observed, Unreadable
from captep_core._typed_json import as_json

__all__ = [
    "Dependent",
    "Desired",
    "Fields",
    "dependent",
    "difference",
    "shared",
    "status",
]

Fields: TypeAlias = Mapping[str, object]
"""Fields by their JSON name: JSON, bytes (base64 on the wire), attrs classes of a model, and tuples
and maps of these.
"""


class Dependent(Protocol):
    """Any class of a model that has metadata."""

    @property
    def metadata(self) -> ObjectMeta: ...


D = TypeVar("D", bound=Dependent)


class Desired(NamedTuple):
    """A dependent as it should be; a named tuple, because each pass makes several.

    `owned`: the fields that we own (`spec`, `data`, ...), as they should be. `labels`: the labels
    that we own. `fixed`: fields that a creation sets and that nothing can change afterwards, such
    as the type of a Secret. `purpose`: why we write the object, in words for people.
    """

    target: ObjectRef
    owned: Fields
    purpose: str
    labels: Mapping[str, str] = MappingProxyType({})
    fixed: Mapping[str, JSON] = MappingProxyType({})

    def __repr__(self) -> str:
        """Name the target alone: the fields may be those of a Secret."""
        return f"Desired({self.target})"


def dependent(
    desired: Desired,
    observed: Observed[D],
    owned: Fields,
    owner: Owner,
    *,
    known: Collection[NotKept] = (),
) -> Create | Patch | None:
    """Create a dependent of `owner`, or correct its owned fields and adopt it; None when there is
    nothing to write.

    `owned` holds the fields of `desired.owned` as they were observed; it counts only when the
    object is there. Nothing is written while the object is unreadable, is being deleted or has
    another controller. `known` are the fields that the server is known not to keep.
    """
    if observed is ABSENT:
        return _create(desired, owner)
    if isinstance(observed, Unreadable):
        return None
    meta = observed.metadata
    controller = controller_of(meta)
    is_ours = controller is not None and controller.uid == owner.metadata.uid
    if meta.deletion_timestamp or (controller is not None and not is_ours):
        return None
    # Most passes end here, before anything is built.
    labels = desired.labels
    is_labelled = not labels or labels.items() <= meta.labels.items()
    if is_ours and is_labelled and owned == desired.owned:
        return None
    return _correct(desired, meta, owned, owner, known)


def shared(
    target: ObjectRef,
    meta: ObjectMeta,
    observed: Fields,
    desired: Fields,
    reason: str,
    *,
    known: Collection[NotKept] = (),
) -> Patch | None:
    """Correct owned fields of a shared object; None when nothing differs.

    `observed` and `desired` hold the same fields; `reason` says why they are written.
    """
    if observed == desired:
        return None
    before = as_json(observed)
    return _patch(target, meta, before, as_json(desired), reason, known)


def status(
    target: ObjectRef,
    meta: ObjectMeta,
    observed: AttrsInstance,
    desired: AttrsInstance,
    *,
    known: Collection[NotKept] = (),
) -> Patch | None:
    """Correct the status of a shared object, given as two instances of one class; None when nothing
    differs.
    """
    if observed == desired:
        return None
    before = {"status": as_json(observed)}
    after = {"status": as_json(desired)}
    patch = _patch(target, meta, before, after, "report", known, "status")
    fields = patch.body.get("status") if patch else None
    if patch is None or not isinstance(fields, dict):
        return None
    return attrs.evolve(patch, reason=f"report: {', '.join(sorted(fields))}")


# The references of other owners stay.
_OWNERS: Final = ("metadata", "ownerReferences")
_NO_KEYS: Final[Mapping[str, str]] = MappingProxyType({})


def difference(
    desired: Mapping[str, Any],
    observed: Observed[Manifest],
    reason: str,
    *,
    keys: Mapping[str, str] = _NO_KEYS,
    subresource: str | None = None,
    known: Collection[NotKept] = (),
) -> Create | Patch | None:
    """Create an object, or correct the fields of it that `desired` names; None when there is
    nothing to write.

    An object whose `desired` names a controller is a dependent: it is left alone while it is being
    deleted and when it has another controller. Nothing is written while the object is unreadable,
    nor into the status of an object that does not exist.

    Args:
        desired: apiVersion, kind and metadata of the object with all fields that you own. Null
            removes a field, and an empty map equals an absent one. All other fields, such as the
            server's defaults, stay as they are.
        observed: what `read` returned for it.
        reason: why you write, in words for people.
        keys: for a list of maps, by its path, the field that identifies its entries, such as
            `{"spec.template.spec.containers": "name"}`. Entries are merged by it: fields and
            entries that `desired` does not name stay. A list without a key is owned as a whole.
        subresource: "status" to write the field `status` alone, None for everything but it.
        known: `ReconcileState.not_kept`, so that what the server drops is not wanted again.

    Raises:
        DecisionError: `desired` and `observed` are two objects, or an entry of a list lacks its
            key.

    >>> service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "uid": "u1"}}
    >>> ports = [{"name": "sql", "port": 5432, "protocol": "TCP"}]
    >>> observed = {**service, "spec": {"ports": ports, "clusterIP": "10.0.0.7"}}
    >>> desired = {**service, "spec": {"ports": [{"name": "sql", "port": 5432}]}}
    >>> difference(desired, observed, "the port differs", keys={"spec.ports": "name"}) is None
    True
    """
    target = ref_of(desired)
    if isinstance(observed, Unreadable):
        return None
    is_status = subresource == "status"
    if observed is ABSENT:
        body = {name: without_nulls(desired[name]) for name in desired if name != "status"}
        return None if is_status else Create(target, body, reason)
    # The server may send another version of the kind than the one in which decisions speak.
    require_same(target, {**observed, "apiVersion": target.api_version})
    owned = {name: desired[name] for name in desired if _is_owned(name, is_status=is_status)}
    if not is_status and _is_out_of_reach(desired, observed):
        return None
    paths = {_OWNERS: "uid", **{tuple(path.split(".")): key for path, key in keys.items()}}
    before = owned_part(observed, owned)
    after = merged(owned, observed, paths)
    meta = meta_of(observed)
    return _patch(target, meta, before, after, reason, known, subresource)


def _is_owned(name: str, *, is_status: bool) -> bool:
    return name == "status" if is_status else name not in ("apiVersion", "kind", "status")


def _is_out_of_reach(desired: Mapping[str, JSON], observed: Manifest) -> bool:
    """Whether a dependent is being deleted or has another controller than it should have."""
    wanted = controller_of(meta_of(desired))
    if wanted is None:
        return False
    meta = meta_of(observed)
    return bool(meta.deletion_timestamp) or is_foreign(meta, wanted.uid)


def _without(
    body: dict[str, JSON],
    observed: Mapping[str, JSON],
    target: ObjectRef,
    meta: ObjectMeta,
    known: Collection[NotKept],
    subresource: str | None = None,
) -> dict[str, JSON]:
    """Leave out of a patch the fields that the server is known not to keep."""
    if not known:
        return body
    return without_not_kept(
        body,
        observed,
        known,
        target=target,
        uid=meta.uid,
        generation=meta.generation,
        subresource=subresource,
    )


def _create(desired: Desired, owner: Owner) -> Create:
    target = desired.target
    metadata = as_json(
        {
            "name": target.name,
            "namespace": target.namespace,
            "labels": desired.labels or None,
            "ownerReferences": (owner.reference(),),
        }
    )
    body: dict[str, JSON] = {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": metadata,
        **desired.fixed,
        **as_json(desired.owned),
    }
    return Create(target, body, desired.purpose)


def _correct(
    desired: Desired,
    meta: ObjectMeta,
    owned: Fields,
    owner: Owner,
    known: Collection[NotKept],
) -> Patch | None:
    references = with_controller(meta.owner_references, owner)
    labels = {name: meta.labels[name] for name in desired.labels if name in meta.labels}
    before = {"metadata": _metadata(meta.owner_references, labels), **owned}
    after = {"metadata": _metadata(references, desired.labels), **desired.owned}
    patch = _patch(desired.target, meta, as_json(before), as_json(after), desired.purpose, known)
    return patch and attrs.evolve(patch, reason=f"{desired.purpose}: {_differences(patch.body)}")


def _metadata(references: tuple[OwnerReference, ...], labels: Mapping[str, str]) -> Fields:
    return {"ownerReferences": references or None, "labels": labels or None}


def _differences(body: Mapping[str, JSON]) -> str:
    """Say in words which parts of a dependent a patch corrects."""
    metadata = body.get("metadata")
    parts = {*(metadata if isinstance(metadata, dict) else ()), *body} - {"metadata"}
    words = [_WORDS.get(part, f"its {part} differs") for part in sorted(parts, key=_place)]
    return ", ".join(words)


_WORDS = {
    "ownerReferences": "adopt it",
    "labels": "its label is missing",
    "data": "its content differs",
}


def _place(part: str) -> tuple[int, str]:
    known = (*_WORDS,)
    return (known.index(part) if part in known else len(known), part)


def _patch(
    target: ObjectRef,
    meta: ObjectMeta,
    observed: Mapping[str, JSON],
    desired: Mapping[str, JSON],
    reason: str,
    known: Collection[NotKept],
    subresource: str | None = None,
) -> Patch | None:
    body = _without(merge_patch(observed, desired), observed, target, meta, known, subresource)
    if not body:
        return None
    is_bound = subresource == "status" or _replaces_a_list(body, observed)
    version = meta.resource_version if is_bound else ""
    return Patch(
        target, body, Preconditions(meta.uid or None, version or None), reason, subresource
    )


def _replaces_a_list(body: Mapping[str, JSON], observed: Mapping[str, JSON]) -> bool:
    """Whether a merge patch sets or removes a list, and with it the entries of others."""
    for key, value in body.items():
        before = observed.get(key)
        if isinstance(value, list) or isinstance(before, list):
            return True
        inner = before if isinstance(before, dict) else {}
        if isinstance(value, dict) and _replaces_a_list(value, inner):
            return True
    return False
