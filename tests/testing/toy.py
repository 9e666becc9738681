"""A toy operator for the kit.

A Thing keeps two ConfigMaps in its colour and removes one before it goes. `keep` is correct; the
museum holds its broken relatives. Both ConfigMaps refer to the Thing as their owner, so that the
garbage collector removes a late create. The finalizer exists because of `LATCH`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from captep_core import (
    Absent,
    Action,
    Conflicted,
    Create,
    Decision,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    ReconcileState,
    Unreadable,
    write_of,
)
from captep_core.ports import Decide, Read
from captep_memory import Key, World, group_of, load
from captep_testing import Kit, moves

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ObjectRef("example.dev/v1", "Thing", "fleet", "a")
CHILD = ObjectRef("v1", "ConfigMap", "fleet", "a-config")
LATCH = ObjectRef("v1", "ConfigMap", "fleet", "a-latch")
FINALIZER = "example.dev/thing"
THING: dict[str, Any] = {
    "apiVersion": "example.dev/v1",
    "kind": "Thing",
    "metadata": {"name": "a", "namespace": "fleet"},
    "spec": {"colour": "green"},
}
SOON, LATER = timedelta(seconds=5), timedelta(seconds=30)


@frozen
class Verdict:
    """Why a Thing is where it is."""

    reason: str
    message: str = ""


def lock(found: Mapping[str, Any]) -> Preconditions:
    """This incarnation, in this version."""
    return Preconditions(found["metadata"]["uid"], found["metadata"]["resourceVersion"])


def this(found: Mapping[str, Any]) -> Preconditions:
    """This incarnation."""
    return Preconditions(found["metadata"]["uid"])


def colour(found: Mapping[str, Any], part: str = "data") -> Any:  # noqa: ANN401 - JSON
    """Return the colour of an object."""
    return (found.get(part) or {}).get("colour")


def owner(thing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reference to a Thing as the owner."""
    meta = thing["metadata"]
    return {
        "apiVersion": KEY.api_version,
        "kind": "Thing",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def obj(ref: ObjectRef, wanted: Any, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a ConfigMap with a colour."""
    meta = {"name": ref.name, "namespace": ref.namespace, **metadata}
    return {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "metadata": meta,
        "data": {"colour": wanted},
    }


def is_ours(thing: Mapping[str, Any], found: Any) -> bool:  # noqa: ANN401 - Observed
    """Whether an object exists and refers to this Thing, not to an earlier one of its name."""
    owners = found["metadata"].get("ownerReferences", []) if isinstance(found, dict) else []
    return thing["metadata"]["uid"] in [each["uid"] for each in owners]


def child(thing: Mapping[str, Any], ref: ObjectRef, found: Any) -> list[Action]:  # noqa: ANN401
    """Correct a ConfigMap.

    The Thing adopts an ownerless one and leaves one of an earlier Thing to the garbage collector.
    """
    if isinstance(found, Absent):
        return [
            Create(
                ref,
                obj(ref, colour(thing, "spec"), ownerReferences=[owner(thing)]),
                "it does not exist",
            )
        ]
    if isinstance(found, Unreadable) or "deletionTimestamp" in found["metadata"]:
        return []
    body: dict[str, Any] = (
        {"data": {"colour": colour(thing, "spec")}}
        if colour(found) != colour(thing, "spec")
        else {}
    )
    if not found["metadata"].get("ownerReferences"):
        return [
            Patch(
                ref,
                {"metadata": {"ownerReferences": [owner(thing)]}, **body},
                lock(found),
                "nobody owns it",
            )
        ]
    return (
        [Patch(ref, body, this(found), "its colour differs")]
        if body and is_ours(thing, found)
        else []
    )


def keep(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Keep a Thing in its colour."""
    thing, sibling, latch = read(key), read(CHILD), read(LATCH)
    if not isinstance(thing, dict):
        return Decision(
            (),
            None if isinstance(thing, Absent) else SOON,
            Verdict("Gone" if isinstance(thing, Absent) else "Unreadable"),
        )
    meta: Any = thing["metadata"]
    held = list(meta.get("finalizers", []))
    if "deletionTimestamp" in meta:
        return (
            concluded(leave(thing, latch), state, "Leaving")
            if FINALIZER in held
            else Decision((), None, Verdict("Left"))
        )
    actions: list[Action] = []
    if FINALIZER not in held:
        actions.append(
            Patch(
                KEY,
                {"metadata": {"finalizers": [*held, FINALIZER]}},
                lock(thing),
                "add the finalizer",
            )
        )
    actions += child(thing, CHILD, sibling) + child(thing, LATCH, latch)
    return concluded(actions or report(thing, sibling, latch), state, "Kept")


def leave(thing: Mapping[str, Any], latch: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """Delete the latch, then remove the finalizer."""
    if is_ours(thing, latch):
        return (
            [Delete(LATCH, this(latch), "the Thing is deleted")]
            if "deletionTimestamp" not in latch["metadata"]
            else []
        )
    if isinstance(latch, Unreadable):
        return []
    rest = [each for each in thing["metadata"]["finalizers"] if each != FINALIZER]
    return [
        Patch(KEY, {"metadata": {"finalizers": rest or None}}, lock(thing), "remove the finalizer")
    ]


def report(thing: Mapping[str, Any], *found: Any) -> list[Action]:  # noqa: ANN401 - Observed
    """Write the status, alone, from the observed objects."""
    if any(isinstance(each, Unreadable) for each in found):
        return []
    made = all(is_ours(thing, each) and colour(each) == colour(thing, "spec") for each in found)
    status = {"ready": made, "observedGeneration": thing["metadata"]["generation"]}
    return (
        [Patch(KEY, {"status": status}, lock(thing), "report", "status")]
        if thing.get("status") != status
        else []
    )


def concluded(actions: list[Action], state: ReconcileState, reason: str) -> Decision:
    """Report the refusals whose writes the Thing still wants."""
    wanted = {write_of(action) for action in actions}
    outstanding = tuple(refusal for refusal in state.refusals if refusal.write in wanted)
    if any(not isinstance(refusal, Conflicted) for refusal in outstanding):
        reason = "Refused"
    return Decision(tuple(actions), SOON if actions else LATER, Verdict(reason), outstanding)


def stored(world: World, ref: ObjectRef) -> dict[str, Any] | None:
    """Return a stored object, None when the server has none."""
    return world.get(Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name))


def matches(world: World) -> bool:
    """Whether a deleted Thing left nothing behind, and a living one has both ConfigMaps in its
    colour.
    """
    thing, made = stored(world, KEY), [stored(world, ref) for ref in (CHILD, LATCH)]
    if thing is None:
        return not any(each and each["metadata"].get("ownerReferences") for each in made)
    if "deletionTimestamp" in thing["metadata"]:
        return not is_held(thing)
    kept = all(
        is_ours(thing, each) and each and colour(each) == colour(thing, "spec") for each in made
    )
    return kept and bool(thing.get("status", {}).get("ready"))


def is_held(thing: Mapping[str, Any] | None) -> bool:
    """Whether our finalizer holds a Thing."""
    return thing is not None and FINALIZER in thing["metadata"].get("finalizers", [])


def made_under_the_finalizer(before: World, after: World) -> bool:
    """P10: without a finalizer no latch is created, unless the Thing is being deleted."""
    thing = stored(before, KEY)
    made = stored(before, LATCH) is None and stored(after, LATCH) is not None
    return not made or thing is None or "deletionTimestamp" in thing["metadata"] or is_held(thing)


def released_at_the_end(before: World, after: World) -> bool:
    """P10: the finalizer goes only after the latch."""
    thing = stored(before, KEY)
    return not (thing and is_held(thing) and not is_held(stored(after, KEY))) or not is_ours(
        thing, stored(before, LATCH)
    )


def toy_worlds() -> tuple[World, ...]:
    """Return three worlds: a new Thing, a complete one in another colour, one that is being
    deleted.
    """
    made = {
        **THING,
        "metadata": {
            **THING["metadata"],
            "uid": "uid-of-a",
            "finalizers": ["example.com/other", FINALIZER],
        },
    }
    made["status"] = {"ready": True, "observedGeneration": 1}
    blue = [obj(ref, "blue", ownerReferences=[owner(made)]) for ref in (CHILD, LATCH)]
    left = {
        **made,
        "metadata": {
            **made["metadata"],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": [FINALIZER],
        },
    }
    return load([THING], now=NOW), load([made, *blue], now=NOW), load([left, *blue], now=NOW)


def toy(decide: Decide = keep, **changes: Any) -> Kit:  # noqa: ANN401 - fields of Kit
    """Return the kit of the toy, with another function or other fields."""
    settings: dict[str, Any] = {
        "owned": {
            "Thing": (("metadata", "finalizers", FINALIZER), ("status",)),
            "ConfigMap": (("data", "colour"), ("metadata", "ownerReferences")),
        },
        "moves": {
            "user paints the Thing blue": moves.edit(KEY, {"spec": {"colour": "blue"}}),
            "user deletes the Thing": moves.delete(KEY),
            "user makes the Thing again": moves.create(THING),
            "Thing is another one": moves.recreate(KEY),
            "somebody deletes the child": moves.delete(CHILD),
            "somebody recreates the latch": moves.recreate(LATCH),
            "somebody labels the latch": moves.edit(LATCH, {"metadata": {"labels": {"team": "a"}}}),
        },
        "always": {"finalizer before latch": made_under_the_finalizer},
        "sometimes": {"the Thing is gone": lambda world: stored(world, KEY) is None},
        **changes,
    }
    return Kit(decide, (KEY,), toy_worlds(), matches, **settings)
