"""The objects of one kind and namespace by name, as a value that a write copies a small part of.

Fewer than 64 objects are a plain dictionary, which each write copies. More of them share one
dictionary among all their versions (after Baker, "Shallow binding makes functional arrays fast",
1991): the newest version has the dictionary, and each older one remembers in what it differs from
the next. A read of the newest version is one look-up and a write changes one entry, however many
objects there are. A read of an older version goes along the differences; one that is more than 32
writes away gets a dictionary of its own, so that no read stays slow.

A shelf never changes its value. Several threads may use it: a read looks again whether the
dictionary is still the shelf's, and a write takes the dictionary under a lock.
"""

import threading
from collections.abc import ItemsView, Iterator, Mapping
from typing import Any, TypeAlias

from captep_memory._json import Object

__all__ = ["Shelf", "shelf_of", "with_object", "without_object"]

_SMALL = 64
# How many differences a read goes along before it copies the dictionary.
_NEAR = 32
_TAKING = threading.Lock()
# A name, its object in this version (None for none), and the shelf that is the same otherwise.
_Difference: TypeAlias = "tuple[str, Object | None, Shelf]"


class Shelf(Mapping[str, Object]):
    """A large immutable mapping; `with_object` and `without_object` make the next one."""

    __slots__ = ("_size", "_state")

    def __init__(self, state: "dict[str, Object] | _Difference", size: int) -> None:
        self._state, self._size = state, size

    def __getitem__(self, name: str) -> Object:
        found: Object | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return self.get(name) is not None

    def get(self, name: Any, default: Any = None) -> Any:  # noqa: ANN401 - as Mapping has it
        """Return an object, or the default: `Mapping.get` would raise and catch an error."""
        state = self._state
        if isinstance(state, dict):
            found = state.get(name, default)
            if self._state is state:
                return found
        found = self._sought(name)
        return default if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._copied())

    def items(self) -> ItemsView[str, Object]:
        """Return the entries of a copy: `Mapping.items` would look each name up."""
        return self._copied().items()

    def __len__(self) -> int:
        return self._size

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the objects alone: the differences lead to all newer versions."""
        return Shelf, (self._copied(), self._size)

    def changed(self, name: str, obj: Object | None) -> "Shelf":
        """Return the mapping with one object more or another, or without it if `obj` is None."""
        with _TAKING:
            state = self._state
            if isinstance(state, dict):
                known = state.get(name)
                after = Shelf(state, self._size + (obj is not None) - (known is not None))
                # Other threads must not see the dictionary change while it is this shelf's.
                self._state = (name, known, after)
                if obj is None:
                    del state[name]
                else:
                    state[name] = obj
                return after
        size = self._size + (obj is not None) - (name in self)
        return Shelf((name, obj, self), size)

    def _sought(self, name: str) -> Object | None:
        """Return an object of a version that has, or had, no dictionary."""
        shelf, steps = self, 0
        while True:
            state = shelf._state
            if isinstance(state, dict):
                found = state.get(name)
                if shelf._state is state:
                    break
            else:
                changed, found, shelf = state
                if changed == name:
                    break
                steps += 1
        if steps > _NEAR:
            self._state = self._copied()
        return found

    def _copied(self) -> dict[str, Object]:
        """Return the objects as a new dictionary."""
        changes: dict[str, Object | None] = {}
        shelf = self
        while True:
            state = shelf._state
            if isinstance(state, dict):
                copy = state.copy()
                if shelf._state is state:
                    break
            else:
                name, obj, shelf = state
                changes.setdefault(name, obj)
        for name, obj in changes.items():
            if obj is not None:
                copy[name] = obj
            else:
                copy.pop(name, None)
        return copy


def shelf_of(objects: dict[str, Object]) -> Mapping[str, Object]:
    """Return a shelf of objects; the dictionary belongs to it from now on."""
    return objects if len(objects) < _SMALL else Shelf(objects, len(objects))


def with_object(shelf: Mapping[str, Object], name: str, obj: Object) -> Mapping[str, Object]:
    """Return `shelf` with one more object, or another one of that name."""
    if isinstance(shelf, Shelf):
        return shelf.changed(name, obj)
    return shelf_of({**shelf, name: obj})


def without_object(shelf: Mapping[str, Object], name: str) -> Mapping[str, Object]:
    """Return `shelf` without an object that it has."""
    if not isinstance(shelf, Shelf):
        return {known: stored for known, stored in shelf.items() if known != name}
    rest = shelf.changed(name, None)
    return rest if len(rest) else {}
