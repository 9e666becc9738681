"""L2: everything that can happen within bounds, shortest ways first, so that a counterexample is the shortest there is.

Every step is judged as it is taken (P8, P9, P13, P14, P2a), and from every world that is reached the faults are made to stop and the loop
is run to rest (P1, P2, P3, P4a), both with what it remembers and after a crash (P12). A run that does not reach what `Kit.sometimes`
names fails (K1).
"""

from collections import Counter, deque
from collections.abc import Sequence

from attrs import field, frozen

from captep_core import ReconcileState
from captep_memory import World
from captep_testing._canonical import Name
from captep_testing._changes import shown
from captep_testing._drive import Run, drive
from captep_testing._faults import ALL_FAULTS, TYPICAL_FAULTS, Fault
from captep_testing._kit import Kit
from captep_testing._report import Report, Step, Violation
from captep_testing._system import State, System, Transition

__all__ = ["explore", "replay"]


@frozen
class _Way:
    """How a state was reached: from which world of the kit, by which transitions."""

    world: int
    label: str = ""
    before: "_Way | None" = None

    def labels(self) -> tuple[str, ...]:
        found, way = list[str](), self
        while way.before is not None:
            found.append(way.label)
            way = way.before
        return tuple(reversed(found))


@frozen
class _Search:
    """What is known so far; its containers grow."""

    kit: Kit
    system: System
    instances: int
    bounds: str
    ways: dict[Name, _Way] = field(factory=dict)
    todo: deque[tuple[State, _Way]] = field(factory=deque)
    healed: set[Name] = field(factory=set)
    counts: Counter[str] = field(factory=Counter)
    occurred: set[str] = field(factory=set)

    def reach(self, state: State, way: _Way) -> Run | None:
        """Take up a state unless it is known; return how it fails to heal, if it does."""
        name = self.system.name(state)
        if name in self.ways:
            return None
        self.ways[name] = way
        self.todo.append((state, way))
        self.occurred.update(
            each
            for each, holds in self.kit.sometimes.items()
            if each not in self.occurred and holds(state.world)
        )
        return self._heal(state)

    def _heal(self, state: State) -> Run | None:
        for recollections in _remembered(state):
            name = self.system.canonical.name([state.world], rest=(state.world.now, *recollections))
            if name not in self.healed:
                self.healed.add(name)
                run = drive(
                    self.kit, state.world, dict(zip(self.kit.keys, recollections, strict=False))
                )
                if run.finding:
                    return run
        return None


def _remembered(state: State) -> list[tuple[ReconcileState, ...]]:
    """What the loop may remember when the faults stop: nothing, and when all are idle what the first instances do."""
    first = {actor.key: actor for actor in reversed(state.actors)}
    known = tuple(actor.state for actor in reversed(first.values()))
    idle = all(actor.decision is None for actor in state.actors)
    return [(), known] if idle and any(each != ReconcileState() for each in known) else [()]


def explore(
    kit: Kit,
    *,
    faults: int = 1,
    events: int = 1,
    lag: int = 0,
    instances: int = 1,
    kinds: Sequence[Fault] = TYPICAL_FAULTS,
    limit: int = 100_000,
) -> Report:
    """Look at every interleaving of the loop with at most so many faults, events and changes not yet seen.

    Args:
        faults: how many writes may fail, each in any way of `kinds`.
        events: how many moves of others there may be (`Kit.moves`).
        lag: how many changes of others a view may be behind, for each kind by itself.
        instances: how many instances of the loop run at once (P22).
        limit: how many states are looked at; the report says TRUNCATED when there are more.
    """
    bounds = f"faults<={faults} events<={events} lag<={lag}" + f" instances={instances}" * (
        instances > 1
    )
    search = _Search(kit, System(kit, tuple(kinds), lag), instances, bounds)
    starts = [
        (search.system.start(world, faults=faults, events=events, instances=instances), _Way(n))
        for n, world in enumerate(kit.worlds)
    ]
    for state, way in starts:
        if run := search.reach(state, way):
            return _report(search, _violation(search, way, run))
    return _report(search, _search(search, limit))


def _search(search: _Search, limit: int) -> Violation | None:
    while search.todo and len(search.ways) <= limit:
        state, way = search.todo.popleft()
        for transition in search.system.transitions(state):
            search.counts[transition.kind] += 1
            further = _Way(way.world, transition.label, way)
            run = None if transition.finding else search.reach(transition.state, further)
            if transition.finding or run:
                return _violation(search, further, run)
    return None


def _report(search: _Search, violation: Violation | None) -> Report:
    missing = (
        ()
        if violation
        else tuple(name for name in search.kit.sometimes if name not in search.occurred)
    )
    states, edges = len(search.ways), sum(search.counts.values())
    sometimes = (
        f"; sometimes {len(search.occurred)}/{len(search.kit.sometimes)}"
        if search.kit.sometimes
        else ""
    )
    scope = f"{states:,} states, {edges:,} edges, {len(search.healed):,} worlds driven to rest; {search.bounds}{sometimes}"
    exhausted = not search.todo and violation is None
    return Report(
        scope,
        (violation,) if violation else (),
        exhausted,
        states,
        edges,
        dict(search.counts),
        missing,
    )


def _violation(search: _Search, way: _Way, run: Run | None) -> Violation:
    """Go the way again, now with every step written down; transitions are deterministic."""
    found = _walk(
        search.system,
        search.kit.worlds[way.world],
        way.world,
        way.labels(),
        run,
        instances=search.instances,
    )
    if found is None:
        raise AssertionError(f"what was found is not found again: {way.labels()}")
    return found


def replay(
    kit: Kit, labels: Sequence[str], *, world: int = 0, lag: int = 8, instances: int = 1
) -> Violation | None:
    """Go the way of a violation again; return what is wrong at its end, None when nothing is (any more).

    Raises:
        ValueError: the way cannot be gone; the message says where it ends.
    """
    kinds = tuple({fault.name: fault for fault in (*ALL_FAULTS, *TYPICAL_FAULTS)}.values())
    return _walk(
        System(kit, kinds, lag), kit.worlds[world], world, tuple(labels), None, instances=instances
    )


def _walk(
    system: System,
    world: World,
    place: int,
    labels: tuple[str, ...],
    run: Run | None,
    *,
    instances: int,
) -> Violation | None:
    state, steps, last = (
        system.start(world, faults=len(labels), events=len(labels), instances=instances),
        list[Step](),
        None,
    )
    for label in labels:
        last = _taken(system, state, label)
        steps.append(Step(label, last.status, tuple(shown(state.world, last.state.world))))
        state = last.state
        if last.finding:
            break
    finding = last.finding if last else None
    if finding is None:
        run = run or _unhealed(system.kit, state)
        finding = run.finding if run else None
    if finding is None:
        return None
    again = ", ".join(map(repr, labels))
    more = (
        (f", world={place}" if place else "")
        + (f", lag={system.lag}" if system.lag else "")
        + (f", instances={instances}" if instances > 1 else "")
    )
    return Violation(
        finding,
        place,
        tuple(steps),
        run.steps if run else (),
        labels,
        f"replay(kit, [{again}]{more})",
    )


def _taken(system: System, state: State, label: str) -> Transition:
    possible = {transition.label: transition for transition in system.transitions(state)}
    if label not in possible:
        raise ValueError(f"{label!r} is not possible here; possible: {sorted(possible)}")
    return possible[label]


def _unhealed(kit: Kit, state: State) -> Run | None:
    runs = (
        drive(kit, state.world, dict(zip(kit.keys, known, strict=False)))
        for known in _remembered(state)
    )
    return next((run for run in runs if run.finding), None)
