"""One pass: what it sends, what it keeps for the next pass, and when that is due."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_core import (
    JSON,
    Action,
    Apply,
    Decision,
    ObjectRef,
    Observed,
    ReconcileState,
    Refusal,
    Refused,
    Reverted,
    Throttled,
    Write,
    refusal_of,
    write_of,
)
from captep_core.errors import DecisionError
from captep_core.ports import Answer, Decide, Read
from captep_runtime import Pass, WriteHistory, run_pass
from tests.objects import manifest
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
        ReconcileState((), "Waiting", (), (child("c"),)),
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
        refusal = Throttled if status == 429 else partial(refusal_of, status=status)
        assert done.state.refusals == done.new_refusals == (refusal(write_of(action)),)
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


@pytest.mark.parametrize(("asked", "waits"), [(3, 10), (25, 25), (600, 60)])
def test_a_busy_server_delays_the_write_by_retry_after_and_at_most_a_minute(
    asked: int, waits: int
) -> None:
    """The pass comes back after the error interval, as ever; only the write waits longer."""
    answer = Answer(429, changed=False, retry_after=timedelta(seconds=asked))
    server = ToyServer(answer)
    first = once(wants(create("a")), server, backs_off=True)
    early = once(wants(create("a")), server, first, at=waits - 1, backs_off=True)
    late = once(wants(create("a")), server, early, at=waits, backs_off=True)
    assert [done.requeue_after for done in (first, early)] == [TEN, timedelta(seconds=1)]
    assert [len(done.sent) for done in (first, early, late)] == [1, 0, 1]


def test_a_busy_server_is_a_refusal_after_half_a_minute() -> None:
    """A 429 that lasts is worth a report; the success that follows ends it."""
    busy = Answer(429, changed=False)
    write = write_of(create("a"))
    done, seen = None, []
    for at in (0, 10, 20, 30):
        done = once(wants(create("a")), ToyServer(busy), done, at=at, backs_off=True)
        seen.append(done.state.refusals)
    assert seen == [(Throttled(write),)] * 3 + [(Refused(write, 429),)]
    assert done is not None
    assert done.new_refusals == (Refused(write, 429),)
    assert once(wants(create("a")), ToyServer(), done, at=40).state.refusals == ()


def test_a_busy_server_is_reported_although_its_write_is_in_backoff() -> None:
    """Retry-After: 600 keeps the write back for a minute, and `decide` learns of it after 30 s."""
    given: list[tuple[Refusal, ...]] = []

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        given.append(state.refusals)
        return wants(create("a"))(key, read, state, now=now)

    answer = Answer(429, changed=False, retry_after=timedelta(seconds=600))
    done = None
    for at in (0, 29, 30):
        done = once(decide, ToyServer(answer), done, at=at, backs_off=True)
    write = write_of(create("a"))
    assert given == [(), (Throttled(write),), (Refused(write, 429),)]


def test_a_busy_server_delays_no_other_write() -> None:
    """The second write goes out in the next pass, which comes at once."""
    server = ToyServer(Answer(429, changed=False, retry_after=timedelta(seconds=600)))
    decide = wants(create("a"), create("b"))
    first = once(decide, server, backs_off=True)
    once(decide, server, first, backs_off=True)
    assert first.progressed
    assert [write_of(action).target.name for action in server.sent] == ["a", "b"]


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


FIGHT = Reverted(write_of(patch("a")), ("data.name",))


def fought(times: Sequence[float], server: ToyServer | None = None) -> list[Pass]:
    """Run a pass that wants the same patch at each of the times, in seconds."""
    passes: list[Pass] = []
    for number, at in enumerate(times):
        decide = wants(patch("a", version=str(number)))
        before = passes[-1] if passes else None
        passes.append(once(decide, server or ToyServer(), before, at=at, backs_off=True))
    return passes


@pytest.mark.parametrize("delay", [0, 0.5, 5, 15, 40, 70, 299, 449])
def test_the_third_effect_of_one_write_within_a_quarter_of_an_hour_is_a_fight(delay: float) -> None:
    """The resourceVersion of the patch does not matter."""
    passes = fought([0, delay, 2 * delay])
    assert [done.state.refusals for done in passes] == [(), (), (FIGHT,)]
    assert passes[-1].new_refusals == (FIGHT,)
    assert (passes[-1].effective_writes, passes[-1].changed, passes[-1].requeue_after) == (
        1,
        True,
        TEN,
    )


def test_effects_more_than_half_the_window_apart_are_no_fight() -> None:
    """They are everyday work, however often they come."""
    passes = fought([451 * number for number in range(6)])
    assert {done.state.refusals for done in passes} == {()}


def test_the_backoff_of_a_fight_grows_to_five_minutes() -> None:
    """A key that wants the write each second sends it after 10 s, 20 s, 40 s and so on."""
    sent, done = list[float](), None
    for second in range(1500):
        done = once(wants(patch("a")), ToyServer(), done, at=second, backs_off=True)
        sent.extend([second] * len(done.sent))
        assert done.requeue_after is not None
        assert done.requeue_after <= TEN
    waits = [later - earlier for earlier, later in pairwise(sent)]
    assert waits == [1, 1, 10, 20, 40, 80, 160, 300, 300, 300]


def test_writes_with_different_bodies_are_no_fight() -> None:
    """Each of six writes to one object has another body."""
    done = None
    for number in range(6):
        done = once(wants(patch("a", {"data": {"n": str(number)}})), ToyServer(), done)
        assert done.state.refusals == ()


def test_two_values_that_we_set_in_turn_are_no_fight() -> None:
    """The second value overwrites the first one: we changed our mind, and nobody else did."""
    done = None
    for number in range(8):
        value: dict[str, JSON] = {"data": {"n": str(number % 2), "same": "1"}}
        done = once(wants(patch("a", value)), ToyServer(), done, at=number)
        assert done.state.refusals == ()


def test_a_fight_stays_known_until_the_write_has_stood_for_a_quarter_of_an_hour() -> None:
    """It is known although no pass wants the write, and does not shorten the interval."""
    done = fought([0, 1, 2])[-1]
    for at in (3, 60, 901):
        done = once(wants(), ToyServer(), done, at=at)
        assert (done.state.refusals, done.requeue_after) == ((FIGHT,), timedelta(seconds=5))
    over = once(wants(), ToyServer(), done, at=902)
    assert (over.state.refusals, over.changed, over.history) == ((), True, WriteHistory())


def test_a_fight_is_logged_once() -> None:
    """The passes that follow know it, wanted or not, and it is no new refusal to them."""
    passes = fought([0, 1, 2])
    quiet = once(wants(), ToyServer(), passes[-1], at=3)
    again = once(wants(patch("a")), ToyServer(), quiet, at=20)
    assert [done.new_refusals for done in (*passes, quiet, again)] == [(), (), (FIGHT,), (), ()]


class Managed(ToyServer):
    """A server that names the managers of the fields of each object, and counts live reads."""

    def __init__(self, *managers: tuple[str, dict[str, JSON]]) -> None:
        super().__init__()
        self.managers = managers
        self.live_reads: list[ObjectRef] = []

    def read_live(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Return an object with `managedFields` only."""
        self.live_reads.append(ref)
        entries: list[JSON] = [
            {"manager": manager, "fieldsV1": fields} for manager, fields in self.managers
        ]
        return {"metadata": {"managedFields": entries}}


def test_a_fight_names_the_manager_of_the_field_after_one_read() -> None:
    """The read comes before the third effect: our own write takes the field over."""
    server = Managed(
        ("kubectl-edit", {"f:data": {".": {}, "f:name": {}}}),
        ("other", {"f:data": {"f:name2": {}}, "f:metadata": {}}),
    )
    passes = fought([0, 1, 2, 12, 32], server)
    expected = Reverted(write_of(patch("a")), ("data.name",), "kubectl-edit")
    assert [done.state.refusals for done in passes[2:]] == [(expected,)] * 3
    assert server.live_reads == [child("a")]
    assert str(expected) == (
        "patch ConfigMap fleet/a is accepted but does not last: kubectl-edit changes data.name"
    )


def test_a_fight_over_a_create_or_a_delete_has_no_fields() -> None:
    """A deleted object names no manager; an object that was created again does."""
    server = Managed(("helm", {"f:data": {}}))
    for action in (create("a"), delete("a")):
        done = None
        for at in range(3):
            done = once(wants(action), server, done, at=at)
        assert done is not None
        (fight,) = done.state.refusals
        manager = "helm" if action == delete("a") else ""
        assert fight == Reverted(write_of(action), (), manager)
    assert server.live_reads == [child("a")]


def test_a_create_and_a_delete_in_turn_are_a_fight() -> None:
    """Each has its third effect within the window."""
    server, done, known = ToyServer(), None, list[set[str]]()
    for at in range(6):
        decide = wants(delete("a") if at % 2 else create("a"))
        done = once(decide, server, done, at=at)
        known.append({refusal.write.verb for refusal in done.state.refusals})
    assert known == [set(), set(), set(), set(), {"create"}, {"create", "delete"}]


def test_a_refusal_that_is_not_wanted_for_a_moment_is_known_while_it_is_in_backoff() -> None:
    """Wanted again, the write goes last as before, and does not stop the others."""
    given: list[tuple[Refusal, ...]] = []

    def deciding(*actions: Action) -> Decide:
        def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
            given.append(state.refusals)
            return wants(*actions)(key, read, state, now=now)

        return decide

    server = ToyServer(Answer(422, changed=False))
    refused = once(deciding(create("a")), server, backs_off=True)
    unwanted = once(deciding(), server, refused, at=1, backs_off=True)
    again = once(deciding(create("a"), create("b")), server, unwanted, at=2, backs_off=True)
    refusal = Refused(write_of(create("a")), 422)
    assert given == [(), (refusal,), (refusal,)]
    assert unwanted.state.refusals == ()
    assert [write_of(action).target.name for action in server.sent] == ["a", "b"]
    assert (again.state.refusals, again.new_refusals) == ((refusal,), ())


def answered(body: dict[str, JSON]) -> Answer:
    """An answer with the object that the server made of a write."""
    return Answer(200, changed=True, object=body)


def test_a_field_that_the_server_does_not_keep_goes_into_the_state_once() -> None:
    """The record names it; the pass has news, and the next pass with the same answer has none."""
    pruned = answered({"metadata": {"uid": "u1", "generation": 3}, "data": {}})
    done = once(wants(patch("a")), ToyServer(pruned))
    (record,) = done.state.not_kept
    assert (record.target, record.path, record.uid, record.generation) == (
        child("a"),
        ("data", "name"),
        "u1",
        3,
    )
    assert (str(record), done.new_not_kept) == ("data.name of ConfigMap fleet/a", (record,))
    later = once(wants(), ToyServer(), done)
    assert (later.state.not_kept, later.new_not_kept, later.changed) == ((record,), (), False)


def test_a_write_that_the_server_keeps_ends_the_record_of_its_fields() -> None:
    """The definition of the kind has the field now; records of other fields stay."""
    pruned = answered({"metadata": {"uid": "u1"}, "data": {}})
    other: dict[str, JSON] = {"data": {"other": "1"}}
    done = once(wants(patch("a")), ToyServer(pruned))
    done = once(wants(patch("a", other)), ToyServer(pruned), done)
    assert [record.path[-1] for record in done.state.not_kept] == ["name", "other"]
    kept = answered({"metadata": {"uid": "u1"}, "data": {"name": "a"}})
    done = once(wants(patch("a")), ToyServer(kept), done)
    assert [record.path[-1] for record in done.state.not_kept] == ["other"]


def test_the_state_names_the_objects_that_passes_deleted() -> None:
    """Each once, and not those whose delete was refused."""
    server = ToyServer(OK, Answer(403, changed=False))
    done = once(wants(delete("a"), delete("b")), server)
    done = once(wants(delete("a")), ToyServer(), done)
    assert done.state.deleted == (child("a"),)


CYCLE: dict[str, Any] = {}
CYCLE["itself"] = CYCLE
THRICE: dict[str, Any] = {}
THRICE |= {"a": THRICE, "b": THRICE, "c": THRICE}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"spec": {"at": NOW}}, "$.spec.at is a datetime"),
        ({"spec": [{"names": {"a"}}]}, "$.spec[0].names is a set"),
        ({"data": {(1, 2): "x"}}, "$.data has a tuple as a key"),
        ({"spec": {"ratio": float("nan")}}, "$.spec.ratio is nan"),
        ({"spec": {"ratio": float("inf")}}, "$.spec.ratio is inf"),
        ({"data": {"key": b"secret"}}, "$.data.key is a bytes"),
        (THRICE, "$" + ".c" * 29 + ".... is nested deeper than 200 levels"),
        (CYCLE, "$" + ".itself" * 8 + ".it... is nested deeper than 200 levels"),
    ],
)
def test_a_body_that_is_no_json_raises_before_anything_is_sent(body: Any, problem: str) -> None:  # noqa: ANN401
    """The error has the path and the type of the value, and never the value."""
    server = ToyServer()
    with pytest.raises(DecisionError) as raised:
        once(wants(create("a"), create("b", body)), server)
    assert str(raised.value) == f"create ConfigMap fleet/b: the body is no JSON: {problem}"
    assert server.sent == []


def test_a_body_of_any_mappings_and_sequences_is_sent() -> None:
    """Frozen mappings, tuples, classes of an author's own and subclasses of str are JSON too."""

    class Name(str):
        __slots__ = ()

    own: Any = OrderedDict(
        {Name("a"): (Name("b"), 1, 1.5, None, True, [MappingProxyType({"c": "d"})])}
    )
    server = ToyServer()
    once(wants(create("a", {"spec": own}), create("b", {"spec": dict(own)})), server)
    assert len(server.sent) == 2


def test_a_decide_that_returns_something_else_raises() -> None:
    """The error has the type of the value."""
    with pytest.raises(DecisionError, match="decide returned a dict, expected a Decision"):
        once(lambda *_, **__: {}, ToyServer())  # type: ignore[arg-type]  # on purpose


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


def refusing(text: str, status: int = 422) -> ToyServer:
    """Return a server that refuses every write with `text`."""
    return ToyServer(usual=Answer(status, changed=False, reason="Invalid", message=text))


@given(
    st.lists(st.text(max_size=3), min_size=2, max_size=5),
    st.sampled_from([403, 409, 422, 429, 500]),
    st.booleans(),
    st.booleans(),
)
def test_the_first_message_of_a_refusal_stays(
    texts: list[str], status: int, backs_off: bool, lists: bool
) -> None:
    """Whatever a webhook says later, the state of the key, its size and its news stay the same.

    Bounds: five tries, the later ones with other bodies, within or after the backoff; for a
    decision that lists its refusals and for one that does not.
    """
    done: Pass | None = None
    for number, text in enumerate(texts):
        body: dict[str, JSON] = {"data": {"try": str(number)}}
        decide = wants(patch("a", body)) if lists else _forgets(patch("a", body))
        again = once(decide, refusing(text, status), done, at=11 * number, backs_off=backs_off)
        shown = [(each.reason, each.message) for each in again.state.refusals]
        assert shown == [("Invalid", texts[0])]
        if done is not None and status != 429:
            assert (again.new_refusals, again.changed) == ((), False)
        done = again


def _forgets(action: Action) -> Decide:
    """Return a Decide that wants `action` and never lists a refusal."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((action,), timedelta(seconds=5), Said())

    return decide


def test_another_reason_is_another_refusal() -> None:
    """The server now refuses for another cause, and its words are news."""
    first = once(wants(create("a")), refusing("over quota"))
    other = Answer(422, changed=False, reason="Forbidden", message="no right")
    again = once(wants(create("a")), ToyServer(other), first, at=20)
    refusal = Refused(write_of(create("a")), 422, "Forbidden", "no right")
    assert again.new_refusals == (refusal,)
    assert again.new_refusals[0].message == "no right"


def test_a_refusal_after_a_success_has_its_own_message() -> None:
    """The write went through in between, so the old words are over."""
    first = once(wants(create("a")), refusing("over quota"))
    second = once(wants(create("a")), ToyServer(), first, at=20)
    third = once(wants(create("a")), refusing("another quota"), second, at=40)
    assert [each.message for each in third.state.refusals] == ["another quota"]


def apply(name: str) -> Apply:
    """Apply a child."""
    return Apply(child(name), {**manifest(child(name)), "data": {"name": name}}, f"want {name}")


def test_a_conflict_of_managers_is_reported_and_paced() -> None:
    """A retry at once would meet the same manager: the write waits out its interval."""
    message = 'conflict with "kubectl" using v1: .data.name'
    conflict = Answer(409, changed=False, reason="FieldManagerConflict", message=message)
    server = ToyServer(usual=conflict)
    first = once(wants(apply("a")), server, backs_off=True)
    (refusal,) = first.state.refusals
    assert str(refusal).endswith(f"is refused: HTTP 409 FieldManagerConflict: {message}")
    again = once(wants(apply("a")), server, first, at=9, backs_off=True)
    assert (again.sent, again.requeue_after) == ((), timedelta(seconds=1))


def test_an_apply_that_somebody_undoes_is_a_fight_over_its_fields() -> None:
    """It is known by its body, as a patch is."""
    done: Pass | None = None
    for number in range(3):
        done = once(wants(apply("a")), ToyServer(), done, at=number)
    assert done is not None
    assert [str(each) for each in done.new_refusals] == [
        "apply ConfigMap fleet/a is accepted but does not last: another writer changes data.name"
    ]


def test_an_apply_says_nothing_of_fields_that_are_not_kept() -> None:
    """The answer holds the list entries of other managers as well."""
    answer = Answer(200, changed=True, object={"data": {}})
    assert once(wants(apply("a")), ToyServer(answer)).new_not_kept == ()
