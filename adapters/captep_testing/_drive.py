"""Let the loop run until it rests, while nobody acts but the garbage collector and the neighbours; judge the way and the end.

- P1: from a world that the loop may find itself in, it comes to rest within the bound, and all is then as it should be.
- P2: at rest nothing is sent, however often it looks again.
- P3: the writes are as few as can be: one for each object and subresource that differs.
- P4a: no world comes back that was left by a write.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeAlias

from attrs import field, frozen

from captep_core import Action, ObjectRef, ReconcileState, RecordEvent, VerdictLike, write_of
from captep_core.ports import Answer, Read
from captep_memory import MemoryGateway, World, collect_all
from captep_runtime import ERROR_INTERVAL, Pass, WriteHistory, run_pass
from captep_testing._canonical import Canonical
from captep_testing._changes import lower_bound, shown
from captep_testing._delivery import deliver, uid_in
from captep_testing._faults import NO_FAULT, Fault
from captep_testing._kit import Kit
from captep_testing._passes import RaisedError, safe
from captep_testing._report import Finding, Step

__all__ = ["Run", "Sent", "Strike", "drive"]

_LOOKS = 3
_NEIGHBOURLY = 100

Strike: TypeAlias = Callable[[int, Action], Fault]
"""Which fault strikes a write, given how many writes were sent before it."""


@frozen
class Sent:
    """One write that was sent: how many seconds after the start, and with what effect."""

    action: Action
    at_seconds: float
    changed: bool


@frozen
class Run:
    """A run to rest, or to the first thing that is wrong."""

    world: World
    steps: tuple[Step, ...]
    sent: tuple[Sent, ...]
    finding: Finding | None
    verdicts: Mapping[ObjectRef, VerdictLike] = field(factory=dict)
    error_interval: timedelta = ERROR_INTERVAL

    def counts(self) -> Counter[tuple[str, ObjectRef]]:
        """How often each object was created and deleted."""
        return Counter(
            (write_of(each.action).verb, each.action.target) for each in self.sent if each.changed
        )


class _CrashError(Exception):
    """The process is gone in the middle of a pass."""


@frozen
class _Memory:
    state: ReconcileState = ReconcileState()
    history: WriteHistory = field(factory=WriteHistory)


class _Wire:
    """The gateway of one pass: it delivers, counts and judges."""

    def __init__(self, driver: "_Driver") -> None:
        self._driver = driver
        self._seen = driver.world
        self._disturbed = False
        self.read: Read = MemoryGateway(driver.world).read

    def send(self, action: Action) -> Answer:
        driver = self._driver
        fault = (
            NO_FAULT if isinstance(action, RecordEvent) else driver.strike(len(driver.sent), action)
        )
        before, planned = driver.world, uid_in(self._seen, action)
        done = deliver(
            driver.kit, before, action, planned, undisturbed=not self._disturbed, fault=fault
        )
        self._disturbed = self._disturbed or fault is not NO_FAULT
        driver.note(action, fault, before, done.world, done.answer)
        if done.finding:
            raise RaisedError(done.finding)
        if done.answer is None:
            raise _CrashError
        return done.answer


class _Driver:
    def __init__(
        self,
        kit: Kit,
        world: World,
        recollections: Mapping[ObjectRef, ReconcileState],
        strike: Strike,
    ) -> None:
        self.kit, self.world, self.strike = kit, world, strike
        self.steps, self.sent = list[Step](), list[Sent]()
        self.verdicts = dict[ObjectRef, VerdictLike]()
        self._start = world.now
        self._memories = {
            key: _Memory(recollections.get(key, ReconcileState())) for key in kit.keys
        }
        self._canonical, self._left = Canonical(), set[object]()
        self._segment, self._segment_writes, self._surplus = world, 0, 0
        self.error_intervals = set[timedelta]()

    def note(
        self, action: Action, fault: Fault, before: World, after: World, answer: Answer | None
    ) -> None:
        self.world = after
        if isinstance(action, RecordEvent):
            return
        changed = before.resource_version != after.resource_version
        self._segment_writes += changed
        self.sent.append(Sent(action, (before.now - self._start).total_seconds(), changed))
        label = f"{write_of(action)}{f' ({fault.name})' if fault.name else ''}"
        self.steps.append(
            Step(label, answer.status if answer else None, tuple(shown(before, after)))
        )

    def run(self) -> Finding | None:
        """Run to rest; return what is wrong."""
        for _ in range(self.kit.bound):
            self._settle()
            before, sent = self.world, len(self.sent)
            if self._round():
                return self._at_rest()
            if any(each.changed for each in self.sent[sent:]) and self._comes_back(before):
                return Finding("P4a", "a world comes back that was left by a write")
        told = f"not at rest after {self.kit.bound} passes"
        return (
            Finding("P2", f"{told}, though all is as it should be")
            if self.kit.matches(self.world)
            else Finding("P1", told)
        )

    def _comes_back(self, world: World) -> bool:
        name = self._canonical.name([world])
        if name in self._left:
            return True
        self._left.add(name)
        return False

    def _settle(self) -> None:
        """Let the garbage collector and the neighbours do all they have to do."""
        before = self.world
        for _ in range(_NEIGHBOURLY):
            settled = self.kit.neighbours(collect_all(self.world))
            if settled.resource_version == self.world.resource_version:
                break
            self.world = settled
        else:
            raise ValueError(
                f"the neighbours do not come to rest: they still act after {_NEIGHBOURLY} rounds"
            )
        if self.world.resource_version != before.resource_version:
            self._close_segment(before)
            self.steps.append(Step("others", None, tuple(shown(before, self.world))))

    def _close_segment(self, end: World) -> None:
        self._surplus += max(0, self._segment_writes - lower_bound(self._segment, end))
        self._segment, self._segment_writes = self.world, 0

    def _round(self) -> bool:
        """Run one pass over each key; return whether all rest."""
        before = self.world
        passes = [self._pass(key) for key in self.kit.keys]
        if self.world.resource_version != before.resource_version or any(
            done is None or done.progressed for done in passes
        ):
            return False  # what changed wakes it at once
        if all(done is not None and _rests(done) for done in passes):
            return True
        self._wait(passes)
        return False

    def _wait(self, passes: list[Pass | None]) -> None:
        waits = [
            done.requeue_after
            for done in passes
            if done is not None and done.requeue_after is not None
        ]
        self.world = self.world.at(self.world.now + min(waits, default=ERROR_INTERVAL))

    def _pass(self, key: ObjectRef) -> Pass | None:
        """Run one pass; None when it crashed, and with it what was remembered."""
        known = self._memories[key]
        try:
            done = run_pass(
                safe(self.kit.decide),
                _Wire(self),
                key,
                known.state,
                now=self.world.now,
                history=known.history,
                backs_off=True,
            )
        except _CrashError:
            self._memories[key] = _Memory()
            return None
        self._memories[key] = _Memory(done.state, done.history)
        self.verdicts[key] = done.decision.verdict
        self.error_intervals.add(done.error_interval)
        return done

    def _at_rest(self) -> Finding | None:
        rest, steps = self.world, len(self.steps)
        self._close_segment(rest)
        if not self.kit.matches(rest):
            return Finding("P1", f"at rest, and not as it should be: {self._said()}")
        for _ in range(_LOOKS):
            passes = [self._pass(key) for key in self.kit.keys]
            if len(self.steps) > steps or any(done is not None and done.sent for done in passes):
                return Finding("P2", "at rest, and yet something is sent when it looks again")
            self._wait(passes)
        return None

    def surplus(self) -> Finding | None:
        if self._surplus <= self.kit.slack:
            return None
        return Finding(
            "P3",
            f"{self._surplus} more writes than needed"
            + (f", {self.kit.slack} of them declared" * bool(self.kit.slack)),
        )

    def _said(self) -> str:
        return ", ".join(f"{key} is {verdict.reason}" for key, verdict in self.verdicts.items())


def _rests(done: Pass) -> bool:
    """Whether a pass changed nothing, and held nothing back."""
    return (
        not done.changed
        and not done.state.refusals
        and len(done.sent) == len(done.decision.actions)
    )


def _never(_: int, __: Action) -> Fault:
    return NO_FAULT


def drive(
    kit: Kit,
    world: World,
    recollections: Mapping[ObjectRef, ReconcileState] | None = None,
    strike: Strike = _never,
) -> Run:
    """Run the loop from a world to rest. Without faults, past ones included, the writes are counted as well (P3).

    Raises:
        ValueError: `Kit.neighbours` never comes to rest.
    """
    known = recollections or {}
    driver = _Driver(kit, world, known, strike)
    try:
        finding = driver.run()
    except RaisedError as error:
        finding = error.finding
    if finding is None and strike is _never and not any(each.refusals for each in known.values()):
        finding = driver.surplus()
    return Run(
        driver.world,
        tuple(driver.steps),
        tuple(driver.sent),
        finding,
        driver.verdicts,
        min(driver.error_intervals, default=ERROR_INTERVAL),
    )
