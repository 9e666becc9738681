"""Measures the quiet pass: from parsed observation, from raw JSON, and `json.loads` for scale.

Prints one JSON object per figure: microseconds of CPU, the best of several rounds. The rounds
alternate, so that a slow moment hits all figures alike.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count

from captep_core import (
    ABSENT,
    JSON,
    ObjectRef,
    Observed,
    ReconcileState,
    control_plane_ref,
    decide,
    observe,
    reconcile,
    remembered,
)
from captep_core.capt import _model
from captep_core.capt.wire import Parsed
from captep_core.ports import as_read
from captep_memory import load
from tests.capt import worlds

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
KEY = control_plane_ref("fleet", "tokyo")
ROUNDS = 15


def ready_world() -> dict[ObjectRef, str]:
    """Return the objects of a Ready control plane as JSON texts."""
    objects = [json.loads(json.dumps(each)) for each in load(worlds.ready(), now=NOW).objects()]
    refs = [
        ObjectRef(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
        for o in objects
    ]
    return dict(zip(refs, map(json.dumps, objects), strict=True))


def best(times: int, *functions: Callable[[], object]) -> list[float]:
    """Return the least CPU time of each function, in microseconds."""
    least = [float("inf")] * len(functions)
    for _ in range(ROUNDS):
        for place, function in enumerate(functions):
            began = time.process_time()
            for _ in range(times):
                function()
            least[place] = min(least[place], (time.process_time() - began) / times * 1e6)
    return least


def importing(module: str) -> float:
    """Return the CPU time in milliseconds in which a new interpreter imports `module`."""
    code = (
        f"import time; began = time.process_time(); import {module};"
        " print((time.process_time() - began) * 1e3)"
    )
    return min(
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(ROUNDS)
    )


def one_changed(world: Mapping[ObjectRef, str]) -> tuple[float, float]:
    """Return the microseconds of `json.loads` of one object of a new version, and of that with its
    conversion; the mean over all objects.
    """
    halves = {}
    for ref, text in world.items():
        obj = json.loads(text)
        marked = {**obj, "metadata": {**obj["metadata"], "resourceVersion": "VERSION"}}
        halves[ref] = getattr(_model, ref.kind), *json.dumps(marked).split("VERSION")
    versions = count(1)
    parsed = Parsed()

    def texts() -> Iterator[tuple[type, str]]:
        for kind, before, after in halves.values():
            yield kind, f"{before}{next(versions)}{after}"

    loads, both = best(
        100,
        lambda: [json.loads(text) for _, text in texts()],
        lambda: [parsed.observed(json.loads(text), kind) for kind, text in texts()],
    )
    return loads / len(halves), both / len(halves)


def main() -> None:
    """Measure and print."""
    world = ready_world()

    def read(ref: ObjectRef) -> Observed[dict[str, JSON]]:
        return json.loads(world[ref]) if ref in world else ABSENT

    reads = as_read(read)
    observation = observe(KEY, reads)
    assert reconcile(*observation, now=NOW).actions == (), "the world is not at rest"
    parsed = {ref: read(ref) for ref in world}
    versions = {ref: f"1/{number}" for number, ref in enumerate(world)}
    kept = as_read(lambda ref: parsed.get(ref, ABSENT))
    state = ReconcileState()
    by_reads = remembered(decide)
    by_versions = remembered(decide, version=versions.get)
    objects = Parsed()
    loads, quiet, raw, over_parsed, read_again, looked_up = best(
        200,
        lambda: [json.loads(text) for text in world.values()],
        lambda: reconcile(*observation, now=NOW),
        lambda: decide(KEY, reads, ReconcileState(), now=NOW),
        lambda: decide(KEY, kept, state, now=NOW, parsed=objects),
        lambda: by_reads(KEY, kept, state, now=NOW),
        lambda: by_versions(KEY, kept, state, now=NOW),
    )
    size = sum(map(len, world.values()))
    print(
        json.dumps(
            {
                "figure": "json.loads of the objects of one ready control plane",
                "objects": len(world),
                "bytes": size,
                "us": round(loads, 1),
            }
        )
    )
    figures = {
        "quiet reconcile, from parsed observation": quiet,
        "quiet pass, from raw JSON": raw,
        "quiet pass, over parsed objects": over_parsed,
        "remembered quiet pass, versions of a cache": looked_up,
        "remembered quiet pass, versions of the objects as read": read_again,
    }
    for figure, took in figures.items():
        values = {"figure": figure, "us": round(took, 1), "of json.loads": round(took / loads, 3)}
        print(json.dumps(values))
    one, converted = one_changed(world)
    values = {
        "figure": "one changed object, from raw JSON to parsed",
        "us": round(converted, 1),
        "of json.loads": round(converted / one, 2),
    }
    print(json.dumps(values))
    print(
        json.dumps(
            {
                "figure": "import captep_core",
                "ms": round(importing("captep_core"), 1),
                "import attrs, cattrs ms": round(importing("attrs, cattrs"), 1),
            }
        )
    )


if __name__ == "__main__":
    main()
