"""Writes the report of `make bench`: Markdown with plots, every number from a run.

    PYTHONPATH=.:adapters python -m tests.benchmarks.report [RUNS]

The files go to tests/benchmarks/report/. A claim is a ratio within one run, since absolute times
vary by a factor of two between machines; each figure shows its median and its spread over the runs.
"""

import gzip
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

from attrs import frozen

from captep_audit import Judge, Log, read_events
from captep_demo._lanes import LANES, play
from captep_demo._report import FAULTS, Criterion, criteria
from captep_memory import load
from captep_world import stories
from tests.benchmarks.bench_memory import measure as requests_per_second
from tests.benchmarks.bench_memory import mix, objects
from tests.benchmarks.compare import measured
from tests.capt import worlds

_ROOT = Path(__file__).resolve().parents[2]
_FOLDER = Path(__file__).resolve().with_name("report")
_LOGS = _ROOT / "tests" / "audit"
_RUNS = 5
_HOURS = 0.5
_UNIT = "json.loads of the objects"


@frozen
class Figure:
    """One figure over all runs, and the limit that it has to keep."""

    name: str
    values: tuple[float, ...]
    limit: float | None = None

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    @property
    def row(self) -> str:
        """The row of a table: name, median, spread, limit, met."""
        spread = f"{min(self.values):.3g} to {max(self.values):.3g}"
        limit = "" if self.limit is None else f"{self.limit:g}"
        met = "" if self.limit is None else "yes" if self.median <= self.limit else "no"
        return f"| {self.name} | {self.median:.3g} | {spread} | {limit} | {met} |"


def over(runs: Sequence[Mapping[str, float]], limits: Mapping[str, float]) -> list[Figure]:
    """Return the figures of runs that have the same names."""
    return [Figure(name, tuple(run[name] for run in runs), limits.get(name)) for name in runs[0]]


def passes(world: Path) -> dict[str, float]:
    """Return the cost of a quiet pass as multiples of `json.loads` of the same objects."""
    figures = measured(_ROOT, world)
    return {
        f"{name}, of json.loads": figures[name] / figures[_UNIT]
        for name in ("quiet reconcile", "raw JSON to decision")
    }


def importing() -> dict[str, float]:
    """Return the CPU of imports as a multiple of that of attrs and cattrs."""
    base = _cpu_of("import attrs, cattrs")
    return {
        "import captep_core, of attrs and cattrs": _cpu_of("import captep_core") / base,
        "with its domain": _cpu_of("from captep_core import reconcile") / base,
    }


def _cpu_of(code: str) -> float:
    timed = f"import time; began = time.process_time(); {code}; print(time.process_time() - began)"
    command = [sys.executable, "-c", timed]
    return min(
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )


def auditing(folder: Path) -> dict[str, float]:
    """Return the CPU of `captep audit` as a multiple of `json.loads` of the same lines."""
    lines = [
        line
        for name in ("captep.log.gz", "bad.log.gz")
        for line in gzip.decompress((_LOGS / name).read_bytes()).splitlines(keepends=True)
    ] * 20
    path = folder / "audit.log"
    path.write_bytes(b"".join(lines))
    began = time.process_time()
    for line in lines:
        json.loads(line)
    parsed = time.process_time()
    judge = Judge()
    for event in read_events([str(path)], Log()):
        judge.see(event)
    judge.verdict()
    return {"captep audit, of json.loads": (time.process_time() - parsed) / (parsed - began)}


def memory_server() -> dict[str, float]:
    """Return how much slower the in-memory server is with a thousand times as many objects."""
    rates = [
        requests_per_second(mix, load(objects(number), now=datetime(2026, 1, 1, tzinfo=UTC)), 3000)
        for number in (1, 1000)
    ]
    return {"time of a request at 14,000 objects, of that at 14": rates[0] / rates[1]}


def graduation(seed: int) -> list[Criterion]:
    """Return the criteria of one life with each loop."""
    length = timedelta(hours=_HOURS)
    story = stories.life(length)
    limit = length + timedelta(hours=2)
    lives = [play(lane, "tokyo", story=story, seed=seed, limit=limit) for lane in LANES]
    faulty = play(LANES[-1], "tokyo", story=story, seed=seed, limit=limit, faults=FAULTS)
    return criteria(lives, faulty, 1)


def bars(figures: Sequence[Figure], title: str) -> str:
    """Return an SVG with a bar for each figure, its spread, and its limit."""
    most = max(max(*figure.values, figure.limit or 0.0) for figure in figures)
    width, left, row = 820, 360, 34
    scale = (width - left - 80) / most
    height = 60 + row * len(figures)
    style = (
        "text{font:13px system-ui,sans-serif;fill:#1f2933}.bar{fill:#0f8a74}"
        ".spread{stroke:#1f2933}.limit{stroke:#b93a20;stroke-dasharray:4 3}"
        "@media(prefers-color-scheme:dark){text{fill:#e6eaee}.spread{stroke:#e6eaee}}"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
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


def table(heading: str, figures: Sequence[Figure], plot: str) -> list[str]:
    """Return a section with a table and its plot."""
    return [
        f"## {heading}",
        "",
        "| figure | median | spread | limit | met |",
        "| --- | ---: | ---: | ---: | --- |",
        *(figure.row for figure in figures),
        "",
        f"![{heading}]({plot})",
        "",
    ]


def repeated(runs: int, measure: Callable[[], dict[str, float]]) -> list[dict[str, float]]:
    """Measure several times."""
    return [measure() for _ in range(runs)]


def main(runs: int) -> None:
    """Measure everything and write the report."""
    _FOLDER.mkdir(exist_ok=True)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{platform.system()} {platform.machine()}"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [
        "# The costs of captep",
        "",
        f"{runs} runs on {day}: {python}, {machine}, seeds 0 to {runs - 1}.",
        "Every figure is a ratio within one run.",
        "",
    ]
    lives = [graduation(seed) for seed in range(runs)]
    lines += ["## Graduation criteria", "", "| criterion | measured | threshold | met |"]
    lines.append("| --- | --- | --- | --- |")
    for kind in zip(*lives, strict=True):
        shown = ", ".join(dict.fromkeys(each.measured for each in kind))
        met = "yes" if all(each.is_met for each in kind) else "no"
        lines.append(f"| {kind[0].name} | {shown} | {kind[0].threshold} | {met} |")
    lines.append("")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = folder / "world.json"
        made = load(worlds.ready(), now=datetime(2026, 1, 1, 1, tzinfo=UTC)).objects()
        world.write_text(json.dumps(list(made)))
        sections = [
            ("The quiet pass", "pass.svg", repeated(runs, lambda: passes(world)), {}),
            ("Imports", "imports.svg", repeated(runs, importing), {}),
            (
                "The audit of a log",
                "audit.svg",
                repeated(runs, lambda: auditing(folder)),
                {"captep audit, of json.loads": 3.0},
            ),
            ("The in-memory server", "memory.svg", repeated(runs, memory_server), {}),
        ]
    for heading, plot, measurements, limits in sections:
        figures = over(measurements, limits)
        lines += table(heading, figures, plot)
        (_FOLDER / plot).write_text(bars(figures, heading), "utf-8")
    (_FOLDER / "README.md").write_text("\n".join(lines), "utf-8")
    print(_FOLDER / "README.md")


if __name__ == "__main__":
    main(max(_RUNS, int(sys.argv[1]) if len(sys.argv) > 1 else _RUNS))
