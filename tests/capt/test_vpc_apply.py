"""The VPC's WorkspaceTemplateApply: found through the Cluster, and what its name means for EKS."""

import pytest

from captep_core import Policy, control_plane_ref
from tests.capt.driving import look, ref, run, writes_of
from tests.capt.worlds import (
    CLUSTER_API,
    Names,
    Object,
    Objects,
    apply,
    changed,
    find,
    new,
    owned,
    owner,
    plus,
    ready,
    template,
)

APPLY, MAIN = "WorkspaceTemplateApply", "tokyo-eks-controlplane-apply"
NAMES = Names("tokyo-x7k2p", "tokyo")
KEY = control_plane_ref("fleet", "tokyo-x7k2p")
CAPT = "infrastructure.cluster.x-k8s.io/v1beta1"
THE_INFRASTRUCTURE = owner("CAPTCluster", "tokyo-infra", api_version=CAPT)


def _claimed() -> Objects:
    """A new control plane of ClusterClass: its name is not the Cluster's, which owns it."""
    cp = find(new(NAMES), "CAPTControlPlane", "tokyo-x7k2p")
    return plus(new(NAMES), owned(cp, owner("Cluster", "tokyo", api_version=CLUSTER_API)))


def _referring(objects: Objects, **to: str | None) -> Objects:
    reference = {"apiVersion": CAPT, "kind": "CAPTCluster", "name": "tokyo-infra", **to}
    return changed(objects, "Cluster", "tokyo", {"spec": {"infrastructureRef": reference}})


def _vpc(name: str, *owners: Object, writes_to: str = "") -> Object:
    to = {"writeConnectionSecretToRef": {"name": writes_to, "namespace": "fleet"}}
    made = apply(name, {"templateRef": {"name": "vpc"}, **(to if writes_to else {})})
    return owned(made, *owners) if owners else made


def _waits_for(objects: Objects) -> list[Object]:
    [main] = [
        obj
        for obj in run(objects, key=KEY).objects
        if obj["metadata"]["name"] == "tokyo-x7k2p-eks-controlplane-apply"
    ]
    return list(main["spec"].get("waitForWorkspaces", []))


OWNED = _vpc("tokyo-infra-vpc", THE_INFRASTRUCTURE)
BY_CLUSTER = _vpc("tokyo-vpc")
BY_CONTROL_PLANE = _vpc("tokyo-x7k2p-vpc")


@pytest.mark.parametrize(
    ("applies", "name"),
    [
        ([OWNED], "tokyo-infra-vpc"),
        ([OWNED, BY_CLUSTER, BY_CONTROL_PLANE], "tokyo-infra-vpc"),
        ([BY_CLUSTER], "tokyo-vpc"),
        ([BY_CLUSTER, BY_CONTROL_PLANE], "tokyo-vpc"),
        ([BY_CONTROL_PLANE], "tokyo-x7k2p-vpc"),
        ([_vpc("tokyo-infra-vpc"), BY_CLUSTER], "tokyo-vpc"),
        (
            [_vpc("tokyo-infra-vpc", owner("CAPTCluster", "other", api_version=CAPT)), BY_CLUSTER],
            "tokyo-vpc",
        ),
        (
            [
                _vpc("tokyo-infra-vpc", owner("Deployment", "tokyo-infra", api_version="apps/v1")),
                BY_CONTROL_PLANE,
            ],
            "tokyo-x7k2p-vpc",
        ),
    ],
)
def test_the_vpc_is_found_by_infrastructure_then_cluster_then_control_plane(
    applies: Objects, name: str
) -> None:
    """CAPTCluster names it after itself and owns it; older worlds name it after the Cluster."""
    objects = plus(_referring(_claimed()), *applies)
    assert _waits_for(objects) == [{"name": name, "namespace": "fleet"}]


@pytest.mark.parametrize(
    "to",
    [
        {"kind": "AWSCluster"},
        {"apiVersion": "example.com/v1"},
        {"name": None},
        {"name": ""},
    ],
)
def test_another_infrastructure_names_no_vpc_of_ours(to: dict[str, str | None]) -> None:
    """Only a CAPTCluster makes a VPC by an apply; the usual names still count."""
    objects = plus(_referring(_claimed(), **to), OWNED)
    assert _waits_for(objects) == []
    assert _waits_for(plus(objects, BY_CLUSTER)) == [{"name": "tokyo-vpc", "namespace": "fleet"}]


def test_a_reference_of_contract_v1beta2_names_the_vpc_too() -> None:
    """It has a group in place of the version and the namespace."""
    group = {"apiVersion": None, "apiGroup": "infrastructure.cluster.x-k8s.io"}
    objects = plus(_referring(_claimed(), **group), OWNED)
    assert _waits_for(objects) == [{"name": "tokyo-infra-vpc", "namespace": "fleet"}]


def test_without_any_vpc_nothing_is_waited_for() -> None:
    """A VPC may exist without Terraform."""
    assert _waits_for(_referring(_claimed())) == []


@pytest.mark.parametrize("which", [OWNED, BY_CLUSTER, BY_CONTROL_PLANE])
def test_an_unreadable_vpc_delays_the_main_apply(which: Object) -> None:
    """Until it is read, another place may not stand in for it."""
    objects = plus(_referring(_claimed()), which)
    decision = look(objects, key=KEY, unreadable={ref(which): "Timeout"})
    assert f"create {APPLY} fleet/tokyo-x7k2p-eks-controlplane-apply" not in writes_of(
        decision.actions
    )
    assert decision.verdict.reason == "WorkspaceTemplateApplyUnreadable"
    assert which["metadata"]["name"] in decision.verdict.message


def test_the_variables_do_not_depend_on_the_vpc() -> None:
    """`cluster_name` is the EKS cluster's own name: another value would replace the cluster."""
    bodies = []
    for applies in ([], [OWNED], [BY_CLUSTER], [BY_CONTROL_PLANE]):
        objects = plus(_referring(_claimed()), *applies)
        [main] = [
            obj
            for obj in run(objects, key=KEY).objects
            if obj["metadata"]["name"] == "tokyo-x7k2p-eks-controlplane-apply"
        ]
        bodies.append(main["spec"]["variables"])
    assert all(each == bodies[0] for each in bodies)
    assert bodies[0]["cluster_name"] == "tokyo-x7k2p"


# Upstream's template reads the VPC's outputs from a Secret that it names itself.
READS = "${cluster_name}-vpc-vpc-connection"


def _upstream() -> Object:
    made = template()
    spec = made["spec"]["template"]["spec"]
    spec["forProvider"]["vars"] = [{"key": "cluster_name", "value": "${cluster_name}"}]
    spec["forProvider"]["varFiles"] = [
        {
            "source": "SecretKey",
            "secretKeyRef": {"namespace": "fleet", "name": READS, "key": "vpc_config"},
        }
    ]
    return made


def test_the_main_apply_waits_for_a_vpc_that_writes_the_secret_which_its_template_reads() -> None:
    """Control plane, Cluster and infrastructure have one name: upstream's sample."""
    vpc = _vpc("tokyo-vpc", writes_to="tokyo-vpc-vpc-connection")
    done = run(plus(new(), vpc, _upstream()))
    assert done.has(APPLY, MAIN)
    assert done.last.verdict.reason == "Creating"


def test_a_template_that_reads_a_secret_which_nobody_writes_is_not_applied() -> None:
    """The verdict names both Secrets: the one that is read and the one that is written."""
    vpc = _vpc("tokyo-infra-vpc", THE_INFRASTRUCTURE, writes_to="tokyo-infra-vpc-vpc-connection")
    done = run(plus(_referring(_claimed()), vpc, _upstream()), key=KEY)
    assert not done.has(APPLY, "tokyo-x7k2p-eks-controlplane-apply")
    message = done.last.verdict.message
    assert "tokyo-x7k2p-vpc-vpc-connection" in message
    assert "tokyo-infra-vpc-vpc-connection" in message
    assert done.last.requeue_after == Policy().failing
    assert done.find("CAPTControlPlane", "tokyo-x7k2p")["status"]["phase"] == "Failed"


def test_a_template_of_one_s_own_reads_what_it_wants() -> None:
    """Only a template that reads that Secret is held to it."""
    vpc = _vpc("tokyo-infra-vpc", THE_INFRASTRUCTURE, writes_to="tokyo-infra-vpc-vpc-connection")
    done = run(plus(_referring(_claimed()), vpc), key=KEY)
    assert done.has(APPLY, "tokyo-x7k2p-eks-controlplane-apply")


def test_an_existing_main_apply_is_not_judged_by_the_secret_of_the_vpc() -> None:
    """A Ready control plane has its VPC: nothing is withdrawn and nothing is written."""
    vpc = _vpc("tokyo-vpc", writes_to="elsewhere")
    waits = {"spec": {"waitForWorkspaces": [{"name": "tokyo-vpc", "namespace": "fleet"}]}}
    objects = plus(changed(ready(), APPLY, MAIN, waits), vpc, _upstream())
    decision = look(objects)
    assert (decision.actions, decision.verdict.reason) == ((), "Ready")
    assert find(objects, APPLY, MAIN)["spec"]["waitForWorkspaces"]


def test_a_missing_template_is_reported_before_the_secret_that_it_would_read() -> None:
    """Without the template nobody knows what it reads."""
    vpc = _vpc("tokyo-vpc", writes_to="elsewhere")
    objects = [each for each in plus(new(), vpc) if each["kind"] != "WorkspaceTemplate"]
    assert look(objects).verdict.reason == "WorkspaceTemplateNotFound"
