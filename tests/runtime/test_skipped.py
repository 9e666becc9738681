"""Skipped passes: a pure function that did nothing does nothing again on the same reads."""

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
from captep_world import Simulation, Story, Subject, VirtualClock, WorldServer, neighbours, stories
from tests.runtime.toys import KEY, NOW, Clock, Said, ToyServer, child, create, event

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
"""An interval with the largest jitter."""


class CountingDecide:
    """A `decide` that reads A and B, creates A when it is absent, and counts its calls."""

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


class Versioned(ToyServer):
    """A server whose objects have versions."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[ObjectRef, str] = {}
        self.asked: list[ObjectRef] = []
        self.unreadable: set[ObjectRef] = set()
        self.during_read: Callable[[], object] = lambda: None

    def put(self, ref: ObjectRef, version: str) -> None:
        """Store an object."""
        self.objects[ref] = {"version": version}
        self.versions[ref] = version

    def remove(self, ref: ObjectRef) -> None:
        """Remove an object."""
        del self.objects[ref]
        del self.versions[ref]

    def version(self, ref: ObjectRef) -> str | None:
        """Return the version of an object."""
        self.asked.append(ref)
        return self.versions.get(ref)

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look an object up."""
        self.during_read()
        return Unreadable("Timeout") if ref in self.unreadable else super().read(ref)


def loop_at_rest(
    counting: Decide, server: Versioned, metrics: InMemoryMetrics | None = None
) -> Loop:
    """Return a loop whose key has come to rest."""
    server.put(A, "1")
    loop = Loop(
        counting, server, Clock(), version=server.version, metrics=metrics or InMemoryMetrics()
    )
    loop.add(KEY)
    loop.run_due(NOW)
    return loop


def test_a_key_at_rest_is_looked_at_each_interval_and_not_decided_again() -> None:
    """Each look compares the versions of all reads and counts as a pass."""
    counting, server, metrics = CountingDecide(), Versioned(), InMemoryMetrics()
    loop = loop_at_rest(counting, server, metrics)
    at_beginning, now = counting.times, NOW
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
    assert counting.times == at_beginning
    label = {"controller": "captep", "result": "requeue_after"}
    assert metrics.value("controller_runtime_reconcile_total", label) == 1 + looks
    assert server.sent == []


@pytest.mark.parametrize("change", ["replaced", "appeared", "gone", "removed and added"])
def test_the_next_interval_decides_on_a_change_that_woke_no_key(change: str) -> None:
    """A new version, an object that came or went, a key that was added again."""
    counting, server = CountingDecide(), Versioned()
    loop = loop_at_rest(counting, server)
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
    before = counting.times
    loop.run_due(NOW + MOST)
    assert counting.times > before
    assert [write_of(action) for action in server.sent] == (
        [write_of(create("a"))] * len(server.sent) if change == "gone" else []
    )
    assert bool(server.sent) is (change == "gone")


def test_a_wake_up_without_a_change_is_skipped() -> None:
    """A wake-up is a reason to look, and a changed version the reason to decide."""
    counting, server = CountingDecide(), Versioned()
    loop = loop_at_rest(counting, server)
    before = counting.times
    loop.notify(A)
    loop.run_due(NOW + timedelta(seconds=1))
    assert counting.times == before
    server.put(A, "2")
    loop.notify(A)
    loop.run_due(NOW + timedelta(seconds=2))
    assert counting.times == before + 1


def test_a_change_during_a_read_leads_to_another_decision() -> None:
    """The loop notes the version before the read, so the next look finds another one."""
    counting, server = CountingDecide(), Versioned()
    loop = loop_at_rest(counting, server)
    server.put(A, "2")
    server.during_read = lambda: server.put(A, "3")
    loop.run_due(NOW + MOST)
    server.during_read = lambda: None
    before = counting.times
    loop.run_due(NOW + 2 * MOST)
    assert counting.times == before + 1
    loop.run_due(NOW + 3 * MOST)
    assert counting.times == before + 1


def test_a_key_that_reads_an_unreadable_object_is_never_skipped() -> None:
    """Such an object may change without a new version."""
    counting, server = CountingDecide(), Versioned()
    server.unreadable.add(B)
    loop = loop_at_rest(counting, server)
    before = counting.times
    for number in range(1, 6):
        loop.run_due(NOW + number * MOST)
    assert counting.times == before + 5


def test_a_key_with_a_refused_write_is_never_skipped() -> None:
    """Each interval decides and sends the write, as it does without versions."""
    counting, server = CountingDecide(), Versioned()
    loop = loop_at_rest(counting, server)
    server.remove(A)
    server.usual = Answer(403, changed=False)
    before = counting.times
    for number in range(1, 6):
        loop.run_due(NOW + number * MOST)
    assert counting.times >= before + 5


def test_a_key_that_wants_an_event_is_never_skipped() -> None:
    """Each interval decides and records it."""

    def recording(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((event(),), timedelta(seconds=30), Said())

    server = Versioned()
    loop = loop_at_rest(recording, server)
    before = len(server.sent)
    for number in range(1, 6):
        loop.run_due(NOW + number * MOST)
    assert len(server.sent) == before + 5


def test_skipped_passes_drop_attempts_that_are_too_old() -> None:
    """A key that was skipped all the time keeps an attempt for a while and not for ever."""
    counting, server = CountingDecide(), Versioned()
    loop = loop_at_rest(counting, server)
    server.remove(A)
    loop.run_due(NOW + timedelta(seconds=40), limit=1)
    server.put(A, "2")
    loop.run_due(NOW + timedelta(seconds=75))
    known, before = [], counting.times
    for seconds in range(80, 1200, 35):
        loop.run_due(NOW + timedelta(seconds=seconds))
        known.append(len(loop._states[KEY].history.attempts))
    assert counting.times == before
    assert known == [1] * 25 + [0] * 7


def test_a_skipped_key_is_due_at_a_multiple_of_the_alignment() -> None:
    """So it is after a pass."""
    server = Versioned()
    server.put(A, "1")
    loop = Loop(
        CountingDecide(), server, Clock(), version=server.version, tuning=Tuning(align_to=5.0)
    )
    loop.add(KEY)
    now = NOW
    for _ in range(5):
        due = loop.run_due(now)
        assert due is not None
        assert due.timestamp() % 5 == pytest.approx(
            0.0, abs=1e-3
        ) or due.timestamp() % 5 == pytest.approx(5.0, abs=1e-3)
        now = due


def test_a_key_without_interval_is_never_skipped() -> None:
    """Each wake-up decides, and then the key waits for the next one."""
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


def test_a_new_state_leads_to_a_pass_at_once_until_the_key_has_a_cooldown() -> None:
    """A key whose verdict changes in each pass has a cooldown after 20 of them."""
    flips = iter(range(10_000))

    def fickle(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        return Decision((), timedelta(seconds=30), Said(f"Verdict{next(flips)}"))

    server = Versioned()
    loop = loop_at_rest(fickle, server)
    assert next(flips) <= 22
    due = loop.run_due(NOW)
    assert due is not None
    assert due >= NOW + timedelta(seconds=10)


def test_a_loop_without_versions_decides_at_every_interval() -> None:
    """Only the caller knows whether every change has a new version."""
    counting, server = CountingDecide(), Versioned()
    server.put(A, "1")
    loop = Loop(counting, server, Clock())
    loop.add(KEY)
    for number in range(5):
        loop.run_due(NOW + number * MOST)
    assert counting.times == 5


class Noting:
    """A gateway to a simulated world that keeps all actions with their times."""

    def __init__(self, server: WorldServer, clock: VirtualClock) -> None:
        self._server = server
        self._clock = clock
        self.sent: list[tuple[datetime, Action, Answer]] = []

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look an object up."""
        return MemoryGateway(self._server.world).read(ref)

    def version(self, ref: ObjectRef) -> str | None:
        """Return the version of an object."""
        found = self.read(ref)
        return str(found["metadata"]["resourceVersion"]) if isinstance(found, dict) else None  # type: ignore[index, call-overload]  # JSON

    def send(self, action: Action) -> Answer:
        """Send one action and keep it."""
        gateway = MemoryGateway(self._server.world)
        answer = gateway.send(action)
        self._server.world = gateway.world
        self.sent.append((self._clock.now(), action, answer))
        return answer


def lived(story: Story, *, versioned: bool) -> tuple[list[tuple[datetime, Action, Answer]], int]:
    """Return the actions of captep in a story, and the number of its decisions."""
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    times = 0
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
    """Over whole stories actions, times and answers are the same, for fewer decisions."""
    with_versions, fewer = lived(story, versioned=True)
    without, times = lived(story, versioned=False)
    assert with_versions == without
    assert with_versions
    assert fewer < times


def test_waiting_workers_share_one_timer() -> None:
    """One of four waits for the next deadline; a key with an earlier one is on time."""
    passes = {"slow": 0, "quick": 0, "late": 0}
    enough = {"quick": threading.Event(), "late": threading.Event()}

    def decide_by_name(
        key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        passes[key.name] += 1
        if passes[key.name] == 5:
            enough[key.name].set()
        return Decision(
            (), timedelta(seconds={"slow": 3600.0, "quick": 0.02, "late": 0.01}[key.name]), Said()
        )

    loop = Loop(decide_by_name, ToyServer(), Clock(), seconds=time.monotonic)
    loop.start(4)
    for name in ("slow", "quick"):
        loop.add(ObjectRef(KEY.api_version, KEY.kind, KEY.namespace, name))
    assert enough["quick"].wait(10)
    loop.add(ObjectRef(KEY.api_version, KEY.kind, KEY.namespace, "late"))
    assert enough["late"].wait(10)
    assert loop.stop(timedelta(seconds=5))
    assert passes["slow"] == 1


@pytest.mark.parametrize(
    ("timer", "expected"), [(float("inf"), 50.0), (60.0, 50.0), (50.0, None), (40.0, None)]
)
def test_a_worker_sets_the_timer_unless_it_is_set_to_an_earlier_deadline(
    monkeypatch: pytest.MonkeyPatch, timer: float, expected: float | None
) -> None:
    """The next key is due in 50 s; the worker waits without a timeout when another one has it."""
    waits = list[float | None]()
    loop = Loop(CountingDecide(), ToyServer(), Clock(), seconds=lambda: 0.0)
    loop._queue.add(KEY, now=0.0, delay=50.0)
    loop._timer = timer
    monkeypatch.setattr(loop._changed, "wait", lambda timeout=None: waits.append(timeout))
    loop._wait()
    assert waits == [expected]
    assert loop._timer == (float("inf") if expected else timer)


def test_a_worker_leaves_a_timer_that_another_one_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker waited half a second; the other one still waits for an earlier key."""
    waits = list[float | None]()
    loop = Loop(CountingDecide(), ToyServer(), Clock(), seconds=lambda: 0.0)
    loop._queue.add(KEY, now=0.0, delay=0.5)

    def wait(timeout: float | None = None) -> None:
        waits.append(timeout)
        loop._timer = 0.25

    monkeypatch.setattr(loop._changed, "wait", wait)
    loop._wait()
    assert (waits, loop._timer) == ([0.5], 0.25)


def test_a_worker_that_starts_a_pass_hands_the_timer_over() -> None:
    """A long pass does not keep the other workers from the next key."""
    released, came_back = threading.Event(), threading.Event()

    def decide_one(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        if key == OTHER:
            released.wait(10)
            return Decision((), None, Said())
        if came_back.is_set():
            released.set()
        came_back.set()
        return Decision((), timedelta(seconds=0.2), Said())

    loop = Loop(decide_one, ToyServer(), Clock(), seconds=time.monotonic, tuning=Tuning(jitter=0))
    loop.add(KEY)
    loop.start(2)
    assert came_back.wait(10)
    loop.add(OTHER)
    assert released.wait(10)
    assert loop.stop(timedelta(seconds=5))
