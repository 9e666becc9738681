"""Refusals: how each describes itself, and what makes two of them equal."""

import pytest

from captep_core import (
    Conflicted,
    ObjectRef,
    Refusal,
    Reverted,
    Throttled,
    Write,
    refusal_of,
    worded,
)

TARGET = ObjectRef("v1", "Secret", "fleet", "tokyo")


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
