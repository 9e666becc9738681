"""Which verdict wins among several problems, and which changes record an Event (CAPTEP-0007)."""

from collections.abc import Callable, Mapping
from itertools import combinations

import pytest

from captep_core import Degraded, Policy, Unknown
from captep_core.capt._verdict import Severity
from tests.capt.driving import look, ref, run
from tests.capt.worlds import (
    Objects,
    apply,
    changed,
    conditions,
    find,
    owned,
    owner,
    plus,
    ready,
    secret,
    without,
)

APPLY = "WorkspaceTemplateApply"
MAIN = "tokyo-eks-controlplane"
STRANGER = owner("X", "y", of="z")


def foreign(objects: Objects, kind: str, name: str) -> Objects:
    """Return the world in which somebody else controls an object."""
    return plus(objects, owned(find(objects, kind, name), STRANGER))


def failing(objects: Objects, workspace: str) -> Objects:
    """Return the world in which a Workspace is Ready and no longer synced."""
    return changed(
        objects,
        "Workspace",
        workspace,
        {"status": {"conditions": conditions(synced=f"{workspace} fails")}},
    )


# In the order of `Rank`: the test of pairs relies on it. None of them withdraws Ready.
PROBLEMS: Mapping[str, tuple[Callable[[Objects], Objects], str]] = {
    "no template": (
        lambda objects: without(objects, "WorkspaceTemplate", "eks"),
        "WorkspaceTemplateNotFound",
    ),
    "main is foreign": (
        lambda objects: foreign(objects, APPLY, f"{MAIN}-apply"),
        "WorkspaceTemplateApplyFailed",
    ),
    "the spot role": (
        lambda objects: without(objects, "Workspace", "tokyo-spot-role-check"),
        "SpotServiceLinkedRoleFailed",
    ),
    "a damaged CA": (
        lambda objects: plus(
            objects, secret("tokyo-eks-connection", {"cluster_certificate_authority_data": "x"})
        ),
        "SecretError",
    ),
    "no new token": (
        lambda objects: failing(objects, "tokyo-kubeconfig"),
        "KubeconfigGenerationFailed",
    ),
    "a foreign Secret": (
        lambda objects: foreign(objects, "Secret", "tokyo-kubeconfig"),
        "SecretReconciliationFailed",
    ),
    "no source": (
        lambda objects: without(objects, "Secret", "tokyo-outputs-kubeconfig"),
        "Creating",
    ),
}


@pytest.mark.parametrize(("first", "second"), list(combinations(PROBLEMS, 2)))
def test_the_first_of_two_problems_is_the_verdict(first: str, second: str) -> None:
    """With a foreign main apply, its Workspace is not looked at."""
    (break_first, reason), (break_second, _) = PROBLEMS[first], PROBLEMS[second]
    assert look(break_second(break_first(ready()))).verdict.reason == reason
    assert look(break_first(break_second(ready()))).verdict.reason == reason


@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_problem_alone_degrades_the_verdict(problem: str) -> None:
    """A wait is looked at again after 5 s, a failure after 10 s, and Ready stays."""
    breaking, reason = PROBLEMS[problem]
    decision = look(breaking(ready()))
    kind, seconds = (
        (Severity.WAITING, Policy().initializing)
        if problem == "no source"
        else (Severity.FAILURE, Policy().failing)
    )
    assert decision.verdict == Degraded(kind, reason, decision.verdict.message)
    assert decision.requeue_after == seconds


def test_a_damaged_kubeconfig_is_a_secret_error() -> None:
    """As for the certificate; it ranks before the problems of our own copies."""
    objects = plus(ready(), secret("tokyo-outputs-kubeconfig", {"kubeconfig": ""}))
    expected = Degraded(
        Severity.FAILURE, "SecretError", "Failed to get kubeconfig: kubeconfig not found in secret"
    )
    assert (
        look(objects).verdict
        == look(foreign(objects, "Secret", "tokyo-kubeconfig")).verdict
        == expected
    )


# In the order of `Rank`. An unreadable object hides another one only if it names that one.
UNREADABLE = [
    ("WorkspaceTemplate", "eks"),
    (APPLY, f"{MAIN}-apply"),
    (APPLY, "tokyo-vpc"),
    ("Workspace", MAIN),
    (APPLY, "tokyo-spot-role-check"),
    ("Workspace", "tokyo-spot-role-check"),
    ("Secret", "tokyo-eks-connection"),
    (APPLY, "tokyo-kubeconfig-apply"),
    ("Secret", "tokyo-outputs-kubeconfig"),
    ("Secret", "tokyo-ca"),
    ("Secret", "tokyo-kubeconfig"),
]


@pytest.mark.parametrize(("first", "second"), list(combinations(UNREADABLE, 2)))
def test_the_first_of_two_unreadable_objects_is_the_verdict(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    """The order is the same as for all other problems; 10 s."""
    objects = plus(ready(), apply("tokyo-vpc", {}))
    refs = [ref(find(objects, *each)) for each in (first, second)]
    decision = look(objects, unreadable=dict.fromkeys(refs, "Timeout"))
    assert isinstance(decision.verdict, Unknown)
    assert (decision.verdict.message, decision.requeue_after) == (
        look(objects, unreadable={refs[0]: "Timeout"}).verdict.message,
        Policy().failing,
    )


@pytest.mark.parametrize("suffix", ["vpc", "spot-role-check"])
def test_an_ambiguous_name_ranks_as_the_apply(suffix: str) -> None:
    """After the template, before the spot role."""
    objects = changed(
        ready(),
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"workspaceTemplateApplyName": f"tokyo-{suffix}"}},
    )
    message = (
        f"spec.workspaceTemplateApplyName: tokyo-{suffix} is the name of another "
        "WorkspaceTemplateApply of this control plane"
    )
    assert look(without(objects, "Workspace", "tokyo-spot-role-check")).verdict.message == message
    assert (
        look(without(objects, "WorkspaceTemplate", "eks")).verdict.reason
        == "WorkspaceTemplateNotFound"
    )


def test_a_failing_provider_ranks_between_the_apply_and_the_spot_role() -> None:
    """`WorkspaceError` comes after the template and before the spot role."""
    objects = failing(ready(), MAIN)
    assert look(objects).verdict.reason == "WorkspaceError"
    assert (
        look(without(objects, "Workspace", "tokyo-spot-role-check")).verdict.reason
        == "WorkspaceError"
    )
    assert (
        look(without(objects, "WorkspaceTemplate", "eks")).verdict.reason
        == "WorkspaceTemplateNotFound"
    )


def test_a_removed_region_is_no_problem_for_an_existing_kubeconfig_apply() -> None:
    """Only a new kubeconfig apply needs the region; an existing one keeps its own."""
    decision = look(
        changed(
            ready(), "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneConfig": {"region": None}}}
        )
    )
    assert (decision.verdict.reason, decision.requeue_after) == ("Ready", Policy().ready)


def test_a_new_report_of_the_same_verdict_records_no_event() -> None:
    """New outputs and a new message of the same failure are written without an Event."""
    outputs = run(
        changed(ready(), "Workspace", MAIN, {"status": {"atProvider": {"outputs": {"more": 1}}}})
    )
    failure = run(failing(ready(), MAIN))
    other = run(
        changed(
            failure.objects,
            "Workspace",
            MAIN,
            {"status": {"conditions": conditions(synced="fails otherwise")}},
        )
    )
    assert [len(each.writes) for each in (outputs, failure, other)] == [1, 1, 1]
    assert [[event.reason for event in each.events] for each in (outputs, failure, other)] == [
        [],
        ["WorkspaceError"],
        [],
    ]


def test_the_same_reason_with_another_status_records_an_event() -> None:
    """Failed for a reason and Ready in spite of it are two verdicts."""
    objects = failing(ready(), MAIN)
    was = {
        "type": "Ready",
        "status": "False",
        "reason": "WorkspaceError",
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    done = run(changed(objects, "CAPTControlPlane", "tokyo", {"status": {"conditions": [was]}}))
    assert [(event.type, event.reason, event.preconditions.uid) for event in done.events] == [
        ("Warning", "WorkspaceError", "uid-of-captcontrolplane-tokyo")
    ]
