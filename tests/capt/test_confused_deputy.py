"""Secrets of other namespaces: a writer in one namespace cannot make the loop copy from another.

A `writeConnectionSecretToRef` leads out of the control plane's namespace to one place alone, that
of the Go controller: `default/<cluster>-outputs-kubeconfig`, and there only while the Workspace of
the control plane's own apply owns the Secret, by uid.
"""

import pytest

from captep_core import (
    JSON,
    Listed,
    ObjectRef,
    Observed,
    Policy,
    ReconcileState,
    Selection,
    control_plane_ref,
    decide,
)
from captep_core.ports import Reads
from captep_memory import MemoryGateway, load
from tests.capt.driving import KEY, NOW, Run, look, ref, run, writes_of
from tests.capt.worlds import (
    CA_OF_EKS,
    KUBECONFIG,
    TERRAFORM_API,
    Names,
    Object,
    Objects,
    base64_of,
    changed,
    find,
    owned,
    owner,
    plus,
    provided,
    ready,
    secret,
    uid,
    without,
)

APPLY, MAIN, GENERATOR = (
    "WorkspaceTemplateApply",
    "tokyo-eks-controlplane-apply",
    "tokyo-kubeconfig-apply",
)
STOLEN = KUBECONFIG.replace("canary-token", "canary-of-another-tenant")
THEIR_CA = CA_OF_EKS
REASONS = {"SecretError", "KubeconfigGenerationFailed", "SecretReconciliationFailed"}


def _workspace_owner(name: str, of: str = "") -> Object:
    return {
        "apiVersion": TERRAFORM_API,
        "kind": "Workspace",
        "name": name,
        "uid": of or uid("Workspace", name),
        "controller": True,
    }


def _written_to(objects: Objects, apply: str, place: Object, workspace: str) -> Objects:
    """Apply and Workspace say that the connection Secret is at `place`."""
    to = {"spec": {"writeConnectionSecretToRef": place}}
    return changed(changed(objects, APPLY, apply, to), "Workspace", workspace, to)


def _held(name: str, namespace: str, *owners: Object) -> Object:
    texts = {"kubeconfig": STOLEN, "cluster_endpoint": "https://stolen.example"}
    return owned(secret(name, texts, namespace=namespace), *owners)


def _outputs_at(objects: Objects, name: str, namespace: str, *owners: Object) -> Objects:
    place = {"name": name, "namespace": namespace}
    objects = without(objects, "Secret", "tokyo-outputs-kubeconfig")
    objects = _written_to(objects, GENERATOR, place, "tokyo-kubeconfig")
    return plus(objects, _held(name, namespace, *owners))


def _values(done: Run) -> str:
    return repr(
        [obj.get("data") for obj in done.objects if obj["metadata"].get("namespace") == "fleet"]
    )


FOREIGN_PLACES = [
    ("tokyo-outputs-kubeconfig", "kube-system"),
    ("bootstrap-token", "kube-system"),
    ("osaka-outputs-kubeconfig", "default"),
    ("tokyo-token", "default"),
    ("tokyo-outputs-kubeconfig", "fleet-2"),
    ("tokyo-outputs-kubeconfig", "Default"),
]


@pytest.mark.parametrize(("name", "namespace"), FOREIGN_PLACES)
@pytest.mark.parametrize("is_owned", [False, True], ids=["nobody's", "of our Workspace"])
def test_no_kubeconfig_is_copied_from_another_namespace(
    name: str, namespace: str, is_owned: bool
) -> None:
    """The good one stays, and the verdict names the place."""
    owners = [_workspace_owner("tokyo-kubeconfig")] if is_owned else []
    objects = _outputs_at(ready(), name, namespace, *owners)
    done = run(objects)
    assert done.find("Secret", "tokyo-kubeconfig") == find(ready(), "Secret", "tokyo-kubeconfig")
    assert base64_of(STOLEN) not in _values(done)
    assert done.last.verdict.reason in REASONS
    assert f"{namespace}/{name}" in done.last.verdict.message
    assert done.last.requeue_after == Policy().failing
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["secretsReady"]) == (True, False)


@pytest.mark.parametrize(("name", "namespace"), FOREIGN_PLACES)
def test_no_kubeconfig_secret_is_created_from_another_namespace(name: str, namespace: str) -> None:
    """The first copy is refused as the later ones are."""
    objects = without(_outputs_at(ready(), name, namespace), "Secret", "tokyo-kubeconfig")
    done = run(objects)
    assert not done.has("Secret", "tokyo-kubeconfig")
    assert base64_of(STOLEN) not in _values(done)


OWNERS: dict[str, list[Object]] = {
    "nobody": [],
    "another Workspace": [_workspace_owner("osaka-kubeconfig")],
    "an earlier incarnation": [_workspace_owner("tokyo-kubeconfig", of="uid-of-an-earlier-one")],
    "an object of the same name": [
        {**_workspace_owner("tokyo-kubeconfig"), "apiVersion": "example.com/v1", "uid": "x"}
    ],
    "a Deployment": [owner("Deployment", "x", api_version="apps/v1")],
    "the main Workspace": [_workspace_owner("tokyo-eks-controlplane")],
}


@pytest.mark.parametrize("case", OWNERS)
def test_the_place_of_the_go_controller_counts_only_with_our_workspace_as_owner(case: str) -> None:
    """`default/tokyo-outputs-kubeconfig` may be that of another `tokyo` in another namespace."""
    objects = _outputs_at(ready(), "tokyo-outputs-kubeconfig", "default", *OWNERS[case])
    done = run(objects)
    assert done.find("Secret", "tokyo-kubeconfig") == find(ready(), "Secret", "tokyo-kubeconfig")
    assert done.last.verdict.reason in REASONS
    assert "default/tokyo-outputs-kubeconfig" in done.last.verdict.message


def test_the_place_of_the_go_controller_is_read_while_our_workspace_owns_it() -> None:
    """Existing clusters keep their rotation: a new token there is copied."""
    objects = _outputs_at(
        ready(), "tokyo-outputs-kubeconfig", "default", _workspace_owner("tokyo-kubeconfig")
    )
    done = run(objects)
    assert [each.body for each in done.writes] == [{"data": {"value": base64_of(STOLEN)}}]
    assert done.last.verdict.reason == "Ready"


def test_the_place_follows_the_name_of_the_cluster() -> None:
    """It is the Cluster's name that the Go controller used, not the control plane's."""
    names = Names("tokyo-x7k2p", "tokyo")
    place = {"name": "tokyo-outputs-kubeconfig", "namespace": "default"}
    objects = without(ready(names), "Secret", "tokyo-outputs-kubeconfig")
    objects = _written_to(objects, "tokyo-x7k2p-kubeconfig-apply", place, "tokyo-x7k2p-kubeconfig")
    held = _held("tokyo-outputs-kubeconfig", "default", _workspace_owner("tokyo-x7k2p-kubeconfig"))
    done = run(plus(objects, held), key=control_plane_ref("fleet", "tokyo-x7k2p"))
    assert done.last.verdict.reason == "Ready"
    assert done.find("Secret", "tokyo-kubeconfig")["data"]["value"] == base64_of(STOLEN)


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("tokyo-eks-connection", "kube-system"),
        ("root-ca", "kube-system"),
        ("tokyo-eks-connection", "default"),
        ("tokyo-outputs-kubeconfig", "default"),
    ],
)
@pytest.mark.parametrize("world", [provided, ready], ids=["provided", "ready"])
def test_no_connection_secret_is_read_from_another_namespace(
    name: str, namespace: str, world: type
) -> None:
    """Neither CA, endpoint nor a variable comes of it: SecretError by name."""
    texts = {
        "cluster_endpoint": "https://stolen.example",
        "cluster_certificate_authority_data": THEIR_CA,
    }
    theirs = owned(
        secret(name, texts, namespace=namespace), _workspace_owner("tokyo-eks-controlplane")
    )
    objects: Objects = world()
    objects = changed(
        objects, "Workspace", "tokyo-eks-controlplane", {"status": {"atProvider": None}}
    )
    objects = without(objects, "Secret", "tokyo-eks-connection")
    place = {"name": name, "namespace": namespace}
    objects = plus(_written_to(objects, MAIN, place, "tokyo-eks-controlplane"), theirs)
    done = run(objects)
    assert "stolen.example" not in repr([obj for obj in done.objects if obj["kind"] != "Secret"])
    assert done.last.verdict.reason == "SecretError" or "endpoint" in done.last.verdict.message
    if world is not ready:
        assert not done.has("Secret", "tokyo-ca")
        assert not done.has(APPLY, GENERATOR)


def _read_by(objects: Objects) -> set[tuple[str | None, str]]:
    """The Secrets that a decision asks for."""
    gateway = MemoryGateway(load(objects, now=NOW))
    asked: set[tuple[str | None, str]] = set()

    def noted(target: ObjectRef) -> Observed[dict[str, JSON]]:
        if target.kind == "Secret":
            asked.add((target.namespace, target.name))
        return gateway.get(target)

    def found(selection: Selection) -> Listed:
        assert selection.kind != "Secret"
        return gateway.find(selection)

    decide(KEY, Reads(noted, found), ReconcileState(), now=NOW)
    return asked


def test_no_secret_of_another_namespace_is_even_asked_for() -> None:
    """A role for the own namespace and for that one Secret is enough."""
    worlds = [ready(), provided()]
    worlds += [_outputs_at(ready(), name, namespace) for name, namespace in FOREIGN_PLACES]
    place = {"name": "root-ca", "namespace": "kube-system"}
    worlds.append(_written_to(ready(), MAIN, place, "tokyo-eks-controlplane"))
    asked = set().union(*map(_read_by, worlds))
    assert {each for each in asked if each[0] != "fleet"} <= {
        ("default", "tokyo-outputs-kubeconfig")
    }


def test_a_workspace_of_another_control_plane_is_not_ours() -> None:
    """An apply of a foreign control plane names any Workspace: nothing comes of it."""
    foreign = owned(
        find(ready(), APPLY, GENERATOR), owner("CAPTControlPlane", "osaka", of="uid-of-osaka")
    )
    objects = plus(ready(), foreign)
    objects = changed(
        objects, "Secret", "tokyo-outputs-kubeconfig", {"data": {"kubeconfig": base64_of(STOLEN)}}
    )
    done = run(objects)
    assert done.find("Secret", "tokyo-kubeconfig") == find(ready(), "Secret", "tokyo-kubeconfig")
    assert done.last.verdict.reason == "KubeconfigGenerationFailed"


def test_an_apply_whose_adoption_is_refused_publishes_nothing() -> None:
    """An orphan counts once it is ours: its Workspace may be that of anybody."""
    orphan = owned(find(provided(), APPLY, MAIN))
    objects = plus(provided(), orphan)
    assert f"patch {APPLY} fleet/{MAIN}" in writes_of(look(objects).actions)
    refused = run(objects, refuse={("patch", ref(orphan)): 403})
    assert "controlPlaneEndpoint" not in refused.find("CAPTControlPlane", "tokyo")["spec"]
    assert run(objects).find("CAPTControlPlane", "tokyo")["spec"]["controlPlaneEndpoint"]


def test_an_unreadable_workspace_leaves_open_whose_the_secret_is() -> None:
    """Unknown is not foreign: nothing that was reported changes."""
    owners = [_workspace_owner("tokyo-kubeconfig")]
    objects = _outputs_at(ready(), "tokyo-outputs-kubeconfig", "default", *owners)
    blind = {ref(find(objects, "Workspace", "tokyo-kubeconfig")): "Timeout"}
    decision = look(objects, unreadable=blind)
    assert decision.verdict.reason == "SecretReconciliationFailed"
    assert [each for each in writes_of(decision.actions) if not each.startswith("event")] == []


def test_without_its_workspace_nobody_owns_the_secret_in_default() -> None:
    """The uid of a Workspace that is gone proves nothing."""
    owners = [_workspace_owner("tokyo-kubeconfig")]
    objects = _outputs_at(ready(), "tokyo-outputs-kubeconfig", "default", *owners)
    done = run(without(objects, "Workspace", "tokyo-kubeconfig"))
    assert "default/tokyo-outputs-kubeconfig" in done.last.verdict.message
