"""The delivery of one write, with or without a fault, and the judgement of its effect.

- P2a: the server accepts a write decided on a fresh, undisturbed view, and the write changes
  something.
- P8: a write hits the incarnation for which it was decided.
- P9: a write changes declared fields only.
- P13: every predicate of `Kit.always` holds of every write.
- P14: `lastTransitionTime` changes if and only if the status of its condition does;
  `observedGeneration` never exceeds the object's generation and never decreases.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from attrs import frozen

from captep_core._actions import Action, Create, RecordEvent, write_of
from captep_core._objects import rfc3339
from captep_core.ports import Answer
from captep_memory import Key, MemoryGateway, Object, World
from captep_testing._canonical import key_of_target
from captep_testing._changes import changed_keys, changed_paths
from captep_testing._faults import NO_FAULT, WriteFault
from captep_testing._kit import Kit
from captep_testing._report import Violation

__all__ = ["Delivery", "deliver", "touched", "uid_in"]

# The API server's own default for 429.
_RETRY_AFTER = timedelta(seconds=1)
_TOUCHED = "example.com/touched"


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
) -> Delivery:
    """Send `action` to a world.

    Args:
        kit: the operator whose write this is.
        world: the server.
        action: the write. An Event changes nothing here.
        planned: the uid of the target in the view on which the loop decided.
        undisturbed: whether that view was fresh and no other actor has acted since.
        fault: how the write fails.
    """
    if isinstance(action, RecordEvent):
        return Delivery(world, Answer(201, changed=True))
    if fault.touched:
        world = touched(world, key_of_target(action))
    answer = Answer(504, changed=False)
    violation: Violation | None = None
    for _ in range(fault.deliveries):
        before = world
        world, answer = _serve(world, action)
        violation = violation or _misdeed(kit, action, before, world, planned)
    if fault is NO_FAULT and undisturbed:
        violation = violation or _ineffective(action, answer)
    return Delivery(world, None if fault.crashes else _as_seen(answer, fault), violation)


def _serve(world: World, action: Action) -> tuple[World, Answer]:
    gateway = MemoryGateway(world)
    answer = gateway.send(action)
    return gateway.world, answer


def _as_seen(answer: Answer, fault: WriteFault) -> Answer:
    """Return the answer as the sender sees it."""
    if fault.status is None:
        return answer
    retry_after = _RETRY_AFTER if fault.status in (429, 503) else None
    return Answer(fault.status, changed=False, retry_after=retry_after)


def touched(world: World, key: Key) -> World:
    """Return the world after another actor set its annotation on an object, or removed it.

    A new resourceVersion.
    """
    stored = world.get(key)
    if stored is None:
        return world
    metadata = dict(stored["metadata"])
    annotations: dict[str, str] = dict(metadata.pop("annotations", {}))
    if annotations.pop(_TOUCHED, None) is None:
        annotations[_TOUCHED] = "true"
    if annotations:
        metadata["annotations"] = annotations
    return world.put(key, {**stored, "metadata": metadata})[0]


def _ineffective(action: Action, answer: Answer) -> Violation | None:
    if answer.changed:
        return None
    outcome = f"is answered with {answer.status}" if answer.is_refusal else "changes nothing"
    return Violation("P2a", f"{write_of(action)} was decided on a fresh view and {outcome}")


def _misdeed(
    kit: Kit, action: Action, before: World, after: World, planned: str | None
) -> Violation | None:
    if before.resource_version == after.resource_version:
        return None
    return next(_misdeeds(kit, action, before, after, planned), None)


def _misdeeds(
    kit: Kit, action: Action, before: World, after: World, planned: str | None
) -> Iterator[Violation]:
    write = write_of(action)
    if not isinstance(action, Create) and uid_in(before, action) != planned:
        yield Violation("P8", f"{write} hits another incarnation than the one it was decided for")
    for key in changed_keys(before, after):
        for trespass in _trespasses(kit, key, before.get(key), after.get(key)):
            yield Violation("P9", f"{write} {trespass}")
        for untruth in _untruths(before.get(key), after.get(key), rfc3339(after.now)):
            yield Violation("P14", f"{write}: {untruth}")
    for name, holds in kit.always.items():
        if not holds(before, after):
            yield Violation("P13", f"{write} breaks: {name}")


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


def _untruths(before: Object | None, after: Object | None, now: str) -> Iterator[str]:
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


def _status(obj: Object | None) -> Mapping[str, Any]:
    status = (obj or {}).get("status")
    return status if isinstance(status, dict) else {}


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    held = status.get("conditions")
    if not isinstance(held, list):
        return {}
    return {item["type"]: item for item in held if isinstance(item, dict) and "type" in item}
