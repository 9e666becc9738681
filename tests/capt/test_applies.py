"""The WorkspaceTemplateApplies: what is generated, which fields are ours, and what holds a write back."""

from typing import Any

import pytest

from captep_core import Create, Policy, Preconditions
from tests.capt.driving import look, ref, run, writes_of
from tests.capt.worlds import (
    CA_OF_EKS,
    ENDPOINT,
    Object,
    Objects,
    apply,
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

APPLY, MAIN, KUBECONFIG_APPLY = (
    "WorkspaceTemplateApply",
    "tokyo-eks-controlplane-apply",
    "tokyo-kubeconfig-apply",
)
VPC = apply("tokyo-vpc", {"templateRef": {"name": "vpc", "namespace": "fleet"}})


def _created(objects: Objects, name: str) -> Object:
    [body] = [
        dict(each.body)
        for each in look(objects).actions
        if isinstance(each, Create) and each.target.name == name
    ]
    return body


def test_the_main_apply_of_a_new_control_plane() -> None:
    """Section 1: the whole manifest: template, variables as text, connection Secret beside us, us as its controller."""
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
    """Section 1: region only with a controlPlaneConfig (it may be ""), access only with an endpointAccess."""
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


def test_the_kubeconfig_apply_gets_raw_values_and_writes_beside_us() -> None:
    """Must 23 and 26: endpoint with its scheme, CA as EKS gave it; outputs Secret in our namespace, template in default."""
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
def test_there_is_no_kubeconfig_apply_before_terraform_is_done(world: Any) -> None:  # noqa: ANN401 - one of the worlds
    """Row 15: the main apply is Ready first."""
    assert not run(world()).has(APPLY, KUBECONFIG_APPLY)


def test_a_kubeconfig_apply_keeps_its_place() -> None:
    """Must 23: the reference of an apply that the Go controller made is not written, and its Secret is read where it says."""
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
def test_one_patch_of_what_differs(damage: Object, cure: Object) -> None:
    """Must 1 and section 8.8: each field of ours is repaired alone and once; a tag that was removed goes."""
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
def test_what_is_not_ours_stays(name: str, foreign: Object) -> None:
    """Must 46: retainWorkspaceOnDelete, waitForSecrets, labels and annotations are the user's."""
    objects = changed(ready(), APPLY, name, foreign)
    assert look(objects).actions == ()


def test_empty_equals_absent_in_what_is_ours() -> None:
    """Section 8.9: an empty list or map of ours is no difference."""
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
    """Must 44: ref.namespace or our own, for the lookup and in the apply."""
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


def test_a_missing_template_is_told_and_holds_back_the_main_apply_only() -> None:
    """Row 8a, section 8.2: reason and message, no main apply; everything else goes on."""
    done = run(without(new(), "WorkspaceTemplate", "eks"))
    message = 'Failed to get WorkspaceTemplate: workspacetemplates.infrastructure.cluster.x-k8s.io "eks" not found'
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
    """Section 8.2: once Ready the template is not needed: a new token is copied, Ready stays and says what is wrong."""
    objects = changed(
        without(ready(), "WorkspaceTemplate", "eks"),
        "Secret",
        "tokyo-outputs-kubeconfig",
        {"data": {"kubeconfig": "bmV3"}},
    )
    done = run(objects)
    assert done.writes[0].body == {"data": {"value": "bmV3"}}
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["conditions"][0]["reason"]) == (
        True,
        "WorkspaceTemplateNotFound",
    )
    assert status["secretsReady"] is True


def test_the_vpc_is_waited_for_while_there_is_one() -> None:
    """Row 10: waitForWorkspaces names the VPC's apply if and only if it is there."""
    wait = [{"name": "tokyo-vpc", "namespace": "fleet"}]
    assert _created(plus(new(), VPC), MAIN)["spec"]["waitForWorkspaces"] == wait
    done = run(plus(ready(), VPC))
    assert [each.body for each in done.writes] == [{"spec": {"waitForWorkspaces": wait}}]
    assert [each.body for each in run(without(done.objects, APPLY, "tokyo-vpc")).writes] == [
        {"spec": {"waitForWorkspaces": None}}
    ]


def test_an_unreadable_vpc_is_not_an_absent_one() -> None:
    """Must 45: the dependency is dropped only when the VPC's apply is not found; nothing of the main apply is written till then."""
    settled = run(plus(ready(), VPC)).objects
    damaged = changed(settled, APPLY, MAIN, {"spec": {"variables": {"region": "x"}}})
    decision = look(damaged, unreadable={ref(VPC): "Timeout"})
    assert (decision.verdict.reason, decision.requeue_after) == (
        "WorkspaceTemplateApplyUnreadable",
        Policy().failing,
    )
    assert writes_of(decision.actions) == ["event CAPTControlPlane fleet/tokyo"]


def test_a_main_apply_that_is_gone_is_made_again() -> None:
    """Section 8.3: main WTA gone withdraws Ready; it is created again, the kubeconfig's apply and the Secrets stay as they are."""
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
    """Section 1: the Cluster's annotation gives the region when the spec does not."""
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


def test_no_region_is_told() -> None:
    """Must 28: without any region there is no kubeconfig, and the condition says why, after 10 s."""
    done = run(
        changed(provided(), "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneConfig": None}})
    )
    assert (done.last.verdict.reason, done.last.requeue_after) == (
        "KubeconfigGenerationFailed",
        Policy().failing,
    )
    assert done.last.verdict.message == (
        "Failed to create kubeconfig WorkspaceTemplateApply: no region: neither spec.controlPlaneConfig.region nor the Cluster's "
        "annotation cluster.x-k8s.io/region is set"
    )
    assert not done.has(APPLY, KUBECONFIG_APPLY)
    assert done.find("CAPTControlPlane", "tokyo")["status"]["phase"] == "Failed"


def test_a_failing_kubeconfig_apply_is_told() -> None:
    """Section 8.1: what Terraform says of the kubeconfig is KubeconfigGenerationFailed."""
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
