"""Taking over from the Go controller: what it left is healed once, and what existing clusters rely on is left alone."""

import pytest

from captep_core import RecordEvent
from tests.capt.driving import look, run, writes_of
from tests.capt.worlds import (
    HOST,
    by_go,
    changed,
    condition,
    find,
    provided,
    ready,
    secret,
    without,
)

ENDPOINT = {"spec": {"controlPlaneEndpoint": {"host": HOST, "port": 443}}}
APPLY, MAIN = "WorkspaceTemplateApply", "tokyo-eks-controlplane-apply"


def test_a_world_of_the_go_controller_is_healed_by_five_writes() -> None:
    """Must 10, 21, 23, 29, 44: each defect that it left is one write, and nothing else is touched."""
    done = run(by_go())
    assert [(str(each.target), each.subresource, each.body) for each in done.writes] == [
        ("CAPTControlPlane fleet/tokyo", None, ENDPOINT),
        (f"{APPLY} fleet/{MAIN}", None, {"spec": {"templateRef": {"namespace": "fleet"}}}),
        (
            "Secret fleet/tokyo-ca",
            None,
            {"metadata": {"labels": {"cluster.x-k8s.io/cluster-name": "tokyo"}}},
        ),
        ("Cluster fleet/tokyo", None, ENDPOINT),
        (
            "Cluster fleet/tokyo",
            "status",
            {"status": {"failureReason": None, "failureMessage": None}},
        ),
    ]
    assert (done.acted, done.last.verdict.reason, done.events) == (2, "Ready", ())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Secret", "tokyo-control-plane-kubeconfig"),
        ("Secret", "tokyo-outputs-kubeconfig"),
        ("Secret", "tokyo-kubeconfig"),
        (APPLY, "tokyo-kubeconfig-apply"),
        ("Workspace", "tokyo-kubeconfig"),
    ],
)
def test_what_existing_clusters_rely_on_is_left_alone(kind: str, name: str) -> None:
    """Must 23 and 27: the old kubeconfig Secret, the outputs Secret in default and the apply that names it stay as they are."""
    assert run(by_go()).find(kind, name) == find(by_go(), kind, name)


def test_a_failure_of_the_go_controller_is_forgotten() -> None:
    """Must 29 to 31: phase Failed with failureReason on both objects becomes Ready with one status write each."""
    left = {"failureReason": "EndpointUpdateFailed", "failureMessage": "conflict"}
    failed = {
        **left,
        "phase": "Failed",
        "ready": False,
        "initialized": False,
        "conditions": [condition("Ready", False, "EndpointUpdateFailed", "conflict")],
        "workspaceTemplateStatus": {"ready": False, "lastFailureMessage": "conflict"},
    }
    waits = {
        **condition("ControlPlaneInitialized", False, "EndpointUpdateFailed", "conflict"),
        "severity": "Error",
    }
    objects = changed(ready(), "CAPTControlPlane", "tokyo", {"status": failed})
    objects = changed(
        objects,
        "Cluster",
        "tokyo",
        {"status": {**left, "controlPlaneReady": False, "conditions": [waits]}},
    )
    done = run(objects)
    at = "2026-01-01T01:00:00Z"
    assert done.find("CAPTControlPlane", "tokyo")["status"] == {
        **find(ready(), "CAPTControlPlane", "tokyo")["status"],
        "conditions": [condition("Ready", True, "Ready", "Control plane is ready", since=at)],
    }
    cluster_status = done.find("Cluster", "tokyo")["status"]
    assert (
        cluster_status["controlPlaneReady"],
        "failureReason" in cluster_status,
        "failureMessage" in cluster_status,
    ) == (
        True,
        False,
        False,
    )
    assert writes_of(done.writes) == [
        "patch CAPTControlPlane fleet/tokyo/status",
        "patch Cluster fleet/tokyo/status",
    ]


def test_an_empty_kubeconfig_of_the_go_controller_is_filled() -> None:
    """Must 18: a kubeconfig Secret with an empty value is repaired as soon as there is one."""
    done = run(changed(by_go(), "Secret", "tokyo-kubeconfig", {"data": {"value": ""}}))
    assert (
        done.find("Secret", "tokyo-kubeconfig")["data"]
        == find(ready(), "Secret", "tokyo-kubeconfig")["data"]
    )


def test_a_lying_secrets_ready_is_taken_back() -> None:
    """Must 17 to 19: Ready and secretsReady without any kubeconfig: Ready stays, secretsReady goes, and it says why."""
    objects = without(
        without(by_go(), "Secret", "tokyo-outputs-kubeconfig"), "Secret", "tokyo-kubeconfig"
    )
    status = run(objects).find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["secretsReady"], status["conditions"][0]["message"]) == (
        True,
        False,
        "Waiting for secrets",
    )


def test_two_clusters_of_one_name_share_nothing_new() -> None:
    """Must 23: a new kubeconfig apply writes into its own namespace; another's Secret in default is not read."""
    other = secret(
        "tokyo-outputs-kubeconfig", {"kubeconfig": "of another cluster"}, namespace="default"
    )
    done = run([*provided(), other])
    assert not done.has("Secret", "tokyo-kubeconfig")


def test_a_new_version_is_written_once_and_said() -> None:
    """Must 38: one write of the variable and one Event, because an apply that was applied passes nothing on; Ready stays."""
    done = run(changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"version": "1.34"}}))
    assert [each.body for each in done.writes] == [
        {"spec": {"variables": {"kubernetes_version": "1.34"}}}
    ]
    message = f"spec.version is written to {MAIN}, which was applied before and does not pass it on to its Workspace"
    assert [(each.type, each.reason, each.message) for each in done.events] == [
        ("Warning", "VersionNotPassedOn", message)
    ]
    assert (done.last.verdict.reason, len(done.passes)) == ("Ready", 2)


def test_a_version_that_is_passed_on_is_not_worth_an_event() -> None:
    """Must 38: before it is applied, an apply takes a new version; another variable is no version."""
    fresh = changed(provided(), APPLY, MAIN, {"status": None})
    objects = changed(fresh, "CAPTControlPlane", "tokyo", {"spec": {"version": "1.34"}})
    assert not [each for each in look(objects).actions if isinstance(each, RecordEvent)]
    tagged = changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"additionalTags": {"a": "b"}}})
    assert run(tagged).events == ()
