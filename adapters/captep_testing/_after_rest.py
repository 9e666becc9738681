"""What may still happen to a world at rest: a late write, a second delivery, a clock that jumps,
somebody who deletes or edits what the loop has made.

- P12: a request that counted as lost arrives once everything is at rest (F6).
- P23: a write arrives a second time, at rest, when other writes have followed it (F5).
- P1, P5a, P14: the clock goes back by an hour, or forward by a day, three times in a row, between
  two passes (F21).
- P1: an object that the loop has made is deleted, or one of the fields that the loop gave it gets
  another value, as far as the server accepts it (F14).

After each the loop comes to rest in a right world again.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from typing import Any, Final

from attrs import evolve

from captep_core._actions import Action, Create, write_of
from captep_memory import Key, NotModelledError, Object, Request, World, group_of, serve
from captep_testing._delivery import deliver
from captep_testing._drive import Healing, Run, Sent, Strike, drive
from captep_testing._faults import NO_FAULT, WriteFault
from captep_testing._kit import Kit
from captep_testing._memo import Memo
from captep_testing._report import TraceStep, Violation

__all__ = ["disturbed_at_rest"]

# A time server that corrects a clock, and a machine that was suspended for a night and more.
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# Timed steps, such as those of a rollout, need more than one look at a later time.
_DAYS: Final = 3
# A quantity: another one is larger.
_NUMBER: Final = re.compile(r"\d{1,9}(?=\D|$)")
_IDENTITY: Final = (
    ("apiVersion",),
    ("kind",),
    *(("metadata", name) for name in ("name", "namespace", "ownerReferences", "finalizers")),
)
_LOST: Final = WriteFault("lost request", status=504)


def disturbed_at_rest(
    kit: Kit, memo: Memo, healing: Healing, world: World, reference: Run
) -> Iterator[Run]:
    """Yield the runs after each disturbance of the rest to which `reference` came from `world`."""
    for place, sent in enumerate(reference.sent):
        if not sent.changed:
            continue
        yield _delivered(kit, memo, healing, reference, sent, "a second time")
        lost = drive(kit, world, strike=_lost(place), memo=memo, healing=healing)
        if lost.violation is None:
            yield _delivered(kit, memo, healing, lost, sent, "late")
    back = reference.world.at(reference.world.now - _HOUR)
    yield _onwards(kit, memo, healing, reference, back, f"the clock goes back by {_HOUR}", None)
    rest = reference
    for _ in range(_DAYS):
        on = rest.world.at(rest.world.now + _DAY)
        rest = _onwards(kit, memo, healing, rest, on, f"the clock goes on by {_DAY}", None)
        yield rest
        if rest.violation is not None:
            break
    for what, after in _drifts(kit, reference):
        # The author declared no such move: a request that the server does not model proves nothing.
        with suppress(NotModelledError):
            yield _onwards(kit, memo, healing, reference, after, what, None)


def _drifts(kit: Kit, rest: Run) -> Iterator[tuple[str, World]]:
    """Yield the worlds in which somebody deleted or edited one object that the loop has made."""
    bodies = {
        each.action.target: each.action.body
        for each in rest.sent
        if isinstance(each.action, Create) and each.changed
    }
    for ref, body in bodies.items():
        stored = rest.world.get(Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name))
        if stored is None or ref in kit.shared or "deletionTimestamp" in stored["metadata"]:
            continue
        place = ref.api_version, ref.kind, ref.namespace, ref.name
        requests = [("deletes", Request("delete", *place))]
        # Nothing is removed: neighbours and predicates of an author need not expect that.
        requests += [
            (f"edits {'.'.join(map(str, path))} of", Request("update", *place, body=edited))
            for path in _paths(body)
            if (edited := _edited(stored, path)) is not None
        ]
        for what, request in requests:
            after = _served(rest.world, request)
            if after is not None:
                yield f"somebody {what} {ref}", after


def _served(world: World, request: Request) -> World | None:
    """Return the world after a request, None when the server refuses it or has nothing to do."""
    try:
        after, answer = serve(world, request)
    except NotModelledError:
        return None
    changed = answer.ok and after.resource_version != world.resource_version
    return after if changed else None


def _paths(value: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:  # noqa: ANN401 - JSON
    """Yield the paths of the values that the loop gave an object, but for what identifies it."""
    items: Iterable[tuple[str | int, Any]] = ()
    match value:
        case dict():
            items = value.items()
        case list():
            items = enumerate(value)
        case _:
            yield path
    for name, item in items:
        is_entry = bool(path) and isinstance(path[-1], int)
        # An entry of a list with another name is another entry.
        if (*path, name) not in _IDENTITY and not (is_entry and name == "name"):
            yield from _paths(item, *path, name)


def _edited(obj: Object, path: tuple[str | int, ...]) -> Object | None:
    """Return an object with another value at a path, None where the server keeps none there."""
    edited = deepcopy(obj)
    place: Any = edited
    try:
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = _other(place[path[-1]])
    except (KeyError, IndexError, TypeError):
        return None
    return edited


def _other(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return another value of the same form."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str() if number := _NUMBER.match(value):
            return f"{int(number.group()) + 1}{value[number.end() :]}"
        case str():
            # A name stays a name, and a base64 text such a text.
            return value[:-1] + ("b" if value.endswith("a") else "a")
        case _:
            return value


def _lost(place: int) -> Strike:
    def strike(sent: int, _: Action) -> WriteFault:
        return _LOST if sent == place else NO_FAULT

    return strike


def _delivered(kit: Kit, memo: Memo, healing: Healing, rest: Run, sent: Sent, when: str) -> Run:
    """Deliver a write at rest, and go on."""
    what = f"{write_of(sent.action)} arrives {when}"
    done = deliver(kit, rest.world, sent.action, sent.planned, undisturbed=False, serve=memo.serve)
    return _onwards(kit, memo, healing, rest, done.world, what, done.violation)


def _onwards(
    kit: Kit,
    memo: Memo,
    healing: Healing,
    rest: Run,
    after: World,
    what: str,
    violation: Violation | None,
) -> Run:
    """Run to rest again after a disturbance of the rest."""
    step = TraceStep(what, rest.world, after)
    if violation is None:
        # A strike, though it strikes nothing: the fewest writes are no measure here.
        run = drive(kit, after, strike=_lost(-1), memo=memo, healing=healing)
    else:
        run = evolve(rest, world=after, steps=(), violation=violation)
    steps = (*rest.steps, step, *run.steps)
    if run.violation is None:
        return evolve(run, steps=steps)
    message = f"after {what} at rest: {run.violation.message}"
    return evolve(run, steps=steps, violation=Violation(run.violation.property, message))
