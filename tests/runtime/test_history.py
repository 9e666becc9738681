"""The history of writes: which ones are a fight, which ones are in backoff, and for how long."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from attrs import evolve

from captep_core import JSON, Create, Delete, Patch, Refusal, Reverted, refusal_of, write_of
from captep_core.ports import Answer
from captep_runtime import WriteHistory
from tests.runtime.toys import NO_OP, NOW, OK, create, delete, patch

REFUSED = Answer(403, changed=False)


def after(
    *tries: tuple[float, Create | Patch | Delete, Answer], interval: float = 10
) -> WriteHistory:
    """Return the history after these tries: (seconds, action, answer)."""
    history = WriteHistory()
    for at, action, answer in tries:
        now = NOW + timedelta(seconds=at)
        refusal: Refusal | None = None
        if answer.is_refusal and answer.status != 404:
            refusal = refusal_of(write_of(action), answer.status)
        elif not answer.is_refusal and history.is_reverted(action, now=now):
            refusal = Reverted(write_of(action))
        history = history.after(
            action, answer, refusal, now=now, interval=timedelta(seconds=interval)
        )
    return history


def at(seconds: float) -> datetime:
    """Return the time so many seconds after the start."""
    return NOW + timedelta(seconds=seconds)


def is_fight(tries: Sequence[tuple[float, Create | Patch | Delete, Answer]], when: float) -> bool:
    """Whether accepting the last action once more, at that second, shows a fight."""
    return after(*tries).is_reverted(tries[-1][1], now=at(when))


@pytest.mark.parametrize(
    ("answers", "when", "fight"),
    [
        ([(0, OK), (449, OK)], 899.9, True),
        ([(0, OK), (449, OK)], 900, False),
        ([(0, OK)], 1, False),
        ([(0, NO_OP)], 1, True),
        ([(0, NO_OP), (1, OK)], 2, False),
        ([(0, REFUSED), (1, REFUSED), (2, REFUSED)], 3, False),
        ([(0, OK), (1, REFUSED), (2, REFUSED)], 3, False),
        ([(0, OK), (1, OK), (2, REFUSED)], 3, True),
        ([(0, REFUSED), (1, OK)], 2, False),
    ],
)
def test_the_third_effect_within_a_quarter_of_an_hour_is_a_fight(
    answers: list[tuple[float, Answer]], when: float, fight: object
) -> None:
    """So is the second try without effect; refusals neither count nor reset the count."""
    assert is_fight([(second, patch("a"), answer) for second, answer in answers], when) is fight


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
        patch("a", {"status": {"conditions": [{"type": "Ready", "at": each}]}})
        for each in ("1999-12-31T23:59:59Z", time)
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


def test_a_new_token_is_another_write() -> None:
    """A Secret that rotates often is no fight."""
    tries = [(n, patch("a", {"data": {"token": str(n)}}), OK) for n in range(9)]
    assert not is_fight(tries, 9)
    assert after(*tries).fights() == ()


def test_a_write_that_overwrites_a_field_ends_the_count_of_its_old_value() -> None:
    """Another object, another subresource and another field do not."""
    mine = patch("a", {"data": {"x": "1", "y": "1"}})
    twice = ((0, mine, OK), (1, mine, OK))
    status = evolve(patch("a", {"data": {"x": "2"}}), subresource="status")
    others = [patch("b", {"data": {"x": "2"}}), patch("a", {"data": {"z": "2"}}), status]
    for other in others:
        assert after(*twice, (2, other, OK)).is_reverted(mine, now=at(3))
    overwriting = patch("a", {"data": {"y": "2"}})
    assert not after(*twice, (2, overwriting, OK)).is_reverted(mine, now=at(3))
    assert after(*twice, (2, overwriting, NO_OP)).is_reverted(mine, now=at(3))
    fight = after(*twice, (2, mine, OK), (3, overwriting, OK))
    assert fight.fights() == ()


@pytest.mark.parametrize(
    ("when", "remaining"), [(-0.1, 0), (0, 10), (4, 6), (9.9, 0.1), (10, 0), (11, 0)]
)
def test_a_backoff_begins_with_the_refusal_and_ends_after_its_length(
    when: float, remaining: float
) -> None:
    """A clock that went back ends it."""
    history = after((0, create("a"), REFUSED))
    assert history.backoff_of(create("a"), now=at(when)) == timedelta(seconds=remaining)
    assert history.backoff_of(create("b"), now=NOW) == timedelta(0)
    expected = (refusal_of(write_of(create("a")), 403),) if remaining else ()
    assert history.refused_in_backoff(now=at(when)) == expected


@pytest.mark.parametrize(
    ("retry_after", "interval", "backoff"),
    [(None, 10, 10), (3, 10, 10), (25, 10, 25), (600, 10, 60), (600, 120, 120), (25, 0, 25)],
)
def test_a_server_lengthens_the_backoff_up_to_a_minute(
    retry_after: float | None, interval: float, backoff: float
) -> None:
    """The interval of the operator is the least."""
    asked = None if retry_after is None else timedelta(seconds=retry_after)
    busy = Answer(429, changed=False, retry_after=asked)
    history = after((0, create("a"), busy), interval=interval)
    assert history.backoff_of(create("a"), now=NOW) == timedelta(seconds=backoff)


@pytest.mark.parametrize(
    ("interval", "backoffs"),
    [
        (10, [0, 0, 10, 20, 40, 80, 160, 300, 300]),
        (60, [0, 0, 60, 120, 240, 300, 300, 300, 300]),
        (600, [0, 0, 600, 600, 600, 600, 600, 600, 600]),
        (0, [0] * 9),
    ],
)
def test_the_backoff_of_a_fight_doubles_from_the_interval(
    interval: float, backoffs: list[float]
) -> None:
    """It ends at five minutes, or at a longer interval; without an interval it is zero."""
    found = [
        after(*((n, patch("a"), OK) for n in range(times)), interval=interval)
        .backoff_of(patch("a"), now=at(times - 1))
        .total_seconds()
        for times in range(1, 10)
    ]
    assert found == backoffs


def test_a_refusal_in_a_fight_neither_ends_nor_lengthens_it() -> None:
    """The write keeps its count; the refusal has the backoff of a refusal."""
    fight = [(n, patch("a"), OK) for n in range(3)]
    refused = after(*fight, (20, patch("a"), REFUSED))
    assert [each.write for each in refused.fights()] == [write_of(patch("a"))]
    assert refused.backoff_of(patch("a"), now=at(20)) == timedelta(seconds=10)
    again = after(*fight, (20, patch("a"), REFUSED), (30, patch("a"), OK))
    assert again.backoff_of(patch("a"), now=at(30)) == timedelta(seconds=20)


def test_another_body_that_goes_through_ends_the_refusal_of_the_write() -> None:
    """A person has corrected the value; a fight over the old one goes on."""
    other = patch("a", {"data": {"z": "1"}})
    history = after((0, patch("a"), REFUSED), (1, other, OK))
    assert history.refused_in_backoff(now=at(2)) == ()
    assert history.refused_since(write_of(patch("a"))) is None
    fight = after(*((n, patch("a"), OK) for n in range(3)), (3, other, OK))
    assert len(fight.fights()) == len(fight.refused_in_backoff(now=at(4))) == 1


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


def test_a_write_is_refused_since_the_first_refusal_in_a_row() -> None:
    """A success in between starts the count again."""
    tries = [(0.0, create("a"), REFUSED), (10.0, create("a"), REFUSED)]
    assert after(*tries).refused_since(write_of(create("a"))) == NOW
    assert after(*tries, (20, create("a"), OK)).refused_since(write_of(create("a"))) is None
    again = after(*tries, (20, create("a"), OK), (30, create("a"), REFUSED))
    assert again.refused_since(write_of(create("a"))) == at(30)
    assert again.refused_since(write_of(create("b"))) is None


def test_the_history_is_bounded() -> None:
    """It keeps the 64 writes tried last, and of each the last three effects."""
    many = after(*((0, create(f"{number:02}"), OK) for number in range(70)), (1, create("10"), OK))
    assert [attempt.write.target.name for attempt in many.attempts] == [
        *(f"{number:02}" for number in range(6, 70) if number != 10),
        "10",
    ]
    often = after(*((number, patch("a"), OK) for number in range(10)))
    assert [attempt.effects for attempt in often.attempts] == [tuple(at(n) for n in (7, 8, 9))]


@pytest.mark.parametrize(
    ("interval", "when", "left"),
    [
        (10, 899, 1),
        (10, 900, 0),
        (1000, 999, 1),
        (1000, 1000, 0),
        (10, -899, 1),
        (10, -900, 0),
    ],
)
def test_an_attempt_lasts_a_quarter_of_an_hour_or_its_backoff_if_that_is_longer(
    interval: float, when: float, left: int
) -> None:
    """An attempt in the future, after a clock that went back, lasts as long."""
    history = after((0, create("a"), REFUSED), interval=interval)
    assert len(history.recent(now=at(when)).attempts) == left


@pytest.mark.parametrize(("when", "fights"), [(901, 1), (902, 0)])
def test_a_fight_ends_when_its_write_has_stood_for_a_quarter_of_an_hour(
    when: float, fights: int
) -> None:
    """Its last effect counts, and not a refusal after it."""
    history = after(*((n, patch("a"), OK) for n in range(3)), (500, patch("a"), REFUSED))
    assert len(history.recent(now=at(when)).fights()) == fights


def test_the_repr_of_an_attempt_hides_the_fingerprints() -> None:
    """Somebody who knows most of a body could guess the rest with them."""
    body: dict[str, JSON] = {"data": {"a": "1"}}
    (attempt,) = after((0, patch("a", body), OK)).attempts
    ((_, digest),) = attempt.values
    assert attempt.fingerprint not in repr(attempt)
    assert digest not in repr(attempt)
