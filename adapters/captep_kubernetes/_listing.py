"""A list of cached objects that stays current: a fleet that lists once for each key stays linear.

A thousand control planes without owner reference list their Clusters once each. Unpacking each
Cluster for each list took a fifth of the controller's CPU while they were made, and the share grew
with the fleet. So an object is unpacked once for each of its states, and all lists share it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TypeAlias

from captep_core._actions import ObjectRef
from captep_kubernetes._packing import Object

__all__ = ["Listing"]

_Place: TypeAlias = tuple[str, str]


def _place(ref: ObjectRef) -> _Place:
    return ref.namespace or "", ref.name


class Listing:
    """Objects of one kind in order of namespace and name. Not safe to use from two threads at once.

    `refs`: the objects that there are at first, of one kind.
    """

    def __init__(self, refs: Iterable[ObjectRef]) -> None:
        self._refs = sorted(refs, key=_place)
        self._objects: list[Object | None] = [None] * len(self._refs)
        self._stale = {*self._refs}

    def objects(self, unpacked: Callable[[ObjectRef], Object]) -> tuple[Object, ...]:
        """Return the objects; `unpacked` is asked for each that was put since the last call."""
        for ref in self._stale:
            self._objects[self._index(ref)] = unpacked(ref)
        self._stale.clear()
        # Nothing is left to unpack, so no place is empty.
        return tuple(self._objects)  # type: ignore[arg-type]

    def put(self, ref: ObjectRef) -> None:
        """Note that an object is new or has changed."""
        index = self._index(ref)
        if index == len(self._refs) or self._refs[index] != ref:
            self._refs.insert(index, ref)
            self._objects.insert(index, None)
        self._stale.add(ref)

    def remove(self, ref: ObjectRef) -> None:
        """Note that an object of the list is gone."""
        index = self._index(ref)
        del self._refs[index], self._objects[index]
        self._stale.discard(ref)

    def _index(self, ref: ObjectRef) -> int:
        return bisect_left(self._refs, _place(ref), key=_place)
