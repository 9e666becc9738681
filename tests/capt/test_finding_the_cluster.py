"""How the Cluster of a control plane is found: owner, controlPlaneRef, label, own name."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from captep_core import (
    Decision,
    ReconcileState,
    Selection,
    Unreadable,
    control_plane_ref,
    decide,
)
from captep_core.ports import Reads, as_read
from captep_memory import MemoryGateway, load
from captep_runtime import WriteHistory, run_pass
from tests.capt.driving import NOW, Run, look, run, writes_of
from tests.capt.worlds import (
    CLUSTER_API,
    FINALIZER,
    Names,
    Object,
    Objects,
    changed,
    cluster,
    find,
    new,
    owned,
    owner,
    plus,
    provided,
    ready,
    without,
)

CP = "CAPTControlPlane"
ALPHA = Names("alpha-cp", "alpha")
KEY = control_plane_ref("fleet", "alpha-cp")
LABEL = "cluster.x-k8s.io/cluster-name"
CLUSTER_OF_ALPHA = owner("Cluster", "alpha", api_version=CLUSTER_API)


def _orphan(objects: Objects, name: str = "alpha-cp") -> Objects:
    """The control plane without any owner reference, as a `replace` leaves it."""
    return plus(objects, owned(find(objects, CP, name)))


def _named(called: str, /, **to: Any) -> Object:  # noqa: ANN401 - fields of controlPlaneRef
    """A Cluster of another name whose controlPlaneRef names alpha-cp, but for `to`."""
    made = cluster(Names("alpha-cp", called))
    made["spec"]["controlPlaneRef"] = {**made["spec"]["controlPlaneRef"], **to}
    return made


def _secrets(done: Run) -> set[str]:
    return {obj["metadata"]["name"] for obj in done.objects if obj["kind"] == "Secret"}


def test_a_lost_owner_reference_is_restored_and_nothing_else_is_written() -> None:
    """The Cluster is found by its controlPlaneRef; no Secret appears under a wrong name."""
    objects = _orphan(ready(ALPHA))
    done = run(objects, key=KEY)
    assert [each.body for each in done.writes] == [
        {"metadata": {"ownerReferences": [CLUSTER_OF_ALPHA]}}
    ]
    assert done.last.verdict.reason == "Ready"
    assert _secrets(done) == {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Secret"}


def test_the_rotation_during_the_loss_goes_to_the_cluster_s_own_secret() -> None:
    """A new token that meets the loss is copied under the Cluster's name."""
    rotated = find(ready(ALPHA), "Secret", "alpha-outputs-kubeconfig")["data"]["kubeconfig"]
    objects = changed(
        _orphan(ready(ALPHA)), "Secret", "alpha-kubeconfig", {"data": {"value": "eA=="}}
    )
    done = run(objects, key=KEY)
    assert done.find("Secret", "alpha-kubeconfig")["data"]["value"] == rotated
    assert not done.has("Secret", "alpha-cp-kubeconfig")


@pytest.mark.parametrize("world", [new, provided], ids=["new", "provided"])
def test_a_new_control_plane_is_claimed_by_the_cluster_that_names_it(
    world: Callable[[Names], Objects],
) -> None:
    """ClusterClass gives the control plane a name of its own, and core may be slow to own it."""
    done = run(_orphan(world(ALPHA)), key=KEY)
    references = done.find(CP, "alpha-cp")["metadata"]["ownerReferences"]
    assert references == [CLUSTER_OF_ALPHA]
    assert done.last.verdict.reason == "Creating"
    assert done.last.verdict.message != "Waiting for owner cluster"
    assert not {each for each in _secrets(done) if each.startswith("alpha-cp-ca")}


def test_the_owner_reference_goes_before_a_cluster_that_names_us() -> None:
    """Both name alpha-cp; the control plane has chosen."""
    objects = plus(ready(ALPHA), _named("beta"))
    assert look(objects, key=KEY).actions == ()


NOT_OURS: dict[str, Object] = {
    "another name": _named("beta", name="other"),
    "another kind": _named("beta", kind="KubeadmControlPlane"),
    "another group": _named("beta", apiVersion="example.com/v1"),
    "another namespace": _named("beta", namespace="elsewhere"),
    "no reference": {**_named("beta"), "spec": {}},
}


@pytest.mark.parametrize("case", NOT_OURS)
def test_without_a_cluster_of_ours_nothing_is_created(case: str) -> None:
    """The control plane waits for its owner: even a Ready one creates no Secret."""
    bare = _orphan(ready(ALPHA))
    bare = without(without(bare, "Secret", "alpha-ca"), "Secret", "alpha-kubeconfig")
    objects = plus(without(bare, "Cluster", "alpha"), NOT_OURS[case])
    done = run(objects, key=KEY)
    assert done.last.verdict.reason == "Creating"
    assert done.last.verdict.message == "Waiting for owner cluster"
    assert not [each for each in writes_of(done.writes) if each.startswith(("create", "delete"))]
    assert {str(each.target) for each in done.writes} == {"CAPTControlPlane fleet/alpha-cp"}
    assert {each.subresource for each in done.writes} == {"status"}


def test_a_cluster_of_another_namespace_does_not_count() -> None:
    """A reference across namespaces is none of ours, whatever it names."""
    far = cluster(Names("alpha-cp", "alpha", "elsewhere"))
    far["spec"]["controlPlaneRef"]["namespace"] = "fleet"
    objects = plus(without(_orphan(new(ALPHA)), "Cluster", "alpha"), far)
    assert look(objects, key=KEY).verdict.message == "Waiting for owner cluster"


def test_the_label_chooses_between_two_clusters_that_name_us() -> None:
    """Without the label neither is chosen, and nothing is created."""
    objects = plus(_orphan(ready(ALPHA)), _named("beta"))
    undecided = run(objects, key=KEY)
    assert undecided.last.verdict.message == "Waiting for owner cluster"
    assert not [each for each in writes_of(undecided.writes) if each.startswith("create")]
    labelled = changed(objects, CP, "alpha-cp", {"metadata": {"labels": {LABEL: "alpha"}}})
    done = run(labelled, key=KEY)
    assert done.find(CP, "alpha-cp")["metadata"]["ownerReferences"] == [CLUSTER_OF_ALPHA]
    assert done.last.verdict.reason == "Ready"


def test_a_label_alone_makes_no_cluster_ours() -> None:
    """A Cluster that names another control plane, or none and has another name, stays free."""
    for to in ({"name": "other"}, None):
        objects = changed(
            _orphan(new(ALPHA)), "Cluster", "alpha", {"spec": {"controlPlaneRef": to}}
        )
        objects = changed(objects, CP, "alpha-cp", {"metadata": {"labels": {LABEL: "alpha"}}})
        done = run(objects, key=KEY)
        assert not [each for each in writes_of(done.writes) if each.startswith("create")]
        assert done.find("Cluster", "alpha") == find(objects, "Cluster", "alpha")


@pytest.mark.parametrize("to", [None, {"name": "tokyo"}], ids=["empty", "points here"])
def test_a_cluster_of_our_own_name_is_ours_unless_it_points_elsewhere(to: Object | None) -> None:
    """The Go controller found every Cluster in this way."""
    objects = changed(new(), "Cluster", "tokyo", {"spec": {"controlPlaneRef": to}})
    done = run(objects)
    assert done.last.verdict.message == "Control plane is being created"
    assert FINALIZER in done.find(CP, "tokyo")["metadata"]["finalizers"]


def test_a_cluster_that_is_gone_leaves_the_name_that_the_owner_reference_has() -> None:
    """Existing Secrets of that name keep their rotation; a missing one is not created."""
    objects = without(ready(ALPHA), "Cluster", "alpha")
    objects = without(objects, "Secret", "alpha-ca")
    objects = changed(objects, "Secret", "alpha-kubeconfig", {"data": {"value": "eA=="}})
    done = run(objects, key=KEY)
    assert not [each for each in writes_of(done.writes) if each.startswith("create")]
    wanted = find(ready(ALPHA), "Secret", "alpha-kubeconfig")["data"]
    assert done.find("Secret", "alpha-kubeconfig")["data"] == wanted


def _blind(objects: Objects) -> Decision[Any]:
    """Decide on a server on which lists of Clusters fail."""

    def failing(selection: Selection) -> Unreadable:
        assert (selection.kind, selection.namespace) == ("Cluster", "fleet")
        return Unreadable("Forbidden")

    gateway = MemoryGateway(load(objects, now=NOW))
    return decide(KEY, Reads(gateway.get, failing), ReconcileState(), now=NOW)


def test_a_list_that_fails_is_unreadable_and_never_empty() -> None:
    """An unreadable list is no proof that no Cluster names us: nothing is written."""
    decision = _blind(_orphan(ready(ALPHA)))
    assert decision.verdict.reason == "ClusterUnreadable"
    assert "Forbidden" in decision.verdict.message
    assert [each for each in writes_of(decision.actions) if not each.startswith("event")] == []


@pytest.mark.parametrize("label", [True, False])
def test_a_gateway_that_reads_by_name_alone_finds_the_label_and_the_own_name(
    *, label: bool
) -> None:
    """Such a gateway does not know who else names us."""
    names = ALPHA if label else Names("tokyo", "tokyo")
    objects = _orphan(ready(names), names.control_plane)
    labels = {"labels": {LABEL: "alpha"}} if label else {}
    objects = changed(objects, CP, names.control_plane, {"metadata": labels})
    gateway = MemoryGateway(load(objects, now=NOW))
    key = control_plane_ref("fleet", names.control_plane)
    decision = decide(key, as_read(gateway.get), ReconcileState(), now=NOW)
    assert decision.verdict.reason == "Ready"
    assert writes_of(decision.actions) == [f"patch CAPTControlPlane fleet/{names.control_plane}"]


def test_a_malformed_cluster_may_name_us_too() -> None:
    """It is unreadable, so nothing is written, unless a sound one names us."""
    malformed: Object = {**cluster(Names("alpha-cp", "beta")), "spec": {"controlPlaneRef": 3}}
    decision = look(plus(without(_orphan(ready(ALPHA)), "Cluster", "alpha"), malformed), key=KEY)
    assert decision.verdict.reason == "ClusterUnreadable"
    assert [each for each in writes_of(decision.actions) if not each.startswith("event")] == []
    sound = look(plus(_orphan(ready(ALPHA)), malformed), key=KEY)
    assert writes_of(sound.actions) == ["patch CAPTControlPlane fleet/alpha-cp"]


def test_a_malformed_cluster_that_names_another_is_none_of_ours() -> None:
    """Its name of another control plane can be read, so the Cluster of our name is not in doubt."""
    malformed: Object = _named("beta", name="beta-cp", kind=3)
    objects = without(_orphan(ready(ALPHA)), "Cluster", "alpha")
    with_it, alone = look(plus(objects, malformed), key=KEY), look(objects, key=KEY)
    assert with_it == alone
    assert with_it.verdict.reason != "ClusterUnreadable"
    unnamed = look(plus(objects, _named("beta", name="", kind=3)), key=KEY)
    assert unnamed.verdict.reason == "ClusterUnreadable"


def test_a_list_is_not_needed_where_the_owner_reference_leads_to_the_cluster() -> None:
    """A role without `list` on Clusters serves every control plane that has its owner."""
    decision = _blind(ready(ALPHA))
    assert (decision.verdict.reason, decision.actions) == ("Ready", ())


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_an_owner_reference_that_is_lost_between_passes_makes_no_wrong_secret(passes: int) -> None:
    """GitOps replaces the object at any moment, again and again."""
    gateway = MemoryGateway(load(ready(ALPHA), now=NOW))
    state, history = ReconcileState(), WriteHistory()
    for _ in range(passes):
        live = [dict(obj) for obj in gateway.world.objects() if obj["kind"] != "Event"]
        gateway = MemoryGateway(load(_orphan(live), now=NOW))
        done = run_pass(partial(decide), gateway, KEY, state, now=NOW, history=history)
        state, history = done.state, done.history
    names = {obj["metadata"]["name"] for obj in gateway.world.objects() if obj["kind"] == "Secret"}
    assert not {"alpha-cp-ca", "alpha-cp-kubeconfig", "alpha-cp-outputs-kubeconfig"} & names
