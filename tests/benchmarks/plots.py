"""Figures of several runs, and their plots as SVG."""

import math
import statistics
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from attrs import frozen

__all__ = ["Figure", "bars", "curves"]

_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2933}.bar{fill:#0f8a74}"
    ".spread{stroke:#1f2933}.limit{stroke:#b93a20;stroke-dasharray:4 3}"
    ".curve{fill:none;stroke:#0f8a74;stroke-width:2}.grid{stroke:#9aa5b1;stroke-width:.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e6eaee}.spread{stroke:#e6eaee}}"
)


@frozen
class Figure:
    """One figure over all runs, and the limit that each of them has to keep."""

    name: str
    values: tuple[float, ...]
    limit: float | None = None
    is_strict: bool = False

    @property
    def is_met(self) -> bool:
        """Whether every run keeps the limit."""
        limit = math.inf if self.limit is None else self.limit
        return all(
            value < limit or (value == limit and not self.is_strict) for value in self.values
        )

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    @property
    def row(self) -> str:
        """The row of a table: name, median, spread, limit, met."""
        spread = f"{min(self.values):.3g} to {max(self.values):.3g}"
        strictly = "under " if self.is_strict else ""
        limit = "" if self.limit is None else f"{strictly}{self.limit:g}"
        met = "" if self.limit is None else "yes" if self.is_met else "no"
        return f"| {self.name} | {self.median:.3g} | {spread} | {limit} | {met} |"


def bars(figures: Sequence[Figure], title: str) -> str:
    """Return an SVG with a bar for each figure, its spread, and its limit."""
    most = max(max(*figure.values, figure.limit or 0.0) for figure in figures)
    width, left, row = 820, 360, 34
    scale = (width - left - 80) / (most or 1.0)
    height = 60 + row * len(figures)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text x="10" y="24" font-weight="600">{escape(title)}</text>',
    ]
    for number, figure in enumerate(figures):
        y = 46 + row * number
        end = left + figure.median * scale
        low, high = (left + value * scale for value in (min(figure.values), max(figure.values)))
        middle = y + 9
        parts += [
            f'<text x="{left - 10}" y="{y + 14}" text-anchor="end">{escape(figure.name)}</text>',
            f'<rect class="bar" x="{left}" y="{y}" width="{end - left:.1f}" height="18"/>',
            f'<path class="spread" d="M{low:.1f} {middle}H{high:.1f}"/>',
            f'<text x="{high + 6:.1f}" y="{y + 14}">{figure.median:.3g}</text>',
        ]
        if figure.limit is not None:
            x = left + figure.limit * scale
            parts.append(f'<path class="limit" d="M{x:.1f} {y - 4}V{y + 22}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def curves(sizes: Sequence[int], figures: Mapping[int, Sequence[Figure]], title: str) -> str:
    """Return an SVG with one small plot for each figure: its medians and spreads over the sizes.

    Both axes are logarithmic, so that a cost that does not grow is a level line.
    """
    names = [figure.name for figure in figures[sizes[0]]]
    width, row = 820, 150
    height = 40 + row * len(names)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text x="10" y="24" font-weight="600">{escape(title)}</text>',
    ]
    for number in range(len(names)):
        top = 40 + row * number
        parts += _curve(sizes, [figures[size][number] for size in sizes], top, row, width)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _curve(
    sizes: Sequence[int], figures: Sequence[Figure], top: int, row: int, width: int
) -> list[str]:
    values = [value for figure in figures for value in figure.values if value > 0] or [1.0]
    # At least one power of ten, so that noise does not look like growth.
    low = math.log10(min(values)) - 0.5
    high = max(math.log10(max(values)) + 0.5, low + 1)
    first, last = math.log10(sizes[0]), math.log10(sizes[-1])

    def at(size: int, value: float) -> tuple[float, float]:
        across = (math.log10(size) - first) / max(last - first, 1e-9)
        up = (math.log10(max(value, 10**low)) - low) / (high - low)
        return 60 + across * (width - 160), top + row - 34 - up * (row - 60)

    points = [at(size, figure.median) for size, figure in zip(sizes, figures, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [
        f'<text x="60" y="{top + 16}">{escape(figures[0].name)}</text>',
        f'<polyline class="curve" points="{path}"/>',
    ]
    for size, figure, (x, y) in zip(sizes, figures, points, strict=True):
        ends = [at(size, value)[1] for value in (min(figure.values), max(figure.values))]
        parts += [
            f'<path class="grid" d="M{x:.1f} {top + 24}V{top + row - 34}"/>',
            f'<path class="spread" d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>',
            f'<text x="{x + 5:.1f}" y="{y - 5:.1f}">{figure.median:.3g}</text>',
            f'<text x="{x:.1f}" y="{top + row - 18}" text-anchor="middle">{size:,}</text>',
        ]
    return parts
