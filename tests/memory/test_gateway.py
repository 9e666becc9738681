"""Actions as requests to the in-memory server, and its answers."""

from datetime import UTC, datetime
from typing import Any

import pytest

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Apply,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
    Unreadable,
)
from captep_core.ports import Answer
from captep_memory import MemoryGateway, NotModelledError, ObjectMatch, load

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REF = ObjectRef("example.org/v1", "Thing", "fleet", "it")
UID = Preconditions(uid="u1")
THING: dict[str, Any] = {
    "apiVersion": "example.org/v1",
    "kind": "Thing",
    "metadata": {"name": "it", "namespace": "fleet", "uid": "u1", "resourceVersion": "5"},
    "spec": {"a": 1},
}
MATCH = ObjectMatch("Thing", "fleet", "it")
BODY: dict[str, JSON] = {"spec": {"a": 2}}
NEW: dict[str, JSON] = {**THING, "metadata": {"name": "it", "namespace": "fleet"}}


def gateway(*objects: dict[str, Any], **settings: Any) -> MemoryGateway:  # noqa: ANN401 - passed on
    """Return a gateway to a server that holds `objects`."""
    return MemoryGateway(load(objects or (THING,), now=NOW), **settings)


def spec(server: MemoryGateway) -> object:
    """Return the spec of the thing."""
    found = server.read(REF)
    return found["spec"] if isinstance(found, dict) else found


def test_a_read_is_present_absent_or_unreadable() -> None:
    """An object, ABSENT, and the configured reason."""
    server = gateway(THING, unreadable={ObjectMatch("Secret", None, "x"): "Forbidden"})
    assert spec(server) == {"a": 1}
    assert server.read(ObjectRef("example.org/v1", "Thing", "fleet", "other")) is ABSENT
    assert server.read(ObjectRef("v1", "Secret", None, "x")) == Unreadable("Forbidden")


def test_a_version_that_is_not_served_is_unreadable() -> None:
    """404 for the kind says nothing about the object."""
    version = {"name": "v2", "served": True, "storage": True}
    names = {
        "group": "example.org",
        "names": {"kind": "Thing", "plural": "things"},
        "scope": "Namespaced",
        "versions": [version],
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "t"},
        "spec": names,
    }
    found = gateway(definition).read(REF)
    assert isinstance(found, Unreadable)
    assert found.reason == "NotFound"


@pytest.mark.parametrize(
    ("ref", "matches"),
    [
        (REF, True),
        (ObjectRef("example.org/v2", "Thing", "fleet", "it"), True),
        (ObjectRef("other.org/v1", "Thing", "fleet", "it"), False),
        (ObjectRef("example.org/v1", "Thing", None, "it"), False),
        (ObjectRef("example.org/v1", "Thing", "fleet", "that"), False),
    ],
)
def test_a_match_with_a_group_covers_every_version_of_that_group(
    ref: ObjectRef, *, matches: bool
) -> None:
    """Kind, namespace, name and group; without a group, every group."""
    assert ObjectMatch("Thing", "fleet", "it", "example.org").matches(ref) == matches
    assert MATCH.matches(ref) == (matches or ref.api_version == "other.org/v1")


@pytest.mark.parametrize(
    ("action", "answer", "after"),
    [
        (Patch(REF, BODY, UID, "r"), Answer(200, changed=True), {"a": 2}),
        (Patch(REF, {"spec": {"a": 1}}, UID, "r"), Answer(200, changed=False), {"a": 1}),
        (Patch(REF, BODY, Preconditions("u1", "5"), "r"), Answer(200, changed=True), {"a": 2}),
        (
            Patch(REF, BODY, Preconditions("u1", "4"), "r"),
            Answer(409, changed=False, reason="Conflict"),
            {"a": 1},
        ),
        (
            Patch(REF, BODY, Preconditions("u2"), "r"),
            Answer(409, changed=False, reason="Conflict"),
            {"a": 1},
        ),
        (Delete(REF, UID, "r"), Answer(200, changed=True), ABSENT),
        (
            Delete(REF, Preconditions("u2"), "r"),
            Answer(409, changed=False, reason="Conflict"),
            {"a": 1},
        ),
        (
            Delete(ObjectRef("example.org/v1", "Thing", "fleet", "no"), UID, "r"),
            Answer(404, changed=False, reason="NotFound"),
            {"a": 1},
        ),
        (Create(REF, NEW, "r"), Answer(409, changed=False, reason="AlreadyExists"), {"a": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_action_has_its_answer_and_its_effect(
    action: Action, answer: Answer, after: object
) -> None:
    """Preconditions hold, a no-op changes nothing, and an object of another uid is a conflict."""
    server = gateway()
    assert server.send(action) == answer
    assert spec(server) == after


def test_a_created_object_is_seen_at_once() -> None:
    """The gateway reads its own writes."""
    server = gateway({**THING, "metadata": {"name": "other", "namespace": "fleet"}})
    assert server.send(Create(REF, NEW, "r")) == Answer(201, changed=True)
    assert spec(server) == {"a": 1}


def test_a_status_patch_writes_nothing_but_status() -> None:
    """A patch of the status subresource leaves the rest."""
    server = gateway()
    assert server.send(
        Patch(REF, {"status": {"b": 1}, "spec": {"a": 9}}, UID, "r", "status")
    ) == Answer(200, changed=True)
    found = server.read(REF)
    assert isinstance(found, dict)
    assert (found["spec"], found["status"]) == ({"a": 1}, {"b": 1})


@pytest.mark.parametrize("verb", ["create", "patch", "delete", "event"])
def test_a_refusal_applies_to_one_verb(verb: str) -> None:
    """The refused verb changes nothing, on the status subresource too; the others work as usual."""
    actions: dict[str, Action] = {
        "create": Create(REF, THING, "r"),
        "patch": Patch(REF, {"status": {"a": 2}}, UID, "r", "status"),
        "delete": Delete(REF, UID, "r"),
        "event": RecordEvent(REF, "Normal", "Ready", "", UID.uid),
    }
    for sent, action in actions.items():
        server = gateway(refuse={(verb, MATCH): 418})
        before = server.world
        assert (server.send(action).status == 418) == (sent == verb)
        assert sent != verb or server.world == before


@pytest.mark.parametrize("namespace", ["fleet", None])
def test_an_event_is_recorded_once_and_counted_up(namespace: str | None) -> None:
    """A repeated Event raises the count; another message is another Event."""
    ref = ObjectRef("example.org/v1", "Thing", namespace, "it")
    server = gateway()
    for at, message in ((0, "first"), (5, "first"), (6, "second")):
        server.world = server.world.at(NOW.replace(second=at))
        assert server.send(RecordEvent(ref, "Warning", "Failed", message, UID.uid)).changed
    events = [obj for obj in server.world.objects() if obj["kind"] == "Event"]
    counted = sorted(
        (event["message"], event["count"], event["firstTimestamp"], event["lastTimestamp"])
        for event in events
    )
    assert counted == [
        ("first", 2, "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z"),
        ("second", 1, "2026-01-01T00:00:06Z", "2026-01-01T00:00:06Z"),
    ]
    assert {event["metadata"]["namespace"] for event in events} == {namespace or "default"}
    assert {event["involvedObject"]["uid"] for event in events} == {"u1"}
    assert spec(server) == {"a": 1}


def test_an_apply_that_meets_another_manager_names_it() -> None:
    """The refusal has the manager and the field."""
    server = gateway()
    first = server.send(Apply(REF, {**NEW, "spec": {"a": 2}}, "r", "me", force=True))
    assert first == Answer(200, changed=True)
    other = server.send(Apply(REF, {**NEW, "spec": {"a": 3}}, "r", "other"))
    assert other == Answer(409, changed=False, reason="FieldManagerConflict")
    assert '"me"' in other.message
    assert ".spec.a" in other.message


def test_a_write_without_a_model_raises_and_names_what_is_missing() -> None:
    """No answer of a real server is made up, and no refusal is blamed on the code under test."""
    node: dict[str, JSON] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    action = Create(ObjectRef("v1", "Node", None, "n"), node, "r")
    with pytest.raises(
        NotModelledError, match="does not model writes of Node in v1: create Node n"
    ):
        gateway().send(action)
