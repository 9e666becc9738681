"""`captep demo --report`: the proposal's graduation criteria, measured in this run, as Markdown.

Every number comes from the run. CPU times vary between machines and moments, so the criterion is a
ratio within the run. `make bench` measures the criteria at length.
"""

import math
import platform
from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from captep_demo._lanes import Result
from captep_demo._timeline import SLICE

__all__ = ["FAULTS", "Criterion", "criteria", "report"]

FAULTS: Final = 0.02
"""The share of writes without an answer at which errors are counted: one in fifty."""
_LINES: Final = 20
"""13 writes and 3 verdicts make a control plane; the rest is room."""
_JITTER: Final = 1.1
"""Intervals are longer by up to a tenth, so that control planes spread out."""
_PASS: Final = 0.1
"""The seconds that a pass takes in the simulation: a second key waits for so long."""


@frozen
class Criterion:
    """One criterion: its measured value next to its threshold.

    `unit` follows both numbers. `is_strict`: the threshold itself is not enough.
    """

    name: str
    value: float
    most: float
    unit: str = ""
    is_strict: bool = False

    @property
    def measured(self) -> str:
        """The value with its unit."""
        if self.value == math.inf:
            return "never"
        return f"{self.value:.3g}{self.unit}"

    @property
    def threshold(self) -> str:
        """The threshold with its unit."""
        return f"{'under ' if self.is_strict else ''}{self.most:g}{self.unit}"

    @property
    def is_met(self) -> bool:
        """Whether the value keeps the threshold."""
        return self.value < self.most if self.is_strict else self.value <= self.most


def criteria(results: Sequence[Result], faulty: Result, control_planes: int) -> list[Criterion]:
    """Return the criteria that a run of the demo can measure.

    Args:
        results: of the three loops.
        faulty: of captep, where the share `FAULTS` of its writes gets no answer.
        control_planes: how many lives the results add up.
    """
    before, captep = results[0], results[-1]
    needless = captep.total.writes - captep.total.changed - captep.total.refused
    share = captep.cpu_seconds / max(before.cpu_seconds, 1e-9)
    passes = captep.total.passes / max(1, before.total.passes)
    made = _lines_until_usable(captep) / control_planes
    lines = captep.total.lines / max(1, before.total.lines)
    errors = faulty.errors / max(1, faulty.total.passes)
    unanswered = f"{FAULTS:.0%} of writes unanswered"
    return [
        Criterion("CPU of the loop, of the loop before", 100 * share, 50, " %"),
        *(_gap(captep, seconds) for seconds in sorted({asked for asked, _ in captep.gaps})),
        Criterion(
            f"passes that end in an error, with {unanswered}", 100 * errors, 1, " %", is_strict=True
        ),
        Criterion(f"lives that do not end, with {unanswered}", float(not faulty.is_over), 0),
        Criterion(
            "refused writes",
            100 * captep.total.refused / max(1, captep.total.writes),
            1,
            " %",
            is_strict=True,
        ),
        Criterion("passes, of the loop before", 100 * passes, 50, " %"),
        Criterion("writes that changed nothing", needless, 0),
        Criterion("log lines until a control plane is usable", made, _LINES),
        Criterion("log lines, of the loop before", 100 * lines, 50, " %"),
        _wait("seconds until a deleted Secret is restored", captep.restored_after, 30),
        _wait("seconds until a failure is reported", captep.reported_after, 10),
    ]


def _gap(result: Result, asked: float) -> Criterion:
    """Return the longest time between two passes for which a decision asked to wait so long."""
    longest = max(gap for each, gap in result.gaps if each == asked)
    name = f"longest of the intervals of {asked:g} s, with a tenth of jitter"
    return Criterion(name, longest, _JITTER * asked + _PASS, " s")


def _wait(name: str, seconds: float | None, most: float) -> Criterion:
    return Criterion(name, math.inf if seconds is None else seconds, most)


def _lines_until_usable(result: Result) -> int:
    if result.usable_after is None:
        return result.total.lines
    last = int(result.usable_after / SLICE.total_seconds())
    return sum(count.lines for number, count in result.slices.items() if number <= last)


def report(
    results: Sequence[Result],
    faulty: Result,
    rows: Sequence[tuple[str, Callable[[Result], str]]],
    *,
    control_planes: int,
    hours: float,
    seed: int,
) -> str:
    """Return the report as Markdown: the criteria, then the figures of each loop."""
    fleet = "one control plane" if control_planes == 1 else f"{control_planes} control planes"
    arguments = f"--control-planes {control_planes} --hours {hours:g} --seed {seed}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{platform.system()} {platform.machine()}"
    lines = [
        "# Graduation criteria of CAPTEP-0016, the short form",
        "",
        f"`captep demo {arguments}`: {fleet}, {python} on {machine}.",
        "",
        "| criterion | measured | threshold | met |",
        "| --- | --- | --- | --- |",
    ]
    for each in criteria(results, faulty, control_planes):
        met = "yes" if each.is_met else "no"
        lines.append(f"| {each.name} | {each.measured} | {each.threshold} | {met} |")
    names = [result.lane.name for result in results]
    lines += ["", f"| | {' | '.join(names)} |", "| --- |" + " ---: |" * len(names)]
    for title, show in rows:
        lines.append(f"| {title.strip()} | {' | '.join(map(show, results))} |")
    cpu = " | ".join(f"{result.cpu_seconds:.2f}" for result in results)
    lines += [
        f"| seconds of CPU in passes | {cpu} |",
        "",
        "The passes of the older loops that the demo counts and does not execute enter the CPU by",
        "the mean of the executed ones.",
    ]
    return "\n".join(lines) + "\n"
