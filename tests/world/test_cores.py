"""Cluster API's core in its three generations, and the conversion of Clusters."""

from datetime import timedelta

import pytest

from captep_core import ObjectRef
from captep_memory import Key, Object, Request, identical, load, serve
from captep_world import (
    CLUSTER_CONVERSIONS,
    CLUSTER_FINALIZER,
    CORE_VERSIONS,
    IDLE,
    REAL_PACE,
    CAPTClusters,
    ClusterAPI,
    CoreVersion,
    Objects,
    Simulation,
    VirtualClock,
    WorldServer,
    convert_cluster,
    neighbours,
    stories,
)
from tests.memory.support import NOW
from tests.world.test_neighbours import CLUSTER, CONTROL_PLANE, pair
from tests.world.test_simulation import TOKYO, CaptepLoop

NEWER = ("1.11", "1.13")
V1BETA2 = "cluster.x-k8s.io/v1beta2"
CLUSTER_KEY = Key("cluster.x-k8s.io", "Cluster", "fleet", "tokyo")


class Core:
    """A server that stores Clusters as the given core does, and that core."""

    def __init__(self, version: CoreVersion, status: Object | None = None) -> None:
        conversions = {} if version == "1.8" else CLUSTER_CONVERSIONS
        self.server = WorldServer(load(pair(status), now=NOW, conversions=conversions))
        self.objects = Objects(self.server.call)
        self.core = ClusterAPI(version)
        self.key = ObjectRef(self.core.api_version, "Cluster", "fleet", "tokyo")

    def turn(self) -> int:
        """Let core act; return the number of its effective writes."""
        before = self.server.world.resource_version
        for request in self.core.turn(self.key, self.objects, IDLE, now=NOW).requests:
            assert self.server.call(request).ok
        return self.server.world.resource_version - before

    def rest(self) -> None:
        """Let core act until it has nothing to do."""
        for _ in range(5):
            if self.turn() == 0:
                return
        raise AssertionError("core does not come to rest")

    def patch(self, ref: ObjectRef, body: Object, subresource: str | None = "status") -> None:
        """Change an object as another writer."""
        request = Request(
            "patch", ref.api_version, ref.kind, ref.namespace, ref.name, subresource, body=body
        )
        assert self.server.call(request).ok

    def cluster(self, api_version: str = CLUSTER.api_version) -> Object:
        """Return the Cluster in a version."""
        found = self.objects.get(ObjectRef(api_version, "Cluster", "fleet", "tokyo"))
        assert found is not None
        return found


OLD: Object = {
    "apiVersion": CLUSTER.api_version,
    "kind": "Cluster",
    "metadata": {"name": "tokyo", "namespace": "fleet"},
    "spec": {
        "controlPlaneEndpoint": {"host": "x", "port": 443},
        "controlPlaneRef": {
            "apiVersion": CONTROL_PLANE.api_version,
            "kind": CONTROL_PLANE.kind,
            "name": "tokyo",
            "namespace": "fleet",
        },
        "paused": True,
    },
    "status": {
        "phase": "Provisioned",
        "infrastructureReady": True,
        "controlPlaneReady": True,
        "failureReason": "Bad",
        "failureMessage": "broken",
        "conditions": [{"type": "Ready", "status": "True"}],
        "v1beta2": {"conditions": [{"type": "Available", "status": "Unknown"}]},
    },
}
NEW: Object = {
    "apiVersion": V1BETA2,
    "kind": "Cluster",
    "metadata": {"name": "tokyo", "namespace": "fleet"},
    "spec": {
        "controlPlaneEndpoint": {"host": "x", "port": 443},
        "controlPlaneRef": {
            "apiGroup": "controlplane.cluster.x-k8s.io",
            "kind": CONTROL_PLANE.kind,
            "name": "tokyo",
        },
        "paused": True,
    },
    "status": {
        "phase": "Provisioned",
        "initialization": {"infrastructureProvisioned": True, "controlPlaneInitialized": True},
        "conditions": [{"type": "Available", "status": "Unknown"}],
        "deprecated": {
            "v1beta1": {
                "failureReason": "Bad",
                "failureMessage": "broken",
                "conditions": [{"type": "Ready", "status": "True"}],
            }
        },
    },
}


def test_a_cluster_converts_in_both_directions() -> None:
    """The two forms hold the same information."""
    assert convert_cluster(OLD, V1BETA2) == NEW
    assert convert_cluster(NEW, CLUSTER.api_version) == OLD
    assert convert_cluster(NEW, V1BETA2) is NEW


def test_an_empty_endpoint_of_v1beta1_is_absent_in_v1beta2() -> None:
    """And v1beta1 always shows one."""
    old = {**OLD, "spec": {"controlPlaneEndpoint": {"host": "", "port": 0}}}
    new = convert_cluster(old, V1BETA2)
    assert new["spec"] == {}
    assert convert_cluster(new, CLUSTER.api_version)["spec"] == old["spec"]


def test_a_false_of_v1beta1_removes_the_one_way_field() -> None:
    """A patch of controlPlaneReady to false is stored as the absence of the field."""
    world = load([NEW], now=NOW, conversions=CLUSTER_CONVERSIONS)
    body = {"status": {"controlPlaneReady": False}}
    request = Request(
        "patch", CLUSTER.api_version, "Cluster", "fleet", "tokyo", "status", body=body
    )
    world, response = serve(world, request)
    stored = world.get(CLUSTER_KEY)
    assert "controlPlaneReady" not in response.body["status"]
    assert stored is not None
    assert stored["status"]["initialization"] == {"infrastructureProvisioned": True}


def test_load_stores_clusters_in_the_version_of_the_webhook() -> None:
    """A Cluster given in v1beta1 is stored in v1beta2, and a version of neither is not served."""
    world = load([OLD], now=NOW, conversions=CLUSTER_CONVERSIONS)
    stored = world.get(CLUSTER_KEY)
    assert stored is not None
    assert identical(stored["status"], NEW["status"])
    unserved = Request("get", "cluster.x-k8s.io/v1alpha4", "Cluster", "fleet", "tokyo")
    assert serve(world, unserved)[1].status == 404


def test_a_write_without_effect_in_one_version_is_no_write_in_the_other() -> None:
    """The server compares in the storage version."""
    world = load([NEW], now=NOW, conversions=CLUSTER_CONVERSIONS)
    body = {"spec": {"controlPlaneEndpoint": {"host": "x"}}}
    request = Request("patch", CLUSTER.api_version, "Cluster", "fleet", "tokyo", body=body)
    after, response = serve(world, request)
    assert response.ok
    assert after.resource_version == world.resource_version


@pytest.mark.parametrize("version", CORE_VERSIONS)
def test_each_core_comes_to_rest(version: CoreVersion) -> None:
    """At any readiness of the control plane, in every order of its two fields."""
    core = Core(version)
    for status in (
        {"ready": True},
        {"initialized": True},
        {"ready": False},
        {"failureReason": "Bad", "failureMessage": "broken"},
        {"failureReason": None, "failureMessage": None},
        {"initialized": False},
    ):
        core.patch(CONTROL_PLANE, {"status": status})
        core.rest()


@pytest.mark.parametrize(
    ("version", "field"), [("1.8", "ready"), ("1.11", "ready"), ("1.13", "initialized")]
)
def test_each_core_reads_its_own_field(version: CoreVersion, field: str) -> None:
    """1.11 and 1.12 read ready, 1.13 and newer initialized; the other field does nothing."""
    core = Core(version)
    other = {"ready": "initialized", "initialized": "ready"}[field]
    core.patch(CONTROL_PLANE, {"status": {other: True}})
    core.rest()
    assert not core.cluster()["status"].get("controlPlaneReady")
    core.patch(CONTROL_PLANE, {"status": {field: True}})
    core.rest()
    assert core.cluster()["status"]["controlPlaneReady"] is True
    assert core.cluster()["spec"]["controlPlaneEndpoint"] == {"host": "x", "port": 443}


@pytest.mark.parametrize(("version", "after"), [("1.8", False), ("1.11", True), ("1.13", True)])
def test_a_withdrawn_readiness_is_withdrawn_by_the_oldest_core_alone(
    version: CoreVersion, *, after: bool
) -> None:
    """From 1.11 on the field is one-way."""
    core = Core(version, {"ready": True, "initialized": True})
    core.rest()
    core.patch(CONTROL_PLANE, {"status": {"ready": False, "initialized": False}})
    core.rest()
    assert core.cluster()["status"]["controlPlaneReady"] is after


def test_core_1_13_sets_the_one_way_field_again_while_initialized() -> None:
    """A writer that sets controlPlaneReady to false fights with core: each write has an effect."""
    core = Core("1.13", {"ready": False, "initialized": True})
    core.rest()
    for _ in range(3):
        core.patch(CLUSTER, {"status": {"controlPlaneReady": False}})
        assert core.turn() == 1
        assert core.cluster()["status"]["controlPlaneReady"] is True


def test_core_1_11_leaves_a_removed_field_while_the_control_plane_is_not_ready() -> None:
    """It reads ready: a withdrawn Ready ends the fight in favour of the other writer."""
    core = Core("1.11", {"ready": False, "initialized": True})
    core.rest()
    core.patch(CLUSTER, {"status": {"controlPlaneReady": False}})
    assert core.turn() == 0


@pytest.mark.parametrize("version", NEWER)
def test_newer_cores_write_v1beta2_references_and_conditions(version: CoreVersion) -> None:
    """The owner reference carries v1beta2; v1beta1 shows a v1beta2 status and the finalizer."""
    core = Core(version)
    core.rest()
    control_plane = core.objects.get(CONTROL_PLANE) or {}
    assert [each["apiVersion"] for each in control_plane["metadata"]["ownerReferences"]] == [
        V1BETA2
    ]
    cluster = core.cluster()
    assert cluster["metadata"]["finalizers"] == [CLUSTER_FINALIZER]
    assert [each["type"] for each in cluster["status"]["v1beta2"]["conditions"]] == [
        "ControlPlaneInitialized"
    ]


@pytest.mark.parametrize("version", CORE_VERSIONS)
def test_every_core_copies_failures_and_never_clears_them(version: CoreVersion) -> None:
    """The CAPTCluster controller clears them, in v1beta1."""
    core = Core(version, {"failureReason": "Bad", "failureMessage": "broken"})
    core.rest()
    core.patch(CONTROL_PLANE, {"status": {"failureReason": None, "failureMessage": None}})
    core.rest()
    assert core.cluster()["status"]["failureReason"] == "Bad"
    assert core.cluster()["status"]["failureMessage"].endswith(": broken")
    for request in CAPTClusters().turn(CLUSTER, core.objects, IDLE, now=NOW).requests:
        assert core.server.call(request).ok
    core.rest()
    assert {"failureReason", "failureMessage"} & core.cluster()["status"].keys() == set()
    assert core.cluster()["status"]["phase"] == "Provisioning"


@pytest.mark.parametrize("version", NEWER)
def test_newer_cores_copy_nothing_after_the_loss_of_an_initialized_control_plane(
    version: CoreVersion,
) -> None:
    """They retry."""
    core = Core(version, {"ready": True, "initialized": True})
    core.rest()
    ref = CONTROL_PLANE
    request = Request("delete", ref.api_version, ref.kind, ref.namespace, ref.name)
    assert core.server.call(request).ok
    assert core.turn() == 0
    turn = core.core.turn(core.key, core.objects, IDLE, now=NOW)
    assert turn.due == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("core", [*CORE_VERSIONS, None])
def test_a_control_plane_becomes_ready_next_to_each_core(core: CoreVersion | None) -> None:
    """Creation ends Ready, with the endpoint on the Cluster."""
    conversions = {} if core in (None, "1.8") else CLUSTER_CONVERSIONS
    world = load(stories.templates("fleet"), now=NOW, conversions=conversions)
    clock, server = VirtualClock(NOW), WorldServer(world)
    story = stories.creation_to_ready
    simulation = Simulation(server, clock, neighbours(REAL_PACE, core), story, TOKYO)
    simulation.attach(CaptepLoop(server, clock))
    simulation.run(NOW + timedelta(hours=1))
    assert simulation.is_over
