"""The work queue against a slow and obvious model, and its pure parts one by one."""

import subprocess
import sys

import pytest
from attrs import evolve, frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from captep_core import Backoff, WorkQueue, jittered

KEYS = st.sampled_from(["a", "b", "c"])
DELAYS = st.sampled_from([0.0, 1.0, 3.0])
BACKOFF = Backoff(base=1.0, cap=4.0)


@frozen
class _Waiting:
    key: str
    due_at: float
    turn: int


class _Model:
    """A list of all waiting keys; every answer comes from reading all of it."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []
        self.running: dict[str, bool] = {}
        self.failures: dict[str, int] = {}
        self.turn = 0

    def add(self, key: str, due_at: float) -> None:
        self.turn += 1
        if any(w.key == key and w.due_at <= due_at for w in self.waiting):
            return
        self.waiting = [w for w in self.waiting if w.key != key] + [
            _Waiting(key, due_at, self.turn)
        ]

    def ready(self) -> list[_Waiting]:
        return sorted(
            (w for w in self.waiting if w.key not in self.running), key=lambda w: (w.due_at, w.turn)
        )

    def pop(self, now: float) -> str | None:
        due = [w for w in self.ready() if w.due_at <= now]
        if not due:
            return None
        self.waiting.remove(due[0])
        self.running[due[0].key] = True
        return due[0].key

    def end(self, key: str, due_at: float | None) -> None:
        comes_back = self.running[key]
        if comes_back and due_at is not None:
            self.add(key, due_at)
        del self.running[key]
        self.turn += 1
        self.waiting = [evolve(w, turn=self.turn) if w.key == key else w for w in self.waiting]

    def forget(self, key: str) -> None:
        self.waiting = [w for w in self.waiting if w.key != key]
        self.failures.pop(key, None)
        if key in self.running:
            self.running[key] = False


class QueueAgainstModel(RuleBasedStateMachine):
    """Applies every operation to both; they must agree in every answer."""

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.queue: WorkQueue[str] = WorkQueue(BACKOFF)
        self.model = _Model()
        self.now = 0.0

    @rule(key=KEYS, delay=DELAYS)
    def add(self, key: str, delay: float) -> None:
        self.queue.add(key, now=self.now, delay=delay)
        self.model.add(key, self.now + delay)

    @rule()
    def pop(self) -> None:
        assert self.queue.pop(now=self.now) == self.model.pop(self.now)

    @precondition(lambda self: self.model.running)
    @rule(data=st.data(), requeue_after=st.none() | DELAYS)
    def done(self, data: st.DataObject, requeue_after: float | None) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.running)))
        self.queue.done(key, now=self.now, requeue_after=requeue_after)
        self.model.failures.pop(key, None)
        self.model.end(key, None if requeue_after is None else self.now + requeue_after)

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def failed(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.running)))
        failures = self.model.failures.get(key, 0) + 1
        wait = {1: 1.0, 2: 2.0}.get(failures, 4.0)
        if self.model.running[key]:
            self.model.failures[key] = failures
        self.model.end(key, self.now + wait)
        assert self.queue.failed(key, now=self.now) == wait

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.model.forget(key)

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def agrees_with_the_model(self) -> None:
        ready = self.model.ready()
        assert self.queue.next_wakeup() == (ready[0].due_at if ready else None)
        assert len(self.queue) == len(self.model.waiting)
        assert self.queue.depth(now=self.now) == sum(w.due_at <= self.now for w in ready)
        for key in ("a", "b", "c"):
            assert (key in self.queue) == (
                key in self.model.running or any(w.key == key for w in self.model.waiting)
            )


def test_the_queue_does_what_the_model_does() -> None:
    """They agree after any sequence of adds, pops, ends, forgets and waits."""
    run_state_machine_as_test(
        QueueAgainstModel,
        settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
    )


def test_the_earliest_deadline_wins_and_a_later_one_does_not_delay() -> None:
    """A key waits once, until the earliest of its deadlines."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", now=0, delay=5)
    queue.add("a", now=1, delay=1)
    queue.add("a", now=1, delay=9)
    assert (len(queue), queue.next_wakeup()) == (1, 2)
    assert [queue.pop(now=1.9), queue.pop(now=2), queue.pop(now=20)] == [None, "a", None]


def test_a_key_is_due_from_its_deadline_until_its_run_begins() -> None:
    """Adding it again in between changes nothing."""
    queue: WorkQueue[str] = WorkQueue()
    assert not queue.is_due("a", now=9.0)
    queue.add("a", now=0.0, delay=2.0)
    assert [queue.is_due("a", now=now) for now in (1.0, 2.0, 3.0)] == [False, True, True]
    queue.pop(now=2.0)
    assert not queue.is_due("a", now=2.0)
    queue.add("a", now=2.0)
    assert queue.is_due("a", now=2.0)


def test_adding_a_key_again_for_the_same_time_keeps_its_place() -> None:
    """Of two keys with one deadline the first one stays first, however often it is added."""
    queue = WorkQueue[str]()
    for key in ("a", "b", "a"):
        queue.add(key, now=0, delay=5)
    assert [queue.pop(now=5), queue.pop(now=5)] == ["a", "b"]


def test_a_key_that_is_added_during_its_run_runs_again_after_it() -> None:
    """No second run of the key starts meanwhile, and the queue loses no add."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", now=0)
    assert queue.pop(now=0) == "a"
    queue.add("a", now=1)
    assert (queue.pop(now=2), queue.next_wakeup(), len(queue)) == (None, None, 1)
    queue.done("a", now=3, requeue_after=30)
    assert (queue.next_wakeup(), queue.pop(now=3)) == (1, "a")


def test_a_busy_key_does_not_starve_another() -> None:
    """A key that is due again at once waits behind one that has been due for longer."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("busy", now=0)
    queue.add("patient", now=0)
    served = []
    for _ in range(4):
        key = queue.pop(now=0)
        assert key is not None
        served.append(key)
        queue.done(key, now=0, requeue_after=0)
    assert served == ["busy", "patient", "busy", "patient"]


def test_a_key_that_is_forgotten_during_its_run_does_not_come_back() -> None:
    """The queue drops the interval and the failure of that run."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", now=0)
    queue.pop(now=0)
    queue.forget("a")
    assert queue.failed("a", now=0) == 0.5
    assert (len(queue), "a" in queue, queue.next_wakeup()) == (0, False, None)


def test_a_success_ends_the_backoff() -> None:
    """Failures in a row double the wait; after a success it starts from its base."""
    queue: WorkQueue[str] = WorkQueue(Backoff(base=1, cap=60))
    waits = []
    for fails in (True, True, True, False, True):
        queue.add("a", now=0)
        queue.pop(now=1000)
        if fails:
            waits.append(queue.failed("a", now=0))
        else:
            queue.done("a", now=0)
    assert waits == [1, 2, 4, 1]


def test_forgetting_a_key_ends_its_backoff() -> None:
    """A key that comes back later starts from the base."""
    queue: WorkQueue[str] = WorkQueue(Backoff(base=1, cap=60))
    waits = []
    for forgets in (False, False, True, False):
        if forgets:
            queue.forget("a")
        queue.add("a", now=0)
        queue.pop(now=1000)
        waits.append(queue.failed("a", now=0))
    assert waits == [1, 2, 1, 2]


def test_a_negative_delay_makes_a_key_due_now() -> None:
    """A key cannot overtake those that are due already."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", now=7, delay=-5)
    assert queue.next_wakeup() == 7


def test_ending_a_run_of_a_key_that_does_not_run_raises() -> None:
    """`done` and `failed` change nothing then."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", now=0)
    with pytest.raises(ValueError, match="a is not running"):
        queue.done("a", now=0)
    with pytest.raises(ValueError, match="a is not running"):
        queue.failed("a", now=0)
    assert queue.pop(now=0) == "a"
    assert queue.failed("a", now=0) == 0.5
    for _ in range(2):
        with pytest.raises(ValueError, match="a is not running"):
            queue.done("a", now=0)
    assert queue.pop(now=9) == "a"
    assert queue.failed("a", now=9) == 1.0


@given(failures=st.integers(1, 10**6), base=st.floats(0.001, 10), cap=st.floats(0.001, 1000))
def test_the_backoff_grows_to_its_cap(failures: int, base: float, cap: float) -> None:
    """A further failure never shortens it, and no number of failures overflows it."""
    backoff = Backoff(base, cap)
    assert 0 < backoff.after(failures) <= backoff.after(failures + 1) <= cap


def test_the_backoff_doubles() -> None:
    """It starts with the base and ends with the cap; both must be positive."""
    assert [Backoff(0.5, 3).after(n) for n in range(1, 6)] == [0.5, 1, 2, 3, 3]
    with pytest.raises(ValueError, match="1 or more, not 0"):
        Backoff().after(0)
    with pytest.raises(ValueError):
        Backoff(base=0)
    with pytest.raises(ValueError):
        Backoff(cap=-1)


@given(delay=st.floats(0.001, 1e6), key=st.text(st.characters()))
@example(delay=1.0, key="\ud800")
def test_jitter_is_later_by_less_than_its_fraction(delay: float, key: str) -> None:
    """The interval never gets shorter, and at most a tenth longer."""
    assert delay <= jittered(delay, key) <= delay * 1.1
    assert jittered(delay, key, fraction=0) == delay


def test_jitter_spreads_keys() -> None:
    """Of a hundred keys with one interval, no tenth of the jitter has more than a quarter."""
    tenths = [int((jittered(30.0, f"fleet/cluster-{n}") - 30) / 0.3) for n in range(100)]
    assert max(tenths.count(tenth) for tenth in range(10)) <= 25
    assert set(tenths) <= set(range(10))


@pytest.mark.parametrize("seed", ["0", "1"])
def test_jitter_is_the_same_in_every_process(seed: str) -> None:
    """The share of a key does not depend on the hash seed."""
    program = "import captep_core as c; print(c.jittered(30.0, 'fleet/tokyo'))"
    environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert float(printed) == jittered(30.0, "fleet/tokyo")
