"""`captep demo`: three loops through the same hours of a control plane's life.

The loops are the one before CAPTEP-0016, the proposal's intervals alone, and captep.
"""

import math
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from attrs import frozen

from captep_demo._lanes import LANES, START, Result, play
from captep_demo._plot import picture
from captep_demo._report import FAULTS, report
from captep_demo._timeline import SLICE, Count
from captep_show import write_file
from captep_world import StoryEvent, stories

__all__ = ["added_up", "demo"]

_COLUMNS = 72
_FAULTY_LIVES = 5
_NAMES = ("tokyo", "osaka", "kyoto", "nagoya", "sapporo", "fukuoka", "sendai", "kobe")


def demo(
    control_planes: int, hours: float, seed: int, plot: str | None, report_file: str | None = None
) -> int:
    """Play the story with each loop, print the results, and draw them.

    Args:
        control_planes: the number of control planes, each on a server of its own.
        hours: how long each of them is Ready; creation and deletion take additional time.
        seed: decides how long Terraform takes, and the contents of Secrets. Equal arguments print
            equal bytes.
        plot: the file for the picture (SVG), None for no picture.
        report_file: the file for the graduation criteria (Markdown), None for no report.

    Returns:
        The exit status: 0, or 1 when writing a file failed.
    """
    results = tuple(added_up(lane) for lane in _play_all(control_planes, hours, seed))
    files: dict[str, str] = {}
    if plot is not None:
        files[plot] = picture(results, control_planes=control_planes)
    if report_file is not None:
        faulty = added_up(_play_faulty(control_planes, hours, seed))
        files[report_file] = report(
            results, faulty, _ROWS, control_planes=control_planes, hours=hours, seed=seed
        )
    for file, content in files.items():
        try:
            write_file(Path(file), content)
        except OSError as error:
            print(f"captep demo: {file}: cannot be written: {error.strerror}", file=sys.stderr)
            return 1
    for line in _report(results, control_planes, _signs(sys.stdout)):
        print(line)
    if plot is not None:
        print(f"\nThe picture is in {plot}.")
    if report_file is not None:
        print(f"\nThe graduation criteria are in {report_file}.")
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


def _play_faulty(control_planes: int, hours: float, seed: int) -> list[Result]:
    """Play lives with captep alone, over connections that break: enough for a rate."""
    length = timedelta(hours=hours)
    story, limit = stories.life(length), length + timedelta(hours=2)
    return [
        play(LANES[-1], _name(number), story=story, seed=seed + number, limit=limit, faults=FAULTS)
        for number in range(max(_FAULTY_LIVES, control_planes))
    ]


def _name(number: int) -> str:
    rounds, place = divmod(number, len(_NAMES))
    return _NAMES[place] if rounds == 0 else f"{_NAMES[place]}-{rounds + 1}"


def _progress(number: int, control_planes: int, lane: str) -> None:
    if control_planes < 3 or not sys.stderr.isatty():
        return
    line = f"control plane {number + 1} of {control_planes}: {lane}" if lane else ""
    end = "" if lane else "\r"
    print(f"\r{line:<60}{end}", end="", file=sys.stderr, flush=True)


def added_up(results: Sequence[Result]) -> Result:
    """Add up the counts of a lane's control planes.

    Of waits the longest counts. The story's moments are those of the first control plane.
    """
    slices: dict[int, Count] = {}
    for result in results:
        for number, count in result.slices.items():
            slices[number] = slices.get(number, Count()) + count
    first = results[0]
    return Result(
        lane=first.lane,
        total=sum((result.total for result in results), Count()),
        slices=slices,
        story_events=first.story_events,
        usable_after=_longest([result.usable_after for result in results]),
        restored_after=_longest([result.restored_after for result in results]),
        reported_after=_longest([result.reported_after for result in results]),
        rotations=first.rotations,
        is_over=all(result.is_over for result in results),
        cpu_seconds=sum(result.cpu_seconds for result in results),
        gaps=tuple(gap for result in results for gap in result.gaps),
        errors=sum(result.errors for result in results),
    )


def _longest(waits: Sequence[float | None]) -> float | None:
    known = [wait for wait in waits if wait is not None]
    return max(known) if len(known) == len(waits) else None


@frozen
class Signs:
    """Characters that the terminal can show: a ramp from zero to the maximum, a mark, a rule."""

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
    fleet = "One control plane"
    if control_planes > 1:
        fleet = f"{control_planes} control planes, each on a server of its own"
    span = _clock(_end(results))
    return [
        f"{fleet}, from creation to deletion: {span} of virtual time for each loop.",
        "",
        *_table(results),
        "",
        *_timeline(results, signs),
        "",
        *_notes(results),
    ]


def _end(results: Sequence[Result]) -> timedelta:
    return max(result.story_events[-1].at for result in results) - START


def _clock(span: timedelta) -> str:
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


_ROWS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("passes", lambda result: f"{result.total.passes:,}"),
    ("objects read", lambda result: f"{result.total.reads:,}"),
    ("writes sent", lambda result: f"{result.total.writes:,}"),
    ("  that changed something", lambda result: f"{result.total.changed:,}"),
    (
        "  that changed nothing",
        lambda result: f"{result.total.writes - result.total.changed - result.total.refused:,}",
    ),
    ("  refused", lambda result: f"{result.total.refused:,}"),
    ("log lines", lambda result: f"{result.total.lines:,}"),
    ("seconds until Ready with a kubeconfig", lambda result: _wait(result.usable_after)),
    ("seconds until the Secret was restored", lambda result: _wait(result.restored_after)),
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
    """Draw one lane for each loop: writes a minute, on one logarithmic scale for all lanes."""
    end = _end(results)
    width = max(len(result.lane.name) for result in results)
    highest = max(rate for result in results for rate in _rates(result, end))
    story = _lettered(results[-1].story_events)
    lines = [
        f"{'':<{width}}  {signs.mark} {letter} {_clock(event.at - START)} {event.title}"
        for letter, event in story
    ]
    marks = [" "] * _COLUMNS
    for letter, event in story:
        marks[min(_COLUMNS - 1, int((event.at - START) / end * _COLUMNS))] = letter
    lines += ["", f"{'':<{width}}  {''.join(marks).rstrip()}"]
    for result in results:
        levels = "".join(_level(rate, highest, signs) for rate in _rates(result, end))
        lines.append(f"{result.lane.name:<{width}}  {levels.rstrip()}")
    lines.append(f"{'':<{width}}  {signs.rule * _COLUMNS}")
    top = len(signs.ramp) - 1
    steps = ", ".join(
        f"{signs.ramp[level]} {_inverse(level, highest, top):,.0f}" for level in (1, top // 2, top)
    )
    lines.append(f"{'':<{width}}  writes a minute, logarithmic: {steps}; blank for zero")
    return lines


def _lettered(story: Sequence[StoryEvent]) -> list[tuple[str, StoryEvent]]:
    return list(zip("abcdefghij", story, strict=False))


def _rates(result: Result, end: timedelta) -> list[float]:
    """Return the writes a minute in each column; a slice's writes are spread evenly over it."""
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
    level = math.ceil(levels * math.log1p(rate) / math.log1p(highest))
    return signs.ramp[max(1, min(levels, level))]


def _inverse(level: int, highest: float, levels: int) -> float:
    return math.expm1(level / levels * math.log1p(highest))


def _notes(results: Sequence[Result]) -> list[str]:
    executed = sum(result.total.passes - result.total.counted for result in results[:-1])
    counted = sum(result.total.counted for result in results[:-1])
    return [
        "The simulation has an in-memory API server, Terraform with Crossplane, Cluster API's",
        "core, the controllers of the applies and of CAPTCluster, a user, and virtual time.",
        "captep is the real core with the runtime of `captep run`. The older loops are re-enacted",
        "request by request after the commits 31ab233 and d3f1b66 of the Go project. They restore",
        "the Secret at once because they never rest, and they have a kubeconfig earlier because",
        "they copy it from the main Workspace instead of waiting for the kubeconfig's Workspace.",
        "A pass takes 100 ms, as measured with the Go code. A real client limits itself to 20",
        "requests a second for each kind: a spinning loop on a real cluster makes 5 to 10 passes",
        "a second.",
        f"Of the older loops' passes, {executed:,} were executed, and {counted:,} were counted",
        "and not executed. A counted pass follows a pass that changed nothing but",
        "resourceVersions, generations and the times of conditions, and precedes the next action",
        "of any other actor. All of captep's passes were executed.",
    ]
