"""Measures the requests a second of the in-memory API server; prints one JSON line per figure.

python tests/benchmarks/bench_memory.py
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from captep_memory import Object, Request, World, load, serve
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


def creation(manifest: Object) -> float:
    """Return what a creation costs, in times that `json.loads` needs for the same bytes."""
    text, world = json.dumps(manifest), load([], now=NOW)
    request = Request("create", manifest["apiVersion"], manifest["kind"], "fleet", body=manifest)
    assert serve(world, request)[1].status == 201
    return _best(lambda: serve(world, request)) / _best(lambda: json.loads(text))


def _best(run: Callable[[], object]) -> float:
    """Return the seconds of one call, the best of 200 runs of 20."""
    best = float("inf")
    for _ in range(200):
        start = time.perf_counter()
        for _ in range(20):
            run()
        best = min(best, (time.perf_counter() - start) / 20)
    return best


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
    for kind in ("Deployment", "StatefulSet", "Service", "Job", "Pod"):
        ratio = creation({**manifest_of(kind), "metadata": {"name": "a"}})
        figure = {"benchmark": f"memory/create {kind}", "times_json_loads": round(ratio, 1)}
        print(json.dumps(figure))


if __name__ == "__main__":
    main()
