"""Time as an event of a search: deadlines, and times in a status."""

from datetime import datetime, timedelta
from typing import Any

from attrs import evolve

from captep_core import Decision, ObjectRef, Patch, ReconcileState
from captep_core._objects import rfc3339
from captep_core.ports import Read
from captep_testing import explore, replay
from tests.testing.toy import KEY, NOW, keep, lock, toy, toy_worlds

DEADLINE = NOW + timedelta(hours=1)


def expiring(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Raise from a deadline on, as long as the Thing lives."""
    if now >= DEADLINE and isinstance(read(key), dict):
        raise ValueError("too late")
    return evolve(keep(key, read, state, now=now), wakes_at=DEADLINE if now < DEADLINE else None)


def timing(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Set the time of a condition with every status, also where the condition stays."""
    done = keep(key, read, state, now=now)
    thing: Any = read(key)
    if not isinstance(thing, dict) or "deletionTimestamp" in thing["metadata"]:
        return done
    if any(each.subresource is None for each in done.actions):
        return done
    generation = thing["metadata"]["generation"]
    if thing.get("status", {}).get("observedGeneration") == generation:
        return evolve(done, actions=())
    ready = {"type": "Ready", "status": "True", "reason": "Made", "message": ""}
    status = {
        "ready": True,
        "observedGeneration": generation,
        "conditions": [{**ready, "lastTransitionTime": rfc3339(now)}],
    }
    return evolve(done, actions=(Patch(KEY, {"status": status}, lock(thing), "report", "status"),))


def test_a_search_passes_a_deadline() -> None:
    """A loop at rest is looked at again when its deadline has come; without time it never is."""
    kit = toy(expiring, moves={}, sometimes={})
    explore(kit, faults=0, events=0).require()
    found = explore(kit, faults=0, events=0, ticks=1)
    assert found.properties == {"P5a"}
    assert found.counterexamples[0].labels[-1:] == ("1:00:00 pass",)
    assert "ticks<=1" in found.scope
    trace = found.counterexamples[0].labels
    assert replay(kit, trace, world=found.counterexamples[0].world).properties == {"P5a"}


def test_a_search_sees_a_time_that_moves_without_its_condition() -> None:
    """A second passes, the spec changes, and the same condition gets another time."""
    kit = evolve(toy(timing, sometimes={}), worlds=toy_worlds()[:1])
    found = explore(kit, faults=0, events=1, ticks=1)
    assert found.properties == {"P14"}
    assert "0:00:01 pass" in found.counterexamples[0].labels


def test_a_correct_loop_survives_the_time() -> None:
    """No false alarm, also with late writes that a pass decided before time passed."""
    kit = evolve(toy(sometimes={}), worlds=toy_worlds()[:1])
    assert explore(kit, faults=1, events=0, ticks=1).holds
