"""The report: verdict, condition and phase; fields that latch, are mirrored, or are cleared."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from captep_core import Creating, Degraded, Failed, Policy, Ready, Unknown
from captep_core.capt._verdict import Finding, Holds, Rank, Severity, judge
from tests.capt.driving import NOW, look, ref, run, writes_of
from tests.capt.worlds import (
    ENDPOINT,
    ROTATED,
    SINCE,
    Object,
    Objects,
    base64_of,
    by_go,
    changed,
    condition,
    conditions,
    created,
    find,
    new,
    plus,
    provided,
    ready,
    ready_status,
    unpaused,
    waiting,
    without,
    workspace,
)

APPLY = "WorkspaceTemplateApply"
MAIN = "tokyo-eks-controlplane-apply"
WORKSPACE = "tokyo-eks-controlplane"
AT = "2026-01-01T01:00:00Z"


def _status_of(objects: Objects, **how: Any) -> Object:  # noqa: ANN401 - passed on
    found: Object = run(objects, **how).find("CAPTControlPlane", "tokyo")["status"]
    return found


def _conditions_of(objects: Objects, entries: Objects) -> Objects:
    """The conditions of the main Workspace, mirrored by its apply."""
    return changed(
        changed(objects, "Workspace", WORKSPACE, {"status": {"conditions": entries}}),
        APPLY,
        MAIN,
        {"status": {"conditions": entries}},
    )


@pytest.mark.parametrize("world", [created, waiting, ready], ids=lambda world: world.__name__)
def test_settled_worlds_are_at_rest(
    world: Callable[[], Objects],
) -> None:
    """In a settled world a pass sends nothing at all."""
    assert (look(world()).actions, len(run(world()).passes)) == ((), 1)


def test_a_new_control_plane_costs_two_passes_and_four_writes() -> None:
    """One write of the control plane, two creates, one status."""
    done = run(new())
    assert [writes_of(action for action, _ in each.sent) for each in done.passes] == [
        [
            "patch CAPTControlPlane fleet/tokyo",
            f"create {APPLY} fleet/tokyo-spot-role-check",
            f"create {APPLY} fleet/{MAIN}",
        ],
        ["patch CAPTControlPlane fleet/tokyo/status", "event CAPTControlPlane fleet/tokyo"],
        [],
    ]
    assert done.find("CAPTControlPlane", "tokyo")["status"] == {
        "ready": False,
        "initialized": False,
        "secretsReady": False,
        "phase": "Creating",
        "workspaceTemplateStatus": {"ready": False},
        "conditions": [
            condition("Ready", False, "Creating", "Control plane is being created", since=AT),
            unpaused(AT),
        ],
    }


def test_ready_is_reported_in_one_write() -> None:
    """One write holds the whole status."""
    objects = changed(
        ready(),
        "CAPTControlPlane",
        "tokyo",
        {"status": {**find(created(), "CAPTControlPlane", "tokyo")["status"]}},
    )
    objects = changed(
        objects, "Cluster", "tokyo", {"status": {"controlPlaneReady": False, "conditions": None}}
    )
    fresh = changed(
        objects,
        "CAPTControlPlane",
        "tokyo",
        {"status": {"workspaceTemplateStatus": None, "workspaceStatus": None}},
    )
    done = run(fresh)
    assert done.find("CAPTControlPlane", "tokyo")["status"] == {
        **ready_status(),
        "conditions": [
            condition("Ready", True, "Ready", "Control plane is ready", since=AT),
            unpaused(),
        ],
    }
    assert done.find("Cluster", "tokyo")["status"] == {
        "controlPlaneReady": True,
        "conditions": [condition("ControlPlaneInitialized", True, since=AT)],
    }
    assert writes_of(done.writes) == [
        "patch CAPTControlPlane fleet/tokyo/status",
        "patch Cluster fleet/tokyo/status",
    ]
    assert [(each.type, each.reason, each.message) for each in done.events] == [
        ("Normal", "Ready", "Control plane is ready")
    ]


def test_stale_failures_are_cleared_in_the_same_write() -> None:
    """failureReason, failureMessage and lastFailureMessage go together."""
    left = {
        "failureReason": "A",
        "failureMessage": "b",
        "workspaceTemplateStatus": {"lastFailureMessage": "c"},
    }
    done = run(changed(ready(), "CAPTControlPlane", "tokyo", {"status": left}))
    cleared = {
        "failureReason": None,
        "failureMessage": None,
        "workspaceTemplateStatus": {"lastFailureMessage": None},
    }
    assert [each.body for each in done.writes] == [{"status": cleared}]


def test_a_failure_is_never_terminal() -> None:
    """No failure sets failureReason or failureMessage."""
    for objects in (
        without(new(), "WorkspaceTemplate", "eks"),
        without(ready(), "Workspace", WORKSPACE),
        _conditions_of(waiting(), conditions(ready=False, synced="x")),
    ):
        assert not {"failureReason", "failureMessage"} & _status_of(objects).keys()


@pytest.mark.parametrize("world", [ready, by_go], ids=["ready", "by Go"])
def test_a_missing_cluster_is_creating_in_condition_and_phase(
    world: Callable[[], Objects],
) -> None:
    """Not ready, but still initialized; token and CA are still copied."""
    done = run(without(world(), "Cluster", "tokyo"))
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "Creating",
        "Waiting for owner cluster",
    )
    assert done.last.requeue_after == Policy().initializing
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["phase"], status["ready"], status["initialized"], status["secretsReady"]) == (
        "Creating",
        False,
        True,
        True,
    )
    assert status["conditions"][0] == condition(
        "Ready", False, "Creating", "Waiting for owner cluster", since=AT
    )
    rotated = changed(
        done.objects,
        "Secret",
        "tokyo-outputs-kubeconfig",
        {"data": {"kubeconfig": base64_of(ROTATED)}},
    )
    assert [each.body for each in run(rotated).writes] == [{"data": {"value": base64_of(ROTATED)}}]


def test_without_a_cluster_a_new_control_plane_only_reports() -> None:
    """The loop waits, and creates nothing that would need cleaning up."""
    done = run(without(new(), "Cluster", "tokyo"))
    assert writes_of(done.writes) == ["patch CAPTControlPlane fleet/tokyo/status"]
    assert done.last.verdict.message == "Waiting for owner cluster"


def test_a_lost_workspace_is_one_status_write() -> None:
    """Failed, WorkspaceStatusUpdateFailed, 10 s; endpoint, Secrets and applies stay."""
    done = run(without(ready(), "Workspace", WORKSPACE))
    message = f'Failed to update workspace status: workspaces.tf.upbound.io "{WORKSPACE}" not found'
    assert (done.last.verdict, done.last.requeue_after) == (
        Failed("WorkspaceStatusUpdateFailed", message),
        Policy().failing,
    )
    assert writes_of(done.writes) == [
        "patch CAPTControlPlane fleet/tokyo/status",
        "patch Cluster fleet/tokyo/status",
    ]
    expected = ready_status("Failed", "WorkspaceStatusUpdateFailed", message)
    expected["conditions"][0]["lastTransitionTime"] = AT
    assert done.find("CAPTControlPlane", "tokyo")["status"] == expected
    assert done.find("Cluster", "tokyo")["status"] == {
        "controlPlaneReady": False,
        "conditions": [condition("ControlPlaneInitialized", True)],
    }


def test_a_workspace_that_comes_back_is_ready_again() -> None:
    """The loss leaves no trace; initialized never moved."""
    lost = run(without(ready(), "Workspace", WORKSPACE)).objects
    back = run(plus(lost, find(ready(), "Workspace", WORKSPACE)))
    expected = ready_status()
    expected["conditions"][0]["lastTransitionTime"] = AT
    assert back.find("CAPTControlPlane", "tokyo")["status"] == expected
    assert back.find("Cluster", "tokyo")["status"] == find(ready(), "Cluster", "tokyo")["status"]


@pytest.mark.parametrize(
    ("entries", "reason", "message"),
    [
        (conditions(ready=False, synced="no quota"), "WorkspaceError", "no quota"),
        (
            [condition("Synced", False, "ReconcileError"), condition("Ready", False)],
            "WorkspaceError",
            "ReconcileError",
        ),
        ([condition("Synced", False)], "WorkspaceError", "the Workspace is not synced"),
        (
            [condition("Ready", False, "Creating", "says something")],
            "WorkspaceError",
            "says something",
        ),
        (conditions(ready=False), "Creating", "Control plane is being created"),
        (conditions(ready=False, reason="Deleting"), "Creating", "Control plane is being created"),
        ([condition("Ready", "Unknown")], "Creating", "Control plane is being created"),
        ([condition("Synced", True)], "Creating", "Control plane is being created"),
    ],
)
@pytest.mark.parametrize("world", [waiting, ready], ids=["waiting", "ready"])
def test_a_workspace_that_is_not_ready_withdraws_ready(
    world: Callable[[], Objects],
    entries: Objects,
    reason: str,
    message: str,
) -> None:
    """Synced=False is phase Failed while not Ready, any other state is Creating."""
    done = run(_conditions_of(world(), entries))
    assert (done.last.verdict.reason, done.last.verdict.message) == (reason, message)
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["initialized"]) == (False, world is ready)
    assert status["phase"] == ("Creating" if reason == "Creating" else "Failed")
    assert done.last.requeue_after == (
        Policy().initializing if reason == "Creating" else Policy().failing
    )


def test_a_failing_update_degrades_the_verdict() -> None:
    """A Ready control plane stays Ready and shows Terraform's message."""
    done = run(_conditions_of(ready(), conditions(synced="update failed")))
    assert (done.last.verdict, done.last.requeue_after) == (
        Degraded(Severity.FAILURE, "WorkspaceError", "update failed"),
        Policy().failing,
    )
    assert done.find("CAPTControlPlane", "tokyo")["status"] == ready_status(
        "Ready", "WorkspaceError", "update failed"
    )
    assert [(each.type, each.reason) for each in done.events] == [("Warning", "WorkspaceError")]


def test_a_failing_first_apply_prevents_the_first_ready() -> None:
    """Before the first Ready, the same finding is phase Failed."""
    done = run(_conditions_of(provided(), conditions(synced="x")))
    assert (done.last.verdict, done.find("CAPTControlPlane", "tokyo")["status"]["phase"]) == (
        Failed("WorkspaceError", "x"),
        "Failed",
    )


def test_the_workspace_counts_before_its_frozen_mirror() -> None:
    """The Workspace's own conditions count when it has any, the apply's mirror otherwise."""
    own = changed(
        ready(), "Workspace", WORKSPACE, {"status": {"conditions": conditions(ready=False)}}
    )
    assert look(own).verdict == Creating("Control plane is being created")
    mirrored = changed(ready(), "Workspace", WORKSPACE, {"status": {"conditions": []}})
    assert look(mirrored).verdict == Ready()


def test_an_apply_that_names_no_workspace_is_not_ready() -> None:
    """Conditions of an apply without a Workspace make nothing Ready."""
    objects = changed(
        created(), APPLY, MAIN, {"status": {"applied": True, "conditions": conditions()}}
    )
    assert look(objects).verdict == Creating("Control plane is being created")


def test_removed_conditions_and_outputs_keep_the_last_known_values() -> None:
    """A Workspace without conditions and atProvider changes nothing."""
    objects = changed(
        ready(), "Workspace", WORKSPACE, {"status": {"conditions": None, "atProvider": None}}
    )
    assert look(objects).actions == ()


def test_one_change_of_at_provider_is_one_status_write() -> None:
    """atProvider is mirrored exactly, but for null keys, which no merge patch can store."""
    provider: Object = {
        "outputs": {"cluster_endpoint": ENDPOINT, "n": 1, "e": {}, "l": [{"a": None}], "no": None},
        "checksum": "",
        "gone": None,
    }
    objects = plus(
        without(ready(), "Workspace", WORKSPACE),
        workspace(WORKSPACE, to={"name": "tokyo-eks-connection", "namespace": "fleet"}),
    )
    objects = [
        (
            {**obj, "status": {"atProvider": provider, "conditions": conditions()}}
            if obj["metadata"]["name"] == WORKSPACE
            else obj
        )
        for obj in objects
    ]
    done = run(objects)
    mirrored = {
        "outputs": {"cluster_endpoint": ENDPOINT, "n": 1, "e": {}, "l": [{}]},
        "checksum": "",
    }
    assert (
        done.find("CAPTControlPlane", "tokyo")["status"]["workspaceStatus"]["atProvider"]
        == mirrored
    )
    assert [each.body for each in done.writes] == [
        {
            "status": {
                "workspaceStatus": {
                    "atProvider": {"outputs": {"n": 1, "e": {}, "l": [{}]}, "checksum": ""}
                }
            }
        }
    ]


@pytest.mark.parametrize(
    ("reported", "stays"),
    [
        (SINCE, True),
        ("2026-01-01 00:00:00 +0000 UTC", True),
        ("2026-01-01 09:00:00 +0900 JST", True),
        ("2025-12-31 00:00:00 +0000 UTC", False),
        ("rubbish", False),
        (None, False),
    ],
)
def test_the_last_applied_revision_is_compared_as_an_instant(
    reported: str | None, stays: bool
) -> None:
    """Go's text for the same instant is left alone; any other value is replaced."""
    done = run(
        changed(
            ready(),
            "CAPTControlPlane",
            "tokyo",
            {"status": {"workspaceTemplateStatus": {"lastAppliedRevision": reported}}},
        )
    )
    wanted = (
        [] if stays else [{"status": {"workspaceTemplateStatus": {"lastAppliedRevision": SINCE}}}]
    )
    assert [each.body for each in done.writes] == wanted


def test_an_unknown_time_keeps_the_last_revision() -> None:
    """Without a lastAppliedTime nothing is written; two texts that are no times differ."""
    assert look(changed(ready(), APPLY, MAIN, {"status": {"lastAppliedTime": None}})).actions == ()
    odd = changed(ready(), APPLY, MAIN, {"status": {"lastAppliedTime": "odd"}})
    assert [each.body for each in run(odd).writes] == [
        {"status": {"workspaceTemplateStatus": {"lastAppliedRevision": "odd"}}}
    ]


def test_foreign_conditions_and_fields_stay() -> None:
    """Conditions are matched by type; those of others keep their place and fields."""
    foreign = condition("Paused", False, "NotPaused")
    ours = {**condition("Ready", False, "Creating", "old"), "observedGeneration": 3}
    done = run(
        changed(
            ready(),
            "CAPTControlPlane",
            "tokyo",
            {"status": {"conditions": [foreign, ours, condition("Later", True)]}},
        )
    )
    assert done.writes[0].body == {
        "status": {
            "conditions": [
                foreign,
                {
                    **condition("Ready", True, "Ready", "Control plane is ready", since=AT),
                    "observedGeneration": 3,
                },
                condition("Later", True),
            ]
        }
    }
    assert done.writes[0].preconditions.resource_version == "100"


def test_the_transition_time_moves_with_the_status_alone() -> None:
    """Another reason or message keeps the time; a second condition of the type is dropped."""
    twice = [condition("Ready", True, "Old", "old"), condition("Ready", False, "Other", "other")]
    done = run(changed(ready(), "CAPTControlPlane", "tokyo", {"status": {"conditions": twice}}))
    assert done.writes[0].body == {
        "status": {
            "conditions": [
                condition("Ready", True, "Ready", "Control plane is ready"),
                unpaused(AT),
            ]
        }
    }


def test_time_alone_writes_nothing() -> None:
    """With an hour between the passes a settled world stays untouched."""
    assert look(ready(), now=NOW + timedelta(hours=1)).actions == ()


def test_a_long_message_is_cut_by_characters() -> None:
    """32768 characters for a condition, 1024 for an Event, none of them split."""
    done = run(_conditions_of(waiting(), conditions(ready=False, synced="例" * 40000)))
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (
        status["conditions"][0]["message"]
        == status["workspaceTemplateStatus"]["lastFailureMessage"]
        == "例" * 32768
    )
    assert done.events[0].message == "例" * 1024
    assert done.acted == 1


def test_a_pruned_secrets_ready_is_no_reason_to_write() -> None:
    """An older CRD prunes the field; neither we nor the Cluster depend on it."""
    pruned = changed(ready(), "CAPTControlPlane", "tokyo", {"status": {"secretsReady": None}})
    assert look(pruned).actions == ()
    waits = changed(pruned, "Cluster", "tokyo", {"status": None})
    assert run(waits).find("Cluster", "tokyo")["status"]["conditions"] == [
        condition("ControlPlaneInitialized", True, since=AT)
    ]
    failing = run(_conditions_of(pruned, conditions(synced="x"))).writes
    status = failing[0].body
    assert status is not None
    assert "secretsReady" in dict(status)["status"]  # type: ignore[operator]  # an object


FLAGS: dict[str, Object] = {
    "ready": {"ready": None},
    "initialized": {"initialized": None},
    "secretsReady": {"secretsReady": None},
    "workspaceTemplateStatus.ready": {"workspaceTemplateStatus": {"ready": None}},
}


@pytest.mark.parametrize("flag", FLAGS)
def test_an_absent_flag_equals_false(flag: str) -> None:
    """Each flag by itself, as a definition without defaults leaves it."""
    assert (
        look(changed(created(), "CAPTControlPlane", "tokyo", {"status": FLAGS[flag]})).actions == ()
    )


@pytest.mark.parametrize("flag", ["ready", "initialized", "workspaceTemplateStatus.ready"])
def test_an_absent_flag_that_should_be_true_is_written(flag: str) -> None:
    """The one write holds the difference alone."""
    objects = changed(ready(), "CAPTControlPlane", "tokyo", {"status": FLAGS[flag]})
    wanted = (
        {"workspaceTemplateStatus": {"ready": True}}
        if flag.startswith("workspace")
        else {flag: True}
    )
    assert [each.body for each in run(objects).writes] == [{"status": wanted}]


@pytest.mark.parametrize("flag", ["ready", "workspaceTemplateStatus.ready"])
def test_an_absent_flag_hides_no_other_difference(flag: str) -> None:
    """A second flag with the wrong value is written either way."""
    objects = changed(created(), "CAPTControlPlane", "tokyo", {"status": FLAGS[flag]})
    objects = changed(objects, "CAPTControlPlane", "tokyo", {"status": {"secretsReady": True}})
    assert run(objects).find("CAPTControlPlane", "tokyo")["status"]["secretsReady"] is False
    absent = changed(
        ready(),
        "CAPTControlPlane",
        "tokyo",
        {"status": {"secretsReady": False, "initialized": None}},
    )
    assert run(absent).find("CAPTControlPlane", "tokyo")["status"]["secretsReady"] is True


@pytest.mark.parametrize("name", ["CAPTControlPlane", "Cluster"])
def test_an_unreadable_owner_stops_everything(name: str) -> None:
    """A control plane that may be paused gets no write; 10 s."""
    objects = changed(ready(), "Secret", "tokyo-ca", {"data": None})
    decision = look(objects, unreadable={ref(find(objects, name, "tokyo")): "Timeout"})
    events = [] if name == "CAPTControlPlane" else ["event CAPTControlPlane fleet/tokyo"]
    assert (writes_of(decision.actions), decision.requeue_after) == (events, Policy().failing)
    assert (
        decision.verdict.reason
        == f"{'ControlPlane' if name == 'CAPTControlPlane' else 'Cluster'}Unreadable"
    )


UNREADABLE = [
    ("Cluster", "tokyo", "ClusterUnreadable"),
    ("WorkspaceTemplate", "eks", "WorkspaceTemplateUnreadable"),
    (APPLY, MAIN, "WorkspaceTemplateApplyUnreadable"),
    ("Workspace", WORKSPACE, "WorkspaceStatusUpdateFailed"),
    (APPLY, "tokyo-spot-role-check", "SpotServiceLinkedRoleFailed"),
    ("Workspace", "tokyo-spot-role-check", "SpotServiceLinkedRoleFailed"),
    (APPLY, "tokyo-kubeconfig-apply", "KubeconfigGenerationFailed"),
    ("Secret", "tokyo-eks-connection", "SecretError"),
    ("Secret", "tokyo-outputs-kubeconfig", "SecretReconciliationFailed"),
    ("Secret", "tokyo-ca", "SecretReconciliationFailed"),
    ("Secret", "tokyo-kubeconfig", "SecretReconciliationFailed"),
]


@pytest.mark.parametrize(("kind", "name", "reason"), UNREADABLE)
def test_once_initialized_an_unreadable_object_changes_nothing(
    kind: str, name: str, reason: str
) -> None:
    """No status write; one Warning Event at the start and none after; 10 s."""
    done = run(ready(), unreadable={ref(find(ready(), kind, name)): "Timeout"})
    assert (done.writes, done.last.requeue_after) == ((), Policy().failing)
    assert isinstance(done.last.verdict, Unknown)
    assert done.last.verdict.reason == reason
    assert [(each.type, each.reason, each.message) for each in done.events] == [
        ("Warning", reason, done.last.verdict.message)
    ]
    assert "cannot be read: Timeout" in done.last.verdict.message
    again = look(ready(), unreadable={ref(find(ready(), kind, name)): "Timeout"}, verdict=reason)
    assert again.actions == ()


@pytest.mark.parametrize(("kind", "name", "reason"), UNREADABLE)
def test_before_initialized_an_unreadable_object_is_failed(
    kind: str, name: str, reason: str
) -> None:
    """Ready=False, phase Failed, with upstream's reason or <Kind>Unreadable; 10 s."""
    objects = changed(
        ready(),
        "CAPTControlPlane",
        "tokyo",
        {"status": find(created(), "CAPTControlPlane", "tokyo")["status"]},
    )
    objects = changed(objects, "CAPTControlPlane", "tokyo", {"status": {"initialized": False}})
    done = run(objects, unreadable={ref(find(objects, kind, name)): "Timeout"})
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["phase"], status["ready"], status["initialized"]) == ("Failed", False, False)
    assert (status["conditions"][0]["reason"], done.last.requeue_after) == (
        reason,
        Policy().failing,
    )
    assert {each.target.kind for each in done.writes} <= {"CAPTControlPlane", "Cluster"}


def test_findings_that_withdraw_ready_go_first() -> None:
    """Once initialized, they win even if another finding ranks before them."""
    objects = without(without(ready(), "WorkspaceTemplate", "eks"), "Workspace", WORKSPACE)
    assert look(objects).verdict.reason == "WorkspaceStatusUpdateFailed"
    fresh = changed(objects, "CAPTControlPlane", "tokyo", {"status": {"initialized": False}})
    assert look(fresh).verdict.reason == "WorkspaceTemplateNotFound"


RANKED = [Finding(rank, Severity.FAILURE, f"R{rank}", "m") for rank in Rank]


def test_the_verdict_does_not_depend_on_the_order_of_the_findings() -> None:
    """The ranks are one fixed order."""
    for at in range(len(RANKED)):
        rest = RANKED[at:]
        assert (
            judge(rest, initialized=False)
            == judge(rest[::-1], initialized=False)
            == Failed(f"R{at + 1}", "m")
        )
        assert (
            judge(rest, initialized=True)
            == judge(rest[::-1], initialized=True)
            == Degraded(Severity.FAILURE, f"R{at + 1}", "m")
        )


@pytest.mark.parametrize("kind", Severity)
@pytest.mark.parametrize("holds", Holds)
@pytest.mark.parametrize("initialized", [False, True])
def test_each_finding_gives_its_verdict(kind: Severity, holds: Holds, initialized: bool) -> None:
    """The whole table of severity, hold and initialized."""
    withdrawn = {
        Severity.WAITING: Creating("m", "R"),
        Severity.FAILURE: Failed("R", "m"),
        Severity.UNREADABLE: Unknown("R", "m"),
    }
    holding = holds is Holds.ALWAYS or not initialized
    surfaced = Unknown("R", "m") if kind is Severity.UNREADABLE else Degraded(kind, "R", "m")
    verdict = judge([Finding(Rank.TEMPLATE, kind, "R", "m", holds)], initialized=initialized)
    assert verdict == (withdrawn[kind] if holding else surfaced)


def test_no_finding_gives_ready() -> None:
    """No finding leaves Ready, before and after the first time."""
    assert judge([], initialized=False) == judge([], initialized=True) == Ready()
