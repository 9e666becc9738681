"""What a loop did, counted over time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

__all__ = ["SLICE", "Count", "Ledger"]

SLICE: Final = timedelta(seconds=20)
"""How long a slice of time is; three make a minute."""


@frozen
class Count:
    """How much was done.

    `reads`: objects looked up. `writes`: writes sent, of which `changed` had an effect and `refused` were turned down; the rest changed
    nothing. `lines`: lines in the log. `counted`: passes that were not executed, because they had been seen to repeat the one before.
    """

    passes: int = 0
    reads: int = 0
    writes: int = 0
    changed: int = 0
    refused: int = 0
    lines: int = 0
    counted: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.passes + other.passes,
            self.reads + other.reads,
            self.writes + other.writes,
            self.changed + other.changed,
            self.refused + other.refused,
            self.lines + other.lines,
            self.counted + other.counted,
        )

    def times(self, factor: int) -> "Count":
        """Return what so many of it make."""
        parts = (
            self.passes,
            self.reads,
            self.writes,
            self.changed,
            self.refused,
            self.lines,
            self.counted,
        )
        return Count(*(part * factor for part in parts))


class Ledger:
    """Counts by slices of time, from `start` on."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._slices: dict[int, Count] = {}

    def note(self, at: datetime, count: Count) -> None:
        """Count what was done at a time."""
        number = (at - self._start) // SLICE
        self._slices[number] = self._slices.get(number, Count()) + count

    def repeat(
        self,
        at: datetime,
        count: Count,
        times: int,
        *,
        every: timedelta = timedelta(milliseconds=100),
    ) -> None:
        """Count the same done so many times, first at `at`; the passes in it are marked as counted, not executed."""
        each = count + Count(counted=count.passes)
        while times > 0:
            number = (at - self._start) // SLICE
            ends = self._start + (number + 1) * SLICE
            here = min(times, -((at - ends) // every))
            self.note(at, each.times(here))
            at, times = at + here * every, times - here

    def total(self) -> Count:
        """Return all of it."""
        return sum(self._slices.values(), Count())

    def slices(self) -> Mapping[int, Count]:
        """Return the counts by the number of the slice; slices in which nothing was done are left out."""
        return dict(self._slices)
