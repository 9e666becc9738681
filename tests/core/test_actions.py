"""Actions: how each describes itself, and what each leaves out of its repr."""

import pytest

from captep_core import (
    JSON,
    Action,
    Apply,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
    Write,
    purpose_of,
    write_of,
)
from captep_core.capt._converter import _problems
from tests.objects import manifest

TARGET = ObjectRef("v1", "Secret", "fleet", "tokyo")
BODY: dict[str, JSON] = {"data": {"value": "canary"}}


@pytest.mark.parametrize(
    ("action", "write", "said"),
    [
        (
            Create(TARGET, {**manifest(TARGET), **BODY}, "because"),
            Write("create", TARGET),
            "create Secret fleet/tokyo",
        ),
        (
            Patch(TARGET, BODY, Preconditions("u"), "because"),
            Write("patch", TARGET),
            "patch Secret fleet/tokyo",
        ),
        (
            Patch(TARGET, BODY, Preconditions(), "because", "status"),
            Write("patch", TARGET, "status"),
            "patch Secret fleet/tokyo/status",
        ),
        (
            Delete(TARGET, Preconditions("u"), "because"),
            Write("delete", TARGET),
            "delete Secret fleet/tokyo",
        ),
        (
            Apply(TARGET, {**manifest(TARGET), **BODY}, "because"),
            Write("apply", TARGET),
            "apply Secret fleet/tokyo",
        ),
        (
            RecordEvent(TARGET, "Normal", "Ready", "m", "u"),
            Write("event", TARGET),
            "event Secret fleet/tokyo",
        ),
    ],
)
def test_a_write_is_verb_object_and_subresource(action: Action, write: Write, said: str) -> None:
    """The body does not count, and no repr shows it."""
    assert (write_of(action), str(write_of(action))) == (write, said)
    assert "canary" not in repr(action)


def test_an_event_has_the_fields_that_every_action_has() -> None:
    """Its purpose names the Event's own reason and claims nothing about the verdict."""
    event = RecordEvent(TARGET, "Warning", "SecretError", "m", "u")
    assert purpose_of(event) == "record the Event SecretError"
    assert event.body == {"type": "Warning", "reason": "SecretError", "message": "m"}
    assert event.subresource is None


def test_a_cluster_scoped_object_is_named_without_a_namespace() -> None:
    """A Workspace is named by its kind and name alone."""
    assert str(ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, "tokyo")) == "Workspace tokyo"


def test_an_unforeseen_error_is_reported_without_its_text() -> None:
    """The text of a library's error may quote the value."""
    assert _problems(ValueError("canary"), "$.data") == ["$.data: not what it should be"]
