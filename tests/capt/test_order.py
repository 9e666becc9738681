"""Which verdict when several things are wrong (section 8.1), and which of them are worth an Event (CAPTEP-0007)."""

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

APPLY, MAIN = "WorkspaceTemplateApply", "tokyo-eks-controlplane"
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


# In the order of section 8.1; each leaves the others as they are, and none withdraws Ready.
TROUBLES: Mapping[str, tuple[Callable[[Objects], Objects], str]] = {
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


@pytest.mark.parametrize(("first", "second"), list(combinations(TROUBLES, 2)))
def test_of_two_troubles_the_first_is_told(first: str, second: str) -> None:
    """Whatever else is wrong; but where main is foreign, what comes of its Workspace is not looked at."""
    (break_first, told), (break_second, _) = TROUBLES[first], TROUBLES[second]
    assert look(break_second(break_first(ready()))).verdict.reason == told
    assert look(break_first(break_second(ready()))).verdict.reason == told


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_alone_is_surfaced(trouble: str) -> None:
    """8.1 and 8.3: what waits is looked at again after 5 s, what is wrong after 10 s, and Ready stays."""
    breaking, reason = TROUBLES[trouble]
    decision = look(breaking(ready()))
    kind, seconds = (
        (Severity.WAITING, Policy().initializing)
        if trouble == "no source"
        else (Severity.FAILURE, Policy().failing)
    )
    assert decision.verdict == Degraded(kind, reason, decision.verdict.message)
    assert decision.requeue_after == seconds


def test_a_damaged_kubeconfig_is_no_trouble_of_the_provider() -> None:
    """8.4: `SecretError`, as for the certificate, and before what is wrong with our own copies."""
    objects = plus(ready(), secret("tokyo-outputs-kubeconfig", {"kubeconfig": ""}))
    told = Degraded(
        Severity.FAILURE, "SecretError", "Failed to get kubeconfig: kubeconfig not found in secret"
    )
    assert (
        look(objects).verdict
        == look(foreign(objects, "Secret", "tokyo-kubeconfig")).verdict
        == told
    )


# In the order of section 8.1. Who cannot be read hides the one behind it only where that is named by it.
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
def test_of_two_that_cannot_be_read_the_first_is_told(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    """8.1 and 8.5: the same order as for all else; 10 s."""
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
    """8.1: after the template, before the spot role."""
    objects = changed(
        ready(),
        "CAPTControlPlane",
        "tokyo",
        {"spec": {"workspaceTemplateApplyName": f"tokyo-{suffix}"}},
    )
    told = f"spec.workspaceTemplateApplyName: tokyo-{suffix} is the name of another WorkspaceTemplateApply of this control plane"
    assert look(without(objects, "Workspace", "tokyo-spot-role-check")).verdict.message == told
    assert (
        look(without(objects, "WorkspaceTemplate", "eks")).verdict.reason
        == "WorkspaceTemplateNotFound"
    )


def test_a_failing_provider_stands_between_the_apply_and_the_spot_role() -> None:
    """Section 8.1: provider failure (`WorkspaceError`) after the template, before the spot role."""
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


def test_a_region_that_went_is_no_trouble_once_the_kubeconfig_is_asked_for() -> None:
    """Must 28: the region is needed to ask for a kubeconfig; what was asked for keeps it."""
    decision = look(
        changed(
            ready(), "CAPTControlPlane", "tokyo", {"spec": {"controlPlaneConfig": {"region": None}}}
        )
    )
    assert (decision.verdict.reason, decision.requeue_after) == ("Ready", Policy().ready)


def test_a_report_of_the_same_verdict_is_no_event() -> None:
    """CAPTEP-0007: on change of verdict; new outputs and a new message of the same failure are written and not told again."""
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


def test_ready_with_the_same_reason_as_before_is_an_event() -> None:
    """What was Failed for a reason and is now Ready in spite of it has changed its verdict."""
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
