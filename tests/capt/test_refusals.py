"""Refused writes: later passes report them once when nothing else is left, and retry in turns."""

from datetime import timedelta

import pytest
from attrs import evolve

from captep_core import (
    FINALIZER,
    Conflicted,
    Degraded,
    ObjectRef,
    Policy,
    ReconcileState,
    RecordEvent,
    Refusal,
    Refused,
    Reverted,
    Throttled,
    Write,
    control_plane_ref,
    decide,
    write_of,
)
from captep_core.capt._names import apply_ref, cluster_ref, secret_ref
from captep_core.capt._verdict import Severity
from captep_memory import (
    Admission,
    Key,
    MemoryGateway,
    Object,
    Request,
    Response,
    denied,
    load,
)
from captep_runtime import WriteHistory, run_pass
from tests.capt.driving import KEY, NOW, look, run, writes_of
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
CHECK = apply_ref("fleet", "tokyo-spot-role-check")
CREATE = apply_ref("fleet", "tokyo-spot-role-create")
GENERATOR = apply_ref("fleet", "tokyo-kubeconfig-apply")
CA = secret_ref("fleet", "tokyo-ca")
KUBECONFIG = secret_ref("fleet", "tokyo-kubeconfig")
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
def test_a_refused_write_is_reported_once_and_retried(
    case: str, objects: Objects, verb: str, target: ObjectRef, reason: str, status: int
) -> None:
    """The message names verb, kind, name and HTTP status; one report; 10 s."""
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
    """Status 409 is only retried, after 10 s; the report stays, secretsReady included."""
    done = run(objects, refuse={(verb, target): 409})
    assert STATUS not in writes_of(done.writes)
    assert (done.last.verdict.reason, done.passes[-1].requeue_after) == ("Ready", Policy().failing)
    assert done.events == ()


@pytest.mark.parametrize(("case", "objects", "verb", "target", "reason"), WRITES, ids=IDS)
def test_a_refusal_is_forgotten_once_the_write_succeeds(
    case: str, objects: Objects, verb: str, target: ObjectRef, reason: str
) -> None:
    """The report goes back to its earlier state."""
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
def test_a_refused_patch_of_the_control_plane_is_reported_by_its_field(
    patch: dict[str, object], reason: str
) -> None:
    """EndpointUpdateFailed for the endpoint, ControlPlaneUpdateFailed for other fields."""
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


def test_nothing_is_created_without_the_finalizer() -> None:
    """While the first write of a new control plane is refused, nothing needs cleaning up."""
    done = run(new(), refuse={("patch", KEY): 403})
    assert {str(each.target) for each in done.writes} == {"CAPTControlPlane fleet/tokyo"}
    conflict = look(new(), refusals=[Conflicted(Write("patch", KEY))])
    assert writes_of(conflict.actions) == [STATUS, "event CAPTControlPlane fleet/tokyo"]
    assert conflict.verdict.reason == "Creating"


def test_with_the_finalizer_the_rest_goes_on() -> None:
    """A refused field of the control plane does not stop the main apply."""
    objects = changed(
        without(waiting(), APPLY, MAIN.name),
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"workspaceTemplateApplyName": None}},
    )
    decision = look(objects, refusals=[Refused(Write("patch", KEY), 403)])
    assert writes_of(decision.actions) == [f"create {MAIN}"]
    assert decision.verdict.reason == "ControlPlaneUpdateFailed"


def test_fresh_writes_go_first_then_the_report_then_the_refused_ones() -> None:
    """This is the order of a pass that knows of refusals."""
    objects = without(without(ready(), "Secret", CA.name), "Secret", KUBECONFIG.name)
    refused = Refused(Write("create", CA), 403)
    assert writes_of(look(objects, refusals=[refused]).actions) == [f"create {KUBECONFIG}"]
    left = without(ready(), "Secret", CA.name)
    reported = look(left, refusals=[refused])
    assert writes_of(reported.actions) == [STATUS, "event CAPTControlPlane fleet/tokyo"]
    settled = run(left, refuse={("create", CA): 403}).objects
    assert writes_of(look(settled, refusals=[refused]).actions) == [f"create {CA}"]


def test_refused_writes_take_turns() -> None:
    """The write with the oldest try goes first."""
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


def test_one_refused_write_of_each_object_is_retried() -> None:
    """A success would make the version of a second one stale."""
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
    """The report does not depend on which was tried last; it would flip with every try."""
    objects = without(without(ready(), "Secret", CA.name), "Secret", KUBECONFIG.name)
    known = [Refused(Write("create", CA), 403), Refused(Write("create", KUBECONFIG), 500)]
    assert look(objects, refusals=known).verdict == look(objects, refusals=known[::-1]).verdict


def test_a_refusal_stays_outstanding_while_an_object_is_unreadable() -> None:
    """The Event of the unreadable object goes with the next try."""
    refusal = Refused(Write("create", CA), 403)
    decision = look(
        without(ready(), "Secret", CA.name), unreadable={GENERATOR: "Timeout"}, refusals=[refusal]
    )
    assert decision.verdict.reason == "KubeconfigGenerationFailed"
    assert writes_of(decision.actions) == ["event CAPTControlPlane fleet/tokyo", str(refusal.write)]
    assert (decision.outstanding, decision.requeue_after) == ((refusal,), Policy().failing)


def test_a_refused_status_changes_no_verdict() -> None:
    """The loop retries it after 10 s and does nothing else."""
    objects = without(ready(), "WorkspaceTemplate", "eks")
    done = run(objects, refuse={("patch", KEY): 422})
    assert (done.last.verdict.reason, done.passes[-1].requeue_after) == (
        "WorkspaceTemplateNotFound",
        Policy().failing,
    )
    assert {str(each.target) for each in done.writes} == {"CAPTControlPlane fleet/tokyo"}


def test_a_refused_cluster_status_is_retried_after_our_own_status() -> None:
    """The Cluster's status follows ours, and its refusal is no finding."""
    done = run(
        changed(ready(), "Cluster", "tokyo", {"status": None}), refuse={("patch", CLUSTER): 403}
    )
    assert (done.last.verdict.reason, done.passes[-1].requeue_after) == ("Ready", Policy().failing)
    assert set(writes_of(done.writes)) == {"patch Cluster fleet/tokyo/status"}


def test_a_refusal_of_an_unwanted_write_is_forgotten() -> None:
    """It is neither reported nor outstanding, and the interval is the verdict's."""
    gone = [
        Refused(Write("create", CA), 403),
        Refused(Write("patch", MAIN), 403),
        Refused(Write("patch", KEY, "status"), 422),
    ]
    decision = look(ready(), refusals=gone)
    assert (decision.actions, decision.outstanding, decision.verdict.reason) == ((), (), "Ready")
    assert decision.requeue_after == Policy().ready


def test_a_reverted_write_is_reported() -> None:
    """An accepted write that is wanted again counts as a refused one."""
    refusal = Reverted(Write("patch", CA))
    objects = changed(ready(), "Secret", CA.name, {"metadata": {"labels": None}})
    decision = look(objects, refusals=[refusal])
    message = "patch Secret fleet/tokyo-ca is accepted but does not last"
    assert (decision.verdict, decision.requeue_after) == (
        Degraded(Severity.FAILURE, "SecretReconciliationFailed", message),
        Policy().failing,
    )


def test_a_fight_is_reported_while_its_write_is_not_wanted() -> None:
    """The other writer may undo the write minutes later, so the report stays as long."""
    fight = Reverted(Write("patch", CA), ("metadata.labels",), "kubectl-edit")
    decision = look(ready(), refusals=[fight])
    assert decision.verdict == Degraded(Severity.FAILURE, "SecretReconciliationFailed", str(fight))


def test_a_refusal_before_the_first_ready_is_failed() -> None:
    """Before the first Ready, a refused write is phase Failed."""
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


def test_a_name_that_is_too_long_is_reported_as_its_refusal() -> None:
    """The server never accepts it, and the verdict shows the 422."""
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
    assert " is refused: HTTP 422 Invalid: " in done.last.verdict.message
    assert done.last.verdict.message.endswith(": must be no more than 253 bytes")
    assert done.passes[-1].requeue_after == Policy().failing


@pytest.mark.parametrize("retried", [Conflicted, Throttled])
def test_ready_is_not_reported_before_a_write_that_only_needs_a_retry(
    retried: type[Conflicted] | type[Throttled],
) -> None:
    """Such a write is no finding, and Ready without its endpoint would be a lie."""
    objects = changed(ready(), "CAPTControlPlane", "tokyo", {"status": None})
    objects = changed(
        objects, "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneEndpoint": None}}
    )
    decision = look(objects, refusals=[retried(Write("patch", KEY))])
    assert decision.verdict.reason == "Ready"
    assert writes_of(decision.actions) == [f"patch {KEY}"]


def test_a_region_that_nobody_gives_is_named_also_without_a_cluster() -> None:
    """The finding of the missing Cluster goes first; both are there."""
    objects = without(ready(), "Cluster", "tokyo")
    objects = without(objects, "WorkspaceTemplateApply", "tokyo-kubeconfig-apply")
    objects = changed(objects, "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneConfig": None}})
    assert look(objects).verdict.message == "Waiting for owner cluster"


def test_the_condition_has_the_words_of_the_server_and_keeps_the_first_ones() -> None:
    """A webhook counts its calls: the condition is written once, and not again after a restart."""
    calls = 0

    def validate(request: Request, obj: Object, old: Object | None) -> Response | None:
        nonlocal calls
        if request.verb != "create" or request.kind != APPLY:
            return None
        calls += 1
        return denied("quota", f"only 3 per team, ask #platform (call {calls})", code=422)

    world = evolve(load(new(), now=NOW), admission=(Admission(validate=validate),))
    gateway = MemoryGateway(world)
    reports = [status_writes(gateway) for _ in range(3)]
    head = f"create {MAIN} is refused: HTTP 422 Invalid: "
    words = 'admission webhook "quota" denied the request: only 3 per team, ask #platform (call 2)'
    stored = gateway.world.get(Key("controlplane.cluster.x-k8s.io", KEY.kind, "fleet", "tokyo"))
    assert stored is not None
    condition = stored["status"]["conditions"][0]
    assert (condition["message"], reports) == (head + words, [1, 0, 0])
    assert calls > 10


def status_writes(gateway: MemoryGateway) -> int:
    """Run a controller that has just started for ten passes; count its reports."""
    state, history, reports = ReconcileState(), WriteHistory(), 0
    for _ in range(10):
        now = gateway.world.now + timedelta(seconds=10)
        gateway.world = gateway.world.at(now)
        done = run_pass(decide, gateway, KEY, state, now=now, history=history, backs_off=True)
        state, history = done.state, done.history
        reports += sum(action.subresource == "status" for action, _ in done.sent)
    return reports
