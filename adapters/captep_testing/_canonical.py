"""Equality of states, up to the uids and resourceVersions that the server invents.

Rules of this module:

1. Controllers compare uids for equality only. Each uid becomes the position of its first
   occurrence.
2. Controllers compare a resourceVersion only with others of the same object. Each becomes its rank
   among those that the state mentions.
3. Everything else is compared by the digest of its JSON text, so that names are equal in every
   process. P-sym, which `check` tests, says that the function under test sees no more than this.
   Ten million states share a digest of 128 bits by accident once in 10^24 searches.
4. The outline of a world is computed once, and a state adds only what is not in it: its older
   worlds and its writes in flight.
"""

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TypeAlias

from attrs import frozen

from captep_core._actions import Action, write_of
from captep_memory import Key, Object, World, group_of

__all__ = [
    "Canonical",
    "Facts",
    "Name",
    "Outline",
    "digest",
    "entries",
    "facts_of",
    "key_of_target",
    "outlined",
]

Name: TypeAlias = tuple[object, ...]
# The form in which captep_memory writes uids: version 4, variant a.
_UID = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12})")


@frozen
class Facts:
    """One object or action as compared.

    The digest of its text without uids, its uids in order, its resourceVersion.
    """

    skeleton: bytes
    uids: tuple[str, ...]
    version: str | None


@frozen
class Outline:
    """One world as compared: its entries and the pattern of their uids, as a digest.

    `numbers`: the position of each uid. `versions`: the resourceVersion of each object.
    """

    digest: bytes
    shape: bytes
    uids: tuple[str, ...]
    numbers: Mapping[str, int]
    versions: Mapping[Key, str | None]


def digest(text: str) -> bytes:
    """Return the digest that stands for a text."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


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


def facts_of(obj: Object) -> Facts:
    """Return the facts of an object."""
    metadata = dict(obj["metadata"])
    version = metadata.pop("resourceVersion", None)
    return _facts({**obj, "metadata": metadata}, version)


def _facts(content: object, version: str | None) -> Facts:
    parts = _UID.split(json.dumps(content, sort_keys=True, default=dict))
    return Facts(digest("\0".join(parts[::2])), tuple(parts[1::2]), version)


def outlined(found: Iterable[tuple[Key, Facts]]) -> Outline:
    """Return the outline of a world from the facts of its objects."""
    seen = sorted(found, key=lambda entry: _order(entry[0]))
    uids = tuple(uid for _, facts in seen for uid in facts.uids)
    numbers: dict[str, int] = {}
    pattern = [numbers.setdefault(uid, len(numbers)) for uid in uids]
    text = "".join(
        f"{_order(key)}{key.namespace is None}{facts.skeleton.hex()}{facts.version is None}\n"
        for key, facts in seen
    )
    versions = {key: facts.version for key, facts in seen}
    return Outline(digest(f"{text}{pattern}"), digest(text), uids, numbers, versions)


class Canonical:
    """Names of states. Worlds, objects and actions are immutable, so the class computes the facts
    of each once.
    """

    def __init__(self) -> None:
        self._objects: dict[int, tuple[Object, Facts]] = {}
        self._actions: dict[int, tuple[Action, Key, Facts]] = {}
        self._outlines: dict[int, tuple[World, Outline]] = {}

    def name(
        self, worlds: Iterable[World], actions: Iterable[Action] = (), rest: Name = ()
    ) -> Name:
        """Name a state: its worlds (the present one first), its writes in flight, and everything
        else that distinguishes it.
        """
        first, *older = map(self._outline, worlds)
        in_flight = [self._action(action) for action in actions]
        if not older and not in_flight:
            return (first.digest, rest)
        numbers = first.numbers
        uids = [uid for each in older for uid in each.uids]
        uids += [uid for _, _, facts in in_flight for uid in facts.uids]
        fresh: dict[str, int] = {}
        pattern = tuple(
            numbers[uid] if uid in numbers else fresh.setdefault(uid, len(numbers) + len(fresh))
            for uid in uids
        )
        shapes = (*(each.shape for each in older), *(facts.skeleton for _, _, facts in in_flight))
        return (first.digest, shapes, pattern, _ranks([first, *older], in_flight), rest)

    def _outline(self, world: World) -> Outline:
        # A world of a search keeps its own outline, for all instances of this class.
        own: Outline | None = getattr(world, "outline", None)
        if own is not None:
            return own
        known = self._outlines.get(id(world))
        if known is None:
            seen = ((key, self._object(obj)) for key, obj in entries(world))
            known = self._outlines[id(world)] = (world, outlined(seen))
        return known[1]

    def _object(self, obj: Object) -> Facts:
        known = self._objects.get(id(obj))
        if known is None:
            known = self._objects[id(obj)] = (obj, facts_of(obj))
        return known[1]

    def _action(self, action: Action) -> tuple[Action, Key, Facts]:
        known = self._actions.get(id(action))
        if known is None:
            preconditions = action.preconditions
            version = preconditions.resource_version
            about = [str(write_of(action)), action.body, preconditions.uid, version is None]
            known = (action, key_of_target(action), _facts(about, version))
            self._actions[id(action)] = known
        return known


def _ranks(outlines: list[Outline], in_flight: list[tuple[Action, Key, Facts]]) -> Name:
    """Return the rank of each resourceVersion, for the objects of which a state mentions several.

    One of which it mentions a single resourceVersion has the rank 0 everywhere.
    """
    mentions: dict[Key, set[str]] = {}
    first = outlines[0].versions
    for other in outlines[1:]:
        for key, version in other.versions.items():
            if version is not None and version != first.get(key):
                mentions.setdefault(key, set()).add(version)
    for _, key, facts in in_flight:
        if facts.version is not None and facts.version != first.get(key):
            mentions.setdefault(key, set()).add(facts.version)
    found: list[object] = []
    for key in sorted(mentions, key=_order):
        present = [each.versions.get(key) for each in outlines]
        sent = [facts.version for _, place, facts in in_flight if place == key]
        known = {version for version in (*present, *sent) if version is not None}
        order = sorted(known, key=lambda version: (len(version), version))
        ranks = [None if each is None else order.index(each) for each in (*present, *sent)]
        found.append((_order(key), tuple(ranks)))
    return tuple(found)
