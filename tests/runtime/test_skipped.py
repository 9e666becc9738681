"""Passes that need not be: where nothing that was read has changed, a pure function that did nothing would do nothing again."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Decision,
    ObjectRef,
    Observed,
    ReconcileState,
    Unreadable,
    decide,
    write_of,
)
from captep_core.ports import Answer, Decide, Read
from captep_memory import MemoryGateway, load
from captep_runtime import InMemoryMetrics, Loop, Tuning
from captep_world import WorldServer
from captep_world import Simulation, Story, Subject, VirtualClock, neighbours, stories
from tests.runtime.toys import KEY, NOW, Clock, Said, Server, child, create, event

A, B = child("a"), child("b")
OTHER = ObjectRef(KEY.api_version, KEY.kind, KEY.namespace, "osaka")
HOUR = timedelta(hours=1)
STORIES = (
    stories.creation_to_ready,
    stories.repair,
    stories.failure_and_recovery,
    stories.deletion_of_all,
)
MOST = timedelta(seconds=33)
"""An interval with its spread."""


class Thinking:
    """A `decide` that reads A and B, creates A when it is not there, and counts how often it thinks."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        self.times += 1
        found, _ = read(A), read(B)
        return Decision(
            (create("a"),) if found is ABSENT else (), timedelta(seconds=30), Said("Fine")
        )


class Versioned(Server):
    """A server whose objects have versions."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[ObjectRef, str] = {}
        self.asked: list[ObjectRef] = []
        self.unreadable: set[ObjectRef] = set()
        self.during_read: Callable[[], object] = lambda: None

    def put(self, ref: ObjectRef, version: str) -> None:
        """Store an object."""
        self.objects[ref], self.versions[ref] = {"version": version}, version

    def remove(self, ref: ObjectRef) -> None:
        """Remove an object."""
        del self.objects[ref], self.versions[ref]

    def version(self, ref: ObjectRef) -> str | None:
        """The version of an object."""
        self.asked.append(ref)
        return self.versions.get(ref)

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look an object up."""
        self.during_read()
        return Unreadable("Timeout") if ref in self.unreadable else super().read(ref)


def at_rest(thinking: Decide, server: Versioned, metrics: InMemoryMetrics | None = None) -> Loop:
    """A loop whose key has had the passes that it needs at the beginning."""
    server.put(A, "1")
    loop = Loop(
        thinking, server, Clock(), version=server.version, metrics=metrics or InMemoryMetrics()
    )
    loop.add(KEY)
    loop.run_due(NOW)
    return loop


def test_nothing_changed_is_looked_at_and_not_decided_again() -> None:
    """Within an hour every interval looks at the versions of all that was read, none decides; each counts as a pass."""
    thinking, server, metrics = Thinking(), Versioned(), InMemoryMetrics()
    loop = at_rest(thinking, server, metrics)
    at_beginning, now = thinking.times, NOW
    assert at_beginning == 2
    server.asked.clear()
    while now < NOW + HOUR:
        due = loop.run_due(now)
        assert due is not None
        assert now < due <= now + MOST
        now = due
    looks = len(server.asked) // 2
    assert 105 <= looks <= 120
    assert server.asked == [A, B] * looks
    assert thinking.times == at_beginning
    label = {"controller": "captep", "result": "requeue_after"}
    assert metrics.value("controller_runtime_reconcile_total", label) == 1 + looks
    assert server.sent == []


@pytest.mark.parametrize("change", ["replaced", "appeared", "gone", "removed and added"])
def test_whatever_changed_is_decided_on(change: str) -> None:
    """Another version, an object that came or went, a key that is new again: at the next interval, without having been told."""
    thinking, server = Thinking(), Versioned()
    loop = at_rest(thinking, server)
    match change:
        case "replaced":
            server.put(A, "2")
        case "appeared":
            server.put(B, "1")
        case "gone":
            server.remove(A)
        case _:
            loop.remove(KEY)
            loop.add(KEY)
    before = thinking.times
    loop.run_due(NOW + MOST)
    assert thinking.times > before
    assert [write_of(action) for action in server.sent] == (
        [write_of(create("a"))] * len(server.sent) if change == "gone" else []
    )
    assert bool(server.sent) is (change == "gone")


def test_a_wake_up_without_a_change_is_let_off_too() -> None:
    """What wakes a key is a reason to look, not to decide."""
    thinking, server = Thinking(), Versioned()
    loop = at_rest(thinking, server)
    before = thinking.times
    loop.notify(A)
    loop.run_due(NOW + timedelta(seconds=1))
    assert thinking.times == before
    server.put(A, "2")
    loop.notify(A)
    loop.run_due(NOW + timedelta(seconds=2))
    assert thinking.times == before + 1


def test_a_change_in_the_middle_of_a_pass_is_not_missed() -> None:
    """The version is noted before the object is read: what changes in between is decided on at the next look."""
    thinking, server = Thinking(), Versioned()
    loop = at_rest(thinking, server)
    server.put(A, "2")
    server.during_read = lambda: server.put(A, "3")
    loop.run_due(NOW + MOST)
    server.during_read = lambda: None
    before = thinking.times
    loop.run_due(NOW + 2 * MOST)
    assert thinking.times == before + 1
    loop.run_due(NOW + 3 * MOST)
    assert thinking.times == before + 1


def test_what_is_unreadable_is_decided_on_at_each_interval() -> None:
    """Nobody knows whether it changes."""
    thinking, server = Thinking(), Versioned()
    server.unreadable.add(B)
    loop = at_rest(thinking, server)
    before = thinking.times
    for number in range(1, 6):
        loop.run_due(NOW + number * MOST)
    assert thinking.times == before + 5


def test_a_decision_to_act_is_never_let_off() -> None:
    """Actions that change nothing in the server are decided and sent each time, as without versions."""
    thinking, server = Thinking(), Versioned()
    loop = at_rest(thinking, server)
    server.remove(A)
    server.usual = Answer(403, changed=False)
    before = thinking.times
    for number in range(1, 6):
        loop.run_due(NOW + number * MOST)
    assert thinking.times >= before + 5


def test_an_event_that_is_wanted_is_never_let_off() -> None:
    """A decision that records is decided and sent at each interval."""

    def telling(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((event(),), timedelta(seconds=30), Said())

    server = Versioned()
    loop = at_rest(telling, server)
    before = len(server.sent)
    for number in range(1, 6):
        loop.run_due(NOW + number * MOST)
    assert len(server.sent) == before + 5


def test_what_was_sent_is_remembered_for_a_minute_and_not_for_ever() -> None:
    """Passes are let off after a write as well; that somebody reverts it is seen all the same, and at rest nothing is kept of it."""
    thinking, server = Thinking(), Versioned()
    loop = at_rest(thinking, server)
    server.remove(A)
    loop.run_due(NOW + timedelta(seconds=40))
    server.put(A, "2")
    loop.run_due(NOW + timedelta(seconds=75))
    known, before = [], thinking.times
    for seconds in range(80, 400, 35):
        loop.run_due(NOW + timedelta(seconds=seconds))
        known.append(len(loop._kept[KEY].history.known))
    assert thinking.times == before
    assert known == [1, *[0] * 9]


def test_what_is_let_off_is_due_on_a_tick() -> None:
    """As after a pass, so that many keys are looked at in one go."""
    server = Versioned()
    server.put(A, "1")
    loop = Loop(Thinking(), server, Clock(), version=server.version, tuning=Tuning(align_to=5.0))
    loop.add(KEY)
    now = NOW
    for _ in range(5):
        due = loop.run_due(now)
        assert due is not None
        assert due.timestamp() % 5 == pytest.approx(
            0.0, abs=1e-3
        ) or due.timestamp() % 5 == pytest.approx(5.0, abs=1e-3)
        now = due


def test_a_key_without_interval_is_not_let_off_and_not_looked_at_again() -> None:
    """There is no interval to let it off to: a wake-up is decided on, whatever the tick, and then it waits for the next."""
    times = 0

    def restful(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        nonlocal times
        times += 1
        read(A)
        return Decision((), None, Said("Fine"))

    server = Versioned()
    loop = Loop(restful, server, Clock(), version=server.version, tuning=Tuning(align_to=5.0))
    loop.add(KEY)
    assert loop.run_due(NOW) is None
    before = times
    loop.notify(A)
    assert (loop.run_due(NOW), times) == (None, before + 1)


def test_what_is_remembered_is_decided_on_at_once_and_that_ends() -> None:
    """A pass that did nothing but leaves another recollection is followed by another now; one that never comes to rest is alarmed and paced."""
    flips = iter(range(10_000))

    def fickle(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), timedelta(seconds=30), Said(f"Verdict{next(flips)}"))

    server = Versioned()
    loop = at_rest(fickle, server)
    assert next(flips) <= 22
    due = loop.run_due(NOW)
    assert due is not None
    assert due >= NOW + timedelta(seconds=10)


def test_without_versions_every_interval_decides() -> None:
    """It is the loop's user who says that nothing can change unseen."""
    thinking, server = Thinking(), Versioned()
    server.put(A, "1")
    loop = Loop(thinking, server, Clock())
    loop.add(KEY)
    for number in range(5):
        loop.run_due(NOW + number * MOST)
    assert thinking.times == 5


class Noting:
    """A gateway to a simulated world that notes what it sends, and when."""

    def __init__(self, server: WorldServer, clock: VirtualClock) -> None:
        self._server, self._clock = server, clock
        self.sent: list[tuple[datetime, Action, Answer]] = []

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look an object up."""
        return MemoryGateway(self._server.world).read(ref)

    def version(self, ref: ObjectRef) -> str | None:
        """The version of an object."""
        found = self.read(ref)
        return str(found["metadata"]["resourceVersion"]) if isinstance(found, dict) else None  # type: ignore[index, call-overload]  # JSON

    def send(self, action: Action) -> Answer:
        """Note and send one action."""
        gateway = MemoryGateway(self._server.world)
        answer = gateway.send(action)
        self._server.world = gateway.world
        self.sent.append((self._clock.now(), action, answer))
        return answer


def lived(story: Story, *, versioned: bool) -> tuple[list[tuple[datetime, Action, Answer]], int]:
    """Return what captep sends in a story, and how often it decides."""
    clock, times = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)), 0
    server = WorldServer(load(stories.templates("fleet"), now=clock.now()))
    gateway = Noting(server, clock)

    def counted(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        nonlocal times
        times += 1
        return decide(key, read, state, now=now)

    simulation = Simulation(server, clock, neighbours(), story, Subject("fleet", "tokyo"))
    simulation.attach(Loop(counted, gateway, clock, version=gateway.version if versioned else None))
    simulation.run(clock.now() + timedelta(days=2))
    assert simulation.is_over
    return gateway.sent, times


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_captep_sends_the_same_with_and_without(story: Story) -> None:
    """Over whole stories the same actions are sent at the same moments with the same answers, for fewer decisions."""
    (with_versions, fewer), (without, times) = (
        lived(story, versioned=True),
        lived(story, versioned=False),
    )
    assert with_versions == without
    assert with_versions
    assert fewer < times


def test_workers_that_wait_share_one_alarm() -> None:
    """Four workers: one waits for the next key that is due, a key that is due earlier is not missed, and no key waits for another."""
    passes, enough = (
        {"slow": 0, "quick": 0, "late": 0},
        {"quick": threading.Event(), "late": threading.Event()},
    )

    def decide_by_name(
        key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        passes[key.name] += 1
        if passes[key.name] == 5:
            enough[key.name].set()
        return Decision(
            (), timedelta(seconds={"slow": 3600.0, "quick": 0.02, "late": 0.01}[key.name]), Said()
        )

    loop = Loop(decide_by_name, Server(), Clock(), seconds=time.monotonic)
    loop.start(4)
    for name in ("slow", "quick"):
        loop.add(ObjectRef(KEY.api_version, KEY.kind, KEY.namespace, name))
    assert enough["quick"].wait(10)
    loop.add(ObjectRef(KEY.api_version, KEY.kind, KEY.namespace, "late"))
    assert enough["late"].wait(10)
    assert loop.stop(timedelta(seconds=5))
    assert passes["slow"] == 1


@pytest.mark.parametrize(
    ("alarm", "expected"), [(float("inf"), 50.0), (60.0, 50.0), (50.0, None), (40.0, None)]
)
def test_whoever_finds_an_earlier_key_moves_the_alarm(
    monkeypatch: pytest.MonkeyPatch, alarm: float, expected: float | None
) -> None:
    """A worker waits for the next key, due in 50 s, unless another one waits for it, or for an earlier one."""
    waits = list[float | None]()
    loop = Loop(Thinking(), Server(), Clock(), seconds=lambda: 0.0)
    loop._queue.add(KEY, now=0.0, delay=50.0)
    loop._alarm = alarm
    monkeypatch.setattr(loop._changed, "wait", lambda timeout=None: waits.append(timeout))
    loop._wait()
    assert waits == [expected]
    assert loop._alarm == (float("inf") if expected else alarm)


def test_an_alarm_that_somebody_else_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is due in half a second is waited for half a second; whoever has found an earlier one meanwhile goes on waiting for that."""
    waits = list[float | None]()
    loop = Loop(Thinking(), Server(), Clock(), seconds=lambda: 0.0)
    loop._queue.add(KEY, now=0.0, delay=0.5)

    def wait(timeout: float | None = None) -> None:
        waits.append(timeout)
        loop._alarm = 0.25

    monkeypatch.setattr(loop._changed, "wait", wait)
    loop._wait()
    assert (waits, loop._alarm) == ([0.5], 0.25)


def test_whoever_leaves_to_work_hands_over_the_alarm() -> None:
    """A worker that waited for the clock and works long now does not keep the others from what is due next."""
    released, came_back = threading.Event(), threading.Event()

    def decide_one(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        if key == OTHER:
            released.wait(10)
            return Decision((), None, Said())
        if came_back.is_set():
            released.set()
        came_back.set()
        return Decision((), timedelta(seconds=0.2), Said())

    loop = Loop(decide_one, Server(), Clock(), seconds=time.monotonic, tuning=Tuning(jitter=0))
    loop.add(KEY)
    loop.start(2)
    assert came_back.wait(10)
    loop.add(OTHER)
    assert released.wait(10)
    assert loop.stop(timedelta(seconds=5))
