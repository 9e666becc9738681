"""The role that spot instances need: checked, created when missing, no reason to withdraw Ready."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from captep_core import Policy
from tests.capt.driving import look, ref, run, writes_of
from tests.capt.worlds import (
    Object,
    Objects,
    apply,
    changed,
    conditions,
    created,
    find,
    new,
    owned,
    owner,
    plus,
    ready,
    waiting,
    without,
    workspace,
)

APPLY = "WorkspaceTemplateApply"
CHECK = "tokyo-spot-role-check"
CREATE = "tokyo-spot-role-create"
DOING = "Failed to reconcile Spot Service-Linked Role: "


def _checked(
    objects: Objects, outputs: dict[str, Any] | None, *, entries: Objects | None = None
) -> Objects:
    return plus(objects, workspace(CHECK, outputs, entries=entries))


def _making(
    objects: Objects, outputs: dict[str, Any] | None = None, *, entries: Objects | None = None
) -> Objects:
    made = owned(
        apply(
            CREATE,
            {"templateRef": {"name": "spot-role-create", "namespace": "fleet"}},
            applied=CREATE,
        ),
        owner("CAPTControlPlane", "tokyo"),
    )
    return plus(
        _checked(objects, {"role_exists": False}), made, workspace(CREATE, outputs, entries=entries)
    )


def test_the_check_is_created_first() -> None:
    """The whole manifest of the check."""
    [check] = [each for each in look(new()).actions if each.target.name == CHECK]
    assert check.body == {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
        "kind": APPLY,
        "metadata": {
            "name": CHECK,
            "namespace": "fleet",
            "ownerReferences": [owner("CAPTControlPlane", "tokyo")],
        },
        "spec": {"templateRef": {"name": "spot-role-check", "namespace": "fleet"}},
    }


@pytest.mark.parametrize(
    "outputs",
    [{"role_exists": False}, {"role_exists": "true"}, {"role_exists": 1}, {"other": True}],
)
def test_a_missing_role_is_created(outputs: dict[str, Any]) -> None:
    """Anything but the JSON value true is a missing role."""
    done = run(_checked(waiting(), outputs))
    assert writes_of(done.writes) == [f"create {APPLY} fleet/{CREATE}"]
    assert done.find(APPLY, CREATE)["spec"] == {
        "templateRef": {"name": "spot-role-create", "namespace": "fleet"}
    }
    assert done.last.verdict.message == "Control plane is being created"


@pytest.mark.parametrize(
    "objects",
    [
        created(),
        waiting(),
        _checked(waiting(), {"role_exists": False}, entries=conditions(ready=False)),
    ],
    ids=["not applied", "exists", "not Ready"],
)
def test_no_role_is_created_before_the_check_is_done(objects: Objects) -> None:
    """An unfinished check is neither a failure nor a missing role."""
    assert look(objects).actions == ()


@pytest.mark.parametrize("world", [waiting, ready], ids=["waiting", "ready"])
def test_a_created_role_is_no_problem(world: Callable[[], Objects]) -> None:
    """With a role_arn there is nothing to report."""
    decision = look(_making(world(), {"role_arn": "arn:aws:iam::1:role/spot"}))
    assert (decision.actions, decision.verdict.reason in ("Creating", "Ready")) == ((), True)


Change: TypeAlias = Callable[[Objects], Objects]
FAILURES: list[tuple[str, Change, str]] = [
    (
        "lost",
        lambda objects: without(objects, "Workspace", CHECK),
        f'workspaces.tf.upbound.io "{CHECK}" not found',
    ),
    (
        "no arn",
        lambda objects: _making(objects, {"other": "x"}),
        "role_arn not found in outputs of the workspace",
    ),
    (
        "create lost",
        lambda objects: without(_making(objects), "Workspace", CREATE),
        f'workspaces.tf.upbound.io "{CREATE}" not found',
    ),
]


@pytest.mark.parametrize(
    ("case", "breaking", "message"), FAILURES, ids=[each[0] for each in FAILURES]
)
def test_the_spot_role_never_withdraws_ready(case: str, breaking: Change, message: str) -> None:
    """Ready stays, the verdict is Degraded, and the loop looks again after 10 s."""
    done = run(breaking(ready()))
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "SpotServiceLinkedRoleFailed",
        DOING + message,
    )
    assert done.last.requeue_after == Policy().failing
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["phase"], status["conditions"][0]["reason"]) == (
        True,
        "Ready",
        "SpotServiceLinkedRoleFailed",
    )
    assert done.find("Cluster", "tokyo") == find(ready(), "Cluster", "tokyo")


@pytest.mark.parametrize(
    ("case", "breaking", "message"), FAILURES, ids=[each[0] for each in FAILURES]
)
def test_a_spot_role_problem_before_the_first_ready_is_a_failure(
    case: str,
    breaking: Change,
    message: str,
) -> None:
    """The verdict is SpotServiceLinkedRoleFailed."""
    done = run(breaking(waiting()))
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "SpotServiceLinkedRoleFailed",
        DOING + message,
    )
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["phase"]) == (False, "Failed")


def test_terraforms_message_about_the_role_is_reported() -> None:
    """Once Ready, a failing check degrades the verdict."""
    done = run(_checked(ready(), {}, entries=conditions(ready=False, synced="denied")))
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "SpotServiceLinkedRoleFailed",
        DOING + "denied",
    )
    assert done.find("CAPTControlPlane", "tokyo")["status"]["ready"] is True


@pytest.mark.parametrize(
    ("kind", "name"), [(APPLY, CHECK), ("Workspace", CHECK), (APPLY, CREATE), ("Workspace", CREATE)]
)
def test_an_unreadable_role_changes_nothing(kind: str, name: str) -> None:
    """Nothing is created, and once Ready nothing is reported."""
    objects: Objects = _making(ready(), {"role_arn": "arn"})
    target: Object = find(objects, kind, name)
    decision = look(objects, unreadable={ref(target): "Timeout"})
    assert (decision.verdict.reason, decision.requeue_after) == (
        "SpotServiceLinkedRoleFailed",
        Policy().failing,
    )
    assert writes_of(decision.actions) == ["event CAPTControlPlane fleet/tokyo"]
    assert decision.verdict.message.endswith(
        f"{kind} {'fleet/' if kind == APPLY else ''}{name} cannot be read: Timeout"
    )


def test_a_check_with_another_spec_is_repaired() -> None:
    """Variables and references of the check are ours too."""
    done = run(
        changed(
            ready(), APPLY, CHECK, {"spec": {"variables": {"a": "b"}, "templateRef": {"name": "x"}}}
        )
    )
    assert [each.body for each in done.writes] == [
        {"spec": {"templateRef": {"name": "spot-role-check"}, "variables": None}}
    ]


def test_a_failing_check_before_ready_is_the_verdict() -> None:
    """Synced=False of the check is SpotServiceLinkedRoleFailed while not yet Ready."""
    objects = plus(
        waiting(), workspace(CHECK, {}, entries=conditions(ready=False, synced="denied"))
    )
    assert (
        str(look(objects).verdict.message) == "Failed to reconcile Spot Service-Linked Role: denied"
    )


def test_no_role_is_created_before_the_check_shows_outputs() -> None:
    """The role is global to the account, so an empty result is no reason to create one."""
    assert look(plus(waiting(), workspace(CHECK, entries=[]))).actions == ()
