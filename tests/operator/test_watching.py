"""A plan and a simulation see of a world what the watches of the live operator would show."""

from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import frozen

from captep_core import (
    ABSENT,
    Create,
    Decision,
    Manifest,
    ObjectRef,
    Observed,
    ReconcileState,
    Unreadable,
)
from captep_core._observation import Listed
from captep_core.ports import Read
from captep_memory import World, load
from captep_memory.http import HTTPFacade
from captep_operator import Kind, Operator
from captep_operator._simulation import world_of
from captep_operator.command._live import live_reader
from captep_operator.command._program import Target
from tests.kubernetes.scripted import transport_to

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ObjectRef("v1", "ConfigMap", "team", "first")
CHILD = ObjectRef("v1", "Secret", "team", "first")
OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "first", "namespace": "team", "labels": {"tier": "a"}},
    "data": {"kept": "b", "dropped": "c"},
}


def secret(name: str = "first", **metadata: object) -> dict[str, Any]:
    """Return a Secret."""
    about = {"name": name, "namespace": "team", **metadata}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": "Opaque"}


@frozen
class Seen:
    """What a decision saw."""

    primary: Observed[Manifest]
    child: Observed[Manifest]
    listed: Listed
    reason: str = "Seen"
    message: str = ""


def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision[Seen]:
    """Report what is there, and create the child unless it is."""
    child = read(CHILD)
    seen = Seen(read(key), child, read.list("v1", "Secret", "team"))
    create = Create(CHILD, secret(), "make it")
    return Decision((create,) if child is ABSENT else (), None, seen)


def operator(kind: Kind, primary: Kind | None = None) -> Operator:
    """Return an operator that reads Secrets through `kind`."""
    return Operator("seer", decide, primary=primary or Kind("v1", "ConfigMap"), reads=[kind])


def seen_by(decision: Decision) -> Seen:
    """Return what a decision saw."""
    assert isinstance(decision.verdict, Seen)
    return decision.verdict


HIDDEN = Unreadable(
    "Hidden", "Secret team/first exists, and the watch with labelSelector app=db does not show it"
)


def test_a_selector_hides_an_object_until_a_create_finds_its_name_taken() -> None:
    """At first it is absent; the refused create shows that it exists, and no second one follows."""
    made = operator(Kind("v1", "Secret", labels={"app": "db"}))
    world = [OBJECT, secret()]
    plan = made.plan(world, "team", "first", NOW)
    assert (seen_by(plan).child, len(plan.actions)) == (ABSENT, 1)
    run = made.simulate(world, "team", "first", NOW)
    assert [seen_by(each.decision).child for each in run.passes] == [ABSENT, HIDDEN, HIDDEN]
    assert [answer.status for each in run.passes for _, answer in each.sent] == [409]
    assert run.settled_after == 2


@pytest.mark.parametrize(
    "selectors",
    [
        {"labels": {"app": "db"}},
        {"labels": "app in (db, cache)"},
        {"fields": {"metadata.name": "first"}},
        {"labels": "app", "fields": "type=Opaque"},
    ],
)
def test_a_selector_shows_what_it_chooses(selectors: dict[str, Any]) -> None:
    """By name and in a list."""
    chosen, other = secret(labels={"app": "db"}), secret("other", labels={"tier": "b"})
    made = operator(Kind("v1", "Secret", **selectors))
    seen = seen_by(made.plan([OBJECT, chosen, other], "team", "first", NOW))
    assert isinstance(seen.child, dict)
    assert isinstance(seen.listed, tuple)
    assert seen.child["metadata"]["name"] == "first"
    assert [each["metadata"]["name"] for each in seen.listed] == ["first"]


def test_an_object_that_is_gone_is_no_longer_hidden() -> None:
    """Its name is free, and the next create succeeds."""
    made = operator(Kind("v1", "Secret", labels={"app": "db"}))
    gateway = world_of([OBJECT, secret()], NOW, made.kinds, "seer")
    create = Create(CHILD, secret(), "make it")
    assert gateway.send(create).status == 409
    assert gateway.read(CHILD) == HIDDEN
    gateway.world = world_of([OBJECT], NOW, made.kinds, "seer").world
    assert gateway.read(CHILD) is ABSENT
    assert gateway.send(create).status == 201
    assert gateway.read(CHILD) is ABSENT


def test_a_selector_that_the_server_refuses_leaves_the_kind_unreadable() -> None:
    """A watch with it would never begin, so nothing of the kind is known."""
    made = operator(Kind("v1", "Secret", fields={"spec.nodeName": "a"}))
    seen = seen_by(made.plan([OBJECT, secret()], "team", "first", NOW))
    assert isinstance(seen.child, Unreadable)
    assert isinstance(seen.listed, Unreadable)
    assert seen.child.reason == seen.listed.reason == "BadRequest"


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({}, OBJECT["data"]),
        ({"project": {"data": {"kept": None}}}, {"kept": "b"}),
        ({"project": {}}, None),
        ({"payload": "metadata"}, None),
        ({"payload": "on demand", "project": {}}, OBJECT["data"]),
    ],
)
def test_a_decision_sees_the_fields_that_the_cache_keeps(
    options: dict[str, Any], data: object
) -> None:
    """A field that `project` forgets shows in memory, before the operator meets a cluster."""
    made = operator(Kind("v1", "Secret"), Kind("v1", "ConfigMap", **options))
    seen = seen_by(made.plan([OBJECT], "team", "first", NOW))
    assert isinstance(seen.primary, dict)
    assert seen.primary.get("data") == data
    assert seen.primary["metadata"]["labels"] == {"tier": "a"}


def test_the_world_keeps_what_a_decision_does_not_see() -> None:
    """A projection is a view: the objects at the end of a simulation are whole."""
    made = operator(Kind("v1", "Secret"), Kind("v1", "ConfigMap", project={}))
    world: World = made.simulate([OBJECT], "team", "first", NOW).world
    kept = [each for each in world.objects() if each["kind"] == "ConfigMap"]
    assert [each["data"] for each in kept] == [OBJECT["data"]]


@pytest.mark.parametrize("labels", ["app=db", "app=cache"])
def test_a_live_plan_sees_what_the_selectors_choose(labels: str) -> None:
    """By name and in a list, as in memory; the object of the command shows in any case."""
    kinds = (Kind("v1", "ConfigMap", labels=labels), Kind("v1", "Secret", labels=labels))
    objects = [OBJECT, secret(labels={"app": "db"}), secret("other", labels={"app": "db"})]
    with HTTPFacade(load(objects, now=NOW)) as server:
        target = Target(decide, kinds[0], kinds, lambda _: (), lambda *_: True)
        read = live_reader(transport_to(server.url), target, KEY)
        child, listed, primary = read(CHILD), read.list("v1", "Secret", "team"), read(KEY)
    assert isinstance(primary, dict)
    assert isinstance(listed, tuple)
    names = [each["metadata"]["name"] for each in listed]
    if labels == "app=db":
        assert isinstance(child, dict)
        assert (child["metadata"]["name"], names) == ("first", ["first", "other"])
    else:
        assert (child, names) == (ABSENT, [])
