"""The objects of one kind and namespace by name, as a value that a write copies a small part of.

Up to 64 objects are one dictionary, in the order of their creation. More of them are a tree of such
dictionaries, by the bits of a checksum of the name: a write copies one dictionary and one node of
16 at each level, however many objects there are. Copying a dictionary of 1,000 objects takes as
long as all the rest of a status patch, since it touches each of them. The checksum is no hash of
Python's, so that the order is the same in every process.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from captep_memory._json import Object

__all__ = ["Shelf", "with_object", "without_object"]

_Node: TypeAlias = "dict[str, Object] | tuple[_Node, ...]"
_LEAF = 64
_BITS = 4
_WAYS = 1 << _BITS
# The checksum has 32 bits: below this depth a dictionary takes any number of objects.
_DEEPEST = 32 // _BITS


class Shelf(Mapping[str, Object]):
    """A large immutable mapping; `with_object` and `without_object` make the next one."""

    __slots__ = ("_root", "_size")

    def __init__(self, root: "_Node", size: int) -> None:
        self._root, self._size = root, size

    def __getitem__(self, name: str) -> Object:
        leaf: _Node = self._root
        digest = _digest(name)
        while isinstance(leaf, tuple):
            leaf = leaf[digest % _WAYS]
            digest >>= _BITS
        return leaf[name]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as Mapping has it
        """Return an object, or the default: `Mapping.get` would raise and catch an error."""
        leaf: _Node = self._root
        digest = _digest(name)
        while isinstance(leaf, tuple):
            leaf = leaf[digest % _WAYS]
            digest >>= _BITS
        return leaf.get(name, default)

    def __iter__(self) -> Iterator[str]:
        for leaf in _leaves(self._root):
            yield from leaf

    def __len__(self) -> int:
        return self._size

    def put(self, name: str, obj: Object) -> "Shelf":
        """Return the mapping with one more object, or another one of that name."""
        size = self._size + (name not in self)
        return Shelf(_put(self._root, _digest(name), 0, name, obj), size)

    def drop(self, name: str) -> "Shelf":
        """Return the mapping without an object that it has."""
        return Shelf(_drop(self._root, _digest(name), name), self._size - 1)


def with_object(shelf: Mapping[str, Object], name: str, obj: Object) -> Mapping[str, Object]:
    """Return `shelf` with one more object, or another one of that name."""
    if isinstance(shelf, Shelf):
        return shelf.put(name, obj)
    if len(shelf) < _LEAF:
        return {**shelf, name: obj}
    return Shelf(_tree(dict(shelf), 0), len(shelf)).put(name, obj)


def without_object(shelf: Mapping[str, Object], name: str) -> Mapping[str, Object]:
    """Return `shelf` without an object that it has."""
    if not isinstance(shelf, Shelf):
        return {known: stored for known, stored in shelf.items() if known != name}
    rest = shelf.drop(name)
    return rest if len(rest) else {}


def _digest(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


def _leaves(node: _Node) -> Iterator[dict[str, Object]]:
    if isinstance(node, dict):
        yield node
        return
    for child in node:
        yield from _leaves(child)


def _put(node: _Node, digest: int, depth: int, name: str, obj: Object) -> _Node:
    if isinstance(node, dict):
        if len(node) < _LEAF or depth >= _DEEPEST or name in node:
            return {**node, name: obj}
        node = _split(node, depth)
    way = digest % _WAYS
    child = _put(node[way], digest >> _BITS, depth + 1, name, obj)
    return (*node[:way], child, *node[way + 1 :])


def _tree(leaf: dict[str, Object], depth: int) -> _Node:
    if len(leaf) <= _LEAF or depth >= _DEEPEST:
        return leaf
    return tuple(_tree(child, depth + 1) for child in _split(leaf, depth))


def _split(leaf: Mapping[str, Object], depth: int) -> tuple[dict[str, Object], ...]:
    children: tuple[dict[str, Object], ...] = tuple({} for _ in range(_WAYS))
    for name, obj in leaf.items():
        children[(_digest(name) >> (depth * _BITS)) % _WAYS][name] = obj
    return children


def _drop(node: _Node, digest: int, name: str) -> _Node:
    if isinstance(node, dict):
        return {known: obj for known, obj in node.items() if known != name}
    way = digest % _WAYS
    return (*node[:way], _drop(node[way], digest >> _BITS, name), *node[way + 1 :])
