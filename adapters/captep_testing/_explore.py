"""L2: every interleaving within bounds, breadth first, so that a trace is the shortest of its kind.

The search judges every step (P8, P9, P13, P14, P2a). In every world that it reaches the faults stop
and the loop runs to rest (P1, P2, P3, P4a), once with its memory and once after a crash (P12). A
search that misses an event of `Kit.sometimes`, or to which a move was never possible, fails (K1).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from time import monotonic

from attrs import evolve, frozen

from captep_testing import _replay
from captep_testing._checkpoint import Checkpoint
from captep_testing._code import code_hash
from captep_testing._drive import Run, drive
from captep_testing._faults import ALL_FAULTS, TYPICAL_FAULTS, WriteFault
from captep_testing._frontier import Task, in_order, kit_as_bytes, start
from captep_testing._interned import Interned
from captep_testing._kit import Kit
from captep_testing._memo import memoised
from captep_testing._reductions import without_lingering
from captep_testing._report import Counterexample, Report, TraceStep, waivers
from captep_testing._search import Search, Way, memories, work
from captep_testing._states import State, Transition
from captep_testing._system import LEFT_OUT, System

__all__ = ["Progress", "explore", "replay"]

# States between two calls of `progress`: a second of work.
_PROGRESS_EVERY = 500
_K1 = "K1: "


@frozen
class Progress:
    """How far a search has come.

    The states that it found, and those that it still has to expand. `seconds`: since its start.
    """

    states: int
    frontier: int
    edges: int
    seconds: float = 0.0
    expanded: int = 0

    @property
    def rate(self) -> float:
        """States that it expanded in a second."""
        return self.expanded / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float:
        """The time for the states that it knows: at least as long will it last."""
        return self.frontier / self.rate if self.rate else 0.0


def explore(
    kit: Kit,
    *,
    faults: int = 1,
    events: int = 1,
    lag: int = 0,
    instances: int = 1,
    read_faults: int = 0,
    ticks: int = 0,
    kinds: Sequence[WriteFault] = TYPICAL_FAULTS,
    limit: int = 100_000,
    progress: Callable[[Progress], None] | None = None,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
) -> Report:
    """Search every interleaving of the loop with its disturbances, within bounds.

    Args:
        kit: the operator.
        faults: the number of writes that may fail, each in any way of `kinds`.
        events: the number of moves of others (`Kit.moves`).
        lag: the number of changes of others by which a view may lag, independently for each kind.
        instances: the number of instances of the loop that run at once (P22).
        read_faults: the number of reads that may fail (F24).
        ticks: how often time may pass between two passes, for deadlines and times in a status. Each
            one multiplies the states; in the runs to rest time passes anyway.
        kinds: the ways in which a write may fail.
        limit: the number of states after which the search stops; the report then says TRUNCATED.
        progress: called from time to time.
        executor: expands the states, such as a `ProcessPoolExecutor` or `Client.get_executor()` of
            Dask; by default this process does. The report is the same. The kit is pickled, with
            `cloudpickle` where it is installed.
        checkpoint: the file from which an interrupted search continues. A search writes it from
            time to time and at Ctrl-C, and removes it at its end. Load no file from strangers: it
            is a pickle.

    Raises:
        ValueError: `checkpoint` holds another search, or the kit cannot be pickled.
    """
    recorded = _replay.requested(kit)
    if recorded is not None:
        return replay(kit, recorded.labels, world=recorded.world, instances=recorded.instances)
    _unreached(kit)
    bounds = f"faults<={faults} events<={events} lag<={lag}"
    bounds += f" instances={instances}" if instances > 1 else ""
    bounds += f" read_faults<={read_faults}" if read_faults else ""
    bounds += f" ticks<={ticks}" if ticks else ""
    fast, memo = memoised(kit)
    system = System(fast, tuple(kinds), lag, memo)
    worlds = [world for _, world in kit.named_worlds()]
    start(system, worlds)
    search = Search(fast, system, instances, bounds)
    file = None
    if checkpoint is not None:
        faulty = "/".join(fault.name for fault in kinds)
        names = "/".join([name for name, _ in kit.named_worlds()] + list(kit.moves))
        identity = f"{bounds} {faulty} {names} code {code_hash(kit.decide)}"
        file = Checkpoint(Path(checkpoint), identity)
    if file is None or not file.load(search):
        for place, world in enumerate(worlds):
            state = system.start(world, faults=faults, events=events, instances=instances)
            way = Way(place)
            if run := search.reach(state._replace(read_faults=read_faults, ticks=ticks), way):
                return _report(kit, search, _counterexample(search, way, run), events)
    task = Task(kit_as_bytes(kit), tuple(kinds), lag) if executor else None
    steps = _between(search, limit, progress, file)

    def between() -> bool:
        return bool(search.todo) and next(steps)

    if file is None:
        return _report(kit, search, _search(search, between, executor, task), events)
    with file.interrupts():
        found = _search(search, between, executor, task)
    if found is None and search.todo:
        file.save(search)  # a higher limit continues here
    else:
        file.done()
    return _report(kit, search, found, events)


def _between(
    search: Search,
    limit: int,
    progress: Callable[[Progress], None] | None,
    file: Checkpoint | None,
) -> Iterator[bool]:
    """Yield whether the search goes on, once before each state."""
    began = monotonic()
    expanded = 0
    while len(search.ways) <= limit:
        yield True
        expanded += 1
        if progress is not None and expanded % _PROGRESS_EVERY == 0:
            edges = sum(search.counts.values())
            seconds = monotonic() - began
            sizes = len(search.ways), len(search.todo), edges
            progress(Progress(*sizes, seconds, expanded))
        if file is not None:
            file.between(search, expanded)
    yield False


def _search(
    search: Search, between: Callable[[], bool], executor: Executor | None, task: Task | None
) -> Counterexample | None:
    if executor is not None and task is not None:
        return _search_by(executor, task, search, between)
    while between():
        state, way = search.todo.popleft()
        for transition in search.system.transitions(state):
            search.counts[transition.kind] += 1
            further = Way(way.world, transition.label, way)
            run = None if transition.violation else search.reach(transition.state, further)
            if transition.violation or run:
                return _counterexample(search, further, run)
    return None


def _search_by(
    executor: Executor, task: Task, search: Search, between: Callable[[], bool]
) -> Counterexample | None:
    """Search as `_search` does, in the same order, with the work done elsewhere."""
    states = in_order(executor, work, task, search.system, search.todo)
    while between():
        way, rows = next(states)
        for row in rows:
            search.counts[row.kind] += 1
            further = Way(way.world, row.label, way)
            if row.name:
                search.take(row, further)
            if row.wrong:
                return _counterexample(search, further, None)
    return None


def _report(kit: Kit, search: Search, found: Counterexample | None, events: int) -> Report:
    declared = search.kit.sometimes
    waived = _unreached(kit)
    missing: tuple[str, ...] = ()
    if found is None:
        missing = tuple(name for name in declared if name not in search.occurred)
        # A mistyped name or kind makes a move impossible everywhere, and proves nothing.
        impossible = [name for name in kit.moves if events and not search.counts[name]]
        if not search.todo:
            missing += tuple(f"the move {name!r}" for name in impossible)
        missing = tuple(name for name in missing if name not in waived)
    states = len(search.ways)
    edges = sum(search.counts.values())
    size = f"{states:,} states, {edges:,} edges, {len(search.driven):,} worlds driven to rest"
    sometimes = f"; sometimes {len(search.occurred)}/{len(declared)}" if declared else ""
    orphans = search.counts[LEFT_OUT]
    left_out = f"; {orphans} late creates without an owner left out" if orphans else ""
    return Report(
        f"{size}; {search.bounds}{sometimes}{left_out}{waivers(kit.waive)}",
        (found,) if found else (),
        exhausted=not search.todo and found is None,
        states=states,
        edges=edges,
        counts=dict(search.counts),
        missing=missing,
        code=code_hash(kit.decide),
    )


def _unreached(kit: Kit) -> list[str]:
    """List the events and moves that the kit declares to be out of reach, as reports name them.

    Raises:
        ValueError: a waiver of K1 names no event and no move.
    """
    found = []
    for waiver in kit.waive:
        rule, _, name = waiver.partition(_K1)
        if rule or not name:
            continue
        if name not in {*kit.moves, *kit.sometimes}:
            raise ValueError(f"the waiver {waiver!r} names no move and no event of the kit")
        found += [name, f"the move {name!r}"]
    return found


def _counterexample(search: Search, way: Way, run: Run | None) -> Counterexample:
    """Repeat a trace and record every step; transitions are deterministic."""
    system = search.system
    labels = without_lingering(way.labels(), system.faults)
    if labels != way.labels():
        system = System(system.kit, system.faults, system.lag, system.memo, reduces=False)
    found = _walk(system, way.world, labels, run, instances=search.instances)
    if isinstance(found, str):
        raise AssertionError(  # noqa: TRY004 - the kit is wrong, not a type
            f"the trace does not repeat the violation: {way.labels()}"
        )
    return found


def replay(
    kit: Kit, labels: Sequence[str], *, world: int = 0, lag: int = 8, instances: int = 1
) -> Report:
    """Repeat the trace of a counterexample.

    The report holds when nothing is wrong at the end, or when a step is no longer possible: then
    its scope names the step. The operator, or the kit, has changed since.
    """
    kinds = tuple({fault.name: fault for fault in (*ALL_FAULTS, *TYPICAL_FAULTS)}.values())
    fast, memo = memoised(kit)
    system = System(fast, kinds, lag, memo, reduces=False)
    found = _walk(system, world, tuple(labels), None, instances=instances)
    if isinstance(found, Counterexample):
        return Report(f"a trace of {len(labels)} steps", (found,))
    return Report(f"a trace of {len(labels)} steps{found}")


def _walk(
    system: System, place: int, labels: tuple[str, ...], run: Run | None, *, instances: int
) -> Counterexample | str:
    """Return the violation of a trace.

    Without one, a text that names the impossible step, if any.
    """
    name, world = system.kit.named_worlds()[place]
    budget = len(labels)
    state = system.start(world, faults=budget, events=budget, instances=instances)
    state = state._replace(read_faults=budget, ticks=budget)
    steps: list[TraceStep] = []
    last: Transition | None = None
    for number, label in enumerate(labels, 1):
        possible = {transition.label: transition for transition in system.transitions(state)}
        last = possible.get(label)
        if last is None:
            return f": step {number}, {label!r}, is no longer possible"
        steps.append(TraceStep(label, state.world, last.state.world, last.status, last.reason))
        state = last.state
        if last.violation:
            break
    violation = last.violation if last else None
    if violation is None:
        run = run or _unhealed(system, state)
        violation = run.violation if run else None
    if violation is None:
        return ""
    return Counterexample(
        violation,
        place,
        tuple(map(_plain, steps)),
        tuple(map(_plain, run.steps)) if run else (),
        labels,
        _call(labels, place, system.lag, instances),
        name,
        instances,
    )


def _plain(step: TraceStep) -> TraceStep:
    worlds = (step.before, step.after)
    before, after = (each.plain() if isinstance(each, Interned) else each for each in worlds)
    return evolve(step, before=before, after=after)


def _call(labels: tuple[str, ...], place: int, lag: int, instances: int) -> str:
    """Return the call that repeats a trace."""
    again = ", ".join(map(repr, labels))
    more = f", world={place}" if place else ""
    more += f", lag={lag}" if lag else ""
    more += f", instances={instances}" if instances > 1 else ""
    return f"replay(kit, [{again}]{more})"


def _unhealed(system: System, state: State) -> Run | None:
    for states in memories(state, system.kit):
        known = dict(zip(system.kit.keys, states, strict=True))
        run = drive(system.kit, state.world, known, memo=system.memo)
        if run.violation:
            return run
    return None
