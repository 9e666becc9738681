"""Run the loop to rest while only the garbage collector and the neighbours act.

Judge every step and the end.

- P1: from any world in which the loop may start, it comes to rest within the bound, and the world
  is right.
- P2: at rest the loop sends nothing, until its next deadline (`Decision.wakes_at`).
- P3: the loop sends the minimum of writes: one for each object and subresource that differs.
- P4a: no world recurs after a write has changed it.
- P14: at rest observedGeneration equals the generation.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

from attrs import field, frozen

from captep_core._actions import JSON, Action, ObjectRef, RecordEvent, purpose_of, write_of
from captep_core._decision import VerdictLike
from captep_core._observation import (
    Listed,
    Observed,
    ReconcileState,
    Selection,
    Unreadable,
)
from captep_core.ports import Answer, Read, Reads, select
from captep_memory import Key, World, group_of
from captep_runtime import ERROR_INTERVAL, Pass, WriteHistory, run_pass
from captep_testing._canonical import Canonical, Name, entries
from captep_testing._changes import changed_keys, lower_bound
from captep_testing._delivery import deliver, lagging, uid_in
from captep_testing._faults import NO_FAULT, WriteFault
from captep_testing._kit import Kit
from captep_testing._memo import Memo
from captep_testing._passes import Target, ViolationError, safe
from captep_testing._report import TraceStep, Violation, cycle_of, kept

__all__ = ["Blind", "Healing", "Run", "Sent", "Strike", "drive"]

# Looks at a world at rest. Three catch a loop that acts on every second or third look.
_LOOKS = 3
# Rounds after which the neighbours count as restless. Real ones need one or two.
_NEIGHBOURLY = 100

Strike: TypeAlias = Callable[[int, Action], WriteFault]
"""Return the fault of a write, given the number of writes before it."""
Blind: TypeAlias = Callable[[int, Target], bool]
"""Whether the read of an object or a list fails in a pass, given the number of passes before it."""
# Texts of a status that say no more than the time.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT")


@frozen
class Sent:
    """One write: when it was sent, in seconds since the start of the run, and whether it changed
    the server. `planned` is the uid of its target then, None for an absent one.
    """

    action: Action
    at_seconds: float
    changed: bool
    planned: str | None = None


@frozen
class Run:
    """A run to rest, or to the first violation.

    `reads`: what each pass read. `signals`: every reason that people saw in a verdict, an Event or
    the status; `last_signals`: those that they see at the end, and all Events.
    """

    world: World
    steps: tuple[TraceStep, ...]
    sent: tuple[Sent, ...]
    violation: Violation | None
    verdicts: Mapping[ObjectRef, VerdictLike] = field(factory=dict)
    reads: tuple[tuple[int, Target], ...] = ()
    signals: frozenset[str] = frozenset()
    last_signals: frozenset[str] = frozenset()
    error_interval: timedelta = ERROR_INTERVAL

    def counts(self) -> Counter[tuple[str, ObjectRef]]:
        """Count the effective writes by verb and object."""
        return Counter(
            (write_of(each.action).verb, each.action.target) for each in self.sent if each.changed
        )


@frozen
class _Healed:
    """A start from which a run came to rest.

    `writes`: its writes until others acted first, or until rest. `end`: the world after them.
    `surplus`: writes above the minimum after that. `passes`: the passes until rest.
    """

    world: World
    writes: int
    end: World
    surplus: int
    passes: int


class Healing:
    """The starts from which runs of one kit came to rest, by the name of the world.

    A run that reaches such a start ends there: its continuation is known. Memories are part of a
    name, the history of writes is not: the time between two passes exceeds every backoff.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.healed: dict[Name, _Healed] = {}
        self.rested: set[Name] = set()
        self._canonical = Canonical()

    def name(self, world: World, states: Iterable[ReconcileState]) -> Name:
        """Name a start."""
        return self._canonical.name([world], rest=(world.now, *states))


@frozen
class _Mark:
    """The start of one pass of a run: where it lies in the segments of the run."""

    name: Name
    world: World
    segment: int
    writes: int
    passes: int


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
        self.world = driver.world
        self._seen = driver.world
        self._disturbed = False
        self._read: Read = driver.memo.reader(driver.world)
        self.is_blind = False

    @property
    def read(self) -> Read:
        return Reads(self._get, self._find)

    def _get(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        return Unreadable("Timeout") if self._fails(ref) else self._read(ref)

    def _find(self, selection: Selection) -> Listed:
        return Unreadable("Timeout") if self._fails(selection) else select(self._read, selection)

    def _fails(self, target: Target) -> bool:
        driver = self._driver
        if not driver.is_at_rest:
            driver.reads.append((driver.passes, target))
        fails = driver.blind(driver.passes, target)
        self.is_blind = self.is_blind or fails
        return fails

    def send(self, action: Action) -> Answer:
        driver = self._driver
        fault = NO_FAULT
        if not isinstance(action, RecordEvent):
            fault = driver.strike(len(driver.sent), action)
        before = driver.world
        planned = uid_in(self._seen, action)
        undisturbed = not self._disturbed and not self.is_blind
        done = deliver(
            driver.kit,
            before,
            action,
            planned,
            undisturbed=undisturbed,
            fault=fault,
            serve=driver.memo.serve,
        )
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
        blind: Blind,
        *,
        hostile: bool,
        memo: Memo,
        healing: Healing | None,
    ) -> None:
        self.memo = memo
        self._healing = healing
        # Only a run without a disturbance continues as an earlier one did.
        self._joins = strike is _never and blind is _sees_all and not hostile
        self._marks: list[_Mark] = []
        self._segments: list[tuple[int, World, int]] = []
        self.blind = blind
        self.passes = 0
        self.reads: list[tuple[int, Target]] = []
        self.signals: set[str] = set()
        self.error_intervals: set[timedelta] = set()
        self.events: set[str] = set()
        self._hostile = hostile
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
        self._blinded = False
        self.is_at_rest = False
        self._segment = world
        self._segment_writes = 0
        self._surplus = 0

    def note(
        self, action: Action, fault: WriteFault, before: World, after: World, answer: Answer | None
    ) -> None:
        self.world = after
        if isinstance(action, RecordEvent):
            self.events.add(action.reason)
            return
        # The write of the other actor, with whom this one conflicts, is not the loop's.
        is_others = fault.touched and answer is not None and answer.is_refusal
        changed = before.resource_version != after.resource_version and not is_others
        self._segment_writes += changed
        seconds = (before.now - self._start).total_seconds()
        self.sent.append(Sent(action, seconds, changed, uid_in(before, action)))
        label = f"{write_of(action)}{f' ({fault.name})' if fault.name else ''}"
        status = answer.status if answer else None
        self.steps.append(TraceStep(label, before, after, status, purpose_of(action)))

    def run(self) -> Violation | None:
        """Run to rest; return the violation."""
        for place in range(self.kit.bound):
            if self._is_known(place):
                return None
            self._settle()
            before = self.world
            sent = len(self.sent)
            if self._round():
                return self._at_rest()
            wrote = any(each.changed for each in self.sent[sent:])
            if wrote and self._recurs(before):
                return Violation("P4a", "a world recurs after a write has changed it")
        restless = f"not at rest after {self.kit.bound} passes{self._lasso()}"
        if self.kit.matches(self.world):
            return Violation("P2", f"{restless}, although the world is right")
        return Violation("P1", restless)

    def _is_known(self, place: int) -> bool:
        """Whether an earlier run came to rest from here; note the start of the pass if not."""
        healing = self._healing
        if healing is None or not self._joins:
            return False
        name = healing.name(self.world, (memory.state for memory in self._memories.values()))
        known = healing.healed.get(name) if place else None
        if known and known.passes + place <= self.kit.bound:
            end = _carried_over(known.world, known.end, self.world)
            self._segment_writes += known.writes
            self._close_segment(end)
            self._segments.append((0, end, known.surplus))
            self._surplus += known.surplus
            self._note_healed(place + known.passes)
            return True
        segment = len(self._segments)
        self._marks.append(_Mark(name, self.world, segment, self._segment_writes, place))
        return False

    def _note_healed(self, passes: int) -> None:
        """Note each pass of this run as a start from which a run comes to rest."""
        if self._healing is None or not self._joins:
            return
        for mark in self._marks:
            total, end, _ = self._segments[mark.segment]
            writes = total - mark.writes
            after = sum(surplus for _, _, surplus in self._segments[mark.segment + 1 :])
            needless = max(0, writes - lower_bound(mark.world, end)) + after
            if needless <= self.kit.slack or "P3" in self.kit.waive:
                self._healing.healed[mark.name] = _Healed(
                    mark.world, writes, end, after, passes - mark.passes
                )

    def _recurs(self, world: World) -> bool:
        name = self._canonical.name([world])
        if name in self._left:
            return True
        self._left.add(name)
        return False

    def _lasso(self) -> str:
        """Describe the steps that repeat at the end of a run, "" when none do."""
        length = cycle_of(self.steps)
        if not length:
            return ""
        last = len(self.steps)
        writers = sorted({step.label.split(" (")[0] for step in self.steps[-length:]})
        steps = f"step {last} repeats"
        if length > 1:
            steps = f"steps {last - length + 1} to {last} repeat"
        return f": {steps} ({', '.join(writers)})"

    def _settle(self) -> None:
        """Let the garbage collector and the neighbours do all their work."""
        before = self.world
        for _ in range(_NEIGHBOURLY):
            settled = self.memo.settle(self.world)
            if settled.resource_version == self.world.resource_version:
                break
            self.world = settled
        else:
            raise ValueError(
                f"the neighbours never come to rest: they still act after {_NEIGHBOURLY} rounds"
            )
        if self.world.resource_version != before.resource_version:
            self._close_segment(before)
            self.steps.append(TraceStep("others", before, self.world))

    def _close_segment(self, end: World) -> None:
        surplus = max(0, self._segment_writes - lower_bound(self._segment, end))
        self._segments.append((self._segment_writes, end, surplus))
        self._surplus += surplus
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
        if all(done is not None and _rests(done) for done in passes) and not self._looks_again(
            passes
        ):
            return True
        self._wait(passes)
        return False

    def _looks_again(self, passes: list[Pass | None]) -> bool:
        """Whether a read failed in these passes, and the loop asked for another one."""
        failed = self._blinded
        self._blinded = False
        return failed and any(done is not None and done.requeue_after for done in passes)

    def _wait(self, passes: list[Pass | None]) -> None:
        waits = [done.requeue_after for done in passes if done and done.requeue_after is not None]
        self.world = self.memo.at(self.world, self.world.now + min(waits, default=ERROR_INTERVAL))

    def _wait_at_rest(self, passes: list[Pass | None]) -> None:
        """Wait, but not until a deadline: what the loop does then is no breach of rest."""
        before = self.world
        self._wait(passes)
        deadlines = [done.wakes_after for done in passes if done and done.wakes_after is not None]
        if deadlines and before.now + min(deadlines) <= self.world.now:
            self.world = self.memo.at(before, before.now + min(deadlines) / 2)

    def _pass(self, key: ObjectRef) -> Pass | None:
        """Run one pass; None when it crashed and lost its memory."""
        known = self._memories[key]
        wire = _Wire(self)
        try:
            done = run_pass(
                safe(self.kit.decide),
                wire,
                key,
                known.state,
                now=self.world.now,
                history=known.history,
                backs_off=True,
            )
        except _CrashError:
            self._memories[key] = _Memory()
            return None
        finally:
            self.passes += 1
            self._blinded = self._blinded or wire.is_blind
        self._memories[key] = _Memory(done.state, done.history)
        self.verdicts[key] = done.decision.verdict
        self.error_intervals.add(done.error_interval)
        self.signals |= {done.decision.verdict.reason, *self.status_signals()}
        return done

    def status_signals(self) -> Iterator[str]:
        """Yield the texts in the status of the primaries, but for times and messages."""
        for key in self.kit.keys:
            obj = self.world.get(Key(group_of(key.api_version), key.kind, key.namespace, key.name))
            yield from _texts((obj or {}).get("status"))

    def last_signals(self) -> frozenset[str]:
        reasons = {verdict.reason for verdict in self.verdicts.values()}
        return frozenset(reasons | self.events | set(self.status_signals()))

    def _at_rest(self) -> Violation | None:
        rest = self.world
        self.is_at_rest = True
        steps = len(self.steps)
        self._close_segment(rest)
        if not self._hostile:
            if not self.kit.matches(rest):
                return Violation("P1", f"at rest in a world that is not right: {self._summary()}")
            for key in self.kit.keys:
                place = Key(group_of(key.api_version), key.kind, key.namespace, key.name)
                for lag in lagging(rest.get(place)):
                    return Violation("P14", f"{key}: {lag}")
        name: Name = ()
        if self._healing is not None:
            name = self._healing.name(rest, (memory.state for memory in self._memories.values()))
            if name in self._healing.rested:
                self._note_healed(len(self._marks))
                return None
        for _ in range(_LOOKS):
            passes = [self._pass(key) for key in self.kit.keys]
            if len(self.steps) > steps or any(done is not None and done.sent for done in passes):
                return Violation("P2", "at rest, and the next look sends something")
            self._wait_at_rest(passes)
        if self._healing is not None:
            self._healing.rested.add(name)
            self._note_healed(len(self._marks))
        return None

    def surplus(self) -> Violation | None:
        if self._surplus <= self.kit.slack:
            return None
        declared = f", {self.kit.slack} of them declared" if self.kit.slack else ""
        return Violation("P3", f"{self._surplus} writes above the minimum{declared}")

    def _summary(self) -> str:
        return ", ".join(f"{key} is {verdict.reason}" for key, verdict in self.verdicts.items())


def _carried_over(start: World, end: World, other: World) -> World:
    """Return the end of a run as it would be from another start of the same name.

    The two starts differ in uids and resourceVersions alone.
    """
    uids = {
        str(known["metadata"]["uid"]): str(obj["metadata"]["uid"])
        for (_, known), (_, obj) in zip(entries(start), entries(other), strict=True)
        if known["metadata"]["uid"] != obj["metadata"]["uid"]
    }
    if not uids:
        return end
    for key in changed_keys(start, end):
        obj = end.get(key)
        if obj is not None:
            text = json.dumps(obj)
            for known_uid, uid in uids.items():
                text = text.replace(known_uid, uid)
            other = other.put(key, json.loads(text))[0]
        elif other.get(key) is not None:
            other = other.remove(key)
    return other


def _rests(done: Pass) -> bool:
    """Whether a pass changed nothing and sent all that it decided: no write is in backoff."""
    is_complete = len(done.sent) == len(done.decision.actions)
    return not done.changed and not done.state.refusals and is_complete


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON, taken apart
    match value:
        case dict():
            for name, item in value.items():
                if name != "message":
                    yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case str() if not _TIME.match(value):
            yield value


def _never(_: int, __: Action) -> WriteFault:
    return NO_FAULT


def _sees_all(_: int, __: Target) -> bool:
    return False


def drive(
    kit: Kit,
    world: World,
    states: Mapping[ObjectRef, ReconcileState] | None = None,
    strike: Strike = _never,
    blind: Blind = _sees_all,
    *,
    hostile: bool = False,
    memo: Memo | None = None,
    healing: Healing | None = None,
) -> Run:
    """Run the loop from a world to rest.

    P3 is judged only in a run without faults whose `states` hold no refusal of an earlier pass. In
    a hostile world the end need not be right, and the number of writes is not judged. Runs with one
    `memo` share what they have in common; the kit then has to be the memoised one. Runs with one
    `healing` end where an earlier one without a disturbance came by, and look once at each rest.

    Raises:
        ValueError: `Kit.neighbours` never comes to rest.
    """
    known = states or {}
    driver = _Driver(
        kit, world, known, strike, blind, hostile=hostile, memo=memo or Memo(kit), healing=healing
    )
    try:
        violation = driver.run()
    except ViolationError as error:
        violation = error.violation
    faultless = strike is _never and blind is _sees_all and not hostile
    if violation is None and faultless and not any(each.refusals for each in known.values()):
        violation = driver.surplus()
    if violation is not None:
        violation = next(kept(kit.waive, [violation]), None)
    last = driver.last_signals()
    return Run(
        driver.world,
        tuple(driver.steps),
        tuple(driver.sent),
        violation,
        driver.verdicts,
        tuple(driver.reads),
        frozenset(driver.signals | driver.events | last),
        last,
        min(driver.error_intervals, default=ERROR_INTERVAL),
    )
