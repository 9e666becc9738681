"""The neighbours in real time, next to a server that others use over HTTP."""

import itertools
import json
import urllib.request
from datetime import timedelta

import pytest

from captep_memory import load
from captep_memory.http import HTTPFacade
from captep_world import REAL_PACE, WorkspaceTemplateApplies, stories
from captep_world.live import LiveNeighbours, quickened
from tests.memory.support import NOW
from tests.world.test_neighbours import APPLY, WORKSPACE, apply


@pytest.mark.parametrize("factor", [1, 60])
def test_a_quickened_pace_keeps_its_proportions(factor: int) -> None:
    """Every duration is the same fraction of the real one."""
    pace = quickened(factor)
    assert pace.mirror == REAL_PACE.mirror / factor
    assert pace.apply == (120 / factor, 240 / factor)
    assert pace.backoff(0) == timedelta(seconds=1 / factor)


def test_the_neighbours_act_on_what_others_create_over_http() -> None:
    """An apply that a client posts gets its finalizer and its Workspace."""
    times = (NOW + timedelta(seconds=count) for count in itertools.count())
    world = load(stories.templates("fleet"), now=NOW)
    kinds = [("infrastructure.cluster.x-k8s.io", APPLY.kind), ("tf.upbound.io", WORKSPACE.kind)]
    with HTTPFacade(world, kinds=kinds) as facade:
        live = LiveNeighbours(facade, [WorkspaceTemplateApplies()], clock=lambda: next(times))
        live(facade)
        path = f"/apis/{APPLY.api_version}/namespaces/fleet/workspacetemplateapplies"
        request = urllib.request.Request(
            facade.url + path,
            json.dumps(apply()).encode(),
            {"Content-Type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 201
        live(facade)
        kinds_now = {obj["kind"] for obj in facade.world.objects()}
    assert WORKSPACE.kind in kinds_now
