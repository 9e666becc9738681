"""The controllers of applies, Cluster API and CAPTCluster, and the order of turns."""

from datetime import datetime, timedelta

from captep_core import ObjectRef, control_plane_ref
from captep_memory import Object, Request, Response, load
from captep_world import (
    APPLY_FINALIZER,
    CLUSTER_FINALIZER,
    IDLE,
    CAPTClusters,
    ClusterAPI,
    Memory,
    Neighbour,
    Neighbourhood,
    Objects,
    Pace,
    Terraform,
    Turn,
    WorkspaceTemplateApplies,
    WorldServer,
    changed_ref,
    stories,
)
from tests.memory.support import NOW, Free

INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
APPLY = ObjectRef(INFRASTRUCTURE, "WorkspaceTemplateApply", "fleet", "tokyo-eks-controlplane-apply")
WORKSPACE = ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, "tokyo-eks-controlplane")
CLUSTER = ObjectRef("cluster.x-k8s.io/v1beta1", "Cluster", "fleet", "tokyo")
CONTROL_PLANE = control_plane_ref("fleet", "tokyo")


def obj(ref: ObjectRef, **parts: Free) -> Object:
    """Return an object; `metadata` is laid over its name."""
    place = {"name": ref.name} | ({"namespace": ref.namespace} if ref.namespace else {})
    return {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        **parts,
        "metadata": {**place, **parts.get("metadata", {})},
    }


def apply(**spec: Free) -> Object:
    """Return the main apply as captep creates it."""
    to = {"name": "tokyo-eks-connection", "namespace": "fleet"}
    given = {
        "templateRef": {"name": "eks", "namespace": "fleet"},
        "variables": {"cluster_name": "tokyo"},
        "writeConnectionSecretToRef": to,
    }
    return obj(APPLY, spec=given | spec)


class Stage:
    """A server, one neighbour and one key."""

    def __init__(self, neighbour: Neighbour, key: ObjectRef, *objects: Object) -> None:
        self.server = WorldServer(load([*stories.templates("fleet"), *objects], now=NOW))
        self.objects, self.neighbour, self.key = Objects(self.server.call), neighbour, key
        self.memory: Memory = IDLE

    def turn(self, *, now: datetime = NOW) -> Turn:
        """Take a turn; all its requests must go through."""
        turn = self.neighbour.turn(self.key, self.objects, self.memory, now=now)
        for request in turn.requests:
            assert self.server.call(request).ok
        self.memory = turn.memory
        return turn

    def status(self, ref: ObjectRef | None = None) -> Object:
        """Return the status of an object."""
        found: Object = (self.objects.get(ref or self.key) or {}).get("status", {})
        return found

    def patch(self, ref: ObjectRef, body: Object, subresource: str | None = None) -> None:
        """StoreChange an object."""
        assert self.server.call(
            Request(
                "patch", ref.api_version, ref.kind, ref.namespace, ref.name, subresource, body=body
            )
        ).ok


def applies(*objects: Object) -> Stage:
    """Return a stage with the controller of applies."""
    return Stage(WorkspaceTemplateApplies(Pace()), APPLY, *objects)


def test_an_apply_becomes_a_workspace_once() -> None:
    """Finalizer first; then the Workspace, filled, and applied=true in one status write."""
    stage = applies(apply())
    assert [request.verb for request in stage.turn().requests] == ["patch"]
    assert (stage.objects.get(APPLY) or {})["metadata"]["finalizers"] == [APPLY_FINALIZER]
    assert [request.verb for request in stage.turn().requests] == ["create", "patch"]
    workspace = stage.objects.get(WORKSPACE) or {}
    assert {"key": "cluster_name", "value": "tokyo"} in workspace["spec"]["forProvider"]["vars"]
    assert workspace["spec"]["writeConnectionSecretToRef"] == {
        "name": "tokyo-eks-connection",
        "namespace": "fleet",
    }
    applied = {
        "applied": True,
        "workspaceName": "tokyo-eks-controlplane",
        "lastAppliedTime": "2026-01-02T03:04:05Z",
    }
    assert stage.status() == applied


def test_the_mirror_freezes_at_ready() -> None:
    """It polls every 10 s until Synced and Ready are True, and never again after that."""
    stage = applies(apply())
    stage.turn()
    stage.turn()
    assert stage.turn() == Turn(due=NOW + timedelta(seconds=10))
    shown = [
        {
            "type": kind,
            "status": "True",
            "reason": "Fine",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
        for kind in ("Synced", "Ready")
    ]
    stage.patch(WORKSPACE, {"status": {"conditions": shown}}, "status")
    assert stage.turn().due is None
    assert stage.status()["conditions"] == shown


def test_a_template_without_a_namespace_is_never_found() -> None:
    """The wait doubles."""
    stage = applies(apply(templateRef={"name": "eks"}))
    stage.turn()
    assert [stage.turn().due for _ in range(3)] == [
        NOW + timedelta(seconds=wait) for wait in (1, 2, 4)
    ]
    assert stage.objects.get(WORKSPACE) is None


def test_an_apply_waits_for_the_workspaces_it_names() -> None:
    """Every 30 s, until they are Ready."""
    vpc = ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, "tokyo-vpc")
    stage = applies(
        apply(waitForWorkspaces=[{"name": "tokyo-vpc", "namespace": "fleet"}]), obj(vpc, spec={})
    )
    stage.turn()
    assert stage.turn() == Turn(due=NOW + timedelta(seconds=30))
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Available",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    stage.patch(vpc, {"status": {"conditions": [ready]}}, "status")
    assert [request.verb for request in stage.turn().requests] == ["create", "patch"]


def test_a_deleted_apply_waits_for_its_workspace_unless_it_is_retained() -> None:
    """It deletes the Workspace once, looks every 10 s, and lets go when it is gone."""
    for retain in (False, True):
        stage = applies(apply(retainWorkspaceOnDelete=retain))
        stage.turn()
        stage.turn()
        stage.patch(WORKSPACE, {"metadata": {"finalizers": ["example.dev/held"]}})
        assert stage.server.call(
            Request("delete", APPLY.api_version, APPLY.kind, "fleet", APPLY.name)
        ).ok
        first = stage.turn()
        assert [request.verb for request in first.requests] == (["patch"] if retain else ["delete"])
        assert (stage.objects.get(APPLY) is None) is retain
        if not retain:
            assert stage.turn() == Turn(due=NOW + timedelta(seconds=10))
            stage.patch(WORKSPACE, {"metadata": {"finalizers": None}})
            stage.turn()
            assert stage.objects.get(APPLY) is None


def pair(status: Object | None = None, **cluster_status: Free) -> tuple[Object, Object]:
    """Return a Cluster with its finalizer, and its control plane."""
    ref = {
        "apiVersion": CONTROL_PLANE.api_version,
        "kind": CONTROL_PLANE.kind,
        "name": "tokyo",
        "namespace": "fleet",
    }
    cluster = obj(
        CLUSTER,
        spec={"controlPlaneRef": ref},
        status=cluster_status,
        metadata={"finalizers": [CLUSTER_FINALIZER]},
    )
    spec = {"version": "1.33", "controlPlaneEndpoint": {"host": "x", "port": 443}}
    return cluster, obj(CONTROL_PLANE, spec=spec, status=status or {})


def test_cluster_api_owns_the_control_plane() -> None:
    """By a controller reference and its label, once."""
    stage = Stage(ClusterAPI(), CLUSTER, *pair())
    stage.turn()
    metadata = (stage.objects.get(CONTROL_PLANE) or {})["metadata"]
    uid = (stage.objects.get(CLUSTER) or {})["metadata"]["uid"]
    owner = {
        "apiVersion": CLUSTER.api_version,
        "kind": "Cluster",
        "name": "tokyo",
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert (metadata["ownerReferences"], metadata["labels"]) == (
        [owner],
        {"cluster.x-k8s.io/cluster-name": "tokyo"},
    )
    assert stage.turn().requests == ()


def test_cluster_api_copies_readiness_and_the_endpoint_and_latches_initialized() -> None:
    """The endpoint only once ready and while the Cluster has none; initialized never goes back."""
    stage = Stage(ClusterAPI(), CLUSTER, *pair())
    stage.turn()
    assert (stage.status()["controlPlaneReady"], stage.status()["phase"]) == (False, "Provisioning")
    assert "controlPlaneEndpoint" not in (stage.objects.get(CLUSTER) or {})["spec"]
    stage.patch(CONTROL_PLANE, {"status": {"ready": True, "initialized": True}}, "status")
    stage.turn()
    stage.turn()
    assert (stage.objects.get(CLUSTER) or {})["spec"]["controlPlaneEndpoint"] == {
        "host": "x",
        "port": 443,
    }
    assert (stage.status()["controlPlaneReady"], stage.status()["phase"]) == (True, "Provisioned")
    stage.patch(
        CONTROL_PLANE, {"status": {"ready": False, "initialized": False}, "spec": {}}, "status"
    )
    stage.turn()
    assert stage.status()["controlPlaneReady"] is False
    assert [(entry["type"], entry["status"]) for entry in stage.status()["conditions"]] == [
        ("ControlPlaneInitialized", "True")
    ]


def test_cluster_api_copies_a_failure_with_a_prefix_and_never_clears_it() -> None:
    """CAPTCluster does."""
    stage = Stage(
        ClusterAPI(), CLUSTER, *pair({"failureReason": "Bad", "failureMessage": "broken"})
    )
    stage.turn()
    message = (
        "Failure detected from referenced resource controlplane.cluster.x-k8s.io/v1beta1, "
        'Kind=CAPTControlPlane with name "tokyo": broken'
    )
    assert (
        stage.status()["failureReason"],
        stage.status()["failureMessage"],
        stage.status()["phase"],
    ) == ("Bad", message, "Failed")
    stage.patch(
        CONTROL_PLANE, {"status": {"failureReason": None, "failureMessage": None}}, "status"
    )
    assert stage.turn().requests == ()
    stage.neighbour = CAPTClusters()
    stage.turn()
    assert {"failureReason", "failureMessage"} & stage.status().keys() == set()
    assert stage.turn().requests == ()


def test_cluster_api_does_nothing_while_paused() -> None:
    """Neither by the field nor by the annotation."""
    cluster, control_plane = pair()
    for paused in (
        {"spec": {**cluster["spec"], "paused": True}},
        {"metadata": {**cluster["metadata"], "annotations": {"cluster.x-k8s.io/paused": ""}}},
    ):
        assert Stage(ClusterAPI(), CLUSTER, {**cluster, **paused}, control_plane).turn() == Turn()


def test_a_deleted_cluster_deletes_its_control_plane_and_waits_for_it() -> None:
    """Its finalizer goes when the control plane is gone."""
    stage = Stage(ClusterAPI(), CLUSTER, *pair())
    stage.patch(CONTROL_PLANE, {"metadata": {"finalizers": ["example.dev/held"]}})
    assert stage.server.call(Request("delete", CLUSTER.api_version, "Cluster", "fleet", "tokyo")).ok
    assert [request.kind for request in stage.turn().requests] == ["CAPTControlPlane"]
    assert stage.turn().requests == ()
    stage.patch(CONTROL_PLANE, {"metadata": {"finalizers": None}})
    stage.turn()
    assert stage.objects.get(CLUSTER) is None


def test_terraform_works_on_one_workspace_at_a_time() -> None:
    """The second is not even touched before the first is Ready."""
    pace = Pace(small_apply=(60, 60), look=(5, 5), poll=(600, 600))
    names = ("a", "b")
    workspaces = [
        obj(
            ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, name),
            spec={"forProvider": {"module": ""}},
        )
        for name in names
    ]
    server = WorldServer(load(workspaces, now=NOW))
    neighbourhood = Neighbourhood(server.call, [Terraform(pace)])
    for workspace in server.world.objects():
        ref = ObjectRef(workspace["apiVersion"], "Workspace", None, workspace["metadata"]["name"])
        neighbourhood.notice(ref, workspace, now=NOW)
    seen: list[tuple[float, str]] = []
    now = NOW
    while (due := neighbourhood.next_due()) is not None and due < NOW + timedelta(seconds=200):
        now = max(now, due)
        server.at(now)
        neighbourhood.run_one(now)
        for change in server.take_changes():
            seen.append(((now - NOW).total_seconds(), change.key.name))
            neighbourhood.notice(changed_ref(change), change.object, now=now)
    assert [name for _, name in seen] == sorted(name for _, name in seen)
    assert (
        next(at for at, name in seen if name == "b")
        == [at for at, name in seen if name == "a"][-1]
        == 65.0
    )


def test_a_refused_turn_starts_again() -> None:
    """A second later, with the memory as it was."""
    stage = applies(apply())
    refuse = True

    def call(request: Request) -> Response:
        refused = Request("get", "v1", "Secret", "fleet", "none")
        return stage.server.call(refused if refuse and request.verb == "patch" else request)

    neighbourhood = Neighbourhood(call, [stage.neighbour])
    neighbourhood.notice(APPLY, {}, now=NOW)
    assert neighbourhood.run_one(NOW)
    assert neighbourhood.next_due() == NOW + timedelta(seconds=1)
    refuse = False
    assert neighbourhood.run_one(NOW + timedelta(seconds=1))
    assert (stage.objects.get(APPLY) or {})["metadata"]["finalizers"] == [APPLY_FINALIZER]
