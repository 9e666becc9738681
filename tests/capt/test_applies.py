"""The WorkspaceTemplateApplies: manifests, owned fields and the order of their writes."""

from collections.abc import Callable
from typing import Any

import pytest

from captep_core import Create, Policy, Preconditions
from tests.capt.driving import look, ref, run, writes_of
from tests.capt.worlds import (
    CA_OF_EKS,
    ENDPOINT,
    ROTATED,
    Object,
    Objects,
    apply,
    base64_of,
    by_go,
    changed,
    find,
    new,
    owner,
    plus,
    provided,
    ready,
    template,
    waiting,
    without,
)

APPLY = "WorkspaceTemplateApply"
MAIN = "tokyo-eks-controlplane-apply"
KUBECONFIG_APPLY = "tokyo-kubeconfig-apply"
VPC = apply("tokyo-vpc", {"templateRef": {"name": "vpc", "namespace": "fleet"}})


def _created(objects: Objects, name: str) -> Object:
    [body] = [
        dict(each.body)
        for each in look(objects).actions
        if isinstance(each, Create) and each.target.name == name
    ]
    return body


def test_a_new_control_plane_gets_its_main_apply() -> None:
    """Its manifest: template, variables as text, connection Secret, our controller reference."""
    assert _created(new(), MAIN) == {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
        "kind": APPLY,
        "metadata": {
            "name": MAIN,
            "namespace": "fleet",
            "ownerReferences": [owner("CAPTControlPlane", "tokyo")],
        },
        "spec": {
            "templateRef": {"name": "eks", "namespace": "fleet"},
            "variables": {
                "cluster_name": "tokyo",
                "kubernetes_version": "1.33",
                "region": "ap-northeast-1",
                "endpoint_public_access": "true",
                "endpoint_private_access": "false",
                "tags_Team": "platform",
            },
            "writeConnectionSecretToRef": {"name": "tokyo-eks-connection", "namespace": "fleet"},
        },
    }


@pytest.mark.parametrize(
    ("config", "variables"),
    [
        (None, {}),
        ({}, {"region": ""}),
        ({"region": "eu-west-1"}, {"region": "eu-west-1"}),
        (
            {"endpointAccess": {}},
            {"region": "", "endpoint_public_access": "false", "endpoint_private_access": "false"},
        ),
        (
            {"endpointAccess": {"private": True}},
            {"region": "", "endpoint_public_access": "false", "endpoint_private_access": "true"},
        ),
    ],
)
def test_variables_follow_the_configuration(
    config: dict[str, Any] | None, variables: dict[str, str]
) -> None:
    """The region needs a controlPlaneConfig and may be empty; access needs an endpointAccess."""
    objects = changed(
        new(),
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"controlPlaneConfig": None, "additionalTags": None}},
    )
    objects = changed(
        objects,
        "CAPTControlPlane",
        "tokyo",
        {"spec": {} if config is None else {"controlPlaneConfig": config}},
    )
    wanted = {"cluster_name": "tokyo", "kubernetes_version": "1.33", **variables}
    assert _created(objects, MAIN)["spec"]["variables"] == wanted


def test_the_kubeconfig_apply_gets_raw_values_and_writes_into_our_namespace() -> None:
    """Endpoint with scheme, CA as EKS gives it, outputs Secret next to us, template in default."""
    assert _created(provided(), KUBECONFIG_APPLY) == {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
        "kind": APPLY,
        "metadata": {
            "name": KUBECONFIG_APPLY,
            "namespace": "fleet",
            "ownerReferences": [owner("CAPTControlPlane", "tokyo")],
        },
        "spec": {
            "templateRef": {"name": "eks-kubeconfig-template", "namespace": "default"},
            "variables": {
                "cluster_name": "tokyo",
                "region": "ap-northeast-1",
                "cluster_endpoint": ENDPOINT,
                "cluster_certificate_authority_data": CA_OF_EKS,
            },
            "writeConnectionSecretToRef": {
                "name": "tokyo-outputs-kubeconfig",
                "namespace": "fleet",
            },
            "waitForWorkspaces": [{"name": "tokyo-eks-controlplane"}],
        },
    }


@pytest.mark.parametrize("world", [new, waiting], ids=["new", "waiting"])
def test_there_is_no_kubeconfig_apply_before_terraform_is_done(
    world: Callable[[], Objects],
) -> None:
    """The main apply is Ready first."""
    assert not run(world()).has(APPLY, KUBECONFIG_APPLY)


def test_an_existing_kubeconfig_apply_keeps_its_outputs_secret() -> None:
    """The Go controller's reference stays, and its Secret is read from that place."""
    done = run(by_go())
    assert done.find(APPLY, KUBECONFIG_APPLY) == find(by_go(), APPLY, KUBECONFIG_APPLY)
    assert done.last.verdict.reason == "Ready"


@pytest.mark.parametrize(
    ("damage", "cure"),
    [
        ({"variables": {"tags_Old": "x"}}, {"variables": {"tags_Old": None}}),
        ({"variables": {"tags_Team": None}}, {"variables": {"tags_Team": "platform"}}),
        ({"variables": {"region": "eu-west-1"}}, {"variables": {"region": "ap-northeast-1"}}),
        ({"templateRef": {"namespace": None}}, {"templateRef": {"namespace": "fleet"}}),
        ({"templateRef": {"name": "other"}}, {"templateRef": {"name": "eks"}}),
        (
            {"writeConnectionSecretToRef": None},
            {"writeConnectionSecretToRef": {"name": "tokyo-eks-connection", "namespace": "fleet"}},
        ),
        (
            {"waitForWorkspaces": [{"name": "tokyo-vpc", "namespace": "fleet"}]},
            {"waitForWorkspaces": None},
        ),
    ],
)
def test_each_damaged_field_is_repaired_by_one_patch_of_that_field(
    damage: Object, cure: Object
) -> None:
    """Each field of ours is repaired alone and once; a removed tag goes."""
    done = run(changed(ready(), APPLY, MAIN, {"spec": damage}))
    assert [each.body for each in done.writes] == [{"spec": cure}]
    locks = Preconditions(
        "uid-of-workspacetemplateapply-" + MAIN, "100" if "waitForWorkspaces" in cure else None
    )
    assert (done.writes[0].preconditions, done.writes[0].target) == (
        locks,
        ref(find(ready(), APPLY, MAIN)),
    )
    assert (done.last.verdict.reason, len(done.passes)) == ("Ready", 2)


@pytest.mark.parametrize("name", [MAIN, KUBECONFIG_APPLY, "tokyo-spot-role-check"])
@pytest.mark.parametrize(
    "foreign",
    [
        {"spec": {"retainWorkspaceOnDelete": True}},
        {"spec": {"waitForSecrets": [{"name": "a", "namespace": "b"}]}},
        {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}},
    ],
)
def test_fields_of_the_user_stay(name: str, foreign: Object) -> None:
    """retainWorkspaceOnDelete, waitForSecrets, labels and annotations are the user's."""
    objects = changed(ready(), APPLY, name, foreign)
    assert look(objects).actions == ()


def test_an_empty_owned_field_equals_an_absent_one() -> None:
    """An empty list or map in a field that we own is no difference."""
    objects = changed(ready(), APPLY, MAIN, {"spec": {"waitForWorkspaces": []}})
    objects = changed(
        objects,
        APPLY,
        "tokyo-spot-role-check",
        {"spec": {"variables": {}, "waitForWorkspaces": []}},
    )
    assert look(objects).actions == ()


@pytest.mark.parametrize("namespace", [None, "", "fleet", "templates"])
def test_the_template_is_looked_up_where_the_apply_will_look(namespace: str | None) -> None:
    """The reference's namespace counts, else our own, for the lookup and in the apply."""
    objects = changed(
        new(),
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"workspaceTemplateRef": {"namespace": namespace}}},
    )
    objects = plus(
        without(objects, "WorkspaceTemplate", "eks"), template(namespace=namespace or "fleet")
    )
    assert _created(objects, MAIN)["spec"]["templateRef"] == {
        "name": "eks",
        "namespace": namespace or "fleet",
    }


def test_a_missing_template_is_reported_and_delays_only_the_main_apply() -> None:
    """The verdict names the template; all other writes go on."""
    done = run(without(new(), "WorkspaceTemplate", "eks"))
    message = (
        "Failed to get WorkspaceTemplate: "
        'workspacetemplates.infrastructure.cluster.x-k8s.io "eks" not found in namespace fleet'
    )
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "WorkspaceTemplateNotFound",
        message,
    )
    assert done.last.requeue_after == Policy().failing
    assert writes_of(done.writes) == [
        "patch CAPTControlPlane fleet/tokyo",
        f"create {APPLY} fleet/tokyo-spot-role-check",
        "patch CAPTControlPlane fleet/tokyo/status",
    ]


def test_a_missing_template_does_not_stop_the_rotation() -> None:
    """Once Ready, the template is not needed: the new token is copied and Ready stays."""
    objects = changed(
        without(ready(), "WorkspaceTemplate", "eks"),
        "Secret",
        "tokyo-outputs-kubeconfig",
        {"data": {"kubeconfig": base64_of(ROTATED)}},
    )
    done = run(objects)
    assert done.writes[0].body == {"data": {"value": base64_of(ROTATED)}}
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["conditions"][0]["reason"]) == (
        True,
        "WorkspaceTemplateNotFound",
    )
    assert status["secretsReady"] is True


def test_the_main_apply_waits_for_the_vpc_while_there_is_one() -> None:
    """waitForWorkspaces names the VPC's apply if and only if that apply exists."""
    wait = [{"name": "tokyo-vpc", "namespace": "fleet"}]
    assert _created(plus(new(), VPC), MAIN)["spec"]["waitForWorkspaces"] == wait
    done = run(plus(ready(), VPC))
    assert [each.body for each in done.writes] == [{"spec": {"waitForWorkspaces": wait}}]
    assert [each.body for each in run(without(done.objects, APPLY, "tokyo-vpc")).writes] == [
        {"spec": {"waitForWorkspaces": None}}
    ]


def test_an_unreadable_vpc_is_not_an_absent_one() -> None:
    """The main apply is not written until the VPC's apply can be read."""
    settled = run(plus(ready(), VPC)).objects
    damaged = changed(settled, APPLY, MAIN, {"spec": {"variables": {"region": "x"}}})
    decision = look(damaged, unreadable={ref(VPC): "Timeout"})
    assert (decision.verdict.reason, decision.requeue_after) == (
        "WorkspaceTemplateApplyUnreadable",
        Policy().failing,
    )
    assert writes_of(decision.actions) == ["event CAPTControlPlane fleet/tokyo"]


def test_a_lost_main_apply_is_created_again() -> None:
    """Losing it withdraws Ready; the kubeconfig's apply and the Secrets stay as they are."""
    done = run(without(ready(), APPLY, MAIN))
    assert writes_of(done.writes) == [
        f"create {APPLY} fleet/{MAIN}",
        "patch CAPTControlPlane fleet/tokyo/status",
        "patch Cluster fleet/tokyo/status",
    ]
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["initialized"], status["secretsReady"], status["phase"]) == (
        False,
        True,
        True,
        "Creating",
    )


def test_the_region_of_the_cluster_is_second_to_our_own() -> None:
    """The Cluster's annotation gives the region when the spec does not."""
    annotated = changed(
        provided(),
        "Cluster",
        "tokyo",
        {"metadata": {"annotations": {"cluster.x-k8s.io/region": "eu-west-1"}}},
    )
    assert _created(annotated, KUBECONFIG_APPLY)["spec"]["variables"]["region"] == "ap-northeast-1"
    unsaid = changed(
        annotated, "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneConfig": {"region": None}}}
    )
    assert _created(unsaid, KUBECONFIG_APPLY)["spec"]["variables"]["region"] == "eu-west-1"


def test_a_missing_region_is_reported() -> None:
    """Without a region there is no kubeconfig; the condition says why, after 10 s."""
    done = run(
        changed(provided(), "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneConfig": None}})
    )
    assert (done.last.verdict.reason, done.last.requeue_after) == (
        "KubeconfigGenerationFailed",
        Policy().failing,
    )
    assert done.last.verdict.message == (
        "Failed to create kubeconfig WorkspaceTemplateApply: no region: neither "
        "spec.controlPlaneConfig.region nor the Cluster's annotation "
        "cluster.x-k8s.io/region is set"
    )
    assert not done.has(APPLY, KUBECONFIG_APPLY)
    assert done.find("CAPTControlPlane", "tokyo")["status"]["phase"] == "Failed"


def test_a_failing_kubeconfig_apply_is_reported() -> None:
    """Terraform's failure of the kubeconfig is KubeconfigGenerationFailed."""
    failing = [
        {
            "type": "Synced",
            "status": "False",
            "reason": "ReconcileError",
            "message": "no such cluster",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
    done = run(
        changed(ready(), "Workspace", "tokyo-kubeconfig", {"status": {"conditions": failing}})
    )
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "KubeconfigGenerationFailed",
        "Failed to generate kubeconfig: no such cluster",
    )
    assert done.find("CAPTControlPlane", "tokyo")["status"]["ready"] is True
