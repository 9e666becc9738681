"""The parts of a decision: how each describes itself, and what each leaves out of its repr."""

from datetime import UTC, datetime, timedelta

import pytest

from captep_core import (
    JSON,
    Action,
    Apply,
    Conflicted,
    Create,
    Decision,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
    Refusal,
    Reverted,
    Throttled,
    Unknown,
    Write,
    purpose_of,
    refusal_of,
    worded,
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


@pytest.mark.parametrize(
    ("status", "said", "conflict"),
    [
        (403, "create Secret fleet/tokyo is refused: HTTP 403", False),
        (409, "create Secret fleet/tokyo is refused: HTTP 409", True),
        (300, "create Secret fleet/tokyo is refused: HTTP 300", False),
        (
            299,
            "create Secret fleet/tokyo is accepted but does not last: another writer deletes it",
            False,
        ),
    ],
)
def test_a_refusal_names_the_write_and_the_http_status(
    status: int, said: str, conflict: bool
) -> None:
    """Status 409 alone is a conflict; below 300 the write does not last."""
    refusal = refusal_of(Write("create", TARGET), status)
    assert (str(refusal), isinstance(refusal, Conflicted)) == (said, conflict)


QUOTA = "team quota: only 3 databases per team, ask #platform"


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (refusal_of(Write("create", TARGET), 422, "Invalid", QUOTA), f"HTTP 422 Invalid: {QUOTA}"),
        (refusal_of(Write("create", TARGET), 409, "AlreadyExists"), "HTTP 409 AlreadyExists"),
        (Throttled(Write("create", TARGET), "", "busy"), "HTTP 429: busy"),
    ],
)
def test_a_refusal_says_what_the_server_said(refusal: Refusal, said: str) -> None:
    """Reason and message follow the status, as far as there are any."""
    assert str(refusal) == f"create Secret fleet/tokyo is refused: {said}"


@pytest.mark.parametrize(
    ("before", "stays"),
    [
        ("create Secret fleet/tokyo is refused: HTTP 422 Invalid: took 9 ms", True),
        ("create Secret fleet/tokyo is refused: HTTP 403 Invalid: took 9 ms", False),
        ("create Secret fleet/tokyo is refused: HTTP 422 Forbidden: took 9 ms", False),
        ("patch Secret fleet/tokyo is refused: HTTP 422 Invalid: took 9 ms", False),
        ("", False),
    ],
)
def test_only_another_message_of_the_same_refusal_keeps_its_words(before: str, stays: bool) -> None:
    """Write, status and reason say what is refused; the rest of the text may change each time."""
    refusal = refusal_of(Write("create", TARGET), 422, "Invalid", "took 12 ms")
    assert worded(refusal, before) == (before if stays else str(refusal))


def test_a_refusal_without_a_message_has_words_of_its_own() -> None:
    """Each status is another text."""
    refusal = refusal_of(Write("create", TARGET), 422)
    assert worded(refusal, f"{refusal} Invalid") == str(refusal)


def test_a_cluster_scoped_object_is_named_without_a_namespace() -> None:
    """A Workspace is named by its kind and name alone."""
    assert str(ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, "tokyo")) == "Workspace tokyo"


def test_an_unforeseen_error_is_reported_without_its_text() -> None:
    """The text of a library's error may quote the value."""
    assert _problems(ValueError("canary"), "$.data") == ["$.data: not what it should be"]


@pytest.mark.parametrize(
    ("verb", "fields", "said"),
    [
        ("create", (), "create Secret fleet/tokyo is accepted but does not last: x deletes it"),
        (
            "delete",
            (),
            "delete Secret fleet/tokyo is accepted but does not last: x creates it again",
        ),
        (
            "patch",
            ("data.value",),
            "patch Secret fleet/tokyo is accepted but does not last: x changes data.value",
        ),
        ("patch", (), "patch Secret fleet/tokyo is accepted but does not last"),
    ],
)
def test_a_fight_says_what_the_other_writer_does(
    verb: str, fields: tuple[str, ...], said: str
) -> None:
    """The manager is named where the server knows it."""
    assert str(Reverted(Write(verb, TARGET), fields, "x")) == said


@pytest.mark.parametrize(
    ("interval", "deadline", "wait"),
    [
        (None, None, None),
        (30, None, 30),
        (None, 10, 10),
        (30, 10, 10),
        (30, 60, 30),
        (30, 0, 30),
        (None, -1, None),
    ],
)
def test_the_wait_ends_at_the_interval_or_at_a_deadline_ahead(
    interval: int | None, deadline: int | None, wait: int | None
) -> None:
    """The earlier of both counts, in seconds from now; a deadline that has come counts no more."""
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def seconds(number: int | None) -> timedelta | None:
        return None if number is None else timedelta(seconds=number)

    ahead = seconds(deadline)
    wakes_at = None if ahead is None else now + ahead
    decision = Decision((), seconds(interval), Unknown("Waiting", "it comes"), wakes_at=wakes_at)
    assert decision.wait(now=now) == seconds(wait)
