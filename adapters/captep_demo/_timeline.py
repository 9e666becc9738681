"""Counts of a loop's work over time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

__all__ = ["SLICE", "Count", "Timeline"]

SLICE: Final = timedelta(seconds=20)
"""The length of a slice of time. The plot draws minutes, of three slices each."""


@frozen
class Count:
    """Amounts of work.

    `reads`: objects read. `writes`: writes sent; `changed` of them had an effect, `refused` of them
    were refused, the rest changed nothing. `lines`: log lines. `counted`: the passes that were
    added without execution, because they repeat the pass before.
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
        """Return the count multiplied by `factor`."""
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


class Timeline:
    """Counts by slice of time since `start`."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._slices: dict[int, Count] = {}

    def add(self, at: datetime, count: Count) -> None:
        """Add a count at a time."""
        number = (at - self._start) // SLICE
        self._slices[number] = self._slices.get(number, Count()) + count

    def add_repeated(
        self,
        at: datetime,
        count: Count,
        times: int,
        *,
        every: timedelta = timedelta(milliseconds=100),
    ) -> None:
        """Add a count `times` times, first at `at`; its passes count as not executed."""
        each = count + Count(counted=count.passes)
        while times > 0:
            number = (at - self._start) // SLICE
            ends = self._start + (number + 1) * SLICE
            here = min(times, -((at - ends) // every))
            self.add(at, each.times(here))
            at += here * every
            times -= here

    def total(self) -> Count:
        """Return the sum of all counts."""
        return sum(self._slices.values(), Count())

    def slices(self) -> Mapping[int, Count]:
        """Return the counts by number of the slice, without empty slices."""
        return dict(self._slices)
