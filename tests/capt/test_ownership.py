"""Ownership: the Cluster by uid and by reference, dependents by their controller."""

import pytest

from captep_core import Patch, Policy, Preconditions, control_plane_ref
from tests.capt.driving import KEY, look, ref, run, writes_of
from tests.capt.worlds import (
    FINALIZER,
    ROTATED,
    Names,
    Object,
    base64_of,
    changed,
    cluster,
    conditions,
    created,
    deleting,
    find,
    new,
    owned,
    owner,
    plus,
    provided,
    ready,
    ready_status,
    without,
)

CLUSTER_API = "cluster.x-k8s.io/v1beta1"
APPLY = "WorkspaceTemplateApply"
DEPENDENTS = [
    (APPLY, "tokyo-eks-controlplane-apply", "WorkspaceTemplateApplyFailed"),
    (APPLY, "tokyo-spot-role-check", "SpotServiceLinkedRoleFailed"),
    (APPLY, "tokyo-kubeconfig-apply", "KubeconfigGenerationFailed"),
    ("Secret", "tokyo-ca", "SecretReconciliationFailed"),
    ("Secret", "tokyo-kubeconfig", "SecretReconciliationFailed"),
]


def _owner_of_cp(
    *, name: str = "tokyo", of: str = "", api_version: str = CLUSTER_API, controller: bool = True
) -> Object:
    return owner("Cluster", name, api_version=api_version, of=of, controller=controller)


def _owned_by(*references: Object) -> list[Object]:
    return plus(ready(), owned(find(ready(), "CAPTControlPlane", "tokyo"), *references))


def test_a_new_control_plane_is_claimed_in_one_write() -> None:
    """Finalizer, owner reference and apply name are one patch before all other writes."""
    first = look(new()).actions[0]
    assert first == Patch(
        KEY,
        {
            "metadata": {"finalizers": [FINALIZER], "ownerReferences": [_owner_of_cp()]},
            "spec": {"workspaceTemplateApplyName": "tokyo-eks-controlplane-apply"},
        },
        Preconditions("uid-of-captcontrolplane-tokyo", "100"),
        "add the finalizer, refer to Cluster tokyo as the owner, name the WorkspaceTemplateApply",
    )


def test_foreign_finalizers_and_references_stay() -> None:
    """Lists that others write to keep their entries, with all their fields."""
    foreign = owner("Team", "red", api_version="example.com/v1", controller=False)
    objects = plus(new(), owned(find(new(), "CAPTControlPlane", "tokyo"), foreign))
    objects = changed(
        objects, "CAPTControlPlane", "tokyo", {"metadata": {"finalizers": ["example.com/a"]}}
    )
    body = look(objects).actions[0].body
    assert body == {
        "metadata": {
            "finalizers": ["example.com/a", FINALIZER],
            "ownerReferences": [foreign, _owner_of_cp()],
        },
        "spec": {"workspaceTemplateApplyName": "tokyo-eks-controlplane-apply"},
    }


@pytest.mark.parametrize("names", [Names("tokyo-x7k2p", "tokyo"), Names("a", "b", "elsewhere")])
def test_a_cluster_of_another_name_is_found_by_the_owner_reference(names: Names) -> None:
    """Secrets carry the Cluster's name, applies ours, as ClusterClass needs it."""
    objects = ready(names)
    key = control_plane_ref(names.namespace, names.control_plane)
    decision = look(objects, key=key)
    assert (decision.verdict.reason, decision.actions) == ("Ready", ())
    for name in (f"{names.cluster}-ca", f"{names.cluster}-kubeconfig"):
        assert (
            run(without(objects, "Secret", name), key=key).find("Secret", name)["data"]
            == find(objects, "Secret", name)["data"]
        )


def test_an_owner_reference_alone_claims_no_cluster() -> None:
    """Cluster API sets both; a Cluster without controlPlaneRef is that of the control plane of its
    name.
    """
    names = Names("tokyo-x7k2p", "tokyo")
    objects = changed(new(names), "Cluster", "tokyo", {"spec": {"controlPlaneRef": None}})
    objects = plus(objects, owned(find(objects, "CAPTControlPlane", "tokyo-x7k2p"), _owner_of_cp()))
    done = run(objects, key=control_plane_ref("fleet", "tokyo-x7k2p"))
    assert done.last.verdict.message == "Cluster fleet/tokyo belongs to the control plane tokyo"
    assert writes_of(done.writes) == ["patch CAPTControlPlane fleet/tokyo-x7k2p/status"]


@pytest.mark.parametrize(
    "to",
    [
        {"name": "other"},
        {"kind": "KubeadmControlPlane"},
        {"apiVersion": "example.com/v1"},
        {"namespace": "elsewhere"},
    ],
)
def test_a_cluster_of_our_name_that_points_elsewhere_is_not_ours(to: dict[str, str]) -> None:
    """The name alone adopts nothing: the loop waits and writes to no Cluster."""
    done = run(changed(new(), "Cluster", "tokyo", {"spec": {"controlPlaneRef": to}}))
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "Creating",
        "Waiting for owner cluster",
    )
    assert done.last.requeue_after == Policy().initializing
    assert writes_of(done.writes) == ["patch CAPTControlPlane fleet/tokyo/status"]


@pytest.mark.parametrize(
    "to",
    [
        {
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2",
            "kind": "CAPTControlPlane",
            "name": "tokyo",
        },
        {"apiGroup": "controlplane.cluster.x-k8s.io", "kind": "CAPTControlPlane", "name": "tokyo"},
    ],
)
def test_a_cluster_points_back_in_either_contract(to: dict[str, str]) -> None:
    """By apiVersion or by apiGroup, with or without a namespace."""
    objects = plus(new(), {**cluster(), "spec": {"controlPlaneRef": to}})
    assert look(objects).verdict.message == "Control plane is being created"


def test_a_reference_to_an_earlier_cluster_is_repaired_in_place() -> None:
    """One write replaces the uid; references of others stay."""
    stale = _owner_of_cp(of="uid-of-the-one-before")
    other = owner("Team", "red", api_version="example.com/v1", controller=False)
    done = run(_owned_by(other, stale))
    assert [each.body for each in done.writes] == [
        {"metadata": {"ownerReferences": [other, {**stale, "uid": "uid-of-cluster-tokyo"}]}},
    ]
    assert done.writes[0].preconditions == Preconditions("uid-of-captcontrolplane-tokyo", "100")
    assert done.last.verdict.reason == "Ready"


def test_a_stale_reference_is_not_repaired_to_a_cluster_that_points_elsewhere() -> None:
    """The Cluster has another control plane."""
    objects = changed(
        _owned_by(_owner_of_cp(of="stale")),
        "Cluster",
        "tokyo",
        {"spec": {"controlPlaneRef": {"name": "other"}}},
    )
    done = run(objects)
    assert done.last.verdict.message == "Cluster fleet/tokyo belongs to the control plane other"
    assert writes_of(done.writes) == ["patch CAPTControlPlane fleet/tokyo/status"]


def test_any_version_of_cluster_api_may_own() -> None:
    """The group of the reference counts, not its version; another group's Cluster does not."""
    assert look(_owned_by(_owner_of_cp(api_version="cluster.x-k8s.io/v1beta2"))).actions == ()
    stranger = look(_owned_by(_owner_of_cp(api_version="example.com/v1", of="x"))).verdict
    assert stranger.reason == "ControlPlaneUpdateFailed"


@pytest.mark.parametrize("kind", ["Machine", "MachinePool", "ClusterClass", "cluster"])
def test_another_kind_of_cluster_api_is_no_cluster(kind: str) -> None:
    """The group alone does not make an owner the Cluster, whatever its name and uid."""
    impostor = owner(kind, "tokyo", api_version=CLUSTER_API, of="uid-of-cluster-tokyo")
    verdict = look(_owned_by(impostor)).verdict
    assert verdict.reason == "ControlPlaneUpdateFailed"
    assert f"is controlled by {kind} tokyo and not by a Cluster" in verdict.message
    loose = {**impostor, "controller": False}
    assert look(_owned_by(loose, _owner_of_cp())).actions == ()


def test_the_controlling_cluster_reference_wins() -> None:
    """This holds in either order of the list."""
    other = _owner_of_cp(name="osaka", controller=False)
    for references in ([other, _owner_of_cp()], [_owner_of_cp(), other]):
        assert look(_owned_by(*references)).actions == ()


def test_a_foreign_controller_of_the_control_plane_is_reported() -> None:
    """The control plane stays as it is: Degraded once Ready, Failed before."""
    other = owner("Fleet", "red", api_version="example.com/v1")
    message = "CAPTControlPlane fleet/tokyo is controlled by Fleet red and not by a Cluster"
    done = run(_owned_by(other))
    assert (done.last.verdict.reason, done.last.verdict.message, done.last.requeue_after) == (
        "ControlPlaneUpdateFailed",
        message,
        Policy().failing,
    )
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["phase"], status["ready"], writes_of(done.writes)) == (
        "Ready",
        True,
        ["patch CAPTControlPlane fleet/tokyo/status"],
    )
    fresh = run(plus(new(), owned(find(new(), "CAPTControlPlane", "tokyo"), other)))
    assert writes_of(fresh.writes) == ["patch CAPTControlPlane fleet/tokyo/status"]
    assert fresh.find("CAPTControlPlane", "tokyo")["status"]["phase"] == "Failed"


@pytest.mark.parametrize(("kind", "name", "reason"), DEPENDENTS)
@pytest.mark.parametrize("of", ["uid-of-somebody", "uid-of-an-earlier-tokyo"])
def test_a_foreign_dependent_is_left_alone(kind: str, name: str, reason: str, of: str) -> None:
    """It is never overwritten, even when it differs; Ready stays and says so, after 10 s."""
    before = owned(find(ready(), kind, name), owner("CAPTControlPlane", "tokyo", of=of))
    before = changed(
        [before],
        kind,
        name,
        {"data": {"value": "eA==", "tls.crt": "eA=="}}
        if kind == "Secret"
        else {"spec": {"variables": None}},
    )[0]
    done = run(plus(ready(), before))
    assert done.find(kind, name) == before
    assert (done.last.verdict.reason, done.last.requeue_after) == (reason, Policy().failing)
    assert (
        done.last.verdict.message
        == f"{kind} fleet/{name} is controlled by CAPTControlPlane tokyo (uid {of})"
    )
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["phase"], status["conditions"][0]["status"]) == (
        True,
        "Ready",
        "True",
    )
    assert (
        status["conditions"][0]["reason"],
        status["workspaceTemplateStatus"]["lastFailureMessage"],
    ) == (
        reason,
        done.last.verdict.message,
    )
    assert writes_of(done.writes) == ["patch CAPTControlPlane fleet/tokyo/status"]


@pytest.mark.parametrize(("kind", "name", "reason"), DEPENDENTS[:2])
def test_a_foreign_dependent_prevents_the_first_ready(kind: str, name: str, reason: str) -> None:
    """The same finding is phase Failed before the first Ready."""
    done = run(plus(provided(), owned(find(provided(), kind, name), owner("A", "b", of="c"))))
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["phase"], status["ready"], status["conditions"][0]["reason"]) == (
        "Failed",
        False,
        reason,
    )


@pytest.mark.parametrize(("kind", "name", "reason"), DEPENDENTS)
def test_an_orphan_is_adopted_and_repaired_in_one_write(kind: str, name: str, reason: str) -> None:
    """Owner reference and content are one write; other owners stay."""
    other = owner("Team", "red", api_version="example.com/v1", controller=False)
    orphan = owned(find(ready(), kind, name), other)
    key = "tls.crt" if name == "tokyo-ca" else "value"
    damage = (
        {"data": {key: "eA=="}} if kind == "Secret" else {"spec": {"variables": {"damage": "1"}}}
    )
    done = run(plus(ready(), changed([orphan], kind, name, damage)[0]))
    cure = (
        {"data": {key: find(ready(), kind, name)["data"][key]}}
        if kind == "Secret"
        else {"spec": {"variables": {"damage": None}}}
    )
    if name == "tokyo-spot-role-check":
        cure = {"spec": {"variables": None}}
    references = {"metadata": {"ownerReferences": [other, owner("CAPTControlPlane", "tokyo")]}}
    assert [each.body for each in done.writes] == [{**references, **cure}]
    assert done.writes[0].preconditions == Preconditions(orphan["metadata"]["uid"], "100")
    assert (done.last.verdict.reason, len(done.passes)) == ("Ready", 2)


@pytest.mark.parametrize(("kind", "name", "reason"), DEPENDENTS)
def test_a_correct_orphan_is_adopted_and_nothing_else(kind: str, name: str, reason: str) -> None:
    """The patch leaves correct spec and data out."""
    done = run(plus(ready(), owned(find(ready(), kind, name))))
    assert [each.body for each in done.writes] == [
        {"metadata": {"ownerReferences": [owner("CAPTControlPlane", "tokyo")]}}
    ]


def test_our_reference_without_controller_becomes_the_controller() -> None:
    """Our own reference is not doubled."""
    loose = owner("CAPTControlPlane", "tokyo", controller=False)
    done = run(plus(ready(), owned(find(ready(), "Secret", "tokyo-ca"), loose)))
    assert [each.body for each in done.writes] == [
        {"metadata": {"ownerReferences": [owner("CAPTControlPlane", "tokyo")]}}
    ]


@pytest.mark.parametrize(("kind", "name", "reason"), DEPENDENTS)
def test_a_terminating_dependent_is_left_alone(kind: str, name: str, reason: str) -> None:
    """The loop creates it again once it is gone."""
    going = changed(
        deleting(ready(), kind, name),
        kind,
        name,
        {"spec": {"variables": {"a": "b"}}} if kind == APPLY else {"data": {"tls.crt": None}},
    )
    assert not [each for each in run(going).writes if each.target == ref(find(ready(), kind, name))]
    made = run(without(ready(), kind, name))
    assert writes_of(made.writes)[0] == f"create {kind} fleet/{name}"


def test_a_foreign_apply_of_the_name_that_the_user_gave_is_left_alone() -> None:
    """The foreign apply is neither overwritten nor deleted."""
    foreign = {
        **owned(find(created(), APPLY, "tokyo-eks-controlplane-apply"), owner("A", "b", of="c"))
    }
    foreign["metadata"] = {**foreign["metadata"], "name": "mine"}
    objects = plus(
        changed(
            created(), "CAPTControlPlane", "tokyo", {"spec": {"workspaceTemplateApplyName": "mine"}}
        ),
        foreign,
    )
    done = run(objects)
    assert (done.last.verdict.reason, done.find(APPLY, "mine")) == (
        "WorkspaceTemplateApplyFailed",
        foreign,
    )
    gone = run(deleting(objects, "CAPTControlPlane", "tokyo"))
    assert (gone.last.verdict.reason, gone.find(APPLY, "mine")) == ("Gone", foreign)


def test_nothing_is_published_from_a_foreign_main_apply() -> None:
    """Its endpoint and CA are not copied; the published ones stay."""
    foreign = owned(find(ready(), APPLY, "tokyo-eks-controlplane-apply"), owner("A", "b", of="c"))
    objects = plus(ready(), foreign)
    objects = changed(
        objects,
        "Workspace",
        "tokyo-eks-controlplane",
        {"status": {"atProvider": {"outputs": {"cluster_endpoint": "https://X"}}}},
    )
    objects = changed(
        objects,
        "Secret",
        "tokyo-eks-connection",
        {"data": {"cluster_certificate_authority_data": None}},
    )
    objects = changed(objects, "Secret", "tokyo-ca", {"data": {"tls.crt": "eA=="}})
    done = run(objects)
    assert done.last.verdict.reason == "WorkspaceTemplateApplyFailed"
    assert {each.subresource for each in done.writes} == {"status"}
    for kind, name in (
        ("Cluster", "tokyo"),
        ("Secret", "tokyo-ca"),
        (APPLY, "tokyo-kubeconfig-apply"),
    ):
        assert done.find(kind, name) == find(objects, kind, name)


@pytest.mark.parametrize(
    "suffix", ["vpc", "kubeconfig-apply", "spot-role-check", "spot-role-create"]
)
def test_the_main_apply_cannot_take_the_name_of_another_apply_of_ours(suffix: str) -> None:
    """Two purposes for one object would be written for ever; the verdict says so."""
    done = run(
        changed(
            provided(),
            "CAPTControlPlane",
            "tokyo",
            {"spec": {"workspaceTemplateApplyName": f"tokyo-{suffix}"}},
        )
    )
    assert done.last.verdict.reason == "WorkspaceTemplateApplyFailed"
    assert done.acted <= 6


def test_a_foreign_main_apply_neither_withdraws_ready_nor_is_mirrored() -> None:
    """A foreign Workspace is not mirrored into our status."""
    main = "tokyo-eks-controlplane"
    objects = plus(
        ready(),
        owned(find(ready(), "WorkspaceTemplateApply", f"{main}-apply"), owner("X", "y", of="z")),
    )
    objects = changed(
        objects,
        "Workspace",
        main,
        {"status": {"conditions": conditions(ready=False), "atProvider": {"theirs": "x"}}},
    )
    done = run(objects)
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (done.last.verdict.reason, status["ready"]) == ("WorkspaceTemplateApplyFailed", True)
    assert status["workspaceStatus"] == ready_status()["workspaceStatus"]


def test_the_kubeconfig_of_a_foreign_apply_is_not_copied() -> None:
    """Our kubeconfig Secret depends on the foreign apply's output and stays."""
    objects = plus(
        ready(),
        owned(
            find(ready(), "WorkspaceTemplateApply", "tokyo-kubeconfig-apply"),
            owner("X", "y", of="z"),
        ),
    )
    objects = changed(
        objects, "Secret", "tokyo-outputs-kubeconfig", {"data": {"kubeconfig": base64_of(ROTATED)}}
    )
    assert writes_of(run(objects).writes) == ["patch CAPTControlPlane fleet/tokyo/status"]


def test_two_references_to_one_cluster_do_not_become_twins() -> None:
    """A stale controlling reference and a correct one become one reference."""
    api = "cluster.x-k8s.io/v1beta1"
    stale = owner("Cluster", "tokyo", api_version=api, of="stale")
    two = owned(
        find(ready(), "CAPTControlPlane", "tokyo"),
        stale,
        owner("Cluster", "tokyo", api_version=api, controller=False),
    )
    assert run(plus(ready(), two)).find("CAPTControlPlane", "tokyo")["metadata"][
        "ownerReferences"
    ] == [owner("Cluster", "tokyo", api_version=api)]
