"""Measures what a change costs that touches nothing that decisions read.

    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_changes [CONTROL_PLANES]

Two neighbours fight over a condition of Clusters, as capt and Cluster API 1.8.5 do. Each event goes
the whole way, from the line of the watch to the question whether it wakes anybody, in a cache of
all Clusters. Prints one JSON object per figure: the cost of one change, and its ratio to
`json.loads` of the same line, below which no client that parses can go.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from captep_core.capt._resources import WATCHED
from captep_kubernetes import CacheChange, KubernetesGateway, UnansweredError
from captep_kubernetes._informer import _event

_ROUNDS = 5
_EVENTS = 20_000


class Away:
    """A server that nobody reaches: the events come from this module."""

    def request(self, *_: object, **__: object) -> Any:
        raise UnansweredError("away", may_have_landed=False)

    stream = request


def cluster(name: str, version: int, status: str) -> dict[str, Any]:
    """A Cluster as the API server sends it, with the fields of two managers."""
    ref = {"kind": "CAPTControlPlane", "name": name, "namespace": "fleet"}
    conditions = [
        {"type": kind, "status": value, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind, value in (
            ("Ready", status),
            ("ControlPlaneInitialized", "True"),
            ("ControlPlaneReady", "True"),
            ("InfrastructureReady", status),
        )
    ]
    owned: dict[str, dict[str, str]] = {
        f"f:{field}": {} for field in ("conditions", "phase", "controlPlaneReady")
    }
    managers = [
        {"manager": each, "operation": "Update", "fieldsV1": {"f:status": owned}}
        for each in ("manager", "capt")
    ]
    return {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {
            "name": name,
            "namespace": "fleet",
            "uid": f"uid-of-{name}",
            "resourceVersion": str(version),
            "generation": 3,
            "finalizers": ["cluster.cluster.x-k8s.io"],
            "managedFields": managers,
        },
        "spec": {
            "controlPlaneRef": {"apiVersion": "controlplane.cluster.x-k8s.io/v1beta1", **ref},
            "controlPlaneEndpoint": {"host": f"{name}.example", "port": 443},
            "clusterNetwork": {"pods": {"cidrBlocks": ["192.168.0.0/16"]}},
        },
        "status": {
            "phase": "Provisioned",
            "controlPlaneReady": True,
            "infrastructureReady": True,
            "observedGeneration": 3,
            "conditions": conditions,
        },
    }


def _microseconds(times: int, work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / times * 1e6


def main() -> None:
    """Measure and print."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    woken: list[CacheChange] = []

    def changed(change: CacheChange) -> None:
        if gateway.is_relevant(change):
            woken.append(change)

    gateway = KubernetesGateway(Away(), watched=WATCHED, on_change=changed)
    (informer,) = (each for each in gateway.informers if each.resource.kind == "Cluster")
    for number in range(size):
        informer.observe_write(cluster(f"tokyo-{number}", number + 1, "True"))
    woken.clear()
    lines = [
        json.dumps(
            {
                "type": "MODIFIED",
                "object": cluster(
                    f"tokyo-{number % size}", size + number + 1, str(number // size % 2 == 1)
                ),
            }
        ).encode()
        for number in range(_ROUNDS * _EVENTS)
    ]

    def take(batch: list[bytes]) -> None:
        for line in batch:
            event = _event(line)
            assert event is not None
            informer.observe_write(event[1])

    batches = [lines[at : at + _EVENTS] for at in range(0, len(lines), _EVENTS)]
    parsing = min(_microseconds(_EVENTS, lambda b=b: [json.loads(x) for x in b]) for b in batches)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    taking = min(_microseconds(_EVENTS, lambda b=b: take(b)) for b in batches)  # type: ignore[misc]
    assert not woken, f"{len(woken)} irrelevant changes woke somebody"
    figure = f"one irrelevant change of a Cluster among {size}"
    values = {
        "bytes": len(lines[0]),
        "microseconds": round(taking, 1),
        "of json.loads": round(taking / parsing, 2),
        "json.loads, microseconds": round(parsing, 1),
        "percent of a core at 1,000 a second": round(taking / 10, 2),
    }
    print(json.dumps({"figure": figure, **values}))


if __name__ == "__main__":
    main()
