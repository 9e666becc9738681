"""Counts what the central paths execute and allocate, and compares with what is recorded.

    PYTHONPATH=.:adapters python -m tests.benchmarks.guard [--record]

Seconds vary by a factor of two between machines and moments; the bytecode instructions that a path
executes, and the most memory that it holds at once, do not. `guard.json` has both for each version
of Python. A path that differs by more than a tenth is marked, in whichever direction: a faster path
is recorded with `--record` in the same change. Work inside C, such as parsing JSON, is not counted.
"""

import gc
import json
import platform
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

from captep_core import (
    ABSENT,
    ObjectRef,
    ReconcileState,
    WorkQueue,
    decide,
    difference,
    observe,
    reconcile,
    remembered,
)
from captep_core.capt._resources import WATCHED
from captep_core.capt.wire import Parsed
from captep_core.ports import as_read
from captep_kubernetes import CacheChange, KubernetesGateway
from captep_memory import Request, load, serve
from tests.benchmarks.bench_changes import Away, cluster
from tests.benchmarks.bench_core import KEY, NOW
from tests.benchmarks.manifests import DEFINITION, DEPLOYMENT, WIDGET
from tests.capt import worlds

__all__ = ["RECORDED", "VERSION", "bytecodes", "counted", "paths", "row", "warmed"]

RECORDED: Final = Path(__file__).with_name("guard.json")
VERSION: Final = ".".join(platform.python_version_tuple()[:2])
"""The counts hold for one version of Python."""
_TOLERANCE: Final = 0.1
_WARM_UP: Final = 3
"""Calls before the count: they fill the caches of cattrs, of compiled patterns and of imports."""

Counts: TypeAlias = dict[str, int]


def bytecodes(work: Callable[[], object]) -> int:
    """Return how many bytecode instructions `work` executes."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def _peak(work: Callable[[], object]) -> int:
    """Return the most bytes that `work` holds at once."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


def warmed(work: Callable[[], object]) -> Callable[[], object]:
    """Return `work` after some calls that fill the caches."""
    for _ in range(_WARM_UP):
        work()
    return work


def counted(work: Callable[[], object]) -> Counts:
    """Return the counts of one call, after some that fill the caches."""
    return {"bytecodes": bytecodes(warmed(work)), "bytes": _peak(work)}


def _objects(world: list[dict[str, Any]]) -> dict[ObjectRef, dict[str, Any]]:
    objects = json.loads(json.dumps(list(load(world, now=NOW).objects())))
    return {
        ObjectRef(
            each["apiVersion"],
            each["kind"],
            each["metadata"].get("namespace"),
            each["metadata"]["name"],
        ): each
        for each in objects
    }


def _passes() -> Iterator[tuple[str, Callable[[], object]]]:
    state = ReconcileState()
    ready = _objects(worlds.ready())
    read = as_read(lambda ref: ready.get(ref, ABSENT))
    observation = observe(KEY, read)
    yield "quiet reconcile, from parsed observation", partial(reconcile, *observation, now=NOW)
    yield "quiet pass, from parsed JSON", partial(decide, KEY, read, state, now=NOW)
    parsed = Parsed()
    yield (
        "quiet pass, over parsed objects",
        partial(decide, KEY, read, state, now=NOW, parsed=parsed),
    )
    by_reads = remembered(decide)
    yield "remembered quiet pass, by reads", partial(by_reads, KEY, read, state, now=NOW)
    by_versions = remembered(decide, version=dict.fromkeys(ready, "1").get)
    yield "remembered quiet pass, by versions", partial(by_versions, KEY, read, state, now=NOW)
    new = _objects(worlds.new())
    busy = as_read(lambda ref: new.get(ref, ABSENT))
    yield "busy pass: the first writes", partial(decide, KEY, busy, state, now=NOW)
    provided = _objects(worlds.provided())
    later = as_read(lambda ref: provided.get(ref, ABSENT))
    yield "busy pass: a report", partial(decide, KEY, later, state, now=NOW)


def _writes() -> Iterator[tuple[str, Callable[[], object]]]:
    desired = {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "namespace": "fleet"}}
    world = load([desired], now=NOW)
    observed = json.loads(json.dumps(next(iter(world.objects()))))
    other = json.loads(json.dumps(desired))
    other["spec"]["replicas"] = 9
    for name, found, wanted in (
        ("a create", ABSENT, desired),
        ("a patch", observed, other),
        ("nothing to write", observed, desired),
    ):
        yield f"difference: {name}", partial(difference, wanted, found, "guard")


def _apply_of(manifest: Mapping[str, Any]) -> Request:
    return Request(
        "patch",
        manifest["apiVersion"],
        manifest["kind"],
        "fleet",
        manifest["metadata"]["name"],
        body=json.loads(json.dumps(manifest)),
        content_type="application/apply-patch+yaml",
        field_manager="guard",
    )


def _server() -> Iterator[tuple[str, Callable[[], object]]]:
    create = Request("create", "apps/v1", "Deployment", "fleet", body=DEPLOYMENT)
    empty = load([], now=NOW)
    yield "in-memory create", partial(serve, empty, create)
    full, made = serve(empty, create)
    assert made.status == 201, made
    name = DEPLOYMENT["metadata"]["name"]
    body = {"spec": {"replicas": 9}}
    patch = Request("patch", "apps/v1", "Deployment", "fleet", name, body=body)
    yield "in-memory patch", partial(serve, full, patch)
    defined = load([DEFINITION], now=NOW)
    applied, made = serve(defined, _apply_of(WIDGET))
    assert made.status == 201, made
    other = {**WIDGET, "spec": {**WIDGET["spec"], "replicas": 9}}
    yield "in-memory apply", partial(serve, applied, _apply_of(other))


def _informer() -> Iterator[tuple[str, Callable[[], object]]]:
    woken: list[CacheChange] = []
    gateway = KubernetesGateway(Away(), watched=WATCHED, on_change=woken.append)
    (informer,) = (each for each in gateway.informers if each.resource.kind == "Cluster")
    versions = iter(range(1, 1000))

    def change() -> None:
        version = next(versions)
        informer.observe_write(cluster("tokyo", version, str(version % 2 == 1)))

    yield "informer: one change of a Cluster", change


def _queue() -> Iterator[tuple[str, Callable[[], object]]]:
    def rounds() -> None:
        queue: WorkQueue[int] = WorkQueue()
        for key in range(100):
            queue.add(key, now=0.0, delay=float(key % 7))
        while (due := queue.pop(now=10.0)) is not None:
            queue.done(due, now=10.0)

    yield "queue: 100 keys added, run and done", rounds


def paths() -> Mapping[str, Callable[[], object]]:
    """Return the central paths by name, each as one call."""
    return {
        name: work
        for group in (_passes, _writes, _server, _informer, _queue)
        for name, work in group()
    }


def row(name: str, now: Counts, before: Counts | None) -> str:
    """Return the row of the table: each count with its change; `before` is the record."""
    cells = [name]
    for unit, count in now.items():
        known = (before or {}).get(unit)
        if known is None:
            cells += [f"{count:,}", "not recorded"]
            continue
        mark = " **" if abs(count - known) > known * _TOLERANCE else ""
        cells += [f"{count:,}", f"{count / known - 1:+.1%}{mark}"]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> None:
    """Count, and print the table or record."""
    recorded: dict[str, dict[str, Counts]] = json.loads(RECORDED.read_text())
    counts = {name: counted(work) for name, work in paths().items()}
    if arguments == ["--record"]:
        recorded[VERSION] = counts
        RECORDED.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
        return
    print(f"Counts with Python {VERSION}; ** marks a change of more than {_TOLERANCE:.0%}.\n")
    print("| path | bytecodes | change | bytes at most | change |")
    print("| --- | --- | --- | --- | --- |")
    known = recorded.get(VERSION, {})
    for name, now in counts.items():
        print(row(name, now, known.get(name)))
    for name in known.keys() - counts.keys():
        print(f"| {name} | recorded, and counted no more | | | |")


if __name__ == "__main__":
    main(sys.argv[1:])
