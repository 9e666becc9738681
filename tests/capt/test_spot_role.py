"""The role that spot instances need: looked for, made when missing, and never a reason to withdraw Ready."""

from typing import Any

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

APPLY, CHECK, CREATE = "WorkspaceTemplateApply", "tokyo-spot-role-check", "tokyo-spot-role-create"
DOING = "Failed to reconcile Spot Service-Linked Role: "


def _checked(objects: Objects, outputs: dict[str, Any] | None, **how: Any) -> Objects:  # noqa: ANN401 - passed on
    return plus(objects, workspace(CHECK, outputs, **how))


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


def test_the_check_is_made_first() -> None:
    """Row 9a: the whole manifest of the check."""
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
def test_a_role_that_is_missing_is_made(outputs: dict[str, Any]) -> None:
    """Row 9d: anything but the JSON value true is a missing role."""
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
def test_nothing_is_made_before_the_check_has_found_something(objects: Objects) -> None:
    """Row 9b: an unfinished check is neither a failure nor a missing role."""
    assert look(objects).actions == ()


@pytest.mark.parametrize("world", [waiting, ready], ids=["waiting", "ready"])
def test_a_role_that_was_made_is_fine(world: Any) -> None:  # noqa: ANN401 - one of the worlds
    """Row 9d: with a role_arn nothing is left to say."""
    decision = look(_making(world(), {"role_arn": "arn:aws:iam::1:role/spot"}))
    assert (decision.actions, decision.verdict.reason in ("Creating", "Ready")) == ((), True)


FAILURES: list[tuple[str, Any, str]] = [
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
def test_the_spot_role_never_withdraws_ready(case: str, breaking: Any, message: str) -> None:  # noqa: ANN401
    """Must 48: Ready stays, the failure is surfaced, and it looks again after 10 s."""
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
def test_before_it_was_ready_the_spot_role_is_a_failure(
    case: str,
    breaking: Any,  # noqa: ANN401
    message: str,
) -> None:
    """Must 48, row 9c: while not yet Ready it is SpotServiceLinkedRoleFailed."""
    done = run(breaking(waiting()))
    assert (done.last.verdict.reason, done.last.verdict.message) == (
        "SpotServiceLinkedRoleFailed",
        DOING + message,
    )
    status = done.find("CAPTControlPlane", "tokyo")["status"]
    assert (status["ready"], status["phase"]) == (False, "Failed")


def test_what_terraform_says_of_the_role_is_surfaced() -> None:
    """Must 48: a failing check is said once Ready."""
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
    """Section 8.5 and Must 48: nothing is made on account of what cannot be read; once Ready nothing is reported of it."""
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


def test_a_check_of_another_spec_is_made_right() -> None:
    """Section 8.8: variables and references of the check are ours as well."""
    done = run(
        changed(
            ready(), APPLY, CHECK, {"spec": {"variables": {"a": "b"}, "templateRef": {"name": "x"}}}
        )
    )
    assert [each.body for each in done.writes] == [
        {"spec": {"templateRef": {"name": "spot-role-check"}, "variables": None}}
    ]


def test_a_failing_check_before_ready_is_the_verdict() -> None:
    """Must 48: whatever happens to the spot role, while not yet Ready it is SpotServiceLinkedRoleFailed; failures show as Synced=False (Must 35)."""
    objects = plus(
        waiting(), workspace(CHECK, {}, entries=conditions(ready=False, synced="denied"))
    )
    assert (
        str(look(objects).verdict.message) == "Failed to reconcile Spot Service-Linked Role: denied"
    )


def test_no_role_is_made_before_the_check_shows_what_it_found() -> None:
    """Row 9d: a check whose Workspace shows no outputs has found nothing, and the role is global to the account."""
    assert look(plus(waiting(), workspace(CHECK, entries=[]))).actions == ()
