"""When the loop looks again: a property of the verdict alone."""

from datetime import timedelta

import pytest

from captep_core import (
    AwaitingWorkspaceDeletion,
    ControlPlaneUnreadable,
    Creating,
    Decision,
    Degraded,
    Deleting,
    Failed,
    Gone,
    Paused,
    Policy,
    Ready,
    Released,
    Unknown,
    Verdict,
    interval,
)
from captep_core.capt._verdict import Severity
from tests.capt.driving import KEY, look, run
from tests.capt.worlds import Objects, changed, created, deleting, ready, without

SECONDS: list[tuple[Verdict, int | None]] = [
    (Gone(), None),
    (Paused("m"), None),
    (Released(), None),
    (ControlPlaneUnreadable("m"), 10),
    (Deleting("m"), 30),
    (AwaitingWorkspaceDeletion("m"), 30),
    (Creating("m"), 5),
    (Failed("R", "m"), 10),
    (Unknown("R", "m"), 10),
    (Degraded(Severity.WAITING, "R", "m"), 5),
    (Degraded(Severity.FAILURE, "R", "m"), 10),
    (Ready(), 30),
]


@pytest.mark.parametrize(("verdict", "seconds"), SECONDS, ids=lambda value: type(value).__name__)
def test_each_verdict_has_its_interval(verdict: Verdict, seconds: int | None) -> None:
    """5 s while waiting, 10 s when something is wrong, 30 s when Ready or deleting, else none."""
    assert interval(verdict, Policy()) == (None if seconds is None else timedelta(seconds=seconds))


def test_intervals_can_be_chosen() -> None:
    """The policy gives the three; the verdict says which."""
    policy = Policy(timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=3))
    assert {interval(verdict, policy) for verdict, _ in SECONDS} == {
        None,
        *(timedelta(seconds=each) for each in (1, 2, 3)),
    }
    assert look(ready(), policy=policy).requeue_after == timedelta(seconds=3)


@pytest.mark.parametrize("name", ["initializing", "failing", "ready"])
@pytest.mark.parametrize("seconds", [0, -1])
def test_an_interval_is_positive(name: str, seconds: int) -> None:
    """A zero interval would be a hot loop."""
    with pytest.raises(ValueError, match=f"{name} must be positive, found"):
        Policy(**{name: timedelta(seconds=seconds)})  # type: ignore[arg-type]  # one of the three


@pytest.mark.parametrize(
    ("objects", "seconds"),
    [
        ([], None),
        (created(), 5),
        (without(created(), "Cluster", "tokyo"), 5),
        (ready(), 30),
        (without(ready(), "Secret", "tokyo-outputs-kubeconfig"), 5),
        (without(ready(), "Workspace", "tokyo-eks-controlplane"), 10),
        (without(ready(), "WorkspaceTemplate", "eks"), 10),
        (deleting(ready(), "CAPTControlPlane", "tokyo"), 30),
        (deleting(ready(), "CAPTControlPlane", "tokyo", "example.com/other"), None),
    ],
)
def test_a_world_has_its_interval(objects: Objects, seconds: int | None) -> None:
    """An expected state gives an interval and never an error."""
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert look(objects).requeue_after == expected


def test_a_missing_control_plane_needs_nothing() -> None:
    """No action and no interval."""
    assert look([]) == Decision((), None, Gone())
    assert run([]).objects == []


def test_an_unreadable_control_plane_is_left_alone() -> None:
    """Unreadable or malformed: no action, 10 s, and the verdict says so."""
    decision = look(ready(), unreadable={KEY: "Forbidden"})
    verdict = ControlPlaneUnreadable("CAPTControlPlane fleet/tokyo cannot be read: Forbidden")
    assert decision == Decision((), timedelta(seconds=10), verdict)
    malformed = look(changed(ready(), "CAPTControlPlane", "tokyo", {"spec": {"version": 1.33}}))
    assert malformed.verdict.message == (
        "CAPTControlPlane fleet/tokyo cannot be read: Malformed: "
        "$.spec.version: expected a string, found a number"
    )
    assert (malformed.actions, malformed.requeue_after) == ((), timedelta(seconds=10))
