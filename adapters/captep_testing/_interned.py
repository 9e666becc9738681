"""The worlds of a search: each exists once.

Rules of this module:

1. A cell is one object at one moment, or its absence; it has a number. A world is the numbers of
   its cells. Two ways to the same objects lead to the same world.
2. The server invents uids and resourceVersions; here they depend on the object alone. The uid
   counts the incarnations of a name, the resourceVersion the changes of the object. Both are legal
   for a server: uids never recur, and a resourceVersion grows with every change of its object.
3. A world of a search has no history: the way to it is not part of it. Asking for its changes
   raises an error, and reports hold plain worlds.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self, TypeAlias

from attrs import evolve, field, frozen

from captep_memory import Key, Object, StoreChange, World
from captep_memory._world import Writer, uid_of
from captep_testing._canonical import Facts, Outline, facts_of, outlined

__all__ = ["Cell", "Interned", "Searched", "Setting", "Shelf", "Worlds", "set_field"]

Shelf: TypeAlias = tuple[str, str, str | None]


@frozen(eq=False)
class Cell:
    """One key of the server at one moment.

    `content`: equal in cells with equal objects, 0 without one. `floor`: its last resourceVersion.
    `changes`, `incarnations`: how often it changed and was created in this search. `writes`: the
    writes of this incarnation that name their writer. `created`: whether the last one created it.
    """

    number: int
    key: Key
    obj: Object | None = field(repr=False)
    content: int = 0
    floor: int = 0
    changes: int = 0
    incarnations: int = 0
    writes: tuple[StoreChange, ...] = field(default=(), repr=False)
    created: bool = False
    departed: frozenset[str] = frozenset()


@frozen(eq=False)
class Setting:
    """What no write changes, and the resourceVersion before the first change."""

    number: int
    world: World
    base: int


class Searched(World):
    """A world with its cells in a table. `attrs.evolve` makes a plain world of it."""

    __slots__ = ("setting", "table")

    table: "Worlds"
    setting: Setting

    def __new__(cls, *args: Any, **fields: Any) -> Any:  # noqa: ANN401 - see the docstring
        return World(*args, **fields)

    @classmethod
    def made(cls, table: "Worlds", setting: Setting, now: datetime) -> Self:
        made = object.__new__(cls)
        known = setting.world
        set_field(made, "table", table)
        set_field(made, "setting", setting)
        set_field(made, "now", now)
        set_field(made, "catalog", known.catalog)
        set_field(made, "quirks", known.quirks)
        set_field(made, "admission", known.admission)
        set_field(made, "_history", None)
        set_field(made, "_ledger", {})
        return made

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def cell(self, key: Key) -> Cell:
        """Return the cell of a key."""
        raise NotImplementedError

    def changed(self, cells: Mapping[int, int], now: datetime) -> Self:
        """Return the world with other cells, by slot, at a time."""
        raise NotImplementedError

    def get(self, key: Key) -> Object | None:
        return self.cell(key).obj

    def at(self, now: datetime) -> Self:
        return self.changed({}, now)

    def plain(self) -> World:
        """Return the world without a table."""
        return evolve(self)

    def put(self, key: Key, obj: Object, writer: Writer | None = None) -> tuple[Self, Object]:
        cell = self.table.stored(self.setting, self.cell(key), obj, writer)
        assert cell.obj is not None  # noqa: S101 - it was just stored
        return self.changed({self.table.slot(key): cell.number}, self.now), cell.obj

    def remove(self, key: Key) -> Self:
        cell = self.table.removed(self.cell(key))
        return self.changed({self.table.slot(key): cell.number}, self.now)

    def next_uid(self, key: Key, *, dry_run: bool) -> str:
        incarnation = self.cell(key).incarnations + 1
        return uid_of(key, f"{incarnation}{'?' if dry_run else ''}")

    def written(self, key: Key) -> tuple[StoreChange, ...]:
        return self.cell(key).writes

    def is_as_created(self, key: Key) -> bool:
        return self.cell(key).created

    def changes(self, *, since: int = 0) -> tuple[StoreChange, ...]:
        if since >= self.resource_version:
            return ()
        raise NotImplementedError(
            "a world of a search has no history: compare its objects with those of another world"
        )


set_field = object.__setattr__


class Interned(Searched):
    """A world of a search; equal ones are the same object."""

    __slots__ = ("number", "vector")

    number: int
    vector: tuple[int, ...]

    @classmethod
    def make(
        cls,
        table: "Worlds",
        setting: Setting,
        now: datetime,
        vector: tuple[int, ...],
        shelves: Mapping[Shelf, Mapping[str, Object]],
        number: int,
    ) -> "Interned":
        """Return a new one."""
        made = cls.made(table, setting, now)
        cells = [table.cells[each] for each in vector]
        version = setting.base + sum(cell.changes for cell in cells)
        set_field(made, "number", number)
        set_field(made, "vector", vector)
        set_field(made, "shelves", shelves)
        set_field(made, "resource_version", version)
        set_field(made, "compacted", version)
        departed = [cell.departed for cell in cells if cell.departed]
        set_field(made, "departed", frozenset().union(*departed))
        return made

    def cell(self, key: Key) -> Cell:
        slot = self.table.slot(key)
        vector = self.vector
        number = vector[slot] if slot < len(vector) else 0
        return self.table.cells[number] if number else self.table.never(key)

    def changed(self, cells: Mapping[int, int], now: datetime) -> "Interned":
        return self.table.changed(self, cells, now)

    @property
    def outline(self) -> Outline:
        """The world as names of states contain it."""
        known = self.table.outlines.get(self.number)
        if known is None:
            cells = [self.table.cells[number] for number in self.vector]
            facts = self.table.facts
            known = outlined((cell.key, facts[cell.content - 1]) for cell in cells if cell.content)
            self.table.outlines[self.number] = known
        return known

    def answer(self, place: int | Shelf | None) -> object:
        """Return what a look-up finds, as numbers."""
        vector = self.vector
        if isinstance(place, int):
            return vector[place] if place < len(vector) else 0
        if place is None:
            return self.number
        return tuple(cell.number for cell in self.cells_of(place))

    def cells_of(self, place: Shelf) -> list[Cell]:
        """Return the cells of a shelf that have an object."""
        vector = self.vector
        size = len(vector)
        cells = [
            self.table.cells[vector[slot]] for slot in self.table.slots_of(place) if slot < size
        ]
        return [cell for cell in cells if cell.obj is not None]


class Worlds:
    """The table of all cells and worlds of a search."""

    def __init__(self) -> None:
        """Know no world yet."""
        self.cells: list[Cell] = []
        self.keys: list[Key] = []
        self._slots: dict[Key, int] = {}
        self._shelves: dict[Shelf, list[int]] = {}
        self._never: dict[Key, Cell] = {}
        self._cells: dict[object, Cell] = {}
        self._contents: dict[Facts, int] = {}
        self.facts: list[Facts] = []
        self.outlines: dict[int, Outline] = {}
        # Of `_delivery`, by action, world and view.
        self.delivered: dict[object, Any] = {}
        self._by_object: dict[int, Cell] = {}
        self._settings: dict[object, Setting] = {}
        self._worlds: dict[object, Interned] = {}
        self._adopted: dict[int, tuple[World, Interned]] = {}
        # Number 0 is the cell of every key that no world has mentioned.
        self.cells.append(Cell(0, Key("", "", None, ""), None))

    def slot(self, key: Key) -> int:
        """Return the place of a key in the vector of a world."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = len(self.keys)
            self.keys.append(key)
            place = (key.api_group, key.kind, key.namespace)
            self._shelves.setdefault(place, []).append(slot)
        return slot

    def slots_of(self, place: Shelf) -> list[int]:
        """Return the slots of a shelf."""
        return self._shelves.get(place, [])

    def places(self) -> list[Shelf]:
        """Return the shelves of all worlds."""
        return list(self._shelves)

    def never(self, key: Key) -> Cell:
        """Return the cell of a key that a world has never had."""
        known = self._never.get(key)
        if known is None:
            known = self._never[key] = Cell(0, key, None)
        return known

    def _cell(self, cell: Cell, *managers: object) -> Cell:
        """Return the cell that is equal to `cell`, with a number."""
        identity = (
            *(cell.key, cell.content, cell.floor, cell.changes, cell.incarnations, cell.created),
            *(cell.departed, managers),
        )
        known = self._cells.get(identity)
        if known is None:
            known = self._cells[identity] = evolve(cell, number=len(self.cells))
            self.cells.append(known)
            if known.obj is not None:
                self._by_object[id(known.obj)] = known
        return known

    def _content(self, obj: Object) -> int:
        facts = facts_of(obj)
        content = self._contents.get(facts)
        if content is None:
            self.facts.append(facts)
            content = self._contents[facts] = len(self.facts)
        return content

    def stored(self, setting: Setting, before: Cell, obj: Object, writer: Writer | None) -> Cell:
        """Return the cell after a write."""
        version = max(before.floor, setting.base) + 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}
        added = before.obj is None
        change = StoreChange(
            "ADDED" if added else "MODIFIED", before.key, stored, before.obj, version, writer
        )
        writes = () if added else before.writes
        writes = writes if writer is None else (*writes, change)
        cell = Cell(
            0,
            before.key,
            stored,
            content=self._content(stored),
            floor=version,
            changes=before.changes + 1,
            incarnations=before.incarnations + added,
            writes=writes,
            created=added,
            departed=before.departed,
        )
        return self._cell(
            cell, *sorted({_signature(each.writer) for each in writes if each.writer})
        )

    def removed(self, before: Cell) -> Cell:
        """Return the cell after the removal of its object."""
        if before.obj is None:
            raise KeyError(before.key)
        return self._cell(
            Cell(
                0,
                before.key,
                None,
                floor=before.floor + 1,
                changes=before.changes + 1,
                incarnations=before.incarnations,
                departed=before.departed | {str(before.obj["metadata"]["uid"])},
            )
        )

    def of(self, world: World) -> Interned:
        """Return a world of the search with the objects of any world."""
        if isinstance(world, Interned) and world.table is self:
            return world
        known = self._adopted.get(id(world))
        if known is None:
            known = self._adopted[id(world)] = (world, self._adopt(world))
        return known[1]

    def _adopt(self, world: World) -> Interned:
        cells = [
            self._by_object.get(id(obj)) or self._loaded(world, Key(*place, name), obj)
            for place, shelf in world.shelves.items()
            for name, obj in shelf.items()
        ]
        base = world.resource_version - sum(cell.changes for cell in cells)
        setting = self._setting(world, base)
        found = {self.slot(cell.key): cell.number for cell in cells}
        vector = tuple(found.get(slot, 0) for slot in range(max(found, default=-1) + 1))
        return self._world(setting, world.now, vector)

    def _loaded(self, world: World, key: Key, obj: Object) -> Cell:
        floor = obj["metadata"].get("resourceVersion", "")
        writes = world.written(key)
        cell = Cell(
            0,
            key,
            obj,
            content=self._content(obj),
            floor=int(floor) if str(floor).isdigit() else 0,
            writes=writes,
            created=world.is_as_created(key),
        )
        return self._cell(
            cell, *sorted({_signature(each.writer) for each in writes if each.writer})
        )

    def _setting(self, world: World, base: int) -> Setting:
        parts = (world.catalog, world.quirks, world.admission)
        identity = (*map(id, parts), base)
        known = self._settings.get(identity)
        if known is None:
            known = self._settings[identity] = Setting(len(self._settings), world, base)
        return known

    def restored_cell(self, key: Key, obj: Object | None, floor: int, *more: Any) -> int:  # noqa: ANN401 - fields of Cell
        """Return the number of the cell with these fields."""
        changes, incarnations, writes, created, departed = more
        content = 0 if obj is None else self._content(obj)
        counts = (floor, changes, incarnations)
        cell = Cell(0, key, obj, content, *counts, writes, created, departed)
        managers = sorted({_signature(each.writer) for each in writes if each.writer})
        return self._cell(cell, *managers).number

    def restored(self, setting: int, now: datetime, cells: Iterable[int]) -> Interned:
        """Return the world with these cells, of the setting with this number.

        Raises:
            ValueError: a move made its own world instead of one from its argument.
        """
        known = list(self._settings.values())
        if setting >= len(known):
            raise ValueError("a move made a world by other means than `put`, `remove` and `at`")
        found = {self.slot(self.cells[number].key): number for number in cells if number}
        vector = tuple(found.get(slot, 0) for slot in range(max(found, default=-1) + 1))
        return self._world(known[setting], now, vector)

    def changed(self, world: Interned, cells: Mapping[int, int], now: datetime) -> Interned:
        """Return a world with other cells, by slot, at a time."""
        vector = list(world.vector)
        if cells:
            vector += [0] * (max(cells) + 1 - len(vector))
            for slot, number in cells.items():
                vector[slot] = number
        return self._world(world.setting, now, tuple(vector))

    def _world(self, setting: Setting, now: datetime, vector: tuple[int, ...]) -> Interned:
        while vector and not vector[-1]:
            vector = vector[:-1]
        identity = (setting.number, now, vector)
        known = self._worlds.get(identity)
        if known is None:
            shelves: dict[Shelf, dict[str, Object]] = {}
            for number in vector:
                cell = self.cells[number]
                if cell.obj is not None:
                    key = cell.key
                    place = (key.api_group, key.kind, key.namespace)
                    shelves.setdefault(place, {})[key.name] = cell.obj
            number = len(self._worlds)
            known = Interned.make(self, setting, now, vector, shelves, number)
            self._worlds[identity] = known
        return known


def _signature(writer: Writer) -> tuple[str, str, str, bool]:
    """Return what of a writer decides about managedFields."""
    return writer.manager, writer.subresource, writer.api_version, writer.settles
