"""The delivery of one write, with or without a fault, and the judgement of its effect.

- P2a: the server accepts a write decided on a fresh, undisturbed view, and the write changes
  something.
- P8: a write hits the incarnation for which it was decided.
- P9: a write changes declared fields only.
- P9a, P9b: a write on a fresh view leaves a dependent alone that another controls, and changes
  nothing but finalizers of a dependent that is being deleted. P9c: no write removes a foreign mark.
- P13: every predicate of `Kit.always` holds of every write.
- P14: `lastTransitionTime` changes if and only if the status of its condition does;
  `observedGeneration` never exceeds the object's generation and never decreases.
- P14a: a status that reports Ready for the current generation is true.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from attrs import frozen

from captep_core._actions import JSON, Action, Create, Delete, RecordEvent, write_of
from captep_core._objects import rfc3339
from captep_core._request import RawResponse, answer_of, reason_of
from captep_core.ports import Answer
from captep_memory import Key, MemoryGateway, Object, World, group_of
from captep_testing._canonical import key_of_target
from captep_testing._changes import changed_keys, changed_paths
from captep_testing._faults import NO_FAULT, WriteFault
from captep_testing._hostile import intrusions, lost_marks
from captep_testing._interned import Interned
from captep_testing._kit import Kit
from captep_testing._report import Violation, kept

__all__ = [
    "TOUCHED",
    "Delivery",
    "deliver",
    "is_orphan",
    "is_ready",
    "judge",
    "lagging",
    "touched",
    "uid_in",
    "untruths",
]

# The API server's own default for 429, in seconds.
_RETRY_AFTER = "1"
_NO_ANSWER = 504
TOUCHED = "example.com/touched"
_PROPAGATION = frozenset({"foregroundDeletion", "orphan"})


Serve: TypeAlias = Callable[[World, Action], tuple[World, Answer]]


@frozen
class Delivery:
    """The outcome of a write.

    The world after it, the answer (None when the sender died), the first violation.
    """

    world: World
    answer: Answer | None
    violation: Violation | None = None


def uid_in(world: World, action: Action) -> str | None:
    """Return the uid of an action's target in a world, None when the world has no such object."""
    obj = world.get(key_of_target(action))
    return None if obj is None else str(obj["metadata"]["uid"])


def deliver(
    kit: Kit,
    world: World,
    action: Action,
    planned: str | None,
    *,
    undisturbed: bool,
    fault: WriteFault = NO_FAULT,
    serve: Serve | None = None,
    decided: datetime | None = None,
) -> Delivery:
    """Send `action` to a world.

    Args:
        kit: the operator whose write this is.
        world: the server.
        action: the write. An Event changes nothing here.
        planned: the uid of the target in the view on which the loop decided.
        undisturbed: whether that view was fresh and no other actor has acted since.
        fault: how the write fails.
        serve: the server, by default the in-memory one.
        decided: when the loop decided, by default now.
    """
    if isinstance(action, RecordEvent):
        return Delivery(world, Answer(201, changed=True))
    if fault.touched:
        world = touched(world, key_of_target(action))
    answer = Answer(504, changed=False)
    violation: Violation | None = None
    for number in range(fault.deliveries):
        # The first delivery outdates the view: a second one may meet what it began to delete.
        fresh = undisturbed and not number
        world, answer, found = _delivered(
            kit, world, action, planned, fresh, serve, decided or world.now
        )
        violation = violation or found
    if fault is NO_FAULT and undisturbed:
        violation = violation or next(kept(kit.waive, _ineffective(action, answer)), None)
    seen = None if fault.crashes else _as_seen(world, action, answer, fault)
    return Delivery(world, seen, violation)


def _delivered(
    kit: Kit,
    before: World,
    action: Action,
    planned: str | None,
    undisturbed: bool,  # noqa: FBT001 - private
    serve: Serve | None,
    decided: datetime,
) -> tuple[World, Answer, Violation | None]:
    """Return the outcome of one delivery: the world, the answer, the first violation.

    A search delivers a write to a world once, whatever its sender sees of it.
    """
    known: dict[object, tuple[World, Answer, Violation | None]] = {}
    place = None
    if serve is not None and isinstance(before, Interned):
        known = before.table.delivered
        place = (id(action), before.number, planned, undisturbed, decided)
    if place not in known:
        world, answer = (serve or _serve)(before, action)
        found = _judge(kit, action, before, world, planned, decided, undisturbed=undisturbed)
        known[place] = world, answer, next(kept(kit.waive, found), None)
    return known[place]


def _serve(world: World, action: Action) -> tuple[World, Answer]:
    gateway = MemoryGateway(world)
    answer = gateway.send(action)
    return gateway.world, answer


def _as_seen(world: World, action: Action, answer: Answer, fault: WriteFault) -> Answer:
    """Return the answer as the sender sees it.

    The text of a refusal changes with the time, as those of webhooks do (P16c). An answer that did
    not come has none.
    """
    if fault.status is None:
        return answer
    headers = {"retry-after": _RETRY_AFTER} if fault.status in (429, 503) else {}
    status: dict[str, JSON] | None = None
    if fault.status != _NO_ANSWER:
        message = f"refused by a webhook at {rfc3339(world.now, 'milliseconds')}"
        status = {
            "kind": "Status",
            "reason": reason_of(RawResponse(fault.status)),
            "message": message,
        }
    return answer_of(RawResponse(fault.status, headers, status), action.target, changed=False)


def touched(world: World, key: Key) -> World:
    """Return the world after another actor set its annotation on an object, or removed it.

    A new resourceVersion.
    """
    stored = world.get(key)
    if stored is None:
        return world
    metadata = dict(stored["metadata"])
    annotations: dict[str, str] = dict(metadata.pop("annotations", {}))
    if annotations.pop(TOUCHED, None) is None:
        annotations[TOUCHED] = "true"
    if annotations:
        metadata["annotations"] = annotations
    return world.put(key, {**stored, "metadata": metadata})[0]


def _ineffective(action: Action, answer: Answer) -> Iterator[Violation]:
    if not answer.changed:
        outcome = f"is answered with {answer.status}" if answer.is_refusal else "changes nothing"
        yield Violation("P2a", f"{write_of(action)} was decided on a fresh view and {outcome}")


def judge(kit: Kit, action: Action, before: World, after: World) -> Iterator[Violation]:
    """Yield the violations of a write that a server has applied, decided on a fresh view."""
    return _judge(kit, action, before, after, uid_in(before, action), after.now, undisturbed=True)


def _judge(
    kit: Kit,
    action: Action,
    before: World,
    after: World,
    planned: str | None,
    decided: datetime,
    *,
    undisturbed: bool,
) -> Iterator[Violation]:
    # A stale view may not show the other controller yet, and preconditions cannot express it.
    if undisturbed:
        yield from intrusions(kit, action, before)
    if before.resource_version != after.resource_version:
        yield from _misdeeds(kit, action, before, after, planned, decided)
        if undisturbed and action.target in kit.keys:
            yield from _premature(kit, action, before, after)


def is_orphan(kit: Kit, action: Action, world: World) -> bool:
    """Whether a write creates an object that nobody owns while its primaries go, or are gone.

    A create has no precondition: no loop keeps such a request, in flight since its primary was
    there, from arriving after its last look. An ownerReference lets the garbage collector remove
    the object.
    """
    if not isinstance(action, Create):
        return False
    metadata = action.body.get("metadata")
    if isinstance(metadata, dict) and metadata.get("ownerReferences"):
        return False
    places = (Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name) for ref in kit.keys)
    found = [world.get(place) for place in places]
    return all(obj is None or "deletionTimestamp" in obj["metadata"] for obj in found)


def _premature(kit: Kit, action: Action, before: World, after: World) -> Iterator[Violation]:
    """Judge P14a for a write that changes the status of a primary."""
    key = key_of_target(action)
    old = _status(before.get(key))
    obj = after.get(key)
    new = _status(obj)
    if obj is None or old == new or "deletionTimestamp" in obj["metadata"] or not is_ready(new):
        return
    generation = obj["metadata"].get("generation")
    reported = new.get("observedGeneration", generation)
    holds = kit.ready or kit.matches
    if reported == generation and not holds(after):
        yield Violation("P14a", f"{write_of(action)} reports Ready before the world is right")


def is_ready(status: Mapping[str, Any]) -> bool:
    """Whether a status reports Ready: the condition, the field `ready`, or the phase."""
    condition = _conditions(status).get("Ready")
    if condition is not None:
        return condition.get("status") == "True"
    return status.get("ready") is True or status.get("phase") in ("Ready", "Running")


def _misdeeds(
    kit: Kit,
    action: Action,
    before: World,
    after: World,
    planned: str | None,
    decided: datetime,
) -> Iterator[Violation]:
    write = write_of(action)
    if not isinstance(action, Create) and uid_in(before, action) != planned:
        yield Violation("P8", f"{write} hits another incarnation than the one it was decided for")
    for key in changed_keys(before, after):
        old = before.get(key)
        if isinstance(action, Delete):
            old = _with_propagation(old, after.get(key))
        for trespass in _trespasses(kit, key, old, after.get(key)):
            yield Violation("P9", f"{write} {trespass}")
        for mark in lost_marks(before.get(key), after.get(key)):
            yield Violation("P9c", f"{write} removes the foreign {mark} of {key.kind} {key.name}")
        for untruth in untruths(before.get(key), after.get(key), rfc3339(decided)):
            yield Violation("P14", f"{write}: {untruth}")
    for name, holds in kit.always.items():
        if not holds(before, after):
            yield Violation("P13", f"{write} breaks: {name}")


def _with_propagation(before: Object | None, after: Object | None) -> Object | None:
    """Return an object with the finalizers by which the server propagates its deletion.

    The server adds them itself: `orphan` to each Job, for example.
    """
    if before is None or after is None:
        return before
    held = list(before["metadata"].get("finalizers") or ())
    given = [name for name in after["metadata"].get("finalizers") or () if name in _PROPAGATION]
    added = [name for name in given if name not in held]
    if not added:
        return before
    return {**before, "metadata": {**before["metadata"], "finalizers": [*held, *added]}}


def _trespasses(kit: Kit, key: Key, before: Object | None, after: Object | None) -> Iterator[str]:
    if kit.owned is None:
        return
    owned = kit.owned.get(key.kind)
    if owned is None:
        yield f"touches a {key.kind}, and the kit declares no field of that kind as owned"
    elif before is not None and after is not None:
        for path in changed_paths(before, after):
            if not any(path[: len(field)] == field for field in owned):
                yield f"changes {'.'.join(path)}, which is not owned"


def untruths(before: Object | None, after: Object | None, now: str) -> Iterator[str]:
    """Say what a write made untrue in a status: generations, and times of conditions (P14)."""
    old = _status(before)
    new = _status(after)
    reported = new.get("observedGeneration")
    if after is not None and isinstance(reported, int):
        seen = old.get("observedGeneration")
        if reported > after["metadata"].get("generation", reported):
            yield "observedGeneration exceeds the object's generation"
        if isinstance(seen, int) and reported < seen:
            yield "observedGeneration decreases"
    known = _conditions(old)
    for name, condition in _conditions(new).items():
        if name in known and not _is_timed(known[name], condition, now):
            yield f"lastTransitionTime of {name} does not change with its status"


def _is_timed(before: Mapping[str, Any], after: Mapping[str, Any], now: str) -> bool:
    """Whether the time of a condition moved with its status.

    Times are whole seconds: a condition that changes twice in one second keeps its time.
    """
    moved = before.get("lastTransitionTime") != after.get("lastTransitionTime")
    if before.get("status") == after.get("status"):
        return not moved
    return moved or after.get("lastTransitionTime") == now


def lagging(obj: Object | None) -> Iterator[str]:
    """Name the parts of a status at rest that have not observed the generation (P14)."""
    if obj is None or "deletionTimestamp" in obj["metadata"]:
        return
    generation = obj["metadata"].get("generation")
    status = _status(obj)
    places = {"status": status, **_conditions(status)}
    for name, place in places.items():
        observed = place.get("observedGeneration")
        if isinstance(observed, int) and isinstance(generation, int) and observed < generation:
            yield f"observedGeneration of {name} is {observed} at rest, the generation {generation}"


def _status(obj: Object | None) -> Mapping[str, Any]:
    status = (obj or {}).get("status")
    return status if isinstance(status, dict) else {}


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    held = status.get("conditions")
    if not isinstance(held, list):
        return {}
    return {item["type"]: item for item in held if isinstance(item, dict) and "type" in item}
