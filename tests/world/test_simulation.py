"""Stories in virtual time: captep's own loop brings each of them to its end."""

from datetime import timedelta

import pytest
from attrs import evolve

from captep_core import ObjectRef, decide
from captep_core.ports import Answer
from captep_memory import MemoryGateway, StoreChange, load
from captep_runtime import Loop
from captep_world import (
    QUICK_PACE,
    REAL_PACE,
    Pace,
    Simulation,
    Story,
    StoryEvent,
    Subject,
    VirtualClock,
    WorldServer,
    alike,
    neighbours,
    stories,
)
from tests.memory.support import NOW, Free

STORIES = (
    stories.creation_to_ready,
    stories.rotation(timedelta(minutes=25)),
    stories.repair,
    stories.failure_and_recovery,
    stories.deletion_of_all,
    stories.life(timedelta(minutes=40)),
)
TOKYO = Subject("fleet", "tokyo")


class Recorder(WorldServer):
    """A server that keeps all changes with their times."""

    def __init__(self) -> None:
        super().__init__(load(stories.templates("fleet"), now=NOW))
        self.seen: list[tuple[float, StoreChange]] = []

    def take_changes(self) -> tuple[StoreChange, ...]:
        """Hand changes on, and keep them."""
        changes = super().take_changes()
        self.seen += [((self.world.now - NOW).total_seconds(), change) for change in changes]
        return changes


class CaptepLoop:
    """captep's loop over the server of a simulation."""

    def __init__(self, server: WorldServer, clock: VirtualClock) -> None:
        self._server, self._gateway = server, MemoryGateway(server.world)
        self._loop = Loop(decide, self, clock)
        self.add, self.notify, self.run_due = self._loop.add, self._loop.notify, self._loop.run_due

    def read(self, ref: ObjectRef) -> Free:
        """Look an object up."""
        self._gateway.world = self._server.world
        return self._gateway.read(ref)

    def send(self, action: Free) -> Answer:
        """Send an action."""
        self._gateway.world = self._server.world
        answer = self._gateway.send(action)
        self._server.world = self._gateway.world
        return answer


def played(story: Story, *, seed: int = 0, pace: Pace = REAL_PACE) -> tuple[Simulation, Recorder]:
    """Play a story to its end."""
    clock, server = VirtualClock(NOW), Recorder()
    simulation = Simulation(server, clock, neighbours(evolve(pace, seed=seed)), story, TOKYO)
    simulation.attach(CaptepLoop(server, clock))
    simulation.run(NOW + timedelta(hours=3))
    return simulation, server


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_every_story_ends_with_captep(story: Story) -> None:
    """All acts in their order, and then its ending."""
    simulation, _ = played(story)
    assert simulation.is_over
    assert [event.title for event in simulation.events] == [
        *(act.title for act in story.acts),
        story.ending,
    ]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.title)
def test_every_story_can_be_hastened(story: Story) -> None:
    """At the quick pace, the one for a real API server, each ends within a minute."""
    simulation, _ = played(stories.hastened(story, 100), pace=QUICK_PACE)
    assert simulation.is_over
    assert simulation.events[-1].at < NOW + timedelta(minutes=1)


def test_a_story_is_the_same_each_time_and_another_with_another_seed() -> None:
    """To the byte, and to the moment."""
    (first, one), (second, two), (third, _) = (
        played(stories.repair, seed=seed) for seed in (1, 1, 2)
    )
    assert (first.events, one.seen) == (second.events, two.seen)
    assert first.events != third.events


def data_of(change: StoreChange, name: str) -> Free:
    """Return a value of a Secret, None when it is not there."""
    return change.object.get("data", {}).get(name)


def test_creation_shows_what_a_real_cluster_shows() -> None:
    """Crossplane's Secrets start empty, ours never are; Ready comes after all of them."""
    _, server = played(stories.creation_to_ready)
    first = {
        change.key.name: change
        for _, change in reversed(server.seen)
        if change.key.kind == "Secret"
    }
    assert [
        first[name].object.get("data")
        for name in ("tokyo-eks-connection", "tokyo-outputs-kubeconfig")
    ] == [None, None]
    ours = [
        change
        for _, change in server.seen
        if change.key.kind == "Secret" and change.key.name in ("tokyo-kubeconfig", "tokyo-ca")
    ]
    assert all(data_of(change, "value") or data_of(change, "tls.crt") for change in ours)
    assert {change.key.name for change in ours} == {"tokyo-kubeconfig", "tokyo-ca"}
    ready = [
        number
        for number, (_, change) in enumerate(server.seen)
        if change.key.kind == "CAPTControlPlane" and change.object.get("status", {}).get("ready")
    ]
    assert ready[0] > max(
        number for number, (_, change) in enumerate(server.seen) if change.key.name == "tokyo-ca"
    )


def test_the_kubeconfig_follows_each_rotation_at_once() -> None:
    """The copy changes in the same instant as the source."""
    _, server = played(stories.rotation(timedelta(minutes=25)))
    sources, copies = (
        [at for at, change in server.seen if change.key.name == name and data_of(change, key)]
        for name, key in (("tokyo-outputs-kubeconfig", "kubeconfig"), ("tokyo-kubeconfig", "value"))
    )
    assert len(copies) >= 3
    assert sources == copies


def test_captep_does_not_write_to_a_healthy_control_plane() -> None:
    """Between two rotations captep writes nothing."""
    _, server = played(stories.rotation(timedelta(minutes=25)))
    calm = [
        (at, change.key)
        for at, change in server.seen
        if 600 < at < 1400 and change.key.kind in ("CAPTControlPlane", "Cluster")
    ]
    assert calm == []


def test_an_act_that_is_refused_stops_the_story() -> None:
    """It is not passed over in silence."""
    story = Story(
        "none to delete",
        (stories.repair.acts[1].__class__("gone", stories.repair.acts[1].requests),),
        stories.is_gone,
        "never",
    )
    simulation = Simulation(Recorder(), VirtualClock(NOW), (), story, TOKYO)
    with pytest.raises(ValueError, match="the server answered 404 to 'gone'"):
        simulation.run(NOW)


def test_a_simulation_without_a_loop_stops_at_its_limit() -> None:
    """The clock stands there, and the story is not over."""
    clock = VirtualClock(NOW)
    simulation = Simulation(Recorder(), clock, neighbours(), stories.creation_to_ready, TOKYO)
    simulation.run(NOW + timedelta(hours=1))
    assert (clock.now(), simulation.is_over) == (NOW + timedelta(hours=1), False)
    assert simulation.events == (StoryEvent(NOW, "created"),)


def test_alike_ignores_counters_and_transition_times() -> None:
    """Whatever else differs makes them different."""
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    base = {
        "apiVersion": "example.dev/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "namespace": "b", "uid": "1"},
        "spec": {"size": 1},
    }

    def world(**parts: Free) -> Free:
        return load([{**base, **parts}], now=NOW)

    start = world(status={"conditions": [condition]})
    later = {**condition, "lastTransitionTime": "2026-01-01T00:00:09Z"}
    counted = {**base["metadata"], "resourceVersion": "77", "generation": 9}  # type: ignore[dict-item]
    assert alike(start, world(status={"conditions": [later]}, metadata=counted))
    assert not alike(start, world(status={"conditions": [{**later, "status": "False"}]}))
    assert not alike(start, world(status={"conditions": [condition]}, spec={"size": 2}))
    assert not alike(start, load([], now=NOW))
