"""The condition `Paused` (Cluster API contract: SHOULD): the one write that a pause allows."""

import pytest

from captep_core import Paused
from tests.capt.driving import KEY, look, run, writes_of
from tests.capt.worlds import (
    Object,
    Objects,
    changed,
    condition,
    deleting,
    find,
    new,
    provided,
    ready,
    without,
)

CP = "CAPTControlPlane"
STATUS = "patch CAPTControlPlane fleet/tokyo/status"
ANNOTATION: Object = {"metadata": {"annotations": {"cluster.x-k8s.io/paused": ""}}}
WORLDS = {
    "new": new(),
    "provided": provided(),
    "ready": ready(),
    "damaged": without(ready(), "Secret", "tokyo-kubeconfig"),
    "deleting": deleting(ready(), CP, "tokyo"),
}
WAYS = ["annotation", "Cluster", "both"]


def _paused(objects: Objects, way: str) -> Objects:
    if way in ("annotation", "both"):
        objects = changed(objects, CP, "tokyo", ANNOTATION)
    if way in ("Cluster", "both"):
        objects = changed(objects, "Cluster", "tokyo", {"spec": {"paused": True}})
    return objects


def _condition(objects: Objects) -> Object | None:
    entries = (find(objects, CP, "tokyo").get("status") or {}).get("conditions") or []
    return next((dict(entry) for entry in entries if entry["type"] == "Paused"), None)


def _others(objects: Objects) -> Objects:
    entries = (find(objects, CP, "tokyo").get("status") or {}).get("conditions") or []
    return [dict(entry) for entry in entries if entry["type"] != "Paused"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WORLDS)
def test_a_pause_writes_its_condition_and_nothing_else(name: str, way: str) -> None:
    """One status write of `conditions` alone, without an interval, and then rest."""
    objects = _paused(WORLDS[name], way)
    done = run(objects)
    assert isinstance(done.last.verdict, Paused)
    assert [each.decision.requeue_after for each in done.passes] == [None] * len(done.passes)
    assert writes_of(done.writes) == [STATUS]
    [write] = done.writes
    assert write.body is not None
    assert list(write.body) == ["status"]
    status = write.body["status"]
    assert isinstance(status, dict)
    assert list(status) == ["conditions"]
    found = _condition(done.objects)
    assert found is not None
    assert (found["status"], found["lastTransitionTime"]) == ("True", "2026-01-01T01:00:00Z")
    assert found["reason"]
    assert _others(done.objects) == _others(objects)
    assert look(done.objects).actions == ()


@pytest.mark.parametrize("way", WAYS)
def test_a_pause_that_is_reported_is_at_rest(way: str) -> None:
    """A condition that says True already is no write, whatever its reason and time."""
    entries = [*_others(ready()), condition("Paused", True, "Paused")]
    objects = changed(_paused(ready(), way), CP, "tokyo", {"status": {"conditions": entries}})
    assert [each for each in writes_of(look(objects).actions) if each == STATUS] == []


@pytest.mark.parametrize("name", ["new", "ready"])
def test_without_a_pause_the_absent_condition_is_no_reason_to_write(name: str) -> None:
    """Settled worlds of today stay settled."""
    settled = run(WORLDS[name]).objects
    entries = find(settled, CP, "tokyo")["status"]["conditions"]
    bare = [entry for entry in entries if entry["type"] != "Paused"]
    objects = changed(settled, CP, "tokyo", {"status": {"conditions": bare}})
    assert look(objects).actions == ()


def test_the_end_of_a_pause_is_reported() -> None:
    """True is withdrawn: a condition that lies would stop people who wait for it."""
    paused = run(_paused(ready(), "annotation")).objects
    free = {"metadata": {"annotations": {"cluster.x-k8s.io/paused": None}}}
    done = run(changed(paused, CP, "tokyo", free))
    assert done.last.verdict.reason == "Ready"
    found = _condition(done.objects)
    assert found is None or found["status"] == "False"
    assert len([each for each in writes_of(done.writes) if each == STATUS]) <= 1


def test_a_false_condition_rides_in_the_next_report() -> None:
    """The first status write that is due anyway has it."""
    fresh = changed(ready(), CP, "tokyo", {"status": None})
    done = run(fresh)
    found = _condition(done.objects)
    assert found is not None
    assert found["status"] == "False"
    assert writes_of(done.writes).count(STATUS) == 1


def test_a_refused_report_of_a_pause_writes_nothing_else() -> None:
    """The loop retries the condition and keeps its hands off."""
    objects = _paused(WORLDS["damaged"], "annotation")

    done = run(objects, refuse={("patch", KEY): 403})
    assert set(writes_of(done.writes)) <= {STATUS}
    assert isinstance(done.last.verdict, Paused)
