"""The report is true, and time is a parameter: P13 at rest, P14, P15, P15a."""

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

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
    Ready,
    Released,
    Unknown,
)
from captep_memory import World
from tests.capt.worlds import CA, CA_OF_EKS
from tests.properties.driving import KEY, NOW, Drive, Scene, Step, drive, look, stored
from tests.properties.moves import reachable_worlds
from tests.properties.profile import examples, reaches
from tests.properties.shapes import OTHER_CA
from tests.properties.strategies import arbitrary_worlds, live_worlds, ref_of, settled_worlds

_ANY = st.one_of(live_worlds(), reachable_worlds(), arbitrary_worlds())
_SECOND = timedelta(seconds=1)


def _reports(run: Drive) -> list[Step]:
    return [step for step in run.effective if step.action.subresource == "status"]


@examples(200)
@given(_ANY)
def test_p14_the_transition_time_moves_with_the_status_and_with_nothing_else(scene: Scene) -> None:
    """The clock moves between passes, so that a wrong stamp would show."""
    for step in _reports(drive(scene, tick=_SECOND)):
        before = _conditions(step.before, step)
        after = _conditions(step.after, step)
        for kind, entry in after.items():
            old = before.get(kind, {})
            if old.get("status") != entry["status"] or not old.get("lastTransitionTime"):
                assert entry["lastTransitionTime"] == step.before.now.strftime("%Y-%m-%dT%H:%M:%SZ")
            else:
                assert entry["lastTransitionTime"] == old["lastTransitionTime"]


def _conditions(world: World, step: Step) -> dict[str, dict[str, Any]]:
    """The first condition of each type, of the reported object."""
    entries = ((stored(world, step.action.target) or {}).get("status") or {}).get(
        "conditions"
    ) or []
    return {entry["type"]: entry for entry in reversed(entries)}


@pytest.mark.parametrize("moves", [True, False])
def test_p14_reports_with_and_without_a_transition_occur(moves: bool) -> None:
    """Both branches of the property above are reached."""

    def has_such(scene: Scene) -> bool:
        changes = [
            (_conditions(step.before, step), _conditions(step.after, step))
            for step in _reports(drive(scene))
        ]
        pairs = [
            (before.get(kind), entry) for before, after in changes for kind, entry in after.items()
        ]
        return any(
            old
            and old["lastTransitionTime"]
            and (old["status"] != new["status"]) is moves
            and old != new
            for old, new in pairs
        )

    reaches(_ANY, has_such)


@examples(200)
@given(_ANY)
def test_p14_ready_is_true_before_it_is_reported(scene: Scene) -> None:
    """Endpoint and Secrets are in place in the world before the report."""
    for step in _reports(drive(scene)):
        if step.action.target == KEY and _reason(step.after) == "Ready" and not _pauses(step):
            event("a report of Ready")
            _is_truly_ready(step.before)


def _pauses(step: Step) -> bool:
    """Whether a report says that the control plane is paused, and leaves the rest as it was."""
    return "'type': 'Paused', 'status': 'True'" in str(step.action.body)


def _reason(world: World) -> str:
    status = (stored(world, KEY) or {}).get("status") or {}
    return next(
        (
            str(entry["reason"])
            for entry in status.get("conditions", [])
            if entry["type"] == "Ready"
        ),
        "",
    )


def _is_truly_ready(world: World) -> None:
    by_name = {ref_of(obj): obj for obj in world.objects()}
    names = {ref.name: obj for ref, obj in by_name.items() if ref.kind == "Secret"}
    control_plane = stored(world, KEY) or {}
    cluster = next(obj for ref, obj in by_name.items() if ref.kind == "Cluster")
    endpoint = control_plane["spec"]["controlPlaneEndpoint"]
    assert endpoint["host"]
    assert endpoint == cluster["spec"]["controlPlaneEndpoint"]
    ours = _decoded(names["tokyo-kubeconfig"])
    ca = _decoded(names["tokyo-ca"])
    sources = {
        _decoded(obj).get("kubeconfig")
        for name, obj in names.items()
        if name not in ("tokyo-ca", "tokyo-kubeconfig")
    }
    assert ours["value"] in sources
    assert ours["value"].strip()
    assert ca["tls.crt"] == ca["ca.crt"]
    authorities = {
        _decoded(obj).get("cluster_certificate_authority_data", "") for obj in names.values()
    }
    known = {CA_OF_EKS: CA, OTHER_CA: OTHER_CA}
    assert ca["tls.crt"] in {known[each] for each in authorities if each in known}


def _decoded(secret: dict[str, Any]) -> dict[str, str]:
    return {
        key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()
    }


def test_p14_a_pause_of_a_ready_control_plane_occurs() -> None:
    """The exception of the property above is reached: Ready stands there from before."""
    reaches(
        _ANY,
        lambda scene: any(
            _pauses(step) and _reason(step.before) == _reason(step.after) == "Ready"
            for step in _reports(drive(scene))
        ),
    )


def test_p14_reports_of_ready_occur() -> None:
    """The branch of the property above is reached."""
    reaches(
        _ANY,
        lambda scene: any(
            step.action.target == KEY and _reason(step.after) == "Ready" and not _pauses(step)
            for step in _reports(drive(scene))
        ),
    )


@examples(250)
@given(settled_worlds(_ANY))
def test_p13_at_rest_no_two_endpoints_disagree(scene: Scene) -> None:
    """Control plane and Cluster publish one endpoint, and the report agrees with the verdict."""
    run = drive(scene)
    verdict = run.last.decision.verdict
    status = (stored(run.end, KEY) or {}).get("status") or {}
    if isinstance(verdict, Ready):
        _is_truly_ready(run.end)
    if isinstance(verdict, Ready | Degraded):
        assert status["ready"] is True
        assert status["phase"] == "Ready"
        assert status["initialized"] is True
    if isinstance(verdict, Creating | Failed):
        assert not status.get("ready")
        assert status["phase"] == ("Creating" if isinstance(verdict, Creating) else "Failed")
    if isinstance(verdict, Creating | Failed | Ready | Degraded):
        assert _reason(run.end) == verdict.reason


@pytest.mark.parametrize("verdict", [Ready, Degraded, Creating, Failed])
def test_p13_each_kind_of_report_occurs_at_rest(verdict: type) -> None:
    """The branches of the property above are reached."""
    reaches(
        settled_worlds(_ANY), lambda scene: isinstance(drive(scene).last.decision.verdict, verdict)
    )


_INTERVALS: dict[type, set[int | None]] = {
    Gone: {None},
    Paused: {None},
    Released: {None},
    Ready: {30},
    Deleting: {30},
    AwaitingWorkspaceDeletion: {30},
    Creating: {5},
    Failed: {10},
    Unknown: {10},
    ControlPlaneUnreadable: {10},
    Degraded: {5, 10},
}


@examples(200)
@given(_ANY)
def test_p15_the_interval_is_one_of_four_and_goes_with_the_verdict(scene: Scene) -> None:
    """5, 10, 30 s or never; 10 s while a refusal is known."""
    for done in drive(scene).passes:
        interval = done.decision.requeue_after
        seconds = None if interval is None else interval.total_seconds()
        expected = {10} if done.decision.outstanding else _INTERVALS[type(done.decision.verdict)]
        assert seconds in expected
        assert done.requeue_after == (timedelta(seconds=10) if done.state.refusals else interval)


@pytest.mark.parametrize(
    "verdict", [each for each in _INTERVALS if each is not ControlPlaneUnreadable]
)
def test_p15_each_verdict_occurs(verdict: type) -> None:
    """The worlds reach every row of the table but that of an unreadable control plane."""
    reaches(_ANY, lambda scene: isinstance(drive(scene).passes[0].decision.verdict, verdict))


_LATER = st.sampled_from(
    [timedelta(seconds=1), timedelta(seconds=30), timedelta(hours=13), timedelta(days=4000)]
)


@examples(200)
@given(settled_worlds(_ANY), _LATER)
def test_p15a_at_rest_time_decides_nothing(scene: Scene, later: timedelta) -> None:
    """Sleeping misses no deadline: at any later time the decision is the same."""
    state = drive(scene).last.state
    assert look(scene, state=state, now=NOW + later) == look(scene, state=state)


@examples(200)
@given(_ANY, _LATER)
def test_p15a_time_is_written_as_a_transition_time_and_nothing_else(
    scene: Scene, later: timedelta
) -> None:
    """Decisions at two times differ in their transition times alone."""
    now = look(scene)
    then = look(scene, now=NOW + later)
    assert _timeless(now) == _timeless(then)


def _timeless(decision: Decision) -> tuple[Any, ...]:
    return (
        [_without_times(action.body) for action in decision.actions],
        [type(action) for action in decision.actions],
        decision.requeue_after,
        decision.verdict,
    )


def _without_times(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, Mapping):
        return {
            key: _without_times(item) for key, item in value.items() if key != "lastTransitionTime"
        }
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def test_p15a_some_decisions_carry_the_time() -> None:
    """The property above has something to compare."""
    reaches(
        _ANY,
        lambda scene: (
            "2026-01-01T01:00:00Z" in str([action.body for action in look(scene).actions])
        ),
    )
