"""A search in a file: what it found and what is left, so that a later call continues it.

A file is for one operator in one version with one set of bounds. The first Ctrl-C ends a search
between two states and writes the file; the second one ends it at once.
"""

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import field, frozen

from captep_testing._frontier import dumps, pack, unpack
from captep_testing._search import BUDGETS, Search, Way

__all__ = ["Checkpoint"]

# About half a minute of our own core at 1,500 states a second: a kill loses no more.
_EVERY = 50_000

# What pickle raises for a file that is cut off, or that is something else.
_UNUSABLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
)


@frozen
class Checkpoint:
    """The file of one search, whose code and bounds `identity` names."""

    file: Path
    identity: str
    _stops: list[int] = field(factory=list)

    def load(self, search: Search) -> bool:
        """Restore a search; return whether the file holds one.

        Raises:
            ValueError: the file holds a search of other code or with other bounds, or none.
        """
        if not self.file.exists():
            return False
        try:
            identity, ways, states, left, counts, occurred, driven = _unpickled(self.file)
        except _UNUSABLE as error:
            raise ValueError(f"{self.file} holds no search: remove it to begin again") from error
        if identity != self.identity:
            raise ValueError(
                f"{self.file} holds another search: found {identity}, expected {self.identity};"
                " remove it to begin again"
            )
        made: list[Way] = []
        for world, label, before in ways:
            made.append(Way(world, label, None if before is None else made[before]))
        for name, place in zip(*left[:2], strict=True):
            search.add(name[:-BUDGETS], name[-BUDGETS:], made[place])
        restored = unpack(search.system, states)
        search.todo.extend(zip(restored, (made[place] for place in left[2]), strict=True))
        search.counts.update(counts)
        search.occurred.update(occurred)
        search.driven.update(driven)
        return True

    def save(self, search: Search) -> None:
        """Write a search that is between two states."""
        places: dict[int, int] = {}
        ways: list[tuple[int, str, int | None]] = []
        for way in search.ways.values():
            # A way is found after the one before it, and so it comes later in the mapping.
            before = None if way.before is None else places[id(way.before)]
            places[id(way)] = len(ways)
            ways.append((way.world, way.label, before))
        left = (
            list(search.ways),
            [places[id(way)] for way in search.ways.values()],
            [places[id(way)] for _, way in search.todo],
        )
        states = pack(state for state, _ in search.todo)
        found = dict(search.counts), search.occurred, search.driven
        content = dumps((self.identity, ways, states, left, *found))
        new = self.file.with_name(f"{self.file.name}.new")
        new.write_bytes(content)
        os.replace(new, self.file)

    def between(self, search: Search, expanded: int) -> None:
        """Write the search from time to time, and at once after Ctrl-C.

        Raises:
            KeyboardInterrupt: there was a Ctrl-C; the search is in the file.
        """
        if self._stops:
            self.save(search)
            raise KeyboardInterrupt
        if expanded % _EVERY == 0:
            self.save(search)

    def done(self) -> None:
        """Remove the file of a search that has ended."""
        self.file.unlink(missing_ok=True)

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Note the first Ctrl-C for `between`."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread alone
            return

        def note(number: int, _: FrameType | None) -> None:
            if self._stops:
                raise KeyboardInterrupt
            self._stops.append(number)

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _unpickled(file: Path) -> Any:  # noqa: ANN401 - what `save` wrote
    return pickle.loads(file.read_bytes())  # noqa: S301 - the user's own file
