"""A paused Cluster or control plane: the loop reports it and does nothing else."""

import pytest

from captep_core import Paused
from tests.capt.driving import look, writes_of
from tests.capt.worlds import Objects, changed, deleting, new, provided, ready, without

ANNOTATION = "cluster.x-k8s.io/paused"
WORLDS = {
    "new": new(),
    "provided": provided(),
    "damaged": without(ready(), "Secret", "tokyo-kubeconfig"),
    "deleting": deleting(ready(), "CAPTControlPlane", "tokyo"),
    "released": deleting(ready(), "CAPTControlPlane", "tokyo", "example.com/somebody"),
}


def _report(name: str) -> list[str]:
    """The one write of a pause; a released control plane is no longer ours to report on."""
    return [] if name == "released" else ["patch CAPTControlPlane fleet/tokyo/status"]


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("value", ["", "true", "false"])
def test_the_annotation_pauses_by_its_presence(name: str, value: str) -> None:
    """Its value does not count; a deletion is paused too; unpausing is an event."""
    decision = look(
        changed(
            WORLDS[name],
            "CAPTControlPlane",
            "tokyo",
            {"metadata": {"annotations": {ANNOTATION: value}}},
        )
    )
    assert (writes_of(decision.actions), decision.requeue_after) == (_report(name), None)
    assert decision.verdict == Paused(
        "CAPTControlPlane fleet/tokyo has the annotation cluster.x-k8s.io/paused"
    )


@pytest.mark.parametrize("name", WORLDS)
def test_a_paused_cluster_pauses_its_control_plane(name: str) -> None:
    """Cluster.spec.paused has the effect of the annotation."""
    decision = look(changed(WORLDS[name], "Cluster", "tokyo", {"spec": {"paused": True}}))
    assert (writes_of(decision.actions), decision.requeue_after, decision.verdict) == (
        _report(name),
        None,
        Paused("Cluster fleet/tokyo is paused"),
    )


@pytest.mark.parametrize("world", [new(), provided()], ids=["new", "provided"])
def test_an_unpaused_control_plane_goes_on(world: Objects) -> None:
    """`paused: false` pauses nothing, and neither does a paused foreign Cluster."""
    assert look(changed(world, "Cluster", "tokyo", {"spec": {"paused": False}})).actions
    foreign = changed(
        new(), "Cluster", "tokyo", {"spec": {"paused": True, "controlPlaneRef": {"name": "other"}}}
    )
    assert look(foreign).verdict.message == "Waiting for owner cluster"
