"""Equality of states, up to the uids and resourceVersions that the server invents.

Rules of this module:

1. Controllers compare uids for equality only. Each uid becomes the position of its first
   occurrence.
2. Controllers compare a resourceVersion only with others of the same object. Each becomes its rank
   among those that the state mentions.
3. Everything else is compared as JSON text, so that equal names mean equal states and no hash can
   collide. P-sym, which `check` tests, says that the function under test sees no more than this.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from attrs import frozen

from captep_core._actions import Action, write_of
from captep_memory import Key, Object, World, group_of

__all__ = ["Canonical", "Name", "entries", "key_of_target"]

Name: TypeAlias = tuple[object, ...]
# The form in which captep_memory writes uids: version 4, variant a.
_UID = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12})")


@frozen
class _Facts:
    """One object or action as compared.

    Its text without uids (as a number), its uids in order, its resourceVersion.
    """

    skeleton: int
    uids: tuple[str, ...]
    version: str | None


def entries(world: World) -> list[tuple[Key, Object]]:
    """List the objects of a world with their keys, sorted."""
    found = [
        (Key(*place, name), obj)
        for place, shelf in world.shelves.items()
        for name, obj in shelf.items()
    ]
    return sorted(found, key=lambda entry: _order(entry[0]))


def _order(key: Key) -> tuple[str, str, str, str]:
    return (key.api_group, key.kind, key.namespace or "", key.name)


def key_of_target(action: Action) -> Key:
    """Return the key under which the server stores the target of an action."""
    ref = action.target
    return Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)


class Canonical:
    """Names of states. Objects and actions are immutable, so the class computes the facts of each
    once.
    """

    def __init__(self) -> None:
        self._skeletons: dict[str, int] = {}
        self._objects: dict[int, tuple[Object, _Facts]] = {}
        self._actions: dict[int, tuple[Action, _Facts]] = {}

    def name(
        self, worlds: Iterable[World], actions: Iterable[Action] = (), rest: Name = ()
    ) -> Name:
        """Name a state: its worlds (the present one first), its writes in flight, and everything
        else that distinguishes it.
        """
        seen = [(key, self._object(obj)) for world in worlds for key, obj in _divided(world)]
        in_flight = [(key_of_target(action), self._action(action)) for action in actions]
        ranks = _Ranks([*seen, *in_flight])
        return (*(ranks.entry(key, facts) for key, facts in (*seen, *in_flight)), rest)

    def _object(self, obj: Object | None) -> _Facts | None:
        if obj is None:
            return None
        known = self._objects.get(id(obj))
        if known is None:
            metadata = dict(obj["metadata"])
            version = metadata.pop("resourceVersion", None)
            facts = self._facts({**obj, "metadata": metadata}, version)
            known = self._objects[id(obj)] = (obj, facts)
        return known[1]

    def _action(self, action: Action) -> _Facts:
        known = self._actions.get(id(action))
        if known is None:
            preconditions = action.preconditions
            about = [str(write_of(action)), action.body, preconditions.uid]
            facts = self._facts(about, preconditions.resource_version)
            known = self._actions[id(action)] = (action, facts)
        return known[1]

    def _facts(self, content: object, version: str | None) -> _Facts:
        parts = _UID.split(json.dumps(content, sort_keys=True, default=dict))
        skeleton = self._skeletons.setdefault("\0".join(parts[::2]), len(self._skeletons))
        return _Facts(skeleton, tuple(parts[1::2]), version)


def _divided(world: World) -> Iterator[tuple[Key | None, Object | None]]:
    """Yield the entries of a world, and a mark at its end."""
    yield from entries(world)
    yield None, None


class _Ranks:
    """The numbers that replace the uids and resourceVersions of one state."""

    def __init__(self, entries: list[tuple[Key | None, _Facts | None]]) -> None:
        self._uids: dict[str, int] = {}
        self._versions: dict[Key | None, list[str]] = {}
        for key, facts in entries:
            if facts is not None and facts.version is not None:
                mentioned = self._versions.setdefault(key, [])
                if facts.version not in mentioned:
                    mentioned.append(facts.version)
        for mentioned in self._versions.values():
            mentioned.sort(key=lambda version: (len(version), version))

    def entry(self, key: Key | None, facts: _Facts | None) -> object:
        if facts is None:
            return None
        uids = tuple(self._uids.setdefault(uid, len(self._uids)) for uid in facts.uids)
        rank = None if facts.version is None else self._versions[key].index(facts.version)
        return (key, facts.skeleton, uids, rank)
