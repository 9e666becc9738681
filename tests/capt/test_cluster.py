"""Writes to the Cluster: the endpoint and Cluster API's own fields, each only when it differs."""

from typing import Any

import pytest

from captep_core import Policy, Preconditions
from tests.capt.driving import KEY, look, run
from tests.capt.worlds import (
    HOST,
    Object,
    Objects,
    changed,
    condition,
    conditions,
    created,
    find,
    new,
    ready,
    without,
)

AT = "2026-01-01T01:00:00Z"


def _writes(objects: Objects, **how: Any) -> list[object]:  # noqa: ANN401 - passed on
    return [each.body for each in run(objects, **how).writes if each.target.kind == "Cluster"]


def _cluster(status: Object) -> Objects:
    return changed(ready(), "Cluster", "tokyo", {"status": status})


def test_a_ready_cluster_is_not_written_to() -> None:
    """A Cluster that agrees with Cluster API's own controller is left alone."""
    assert _writes(ready()) == []


def test_stale_failures_go_once_ready() -> None:
    """One write removes failureReason and failureMessage from the Cluster."""
    left = {"failureReason": "EndpointUpdateFailed", "failureMessage": "conflict"}
    assert _writes(_cluster(left)) == [{"status": {"failureReason": None, "failureMessage": None}}]


def test_failures_stay_while_it_is_not_ready() -> None:
    """Failures of the Cluster are removed once Ready, and never set."""
    objects = without(
        _cluster({"failureReason": "Other", "failureMessage": "m"}),
        "Workspace",
        "tokyo-eks-controlplane",
    )
    assert _writes(objects) == [{"status": {"controlPlaneReady": False}}]


@pytest.mark.parametrize(
    "objects",
    [
        without(new(), "WorkspaceTemplate", "eks"),
        without(ready(), "Workspace", "tokyo-eks-controlplane"),
        changed(
            ready(),
            "Workspace",
            "tokyo-eks-controlplane",
            {"status": {"conditions": conditions(ready=False, synced="x")}},
        ),
    ],
    ids=["no template", "lost", "failing"],
)
def test_no_failure_is_written_to_the_cluster(objects: Objects) -> None:
    """Nothing sets failureReason, failureMessage or ControlPlaneInitialized=False."""
    for body in _writes(objects):
        assert body == {"status": {"controlPlaneReady": False}}


def test_a_new_cluster_is_not_marked_unready() -> None:
    """False equals absent, and ControlPlaneInitialized is Cluster API's until it is True."""
    objects = changed(
        new(),
        "Cluster",
        "tokyo",
        {"status": {"conditions": [condition("ControlPlaneInitialized", False, "Waiting")]}},
    )
    assert _writes(objects) == []


def test_initialized_is_set_once_and_other_conditions_stay() -> None:
    """ControlPlaneInitialized=True is one write; other conditions keep their place and fields."""
    other = {**condition("InfrastructureReady", False, "A", "b"), "severity": "Info"}
    done = run(_cluster({"conditions": [other]}))
    assert [each.body for each in done.writes] == [
        {"status": {"conditions": [other, condition("ControlPlaneInitialized", True, since=AT)]}}
    ]
    assert done.writes[0].preconditions == Preconditions("uid-of-cluster-tokyo", "100")


def test_the_reason_of_the_false_condition_goes_with_it() -> None:
    """ControlPlaneInitialized=True has no reason, severity or message, as Cluster API writes it."""
    waits = {
        **condition(
            "ControlPlaneInitialized", False, "WaitingForControlPlaneProviderInitialized", "m"
        ),
        "severity": "Info",
    }
    done = run(_cluster({"conditions": [waits]}))
    assert [each.body for each in done.writes] == [
        {"status": {"conditions": [condition("ControlPlaneInitialized", True, since=AT)]}}
    ]


def test_initialized_is_never_taken_back() -> None:
    """The condition stays True whatever happens later."""
    lost = run(without(ready(), "Workspace", "tokyo-eks-controlplane"))
    assert lost.find("Cluster", "tokyo")["status"]["conditions"] == [
        condition("ControlPlaneInitialized", True)
    ]
    said = _cluster({"conditions": [condition("ControlPlaneInitialized", True, "Their", "words")]})
    assert _writes(said) == []


def test_the_cluster_is_initialized_only_after_the_control_plane() -> None:
    """An uninitialized control plane leaves its Cluster uninitialized."""
    objects = changed(created(), "Cluster", "tokyo", {"status": None})
    assert _writes(objects) == []


def test_the_endpoint_is_a_patch_of_its_own() -> None:
    """One patch of one field by uid, without a lock on the rest of the Cluster."""
    done = run(changed(ready(), "Cluster", "tokyo", {"spec": {"controlPlaneEndpoint": None}}))
    assert [(each.body, each.preconditions) for each in done.writes] == [
        (
            {"spec": {"controlPlaneEndpoint": {"host": HOST, "port": 443}}},
            Preconditions("uid-of-cluster-tokyo"),
        )
    ]


@pytest.mark.parametrize(
    "status", [{"controlPlaneReady": False}, {"failureReason": "a"}, {"conditions": []}]
)
def test_publishing_to_the_cluster_can_be_switched_off(status: Object) -> None:
    """The Cluster gets no write, and the control plane's own status is as ever."""
    policy = Policy(publish_to_cluster="never")
    assert _writes(_cluster(status), policy=policy) == []
    fresh = changed(ready(), "CAPTControlPlane", "tokyo", {"status": None})
    assert run(fresh, policy=policy).find("CAPTControlPlane", "tokyo")["status"]["phase"] == "Ready"


def test_the_cluster_shows_only_the_stored_status() -> None:
    """While the control plane's status is refused, the Cluster does not get ahead of it."""
    objects = without(ready(), "Workspace", "tokyo-eks-controlplane")
    done = run(objects, refuse={("patch", KEY): 422})
    assert done.find("Cluster", "tokyo") == find(ready(), "Cluster", "tokyo")
    assert look(done.objects).verdict.reason == "WorkspaceStatusUpdateFailed"


def test_a_stale_ready_clears_no_failure_of_the_cluster() -> None:
    """With the verdict Failed and its report refused, the stored Ready removes nothing."""
    objects = without(_cluster({"failureReason": "a"}), "Workspace", "tokyo-eks-controlplane")
    assert _writes(objects, refuse={("patch", KEY): 422}) == []


def test_a_degraded_ready_clears_the_failures() -> None:
    """Ready with a problem to report is Ready."""
    objects = without(
        _cluster({"failureReason": "a", "failureMessage": "b"}), "WorkspaceTemplate", "eks"
    )
    assert _writes(objects) == [{"status": {"failureReason": None, "failureMessage": None}}]
