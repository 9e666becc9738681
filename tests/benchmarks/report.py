"""Gathers the runs of every section, and writes the report from them: Markdown with plots.

    PYTHONPATH=.:adapters python -m tests.benchmarks.report [--runs N] [--only NAMES] [--again]
    PYTHONPATH=.:adapters python -m tests.benchmarks.report --draw

Each run of a section is one line of `report/figures.jsonl`, so that an interrupted report goes on
where it stopped: what is there is not measured again. Nothing in the report is typed by hand. A
claim is a ratio within one run; each figure shows its median and its spread over the runs.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.benchmarks.bench_scale import SIZES
from tests.benchmarks.plots import Figure, bars, curves
from tests.benchmarks.sections import SECTIONS

_ROOT: Final = Path(__file__).resolve().parents[2]
_FOLDER: Final = Path(__file__).resolve().with_name("report")
_FIGURES: Final = "figures.jsonl"
_RUNS: Final = 5
_HEAD: Final = ("| figure | median | spread | limit | met |", "| --- | ---: | ---: | ---: | --- |")

Record: TypeAlias = Mapping[str, Any]
"""One run of a section: its name, its seed, `figures`, `limits` and `strict`, where and when it was
measured, and the seconds that it took."""


def recorded(folder: Path) -> list[Record]:
    """Return the runs that are recorded in a folder."""
    path = folder / _FIGURES
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def missing(records: Iterable[Record], names: Iterable[str], runs: int) -> list[tuple[str, int]]:
    """Return the runs that are not recorded yet, by section and seed.

    All sections have their first run before one has its second, so that a report that is cut short
    is complete.
    """
    known = {(record["section"], record["seed"]) for record in records}
    return [
        (name, seed)
        for seed in range(runs)
        for name in names
        if seed < SECTIONS[name].most and (name, seed) not in known
    ]


def measured(name: str, seed: int) -> Record:
    """Measure a section once, in a process of its own."""
    began, before = time.monotonic(), os.times()
    command = [sys.executable, "-m", "tests.benchmarks.sections", name, str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=_ROOT)
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    found = json.loads(done.stdout.splitlines()[-1])
    figures = {figure: float(f"{value:.6g}") for figure, value in found["figures"].items()}
    return {
        "section": name,
        "seed": seed,
        "day": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _commit(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1),
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(spent, 1),
        **found,
        "figures": figures,
    }


def _commit() -> str:
    def git(*words: str) -> str:
        command = ["git", "-C", str(_ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "captep_core", "adapters")
    return f"{git('rev-parse', '--short', 'HEAD')}{'+' if changed else ''}"


def figures_of(records: Sequence[Record]) -> list[Figure]:
    """Return the figures of the runs of one section, in the order in which they first appear."""
    names = dict.fromkeys(name for record in records for name in record["figures"])
    limits = {name: limit for record in records for name, limit in record["limits"].items()}
    strict = {name for record in records for name in record["strict"]}
    return [
        Figure(
            name,
            tuple(record["figures"][name] for record in records if name in record["figures"]),
            limits.get(name),
            name in strict,
        )
        for name in names
    ]


def of_thresholds(figures: Sequence[Figure]) -> list[Figure]:
    """Return the figures as percents of their limits, without those whose limit is nothing."""
    return [
        Figure(each.name, tuple(100 * value / each.limit for value in each.values), 100.0)
        for each in figures
        if each.limit
    ]


def report(records: Sequence[Record]) -> tuple[str, Mapping[str, str]]:
    """Return the Markdown of all runs, and its plots by file name."""
    by_section = {
        name: [record for record in records if record["section"] == name] for name in SECTIONS
    }
    sections = {name: found for name, found in by_section.items() if found}
    lines = [
        "# The costs of captep",
        "",
        "`python -m tests.benchmarks.report` wrote this from `figures.jsonl`. A limit is met when",
        "every run meets it. `*.svg` has the plots.",
        "",
    ]
    plots = dict[str, str]()
    for name, found in sections.items():
        figures = figures_of(found)
        lines += [f"## {SECTIONS[name].heading}", "", *_where(found), ""]
        lines += [*_HEAD, *(figure.row for figure in figures), ""]
        compared = of_thresholds(figures)
        if compared:
            heading = f"{SECTIONS[name].heading}: percent of the limit"
            plots[f"{name}.svg"] = bars(compared, heading)
            lines += [f"![{heading}]({name}.svg)", ""]
    sizes = [size for size in SIZES if f"scale-{size}" in sections]
    if sizes:
        by_size = {size: figures_of(sections[f"scale-{size}"]) for size in sizes}
        plots["scale.svg"] = curves(sizes, by_size, "Growth with the fleet")
        lines += ["## Growth with the fleet", "", "![Growth with the fleet](scale.svg)", ""]
    return "\n".join(lines), plots


def _where(records: Sequence[Record]) -> Iterator[str]:
    """Say where and when the runs were measured, in lines of at most 100 columns."""
    runs = "1 run" if len(records) == 1 else f"{len(records)} runs"
    days, commits = (sorted({record[key] for record in records}) for key in ("day", "commit"))
    loads = [record["load"] for record in records]
    cpu = max(record["cpu_seconds"] for record in records)
    yield f"{runs} on {', '.join(days)} at {', '.join(commits)}, of at most {cpu:g} s of CPU each."
    machines = {f"{record['python']}, {record['machine']}" for record in records}
    yield f"{'; '.join(sorted(machines))}, load {min(loads)} to {max(loads)}."


def draw(folder: Path) -> Path:
    """Write Markdown and plots from what is recorded; return the path of the Markdown."""
    text, plots = report(recorded(folder))
    for name, plot in plots.items():
        (folder / name).write_text(plot, "utf-8")
    path = folder / "README.md"
    path.write_text(text, "utf-8")
    return path


def gather(folder: Path, names: Sequence[str], runs: int) -> None:
    """Measure what is missing, and record each run as soon as it is there."""
    folder.mkdir(exist_ok=True)
    for name, seed in missing(recorded(folder), names, runs):
        print(f"{name}, run {seed + 1}", file=sys.stderr, flush=True)
        record = measured(name, seed)
        with (folder / _FIGURES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def forget(folder: Path, names: Sequence[str]) -> None:
    """Drop the recorded runs of some sections."""
    kept = [record for record in recorded(folder) if record["section"] not in names]
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
    (folder / _FIGURES).write_text("".join(lines), "utf-8")


def chosen(only: str, *, has_cluster: bool) -> list[str]:
    """Return the names of the sections to measure.

    `only`: names, or beginnings of names (`scale`), with commas in between; "" for all that can
    run.

    Raises:
        SystemExit: a name chooses nothing.
    """
    if not only:
        return [name for name, each in SECTIONS.items() if has_cluster or not each.needs_cluster]
    meant = {
        name: [name] if name in SECTIONS else [each for each in SECTIONS if each.startswith(name)]
        for name in only.split(",")
    }
    unknown = [name for name, found in meant.items() if not found]
    if unknown:
        raise SystemExit(f"no section {', '.join(unknown)}, expected {', '.join(SECTIONS)}")
    return [each for each in SECTIONS if any(each in found for found in meant.values())]


def main(words: Sequence[str] | None = None) -> None:
    """Gather, and draw."""
    parser = argparse.ArgumentParser(description="Measure, and write tests/benchmarks/report/.")
    parser.add_argument("--runs", type=int, default=_RUNS, help="of each section (default 5)")
    parser.add_argument("--only", default="", help="sections, with commas in between")
    parser.add_argument("--again", action="store_true", help="forget their earlier runs first")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    options = parser.parse_args(words)
    names = chosen(options.only, has_cluster="KUBEBUILDER_ASSETS" in os.environ)
    if not options.draw:
        if options.again:
            forget(_FOLDER, names)
        gather(_FOLDER, names, options.runs)
    print(draw(_FOLDER))


if __name__ == "__main__":
    main()
