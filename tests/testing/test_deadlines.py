"""Operators that act by time, in the kit and in a simulation."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import frozen

from captep_core import (
    JSON,
    Absent,
    Decision,
    ObjectRef,
    ReconcileState,
    Unreadable,
    difference,
    outstanding,
)
from captep_core._objects import instant, rfc3339
from captep_core.ports import Decide, Read
from captep_memory import Key, World, load
from captep_operator import Kind, Operator
from captep_testing import Kit, check, converge, sweep
from tests.objects import manifest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = ObjectRef("v1", "ConfigMap", "team", "badge")


@frozen
class Said:
    """A verdict."""

    reason: str
    message: str = ""


def renew(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Keep a badge that is good for an hour: a new time is written when it ends."""
    return _renewed(key, read, state, now, knows_deadline=True)


def forget(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Renew it only if something else wakes the key."""
    return _renewed(key, read, state, now, knows_deadline=False)


def _renewed(
    key: ObjectRef, read: Read, state: ReconcileState, now: datetime, *, knows_deadline: bool
) -> Decision:
    badge = read(key)
    if isinstance(badge, Absent):
        return Decision((), None, Said("Gone"))
    if isinstance(badge, Unreadable):
        return Decision((), timedelta(seconds=10), Said("Unreadable"))
    until = instant(str((badge.get("data") or {}).get("until", "")))
    if until is not None and now < until:
        deadline = until if knows_deadline else None
        return Decision((), None, Said("Good"), wakes_at=deadline)
    desired = manifest(key, data={"until": rfc3339(now + HOUR)})
    write = difference(desired, badge, "it has ended")
    actions = () if write is None or "deletionTimestamp" in badge["metadata"] else (write,)
    refused = outstanding(state, actions)
    return Decision(actions, timedelta(seconds=10), Said("Refused" if refused else "New"), refused)


def late(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Name a deadline that has passed."""
    read(key)
    return Decision((), timedelta(seconds=10), Said("Late"), wakes_at=now)


def until_of(world: World) -> datetime | None:
    """Return the time on the badge."""
    badge = world.get(Key("", "ConfigMap", "team", "badge")) or {}
    return instant(str((badge.get("data") or {}).get("until", "")))


def is_good(world: World) -> bool:
    """Whether the badge is good, if there is one."""
    until = until_of(world)
    if world.get(Key("", "ConfigMap", "team", "badge")) is None:
        return True
    return until is not None and world.now < until


def kit(decide: Decide) -> Kit:
    """Return the kit of the badge: a new one, one that ends in three seconds, an old one."""
    ends = (None, NOW + timedelta(seconds=3), NOW - HOUR)
    datas: list[JSON] = [{"until": rfc3339(end)} if end else {} for end in ends]
    worlds = tuple(load([manifest(KEY, data=data)], now=NOW) for data in datas)
    return Kit(
        decide,
        (KEY,),
        worlds,
        is_good,
        owned={"ConfigMap": (("data", "until"),)},
        lateness=timedelta(seconds=1),
    )


def broken(decide: Decide) -> set[str]:
    """Return the properties that the kit finds broken."""
    reports = (check(kit(decide)), converge(kit(decide)))
    return {each.violation.property for report in reports for each in report.counterexamples}


def test_an_operator_that_acts_by_time_is_at_rest_between_its_deadlines() -> None:
    """The kit looks at it three times before the next deadline, however near that is."""
    for report in (
        check(kit(renew)),
        converge(kit(renew)),
        sweep(kit(renew)),
    ):
        report.require()


@pytest.mark.parametrize(("decide", "property_"), [(forget, "P15a"), (late, "P15")])
def test_a_deadline_that_is_missed_or_lies_in_the_past_is_found(
    decide: Decide, property_: str
) -> None:
    """Nothing would wake the key in time, or the deadline wakes nobody."""
    assert property_ in broken(decide)


def test_a_simulation_goes_from_deadline_to_deadline() -> None:
    """Without any change and without an interval, each further pass begins at the deadline."""
    operator = Operator("badges", renew, primary=Kind("v1", "ConfigMap"))
    badge: dict[str, Any] = manifest(KEY)
    simulation = operator.simulate([badge], "team", "badge", NOW, further=4)
    assert until_of(simulation.world) == NOW + 3 * HOUR
    assert simulation.passes[-1].decision.verdict.reason == "Good"
