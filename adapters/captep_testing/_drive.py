"""Run the loop to rest while only the garbage collector and the neighbours act.

Judge every step and the end.

- P1: from any world in which the loop may start, it comes to rest within the bound, and the world
  is right.
- P2: at rest the loop sends nothing.
- P3: the loop sends the minimum of writes: one for each object and subresource that differs.
- P4a: no world recurs after a write has changed it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeAlias

from attrs import field, frozen

from captep_core._actions import Action, ObjectRef, RecordEvent, VerdictLike, write_of
from captep_core._observation import ReconcileState
from captep_core.ports import Answer, Read
from captep_memory import MemoryGateway, World, collect_all
from captep_runtime import ERROR_INTERVAL, Pass, WriteHistory, run_pass
from captep_testing._canonical import Canonical
from captep_testing._changes import lower_bound, shown
from captep_testing._delivery import deliver, uid_in
from captep_testing._faults import NO_FAULT, WriteFault
from captep_testing._kit import Kit
from captep_testing._passes import ViolationError, safe
from captep_testing._report import TraceStep, Violation

__all__ = ["Run", "Sent", "Strike", "drive"]

# Looks at a world at rest. Three catch a loop that acts on every second or third look.
_LOOKS = 3
# Rounds after which the neighbours count as restless. Real ones need one or two.
_NEIGHBOURLY = 100

Strike: TypeAlias = Callable[[int, Action], WriteFault]
"""Return the fault of a write, given the number of writes before it."""


@frozen
class Sent:
    """One write: when it was sent, in seconds since the start of the run, and whether it changed
    the server.
    """

    action: Action
    at_seconds: float
    changed: bool


@frozen
class Run:
    """A run to rest, or to the first violation."""

    world: World
    steps: tuple[TraceStep, ...]
    sent: tuple[Sent, ...]
    violation: Violation | None
    verdicts: Mapping[ObjectRef, VerdictLike] = field(factory=dict)
    error_interval: timedelta = ERROR_INTERVAL

    def counts(self) -> Counter[tuple[str, ObjectRef]]:
        """Count the effective writes by verb and object."""
        return Counter(
            (write_of(each.action).verb, each.action.target) for each in self.sent if each.changed
        )


class _CrashError(Exception):
    """The process died in the middle of a pass."""


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
        fault = NO_FAULT
        if not isinstance(action, RecordEvent):
            fault = driver.strike(len(driver.sent), action)
        before = driver.world
        planned = uid_in(self._seen, action)
        undisturbed = not self._disturbed
        done = deliver(driver.kit, before, action, planned, undisturbed=undisturbed, fault=fault)
        self._disturbed = self._disturbed or fault is not NO_FAULT
        driver.note(action, fault, before, done.world, done.answer)
        if done.violation:
            raise ViolationError(done.violation)
        if done.answer is None:
            raise _CrashError
        return done.answer


class _Driver:
    def __init__(
        self,
        kit: Kit,
        world: World,
        states: Mapping[ObjectRef, ReconcileState],
        strike: Strike,
    ) -> None:
        self.kit = kit
        self.world = world
        self.strike = strike
        self.steps: list[TraceStep] = []
        self.sent: list[Sent] = []
        self.verdicts: dict[ObjectRef, VerdictLike] = {}
        self._start = world.now
        self._memories = {key: _Memory(states.get(key, ReconcileState())) for key in kit.keys}
        self._canonical = Canonical()
        self._left: set[object] = set()
        # P3 compares writes with the minimum segment by segment: a segment ends where others act.
        self._segment = world
        self._segment_writes = 0
        self._surplus = 0
        self.error_intervals: set[timedelta] = set()

    def note(
        self, action: Action, fault: WriteFault, before: World, after: World, answer: Answer | None
    ) -> None:
        self.world = after
        if isinstance(action, RecordEvent):
            return
        changed = before.resource_version != after.resource_version
        self._segment_writes += changed
        self.sent.append(Sent(action, (before.now - self._start).total_seconds(), changed))
        label = f"{write_of(action)}{f' ({fault.name})' if fault.name else ''}"
        status = answer.status if answer else None
        self.steps.append(TraceStep(label, status, tuple(shown(before, after))))

    def run(self) -> Violation | None:
        """Run to rest; return the violation."""
        for _ in range(self.kit.bound):
            self._settle()
            before = self.world
            sent = len(self.sent)
            if self._round():
                return self._at_rest()
            wrote = any(each.changed for each in self.sent[sent:])
            if wrote and self._recurs(before):
                return Violation("P4a", "a world recurs after a write has changed it")
        restless = f"not at rest after {self.kit.bound} passes"
        if self.kit.matches(self.world):
            return Violation("P2", f"{restless}, although the world is right")
        return Violation("P1", restless)

    def _recurs(self, world: World) -> bool:
        name = self._canonical.name([world])
        if name in self._left:
            return True
        self._left.add(name)
        return False

    def _settle(self) -> None:
        """Let the garbage collector and the neighbours do all their work."""
        before = self.world
        for _ in range(_NEIGHBOURLY):
            settled = self.kit.neighbours(collect_all(self.world))
            if settled.resource_version == self.world.resource_version:
                break
            self.world = settled
        else:
            raise ValueError(
                f"the neighbours never come to rest: they still act after {_NEIGHBOURLY} rounds"
            )
        if self.world.resource_version != before.resource_version:
            self._close_segment(before)
            self.steps.append(TraceStep("others", None, tuple(shown(before, self.world))))

    def _close_segment(self, end: World) -> None:
        self._surplus += max(0, self._segment_writes - lower_bound(self._segment, end))
        self._segment = self.world
        self._segment_writes = 0

    def _round(self) -> bool:
        """Run one pass over each key; return whether all keys are at rest."""
        before = self.world
        passes = [self._pass(key) for key in self.kit.keys]
        if self.world.resource_version != before.resource_version:
            return False  # a change wakes the loop at once
        if any(done is None or done.progressed for done in passes):
            return False
        if all(done is not None and _rests(done) for done in passes):
            return True
        self._wait(passes)
        return False

    def _wait(self, passes: list[Pass | None]) -> None:
        waits = [done.requeue_after for done in passes if done and done.requeue_after is not None]
        self.world = self.world.at(self.world.now + min(waits, default=ERROR_INTERVAL))

    def _pass(self, key: ObjectRef) -> Pass | None:
        """Run one pass; None when it crashed and lost its memory."""
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

    def _at_rest(self) -> Violation | None:
        rest = self.world
        steps = len(self.steps)
        self._close_segment(rest)
        if not self.kit.matches(rest):
            return Violation("P1", f"at rest in a world that is not right: {self._summary()}")
        for _ in range(_LOOKS):
            passes = [self._pass(key) for key in self.kit.keys]
            if len(self.steps) > steps or any(done is not None and done.sent for done in passes):
                return Violation("P2", "at rest, and the next look sends something")
            self._wait(passes)
        return None

    def surplus(self) -> Violation | None:
        if self._surplus <= self.kit.slack:
            return None
        declared = f", {self.kit.slack} of them declared" if self.kit.slack else ""
        return Violation("P3", f"{self._surplus} writes above the minimum{declared}")

    def _summary(self) -> str:
        return ", ".join(f"{key} is {verdict.reason}" for key, verdict in self.verdicts.items())


def _rests(done: Pass) -> bool:
    """Whether a pass changed nothing and sent all that it decided: no write is in backoff."""
    is_complete = len(done.sent) == len(done.decision.actions)
    return not done.changed and not done.state.refusals and is_complete


def _never(_: int, __: Action) -> WriteFault:
    return NO_FAULT


def drive(
    kit: Kit,
    world: World,
    states: Mapping[ObjectRef, ReconcileState] | None = None,
    strike: Strike = _never,
) -> Run:
    """Run the loop from a world to rest.

    P3 is judged only in a run without faults whose `states` hold no refusal of an earlier pass.

    Raises:
        ValueError: `Kit.neighbours` never comes to rest.
    """
    known = states or {}
    driver = _Driver(kit, world, known, strike)
    try:
        violation = driver.run()
    except ViolationError as error:
        violation = error.violation
    faultless = strike is _never and not any(each.refusals for each in known.values())
    if violation is None and faultless:
        violation = driver.surplus()
    return Run(driver.world, tuple(driver.steps), tuple(driver.sent), violation, driver.verdicts)
