"""Measures the requests a second of the in-memory API server; prints one JSON line per figure.

python tests/benchmarks/bench_memory.py
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from captep_memory import Object, Request, World, load, serve
from tests.benchmarks.manifests import DEFINITION, DEPLOYMENT, WIDGET
from tests.memory.kinds import manifest_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
API, KIND = "controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane"


def objects(control_planes: int) -> Iterator[Object]:
    """Yield 14 objects per control plane: itself, nine other custom resources, four Secrets."""
    for index in range(control_planes):
        name = f"cp-{index}"
        yield {
            "apiVersion": API,
            "kind": KIND,
            "metadata": {"name": name, "namespace": "fleet"},
            "spec": {"version": "1.31"},
        }
        for number in range(9):
            metadata = {"name": f"{name}-{number}", "namespace": "fleet"}
            apply = {
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
                "kind": "WorkspaceTemplateApply",
                "metadata": metadata,
            }
            yield {**apply, "spec": {"variables": {"a": "b"}}}
        for number in range(4):
            yield {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": f"{name}-{number}", "namespace": "fleet"},
                "data": {"k": "dg=="},
            }


def get(_: int) -> Request:
    """Read the first control plane."""
    return Request("get", API, KIND, "fleet", "cp-0")


def no_op_patch(_: int) -> Request:
    """Patch a field to its present value."""
    return Request("patch", API, KIND, "fleet", "cp-0", body={"spec": {"version": "1.31"}})


def status_patch(index: int) -> Request:
    """Patch the status to a new value."""
    return Request(
        "patch", API, KIND, "fleet", "cp-0", "status", {"status": {"ready": False, "round": index}}
    )


def mix(index: int) -> Request:
    """Return a get, a no-op patch and an effective status patch in turn."""
    return (get, no_op_patch, status_patch)[index % 3](index)


def measure(make: Callable[[int], Request], world: World, count: int) -> float:
    """Return requests per second, the best of three runs."""
    requests = [make(index) for index in range(count)]
    best = float("inf")
    for _ in range(3):
        at, start = world, time.perf_counter()
        for request in requests:
            at, response = serve(at, request)
            assert response.status == 200
        best = min(best, time.perf_counter() - start)
    return count / best


def growth(make: Callable[[int], Request]) -> float:
    """Return what a request costs over 14,000 objects, in times of what it costs over 14.

    The two worlds take turns of 300 requests, so that the other work of the machine meets both.
    """
    worlds = [load(objects(control_planes), now=NOW) for control_planes in (1, 1_000)]
    requests = [make(index) for index in range(300)]
    best = [float("inf"), float("inf")]
    for _ in range(60):
        for index, world in enumerate(worlds):
            at, start = world, time.process_time()
            for request in requests:
                at, _response = serve(at, request)
            best[index] = min(best[index], time.process_time() - start)
    return best[1] / best[0]


def creation(manifest: Object) -> float:
    """Return what a creation costs, in times that `json.loads` needs for the same bytes."""
    world = load([], now=NOW)
    request = Request("create", manifest["apiVersion"], manifest["kind"], "fleet", body=manifest)
    assert serve(world, request)[1].status == 201
    return _ratio(lambda: serve(world, request), manifest)


def applies() -> Iterator[tuple[str, float]]:
    """Yield what applies of a custom resource cost, in times that `json.loads` of it needs."""
    empty = load([DEFINITION], now=NOW)
    created, response = serve(empty, _apply(WIDGET))
    assert response.status == 201
    other = {**WIDGET["spec"], "replicas": 9, "version": "1.32"}
    fewer = {**WIDGET["spec"], "zones": ["a", "d"]}
    for name, world, given in (
        ("creates", empty, WIDGET),
        ("changes nothing", created, WIDGET),
        ("changes values", created, {**WIDGET, "spec": other}),
        ("removes an item", created, {**WIDGET, "spec": fewer}),
    ):
        # No part of the request is the same object as in the store, as after HTTP.
        request = _apply(json.loads(json.dumps(given)))
        after, response = serve(world, request)
        assert response.ok
        assert (after is world) is (name == "changes nothing")
        yield name, _ratio(partial(serve, world, request), WIDGET)


def _apply(manifest: Object) -> Request:
    return Request(
        "patch",
        manifest["apiVersion"],
        manifest["kind"],
        "fleet",
        "a",
        body=manifest,
        content_type="application/apply-patch+yaml",
        field_manager="bench",
    )


def _ratio(run: Callable[[], object], manifest: Object) -> float:
    """Return how many times the CPU time of `json.loads` a call takes.

    Both take turns, so that the other work of the machine meets both.
    """
    timed: tuple[Callable[[], object], ...] = (run, partial(json.loads, json.dumps(manifest)))
    calls = (10, 20)
    best = [float("inf"), float("inf")]
    for _ in range(300):
        for index, each in enumerate(timed):
            start = time.process_time()
            for _ in range(calls[index]):
                each()
            best[index] = min(best[index], (time.process_time() - start) / calls[index])
    return best[0] / best[1]


def main() -> None:
    """Measure each kind of request over 14 and over 14,000 objects."""
    for control_planes, count in ((1, 30_000), (1_000, 3_000)):
        world = load(objects(control_planes), now=NOW)
        for make in (get, no_op_patch, status_patch, mix):
            figure = {
                "benchmark": f"memory/{make.__name__}",
                "objects": len(world),
                "requests_per_second": round(measure(make, world, count)),
            }
            print(json.dumps(figure))
    for make in (get, status_patch, mix):
        name = f"memory/{make.__name__}, 14,000 objects"
        print(json.dumps({"benchmark": name, "times_14_objects": round(growth(make), 2)}))
    for kind in ("Deployment", "StatefulSet", "Service", "Job", "Pod"):
        ratio = creation({**manifest_of(kind), "metadata": {"name": "a"}})
        print(json.dumps(_times(f"create {kind}", ratio)))
    print(json.dumps(_times("create Deployment of 1.9 KB", creation(DEPLOYMENT))))
    for name, ratio in applies():
        print(json.dumps(_times(f"apply that {name}", ratio)))


def _times(name: str, ratio: float) -> Object:
    return {"benchmark": f"memory/{name}", "times_json_loads": round(ratio, 1)}


if __name__ == "__main__":
    main()
