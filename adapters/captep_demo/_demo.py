"""`captep demo`: the loop before CAPTEP-0016, its intervals alone, and captep, each through the same hours of a control plane's life."""

import math
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from attrs import frozen

from captep_demo._lanes import LANES, START, Result, play
from captep_demo._ledger import SLICE, Count
from captep_demo._plot import picture
from captep_world import StoryEvent, stories

__all__ = ["demo"]

_COLUMNS = 72
_NAMES = ("tokyo", "osaka", "kyoto", "nagoya", "sapporo", "fukuoka", "sendai", "kobe")


def demo(control_planes: int, hours: float, seed: int, plot: str | None) -> int:
    """Play the story, print what came of it, and draw it when asked to.

    Args:
        control_planes: how many there are, each with a server of its own.
        hours: how long each of them is Ready, with all that happens in between; creation and deletion come on top.
        seed: decides how long Terraform takes, and the contents of Secrets. Equal arguments print equal bytes.
        plot: where to write the picture (SVG), None for nowhere.

    Returns:
        The exit status: 0, or 1 when the picture cannot be written.
    """
    results = tuple(_added_up(lane) for lane in _play_all(control_planes, hours, seed))
    if plot is not None:
        try:
            Path(plot).write_text(picture(results, control_planes=control_planes), encoding="utf-8")
        except OSError as error:
            print(f"captep demo: {plot}: cannot be written: {error.strerror}", file=sys.stderr)
            return 1
    for line in _report(results, control_planes, _signs(sys.stdout)):
        print(line)
    if plot is not None:
        print(f"\nThe picture is in {plot}.")
    return 0


def _play_all(control_planes: int, hours: float, seed: int) -> list[list[Result]]:
    length = timedelta(hours=hours)
    story, limit = stories.life(length), length + timedelta(hours=2)
    played: list[list[Result]] = [[] for _ in LANES]
    for number in range(control_planes):
        for lane, results in zip(LANES, played, strict=True):
            _progress(number, control_planes, lane.name)
            results.append(play(lane, _name(number), story=story, seed=seed, limit=limit))
    _progress(control_planes, control_planes, "")
    return played


def _name(number: int) -> str:
    rounds, place = divmod(number, len(_NAMES))
    return _NAMES[place] if rounds == 0 else f"{_NAMES[place]}-{rounds + 1}"


def _progress(number: int, control_planes: int, lane: str) -> None:
    if control_planes < 3 or not sys.stderr.isatty():
        return
    told = f"control plane {number + 1} of {control_planes}: {lane}" if lane else ""
    print(f"\r{told:<60}\r" if not lane else f"\r{told:<60}", end="", file=sys.stderr, flush=True)


def _added_up(results: Sequence[Result]) -> Result:
    """Counts are added up; of waits the longest counts, and of the story's moments those of the first control plane."""
    slices: dict[int, Count] = {}
    for result in results:
        for number, count in result.slices.items():
            slices[number] = slices.get(number, Count()) + count
    first = results[0]
    return Result(
        lane=first.lane,
        total=sum((result.total for result in results), Count()),
        slices=slices,
        happenings=first.happenings,
        usable_after=_longest([result.usable_after for result in results]),
        mended_after=_longest([result.mended_after for result in results]),
        reported_after=_longest([result.reported_after for result in results]),
        rotations=first.rotations,
        is_over=all(result.is_over for result in results),
    )


def _longest(waits: Sequence[float | None]) -> float | None:
    known = [wait for wait in waits if wait is not None]
    return max(known) if len(known) == len(waits) else None


@frozen
class Signs:
    """The characters that the terminal can show: a ramp from nothing to much, a mark, a rule."""

    ramp: str
    mark: str
    rule: str


_UNICODE = Signs(" ▁▂▃▄▅▆▇█", "▼", "─")
_ASCII = Signs(" .:-=+*#%", "v", "-")


def _signs(stream: TextIO) -> Signs:
    try:
        (_UNICODE.ramp + _UNICODE.mark + _UNICODE.rule).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _UNICODE


def _report(results: Sequence[Result], control_planes: int, signs: Signs) -> list[str]:
    whom = (
        "One control plane"
        if control_planes == 1
        else f"{control_planes} control planes, each on a server of its own"
    )
    return [
        f"{whom}, from creation to deletion: {_clock(_end(results))} of virtual time, three times over.",
        "",
        *_table(results),
        "",
        *_timeline(results, signs),
        "",
        *_notes(results),
    ]


def _end(results: Sequence[Result]) -> timedelta:
    return max(result.happenings[-1].at for result in results) - START


def _clock(span: timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


_ROWS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("passes", lambda result: f"{result.total.passes:,}"),
    ("objects looked up", lambda result: f"{result.total.reads:,}"),
    ("writes sent", lambda result: f"{result.total.writes:,}"),
    ("  that changed something", lambda result: f"{result.total.changed:,}"),
    (
        "  that changed nothing",
        lambda result: f"{result.total.writes - result.total.changed - result.total.refused:,}",
    ),
    ("  refused", lambda result: f"{result.total.refused:,}"),
    ("log lines", lambda result: f"{result.total.lines:,}"),
    ("seconds until Ready with a kubeconfig", lambda result: _wait(result.usable_after)),
    ("seconds until the Secret was mended", lambda result: _wait(result.mended_after)),
    ("seconds until the failure was reported", lambda result: _wait(result.reported_after)),
)


def _wait(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


def _table(results: Sequence[Result]) -> list[str]:
    cells = [
        ["", *(result.lane.name for result in results)],
        *([title, *map(show, results)] for title, show in _ROWS),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        numbers = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join((f"{row[0]:<{widths[0]}}", *numbers)).rstrip())
    return lines


def _timeline(results: Sequence[Result], signs: Signs) -> list[str]:
    """One lane for each loop: how many writes a minute, on a logarithmic scale, the same for all."""
    end = _end(results)
    width = max(len(result.lane.name) for result in results)
    highest = max(rate for result in results for rate in _rates(result, end))
    story = results[-1].happenings
    lines = [
        f"{'':<{width}}  {signs.mark} {letter} {_clock(at.at - START)} {at.title}"
        for letter, at in _lettered(story)
    ]
    marks = [" "] * _COLUMNS
    for letter, happening in _lettered(story):
        marks[min(_COLUMNS - 1, int((happening.at - START) / end * _COLUMNS))] = letter
    lines += ["", f"{'':<{width}}  {''.join(marks).rstrip()}"]
    for result in results:
        lines.append(
            f"{result.lane.name:<{width}}  {''.join(_level(rate, highest, signs) for rate in _rates(result, end)).rstrip()}"
        )
    lines.append(f"{'':<{width}}  {signs.rule * _COLUMNS}")
    levels = len(signs.ramp) - 1
    steps = ", ".join(
        f"{signs.ramp[level]} {_inverse(level, highest, levels):,.0f}"
        for level in (1, levels // 2, levels)
    )
    lines.append(f"{'':<{width}}  writes a minute, logarithmic: {steps}; blank is none")
    return lines


def _lettered(story: Sequence[StoryEvent]) -> list[tuple[str, StoryEvent]]:
    return list(zip("abcdefghij", story, strict=False))


def _rates(result: Result, end: timedelta) -> list[float]:
    """Return the writes a minute in each column; what was done in a slice is taken to be spread over it."""
    per_column = end / _COLUMNS
    rates = [0.0] * _COLUMNS
    for number, count in result.slices.items():
        first, last = number * SLICE / per_column, (number + 1) * SLICE / per_column
        for column in range(int(first), min(_COLUMNS, math.ceil(last))):
            share = (min(last, column + 1) - max(first, column)) / (last - first)
            rates[column] += count.writes * share / (per_column / timedelta(minutes=1))
    return rates


def _level(rate: float, highest: float, signs: Signs) -> str:
    if rate <= 0:
        return signs.ramp[0]
    levels = len(signs.ramp) - 1
    return signs.ramp[
        max(1, min(levels, math.ceil(levels * math.log1p(rate) / math.log1p(highest))))
    ]


def _inverse(level: int, highest: float, levels: int) -> float:
    return math.expm1(level / levels * math.log1p(highest))


def _notes(results: Sequence[Result]) -> list[str]:
    executed = sum(result.total.passes - result.total.counted for result in results[:-1])
    counted = sum(result.total.counted for result in results[:-1])
    return [
        "Simulated are the API server (in memory), Terraform with Crossplane, Cluster API's core, the controllers of the applies and",
        "of CAPTCluster, the user, and time. captep is captep itself: the core and the runtime of `captep run`. The older loops are",
        "re-enacted request by request after the commits 31ab233 and d3f1b66 of the Go project. They mend the Secret at once because",
        "they never rest, and have a kubeconfig earlier because they took it from the main Workspace, not from one of its own.",
        "A pass takes 100 ms, as was measured there. A real client limits itself to 20 requests a second for each kind, so that on a",
        "real cluster a spinning loop comes to 5 to 10 passes a second.",
        f"Of the older loops' passes, {executed:,} were executed, and {counted:,} were counted and not executed. Those follow a pass",
        "that left everything as the pass before it had, but for resourceVersions, generations and the times of conditions, and they",
        "end before anybody else does something. All of captep's passes were executed.",
    ]
