"""Compares the cost of a quiet pass in two checkouts, as ratios within one run.

    PYTHONPATH=.:adapters python -m tests.benchmarks.compare OLD_CHECKOUT [RUNS]

Absolute times vary by a factor of two between machines and moments, so a claim about speed is a
ratio. Each run is a process of its own, old and new alternate, and each figure is the least CPU
time of several rounds within its process. Both checkouts decide about the same objects. It prints
one JSON object for each figure: the minimum and the median of the runs, and their ratios. The
third ratio first divides each figure by `json.loads` of the same objects in the same process, so
that a slow moment of the machine weighs on neither side.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from captep_memory import load
from tests.capt import worlds

_HERE = Path(__file__).resolve()
_ROOT = _HERE.parent.parent.parent
_UNIT = "json.loads of the objects"
_RUNS = 7
_LEAST_RUNS = 5
"""Fewer runs have no median worth the name on a shared machine."""


def measured(checkout: Path, world: Path) -> dict[str, float]:
    """Return the figures of one process over a checkout's packages, each in microseconds."""
    environment = {**os.environ, "PYTHONPATH": f"{checkout}:{checkout / 'adapters'}"}
    probe = _HERE.with_name("quiet_pass.py")
    done = subprocess.run(
        [sys.executable, str(probe), str(checkout), str(world)],
        env=environment,
        cwd=world.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def show(figure: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> None:
    """Print the minimum and the median of both checkouts, and the ratios of new to old."""
    old = [each[figure] for each, _ in pairs]
    new = [each[figure] for _, each in pairs]
    per_unit = [
        statistics.median(each[figure] / each[_UNIT] for each in side)
        for side in zip(*pairs, strict=True)
    ]
    values = {
        "figure": figure,
        "runs": len(new),
        "old min us": round(min(old), 1),
        "new min us": round(min(new), 1),
        "old median us": round(statistics.median(old), 1),
        "new median us": round(statistics.median(new), 1),
        "ratio of minima": round(min(new) / min(old), 3),
        "ratio of medians": round(statistics.median(new) / statistics.median(old), 3),
        "ratio per json.loads": round(per_unit[1] / per_unit[0], 3),
    }
    print(json.dumps(values), flush=True)


def main(old: Path, runs: int) -> None:
    """Measure both checkouts in turn and print."""
    with tempfile.TemporaryDirectory() as folder:
        world = Path(folder) / "world.json"
        objects = load(worlds.ready(), now=datetime(2026, 1, 1, 1, tzinfo=UTC)).objects()
        world.write_text(json.dumps(list(objects)))
        for checkout in (old, _ROOT):
            measured(checkout, world)  # compiles the modules of a fresh checkout
        pairs = [(measured(old, world), measured(_ROOT, world)) for _ in range(runs)]
    for figure in pairs[0][1]:
        show(figure, pairs)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.benchmarks.compare OLD_CHECKOUT [RUNS]")
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else _RUNS
    main(Path(sys.argv[1]).resolve(), max(_LEAST_RUNS, wanted))
