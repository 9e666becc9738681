"""The picture of the demo: a hand-written SVG, 1000 px wide, for light and dark backgrounds.

It has one lane for each loop over the same time. Each lane shows the writes a minute on the same
logarithmic scale; the effective ones are darker.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from xml.sax.saxutils import escape

from attrs import frozen

from captep_demo._lanes import START, Result
from captep_demo._timeline import Count

__all__ = ["picture"]

_WIDTH, _LEFT, _RIGHT = 1000, 66, 232
_TOP, _LANE, _GAP = 158, 122, 34
_SPAN: Final = _WIDTH - _LEFT - _RIGHT
_WORDS: Final = 140
_WHY: Final = (
    (
        "Two writers of the endpoint disagree:",
        "each pass writes both values,",
        "and each write wakes the next pass.",
    ),
    (
        "Longer intervals, the same two writers:",
        "the next pass is due at once,",
        "and the timer never fires.",
    ),
    (
        "One writer, and a write only where",
        "a field differs: no write",
        "while nothing changes.",
    ),
)
_STYLE: Final = """
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2933 }
.title { font-size: 21px; font-weight: 600 }
.sub, .axis, .note { fill: #5b6776 }
.sub { font-size: 13.5px } .axis { font-size: 11px } .note { font-size: 12px }
.name { font-size: 15px; font-weight: 600 } .big { font-size: 25px; font-weight: 600 }
.event { font-size: 12px; font-weight: 600 }
.paper { fill: #ffffff } .lane { fill: #f4f6f8 }
.grid { stroke: #dde3e9; stroke-width: 1 }
.mark { stroke: #7b8794; stroke-width: 1; stroke-dasharray: 2 3 }
.dot { fill: #7b8794 } .pin { fill: #1f2933 }
.sent0, .sent1 { fill: #f3b6a2 } .done0, .done1 { fill: #d1492e }
.sent2 { fill: #8fd3c4 } .done2 { fill: #0f8a74 }
.ink0, .ink1 { fill: #b93a20 } .ink2 { fill: #0b7361 }
.why { font-size: 13px } .why0, .why1 { fill: #ffffff } .why2 { fill: #5b6776 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6eaee } .sub, .axis, .note { fill: #9aa5b1 }
  .paper { fill: #14191f } .lane { fill: #1c232b }
  .grid { stroke: #2c353f } .mark { stroke: #69747f }
  .dot { fill: #8b96a1 } .pin { fill: #e6eaee }
  .why0, .why1 { fill: #2a0d06 } .why2 { fill: #9aa5b1 }
  .sent0, .sent1 { fill: #7a3a2b } .done0, .done1 { fill: #ee6c4d }
  .sent2 { fill: #1e6c5e } .done2 { fill: #3ecfb2 }
  .ink0, .ink1 { fill: #ff8a6b } .ink2 { fill: #55dcc1 }
}
"""


@frozen
class _Axes:
    """The axes: time up to `end` to the right, writes a minute up to 10**`decades` upwards."""

    end: timedelta
    decades: int

    def x(self, at: timedelta) -> float:
        """Return the horizontal position of a time."""
        return _LEFT + _SPAN * min(1.0, at / self.end)

    def height(self, rate: float) -> float:
        """Return the height of a rate: 1 a minute is a twelfth of the lane, decades are equal."""
        if rate <= 0:
            return 0.0
        # A logarithm has no zero; the foot makes one write a minute visible above it.
        foot = _LANE / 12
        return foot + (_LANE - foot) * max(0.0, math.log10(rate)) / self.decades


def picture(results: Sequence[Result], *, control_planes: int) -> str:
    """Return the SVG of the lanes' results.

    Args:
        results: one for each lane, captep's last.
        control_planes: their number; the rates are the sums over all of them.
    """
    axis = _axes(results)
    height = _TOP + len(results) * (_LANE + _GAP) + 58
    fleet = "one control plane" if control_planes == 1 else f"{control_planes} control planes"
    title = f"The writes of three loops in the life of {fleet}"
    hours, minutes = divmod(round(axis.end.total_seconds() / 60), 60)
    subtitle = (
        f"{hours} h {minutes:02} min of virtual time, the same story for each loop."
        " Height: writes a minute, logarithmic."
    )
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}" rx="8"/>',
        _text(24, 38, title, "title"),
        _text(24, 60, subtitle, "sub"),
        *(part for number, result in enumerate(results) for part in _lane(number, result, axis)),
        *_story(results[-1], axis, height),
        *_time_axis(axis, _TOP + len(results) * (_LANE + _GAP) - _GAP),
        *_legend(results[-1], axis, height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes(results: Sequence[Result]) -> _Axes:
    end = max(result.story_events[-1].at for result in results) - START
    highest = max(
        count.writes for result in results for count in _by_minute(result.slices).values()
    )
    return _Axes(end, max(2, math.ceil(math.log10(highest))))


def _text(x: float, y: float, content: str, style: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(content)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _lane(number: int, result: Result, axis: _Axes) -> Iterable[str]:
    top = _TOP + number * (_LANE + _GAP)
    bottom = top + _LANE
    yield f'<rect class="lane" x="{_LEFT}" y="{top}" width="{_SPAN}" height="{_LANE}"/>'
    for decade in range(axis.decades + 1):
        y = bottom - axis.height(10.0**decade)
        yield _line(_LEFT, y, _LEFT + _SPAN, y, "grid")
        yield _text(_LEFT - 8, y + 4, f"{10**decade:,}", "axis", "end")
    minutes = _by_minute(result.slices)
    yield _area(
        {minute: count.writes for minute, count in minutes.items()}, axis, bottom, f"sent{number}"
    )
    yield _area(
        {minute: count.changed for minute, count in minutes.items()}, axis, bottom, f"done{number}"
    )
    yield from _sums(number, result, top)
    first = top + (64 if number < len(_WHY) - 1 else 28)
    for row, line in enumerate(_WHY[number]):
        yield _text(_calm(result, axis), first + 19 * row, line, f"why why{number}", "middle")


def _calm(result: Result, axis: _Axes) -> float:
    """Return the middle of the longest gap between two events of the story, as room for words."""
    moments = [axis.x(event.at - START) for event in result.story_events[:-1]]
    gaps = ((right - left, (left + right) / 2) for left, right in itertools.pairwise(moments))
    _, middle = max(gaps)
    return min(max(middle, _LEFT + _WORDS), _LEFT + _SPAN - _WORDS)


def _by_minute(slices: Mapping[int, Count]) -> Mapping[int, Count]:
    minutes: dict[int, Count] = {}
    for number, count in slices.items():
        minutes[number // 3] = minutes.get(number // 3, Count()) + count
    return minutes


def _area(rates: Mapping[int, int], axis: _Axes, bottom: float, style: str) -> str:
    """Return one step for each minute with a rate above zero."""
    steps = []
    for minute, rate in sorted(rates.items()):
        left = axis.x(timedelta(minutes=minute))
        right = axis.x(timedelta(minutes=minute + 1))
        top = bottom - axis.height(rate)
        if rate and right > left:
            steps.append(f"M{left:.1f} {bottom:.1f}V{top:.1f}H{right:.1f}V{bottom:.1f}Z")
    return f'<path class="{style}" d="{"".join(steps)}"/>'


def _sums(number: int, result: Result, top: float) -> Iterable[str]:
    x = _LEFT + _SPAN + 18
    total = result.total
    yield _text(x, top + 14, result.lane.name, "name")
    yield _text(x, top + 44, f"{total.writes:,}", f"big ink{number}")
    yield _text(x, top + 62, "writes sent", "note")
    yield _text(x, top + 80, f"{total.changed:,} changed something", "note")
    yield _text(x, top + 98, f"{total.passes:,} passes", "note")
    report = "never reported"
    if result.reported_after is not None:
        report = f"reported after {result.reported_after:.1f} s"
    yield _text(x, top + 116, f"failure {report}", "note")


def _story(result: Result, axis: _Axes, height: float) -> Iterable[str]:
    """Draw the events of the story through all lanes.

    A label that would overlap another goes to the next of three rows.
    """
    bottom = height - 58 - _GAP
    rows = [float("-inf")] * 3
    for event in result.story_events:
        x = axis.x(event.at - START)
        width = 7.0 * len(event.title)
        anchor = "end" if x + width > _WIDTH - 24 else "start"
        left = x - width if anchor == "end" else x
        row = next((number for number, used in enumerate(rows) if left > used + 8), 2)
        rows[row] = left + width
        y = 92 + 20 * row
        yield _line(x, y + 4, x, bottom, "mark")
        yield f'<circle class="pin" cx="{x:.1f}" cy="{y + 4:.1f}" r="2.5"/>'
        yield _text(x + (6 if anchor == "start" else -6), y + 4, event.title, "event", anchor)


def _time_axis(axis: _Axes, y: float) -> Iterable[str]:
    minutes = axis.end.total_seconds() / 60
    # The finest step with at most ten labels: more would overlap.
    step = next(
        (each for each in (1, 2, 5, 10, 15, 30, 60, 120, 240, 480) if minutes / each <= 10), 1440
    )
    for minute in range(0, int(minutes) + 1, step):
        x = axis.x(timedelta(minutes=minute))
        yield _line(x, y, x, y + 5, "grid")
        yield _text(x, y + 19, f"{minute // 60}:{minute % 60:02}", "axis", "middle")


def _legend(result: Result, axis: _Axes, height: float) -> Iterable[str]:
    y = height - 22
    for x, styles, label in (
        (_LEFT, ("done0", "done2"), "changed something"),
        (_LEFT + 172, ("sent0", "sent2"), "sent in vain: refused, or without a difference"),
    ):
        for place, style in enumerate(styles):
            left = x + 14 * place
            yield f'<rect class="{style}" x="{left}" y="{y - 10}" width="12" height="12"/>'
        yield _text(x + 34, y, label, "note")
    if result.rotations:
        yield from _rotations(result.rotations, axis, height)


def _rotations(rotations: Iterable[datetime], axis: _Axes, height: float) -> Iterable[str]:
    y = height - 58 - _GAP - _LANE - 9
    for at in rotations:
        x = axis.x(at - START)
        yield f'<path class="dot" d="M{x - 4:.1f} {y - 5:.1f}h8l-4 6z"/>'
    x = _LEFT + 530
    yield f'<path class="dot" d="M{x} {height - 30}h10l-5 8z"/>'
    yield _text(x + 16, height - 22, "the loop copied a new token", "note")
