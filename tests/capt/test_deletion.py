"""Deletion: what is deleted, in which order, what to wait for, and what stays."""

from typing import Any

import pytest

from captep_core import Conflicted, Policy, Preconditions, Write, refusal_of
from tests.capt.driving import KEY, Run, look, ref, run, writes_of
from tests.capt.worlds import (
    ENDPOINT,
    HOST,
    SINCE,
    Object,
    Objects,
    by_go,
    changed,
    created,
    deleting,
    find,
    new,
    owned,
    owner,
    ready,
    waiting,
    without,
)

APPLY = "WorkspaceTemplateApply"
MAIN = "tokyo-eks-controlplane-apply"
WORKSPACE = "tokyo-eks-controlplane"
KUBECONFIG_APPLY = "tokyo-kubeconfig-apply"
ITS_FINALIZER = {"metadata": {"finalizers": ["infrastructure.cluster.x-k8s.io/finalizer"]}}
WITHDRAW = "patch Cluster fleet/tokyo"
DELETE_MAIN = f"delete {APPLY} fleet/{MAIN}"
DELETE_KUBECONFIG = f"delete {APPLY} fleet/{KUBECONFIG_APPLY}"
RELEASE = "patch CAPTControlPlane fleet/tokyo"
EVENT = "event CAPTControlPlane fleet/tokyo"
WAITING = f"waiting until Workspace {WORKSPACE} is destroyed"


def _held(objects: Objects) -> Objects:
    """The main apply with the finalizer that its controller puts on it."""
    return changed(objects, APPLY, MAIN, ITS_FINALIZER)


def _going(objects: Objects) -> Objects:
    return deleting(objects, "CAPTControlPlane", "tokyo")


def _writes(objects: Objects, **how: Any) -> list[list[str]]:  # noqa: ANN401 - passed on
    return [writes_of(action for action, _ in each.sent) for each in run(objects, **how).passes]


def _steps() -> tuple[Run, Run]:
    """The whole deletion: until it waits, and after the Workspace is gone."""
    first = run(_going(_held(ready())))
    return first, run(without(first.objects, "Workspace", WORKSPACE))


def test_deletion_waits_for_the_workspace_and_releases_last() -> None:
    """Endpoint and main apply, then (Workspace gone) kubeconfig apply, then the finalizer."""
    waits, leaves = _steps()
    assert [writes_of(action for action, _ in each.sent) for each in waits.passes] == [
        [WITHDRAW, DELETE_MAIN, EVENT, EVENT],
        [],
    ]
    assert (waits.last.verdict.reason, waits.last.verdict.message) == (
        "AwaitingWorkspaceDeletion",
        WAITING,
    )
    assert waits.last.requeue_after == Policy().ready
    assert writes_of(leaves.writes) == [DELETE_KUBECONFIG, RELEASE]
    assert (leaves.last.verdict.reason, leaves.last.requeue_after) == ("Gone", None)
    assert leaves.has(APPLY, MAIN)
    assert not leaves.has("CAPTControlPlane", "tokyo")


def test_deletions_and_patches_carry_their_uid() -> None:
    """Every destructive write names its incarnation; the finalizers are a list."""
    waits, leaves = _steps()
    assert [(each.body, each.preconditions) for each in (*waits.writes, *leaves.writes)] == [
        ({"spec": {"controlPlaneEndpoint": None}}, Preconditions("uid-of-cluster-tokyo")),
        (None, Preconditions(f"uid-of-workspacetemplateapply-{MAIN}")),
        (None, Preconditions(f"uid-of-workspacetemplateapply-{KUBECONFIG_APPLY}")),
        ({"metadata": {"finalizers": None}}, Preconditions("uid-of-captcontrolplane-tokyo", "100")),
    ]


def test_a_deletion_records_one_event_at_its_start_and_one_when_it_waits() -> None:
    """No further Event while it goes on."""
    waits, leaves = _steps()
    expected = [
        ("Normal", "Deleting", f"{APPLY} fleet/{MAIN} is deleted"),
        ("Normal", "AwaitingWorkspaceDeletion", WAITING),
    ]
    assert [(each.type, each.reason, each.message) for each in waits.events] == expected
    still = look(waits.objects, verdict="AwaitingWorkspaceDeletion")
    assert still.actions == ()
    gone = look(without(waits.objects, "Workspace", WORKSPACE), verdict="AwaitingWorkspaceDeletion")
    assert writes_of(gone.actions) == [DELETE_KUBECONFIG, RELEASE]
    assert leaves.writes[-1].target == KEY


@pytest.mark.parametrize("workspace", [True, False], ids=["retained", "lost"])
def test_deletion_does_not_wait_for_a_retained_or_lost_workspace(workspace: bool) -> None:
    """A Workspace that stays, or is gone already, delays nothing."""
    objects = (
        changed(ready(), APPLY, MAIN, {"spec": {"retainWorkspaceOnDelete": True}})
        if workspace
        else without(ready(), "Workspace", WORKSPACE)
    )
    done = run(_going(_held(objects)))
    assert writes_of(done.passes[0].decision.actions) == [
        WITHDRAW,
        DELETE_MAIN,
        EVENT,
        DELETE_KUBECONFIG,
        RELEASE,
    ]
    assert (done.last.verdict.reason, done.has("Workspace", WORKSPACE)) == ("Gone", workspace)


def test_without_the_main_apply_deletion_does_not_wait() -> None:
    """This holds even while the Workspace is still there."""
    done = run(_going(without(ready(), APPLY, MAIN)))
    assert writes_of(done.passes[0].decision.actions) == [
        WITHDRAW,
        DELETE_KUBECONFIG,
        RELEASE,
        EVENT,
    ]
    assert (done.last.verdict.reason, done.has("Workspace", WORKSPACE)) == ("Gone", True)


def test_a_terminating_main_apply_is_not_deleted_again() -> None:
    """One delete; then the loop waits for the Workspace."""
    done = run(deleting(_going(ready()), APPLY, MAIN))
    assert [str(each.target) for each in done.writes] == ["Cluster fleet/tokyo"]
    assert done.last.verdict.reason == "AwaitingWorkspaceDeletion"


def test_a_terminating_kubeconfig_apply_delays_nothing() -> None:
    """The loop neither waits for it nor deletes it again."""
    objects = deleting(_going(without(ready(), "Workspace", WORKSPACE)), APPLY, KUBECONFIG_APPLY)
    assert writes_of(run(objects).writes) == [WITHDRAW, DELETE_MAIN, RELEASE]


@pytest.mark.parametrize(
    "objects", [created(), waiting(), new()], ids=["created", "waiting", "new"]
)
def test_an_unfinished_control_plane_can_be_deleted(objects: Objects) -> None:
    """Deletion copes with missing objects; without an endpoint the Cluster gets no write."""
    held = changed(
        objects,
        "CAPTControlPlane",
        "tokyo",
        {"metadata": {"finalizers": ["controlplane.cluster.x-k8s.io/captcontrolplane"]}},
    )
    done = run(_going(held))
    if done.last.verdict.reason == "AwaitingWorkspaceDeletion":
        done = run(without(done.objects, "Workspace", WORKSPACE))
    assert done.last.verdict.reason == "Gone"
    assert done.find("Cluster", "tokyo") == find(objects, "Cluster", "tokyo")


def test_without_our_finalizer_nothing_is_done() -> None:
    """The verdict is Released: no action, no interval; foreign finalizers are not ours to take."""
    decision = look(deleting(ready(), "CAPTControlPlane", "tokyo", "example.com/somebody"))
    assert (decision.actions, decision.requeue_after, decision.verdict.reason) == (
        (),
        None,
        "Released",
    )


def test_other_finalizers_stay() -> None:
    """Only our own finalizer is taken off."""
    both = ("example.com/a", "controlplane.cluster.x-k8s.io/captcontrolplane", "example.com/b")
    done = run(
        deleting(without(ready(), "Workspace", WORKSPACE), "CAPTControlPlane", "tokyo", *both)
    )
    assert done.writes[-1].body == {"metadata": {"finalizers": ["example.com/a", "example.com/b"]}}
    assert done.last.verdict.reason == "Released"


@pytest.mark.parametrize(
    ("endpoint", "withdrawn"),
    [
        ({"host": HOST, "port": 443}, True),
        ({"host": ENDPOINT, "port": 443}, True),
        ({"host": "example.com", "port": 443}, False),
        ({"host": HOST, "port": 6443}, False),
        ({"host": "", "port": 0}, False),
        (None, False),
    ],
)
def test_only_our_own_endpoint_is_withdrawn(endpoint: Object | None, withdrawn: bool) -> None:
    """One patch removes the field if it is ours, in the Go controller's URL form too."""
    done = run(
        _going(changed(ready(), "Cluster", "tokyo", {"spec": {"controlPlaneEndpoint": endpoint}}))
    )
    bodies = [each.body for each in done.writes if each.target.kind == "Cluster"]
    assert bodies == ([{"spec": {"controlPlaneEndpoint": None}}] if withdrawn else [])


def test_the_endpoint_of_a_go_world_is_withdrawn() -> None:
    """Control plane and Cluster both hold a URL."""
    done = run(_going(by_go()))
    assert "controlPlaneEndpoint" not in done.find("Cluster", "tokyo")["spec"]


def test_the_cluster_is_left_alone_where_cluster_api_publishes() -> None:
    """With publishing off, or with a missing Cluster, the deletion writes nothing to a Cluster."""
    assert WITHDRAW not in str(_writes(_going(ready()), policy=Policy(publish_to_cluster="never")))
    assert run(_going(without(ready(), "Cluster", "tokyo"))).last.verdict.reason in (
        "Gone",
        "AwaitingWorkspaceDeletion",
    )


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        (MAIN, [WITHDRAW, DELETE_KUBECONFIG, RELEASE]),
        (KUBECONFIG_APPLY, [WITHDRAW, DELETE_MAIN, RELEASE]),
    ],
)
def test_a_foreign_apply_is_neither_deleted_nor_waited_for(name: str, rest: list[str]) -> None:
    """A foreign apply stays, and so does its Workspace."""
    objects = ready() if name == MAIN else without(ready(), "Workspace", WORKSPACE)
    foreign = owned(find(objects, APPLY, name), owner("A", "b", of="c"))
    done = run(
        _going(
            [
                foreign if obj["metadata"]["name"] == name and obj["kind"] == APPLY else obj
                for obj in objects
            ]
        )
    )
    assert (writes_of(done.writes), done.last.verdict.reason, done.find(APPLY, name)) == (
        rest,
        "Gone",
        foreign,
    )


def test_an_orphaned_apply_of_our_name_is_deleted() -> None:
    """An apply of our name without a controller counts as ours."""
    orphan = owned(find(ready(), APPLY, MAIN))
    done = run(_going([orphan if obj["metadata"]["name"] == MAIN else obj for obj in ready()]))
    assert DELETE_MAIN in writes_of(done.writes)


@pytest.mark.parametrize(
    ("kind", "name", "reason", "written"),
    [
        ("Cluster", "tokyo", "ClusterUnreadable", []),
        (APPLY, MAIN, "WorkspaceTemplateApplyUnreadable", [WITHDRAW]),
        ("Workspace", WORKSPACE, "WorkspaceStatusUpdateFailed", [WITHDRAW, DELETE_MAIN]),
    ],
)
def test_an_unreadable_object_stops_the_later_steps(
    kind: str, name: str, reason: str, written: list[str]
) -> None:
    """Nothing that depends on it is given up: 10 s, a Warning Event, no status write."""
    done = run(_going(_held(ready())), unreadable={ref(find(ready(), kind, name)): "Timeout"})
    assert (writes_of(done.writes), done.last.requeue_after, done.last.verdict.reason) == (
        written,
        Policy().failing,
        reason,
    )
    assert (done.events[0].type, done.events[0].reason) == ("Warning", reason)
    assert done.has("CAPTControlPlane", "tokyo")
    assert done.has(APPLY, KUBECONFIG_APPLY)


def test_an_unreadable_kubeconfig_apply_keeps_the_finalizer() -> None:
    """While the Workspace is still there, the verdict is the wait for it."""
    target = {ref(find(ready(), APPLY, KUBECONFIG_APPLY)): "Timeout"}
    assert (
        run(_going(_held(ready())), unreadable=target).last.verdict.reason
        == "AwaitingWorkspaceDeletion"
    )
    done = run(_going(without(ready(), "Workspace", WORKSPACE)), unreadable=target)
    assert (done.last.verdict.reason, done.last.requeue_after) == (
        "KubeconfigGenerationFailed",
        Policy().failing,
    )
    assert RELEASE not in writes_of(done.writes)


def test_an_unreadable_object_is_reported_while_deleting_before_ready() -> None:
    """Ready=False with the reason, as without a deletion."""
    objects = changed(
        _going(_held(waiting())), "CAPTControlPlane", "tokyo", {"status": {"initialized": False}}
    )
    done = run(objects, unreadable={ref(find(objects, APPLY, MAIN)): "Timeout"})
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["phase"], status["conditions"][0]["reason"]) == (
        "Failed",
        "WorkspaceTemplateApplyUnreadable",
    )
    # The condition was False before and stays False: it keeps its time.
    assert status["conditions"][0]["lastTransitionTime"] == SINCE
    fresh = changed(objects, "CAPTControlPlane", "tokyo", {"status": None})
    reported = run(fresh, unreadable={ref(find(objects, APPLY, MAIN)): "Timeout"}).find(
        "CAPTControlPlane", "tokyo"
    )["status"]
    assert reported["conditions"][0]["lastTransitionTime"] == "2026-01-01T01:00:00Z"


def test_the_first_unreadable_object_is_the_verdict_of_a_deletion() -> None:
    """The main apply or its Workspace ranks before the kubeconfig apply."""
    objects = _going(_held(ready()))
    last = ref(find(ready(), APPLY, KUBECONFIG_APPLY))
    for kind, name, reason in (
        (APPLY, MAIN, "WorkspaceTemplateApplyUnreadable"),
        ("Workspace", WORKSPACE, "WorkspaceStatusUpdateFailed"),
    ):
        decision = look(
            objects, unreadable={ref(find(ready(), kind, name)): "Timeout", last: "Timeout"}
        )
        assert (decision.verdict.reason, decision.requeue_after) == (reason, Policy().failing)


def test_a_refused_step_is_reported_while_the_workspace_is_awaited() -> None:
    """The refusal ranks before the wait; the other writes go on."""
    decision = look(
        _going(ready()),
        refusals=[refusal_of(Write("delete", ref(find(ready(), APPLY, MAIN))), 403)],
    )
    assert (decision.verdict.reason, decision.requeue_after) == (
        "WorkspaceTemplateApplyFailed",
        Policy().failing,
    )
    assert writes_of(decision.actions) == [WITHDRAW]


def test_an_unreadable_cluster_leaves_no_refusal_outstanding() -> None:
    """Nothing is wanted, so no refusal is outstanding."""
    unread = {ref(find(ready(), "Cluster", "tokyo")): "Timeout"}
    refusals = [refusal_of(Write("delete", ref(find(ready(), APPLY, MAIN))), 403)]
    decision = look(
        _going(ready()), unreadable=unread, refusals=refusals, verdict="ClusterUnreadable"
    )
    assert (decision.verdict.reason, decision.actions, decision.outstanding) == (
        "ClusterUnreadable",
        (),
        (),
    )


@pytest.mark.parametrize("status", [403, 422, 500])
@pytest.mark.parametrize(
    ("verb", "kind", "name", "reason", "stays"),
    [
        ("patch", "Cluster", "tokyo", "EndpointUpdateFailed", {KUBECONFIG_APPLY}),
        ("delete", APPLY, MAIN, "WorkspaceTemplateApplyFailed", {KUBECONFIG_APPLY, MAIN}),
        ("delete", APPLY, KUBECONFIG_APPLY, "KubeconfigGenerationFailed", {KUBECONFIG_APPLY}),
        ("patch", "CAPTControlPlane", "tokyo", "ControlPlaneUpdateFailed", set()),
    ],
)
def test_a_refused_step_is_reported_and_stops_the_later_steps(
    verb: str, kind: str, name: str, reason: str, stays: set[str], status: int
) -> None:
    """Reason, verb, kind, name and status; 10 s; the finalizer stays until it went through."""
    objects = _going(without(ready(), "Workspace", WORKSPACE))
    target = ref(find(objects, kind, name))
    done = run(objects, refuse={(verb, target): status})
    assert (done.last.verdict.reason, done.passes[-1].requeue_after) == (reason, Policy().failing)
    assert done.last.verdict.message == f"{verb} {kind} fleet/{name} is refused: HTTP {status}"
    assert done.has("CAPTControlPlane", "tokyo")
    assert {each for each in (MAIN, KUBECONFIG_APPLY) if done.has(APPLY, each)} == stays


def test_a_conflict_is_retried_and_not_reported() -> None:
    """Status 409 changes no verdict; the later steps wait."""
    objects = _going(without(ready(), "Workspace", WORKSPACE))
    decision = look(
        objects,
        refusals=[Conflicted(Write("delete", ref(find(objects, APPLY, MAIN))))],
        verdict="Deleting",
    )
    assert (decision.verdict.reason, decision.requeue_after) == ("Deleting", Policy().failing)
    assert writes_of(decision.actions) == [WITHDRAW]


def test_secrets_and_spot_applies_are_left_to_garbage_collection() -> None:
    """The deletion sends no request for them."""
    _, leaves = _steps()
    for kind, name in (
        ("Secret", "tokyo-ca"),
        ("Secret", "tokyo-kubeconfig"),
        (APPLY, "tokyo-spot-role-check"),
    ):
        assert leaves.has(kind, name)


def test_an_endpoint_that_is_no_endpoint_is_withdrawn_only_where_it_is_the_same() -> None:
    """A URL that cannot be parsed is compared as it stands."""
    odd = {"host": "https://not a host", "port": 443}
    objects = changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneEndpoint": odd}})
    objects = changed(objects, "Cluster", "tokyo", {"spec": {"controlPlaneEndpoint": odd}})
    assert WITHDRAW in str(_writes(_going(objects)))
