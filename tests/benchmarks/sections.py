"""What the report measures: each section by its name, one run of it in a process of its own.

    PYTHONPATH=.:adapters python -m tests.benchmarks.sections NAME SEED

Prints one JSON object with the figures, and the limits of those that have one. `report.py` gathers
the runs. A claim is a ratio within one run, since absolute times vary by a factor of two between
machines.
"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from captep_audit import Judge, Log, read_events
from captep_demo._demo import added_up
from captep_demo._lanes import LANES, play
from captep_demo._report import FAULTS, criteria
from captep_memory import load
from captep_world import stories
from tests.benchmarks import bench_month, bench_scale, guard, writes
from tests.benchmarks.bench_memory import measure as requests_per_second
from tests.benchmarks.bench_memory import mix, objects, status_patch
from tests.benchmarks.compare import measured
from tests.capt import worlds

__all__ = ["SECTIONS", "Measured", "Section", "flat"]

_ROOT = Path(__file__).resolve().parents[2]
_LOGS = _ROOT / "tests" / "audit"
_HOURS = 0.5
_MONTH = 1_000
_FAULTY_LIVES = 5
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_UNIT = "json.loads of the objects"
# The value that a bare `target` of a benchmark is about: the first that its line has.
_TARGETED = ("ratio", "percent_of_a_core", "above", "p99_ms", "seconds", "mib", "number")
# These describe a measurement, and are not measured.
_CONTEXT = frozenset({"control_planes", "threads", "samples", "load", "objects", "status", "bytes"})


@frozen
class Measured:
    """The figures of one run by name, and the limits that some of them have to keep.

    `strict`: the limits that are not to be reached either.
    """

    figures: Mapping[str, float]
    limits: Mapping[str, float] = field(factory=dict)
    strict: tuple[str, ...] = ()


@frozen
class Section:
    """One part of the report.

    `measure`: takes the seed of the run. `most`: the most runs that are worth their time.
    `needs_cluster`: whether it needs a kube-apiserver, from KUBEBUILDER_ASSETS.
    """

    heading: str
    measure: Callable[[int], Measured]
    most: int = 100
    needs_cluster: bool = False


def passes(_seed: int) -> Measured:
    """Return the cost of a quiet pass as multiples of `json.loads` of the same objects."""
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "world.json"
        made = load(worlds.ready(), now=_NOW + timedelta(hours=1)).objects()
        world.write_text(json.dumps(list(made)))
        figures = measured(_ROOT, world)
    return Measured(
        {
            f"{name}, of json.loads": figures[name] / figures[_UNIT]
            for name in ("quiet reconcile", "raw JSON to decision")
        }
    )


def importing(_seed: int) -> Measured:
    """Return the CPU of imports as a multiple of that of attrs and cattrs."""
    base = _cpu_of("import attrs, cattrs")
    bare = _cpu_of("import argparse; argparse.ArgumentParser().format_help()")
    helping = "import captep_cli\ntry: captep_cli.main(['--help'])\nexcept SystemExit: pass"
    ratio = "import captep_core, of attrs and cattrs"
    return Measured(
        {
            ratio: _cpu_of("import captep_core") / base,
            "with its domain": _cpu_of("from captep_core import reconcile") / base,
            "captep --help, of argparse alone": _cpu_of(helping) / bare,
        },
        {ratio: 1.0},
    )


def _cpu_of(code: str) -> float:
    # From the start of the interpreter, and on the last line: the code may print.
    command = [sys.executable, "-c", f"{code}\nimport time\nprint()\nprint(time.process_time())"]
    return min(float(subprocess.run(command, **_CAPTURED).stdout.split()[-1]) for _ in range(3))


def auditing(_seed: int) -> Measured:
    """Return the CPU of `captep audit` as a multiple of `json.loads` of the same lines."""
    lines = [
        line
        for name in ("captep.log.gz", "bad.log.gz")
        for line in gzip.decompress((_LOGS / name).read_bytes()).splitlines(keepends=True)
    ] * 20
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audit.log"
        path.write_bytes(b"".join(lines))
        began = time.process_time()
        for line in lines:
            json.loads(line)
        parsed = time.process_time()
        judge = Judge()
        for event in read_events([str(path)], Log()):
            judge.see(event)
        judge.verdict()
    name = "captep audit, of json.loads"
    return Measured({name: (time.process_time() - parsed) / (parsed - began)}, {name: 3.0})


def memory_server(_seed: int) -> Measured:
    """Return how much slower the in-memory server is with a thousand times as many objects."""
    figures = {}
    for name, make in (("a request", mix), ("a status patch", status_patch)):
        rates = [
            requests_per_second(make, load(objects(number), now=_NOW), 3000) for number in (1, 1000)
        ]
        figures[f"time of {name} at 14,000 objects, of that at 14"] = rates[0] / rates[1]
    return Measured(figures)


def graduation(seed: int) -> Measured:
    """Return the criteria of one life with each loop."""
    length = timedelta(hours=_HOURS)
    story = stories.life(length)
    limit = length + timedelta(hours=2)
    lives = [play(lane, "tokyo", story=story, seed=seed, limit=limit) for lane in LANES]
    broken = [
        play(LANES[-1], "tokyo", story=story, seed=each, limit=limit, faults=FAULTS)
        for each in range(seed * _FAULTY_LIVES, (seed + 1) * _FAULTY_LIVES)
    ]
    found = criteria(lives, added_up(broken), 1)
    named = {
        f"{each.name}{f' ({unit})' if (unit := each.unit.strip()) else ''}": each for each in found
    }
    return Measured(
        {name: each.value for name, each in named.items()},
        {name: each.most for name, each in named.items()},
        tuple(name for name, each in named.items() if each.is_strict),
    )


def month(seed: int) -> Measured:
    """Return what 30 virtual days do to the memory of a fleet."""
    figures = bench_month.measure(_MONTH, seed)
    return Measured(figures, bench_month.LIMITS)


def scaled(count: int, _seed: int) -> Measured:
    """Return the costs of a fleet of one size."""
    figures = bench_scale.measure(count)
    return Measured(figures, bench_scale.LIMITS if count == bench_scale.LIMITED else {})


def stories_of_writes(_seed: int) -> Measured:
    """Return the writes of each story, as multiples of the fewest that could do."""
    return flat(writes.measured(), keys=("ratio",))


def guarded(_seed: int) -> Measured:
    """Return the bytecodes of each central path, as percents of the recorded ones."""
    known = json.loads(guard.RECORDED.read_text()).get(guard.VERSION, {})
    figures = {
        f"{name}, percent of the record": 100
        * guard.bytecodes(guard.warmed(work))
        / known[name]["bytecodes"]
        for name, work in guard.paths().items()
        if name in known
    }
    return Measured(figures, dict.fromkeys(figures, 110.0))


def lines_of(module: str, *words: str) -> Measured:
    """Run a benchmark that prints JSON lines."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *words]
    output = subprocess.run(command, **_CAPTURED).stdout.splitlines()
    return flat(json.loads(line) for line in output if line.startswith("{"))


_CAPTURED: Final[Mapping[str, Any]] = {"capture_output": True, "text": True, "check": True}


def flat(lines: Iterable[Mapping[str, Any]], keys: Sequence[str] = ()) -> Measured:
    """Return the numbers of JSON lines as figures, and their targets as limits.

    `keys`: the numbers that count, none for all.
    """
    figures, limits = dict[str, float](), dict[str, float]()
    for line in lines:
        name = ", ".join(str(line[key]) for key in _NAMES if key in line)
        numbers = {
            key: value
            for key, value in _numbers(line)
            if key not in _CONTEXT and not key.startswith("target") and (not keys or key in keys)
        }
        figures |= {f"{name}: {key.replace('_', ' ')}": value for key, value in numbers.items()}
        for key, target in _numbers(line):
            if key.startswith("target") and (of := _targeted(key, numbers)) is not None:
                limits[f"{name}: {of.replace('_', ' ')}"] = target
    return Measured(figures, limits)


_NAMES: Final = ("host", "figure", "benchmark", "search")


def _numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in line.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key} ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value


def _targeted(key: str, numbers: Mapping[str, float]) -> str | None:
    """Return the number that a target is about: `target_x` is about x, or what ends so."""
    suffix = key.removeprefix("target").removeprefix("_")
    if not suffix:
        return next((name for name in _TARGETED if name in numbers), None)
    return next((name for name in numbers if name.endswith(suffix)), None)


SECTIONS: Final[Mapping[str, Section]] = {
    "graduation": Section("Graduation criteria", graduation),
    "month": Section(f"A month of {_MONTH:,} control planes", month),
    **{
        f"scale-{count}": Section(
            f"Scale: {count:,} control planes",
            partial(scaled, count),
            1 if count >= 100_000 else 100,
        )
        for count in bench_scale.SIZES
    },
    "pass": Section("The quiet pass", passes),
    "imports": Section("Imports", importing),
    "audit": Section("The audit of a log", auditing),
    "memory": Section("The in-memory server as it grows", memory_server),
    "requests": Section("The in-memory server", lambda _: lines_of("bench_memory")),
    "changes": Section("Changes that nothing reads", lambda _: lines_of("bench_changes")),
    "writes": Section("Writes of each story, of the fewest", stories_of_writes, 1),
    "guard": Section("Bytecodes of the central paths", guarded, 1),
    "explore": Section("The search of all states", lambda _: lines_of("bench_explore")),
    "fleet": Section(
        "10,000 control planes behind the in-memory server", lambda _: lines_of("bench_fleet")
    ),
    "cluster": Section(
        "1,000 control planes on a kube-apiserver",
        lambda _: lines_of("bench_cluster"),
        needs_cluster=True,
    ),
    "rest": Section(
        "10,000 control planes at rest on a kube-apiserver",
        lambda _: lines_of("bench_cluster", "--rest", "10000"),
        1,
        needs_cluster=True,
    ),
    "operator": Section(
        "An operator next to its peers", lambda _: lines_of("bench_operator"), needs_cluster=True
    ),
}
"""All sections, in the order of the report."""


def main(name: str, seed: int) -> None:
    """Measure a section once, and print it."""
    found = SECTIONS[name].measure(seed)
    print(json.dumps({"figures": found.figures, "limits": found.limits, "strict": found.strict}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
