"""The states of a search as bytes, and their expansion by workers of an executor.

Rules of this module:

1. A worker has tables of its own. A packed state names no number of a table: it holds the objects,
   the decisions and the answers themselves, each once for all states of a pack.
2. A worker says the same of a state whatever it has seen before. What it remembers saves time and
   nothing else, so that a search has one certificate under every executor.
3. The searching process merges the expansions in the order of its frontier.
"""

import copyreg
import io
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from importlib import import_module
from itertools import islice
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from attrs import field, frozen

from captep_memory import World
from captep_testing._canonical import Name
from captep_testing._faults import WriteFault
from captep_testing._interned import Cell, Interned
from captep_testing._kit import Kit
from captep_testing._states import Actor, State
from captep_testing._system import System

__all__ = [
    "Expanded",
    "Packing",
    "Task",
    "dumps",
    "in_order",
    "kit_as_bytes",
    "pack",
    "start",
    "unpack",
]

T = TypeVar("T")
# A pack of this size takes a worker about a tenth of a second, and its states share objects.
_PACK = 100
# Enough to keep eight workers busy while the first result is merged.
_IN_FLIGHT = 16


class Expanded(NamedTuple):
    """One transition as a worker found it.

    `name`, `packed`: of the state after it, empty after a violation. `driven`: the names of the
    runs to rest from it. `wrong`: whether the transition or such a run violates a property.
    """

    label: str
    kind: str
    wrong: bool
    name: bytes = b""
    driven: tuple[Name, ...] = ()
    occurred: tuple[str, ...] = ()
    packed: object = None
    restore: "Unpacking | None" = None

    @property
    def state(self) -> State:
        """The state after it, with the tables of the searching process."""
        assert self.restore is not None  # noqa: S101 - `in_order` sets it
        return self.restore.state(self.packed)


@frozen
class Task:
    """What a worker has to know besides the states: the pickled kit and the bounds of `System`."""

    kit: bytes = field(repr=False)
    faults: tuple[WriteFault, ...]
    lag: int


@frozen
class Packing:
    """Packs states. Equal parts are one object each, which pickle writes once."""

    _cells: dict[int, object] = field(factory=dict)
    _worlds: dict[int, object] = field(factory=dict)
    _actors: dict[int, object] = field(factory=dict)

    def state(self, state: State) -> object:
        """Return a state as plain values."""
        actors = tuple(map(self._actor, state.actors))
        late = tuple((each.action, each.planned, each.decided) for each in state.late)
        return (self._world(state.world), actors, tuple(state[2:5]), late, state.ticks)

    def _world(self, world: Interned) -> object:
        known = self._worlds.get(world.number)
        if known is None:
            cells = tuple(map(self._cell, (world.table.cells[each] for each in world.vector)))
            known = self._worlds[world.number] = (world.setting.number, world.now, cells)
        return known

    def _cell(self, cell: Cell) -> object:
        known = self._cells.get(cell.number)
        if known is None:
            known = self._cells[cell.number] = None if not cell.number else _parts_of(cell)
        return known

    def _actor(self, actor: Actor) -> object:
        known = self._actors.get(id(actor))
        if known is None:
            older = tuple(map(self._world, actor.older))
            known = self._actors[id(actor)] = (
                *(actor.key, actor.label, actor.state, older, actor.decision),
                *(actor.planned, actor.answers, actor.undisturbed),
            )
        return known


def _parts_of(cell: Cell) -> object:
    return (
        *(cell.key, cell.obj, cell.floor, cell.changes, cell.incarnations),
        *(cell.writes, cell.created, cell.departed),
    )


def pack(states: Iterable[State]) -> list[object]:
    """Return states as plain values that pickle takes."""
    packing = Packing()
    return [packing.state(state) for state in states]


def unpack(system: System, packed: Iterable[Any]) -> list[State]:
    """Return packed states with the tables of a system."""
    unpacking = Unpacking(system)
    return [unpacking.state(each) for each in packed]


@frozen
class Unpacking:
    """Restores states from packed ones."""

    system: System
    _cells: dict[int, int] = field(factory=dict)

    def state(self, packed: Any) -> State:  # noqa: ANN401 - of `Packing.state`
        """Return a packed state."""
        world, actors, (faults, events, read_faults), late, ticks = packed
        memo = self.system.memo
        return State(
            self._world(world),
            tuple(map(self._actor, actors)),
            faults,
            events,
            read_faults,
            tuple(self.system.in_flight(memo.action(each), *more) for each, *more in late),
            ticks,
        )

    def _world(self, packed: Any) -> Interned:  # noqa: ANN401 - of `Packing`
        setting, now, cells = packed
        return self.system.memo.worlds.restored(setting, now, tuple(map(self._cell, cells)))

    def _cell(self, packed: Any) -> int:  # noqa: ANN401 - of `Packing`
        if packed is None:
            return 0
        known = self._cells.get(id(packed))
        if known is None:
            known = self._cells[id(packed)] = self.system.memo.worlds.restored_cell(*packed)
        return known

    def _actor(self, packed: Any) -> Actor:  # noqa: ANN401 - of `Packing`
        key, label, state, older, decision, planned, answers, undisturbed = packed
        worlds = tuple(map(self._world, older))
        equal = None if decision is None else self.system.memo.equal(decision)
        actor = Actor(key, label, state, worlds, equal, None, planned, answers, undisturbed)
        return self.system.restored(actor)


class _Pickler(pickle.Pickler):
    """Pickle also takes the read-only mappings of worlds and decisions."""

    dispatch_table = copyreg.dispatch_table | {
        MappingProxyType: lambda proxy: (MappingProxyType, (dict(proxy),))
    }


def dumps(value: object) -> bytes:
    """Pickle packed states and results."""
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


def kit_as_bytes(kit: Kit) -> bytes:
    """Pickle a kit: by `cloudpickle` where it is installed, which takes lambdas and closures.

    Raises:
        ValueError: a function of the kit cannot be pickled.
    """
    try:
        dumped = import_module("cloudpickle").dumps
    except ImportError:
        dumped = dumps
    try:
        return bytes(dumped(kit))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"the kit cannot go to other processes: {error}; install cloudpickle, or make its"
            " functions importable by name"
        ) from error


def in_order(
    executor: Executor,
    work: Callable[[Task, bytes], bytes],
    task: Task,
    system: System,
    todo: deque[tuple[State, T]],
) -> Iterator[tuple[T, list[Expanded]]]:
    """Yield what leads to each state of a frontier, and its expansion, while the frontier grows.

    A state leaves the frontier when it is yielded.
    """
    flying: deque[tuple[int, Future[bytes]]] = deque()
    submitted = 0
    while todo:
        while len(flying) < _IN_FLIGHT and len(todo) > submitted:
            entries = list(islice(todo, submitted, submitted + _PACK))
            blob = dumps(pack(state for state, _ in entries))
            flying.append((len(entries), executor.submit(work, task, blob)))
            submitted += len(entries)
        count, future = flying.popleft()
        restored = Unpacking(system)
        expansions = pickle.loads(future.result())  # noqa: S301 - our own worker wrote it
        for rows in expansions:
            _, way = todo.popleft()
            yield way, [Expanded(*row)._replace(restore=restored) for row in rows]
        submitted -= count


def start(system: System, worlds: Iterable[World]) -> None:
    """Number the start worlds, so that packed worlds can refer to them."""
    for world in worlds:
        system.memo.worlds.of(world)
