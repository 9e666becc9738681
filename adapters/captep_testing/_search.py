"""A search so far, and the expansion of its states, in this process or in workers."""

import pickle
from collections import Counter, deque
from collections.abc import Iterator
from typing import Final, TypeAlias

from attrs import field, frozen

from captep_core._observation import ReconcileState
from captep_memory import World
from captep_testing._canonical import Name
from captep_testing._drive import Healing, Run, drive
from captep_testing._frontier import Expanded, Packing, Task, dumps, start, unpack
from captep_testing._kit import Kit
from captep_testing._memo import memoised
from captep_testing._reductions import Budgets
from captep_testing._states import State, Transition
from captep_testing._system import System

__all__ = ["Search", "Way", "memories", "work"]

BUDGETS: Final = 4
"""The bytes after the name of a state, for what is left of its budgets."""
Memories: TypeAlias = tuple[ReconcileState, ...]


@frozen
class Way:
    """The trace to a state: the index of its first world, then one label a step."""

    world: int
    label: str = ""
    before: "Way | None" = None

    def labels(self) -> tuple[str, ...]:
        found: list[str] = []
        way = self
        while way.before is not None:
            found.append(way.label)
            way = way.before
        return tuple(reversed(found))


@frozen
class Search:
    """The search so far; its containers grow."""

    kit: Kit
    system: System
    instances: int
    bounds: str
    ways: dict[bytes, Way] = field(factory=dict)
    budgets: Budgets = field(factory=Budgets)
    # States that differ in uids and resourceVersions alone are rare, and a name costs more
    # than a look into this set.
    seen: set[State] = field(factory=set)
    todo: deque[tuple[State, Way]] = field(factory=deque)
    healing: Healing = field(factory=Healing)
    driven: set[Name] = field(factory=set)
    healed: set[tuple[World, Memories]] = field(factory=set)
    counts: Counter[str] = field(factory=Counter)
    occurred: set[str] = field(factory=set)

    def reach(self, state: State, way: Way) -> Run | None:
        """Add a state unless it is known; return the run in which it fails to heal."""
        if state in self.seen:
            return None
        self.seen.add(state)
        if not self.add(self.system.name(state), budget_of(state), way):
            return None
        self.todo.append((state, way))
        self.occurred.update(list(self.occurring(state, self.occurred)))
        for driven, run in self.healings(state):
            self.driven.add(driven)
            if run is not None and run.violation:
                return run
        return None

    def add(self, name: bytes, budget: bytes, way: Way) -> bool:
        """Note the way to a state; return whether the search has to expand it."""
        if self.budgets.covers(name, budget):
            return False
        self.budgets.add(name, budget)
        self.ways[name + budget] = way
        return True

    def occurring(self, state: State, known: set[str]) -> Iterator[str]:
        """Yield the declared events that occur in a state, except those known to occur."""
        for name, holds in self.kit.sometimes.items():
            if name not in known and holds(state.world):
                yield name

    def healings(self, state: State) -> Iterator[tuple[Name, Run | None]]:
        """Yield the names of the runs to rest from a state, each with the run unless it is known
        to be right.
        """
        for states in memories(state, self.kit):
            name = self.healing.name(state.world, states)
            if name in self.driven or name in self.healing.healed:
                yield name, None
                continue
            # A run begins with the work of others: where two worlds lead to one, so do their runs.
            settled = (self.system.memo.settled(state.world), states)
            if settled in self.healed:
                yield name, None
                continue
            known = dict(zip(self.kit.keys, states, strict=True))
            run = drive(self.kit, state.world, known, memo=self.system.memo, healing=self.healing)
            if not run.violation:
                self.healed.add(settled)
            yield name, run

    def take(self, row: Expanded, way: Way) -> None:
        """Add the state of a worker's row unless it is known."""
        self.driven.update(row.driven)
        if self.add(row.name[:-BUDGETS], row.name[-BUDGETS:], way):
            self.todo.append((row.state, way))
            self.occurred.update(row.occurred)

    def expanded(self, transition: Transition, packing: Packing) -> Expanded:
        """Return a transition as a worker sends it."""
        label, kind, state = transition[:3]
        if transition.violation:
            return Expanded(label, kind, wrong=True)
        driven: list[Name] = []
        wrong = False
        for name, run in self.healings(state):
            driven.append(name)
            wrong = run is not None and run.violation is not None
            if wrong:
                break
        return Expanded(
            label,
            kind,
            wrong,
            self.system.name(state) + budget_of(state),
            tuple(driven),
            tuple(self.occurring(state, set())),
            packing.state(state),
        )


def budget_of(state: State) -> bytes:
    """Return what is left of the budgets, a byte each."""
    return bytes((state.faults, state.events, state.read_faults, state.ticks))


def memories(state: State, kit: Kit) -> list[Memories]:
    """List the memories with which the faults may stop.

    None, and that of the first instances when all are idle.
    """
    nothing = tuple(ReconcileState() for _ in kit.keys)
    first = {actor.key: actor for actor in reversed(state.actors)}
    known = tuple(first[key].state for key in kit.keys)
    idle = all(actor.decision is None for actor in state.actors)
    return [nothing, known] if idle and known != nothing else [nothing]


# The worker of this process, by its task: a search uses one, and the next search another.
_WORKERS: dict[Task, Search] = {}


def work(task: Task, blob: bytes) -> bytes:
    """Expand packed states; the result holds the rows of each."""
    worker = _WORKERS.get(task)
    if worker is None:
        fast, memo = memoised(pickle.loads(task.kit))  # noqa: S301 - the searching process wrote it
        system = System(fast, task.faults, task.lag, memo)
        start(system, (world for _, world in fast.named_worlds()))
        _WORKERS.clear()
        worker = _WORKERS[task] = Search(fast, system, 1, "")
    packing = Packing()
    found = [
        [tuple(worker.expanded(each, packing)) for each in worker.system.transitions(state)]
        for state in unpack(worker.system, pickle.loads(blob))  # noqa: S301 - as above
    ]
    return dumps(found)
