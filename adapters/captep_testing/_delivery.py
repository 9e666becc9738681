"""One write on its way to the server, with or without a fault, and what is wrong with what it did there.

- P2a: a write decided on a fresh view, undisturbed, is accepted and changes something.
- P8: what a write hits is the incarnation that it was decided for.
- P9: a write changes nothing but what is declared to be owned.
- P13: what always holds holds of every write.
- P14: `lastTransitionTime` changes if, and only if, the status of its condition does; `observedGeneration` is no later than the object
  and never goes back.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from attrs import frozen

from captep_core import Action, Create, RecordEvent, write_of
from captep_core._objects import rfc3339
from captep_core.ports import Answer
from captep_memory import Key, MemoryGateway, Object, World
from captep_testing._canonical import key_of_target
from captep_testing._changes import changed_keys, changed_paths
from captep_testing._faults import NO_FAULT, Fault
from captep_testing._kit import Kit
from captep_testing._report import Finding

__all__ = ["Delivery", "deliver", "touched", "uid_in"]

_RETRY_AFTER = timedelta(seconds=1)
_TOUCHED = "example.com/touched"


@frozen
class Delivery:
    """What came of a write: the world after it, the answer (None when nobody is left to be told), and the first thing that is wrong."""

    world: World
    answer: Answer | None
    finding: Finding | None = None


def uid_in(world: World, action: Action) -> str | None:
    """Return the uid of an action's target in a world, None when there is no such object."""
    obj = world.get(key_of_target(action))
    return None if obj is None else str(obj["metadata"]["uid"])


def deliver(
    kit: Kit,
    world: World,
    action: Action,
    planned: str | None,
    *,
    undisturbed: bool,
    fault: Fault = NO_FAULT,
) -> Delivery:
    """Send `action` to a world.

    Args:
        planned: the uid that its target had where it was decided.
        undisturbed: whether it was decided on a fresh view and nobody else has acted since.
    """
    if isinstance(action, RecordEvent):
        return Delivery(world, Answer(201, changed=True))
    if fault.touched:
        world = touched(world, key_of_target(action))
    answer, finding = Answer(504, changed=False), None
    for _ in range(fault.deliveries):
        before = world
        world, answer = _serve(world, action)
        finding = finding or _misdeed(kit, action, before, world, planned)
    if fault is NO_FAULT and undisturbed:
        finding = finding or _ineffective(action, answer)
    return Delivery(world, None if fault.crashes else _told(answer, fault), finding)


def _serve(world: World, action: Action) -> tuple[World, Answer]:
    gateway = MemoryGateway(world)
    answer = gateway.send(action)
    return gateway.world, answer


def _told(answer: Answer, fault: Fault) -> Answer:
    if fault.status is None:
        return answer
    return Answer(
        fault.status,
        changed=False,
        retry_after=_RETRY_AFTER if fault.status in (429, 503) else None,
    )


def touched(world: World, key: Key) -> World:
    """Return the world with an annotation of somebody else on an object, or without it if it was there: another resourceVersion."""
    stored = world.get(key)
    if stored is None:
        return world
    annotations: dict[str, str] = dict(stored["metadata"].get("annotations", {}))
    if annotations.pop(_TOUCHED, None) is None:
        annotations[_TOUCHED] = "true"
    metadata = {name: value for name, value in stored["metadata"].items() if name != "annotations"}
    return world.put(
        key,
        {**stored, "metadata": metadata | ({"annotations": annotations} if annotations else {})},
    )[0]


def _ineffective(action: Action, answer: Answer) -> Finding | None:
    if answer.changed:
        return None
    came = f"is answered with {answer.status}" if answer.is_refusal else "changes nothing"
    return Finding("P2a", f"{write_of(action)} was decided on a fresh view and {came}")


def _misdeed(
    kit: Kit, action: Action, before: World, after: World, planned: str | None
) -> Finding | None:
    if before.resource_version == after.resource_version:
        return None
    return next(_misdeeds(kit, action, before, after, planned), None)


def _misdeeds(
    kit: Kit, action: Action, before: World, after: World, planned: str | None
) -> Iterator[Finding]:
    write = write_of(action)
    if not isinstance(action, Create) and uid_in(before, action) != planned:
        yield Finding("P8", f"{write} hit another incarnation than the one that it was decided for")
    for key in changed_keys(before, after):
        yield from (
            Finding("P9", f"{write} {told}")
            for told in _trespasses(kit, key, before.get(key), after.get(key))
        )
        yield from (
            Finding("P14", f"{write}: {told}")
            for told in _untruths(before.get(key), after.get(key), rfc3339(after.now))
        )
    yield from (
        Finding("P13", f"{write} breaks: {name}")
        for name, holds in kit.always.items()
        if not holds(before, after)
    )


def _trespasses(kit: Kit, key: Key, before: Object | None, after: Object | None) -> Iterator[str]:
    if kit.owned is None:
        return
    owned = kit.owned.get(key.kind)
    if owned is None:
        yield f"touches a {key.kind}, of which nothing is owned"
    elif before is not None and after is not None:
        for path in changed_paths(before, after):
            if not any(path[: len(field)] == field for field in owned):
                yield f"changes {'.'.join(path)}, which is not owned"


def _untruths(before: Object | None, after: Object | None, now: str) -> Iterator[str]:
    old, new = _status(before), _status(after)
    seen, reported = old.get("observedGeneration"), new.get("observedGeneration")
    if after is not None and isinstance(reported, int):
        if reported > after["metadata"].get("generation", reported):
            yield "observedGeneration is later than the object"
        if isinstance(seen, int) and reported < seen:
            yield "observedGeneration goes back"
    stood = _conditions(old)
    for name, condition in _conditions(new).items():
        if name in stood and not _is_timed(stood[name], condition, now):
            yield f"lastTransitionTime of {name} does not go with its status"


def _is_timed(before: Mapping[str, Any], after: Mapping[str, Any], now: str) -> bool:
    """Whether the time of a condition moved with its status; what changes twice in one second keeps its time."""
    moved = before.get("lastTransitionTime") != after.get("lastTransitionTime")
    if before.get("status") == after.get("status"):
        return not moved
    return moved or after.get("lastTransitionTime") == now


def _status(obj: Object | None) -> Mapping[str, Any]:
    status = (obj or {}).get("status")
    return status if isinstance(status, dict) else {}


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    held = status.get("conditions")
    return (
        {item["type"]: item for item in held if isinstance(item, dict) and "type" in item}
        if isinstance(held, list)
        else {}
    )
