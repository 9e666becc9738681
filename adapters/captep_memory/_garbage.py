"""The garbage collector, one step at a time (rows G1 to G4).

It may run at any moment, so each collection is a transition of its own.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from attrs import frozen

from captep_memory._delete import FOREGROUND, ORPHAN, held_by, release
from captep_memory._json import Object, without
from captep_memory._kinds import scope_of
from captep_memory._metadata import finalizers, is_deleting
from captep_memory._request import Key, group_of, key_of
from captep_memory._world import World

__all__ = ["KnownOwner", "OwnerRef", "collect", "collect_all", "departed", "garbage"]

KnownOwner: TypeAlias = Callable[["OwnerRef"], bool]


@frozen
class OwnerRef:
    """An owner as a dependent names it; `namespace` is the dependent's."""

    api_version: str
    kind: str
    name: str
    uid: str
    namespace: str | None
    blocks: bool = False


def garbage(world: World, *, known_owner: KnownOwner | None = None) -> tuple[Key, ...]:
    """Return the objects that the collector could act on now, sorted.

    `known_owner` decides whether an owner that is not in the world exists elsewhere. Without it
    every absent owner is gone; `departed(world)` is the rule for worlds that are part of a cluster.
    """
    keys = (key_of(obj) for obj in world.objects())
    return tuple(key for key in keys if _step(world, key, known_owner) is not None)


def collect(world: World, key: Key, *, known_owner: KnownOwner | None = None) -> World:
    """Collect one object: delete it, free it of absent owners, or finish its own deletion."""
    step = _step(world, key, known_owner)
    return world if step is None else step()


def collect_all(world: World, *, known_owner: KnownOwner | None = None) -> World:
    """Collect until the collector has nothing to do."""
    while keys := garbage(world, known_owner=known_owner):
        for key in keys:
            world = collect(world, key, known_owner=known_owner)
    return world


def departed(world: World) -> KnownOwner:
    """Return the rule of a partial world: an owner exists until the run has seen it go away."""
    return lambda owner: owner.uid not in world.departed


_Step: TypeAlias = Callable[[], World]


def _step(world: World, key: Key, known_owner: KnownOwner | None) -> _Step | None:
    """Return the next collection of an object, None when the collector leaves it alone."""
    obj = world.get(key)
    if obj is None:
        return None
    if is_deleting(obj):
        return _finish(world, key, obj)
    owners = list(_owners(obj, key))
    if not owners or any(_is_unresolvable(world, owner) for owner in owners):
        return None
    found = [(owner, _find(world, owner)) for owner in owners]
    absent = {
        owner.uid
        for owner, holder in found
        if holder is None and not (known_owner and known_owner(owner))
    }
    waiting = {owner.uid for owner, holder in found if holder is not None and _waits(holder)}
    if len(absent | waiting) < len({owner.uid for owner in owners}):
        gone = absent | waiting
        return (lambda: _without_owners(world, key, obj, gone)) if gone else None
    policy = "Foreground" if waiting and _dependents(world, obj) else _own_policy(obj)
    return lambda: release(world, key, held_by({"propagationPolicy": policy}, finalizers(obj)))[0]


def _finish(world: World, key: Key, obj: Object) -> _Step | None:
    """Row G3: foreground waits for blocking dependents, orphaning strips their references."""
    held = finalizers(obj)
    dependents = _dependents(world, obj)
    uid = obj["metadata"]["uid"]
    if ORPHAN in held:
        if dependents:
            first = dependents[0]
            return lambda: _without_owners(world, key_of(first), first, {uid})
        return lambda: _without_finalizer(world, key, obj, ORPHAN)
    if FOREGROUND in held and not any(
        owner.blocks and owner.uid == uid
        for item in dependents
        for owner in _owners(item, key_of(item))
    ):
        return lambda: _without_finalizer(world, key, obj, FOREGROUND)
    return None


def _owners(obj: Object, key: Key) -> Iterator[OwnerRef]:
    for ref in obj["metadata"].get("ownerReferences", ()):
        yield OwnerRef(
            ref["apiVersion"],
            ref["kind"],
            ref["name"],
            ref["uid"],
            key.namespace,
            ref.get("blockOwnerDeletion") is True,
        )


def _find(world: World, owner: OwnerRef) -> Object | None:
    """Row G1: an owner has that name *and uid*, in the dependent's namespace or cluster-scoped."""
    for namespace in {owner.namespace, None}:
        holder = world.get(Key(group_of(owner.api_version), owner.kind, namespace, owner.name))
        if holder is not None and holder["metadata"]["uid"] == owner.uid:
            return holder
    return None


def _is_unresolvable(world: World, owner: OwnerRef) -> bool:
    """A cluster-scoped object cannot have a namespaced owner: the collector leaves it alone."""
    if owner.namespace is not None:
        return False
    group = group_of(owner.api_version)
    custom = world.catalog.custom.get((group, owner.kind))
    scopes = (
        {version.scope for version in custom.versions.values()}
        if custom
        else {world.catalog.scopes.get((group, owner.kind))}
    )
    return "Namespaced" in scopes or (
        scopes == {None} and scope_of(group, owner.kind) == "Namespaced"
    )


def _waits(holder: Object) -> bool:
    return is_deleting(holder) and FOREGROUND in finalizers(holder)


def _own_policy(obj: Object) -> str:
    held = finalizers(obj)
    return "Orphan" if ORPHAN in held else "Foreground" if FOREGROUND in held else "Background"


def _dependents(world: World, owner: Object) -> list[Object]:
    uid = owner["metadata"]["uid"]
    return [
        obj
        for obj in world.objects()
        if any(ref["uid"] == uid for ref in obj["metadata"].get("ownerReferences", ()))
    ]


def _without_owners(world: World, key: Key, obj: Object, uids: set[str]) -> World:
    """Row G2: a solid owner keeps the object; the references to the others go."""
    kept = [ref for ref in obj["metadata"]["ownerReferences"] if ref["uid"] not in uids]
    metadata = without(obj["metadata"], "ownerReferences") | (
        {"ownerReferences": kept} if kept else {}
    )
    return world.put(key, {**obj, "metadata": metadata})[0]


def _without_finalizer(world: World, key: Key, obj: Object, name: str) -> World:
    kept = [held for held in finalizers(obj) if held != name]
    if not kept:
        return world.remove(key)
    return world.put(key, {**obj, "metadata": {**obj["metadata"], "finalizers": kept}})[0]
