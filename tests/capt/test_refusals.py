"""Refused writes: observed by the passes that follow, told once they are all that is left, and tried again in turns."""

import pytest

from captep_core import (
    FINALIZER,
    Conflicted,
    Degraded,
    ObjectRef,
    Policy,
    RecordEvent,
    Refusal,
    Refused,
    Reverted,
    Write,
    control_plane_ref,
    write_of,
)
from captep_core.capt._names import apply_ref, cluster_ref, secret_ref
from captep_core.capt._verdict import Severity
from tests.capt.driving import KEY, look, run, writes_of
from tests.capt.worlds import (
    Objects,
    changed,
    find,
    new,
    provided,
    ready,
    waiting,
    without,
    workspace,
)

MAIN = apply_ref("fleet", "tokyo-eks-controlplane-apply")
CHECK, CREATE = (
    apply_ref("fleet", "tokyo-spot-role-check"),
    apply_ref("fleet", "tokyo-spot-role-create"),
)
GENERATOR = apply_ref("fleet", "tokyo-kubeconfig-apply")
CA, KUBECONFIG = secret_ref("fleet", "tokyo-ca"), secret_ref("fleet", "tokyo-kubeconfig")
CLUSTER = cluster_ref("fleet", "tokyo")
APPLY = "WorkspaceTemplateApply"
STATUS = "patch CAPTControlPlane fleet/tokyo/status"
OTHER = {"spec": {"controlPlaneEndpoint": {"host": "example.com", "port": 1}}}
NO_ROLE = [
    workspace("tokyo-spot-role-check", {"role_exists": False})
    if obj["metadata"]["name"] == "tokyo-spot-role-check" and obj["kind"] == "Workspace"
    else obj
    for obj in ready()
]

WRITES: list[tuple[str, Objects, str, ObjectRef, str]] = [
    ("create main", without(ready(), APPLY, MAIN.name), "create", MAIN, "Creating"),
    (
        "patch main",
        changed(ready(), APPLY, MAIN.name, {"spec": {"variables": None}}),
        "patch",
        MAIN,
        "WorkspaceTemplateApplyFailed",
    ),
    (
        "create check",
        without(ready(), APPLY, CHECK.name),
        "create",
        CHECK,
        "SpotServiceLinkedRoleFailed",
    ),
    (
        "patch check",
        changed(ready(), APPLY, CHECK.name, {"spec": {"variables": {"a": "b"}}}),
        "patch",
        CHECK,
        "SpotServiceLinkedRoleFailed",
    ),
    ("create create", NO_ROLE, "create", CREATE, "SpotServiceLinkedRoleFailed"),
    (
        "patch generator",
        changed(ready(), APPLY, GENERATOR.name, {"spec": {"variables": None}}),
        "patch",
        GENERATOR,
        "KubeconfigGenerationFailed",
    ),
    ("create ca", without(ready(), "Secret", CA.name), "create", CA, "SecretReconciliationFailed"),
    (
        "patch ca",
        changed(ready(), "Secret", CA.name, {"data": None}),
        "patch",
        CA,
        "SecretReconciliationFailed",
    ),
    (
        "create kubeconfig",
        without(ready(), "Secret", KUBECONFIG.name),
        "create",
        KUBECONFIG,
        "SecretReconciliationFailed",
    ),
    (
        "patch kubeconfig",
        changed(ready(), "Secret", KUBECONFIG.name, {"data": None}),
        "patch",
        KUBECONFIG,
        "SecretReconciliationFailed",
    ),
    (
        "delete kubeconfig",
        changed(ready(), "Secret", KUBECONFIG.name, {"type": "Opaque"}),
        "delete",
        KUBECONFIG,
        "SecretReconciliationFailed",
    ),
    (
        "endpoint of the Cluster",
        changed(ready(), "Cluster", "tokyo", OTHER),
        "patch",
        CLUSTER,
        "EndpointUpdateFailed",
    ),
]
IDS = [each[0] for each in WRITES]


@pytest.mark.parametrize("status", [403, 422, 500])
@pytest.mark.parametrize(("case", "objects", "verb", "target", "reason"), WRITES, ids=IDS)
def test_a_refused_write_is_told_once_and_tried_again(
    case: str, objects: Objects, verb: str, target: ObjectRef, reason: str, status: int
) -> None:
    """Section 8.7: reason by what was to be written; the message names verb, kind, name and HTTP status; one report; 10 s."""
    done = run(objects, refuse={(verb, target): status})
    assert done.passes[-1].requeue_after == Policy().failing
    assert done.last.verdict.reason == reason
    if reason != "Creating":
        message = f"{verb} {target} is refused: HTTP {status}"
        assert done.last.verdict == Degraded(Severity.FAILURE, reason, message)
        condition = done.find("CAPTControlPlane", "tokyo")["status"]["conditions"][0]
        assert (condition["status"], condition["reason"], condition["message"]) == (
            "True",
            reason,
            message,
        )
    assert writes_of(done.writes).count(STATUS) == 1
    assert writes_of(action for action, _ in done.passes[-1].sent) == [f"{verb} {target}"]
    assert done.acted <= 6


@pytest.mark.parametrize(("case", "objects", "verb", "target", "reason"), WRITES[1:], ids=IDS[1:])
def test_a_conflict_is_never_reported(
    case: str, objects: Objects, verb: str, target: ObjectRef, reason: str
) -> None:
    """Section 8.7: 409 is only retried: what was reported stays, secretsReady included; 10 s."""
    done = run(objects, refuse={(verb, target): 409})
    assert STATUS not in writes_of(done.writes)
    assert (done.last.verdict.reason, done.passes[-1].requeue_after) == ("Ready", Policy().failing)
    assert done.events == ()


@pytest.mark.parametrize(("case", "objects", "verb", "target", "reason"), WRITES, ids=IDS)
def test_what_went_through_is_forgotten(
    case: str, objects: Objects, verb: str, target: ObjectRef, reason: str
) -> None:
    """Section 8.7: once the write succeeds the report goes back to what it was, and no refusal is known."""
    stuck = run(objects, refuse={(verb, target): 403})
    healed = run(stuck.objects)
    assert healed.passes[-1].state.refusals == ()
    assert healed.last.verdict.reason in ("Ready", "Creating")


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ({"metadata": {"ownerReferences": []}}, "ControlPlaneUpdateFailed"),
        ({"spec": {"workspaceTemplateApplyName": None}}, "ControlPlaneUpdateFailed"),
        (OTHER, "EndpointUpdateFailed"),
    ],
)
def test_a_refused_control_plane_is_told_by_its_field(
    patch: dict[str, object], reason: str
) -> None:
    """Section 8.7: EndpointUpdateFailed for the endpoint, ControlPlaneUpdateFailed for other fields; its status is another write."""
    objects = changed(ready(), "CAPTControlPlane", "tokyo", patch)
    refusal = Refused(Write("patch", KEY), 403)
    decision = look(objects, refusals=[refusal])
    assert decision.verdict == Degraded(
        Severity.FAILURE, reason, "patch CAPTControlPlane fleet/tokyo is refused: HTTP 403"
    )
    assert (writes_of(decision.actions), decision.outstanding) == (
        [STATUS, "event CAPTControlPlane fleet/tokyo"],
        (refusal,),
    )


def test_nothing_is_made_without_the_finalizer() -> None:
    """Rule 6: when the first write of a new control plane is refused, nothing that needs cleaning up is created, pass after pass."""
    done = run(new(), refuse={("patch", KEY): 403})
    assert {str(each.target) for each in done.writes} == {"CAPTControlPlane fleet/tokyo"}
    conflict = look(new(), refusals=[Conflicted(Write("patch", KEY))])
    assert writes_of(conflict.actions) == [STATUS, "event CAPTControlPlane fleet/tokyo"]
    assert conflict.verdict.reason == "Creating"


def test_with_the_finalizer_the_rest_goes_on() -> None:
    """Section 8.2: a refused field of the control plane does not stop the main apply."""
    objects = changed(
        without(waiting(), APPLY, MAIN.name),
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"workspaceTemplateApplyName": None}},
    )
    decision = look(objects, refusals=[Refused(Write("patch", KEY), 403)])
    assert writes_of(decision.actions) == [f"create {MAIN}"]
    assert decision.verdict.reason == "ControlPlaneUpdateFailed"


def test_writes_that_were_not_refused_go_first_then_the_report_then_the_refused() -> None:
    """Section 8.7: the order of a pass that knows of refusals."""
    objects = without(without(ready(), "Secret", CA.name), "Secret", KUBECONFIG.name)
    refused = Refused(Write("create", CA), 403)
    assert writes_of(look(objects, refusals=[refused]).actions) == [f"create {KUBECONFIG}"]
    left = without(ready(), "Secret", CA.name)
    reported = look(left, refusals=[refused])
    assert writes_of(reported.actions) == [STATUS, "event CAPTControlPlane fleet/tokyo"]
    settled = run(left, refuse={("create", CA): 403}).objects
    assert writes_of(look(settled, refusals=[refused]).actions) == [f"create {CA}"]


def test_refused_writes_take_turns() -> None:
    """Section 8.7: several may be known at once; the one that was tried longest ago goes first."""
    objects = without(without(ready(), "Secret", CA.name), "Secret", KUBECONFIG.name)
    done = run(objects, refuse={("create", CA): 403, ("create", KUBECONFIG): 500})
    assert set(done.passes[-1].state.refusals) == {
        Refused(Write("create", CA), 403),
        Refused(Write("create", KUBECONFIG), 500),
    }
    for known in (done.last.outstanding, done.last.outstanding[::-1]):
        decision = look(done.objects, refusals=known)
        assert (decision.outstanding, writes_of(decision.actions)) == (
            known,
            [str(each.write) for each in known],
        )


def test_of_each_object_one_refused_write_is_tried_again() -> None:
    """Section 8.7: the one that waits longest; had it gone through, the other one would be bound to a version that is no more."""
    objects = changed(new(), "CAPTControlPlane", "tokyo", {"metadata": {"finalizers": [FINALIZER]}})
    both: list[Refusal] = [
        Conflicted(Write("patch", KEY, "status")),
        Refused(Write("patch", KEY), 504),
    ]
    others: list[Refusal] = [
        Refused(Write("create", CHECK), 403),
        Refused(Write("create", MAIN), 403),
    ]
    for known in (both, both[::-1]):
        decision = look(objects, refusals=[others[1], *known, others[0]])
        tried = [
            write_of(action) for action in decision.actions if not isinstance(action, RecordEvent)
        ]
        assert tried == [others[1].write, known[0].write, others[0].write]
        assert decision.outstanding == (others[1], *known, others[0])


def test_refusals_that_take_turns_are_reported_once() -> None:
    """Section 8.7, Must 2: whichever was tried last, the report is the same: it would flip with every try otherwise."""
    objects = without(without(ready(), "Secret", CA.name), "Secret", KUBECONFIG.name)
    known = [Refused(Write("create", CA), 403), Refused(Write("create", KUBECONFIG), 500)]
    assert look(objects, refusals=known).verdict == look(objects, refusals=known[::-1]).verdict


def test_a_refusal_stands_while_something_cannot_be_read() -> None:
    """Section 8.5 and 8.7: the Event of what cannot be read goes with the next try, and the refusal is not forgotten."""
    refusal = Refused(Write("create", CA), 403)
    decision = look(
        without(ready(), "Secret", CA.name), unreadable={GENERATOR: "Timeout"}, refusals=[refusal]
    )
    assert decision.verdict.reason == "KubeconfigGenerationFailed"
    assert writes_of(decision.actions) == ["event CAPTControlPlane fleet/tokyo", str(refusal.write)]
    assert (decision.outstanding, decision.requeue_after) == ((refusal,), Policy().failing)


def test_a_refused_status_changes_no_verdict() -> None:
    """Section 8.7: it is tried again, 10 s, and nothing else happens."""
    objects = without(ready(), "WorkspaceTemplate", "eks")
    done = run(objects, refuse={("patch", KEY): 422})
    assert (done.last.verdict.reason, done.passes[-1].requeue_after) == (
        "WorkspaceTemplateNotFound",
        Policy().failing,
    )
    assert {str(each.target) for each in done.writes} == {"CAPTControlPlane fleet/tokyo"}


def test_a_refused_cluster_status_is_tried_again_behind_the_own_one() -> None:
    """Section 8.7: the status of the Cluster is reported after ours, and refused without a finding."""
    done = run(
        changed(ready(), "Cluster", "tokyo", {"status": None}), refuse={("patch", CLUSTER): 403}
    )
    assert (done.last.verdict.reason, done.passes[-1].requeue_after) == ("Ready", Policy().failing)
    assert set(writes_of(done.writes)) == {"patch Cluster fleet/tokyo/status"}


def test_a_refusal_that_is_no_longer_wanted_is_forgotten() -> None:
    """Section 8.7: what need not be written any more is neither reported nor standing, and the interval is the verdict's."""
    gone = [
        Refused(Write("create", CA), 403),
        Refused(Write("patch", MAIN), 403),
        Refused(Write("patch", KEY, "status"), 422),
    ]
    decision = look(ready(), refusals=gone)
    assert (decision.actions, decision.outstanding, decision.verdict.reason) == ((), (), "Ready")
    assert decision.requeue_after == Policy().ready


def test_a_write_that_does_not_last_is_told() -> None:
    """A write that is accepted and yet wanted again stands like a refused one."""
    refusal = Reverted(Write("patch", CA))
    objects = changed(ready(), "Secret", CA.name, {"metadata": {"labels": None}})
    decision = look(objects, refusals=[refusal])
    message = "patch Secret fleet/tokyo-ca is accepted but does not last"
    assert (decision.verdict, decision.requeue_after) == (
        Degraded(Severity.FAILURE, "SecretReconciliationFailed", message),
        Policy().failing,
    )


def test_a_refusal_that_holds_ready_back_is_failed() -> None:
    """Section 8.3: before it was Ready, a refused write is phase Failed."""
    done = run(provided(), refuse={("create", CA): 403})
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["phase"], status["conditions"][0]["reason"]) == (
        "Failed",
        "SecretReconciliationFailed",
    )
    assert (
        done.find("CAPTControlPlane", "tokyo")["spec"]["controlPlaneEndpoint"]
        == find(ready(), "CAPTControlPlane", "tokyo")["spec"]["controlPlaneEndpoint"]
    )


def test_names_that_are_too_long_are_refused_and_told() -> None:
    """Must 49: what the server will never accept is reported as the refusal that it is."""
    name = "n" * 240
    objects = [
        {
            **obj,
            "metadata": {
                **obj["metadata"],
                "name": name if obj["metadata"]["name"] == "tokyo" else obj["metadata"]["name"],
            },
        }
        for obj in new()
    ]
    objects = changed(objects, "Cluster", name, {"spec": {"controlPlaneRef": {"name": name}}})
    done = run(objects, key=control_plane_ref("fleet", name))
    assert done.last.verdict.reason == "WorkspaceTemplateApplyFailed"
    assert done.last.verdict.message.endswith("is refused: HTTP 422")
    assert done.passes[-1].requeue_after == Policy().failing
