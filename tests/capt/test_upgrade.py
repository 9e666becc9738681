"""Taking over from the Go controller: each defect is healed once, and everything else stays."""

import pytest

from captep_core import Ready, RecordEvent, purpose_of
from tests.capt.driving import look, run, writes_of
from tests.capt.worlds import (
    HOST,
    ROTATED,
    by_go,
    changed,
    condition,
    find,
    provided,
    ready,
    secret,
    unpaused,
    without,
)

ENDPOINT = {"spec": {"controlPlaneEndpoint": {"host": HOST, "port": 443}}}
APPLY = "WorkspaceTemplateApply"
MAIN = "tokyo-eks-controlplane-apply"


def test_a_world_of_the_go_controller_is_healed_by_five_writes() -> None:
    """Each defect is one write, and nothing else is touched."""
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
def test_objects_that_existing_clusters_rely_on_are_left_alone(kind: str, name: str) -> None:
    """The old kubeconfig Secret, the outputs Secret in default and the apply that names it stay."""
    assert run(by_go()).find(kind, name) == find(by_go(), kind, name)


def test_a_failure_of_the_go_controller_is_cleared() -> None:
    """One status write each turns Failed with failureReason into Ready."""
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
        "conditions": [
            condition("Ready", True, "Ready", "Control plane is ready", since=at),
            unpaused(at),
        ],
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
    """The loop fills an empty kubeconfig Secret as soon as it has a source."""
    done = run(changed(by_go(), "Secret", "tokyo-kubeconfig", {"data": {"value": ""}}))
    assert (
        done.find("Secret", "tokyo-kubeconfig")["data"]
        == find(ready(), "Secret", "tokyo-kubeconfig")["data"]
    )


def test_a_false_claim_of_secrets_ready_is_withdrawn() -> None:
    """Without any kubeconfig, Ready stays, secretsReady goes, and the condition says why."""
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
    """A new kubeconfig apply writes into its own namespace and reads no Secret in default."""
    other = secret("tokyo-outputs-kubeconfig", {"kubeconfig": ROTATED}, namespace="default")
    done = run([*provided(), other])
    assert not done.has("Secret", "tokyo-kubeconfig")


def test_a_new_version_is_written_once_with_an_event() -> None:
    """An applied apply passes nothing on, so one Event says it; Ready stays."""
    done = run(changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"version": "1.34"}}))
    assert [each.body for each in done.writes] == [
        {"spec": {"variables": {"kubernetes_version": "1.34"}}}
    ]
    message = (
        f"spec.version is written to {MAIN}, which was applied before and "
        "does not pass it on to its Workspace"
    )
    assert [(each.type, each.reason, each.message) for each in done.events] == [
        ("Warning", "VersionNotPassedOn", message)
    ]
    assert (done.last.verdict.reason, len(done.passes)) == ("Ready", 2)


def test_the_event_of_a_new_version_claims_nothing_about_the_verdict() -> None:
    """The verdict is Ready; the purpose of the Event names the Event alone."""
    decision = look(changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"version": "1.34"}}))
    [event] = [each for each in decision.actions if isinstance(each, RecordEvent)]
    assert (decision.verdict, event.reason) == (Ready(), "VersionNotPassedOn")
    assert purpose_of(event) == "record the Event VersionNotPassedOn"
    others = [purpose_of(each) for each in decision.actions if each is not event]
    assert not [each for each in others if "verdict" in each or "VersionNotPassedOn" in each]


def test_a_version_that_the_apply_passes_on_records_no_event() -> None:
    """An apply that is not applied takes a new version; another variable is no version."""
    fresh = changed(provided(), APPLY, MAIN, {"status": None})
    objects = changed(fresh, "CAPTControlPlane", "tokyo", {"spec": {"version": "1.34"}})
    assert not [each for each in look(objects).actions if isinstance(each, RecordEvent)]
    tagged = changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"additionalTags": {"a": "b"}}})
    assert run(tagged).events == ()
