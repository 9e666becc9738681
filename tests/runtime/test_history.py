"""The history of writes: which ones are a fight, which ones are in backoff, and for how long."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from captep_core import JSON, Create, Delete, Patch, refusal_of, write_of
from captep_core.ports import Answer
from captep_runtime import WriteHistory
from tests.runtime.toys import NO_OP, NOW, OK, create, delete, patch

REFUSED = Answer(403, changed=False)


def after(*tries: tuple[float, Create | Patch | Delete, Answer], wait: float = 10) -> WriteHistory:
    """Return the history after these tries: (seconds, action, answer)."""
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
    """Whether accepting the last action once more, at that second, shows a fight."""
    return after(*tries).is_reverted(tries[-1][1], now=NOW + timedelta(seconds=at))


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
def test_the_third_acceptance_within_a_minute_is_a_fight(
    answers: list[tuple[float, Answer]], at: float, fight: object
) -> None:
    """The second one is enough when nothing changed; refusals neither count nor reset the count."""
    assert is_fight([(when, patch("a"), answer) for when, answer in answers], at) is fight


def test_deleting_an_absent_object_is_no_fight() -> None:
    """404 changes nothing because nothing is there, however often it comes."""
    gone = Answer(404, changed=False)
    assert not is_fight([(number, delete("a"), gone) for number in range(5)], 5)
    assert after((0, delete("a"), gone)).without_effect() == frozenset()


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.123456Z",
        "2026-01-01T00:00:00+09:00",
        "2026-01-01T00:00:00.5-01:30",
    ],
)
def test_two_bodies_that_differ_in_times_only_are_one_write(time: str) -> None:
    """A condition has another lastTransitionTime each time."""
    first, second = (
        patch("a", {"status": {"conditions": [{"type": "Ready", "at": at}]}})
        for at in ("1999-12-31T23:59:59Z", time)
    )
    assert after((0, first, NO_OP)).is_reverted(second, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "since 2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z or so",
        "2026-01-01",
        "2026-01-01T00:00:00",
    ],
)
def test_a_text_that_is_no_rfc_3339_time_is_content(text: str) -> None:
    """Two such texts make two writes, also where one contains a time."""
    first, second = (
        patch("a", {"data": {"text": each}}) for each in (text.replace("2026", "2025"), text)
    )
    assert not after((0, first, NO_OP)).is_reverted(second, now=NOW)


@pytest.mark.parametrize(
    ("at", "remaining"), [(-0.1, 0), (0, 10), (4, 6), (9.9, 0.1), (10, 0), (11, 0)]
)
def test_a_backoff_begins_with_the_refusal_and_ends_after_its_length(
    at: float, remaining: float
) -> None:
    """A clock that went back ends it."""
    history = after((0, create("a"), REFUSED))
    assert history.backoff_of(create("a"), now=NOW + timedelta(seconds=at)) == timedelta(
        seconds=remaining
    )
    assert history.backoff_of(create("b"), now=NOW) == timedelta(0)


def test_a_conflict_has_no_backoff() -> None:
    """The next pass has seen the newer object."""
    history = after((0, create("a"), Answer(409, changed=False)))
    assert history.backoff_of(create("a"), now=NOW) == timedelta(0)


def test_two_bodies_that_differ_in_the_order_of_keys_are_one_write() -> None:
    """The keys of a JSON object have no order."""
    first, second = (
        patch("a", {"data": dict(pairs)})
        for pairs in ((("a", "1"), ("b", "2")), (("b", "2"), ("a", "1")))
    )
    assert after((0, first, NO_OP)).is_reverted(second, now=NOW)


def test_only_accepted_writes_that_changed_nothing_are_without_effect() -> None:
    """Neither refused writes count nor a write whose last try had an effect."""
    history = after(
        (0, create("a"), OK),
        (0, patch("b"), NO_OP),
        (0, patch("c"), REFUSED),
        (0, patch("d"), NO_OP),
        (1, patch("d"), OK),
    )
    assert history.without_effect() == {write_of(patch("b"))}


def test_the_history_is_bounded() -> None:
    """It keeps the 64 writes tried last, and of each the last three times."""
    many = after(*((0, create(f"{number:02}"), OK) for number in range(70)), (1, create("10"), OK))
    assert [attempt.write.target.name for attempt in many.attempts] == [
        *(f"{number:02}" for number in range(6, 70) if number != 10),
        "10",
    ]
    often = after(*((number, patch("a"), OK) for number in range(10)))
    assert [attempt.accepted_at for attempt in often.attempts] == [
        tuple(NOW + timedelta(seconds=number) for number in (7, 8, 9))
    ]


@pytest.mark.parametrize(
    ("wait", "at", "left"),
    [(10, 59, 1), (10, 60, 0), (90, 89, 1), (90, 90, 0), (10, -59, 1), (10, -60, 0)],
)
def test_an_attempt_lasts_a_minute_or_its_backoff_if_that_is_longer(
    wait: float, at: float, left: int
) -> None:
    """An attempt in the future, after a clock that went back, lasts as long."""
    history = after((0, create("a"), REFUSED), wait=wait)
    assert len(history.recent(now=NOW + timedelta(seconds=at)).attempts) == left


def test_the_repr_of_an_attempt_hides_the_fingerprint() -> None:
    """Somebody who knows most of a body could guess the rest with it."""
    body: dict[str, JSON] = {"data": {"a": "1"}}
    history = after((0, patch("a", body), OK))
    assert history.attempts[0].fingerprint not in repr(history)
