"""The results of pure functions of worlds: each is computed once for what it looks up.

Rules of this module:

1. A function is called with worlds that record what it looks up. The next call whose look-ups would
   find the same cells gets the same result.
2. A world as a result is kept as the cells that differ from those of the first argument.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from attrs import define, field

from captep_memory import Key, Object, World
from captep_testing._interned import Cell, Interned, Searched, Shelf, Worlds, set_field

__all__ = ["Delta", "Recall", "delta_of"]

Question: TypeAlias = tuple[int, int | Shelf | None]
"""A look-up: the position of the world among the arguments, and a slot, a shelf, or everything."""
Delta: TypeAlias = tuple[dict[int, int], datetime]
"""The cells of a world that differ from those of another, by slot, and its time."""


class _Recorded(Searched):
    """A world that records its look-ups, and the cells that writes changed."""

    __slots__ = ("_cells", "_log", "_place", "_source")

    _cells: dict[int, int]
    _log: list[tuple[Question, object]]
    _place: int
    _source: Interned

    @classmethod
    def of(cls, source: Interned, place: int, log: list[tuple[Question, object]]) -> "_Recorded":
        return cls._of(source, place, log, {}, source.now)

    @classmethod
    def _of(
        cls,
        source: Interned,
        place: int,
        log: list[tuple[Question, object]],
        cells: dict[int, int],
        now: datetime,
    ) -> "_Recorded":
        made = cls.made(source.table, source.setting, now)
        set_field(made, "_source", source)
        set_field(made, "_place", place)
        set_field(made, "_log", log)
        set_field(made, "_cells", cells)
        return made

    def looked_up(self, place: int | Shelf | None) -> None:
        """Record a look-up."""
        self._log.append(((self._place, place), self._source.answer(place)))

    def delta(self) -> Delta:
        """Return what writes changed."""
        return self._cells, self.now

    @property
    def shelves(self) -> Mapping[Shelf, Mapping[str, Object]]:
        return _Shelves(self)

    @property
    def resource_version(self) -> int:
        source = self._source
        cells = self.table.cells
        return source.resource_version + sum(
            cells[number].changes - source.cell(cells[number].key).changes
            for number in self._cells.values()
        )

    compacted = resource_version

    @property
    def departed(self) -> frozenset[str]:
        self.looked_up(None)
        return self._source.changed(self._cells, self.now).departed

    def cell(self, key: Key) -> Cell:
        slot = self.table.slot(key)
        number = self._cells.get(slot)
        if number is not None:
            return self.table.cells[number]
        self.looked_up(slot)
        return self._source.cell(key)

    def held(self, key: Key) -> bool:
        """Whether a key has an object, without a record."""
        number = self._cells.get(self.table.slot(key))
        cell = self._source.cell(key) if number is None else self.table.cells[number]
        return cell.obj is not None

    def changed(self, cells: Mapping[int, int], now: datetime) -> "_Recorded":
        merged = {**self._cells, **cells}
        return self._of(self._source, self._place, self._log, merged, now)

    def shelf(self, api_group: str, kind: str, namespace: str | None) -> Mapping[str, Object]:
        return _RecordedShelf(self, (api_group, kind, namespace))


class _RecordedShelf(Mapping[str, Object]):
    """The objects of one kind in one namespace."""

    def __init__(self, world: _Recorded, place: Shelf) -> None:
        self._world = world
        self._place = place

    def __getitem__(self, name: str) -> Object:
        obj = self._world.get(Key(*self._place, name))
        if obj is None:
            raise KeyError(name)
        return obj

    def __iter__(self) -> Iterator[str]:
        self._world.looked_up(self._place)
        table = self._world.table
        keys = [table.keys[slot] for slot in table.slots_of(self._place)]
        return iter([key.name for key in keys if self._world.held(key)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Shelves(Mapping[Shelf, Mapping[str, Object]]):
    """All shelves that hold an object."""

    def __init__(self, world: _Recorded) -> None:
        self._world = world

    def __getitem__(self, place: Shelf) -> Mapping[str, Object]:
        shelf = _RecordedShelf(self._world, place)
        if not shelf:
            raise KeyError(place)
        return shelf

    def __iter__(self) -> Iterator[Shelf]:
        self._world.looked_up(None)
        table = self._world.table
        return iter([place for place in table.places() if _RecordedShelf(self._world, place)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


@define(eq=False)
class _Node:
    """A point of a function, reached by its look-ups so far: `question` is next, or it is done."""

    question: Question | None = None
    result: Any = None
    following: dict[object, "_Node"] = field(factory=dict)


class Recall:
    """The results of pure functions of worlds, by what they looked up."""

    def __init__(self, worlds: Worlds) -> None:
        """Remember nothing yet."""
        self._worlds = worlds
        self._nodes: dict[object, _Node] = {}

    def value(self, name: object, call: Callable[..., Any], *worlds: Interned) -> Any:  # noqa: ANN401 - of any function
        """Return what a function says about worlds; `name` stands for it and other arguments."""
        first = worlds[0]
        start = (name, first.setting.number, first.now)
        node = self._nodes.get(start)
        while node is not None:
            question = node.question
            if question is None:
                return node.result
            place, what = question
            node = node.following.get(worlds[place].answer(what))
        log: list[tuple[Question, object]] = []
        recorded = [_Recorded.of(world, place, log) for place, world in enumerate(worlds)]
        result = call(*recorded)
        node = self._nodes.setdefault(start, _Node())
        for question, answer in dict(log).items():
            if node.question is None:
                node.question = question
            elif node.question != question:
                return result  # a function that looks up in another order is not pure
            node = node.following.setdefault(answer, _Node())
        node.result = result
        return result

    def world(
        self, name: object, call: Callable[[World], World | None], world: Interned
    ) -> Interned | None:
        """Return the world that a function makes of one."""
        found = self.value(name, lambda recorded: delta_of(call(recorded)), world)
        return self.applied(found, world)

    def applied(self, found: "Delta | World | None", world: Interned) -> Interned | None:
        """Return the world that a result of `delta_of` stands for."""
        if found is None:
            return None
        if isinstance(found, World):
            return self._worlds.of(found)
        cells, now = found
        return world if not cells and now == world.now else world.changed(cells, now)


def delta_of(world: World | None) -> "Delta | World | None":
    """Return a world as its difference from the recorded one that it comes from."""
    return world.delta() if isinstance(world, _Recorded) else world
