"""One pass: what it sends, what it keeps for the next pass, and when that is due."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_core import (
    Action,
    Decision,
    ObjectRef,
    ReconcileState,
    Refused,
    Reverted,
    Write,
    refusal_of,
    write_of,
)
from captep_core.ports import Answer, Decide, Read
from captep_runtime import Pass, WriteHistory, run_pass
from tests.runtime.toys import (
    KEY,
    NO_OP,
    NOW,
    OK,
    Said,
    ToyServer,
    child,
    create,
    delete,
    event,
    patch,
    wants,
)

TEN = timedelta(seconds=10)


def once(
    decide: Decide,
    server: ToyServer,
    before: Pass | None = None,
    *,
    at: float = 0,
    backs_off: bool = False,
) -> Pass:
    """Run one pass `at` seconds after the start, with what the pass `before` left."""
    return run_pass(
        decide,
        server,
        KEY,
        before.state if before else ReconcileState(),
        now=NOW + timedelta(seconds=at),
        history=before.history if before else WriteHistory(),
        backs_off=backs_off,
    )


def test_a_pass_without_refusals_sends_all_actions_in_order() -> None:
    """The decision's interval holds, and its verdict goes into the state."""
    actions = (create("a"), patch("b"), delete("c"), event())
    server = ToyServer()
    done = once(wants(*actions), server)
    assert server.sent == list(actions)
    assert done.sent == tuple((action, OK) for action in actions)
    assert (done.state, done.requeue_after, done.effective_writes) == (
        ReconcileState((), "Waiting"),
        timedelta(seconds=5),
        3,
    )
    assert done.changed
    assert done.progressed


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 501, 503, 504]
)
@pytest.mark.parametrize(
    "action", [create("b"), patch("b"), delete("b")], ids=lambda action: write_of(action).verb
)
def test_a_pass_stops_at_the_first_refused_write(status: int, action: Action) -> None:
    """The pass sends nothing more and keeps the refusal; only the 404 of a delete is success."""
    server = ToyServer(OK, Answer(status, changed=False))
    done = once(wants(create("a"), action, create("c")), server)
    if write_of(action).verb == "delete" and status == 404:
        assert (len(server.sent), done.state.refusals, done.requeue_after) == (
            3,
            (),
            timedelta(seconds=5),
        )
    else:
        assert server.sent == [create("a"), action]
        assert done.state.refusals == done.new_refusals == (refusal_of(write_of(action), status),)
        assert (done.requeue_after, done.effective_writes, done.changed, done.progressed) == (
            TEN,
            1,
            True,
            True,
        )


def test_decide_gets_the_key_the_reads_the_state_and_the_time() -> None:
    """The pass hands all four through unchanged."""
    server, given = ToyServer(), list[object]()
    server.objects[child("a")] = {"data": {}}

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        given.extend((key, read(child("a")), state, now))
        return Decision((), None, Said())

    run_pass(decide, server, KEY, ReconcileState((), "Before"), now=NOW)
    assert given == [KEY, {"data": {}}, ReconcileState((), "Before"), NOW]


def test_a_refused_event_stops_nothing_and_leaves_no_refusal() -> None:
    """A refused Event leaves no trace but its answer."""
    server = ToyServer(Answer(403, changed=False))
    done = once(wants(event(), create("a")), server)
    assert server.sent == [event(), create("a")]
    assert (done.state, done.effective_writes, done.requeue_after) == (
        ReconcileState((), "Waiting"),
        1,
        timedelta(seconds=5),
    )


def test_events_are_no_effective_writes() -> None:
    """A pass that only recorded an Event changed nothing."""
    done = once(wants(event()), ToyServer())
    assert (done.effective_writes, done.changed, done.progressed) == (0, False, False)


def test_a_pass_that_stops_before_its_event_keeps_the_verdict_reported_before() -> None:
    """A later pass then sees that the verdict is new and records the Event."""
    done = once(
        wants(patch("a"), event("Ready"), reason="Ready"), ToyServer(Answer(409, changed=False))
    )
    assert done.state.verdict == ""
    again = once(wants(event("Ready"), reason="Ready"), ToyServer(), done)
    assert again.state.verdict == "Ready"


def test_several_refused_writes_take_turns() -> None:
    """A refused retry moves to the end of the list, and the new order counts as no change."""
    server = ToyServer(usual=Answer(403, changed=False))
    decide = wants(create("a"), create("b"))
    passes = [once(decide, server)]
    for _ in range(4):
        passes.append(once(decide, server, passes[-1]))
    assert [write_of(action).target.name for action in server.sent] == ["a", "b", "a", "b", "a"]
    assert [done.changed for done in passes] == [True, True, False, False, False]
    assert {done.requeue_after for done in passes} == {TEN}
    assert [[refusal.write.target.name for refusal in done.new_refusals] for done in passes] == [
        ["a"],
        ["b"],
        [],
        [],
        [],
    ]


def test_a_refusal_ends_when_its_write_is_no_longer_wanted() -> None:
    """The state keeps only outstanding refusals, and losing one counts as a change."""
    refused = once(wants(create("a")), ToyServer(Answer(403, changed=False)))
    done = once(wants(), ToyServer(), refused)
    assert (done.state.refusals, done.requeue_after, done.changed) == (
        (),
        timedelta(seconds=5),
        True,
    )


def test_a_retry_that_goes_through_ends_the_refusal() -> None:
    """The pass knew of a refusal and comes back after the error interval."""
    refused = once(wants(create("a")), ToyServer(Answer(403, changed=False)))
    done = once(wants(create("a")), ToyServer(Answer(201, changed=True)), refused)
    assert (done.state.refusals, done.requeue_after, done.progressed) == ((), TEN, True)


def test_another_status_is_another_refusal() -> None:
    """403 and then 422 of one write: one refusal, and it changed."""
    first = once(wants(create("a")), ToyServer(Answer(403, changed=False)))
    done = once(wants(create("a")), ToyServer(Answer(422, changed=False)), first)
    assert (done.state.refusals, done.changed) == ((Refused(write_of(create("a")), 422),), True)


@pytest.mark.parametrize(("asked", "waits"), [(3, 10), (90, 90)])
def test_retry_after_lengthens_the_error_interval_and_never_shortens_it(
    asked: int, waits: int
) -> None:
    """The longer of the two counts."""
    answer = Answer(429, changed=False, retry_after=timedelta(seconds=asked))
    done = once(wants(create("a")), ToyServer(answer))
    assert (done.requeue_after, done.retry_after) == (
        timedelta(seconds=waits),
        timedelta(seconds=asked),
    )


def test_the_longest_retry_after_of_a_pass_counts() -> None:
    """An Event asks for 30 s and a write for 20 s."""
    busy = [
        Answer(429, changed=False, retry_after=timedelta(seconds=seconds)) for seconds in (30, 20)
    ]
    assert once(wants(event(), create("a")), ToyServer(*busy)).retry_after == timedelta(seconds=30)


def test_a_write_stays_in_backoff_for_as_long_as_the_server_asks() -> None:
    """Retry-After: 25 keeps the write longer than the error interval of 10 s does."""
    server = ToyServer(Answer(429, changed=False, retry_after=timedelta(seconds=25)))
    first = once(wants(create("a")), server, backs_off=True)
    early = once(wants(create("a")), server, first, at=20, backs_off=True)
    assert (early.sent, early.requeue_after) == ((), timedelta(seconds=5))


def test_a_decision_without_interval_keeps_none() -> None:
    """None stays None, until a refusal sets the error interval."""
    assert once(wants(after=None), ToyServer()).requeue_after is None
    assert (
        once(wants(create("a"), after=None), ToyServer(Answer(500, changed=False))).requeue_after
        == TEN
    )


def test_a_write_without_effect_that_is_wanted_again_counts_as_reverted() -> None:
    """The server drops the content: the second try is proof, and the pass stops there."""
    server = ToyServer(usual=NO_OP)
    decide = wants(patch("a"), create("b"))
    first = once(decide, server)
    assert (first.state.refusals, first.changed, first.progressed) == ((), True, True)
    second = once(decide, server, first)
    assert second.state.refusals == (Reverted(write_of(patch("a"))),)
    assert [write_of(action).target.name for action in server.sent] == ["a", "b", "a"]
    assert second.requeue_after == TEN


def test_the_third_effect_of_one_write_within_a_minute_is_a_fight() -> None:
    """The resourceVersion of the patch does not matter."""
    server, done = ToyServer(), None
    refusals = []
    for number in range(4):
        done = once(wants(patch("a", version=str(number))), server, done, at=number)
        refusals.append(done.state.refusals)
    fight = (Reverted(write_of(patch("a"))),)
    assert refusals == [(), (), fight, fight]
    assert done is not None
    assert (done.effective_writes, done.changed, done.progressed) == (1, True, False)


def test_corrections_more_than_half_a_minute_apart_are_no_fight() -> None:
    """They are everyday work, however often they come."""
    done = None
    for number in range(6):
        done = once(wants(patch("a")), ToyServer(), done, at=31 * number)
        assert done.state.refusals == ()


def test_writes_with_different_bodies_are_no_fight() -> None:
    """Each of six writes to one object has another body."""
    done = None
    for number in range(6):
        done = once(wants(patch("a", {"data": {"n": str(number)}})), ToyServer(), done)
        assert done.state.refusals == ()


def test_a_fight_ends_when_its_write_is_no_longer_wanted() -> None:
    """The refusal goes at once, and the history after a minute."""
    done = None
    for _ in range(3):
        done = once(wants(patch("a")), ToyServer(), done)
    quiet = once(wants(), ToyServer(), done)
    assert (quiet.state.refusals, quiet.requeue_after) == ((), timedelta(seconds=5))
    assert once(wants(), ToyServer(), quiet, at=61).history == WriteHistory()


def test_a_refused_write_stays_in_backoff_whatever_wakes_the_key() -> None:
    """An early pass comes back when the backoff ends; another body goes out at once."""
    server = ToyServer(usual=Answer(422, changed=False))
    first = once(wants(create("a")), server, backs_off=True)
    early = once(wants(create("a")), server, first, at=3, backs_off=True)
    assert (early.sent, early.state, early.changed, early.requeue_after) == (
        (),
        first.state,
        False,
        timedelta(seconds=7),
    )
    other = once(wants(create("a", {"data": {}})), server, early, at=3, backs_off=True)
    assert len(other.sent) == 1
    assert len(once(wants(create("a")), server, early, at=10, backs_off=True).sent) == 1


@pytest.mark.parametrize("interval", [None, 5, 30])
def test_a_decision_that_ignores_refusals_comes_back_when_the_backoff_ends(
    interval: float | None,
) -> None:
    """The pass stops at the write in backoff and does not wait for the interval of the decision."""

    def ignoring(*_: object, **__: object) -> Decision:
        return Decision(
            (create("a"), create("b")),
            None if interval is None else timedelta(seconds=interval),
            Said(),
        )

    server = ToyServer(usual=Answer(422, changed=False))
    first = once(ignoring, server, backs_off=True)
    early = once(ignoring, server, first, at=3, backs_off=True)
    assert (len(server.sent), early.sent, early.requeue_after) == (1, (), timedelta(seconds=7))


def test_the_interval_of_a_decision_replaces_the_error_interval() -> None:
    """The pass that meets the refusal, the later ones and the backoff all last 60 s."""
    decide = wants(create("a"), after_refusal=60)
    server = ToyServer(usual=Answer(403, changed=False))
    first = once(decide, server, backs_off=True)
    early = once(decide, server, first, at=25, backs_off=True)
    again = once(decide, server, early, at=60, backs_off=True)
    waits = [done.requeue_after for done in (first, early, again)]
    assert waits == [timedelta(seconds=60), timedelta(seconds=35), timedelta(seconds=60)]
    assert {done.error_interval for done in (first, early, again)} == {timedelta(seconds=60)}
    assert [len(done.sent) for done in (first, early, again)] == [1, 0, 1]


def test_the_error_interval_serves_decisions_without_an_interval() -> None:
    """A caller may set it, and a decision that names an interval overrules it."""
    for after_refusal, expected in ((None, 3), (60, 60)):
        done = run_pass(
            wants(create("a"), after_refusal=after_refusal),
            ToyServer(usual=Answer(403, changed=False)),
            KEY,
            ReconcileState(),
            now=NOW,
            error_interval=timedelta(seconds=3),
        )
        assert done.requeue_after == timedelta(seconds=expected)


def test_a_conflict_has_no_backoff() -> None:
    """409 says that the object was newer: the next pass has seen it and may write."""
    server = ToyServer(Answer(409, changed=False))
    first = once(wants(create("a")), server, backs_off=True)
    assert len(once(wants(create("a")), server, first, at=1, backs_off=True).sent) == 1


def test_a_clock_that_goes_back_ends_every_backoff() -> None:
    """After a jump back the refused write goes out, and does not wait for the old time."""
    server = ToyServer(usual=Answer(403, changed=False))
    first = once(wants(create("a")), server, backs_off=True)
    assert len(once(wants(create("a")), server, first, at=-30, backs_off=True).sent) == 1


def test_no_body_appears_in_a_pass_or_its_history() -> None:
    """Neither their repr nor a fingerprint shows anything of a body."""
    done = once(
        wants(patch("a", {"data": {"token": "not-to-be-seen"}})),
        ToyServer(Answer(403, changed=False)),
    )
    assert "not-to-be-seen" not in repr(done)
    assert "not-to-be-seen" not in repr(
        [(attempt.write, attempt.fingerprint) for attempt in done.history.attempts]
    )


STATUSES = st.sampled_from([200, 201, 403, 404, 409, 504])
ACTIONS = st.sampled_from([create("a"), patch("a"), delete("a"), create("b"), patch("b"), event()])


@given(
    actions=st.lists(ACTIONS, max_size=5),
    statuses=st.lists(STATUSES, min_size=5, max_size=5),
    before=st.sets(STATUSES),
)
def test_a_pass_is_a_prefix_with_at_most_one_refusal(
    actions: list[Action], statuses: list[int], before: set[int]
) -> None:
    """Only the last one may be refused, and a refusal means the error interval."""
    known = tuple(
        refusal_of(Write("create", child(f"old-{status}")), status) for status in sorted(before)
    )
    server = ToyServer(*(Answer(status, changed=status < 300) for status in statuses))

    def decide(*_: object, **__: object) -> Decision:
        return Decision(tuple(actions), timedelta(seconds=30), Said(), known)

    done = run_pass(decide, server, KEY, ReconcileState(known), now=NOW)
    writes = [
        (write_of(action), answer.status)
        for action, answer in done.sent
        if write_of(action).verb != "event"
    ]
    refused = [
        (write, status)
        for write, status in writes
        if status >= 300 and (write.verb, status) != ("delete", 404)
    ]
    assert [action for action, _ in done.sent] == actions[: len(done.sent)]
    assert refused in ([], writes[-1:])
    assert (len(done.sent) == len(actions)) or refused
    assert set(done.state.refusals) >= set(known)
    assert done.requeue_after == (TEN if done.state.refusals else timedelta(seconds=30))
    assert done.changed == (done.effective_writes > 0 or set(done.state.refusals) != set(known))
