"""What a decision consists of: what it says of itself, and what it keeps to itself."""

import pytest

from captep_core import JSON, Action, Create, Delete, ObjectRef, Patch, Preconditions, Record, Refusal, Write, write_of
from captep_core._converter import _problems

TARGET = ObjectRef("v1", "Secret", "fleet", "tokyo")
BODY: dict[str, JSON] = {"data": {"value": "canary"}}


@pytest.mark.parametrize(
    ("action", "write", "said"),
    [
        (Create(TARGET, BODY, "because"), Write("create", TARGET), "create Secret fleet/tokyo"),
        (Patch(TARGET, BODY, Preconditions("u"), "because"), Write("patch", TARGET), "patch Secret fleet/tokyo"),
        (Patch(TARGET, BODY, Preconditions(), "because", "status"), Write("patch", TARGET, "status"), "patch Secret fleet/tokyo/status"),
        (Delete(TARGET, Preconditions("u"), "because"), Write("delete", TARGET), "delete Secret fleet/tokyo"),
        (Record(TARGET, "Normal", "Ready", "m", Preconditions("u")), Write("event", TARGET), "event Secret fleet/tokyo"),
    ],
)
def test_an_action_is_one_write(action: Action, write: Write, said: str) -> None:
    """Section 8.7: a write is verb, object and subresource, whatever its body."""
    assert (write_of(action), str(write_of(action))) == (write, said)
    assert "canary" not in repr(action)


def test_an_event_says_what_it_tells() -> None:
    """The fields that every action has, of an Event."""
    event = Record(TARGET, "Warning", "SecretError", "m", Preconditions("u"))
    assert event.reason == "tell that the verdict is now SecretError"
    assert event.body == {"type": "Warning", "reason": "SecretError", "message": "m"}
    assert event.subresource is None


@pytest.mark.parametrize(
    ("status", "said", "conflict"),
    [
        (403, "create Secret fleet/tokyo is refused: HTTP 403", False),
        (409, "create Secret fleet/tokyo is refused: HTTP 409", True),
        (300, "create Secret fleet/tokyo is refused: HTTP 300", False),
        (299, "create Secret fleet/tokyo is accepted (HTTP 299) but does not last", False),
    ],
)
def test_a_refusal_says_what_came_back(status: int, said: str, conflict: bool) -> None:
    """Section 8.7: verb, kind, name and HTTP status; 409 alone is a conflict."""
    refusal = Refusal(Write("create", TARGET), status)
    assert (str(refusal), refusal.is_conflict) == (said, conflict)


def test_a_cluster_scoped_object_has_no_namespace_to_name() -> None:
    """Must 14: a Workspace is named without one."""
    assert str(ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, "tokyo")) == "Workspace tokyo"


def test_an_error_that_nobody_foresaw_is_told_without_its_text() -> None:
    """Must 56: whatever a library says of a value may quote it."""
    assert _problems(ValueError("canary"), "$.data") == ["$.data: not what it should be"]
