"""What is known of the objects of one kind: a cache that never goes back in time. No I/O, no threads.

Rules of this module:

1. resourceVersions of one kind are ordered (KEP-5504): what is not newer than what is known changes nothing.
2. What is known of an object comes from lists, from watch events and from the answers to own writes, in any order. An older one never
   undoes a newer one, so an own write is seen at once and stays seen.
3. A deletion is knowledge as well: it is kept as a tombstone, so that a late answer or event does not bring the object back.
4. A list at version V says nothing about an object that is known at a version after V.

An etcd that was restored from a backup without `--bump-revision` goes back in time; as for every controller, restart after that.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from attrs import frozen

from captep_core import JSON, ObjectRef

__all__ = ["Change", "Known", "Object", "Store", "compacted", "is_newer"]

Object: TypeAlias = dict[str, JSON]
_TOMBSTONES = 4096


@frozen
class Known:
    """One object as it is cached, with the identity that the order is decided on."""

    uid: str
    resource_version: str
    obj: Object


@frozen
class Change:
    """What became known of one object; `old` or `new` is None when it did not, or does not, exist."""

    ref: ObjectRef
    old: Object | None
    new: Object | None


@frozen
class _Tombstone:
    uid: str
    resource_version: str


def is_newer(one: str, other: str) -> bool:
    """Whether resourceVersion `one` is after `other`; what is no decimal number cannot be ordered, and differing counts as newer."""
    if not (one.isdecimal() and other.isdecimal()):
        return one != other
    return int(one) > int(other)


def compacted(value: JSON) -> JSON:
    """Return an equal value that shares its texts with all others that have them: a parsed object comes with a copy of every name."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {sys.intern(name): compacted(inner) for name, inner in value.items()}
    return [compacted(inner) for inner in value] if isinstance(value, list) else value


class Store:
    """The objects of one kind, by name.

    Args:
        project: applied to each object before it is kept, to leave out what need not be in memory.
    """

    def __init__(self, project: Callable[[Object], Object]) -> None:
        self._project = project
        self._known: dict[ObjectRef, Known] = {}
        self._gone: OrderedDict[ObjectRef, _Tombstone] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, ref: ObjectRef) -> Known | None:
        """Return what is known of `ref`, None when it is not known to exist."""
        return self._known.get(ref)

    def refs(self) -> tuple[ObjectRef, ...]:
        """Return the names of all objects that are known to exist."""
        return tuple(self._known)

    def shrunk(self, obj: Mapping[str, JSON]) -> Object:
        """Return of an object what is kept."""
        return {sys.intern(name): compacted(value) for name, value in self._project(dict(obj)).items()}

    def put(self, ref: ObjectRef, obj: Mapping[str, JSON], *, is_shrunk: bool = False) -> Change | None:
        """Learn that `obj` exists; None when nothing new was learned. `is_shrunk`: it is what `shrunk` returned."""
        uid, resource_version = _identity(obj)
        known, gone = self._known.get(ref), self._gone.get(ref)
        if known is not None and not is_newer(resource_version, known.resource_version):
            return None
        if gone is not None and (uid == gone.uid or (gone.resource_version and not is_newer(resource_version, gone.resource_version))):
            return None
        self._gone.pop(ref, None)
        kept = dict(obj) if is_shrunk else self.shrunk(obj)
        self._known[ref] = Known(uid, resource_version, kept)
        return Change(ref, known.obj if known else None, kept)

    def remove(self, ref: ObjectRef, *, uid: str, resource_version: str = "") -> Change | None:
        """Learn that the incarnation `uid` of `ref` is gone, as of `resource_version` when known; None when nothing new was learned."""
        known = self._known.get(ref)
        if known is not None and known.uid != uid and not (resource_version and is_newer(resource_version, known.resource_version)):
            return None
        self._bury(ref, uid, resource_version or (known.resource_version if known else ""))
        if known is None:
            return None
        del self._known[ref]
        return Change(ref, known.obj, None)

    def replace(
        self, objects: Iterable[tuple[ObjectRef, Mapping[str, JSON]]], resource_version: str, *, are_shrunk: bool = False
    ) -> list[Change]:
        """Learn that at `resource_version` exactly `objects` existed. `are_shrunk`: see `put`."""
        listed = dict(objects)
        changes = [self.put(ref, obj, is_shrunk=are_shrunk) for ref, obj in listed.items()]
        for ref, known in [*self._known.items()]:
            if ref not in listed and not is_newer(known.resource_version, resource_version):
                changes.append(self.remove(ref, uid=known.uid, resource_version=resource_version))
        return [change for change in changes if change is not None]

    def _bury(self, ref: ObjectRef, uid: str, resource_version: str) -> None:
        before = self._gone.pop(ref, None)
        if before is not None and is_newer(before.resource_version or "0", resource_version or "0"):
            self._gone[ref] = _Tombstone(uid if not resource_version else before.uid, before.resource_version)
        else:
            self._gone[ref] = _Tombstone(uid, resource_version)
        while len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)


def _identity(obj: Mapping[str, JSON]) -> tuple[str, str]:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return "", ""
    return str(metadata.get("uid") or ""), str(metadata.get("resourceVersion") or "")
