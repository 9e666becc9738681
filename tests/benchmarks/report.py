"""Writes the report of `make bench`: Markdown with plots, every number from a run.

    PYTHONPATH=.:adapters python -m tests.benchmarks.report [RUNS]

The files go to tests/benchmarks/report/. A claim is a ratio within one run, since absolute times
vary by a factor of two between machines; each figure shows its median and its spread over the runs.
"""

import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from captep_audit import Judge, Log, read_events
from captep_demo._demo import added_up
from captep_demo._lanes import LANES, play
from captep_demo._report import FAULTS, Criterion, criteria
from captep_memory import load
from captep_world import stories
from tests.benchmarks import bench_month, bench_scale
from tests.benchmarks.bench_memory import measure as requests_per_second
from tests.benchmarks.bench_memory import mix, objects, status_patch
from tests.benchmarks.compare import measured
from tests.benchmarks.plots import Figure, bars, curves
from tests.capt import worlds

_ROOT = Path(__file__).resolve().parents[2]
_FOLDER = Path(__file__).resolve().with_name("report")
_LOGS = _ROOT / "tests" / "audit"
_RUNS = 5
_HOURS = 0.5
_MONTH = 1_000
_FAULTY_LIVES = 5
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_HEAD = ("| figure | median | spread | limit | met |", "| --- | ---: | ---: | ---: | --- |")
_UNIT = "json.loads of the objects"


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
    figures = {}
    for name, make in (("a request", mix), ("a status patch", status_patch)):
        rates = [
            requests_per_second(make, load(objects(number), now=_NOW), 3000) for number in (1, 1000)
        ]
        figures[f"time of {name} at 14,000 objects, of that at 14"] = rates[0] / rates[1]
    return figures


def graduation(seed: int) -> list[Criterion]:
    """Return the criteria of one life with each loop, and of a month of a fleet."""
    length = timedelta(hours=_HOURS)
    story = stories.life(length)
    limit = length + timedelta(hours=2)
    lives = [play(lane, "tokyo", story=story, seed=seed, limit=limit) for lane in LANES]
    broken = [
        play(LANES[-1], "tokyo", story=story, seed=each, limit=limit, faults=FAULTS)
        for each in range(seed * _FAULTY_LIVES, (seed + 1) * _FAULTY_LIVES)
    ]
    month = bench_month.measure(_MONTH, seed)
    return [
        *criteria(lives, added_up(broken), 1),
        Criterion(
            f"memory after 30 virtual days of {_MONTH:,} control planes, growth after an hour",
            month["growth of memory after the first hour, percent"],
            1,
            " %",
        ),
        Criterion(
            f"decisions of {_MONTH:,} control planes in an hour at rest",
            month["decisions in an hour at rest"],
            0,
        ),
    ]


def graduated(lives: Sequence[Sequence[Criterion]]) -> list[Figure]:
    """Return the criteria of all runs as figures."""
    return [
        Figure(
            f"{kind[0].name}{f' ({unit})' if (unit := kind[0].unit.strip()) else ''}",
            tuple(each.value for each in kind),
            kind[0].most,
            kind[0].is_strict,
        )
        for kind in zip(*lives, strict=True)
    ]


def of_thresholds(figures: Sequence[Figure]) -> list[Figure]:
    """Return the figures as percents of their limits, without those whose limit is nothing."""
    return [
        Figure(each.name, tuple(100 * value / each.limit for value in each.values), 100.0)
        for each in figures
        if each.limit
    ]


def scaled(runs: int) -> list[str]:
    """Return the section on fleets of each size, and write its plot."""
    figures: dict[int, list[Figure]] = {}
    for size in bench_scale.SIZES:
        measurements = repeated(runs, lambda size=size: bench_scale.measured(size))  # type: ignore[misc]  # mypy infers no default
        figures[size] = over(measurements, bench_scale.LIMITS if size == 10_000 else {})[1:]
    (_FOLDER / "scale.svg").write_text(curves(bench_scale.SIZES, figures, "Scale"), "utf-8")
    lines = ["## Scale", "", "Costs of CPU are multiples of `json.loads` of a pass's objects.", ""]
    for size, found in figures.items():
        lines += [f"### {size:,} control planes", "", *_HEAD, *(each.row for each in found), ""]
    return [*lines, "![Scale](scale.svg)", ""]


def table(heading: str, figures: Sequence[Figure], plot: str) -> list[str]:
    """Return a section with a table and its plot."""
    return [
        f"## {heading}",
        "",
        *_HEAD,
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
    machine = f"{platform.system()} {platform.machine()} with {os.cpu_count()} processors"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [
        "# The costs of captep",
        "",
        f"{runs} runs on {day}: {python}, {machine}, seeds 0 to {runs - 1}.",
        "Costs are ratios within one run; a limit is met when every run meets it.",
        "",
    ]
    figures = graduated([graduation(seed) for seed in range(runs)])
    lines += table("Graduation criteria", figures, "graduation.svg")
    plot = bars(of_thresholds(figures), "Percent of the threshold")
    (_FOLDER / "graduation.svg").write_text(plot, "utf-8")
    lines += scaled(runs)
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
