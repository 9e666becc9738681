"""The views that an instance may have of a world that others have changed."""

from collections.abc import Iterator
from itertools import product, zip_longest

from captep_testing._interned import Interned, Shelf

__all__ = ["views_of"]


def views_of(
    world: Interned, older: tuple[Interned, ...]
) -> Iterator[tuple[tuple[int, ...], str, Interned, tuple[Interned, ...]]]:
    """Yield the possible views, each with the worlds that later views may show.

    Each kind as it is or as it was: how far it lags behind, and the same as a text.
    """
    places = sorted({place for view in older for place in _differing(world, view)}, key=str)
    for behind in product(range(len(older) + 1), repeat=len(places)):
        counts = {place: count for place, count in zip(places, behind, strict=True) if count}
        view = _combined(world, {place: older[count - 1] for place, count in counts.items()})
        lag = ", ".join(
            f"{kind} {namespace or ''} {count} behind"
            for (_, kind, namespace), count in counts.items()
        )
        left = [
            _combined(view, {place: known for place in places if counts.get(place, 0) > age})
            for age, known in enumerate(older)
        ]
        yield behind, f" with {lag}" if lag else "", view, tuple(_distinct(world, left))


def _combined(world: Interned, shelves: dict[Shelf, Interned]) -> Interned:
    """Return a world with some of its shelves as they are in others."""
    cells: dict[int, int] = {}
    for place, other in shelves.items():
        size = len(other.vector)
        for slot in world.table.slots_of(place):
            cells[slot] = other.vector[slot] if slot < size else 0
    return world.changed(cells, world.now) if cells else world


def _distinct(world: Interned, older: list[Interned]) -> Iterator[Interned]:
    """Drop each world that is no older than its predecessor."""
    for view in older:
        if any(_differing(world, view)):
            yield view
        world = view


def _differing(world: Interned, view: Interned) -> Iterator[Shelf]:
    """Yield the shelves with different objects."""
    cells = world.table.cells
    found = set()
    for one, other in zip_longest(world.vector, view.vector, fillvalue=0):
        if one != other and cells[one].content != cells[other].content:
            key = cells[one or other].key
            found.add((key.api_group, key.kind, key.namespace))
    yield from found
