"""A Cluster belongs to the one control plane that its controlPlaneRef names."""

from collections.abc import Iterator, Mapping
from itertools import groupby, permutations
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_core import (
    FINALIZER,
    Failed,
    ObjectRef,
    Policy,
    ReconcileState,
    RecordEvent,
    control_plane_ref,
    decide,
)
from captep_memory import MemoryGateway, load
from captep_runtime import WriteHistory, run_pass
from tests.capt.driving import NOW, look, run, writes_of
from tests.capt.worlds import (
    CLUSTER_API,
    Names,
    Object,
    Objects,
    apply,
    changed,
    deleting,
    find,
    new,
    owned,
    owner,
    plus,
    provided,
    ready,
    template,
    without,
)
from tests.properties.profile import examples, reaches

KYOTO = control_plane_ref("fleet", "kyoto")
TOKYO = control_plane_ref("fleet", "tokyo")
CP, APPLY = "CAPTControlPlane", "WorkspaceTemplateApply"


def _copied(objects: Objects, *, status: bool = False) -> Objects:
    """Somebody copies the manifest of tokyo to kyoto: same owner, finalizer and spec."""
    original = find(objects, CP, "tokyo")
    copy = {
        **original,
        "metadata": {**original["metadata"], "name": "kyoto", "uid": "uid-of-kyoto"},
    }
    if not status:
        copy.pop("status", None)
    return plus(objects, copy)


WORLDS = {"new": new, "provided": provided, "ready": ready}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("status", [False, True], ids=["manifest", "backup"])
def test_a_copied_control_plane_writes_nothing_but_its_own_status(world: str, status: bool) -> None:
    """Failed, ClusterBelongsToAnother, 10 s; the Cluster and all dependents stay as they are."""
    objects = _copied(_claimed(WORLDS[world]()), status=status)
    done = run(objects, key=KYOTO)
    assert isinstance(done.last.verdict, Failed)
    assert done.last.verdict.reason == "ClusterBelongsToAnother"
    assert "tokyo" in done.last.verdict.message
    assert done.last.requeue_after == Policy().failing
    assert set(writes_of(done.writes)) == {"patch CAPTControlPlane fleet/kyoto/status"}
    assert [(each.target, each.type, each.reason) for each in done.events] == [
        (KYOTO, "Warning", "ClusterBelongsToAnother")
    ]
    assert len(done.objects) == len(objects)
    for obj in objects:
        if obj["metadata"]["name"] != "kyoto":
            assert done.find(obj["kind"], obj["metadata"]["name"]) == obj
    reported = done.find(CP, "kyoto")["status"]
    assert (bool(reported["ready"]), reported["phase"]) == (False, "Failed")


def _claimed(objects: Objects) -> Objects:
    """tokyo has its finalizer and its owner, whatever else is missing."""
    cp = owned(find(objects, CP, "tokyo"), owner("Cluster", "tokyo", api_version=CLUSTER_API))
    cp["metadata"]["finalizers"] = [FINALIZER]
    return plus(objects, cp)


@pytest.mark.parametrize("world", WORLDS)
def test_the_rightful_control_plane_goes_on_as_if_alone(world: str) -> None:
    """The copy changes no decision of the control plane that the Cluster names."""
    objects = _claimed(WORLDS[world]())
    assert look(_copied(objects), key=TOKYO) == look(objects, key=TOKYO)


REFERENCES: list[tuple[str, Mapping[str, Any] | None, bool]] = [
    ("its own", {}, True),
    ("another name", {"name": "osaka"}, False),
    ("another group", {"apiVersion": "example.com/v1"}, False),
    ("another kind", {"kind": "KubeadmControlPlane"}, False),
    ("another namespace", {"namespace": "elsewhere"}, False),
    ("no namespace", {"namespace": None}, True),
    ("another version", {"apiVersion": "controlplane.cluster.x-k8s.io/v1beta2"}, True),
    (
        "the group of contract v1beta2",
        {"apiVersion": None, "apiGroup": "controlplane.cluster.x-k8s.io", "namespace": None},
        True,
    ),
    ("another group of v1beta2", {"apiVersion": None, "apiGroup": "example.com"}, False),
    ("the uid of an earlier incarnation", {"uid": "uid-before-the-restore"}, True),
    ("the kind of the template in ClusterClass", {"kind": "CaptControlPlane"}, True),
    ("none", None, True),
]


@pytest.mark.parametrize(
    ("case", "to", "is_ours"), REFERENCES, ids=[each[0] for each in REFERENCES]
)
def test_a_cluster_is_judged_by_group_kind_namespace_and_name(
    case: str, to: Mapping[str, Any] | None, is_ours: bool
) -> None:
    """The owner reference has the right uid in each case, and that alone decides nothing."""
    reference = None if to is None else dict(to)
    objects = changed(ready(), "Cluster", "tokyo", {"spec": {"controlPlaneRef": reference}})
    decision = look(objects)
    if is_ours:
        assert (decision.verdict.reason, decision.actions) == ("Ready", ())
    else:
        assert isinstance(decision.verdict, Failed)
        assert decision.verdict.reason == "ClusterBelongsToAnother"
        assert decision.requeue_after == Policy().failing


def test_a_cluster_without_a_reference_belongs_to_the_control_plane_of_its_name() -> None:
    """The owner reference of another control plane does not make it that one's Cluster."""
    objects = changed(_copied(ready()), "Cluster", "tokyo", {"spec": {"controlPlaneRef": None}})
    assert look(objects, key=TOKYO).verdict.reason == "Ready"
    assert look(objects, key=KYOTO).verdict.reason == "ClusterBelongsToAnother"


@pytest.mark.parametrize("initialized", [True, False])
def test_a_control_plane_that_lost_its_cluster_keeps_its_hands_off(initialized: bool) -> None:
    """The Cluster names another one from now on: even a rotated token is not copied."""
    objects = changed(ready(), "Cluster", "tokyo", {"spec": {"controlPlaneRef": {"name": "kyoto"}}})
    status = {"status": {"initialized": initialized}}
    objects = changed(objects, CP, "tokyo", status)
    objects = without(objects, "Secret", "tokyo-kubeconfig")
    objects = changed(objects, "Secret", "tokyo-ca", {"data": {"tls.crt": "eA=="}})
    done = run(objects)
    assert done.last.verdict.reason == "ClusterBelongsToAnother"
    assert set(writes_of(done.writes)) == {"patch CAPTControlPlane fleet/tokyo/status"}
    assert done.find("Secret", "tokyo-ca") == find(objects, "Secret", "tokyo-ca")


def test_the_deletion_of_a_copy_touches_nothing_of_the_rightful_one() -> None:
    """Neither the Cluster's endpoint nor an apply goes: the copy is released at once."""
    objects = deleting(_copied(ready(), status=True), CP, "kyoto", FINALIZER)
    done = run(objects, key=KYOTO)
    assert writes_of(done.writes) == ["patch CAPTControlPlane fleet/kyoto"]
    assert not done.has(CP, "kyoto")
    for obj in ready():
        assert done.find(obj["kind"], obj["metadata"]["name"]) == obj


def test_the_deletion_of_a_copy_still_removes_what_it_controls() -> None:
    """An apply that the copy controls by uid is deleted, and its Workspace awaited."""
    mine = owned(
        apply("kyoto-eks-controlplane-apply", {}),
        owner("CAPTControlPlane", "kyoto", of="uid-of-kyoto"),
    )
    objects = plus(_copied(ready()), mine)
    objects = changed(
        objects, CP, "kyoto", {"spec": {"workspaceTemplateApplyName": mine["metadata"]["name"]}}
    )
    done = run(deleting(objects, CP, "kyoto", FINALIZER), key=KYOTO)
    assert f"delete {APPLY} fleet/kyoto-eks-controlplane-apply" in writes_of(done.writes)
    assert "patch Cluster fleet/tokyo" not in writes_of(done.writes)
    assert done.last.verdict.reason == "Gone"


Writes: TypeAlias = list[tuple[ObjectRef, ObjectRef]]
"""The control plane that wrote, and the object, of each effective write."""

# What follows drives two control planes over one server, in turns.

_REFS: list[Object | None] = [
    None,
    *(
        {
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta1",
            "kind": CP,
            "name": name,
            "namespace": "fleet",
        }
        for name in ("tokyo", "kyoto", "osaka")
    ),
]


def _cluster_owner(name: str, of: str = "") -> Object:
    return owner("Cluster", name, api_version=CLUSTER_API, of=of)


_OWNERS: list[list[Object]] = [
    [],
    [_cluster_owner("tokyo")],
    [_cluster_owner("kyoto")],
    [_cluster_owner("tokyo", of="uid-of-an-earlier-cluster")],
    [{**_cluster_owner("tokyo"), "controller": False}],
]
_LABELS: list[Mapping[str, str] | None] = [
    None,
    {"cluster.x-k8s.io/cluster-name": "tokyo"},
    {"cluster.x-k8s.io/cluster-name": "kyoto"},
]
_APPLY_NAMES = ["", "shared-apply", "tokyo-eks-controlplane-apply", "tokyo-kubeconfig-apply"]


@st.composite
def _pairs(draw: st.DrawFn) -> Objects:
    """Two control planes with one or two Clusters, any references between them."""
    world = draw(st.sampled_from([new, provided, ready]))
    objects = world()
    has_two = draw(st.booleans())
    if has_two:
        objects = plus(objects, *world(Names("kyoto", "kyoto")))
    else:
        status = draw(st.booleans())
        objects = _copied(_claimed(objects), status=status)
    objects = plus(objects, template())
    for name in ("tokyo", "kyoto"):
        is_there = (name == "tokyo") or has_two
        if is_there and draw(st.booleans()):
            to = draw(st.sampled_from(_REFS))
            objects = changed(objects, "Cluster", name, {"spec": {"controlPlaneRef": to}})
        if draw(st.booleans()):
            cp = owned(find(objects, CP, name), *draw(st.sampled_from(_OWNERS)))
            objects = plus(objects, cp)
        patch: Object = {"metadata": {"labels": draw(st.sampled_from(_LABELS))}}
        if draw(st.booleans()):
            patch["spec"] = {"workspaceTemplateApplyName": draw(st.sampled_from(_APPLY_NAMES))}
        objects = changed(objects, CP, name, patch)
        if draw(st.sampled_from([False, False, False, True])):
            objects = deleting(objects, CP, name, FINALIZER)
    return objects


def _turns(objects: Objects, order: tuple[ObjectRef, ...]) -> tuple[bool, Writes]:
    """Run both in turns; return whether they came to rest, and each effective write."""
    gateway = MemoryGateway(load(objects, now=NOW))
    states = dict.fromkeys(order, ReconcileState())
    histories = dict.fromkeys(order, WriteHistory())
    written: Writes = []
    for _ in range(20):
        quiet = True
        for key in order:
            done = run_pass(decide, gateway, key, states[key], now=NOW, history=histories[key])
            states[key] = done.state
            histories[key] = done.history
            quiet = quiet and not done.changed
            written += [
                (key, action.target)
                for action, answer in done.sent
                if answer.changed and not isinstance(action, RecordEvent)
            ]
        if quiet:
            return True, written
    return False, written


def _in_turn(written: Writes) -> Iterator[str]:
    """Yield the objects that the two write in turn, and each Cluster that both write.

    Another object may change hands once: one control plane deletes its apply, and the other one
    creates its own under the same name.
    """
    for target in {target for _, target in written}:
        turns = [key for key, _ in groupby(key for key, each in written if each == target)]
        if len(turns) > 2 or (len(turns) > 1 and target.kind == "Cluster"):
            yield f"{target} is written by {' then '.join(map(str, turns))}"


@examples(150)
@given(_pairs())
def test_no_pair_of_control_planes_writes_one_object_in_turn(objects: Objects) -> None:
    """In either order both come to rest, and no object goes back and forth."""
    for order in permutations((TOKYO, KYOTO)):
        rests, written = _turns(objects, order)
        assert rests, written[-8:]
        assert not list(_in_turn(written))


def _verdicts(objects: Objects) -> set[str]:
    return {look(objects, key=key).verdict.reason for key in (TOKYO, KYOTO)}


def test_the_pairs_contain_control_planes_without_their_cluster() -> None:
    """The property is not about pairs that never meet."""
    reaches(_pairs(), lambda objects: "ClusterBelongsToAnother" in _verdicts(objects))


def test_the_pairs_contain_two_that_write() -> None:
    """The property is not about pairs of which one is always idle."""
    reaches(
        _pairs(), lambda objects: len({key for key, _ in _turns(objects, (TOKYO, KYOTO))[1]}) == 2
    )


@examples(60)
@given(_pairs(), st.sampled_from(_REFS))
def test_a_cluster_that_changes_hands_changes_them_once(
    objects: Objects, to: Object | None
) -> None:
    """After a new controlPlaneRef the objects have one writer again."""
    clusters = [each["metadata"]["name"] for each in objects if each["kind"] == "Cluster"]
    gateway = MemoryGateway(load(objects, now=NOW))
    for key in (TOKYO, KYOTO):
        run_pass(decide, gateway, key, ReconcileState(), now=NOW, history=WriteHistory())
    live = [dict(obj) for obj in gateway.world.objects() if obj["kind"] != "Event"]
    moved = changed(live, "Cluster", clusters[0], {"spec": {"controlPlaneRef": to}})
    rests, written = _turns(moved, (KYOTO, TOKYO))
    assert rests
    assert not list(_in_turn(written))
