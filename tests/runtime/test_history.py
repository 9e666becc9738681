"""What is remembered of writes: which ones are a fight, which ones are held back, and for how long."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from captep_core import JSON, Create, Delete, Patch, refusal_of, write_of
from captep_core.ports import Answer
from captep_runtime import WriteHistory
from tests.runtime.toys import NO_OP, NOW, OK, create, delete, patch

REFUSED = Answer(403, changed=False)


def after(*tries: tuple[float, Create | Patch | Delete, Answer], wait: float = 10) -> WriteHistory:
    """The attempts after these: (seconds, action, answer)."""
    history = WriteHistory()
    for at, action, answer in tries:
        refusal = (
            refusal_of(write_of(action), answer.status)
            if answer.is_refusal and answer.status != 404
            else None
        )
        history = history.after(
            action, answer, refusal, now=NOW + timedelta(seconds=at), wait=timedelta(seconds=wait)
        )
    return history


def is_fight(tries: Sequence[tuple[float, Create | Patch | Delete, Answer]], at: float) -> bool:
    """Whether the last action, accepted once more, has been accepted in vain before."""
    return after(*tries).does_not_last(tries[-1][1], now=NOW + timedelta(seconds=at))


@pytest.mark.parametrize(
    ("answers", "at", "fight"),
    [
        ([(0, OK), (29, OK)], 59.9, True),
        ([(0, OK), (29, OK)], 60, False),
        ([(0, OK)], 1, False),
        ([(0, NO_OP)], 1, True),
        ([(0, NO_OP), (1, OK)], 2, True),
        ([(0, REFUSED), (1, REFUSED), (2, REFUSED)], 3, False),
        ([(0, OK), (1, REFUSED), (2, REFUSED)], 3, False),
        ([(0, OK), (1, OK), (2, REFUSED)], 3, True),
        ([(0, REFUSED), (1, OK)], 2, False),
    ],
)
def test_three_times_within_a_minute_is_a_fight(
    answers: list[tuple[float, Answer]], at: float, fight: object
) -> None:
    """And twice when nothing changed; a refusal is no acceptance, and ends none."""
    assert is_fight([(when, patch("a"), answer) for when, answer in answers], at) is fight


def test_a_delete_of_what_is_gone_is_not_in_vain() -> None:
    """404 changed nothing because there was nothing, however often that is so."""
    gone = Answer(404, changed=False)
    assert not is_fight([(number, delete("a"), gone) for number in range(5)], 5)
    assert after((0, delete("a"), gone)).suspects() == frozenset()


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.123456Z",
        "2026-01-01T00:00:00+09:00",
        "2026-01-01T00:00:00.5-01:30",
    ],
)
def test_times_make_no_other_body(time: str) -> None:
    """A condition that is set anew has another time each time."""
    first, second = (
        patch("a", {"status": {"conditions": [{"type": "Ready", "at": at}]}})
        for at in ("1999-12-31T23:59:59Z", time)
    )
    assert after((0, first, NO_OP)).does_not_last(second, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "since 2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z or so",
        "2026-01-01",
        "2026-01-01T00:00:00",
    ],
)
def test_what_only_looks_like_a_time_does(text: str) -> None:
    """A text that contains one is content."""
    first, second = (
        patch("a", {"data": {"text": each}}) for each in (text.replace("2026", "2025"), text)
    )
    assert not after((0, first, NO_OP)).does_not_last(second, now=NOW)


@pytest.mark.parametrize(("at", "held"), [(-0.1, 0), (0, 10), (4, 6), (9.9, 0.1), (10, 0), (11, 0)])
def test_a_refused_write_is_held_back_from_that_moment_on(at: float, held: float) -> None:
    """For as long as was said, and not after a clock that went back."""
    history = after((0, create("a"), REFUSED))
    assert history.backoff_of(create("a"), now=NOW + timedelta(seconds=at)) == timedelta(
        seconds=held
    )
    assert history.backoff_of(create("b"), now=NOW) == timedelta(0)


def test_a_conflict_is_not_held_back() -> None:
    """The next pass has seen the newer object."""
    history = after((0, create("a"), Answer(409, changed=False)))
    assert history.backoff_of(create("a"), now=NOW) == timedelta(0)


def test_the_order_of_fields_makes_no_other_body() -> None:
    """JSON objects have none."""
    first, second = (
        patch("a", {"data": dict(pairs)})
        for pairs in ((("a", "1"), ("b", "2")), (("b", "2"), ("a", "1")))
    )
    assert after((0, first, NO_OP)).does_not_last(second, now=NOW)


def test_only_what_changed_nothing_is_suspect() -> None:
    """Of several writes that were accepted or refused."""
    history = after(
        (0, create("a"), OK),
        (0, patch("b"), NO_OP),
        (0, patch("c"), REFUSED),
        (0, patch("d"), NO_OP),
        (1, patch("d"), OK),
    )
    assert history.suspects() == {write_of(patch("b"))}


def test_what_is_remembered_is_bounded() -> None:
    """64 writes, those that were tried last; of each the last three times."""
    many = after(*((0, create(f"{number:02}"), OK) for number in range(70)), (1, create("10"), OK))
    assert [attempt.write.target.name for attempt in many.known] == [
        *(f"{number:02}" for number in range(6, 70) if number != 10),
        "10",
    ]
    often = after(*((number, patch("a"), OK) for number in range(10)))
    assert [attempt.accepted_at for attempt in often.known] == [
        tuple(NOW + timedelta(seconds=number) for number in (7, 8, 9))
    ]


@pytest.mark.parametrize(
    ("wait", "at", "kept"),
    [(10, 59, 1), (10, 60, 0), (90, 89, 1), (90, 90, 0), (10, -59, 1), (10, -60, 0)],
)
def test_what_is_too_old_is_forgotten(wait: float, at: float, kept: int) -> None:
    """After a minute, or when its wait is over, whichever comes later; also when it lies in the future of a clock that went back."""
    history = after((0, create("a"), REFUSED), wait=wait)
    assert len(history.forgotten(now=NOW + timedelta(seconds=at)).known) == kept


def test_a_fingerprint_is_not_shown() -> None:
    """It could be guessed from what is known of the body."""
    body: dict[str, JSON] = {"data": {"a": "1"}}
    history = after((0, patch("a", body), OK))
    assert history.known[0].fingerprint not in repr(history)
