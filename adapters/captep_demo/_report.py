"""`captep demo --report`: the proposal's graduation criteria, measured in this run, as Markdown.

Every number comes from the run. CPU times vary between machines and moments, so the criterion is a
ratio within the run. `make bench` measures the criteria at length.
"""

import platform
from collections.abc import Callable, Sequence

from attrs import frozen

from captep_demo._lanes import Result
from captep_demo._timeline import SLICE

__all__ = ["criteria", "report"]

_LINES = 20
"""13 writes and 3 verdicts make a control plane; the rest is room."""


@frozen
class Criterion:
    """One criterion: its measured value next to its threshold."""

    name: str
    measured: str
    threshold: str
    is_met: bool


def criteria(results: Sequence[Result], control_planes: int) -> list[Criterion]:
    """Return the criteria that a run of the demo can measure."""
    before, captep = results[0], results[-1]
    needless = captep.total.writes - captep.total.changed - captep.total.refused
    errors = captep.total.refused / max(1, captep.total.writes)
    share = captep.cpu_seconds / max(before.cpu_seconds, 1e-9)
    lines = _lines_until_usable(captep) / control_planes
    passes = captep.total.passes / max(1, before.total.passes)
    return [
        Criterion("CPU of the loop, of the loop before", f"{share:.2%}", "50 %", share <= 0.5),
        Criterion("passes, of the loop before", f"{passes:.2%}", "50 %", passes <= 0.5),
        Criterion("writes that changed nothing", f"{needless}", "0", needless == 0),
        Criterion("refused writes", f"{errors:.2%}", "under 1 %", errors < 0.01),
        Criterion(
            "log lines until a control plane is usable",
            f"{lines:.1f}",
            f"{_LINES}",
            lines <= _LINES,
        ),
        _wait("seconds until a deleted Secret is restored", captep.restored_after, 30),
        _wait("seconds until a failure is reported", captep.reported_after, 10),
    ]


def _wait(name: str, seconds: float | None, most: float) -> Criterion:
    measured = "never" if seconds is None else f"{seconds:.1f}"
    return Criterion(name, measured, f"{most:g}", seconds is not None and seconds <= most)


def _lines_until_usable(result: Result) -> int:
    if result.usable_after is None:
        return result.total.lines
    last = int(result.usable_after / SLICE.total_seconds())
    return sum(count.lines for number, count in result.slices.items() if number <= last)


def report(
    results: Sequence[Result],
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
    for each in criteria(results, control_planes):
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
