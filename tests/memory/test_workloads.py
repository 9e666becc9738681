"""Moves of controllers and kubelets: what they write, and when they are impossible."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from captep_memory import Object, Request, World, load, serve, workloads
from captep_memory._typed import typed_kinds
from captep_memory.workloads import Step
from tests.memory.kinds import manifest_of
from tests.memory.support import NOW, Api

STEPS: dict[str, Callable[[str, str], Step]] = {
    "Deployment": workloads.become_available,
    "StatefulSet": workloads.become_ready,
    "Job": workloads.complete,
    "PersistentVolumeClaim": workloads.bind,
    "Pod": workloads.run_pod,
}


def created(kind: str) -> World:
    """Return a world with a new object `a` of a kind in the namespace `fleet`."""
    manifest = manifest_of(kind)
    body = {**manifest, "metadata": {"name": "a"}}
    request = Request("create", manifest["apiVersion"], kind, "fleet", body=body)
    world, response = serve(load([], now=NOW), request)
    assert response.status == 201, response.body
    return world.at(NOW + timedelta(minutes=1))


def status_of(world: World | None, kind: str) -> Object:
    """Return the status of the object `a`."""
    assert world is not None
    api_version = next(name for name in typed_kinds() if name.endswith(f"/{kind}"))
    response = Api(world).do("get", "a", kind, api_version.rpartition("/")[0])
    status: Object = response.body["status"]
    return status


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_a_move_ends_in_a_world_where_it_is_impossible(kind: str) -> None:
    """A controller that has done its work writes nothing."""
    step = STEPS[kind]("fleet", "a")
    once = step(created(kind))
    assert once is not None
    assert step(once) is None


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_a_move_of_an_absent_object_is_impossible(kind: str) -> None:
    """None, as the kit expects it of a move."""
    assert STEPS[kind]("fleet", "a")(load([], now=NOW)) is None


def test_a_deployment_becomes_available() -> None:
    """Counts, the generation that the controller saw, and both conditions."""
    at = "2026-01-02T03:05:05Z"
    condition = {"status": "True", "lastUpdateTime": at, "lastTransitionTime": at}
    after = workloads.become_available("fleet", "a")(created("Deployment"))
    assert status_of(after, "Deployment") == {
        "observedGeneration": 1,
        "replicas": 1,
        "updatedReplicas": 1,
        "readyReplicas": 1,
        "availableReplicas": 1,
        "conditions": [
            {"type": "Available", "reason": "MinimumReplicasAvailable", **condition},
            {"type": "Progressing", "reason": "NewReplicaSetAvailable", **condition},
        ],
    }


def test_a_claim_is_bound_to_a_volume_of_its_size() -> None:
    """The claim names the volume, and the status shows what it offers."""
    after = workloads.bind("fleet", "a", "v")(created("PersistentVolumeClaim"))
    assert status_of(after, "PersistentVolumeClaim") == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
    }


def test_a_job_fails_and_stays_failed() -> None:
    """A finished Job can not complete afterwards."""
    failed = workloads.fail("fleet", "a")(created("Job"))
    assert failed is not None
    conditions = status_of(failed, "Job")["conditions"]
    assert [each["type"] for each in conditions] == ["FailureTarget", "Failed"]
    assert workloads.complete("fleet", "a")(failed) is None


def test_a_terminating_namespace_is_emptied_and_goes() -> None:
    """Its content goes first; a Namespace that nobody deletes stays."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleet"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "fleet"}}
    client = Api(load([namespace, secret], now=NOW))
    assert workloads.empty("fleet")(client.world) is None
    deleted = client.do("delete", "fleet", "Namespace", "v1", namespace=None)
    assert deleted.body["status"] == {"phase": "Terminating"}
    after = workloads.empty("fleet")(client.world)
    assert after is not None
    assert len(after) == 0


def test_a_finalizer_keeps_a_terminating_namespace() -> None:
    """The object that it holds is marked, and the Namespace waits."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleet"}}
    metadata = {"name": "s", "namespace": "fleet", "finalizers": ["ex.io/f"]}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    client = Api(load([namespace, secret], now=NOW))
    client.do("delete", "fleet", "Namespace", "v1", namespace=None)
    marked = workloads.empty("fleet")(client.world)
    assert marked is not None
    assert len(marked) == 2
    assert workloads.empty("fleet")(marked) is None
