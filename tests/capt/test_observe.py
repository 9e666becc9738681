"""What the observation looks up, where, and what follows when an object cannot be read."""

import pytest
from attrs import evolve

from captep_core import ABSENT, Invalid, Missing, ObjectRef, Unreadable, reconcile
from captep_core.capt._model import CAPTControlPlane, Secret, Workspace, WorkspaceTemplateApply
from captep_core.capt._names import names_of
from captep_core.capt._observe import observe
from captep_core.capt._observed import AppliedTemplate, ControlPlane, Secrets
from captep_core.capt._ownership import cluster_reference
from captep_core.capt.wire import structure
from captep_memory import load
from tests.capt.driving import KEY, NOW, reader, ref
from tests.capt.worlds import (
    Objects,
    apply,
    changed,
    control_plane,
    find,
    new,
    owned,
    owner,
    plus,
    ready,
    secret,
    without,
)

APPLY = "WorkspaceTemplateApply"
MAIN = "tokyo-eks-controlplane-apply"
WORKSPACE = "tokyo-eks-controlplane"
TIMEOUT = Unreadable("Timeout")


def seen(objects: Objects, *unreadable: ObjectRef) -> tuple[ControlPlane, Secrets, object]:
    """Observe the control plane of a world."""
    return observe(KEY, reader(load(objects, now=NOW), dict.fromkeys(unreadable, "Timeout")))


@pytest.mark.parametrize("objects", [ready(), new()], ids=["ready", "new"])
def test_without_a_readable_control_plane_nothing_else_is_looked_up(objects: Objects) -> None:
    """The control plane names the other objects."""
    assert seen(objects, KEY) == (ControlPlane(KEY, TIMEOUT), Secrets(), Missing())
    assert seen([]) == (ControlPlane(KEY, ABSENT), Secrets(), Missing())


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("main", MAIN),
        ("kubeconfig", "tokyo-kubeconfig-apply"),
        ("spot_check", "tokyo-spot-role-check"),
        ("spot_create", "tokyo-spot-role-create"),
    ],
)
def test_the_workspace_of_an_unreadable_apply_is_unreadable(field: str, name: str) -> None:
    """So are the Secret that the apply would name, and the endpoint."""
    objects = plus(ready(), apply(name, {}, applied="w")) if field == "spot_create" else ready()
    observed, secrets, endpoint = seen(objects, ref(find(objects, APPLY, name)))
    assert getattr(observed, field) == AppliedTemplate(TIMEOUT, TIMEOUT)
    assert getattr(observed, field).workspace_name == ""
    assert (secrets.connection == TIMEOUT, secrets.outputs == TIMEOUT) == (
        field == "main",
        field == "kubeconfig",
    )
    assert (endpoint == TIMEOUT) is (field == "main")


@pytest.mark.parametrize(
    ("field", "apply_name", "workspace", "usual"),
    [
        ("connection", MAIN, WORKSPACE, "tokyo-eks-connection"),
        ("outputs", "tokyo-kubeconfig-apply", "tokyo-kubeconfig", "tokyo-outputs-kubeconfig"),
    ],
)
def test_a_secret_of_outputs_is_looked_up_by_workspace_then_apply_then_name(
    field: str, apply_name: str, workspace: str, usual: str
) -> None:
    """Crossplane writes where the Workspace says; the apply and the usual name come after it."""
    places = ("there", "then", usual)
    objects = without(ready(), "Secret", usual)
    objects = plus(
        objects, *(secret(name, {"cluster_endpoint": f"https://{name}"}) for name in places)
    )
    objects = changed(
        objects,
        "Workspace",
        workspace,
        {"spec": {"writeConnectionSecretToRef": {"name": "there"}}, "status": None},
    )
    objects = changed(
        objects, APPLY, apply_name, {"spec": {"writeConnectionSecretToRef": {"name": "then"}}}
    )
    worlds = [
        objects,
        without(objects, "Workspace", workspace),
        without(without(objects, "Workspace", workspace), APPLY, apply_name),
    ]
    for place, world in zip(places, worlds, strict=True):
        found = getattr(seen(world)[1], field)
        assert found == structure(find(objects, "Secret", place), Secret)


def test_a_malformed_object_is_unreadable() -> None:
    """Each object has the shape of its own kind."""
    objects = plus(ready(), apply("tokyo-vpc", {"variables": {"a": 1}}))
    assert seen(objects)[0].vpc == Unreadable(
        "Malformed", "$.spec.variables.a: expected a string, found a number"
    )
    assert isinstance(seen(ready())[0].main.apply, WorkspaceTemplateApply)
    assert isinstance(seen(ready())[0].main.workspace, Workspace)


def test_an_endpoint_that_is_no_text_is_invalid() -> None:
    """Bytes that are not UTF-8 are no host, and raise nothing."""
    objects = changed(ready(), "Workspace", WORKSPACE, {"status": {"atProvider": None}})
    objects = changed(
        objects, "Secret", "tokyo-eks-connection", {"data": {"cluster_endpoint": "//4="}}
    )
    assert seen(objects)[2] == Invalid("the host is neither a name nor an IP address")


def test_the_first_of_two_uncontrolling_cluster_references_counts() -> None:
    """The order of the list decides where nothing else does."""
    entries = [
        owner("Cluster", name, api_version="cluster.x-k8s.io/v1beta1", controller=False)
        for name in ("a", "b")
    ]
    observed, _, _ = seen([owned(control_plane(), *entries)])
    assert isinstance(observed.object, CAPTControlPlane)
    found = cluster_reference(observed.object)
    assert found is not None
    assert found.name == "a"


def test_the_names_of_an_observation_are_those_of_its_writes() -> None:
    """Names are derived once, where the objects are read; no write derives them again."""
    objects = without(without(ready(), "Secret", "tokyo-ca"), "Secret", "tokyo-kubeconfig")
    observed, secrets, endpoint = observe(KEY, reader(load(objects, now=NOW)))
    renamed = evolve(observed, names=names_of(KEY, "kyoto", ""))
    decision = reconcile(renamed, secrets, endpoint, now=NOW)
    assert {action.target.name for action in decision.actions} >= {"kyoto-ca", "kyoto-kubeconfig"}
    assert not {"tokyo-ca", "tokyo-kubeconfig"} & {each.target.name for each in decision.actions}
