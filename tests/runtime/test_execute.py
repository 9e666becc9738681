"""One pass: what is sent, what is remembered, when the next one is due."""

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
    Server,
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
    server: Server,
    before: Pass | None = None,
    *,
    at: float = 0,
    retry_backoff: float = 0,
) -> Pass:
    """Run one pass `at` seconds after the start, given what the pass `before` left."""
    return run_pass(
        decide,
        server,
        KEY,
        before.state if before else ReconcileState(),
        now=NOW + timedelta(seconds=at),
        history=before.history if before else WriteHistory(),
        retry_backoff=timedelta(seconds=retry_backoff),
    )


def test_all_actions_are_sent_in_order() -> None:
    """Nothing is refused: everything is sent, the decision's interval holds and its verdict is remembered."""
    actions = (create("a"), patch("b"), delete("c"), event())
    server = Server()
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
    """Whatever the verb and the status, the rest is not sent and the refusal is remembered; only a delete's 404 is success."""
    server = Server(OK, Answer(status, changed=False))
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


def test_decide_is_given_the_key_the_world_and_what_is_remembered() -> None:
    """As they are."""
    server, given = Server(), list[object]()
    server.objects[child("a")] = {"data": {}}

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        given.extend((key, read(child("a")), state, now))
        return Decision((), None, Said())

    run_pass(decide, server, KEY, ReconcileState((), "Before"), now=NOW)
    assert given == [KEY, {"data": {}}, ReconcileState((), "Before"), NOW]


def test_a_refused_event_stops_nothing_and_is_forgotten() -> None:
    """An Event that is refused leaves no trace but its answer."""
    server = Server(Answer(403, changed=False))
    done = once(wants(event(), create("a")), server)
    assert server.sent == [event(), create("a")]
    assert (done.state, done.effective_writes, done.requeue_after) == (
        ReconcileState((), "Waiting"),
        1,
        timedelta(seconds=5),
    )


def test_events_do_not_count() -> None:
    """A pass that only recorded an Event changed nothing."""
    done = once(wants(event()), Server())
    assert (done.effective_writes, done.changed, done.progressed) == (0, False, False)


def test_an_event_that_was_not_sent_is_not_told() -> None:
    """A pass that stops before its Event keeps the verdict that was told last, so that the core records the Event later."""
    done = once(
        wants(patch("a"), event("Ready"), reason="Ready"), Server(Answer(409, changed=False))
    )
    assert done.state.verdict == ""
    again = once(wants(event("Ready"), reason="Ready"), Server(), done)
    assert again.state.verdict == "Ready"


def test_several_refused_writes_take_turns() -> None:
    """A write that is tried again and refused again goes to the end of the list; the order is no change."""
    server = Server(usual=Answer(403, changed=False))
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


def test_a_refusal_that_nobody_wants_any_more_is_forgotten() -> None:
    """What the decision does not list as standing is gone, and the pass says that something changed."""
    refused = once(wants(create("a")), Server(Answer(403, changed=False)))
    done = once(wants(), Server(), refused)
    assert (done.state.refusals, done.requeue_after, done.changed) == (
        (),
        timedelta(seconds=5),
        True,
    )


def test_a_retry_that_goes_through_ends_the_refusal() -> None:
    """The write leaves the list; the pass still knew of a refusal, and comes back after the error interval."""
    refused = once(wants(create("a")), Server(Answer(403, changed=False)))
    done = once(wants(create("a")), Server(Answer(201, changed=True)), refused)
    assert (done.state.refusals, done.requeue_after, done.progressed) == ((), TEN, True)


def test_another_status_is_another_refusal() -> None:
    """403 and then 422 of one write: one refusal, and it changed."""
    first = once(wants(create("a")), Server(Answer(403, changed=False)))
    done = once(wants(create("a")), Server(Answer(422, changed=False)), first)
    assert (done.state.refusals, done.changed) == ((Refused(write_of(create("a")), 422),), True)


@pytest.mark.parametrize(("asked", "waits"), [(3, 10), (90, 90)])
def test_the_server_may_ask_for_more_patience(asked: int, waits: int) -> None:
    """Retry-After counts when it is longer than the error interval."""
    answer = Answer(429, changed=False, retry_after=timedelta(seconds=asked))
    done = once(wants(create("a")), Server(answer))
    assert (done.requeue_after, done.retry_after) == (
        timedelta(seconds=waits),
        timedelta(seconds=asked),
    )


def test_of_two_that_ask_for_patience_the_longer_counts() -> None:
    """An Event and a write."""
    busy = [
        Answer(429, changed=False, retry_after=timedelta(seconds=seconds)) for seconds in (30, 20)
    ]
    assert once(wants(event(), create("a")), Server(*busy)).retry_after == timedelta(seconds=30)


def test_a_write_is_held_back_for_as_long_as_the_server_asks() -> None:
    """Longer than the retry interval."""
    server = Server(Answer(429, changed=False, retry_after=timedelta(seconds=25)))
    first = once(wants(create("a")), server, retry_backoff=10)
    early = once(wants(create("a")), server, first, at=20, retry_backoff=10)
    assert (early.sent, early.requeue_after) == ((), timedelta(seconds=5))


def test_a_decision_without_interval_keeps_none() -> None:
    """Nothing to come back for stays that; a refusal overrules it."""
    assert once(wants(after=None), Server()).requeue_after is None
    assert (
        once(wants(create("a"), after=None), Server(Answer(500, changed=False))).requeue_after
        == TEN
    )


def test_a_write_that_changes_nothing_and_is_wanted_again_does_not_last() -> None:
    """The server drops what we write: known at the second try, remembered with its 2xx, and the pass stops there."""
    server = Server(usual=NO_OP)
    decide = wants(patch("a"), create("b"))
    first = once(decide, server)
    assert (first.state.refusals, first.changed, first.progressed) == ((), True, True)
    second = once(decide, server, first)
    assert second.state.refusals == (Reverted(write_of(patch("a"))),)
    assert [write_of(action).target.name for action in server.sent] == ["a", "b", "a"]
    assert second.requeue_after == TEN


def test_a_write_that_is_reverted_does_not_last() -> None:
    """Accepted three times within a minute, with an effect each time: a fight, whatever resourceVersion the patch carried."""
    server, done = Server(), None
    refusals = []
    for number in range(4):
        done = once(wants(patch("a", version=str(number))), server, done, at=number)
        refusals.append(done.state.refusals)
    fight = (Reverted(write_of(patch("a"))),)
    assert refusals == [(), (), fight, fight]
    assert done is not None
    assert (done.effective_writes, done.changed, done.progressed) == (1, True, False)


def test_a_slow_reverter_is_no_fight() -> None:
    """Three corrections, each more than half a minute after the one before, are everyday work."""
    done = None
    for number in range(6):
        done = once(wants(patch("a")), Server(), done, at=31 * number)
        assert done.state.refusals == ()


def test_other_content_is_no_fight() -> None:
    """The same object is written again and again, but with another body each time."""
    done = None
    for number in range(6):
        done = once(wants(patch("a", {"data": {"n": str(number)}})), Server(), done)
        assert done.state.refusals == ()


def test_a_fight_that_ends_is_forgotten() -> None:
    """Once the write is no longer wanted, the refusal goes; nothing is remembered after a minute."""
    done = None
    for _ in range(3):
        done = once(wants(patch("a")), Server(), done)
    quiet = once(wants(), Server(), done)
    assert (quiet.state.refusals, quiet.requeue_after) == ((), timedelta(seconds=5))
    assert once(wants(), Server(), quiet, at=61).history == WriteHistory()


def test_the_same_failed_write_is_held_back() -> None:
    """Woken early, a pass does not repeat what has just been refused, and comes back when it may be; another body goes at once."""
    server = Server(usual=Answer(422, changed=False))
    first = once(wants(create("a")), server, retry_backoff=10)
    early = once(wants(create("a")), server, first, at=3, retry_backoff=10)
    assert (early.sent, early.state, early.changed, early.requeue_after) == (
        (),
        first.state,
        False,
        timedelta(seconds=7),
    )
    other = once(wants(create("a", {"data": {}})), server, early, at=3, retry_backoff=10)
    assert len(other.sent) == 1
    assert len(once(wants(create("a")), server, early, at=10, retry_backoff=10).sent) == 1


@pytest.mark.parametrize("interval", [None, 5, 30])
def test_whoever_decides_without_looking_back_comes_back_when_the_hold_is_over(
    interval: float | None,
) -> None:
    """A decision that lists no standing refusals stops at the held write all the same, and the pass does not wait for its interval."""

    def forgetful(*_: object, **__: object) -> Decision:
        return Decision(
            (create("a"), create("b")),
            None if interval is None else timedelta(seconds=interval),
            Said(),
        )

    server = Server(usual=Answer(422, changed=False))
    first = once(forgetful, server, retry_backoff=10)
    early = once(forgetful, server, first, at=3, retry_backoff=10)
    assert (len(server.sent), early.sent, early.requeue_after) == (1, (), timedelta(seconds=7))


def test_a_conflict_is_not_held_back() -> None:
    """409 says that the object was newer: the next pass has seen it and may write."""
    server = Server(Answer(409, changed=False))
    first = once(wants(create("a")), server, retry_backoff=10)
    assert len(once(wants(create("a")), server, first, at=1, retry_backoff=10).sent) == 1


def test_a_clock_that_goes_back_holds_nothing_back() -> None:
    """After a jump back, a refused write is tried, not kept until the old time comes again."""
    server = Server(usual=Answer(403, changed=False))
    first = once(wants(create("a")), server, retry_backoff=10)
    assert len(once(wants(create("a")), server, first, at=-30, retry_backoff=10).sent) == 1


def test_bodies_are_not_kept() -> None:
    """What is remembered of a write shows nothing of its body, not even in a repr."""
    done = once(
        wants(patch("a", {"data": {"token": "not-to-be-seen"}})), Server(Answer(403, changed=False))
    )
    assert "not-to-be-seen" not in repr(done)
    assert "not-to-be-seen" not in repr(
        [(attempt.write, attempt.fingerprint) for attempt in done.history.known]
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
    """Always: what was sent is a prefix, only its last write may be refused, and a known refusal means the error interval."""
    known = tuple(
        refusal_of(Write("create", child(f"old-{status}")), status) for status in sorted(before)
    )
    server = Server(*(Answer(status, changed=status < 300) for status in statuses))

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
