"""A Cluster in v1beta2: the same decisions, and writes that v1beta2's definition takes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from captep_core import Policy, Unreadable
from captep_core.capt import wire
from captep_core.capt._model import Cluster
from captep_core.capt._resources import WATCHED
from captep_memory import MemoryGateway, World, load
from captep_world import CLUSTER_CONVERSIONS
from captep_world._conversion import convert_cluster
from tests.capt.driving import KEY, NOW, Run, look, run, writes_of
from tests.capt.worlds import (
    CLUSTER_API,
    HOST,
    Object,
    Objects,
    changed,
    condition,
    created,
    deleting,
    find,
    new,
    owned,
    owner,
    plus,
    provided,
    ready,
)

CP = "CAPTControlPlane"
NEWER = "cluster.x-k8s.io/v1beta2"
TO: Object = {
    "apiGroup": "controlplane.cluster.x-k8s.io",
    "kind": "CAPTControlPlane",
    "name": "tokyo",
}
INITIALIZED: Object = {
    "type": "ControlPlaneInitialized",
    "status": "True",
    "reason": "Initialized",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
WAITING: Object = {
    "type": "ControlPlaneInitialized",
    "status": "False",
    "reason": "NotInitialized",
    "message": "Control plane not yet initialized",
    "lastTransitionTime": "2025-01-01T00:00:00Z",
}
OLDER_WAITING: Object = {
    "type": "ControlPlaneInitialized",
    "status": "False",
    "severity": "Info",
    "reason": "WaitingForControlPlaneProviderInitialized",
    "message": "waiting",
    "lastTransitionTime": "2025-01-01T00:00:00Z",
}
FINALIZER: Object = {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}}


def newer(objects: Objects, **status: Any) -> Objects:  # noqa: ANN401 - JSON
    """The same world with the Cluster as v1beta2 has it, and with this status."""
    older = find(objects, "Cluster", "tokyo")
    spec = {"controlPlaneRef": TO}
    held = older["spec"].get("controlPlaneEndpoint")
    endpoint = {"controlPlaneEndpoint": held} if held else {}
    made = {
        "apiVersion": NEWER,
        "kind": "Cluster",
        "metadata": older["metadata"],
        "spec": {**spec, **endpoint},
    }
    others = [obj for obj in objects if obj["kind"] != "Cluster"]
    return [*others, {**made, "status": status} if status else made]


def cluster_writes(done: Run) -> list[tuple[str | None, Any]]:
    """The writes of the Cluster, each with its subresource."""
    return [(each.subresource, each.body) for each in done.writes if each.target.kind == "Cluster"]


def always() -> Policy:
    """Write the status of the Cluster although core may write it too."""
    return Policy(publish_to_cluster="always")


def test_both_versions_are_one_observation() -> None:
    """References, endpoint and pause stand in other fields and mean the same."""
    older = find(ready(), "Cluster", "tokyo")
    for world in (older, convert_cluster(older, NEWER)):
        seen = wire.structure(world, Cluster)
        reference = seen.spec.control_plane_ref
        assert reference is not None
        assert (reference.group, reference.kind, reference.name) == (*TO.values(),)
        assert (seen.spec.control_plane_endpoint.host, seen.spec.paused) == (HOST, False)
        assert seen.is_newer == (world is not older)


@pytest.mark.parametrize("world", [new, created, provided, ready])
def test_the_same_writes_bring_a_control_plane_to_rest(world: Callable[[], Objects]) -> None:
    """Only the version in our reference, and the Cluster's own fields, differ."""
    older, other = run(world()), run(newer(world()))
    assert other.last.verdict == older.last.verdict

    def others(done: Run) -> list[str]:
        return [each for each in writes_of(done.writes) if " Cluster " not in each]

    assert others(other) == others(older)


def test_the_reference_that_we_add_carries_the_version_in_use() -> None:
    """A v1beta1 reference would dangle where only v1beta2 is served."""
    bare = plus(newer(new()), owned(find(new(), CP, "tokyo")))
    (reference,) = run(bare).find(CP, "tokyo")["metadata"]["ownerReferences"]
    assert reference == owner("Cluster", "tokyo", api_version=NEWER)


@pytest.mark.parametrize("version", [CLUSTER_API, NEWER, "cluster.x-k8s.io/v1alpha4"])
@pytest.mark.parametrize("served", [CLUSTER_API, NEWER])
def test_a_reference_with_the_right_uid_is_never_rewritten(version: str, served: str) -> None:
    """Core writes the version that it speaks; another one would start a fight."""
    held = owned(find(ready(), CP, "tokyo"), owner("Cluster", "tokyo", api_version=version))
    world = ready() if served == CLUSTER_API else newer(ready(), **_READY)
    assert look(plus(world, held)).actions == ()


def test_an_outdated_uid_is_corrected_in_the_version_in_use() -> None:
    """A restored Cluster has another uid; the rest of the entry stays."""
    stale = {**owner("Cluster", "tokyo", api_version=CLUSTER_API), "uid": "old"}
    held = owned(find(ready(), CP, "tokyo"), stale)
    done = run(plus(newer(ready(), **_READY), held))
    (reference,) = done.find(CP, "tokyo")["metadata"]["ownerReferences"]
    right = owner("Cluster", "tokyo", api_version=NEWER)["uid"]
    assert reference == {**stale, "apiVersion": NEWER, "uid": right}


_READY: Object = {
    "initialization": {"controlPlaneInitialized": True},
    "conditions": [INITIALIZED],
}


def test_without_core_the_first_ready_is_published_once_in_fields_of_v1beta2() -> None:
    """The one-way field, Kubernetes' condition with reason and message, the whole endpoint."""
    bare: Object = {"spec": {"controlPlaneEndpoint": None}}
    done = run(changed(newer(ready()), "Cluster", "tokyo", bare))
    assert done.last.verdict.reason == "Ready"
    now = NOW.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert cluster_writes(done) == [
        (None, {"spec": {"controlPlaneEndpoint": {"host": HOST, "port": 443}}}),
        (
            "status",
            {
                "status": {
                    "initialization": {"controlPlaneInitialized": True},
                    "conditions": [{**INITIALIZED, "lastTransitionTime": now}],
                }
            },
        ),
    ]
    assert look(done.objects).actions == ()


def test_the_one_way_field_is_never_taken_back() -> None:
    """Ready is withdrawn and comes back: no write of the Cluster."""
    world = [obj for obj in newer(ready(), **_READY) if obj["kind"] != "Workspace"]
    lost = run(world)
    assert lost.last.verdict.reason != "Ready"
    assert cluster_writes(lost) == []


@pytest.mark.parametrize(
    "sign",
    [
        {"initialization": {"infrastructureProvisioned": True}},
        {"deprecated": {"v1beta1": {"conditions": [OLDER_WAITING]}}},
        {"deprecated": {}},
    ],
)
def test_where_core_acts_its_status_is_left_alone(sign: Object) -> None:
    """Any of its marks suffices; the endpoint is published all the same."""
    done = run(newer(provided(), **sign))
    assert [subresource for subresource, _ in cluster_writes(done)] == [None]
    by_finalizer = run(changed(newer(provided()), "Cluster", "tokyo", FINALIZER))
    assert [subresource for subresource, _ in cluster_writes(by_finalizer)] == [None]


def test_stale_failures_go_where_v1beta2_keeps_them() -> None:
    """Core copies them from a control plane and never clears them."""
    older = {"failureReason": "x", "failureMessage": "y", "conditions": [OLDER_WAITING]}
    status = {**_READY, "deprecated": {"v1beta1": older}}
    done = run(changed(newer(ready(), **status), "Cluster", "tokyo", FINALIZER))
    gone = {"failureReason": None, "failureMessage": None}
    assert cluster_writes(done) == [("status", {"status": {"deprecated": {"v1beta1": gone}}})]


def test_always_sets_both_conditions_where_core_has_both() -> None:
    """Kubernetes' condition, and the one of v1beta1 under `deprecated`, each in its own form."""
    status = {
        "conditions": [condition("Available", False), WAITING],
        "deprecated": {"v1beta1": {"conditions": [OLDER_WAITING]}},
    }
    done = run(newer(ready(), **status), policy=always())
    now = NOW.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    older = {"type": "ControlPlaneInitialized", "status": "True", "lastTransitionTime": now}
    assert cluster_writes(done)[-1] == (
        "status",
        {
            "status": {
                "initialization": {"controlPlaneInitialized": True},
                "conditions": [
                    condition("Available", False),
                    {**INITIALIZED, "lastTransitionTime": now},
                ],
                "deprecated": {"v1beta1": {"conditions": [older]}},
            }
        },
    )
    assert look(done.objects, policy=always()).actions == ()


def test_the_endpoint_is_withdrawn_by_removing_it() -> None:
    """v1beta2 admits no empty host and no port 0."""
    held = "controlplane.cluster.x-k8s.io/captcontrolplane"
    world = deleting(newer(ready(), **_READY), CP, "tokyo", held)
    done = run(world)
    assert cluster_writes(done) == [(None, {"spec": {"controlPlaneEndpoint": None}})]


def test_a_paused_cluster_is_seen_in_v1beta2() -> None:
    """The field has the same name there."""
    paused = changed(newer(ready(), **_READY), "Cluster", "tokyo", {"spec": {"paused": True}})
    assert look(paused).verdict.reason == "Paused"


def test_a_malformed_status_of_v1beta2_is_unreadable() -> None:
    """A wrong type is a problem and no default."""
    seen = wire.as_observed(
        newer(ready(), initialization={"controlPlaneInitialized": "yes"})[-1], Cluster
    )
    assert isinstance(seen, Unreadable)
    assert "controlPlaneInitialized" in seen.detail


def world_of(objects: Objects, **options: Any) -> World:  # noqa: ANN401 - options of load
    """A server at a fixed time."""
    return load(objects, now=datetime(2026, 1, 1, tzinfo=UTC), **options)


def test_the_memory_gateway_speaks_the_newest_version_of_both() -> None:
    """Where a webhook converts; a kind without a definition is read as it is stored."""
    ref = next(each.target for each in run(provided()).writes if each.target.kind == "Cluster")
    converted = MemoryGateway(world_of(ready(), conversions=CLUSTER_CONVERSIONS), watched=WATCHED)
    plain = MemoryGateway(world_of(ready()), watched=WATCHED)
    stored = MemoryGateway(world_of(newer(ready())), watched=WATCHED)
    seen: list[Any] = []
    for gateway in (converted, plain, stored):
        found: Any = gateway.read(ref)
        assert gateway.read.list(ref.api_version, "Cluster", "fleet") == (found,)
        seen.append((found["apiVersion"], *sorted(found["spec"]["controlPlaneRef"])))
    older = (CLUSTER_API, "apiVersion", "kind", "name", "namespace")
    newest = (NEWER, "apiGroup", "kind", "name")
    assert seen == [newest, older, newest]
    assert KEY.name == ref.name
