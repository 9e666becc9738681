"""L4: the operator as a process of any language, against a real HTTP server, with a fault at every
write.

    from captep_testing import Kit, Move
    from captep_testing.process import elsewhere, trial

    kit = Kit(elsewhere, keys=(key,), worlds={"new": world}, matches=is_right)
    trial(kit, ["node", "operator.js"], folder=tmp_path).require()

The kit is the one of a pure function, with `elsewhere` in its place. The process finds the server
by the environment variable KUBECONFIG, or by `{url}` and `{kubeconfig}` in its command. It starts
in each world of the kit, comes to rest, meets each move of the kit in turn, and is repeated with
each fault at each of its writes.

- P1: it comes to rest in a right world within `patience`, also after each move, and whatever
  happens to a write.
- P2: at rest it sends no write, also when somebody touches a primary and when it starts again.
- P5a: it does not end by itself.
- P12: the world at rest is the same whatever fault struck. Fields that differ between two runs
  without a fault, such as times and random names, are left out.
- P18: a fault makes it create or delete nothing more often.
- Each request is judged by `captep_testing._history`.

Nothing here is virtual: the processes run in real time, several at once.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from captep_core._actions import ObjectRef
from captep_core._decision import Decision
from captep_core._observation import ReconcileState
from captep_core.ports import Read
from captep_memory import Key, World, collect_all, departed, group_of
from captep_memory.server import LIKE_A_CLUSTER, kubeconfig
from captep_testing._child import Child
from captep_testing._delivery import lagging, touched
from captep_testing._ends import other_ends
from captep_testing._faults import HTTP_FAULTS, NO_FAULT, WriteFault
from captep_testing._history import judge_history, steps_of
from captep_testing._kit import Kit, Move
from captep_testing._report import Counterexample, Report, TraceStep, Violation, kept, waivers
from captep_testing._struck import Exchange, StruckServer, shown

__all__ = ["elsewhere", "trial"]

# Between two looks at the world: a hundredth of a second is no load and hides no state. Quiet is
# counted in looks, so that a machine under load waits longer for an operator that is slower too.
_LOOK_SECONDS: Final = 0.01
# How often the clock of the served world moves while nothing else does.
_CLOCK_SECONDS: Final = 0.2
_QUIET: Final = timedelta(seconds=1)
_PATIENCE: Final = timedelta(seconds=30)
# A kubelet starts a container again for ever; a process that ends so often makes no progress.
_RESTARTS: Final = 5
_COUNTED: Final = {"create": "creates", "delete": "deletes"}


def elsewhere(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Stand in `Kit.decide` for an operator that is a process.

    Raises:
        NotImplementedError: always; only `trial` can test such a kit.
    """
    raise NotImplementedError(f"the operator of {key} is a process: test it with `trial`")


@frozen
class _Plan:
    """What all runs have in common."""

    kit: Kit
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    quiet_looks: int
    patience: float


@frozen
class _Outcome:
    """One run: its trace, its writes, the world at its end, the violations.

    `is_whole`: whether it came through every move.
    """

    steps: tuple[TraceStep, ...]
    writes: tuple[Exchange, ...]
    end: World
    violations: tuple[Violation, ...]
    is_whole: bool

    def counts(self) -> Counter[tuple[str, str]]:
        """Count effective creations and deletions; a name may be random, so kinds are counted."""
        return Counter(
            (_COUNTED[each.request.verb], each.key.kind)
            for each in self.writes
            if each.request.verb in _COUNTED and each.changed
        )


class _GaveUpError(Exception):
    """The run cannot go on."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.message)
        self.violation = violation


def trial(
    kit: Kit,
    command: Sequence[str],
    *,
    folder: Path,
    faults: Iterable[WriteFault] = HTTP_FAULTS,
    environment: Mapping[str, str] | None = None,
    quiet: timedelta = _QUIET,
    patience: timedelta = _PATIENCE,
    workers: int = 4,
) -> Report:
    """Run an operator to rest from each world of a kit, and again with each fault at each write.

    Args:
        kit: what is right and who else acts; its `decide` is not called.
        command: starts the operator; `{url}` and `{kubeconfig}` are replaced.
        folder: for kubeconfigs and the output of the processes.
        faults: what may happen to a write.
        environment: variables to add to those of this process.
        quiet: the time without a write after which a right world counts as rest. It must be longer
            than the operator's own interval.
        patience: the time within which it has to come to rest.
        workers: the number of runs at a time.

    Raises:
        OSError: the command cannot be started.
    """
    plan = _Plan(
        kit,
        tuple(command),
        environment or {},
        folder,
        1 + int(quiet.total_seconds() / _LOOK_SECONDS),
        patience.total_seconds(),
    )
    kinds = tuple(faults)
    found: dict[Violation, Counterexample] = {}
    runs = writes = 0
    with ThreadPoolExecutor(workers) as pool:
        for place, (name, world) in enumerate(kit.named_worlds()):
            # Twice, and the second time with a restart at rest: they show what is random.
            first = pool.submit(_run, plan, world, f"{place}-first")
            second = pool.submit(_run, plan, world, f"{place}-second", again=True)
            references = (first.result(), second.result())
            runs += 2
            writes += len(references[0].writes)
            for outcome in references:
                _keep(found, outcome, outcome.violations, place, name)
            if any(outcome.violations for outcome in references):
                continue
            judge = partial(_judged, plan, references)
            jobs = [
                pool.submit(judge, world, f"{place}-{number}-{index}", number, fault)
                for index, fault in enumerate(kinds)
                for number in range(len(references[0].writes))
            ]
            runs += len(jobs)
            for job in jobs:
                outcome = job.result()
                _keep(found, outcome, outcome.violations, place, name)
    size = f"{runs} runs from {len(kit.worlds)} worlds, {len(kinds)} faults at each write"
    return Report(size + waivers(kit.waive), tuple(found.values()), states=runs, edges=writes)


def _keep(
    found: dict[Violation, Counterexample],
    outcome: _Outcome,
    violations: Iterable[Violation],
    place: int,
    name: str,
) -> None:
    for violation in violations:
        known = found.get(violation)
        if known is None or len(outcome.steps) < len(known.steps):
            found[violation] = Counterexample(violation, place, outcome.steps, named=name)


def _judged(
    plan: _Plan,
    references: tuple[_Outcome, _Outcome],
    world: World,
    name: str,
    number: int,
    fault: WriteFault,
) -> _Outcome:
    """Run with one fault, and compare with the runs without any."""
    outcome = _run(plan, world, name, lambda place: fault if place == number else NO_FAULT)
    struck = next((each for each in outcome.writes if each.number == number), None)
    if struck is None:
        return outcome
    found = [*outcome.violations]
    if outcome.is_whole:
        found += kept(plan.kit.waive, _differences(references, outcome))
    where = f"after {fault.name} at {shown(struck)}"
    named = tuple(evolve(each, message=f"{where}: {each.message}") for each in found)
    return evolve(outcome, violations=named)


def _differences(references: tuple[_Outcome, _Outcome], outcome: _Outcome) -> Iterator[Violation]:
    first, second = references
    most = first.counts() | second.counts()
    for (does, kind), count in sorted((outcome.counts() - most).items()):
        yield Violation("P18", f"{does} {count} {kind} more than without the fault")
    for text in other_ends(first.end, second.end, outcome.end):
        yield Violation("P12", f"comes to rest in another world than without the fault: {text}")


def _run(
    plan: _Plan,
    world: World,
    name: str,
    strike: Callable[[int], WriteFault] = lambda _: NO_FAULT,
    *,
    again: bool = False,
) -> _Outcome:
    """Run from one world to rest, through every move; `again`: start once more at rest."""
    start = evolve(world.at(datetime.now(UTC)), quirks=LIKE_A_CLUSTER)
    run = _Run(plan, start, name, strike)
    try:
        violation = run.through(again=again)
    finally:
        run.close()
    found = dict.fromkeys((*run.judged, *([violation] if violation else ())))
    writes = tuple(each for each in run.server.history if each.is_write)
    end = run.server.facade.world
    return _Outcome(tuple(run.steps), writes, end, tuple(found), violation is None)


class _Run:
    """One server with one process."""

    def __init__(
        self, plan: _Plan, world: World, name: str, strike: Callable[[int], WriteFault]
    ) -> None:
        self.kit = plan.kit
        self.steps: list[TraceStep] = []
        self.judged: list[Violation] = []
        self._plan = plan
        self._seen = 0
        self._asked = 0
        self._restarts = 0
        self._acted_on, self._acted_at = -1, 0.0
        self.server = StruckServer(world, strike, kill=self._kill)
        config = plan.folder / f"kubeconfig-{name}"
        config.write_text(kubeconfig(self.server.facade.url), "utf-8")
        places = {"{url}": self.server.facade.url, "{kubeconfig}": str(config)}
        command = [_filled(word, places) for word in plan.command]
        environment = {"KUBECONFIG": str(config), **plan.environment}
        self._child = Child(command, environment, plan.folder / f"output-{name}.log")
        self.server.facade.__enter__()

    def _kill(self) -> None:
        self._child.kill()

    def close(self) -> None:
        """End the process and the server."""
        self._child.kill()
        self.server.facade.__exit__(None, None, None)

    def through(self, *, again: bool) -> Violation | None:
        """Run through every move; return what ended the run early."""
        try:
            self._start()
            self._rest()
            for name, move in self.kit.moves.items():
                before, after = self.server.apply(partial(_moved, move))
                if after is not before:
                    self.steps.append(TraceStep(name, before, after))
                    self._rest()
            self._look(again=again)
        except _GaveUpError as error:
            self._close_segment()
            return next(kept(self.kit.waive, [error.violation]), None)
        return None

    def _start(self) -> None:
        self._asked = self.server.asked
        self._child.start()

    def _rest(self) -> None:
        """Wait for rest in a right world, and judge the requests until then."""
        deadline = time.monotonic() + self._plan.patience
        writes, quiet, is_right = -1, 0, False
        while quiet < self._plan.quiet_looks or not is_right:
            self._go_on()
            quiet += 1
            was_right, is_right = is_right, self.kit.matches(self.server.facade.world)
            if writes != self.server.writes or was_right != is_right or not self._is_up():
                writes, quiet = self.server.writes, 0
            if (quiet == 0 or not is_right) and time.monotonic() > deadline:
                is_quiet = quiet >= self._plan.quiet_looks
                words = self._child.last_words()
                raise _GaveUpError(_unrest(words, is_right=is_right, is_quiet=is_quiet))
            time.sleep(_LOOK_SECONDS)
        self._close_segment()
        for key in self.kit.keys:
            for lag in lagging(self.server.facade.world.get(_key_of(key))):
                raise _GaveUpError(Violation("P14", f"{key}: {lag}"))

    def _is_up(self) -> bool:
        return self.server.asked > self._asked

    def _go_on(self) -> None:
        """Let the clock, the garbage collector and the neighbours act, and start what has ended."""

        def acted(world: World) -> World:
            present = world.at(datetime.now(UTC))
            return self.kit.neighbours(collect_all(present, known_owner=departed(present)))

        version = self.server.facade.world.resource_version
        if version != self._acted_on or time.monotonic() > self._acted_at + _CLOCK_SECONDS:
            before, after = self.server.apply(acted)
            self._acted_on, self._acted_at = after.resource_version, time.monotonic()
            if after.resource_version != before.resource_version:
                self.steps.append(TraceStep("others", before, after))
        status = self._child.ended_by_itself
        if status is not None:
            self._restarts += 1
            if self._restarts > _RESTARTS or not self._was_struck():
                words = self._child.last_words()
                raise _GaveUpError(Violation("P5a", f"ends with status {status}: {words}"))
        if self._child.has_ended:
            self._start()

    def _was_struck(self) -> bool:
        return any(each.fault is not NO_FAULT for each in self.server.history)

    def _close_segment(self) -> None:
        new = self.server.history[self._seen :]
        self._seen += len(new)
        self.steps += steps_of(new)
        self.judged += judge_history(self.kit, new)

    def _look(self, *, again: bool) -> None:
        """Let it look once more at a world at rest."""
        self._quietly("somebody touches a primary", self._touch)
        if again:
            self._child.kill()
            self._quietly("it starts again", self._start)

    def _touch(self) -> None:
        for key in self.kit.keys:
            self.server.apply(partial(touched, key=_key_of(key)))

    def _quietly(self, what: str, act: Callable[[], None]) -> None:
        act()
        deadline = time.monotonic() + self._plan.patience
        looks = 0
        while looks < self._plan.quiet_looks:
            looks += self._is_up() or time.monotonic() > deadline
            self._go_on()
            new = [each for each in self.server.history[self._seen :] if each.is_write]
            if new:
                sent = f"{shown(new[0])} is sent at rest, when {what}"
                raise _GaveUpError(Violation("P2", sent))
            time.sleep(_LOOK_SECONDS)
        self._close_segment()


def _unrest(words: str, *, is_right: bool, is_quiet: bool) -> Violation:
    """Say why a run has not come to rest in time; `words` are the last of its process."""
    if is_right:
        return Violation("P2", "not at rest, although the world is right")
    hint = f"; its last line: {words}" if words else ""
    if is_quiet:
        return Violation("P1", f"rests in a world that `matches` finds wrong{hint}")
    return Violation("P1", f"does not come to rest{hint}")


def _moved(move: Move, world: World) -> World:
    return move(world) or world


def _filled(word: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word


def _key_of(ref: ObjectRef) -> Key:
    return Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)
