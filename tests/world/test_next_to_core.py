"""A control plane's life next to each core, seen in v1beta1 and in v1beta2, in virtual time."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from captep_core import Action, ObjectRef, RecordEvent, Write, decide, write_of
from captep_core.capt._resources import WATCHED
from captep_core.ports import Answer, Read
from captep_memory import MemoryGateway, Request, load
from captep_runtime import Loop
from captep_world import (
    CLUSTER_CONVERSIONS,
    REAL_PACE,
    CoreVersion,
    Objects,
    Simulation,
    Story,
    Subject,
    VirtualClock,
    WorldServer,
    neighbours,
    stories,
)
from captep_world._neighbour import deletion
from captep_world.stories import Act, is_usable
from tests.memory.support import NOW

TOKYO = Subject("fleet", "tokyo")
# Terraform does not look by itself, so nothing rotates at rest.
PACE = evolve(REAL_PACE, poll=(90_000.0, 90_000.0))
USABLE_BY = NOW + timedelta(minutes=20)
APPLY = ObjectRef(
    "infrastructure.cluster.x-k8s.io/v1beta1",
    "WorkspaceTemplateApply",
    "fleet",
    "tokyo-eks-controlplane-apply",
)
# Each core, and the version in which captep sees the Cluster; 1.8 knows v1beta1 alone.
SEEN: tuple[tuple[CoreVersion | None, str], ...] = (
    (None, "v1beta1"),
    (None, "v1beta2"),
    ("1.8", "v1beta1"),
    ("1.11", "v1beta1"),
    ("1.11", "v1beta2"),
    ("1.13", "v1beta1"),
    ("1.13", "v1beta2"),
)
WITH_CORE = tuple(each for each in SEEN if each[0] is not None)
LIFE = Story("a life that goes on", (stories.creation_to_ready.acts[0],), lambda *_: False, "")


class Captep:
    """captep's loop over the server of a simulation; `sent` has its effective writes."""

    def __init__(self, server: WorldServer, clock: VirtualClock, *, newer: bool) -> None:
        self._server = server
        self._clock = clock
        self._gateway = MemoryGateway(server.world, watched=WATCHED if newer else ())
        self._loop = Loop(decide, self, clock)
        self.add, self.notify, self.run_due = self._loop.add, self._loop.notify, self._loop.run_due
        self.sent: list[tuple[datetime, Action]] = []

    @property
    def read(self) -> Read:
        """Read the server as it is."""
        self._gateway.world = self._server.world
        return self._gateway.read

    def send(self, action: Action) -> Answer:
        """Send an action, and keep it if it changed something."""
        self._gateway.world = self._server.world
        answer = self._gateway.send(action)
        self._server.world = self._gateway.world
        if answer.changed and not isinstance(action, RecordEvent):
            self.sent.append((self._clock.now(), action))
        return answer


class Played:
    """A story next to a core."""

    def __init__(self, story: Story, core: CoreVersion | None, version: str) -> None:
        newer = version == "v1beta2"
        conversions: Mapping[Any, Any] = CLUSTER_CONVERSIONS if core != "1.8" else {}
        if core is None and not newer:
            conversions = {}
        clock = VirtualClock(NOW)
        self.server = WorldServer(
            load(stories.templates("fleet"), now=NOW, conversions=conversions)
        )
        self.simulation = Simulation(self.server, clock, neighbours(PACE, core), story, TOKYO)
        self.captep = Captep(self.server, clock, newer=newer)
        self.simulation.attach(self.captep)

    @property
    def objects(self) -> Objects:
        """The objects as they are."""
        return Objects(self.server.call)

    def writes(self, *, since: datetime = NOW) -> list[str]:
        """The effective writes of captep from a time on."""
        return [str(write_of(action)) for at, action in self.captep.sent if at >= since]


@pytest.mark.parametrize(("core", "version"), SEEN)
def test_at_rest_nothing_is_written_for_two_minutes(core: CoreVersion | None, version: str) -> None:
    """Intervals end several times in 120 s, and core and captep want the same."""
    played = Played(LIFE, core, version)
    played.simulation.run(USABLE_BY)
    assert is_usable(played.objects, TOKYO)
    before = played.server.world.resource_version
    played.simulation.run(USABLE_BY + timedelta(seconds=120))
    assert played.writes(since=USABLE_BY) == []
    assert played.server.world.resource_version == before


@pytest.mark.parametrize(("core", "version"), WITH_CORE)
def test_core_makes_its_share_of_the_writes_and_the_rest_stays(
    core: CoreVersion, version: str
) -> None:
    """The same effective writes as without core, minus the status of the Cluster."""

    def made(core: CoreVersion | None) -> Counter[str]:
        played = Played(LIFE, core, version)
        played.simulation.run(USABLE_BY)
        return Counter(played.writes())

    alone, next_to_core = made(None), made(core)
    assert "patch Cluster fleet/tokyo/status" in alone
    assert "patch Cluster fleet/tokyo/status" not in next_to_core
    # The report of the control plane comes in as many steps as its waits.
    reports = {"patch CAPTControlPlane fleet/tokyo/status", "patch Cluster fleet/tokyo/status"}
    for each in reports:
        del alone[each], next_to_core[each]
    assert next_to_core == alone


@pytest.mark.parametrize(("core", "version"), WITH_CORE)
def test_a_ready_that_goes_and_comes_back_starts_no_fight(core: CoreVersion, version: str) -> None:
    """The Workspace is lost and made again: no write of the Cluster's status, and rest again."""
    played = Played(LIFE, core, version)
    played.simulation.run(USABLE_BY)
    lost = Request("patch", TOKYO.workspace.api_version, "Workspace", None, TOKYO.workspace.name)
    condition = {"type": "Ready", "status": "False", "reason": "Lost"}
    body = {"status": {"conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:20:00Z"}]}}
    assert played.server.call(evolve(lost, subresource="status", body=body)).ok
    played.simulation.run(USABLE_BY + timedelta(minutes=10))
    reported: list[Any] = [
        action.body
        for at, action in played.captep.sent
        if at >= USABLE_BY and write_of(action) == Write("patch", TOKYO.control_plane, "status")
    ]
    assert False in [each["status"].get("ready") for each in reported], "Ready stayed"
    assert "patch Cluster fleet/tokyo/status" not in played.writes()
    rest = USABLE_BY + timedelta(minutes=20)
    played.simulation.run(rest)
    before = played.server.world.resource_version
    played.simulation.run(rest + timedelta(seconds=120))
    assert played.server.world.resource_version == before


def _cluster(subject: Subject) -> tuple[Request, ...]:
    return (deletion(subject.cluster),)


def _control_plane(subject: Subject) -> tuple[Request, ...]:
    return (deletion(subject.control_plane),)


def _apply(_: Subject) -> tuple[Request, ...]:
    return (deletion(APPLY),)


ORDERS: Mapping[str, tuple[Callable[[Subject], tuple[Request, ...]], ...]] = {
    "the Cluster": (_cluster,),
    "the control plane, then the Cluster": (_control_plane, _cluster),
    "the Cluster, then the control plane": (_cluster, _control_plane),
    "the main apply, then the Cluster": (_apply, _cluster),
    "the control plane, then the main apply, then the Cluster": (_control_plane, _apply, _cluster),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("core", "version"), WITH_CORE)
def test_a_deletion_ends_in_every_order(core: CoreVersion, version: str, order: str) -> None:
    """Cluster, control plane and Workspace are gone within half an hour."""

    def all_of(subject: Subject) -> tuple[Request, ...]:
        return tuple(request for each in ORDERS[order] for request in each(subject))

    story = evolve(
        stories.deletion_of_all,
        acts=(stories.creation_to_ready.acts[0], Act("deleted", all_of, once=is_usable)),
    )
    played = Played(story, core, version)
    played.simulation.run(USABLE_BY + timedelta(minutes=30))
    assert played.simulation.is_over
    assert stories.is_gone(played.objects, TOKYO)
