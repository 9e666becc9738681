"""The older loops over the in-memory server reproduce the numbers measured with the Go code."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from captep_core import ObjectRef
from captep_demo._lanes import START
from captep_demo._older import BEFORE, INTERVALS_ALONE, Client, Intervals, OlderLoop, reconcile
from captep_demo._timeline import Count, Timeline
from captep_memory import Request, World, load
from captep_world import (
    Pace,
    Simulation,
    Story,
    Subject,
    VirtualClock,
    WorldServer,
    neighbours,
    stories,
)

TOKYO = Subject("fleet", "tokyo", "{}-control-plane-kubeconfig")
BOTH = pytest.mark.parametrize(
    "intervals", [BEFORE, INTERVALS_ALONE], ids=["before", "intervals alone"]
)
NOTHING = Story("nothing", (), lambda _objects, _subject: False, "never")
MINUTE = timedelta(minutes=1)
TEN_MINUTES = timedelta(minutes=10)


class Plain:
    """An older loop without `repeat`: the simulation must execute every pass."""

    def __init__(self, loop: OlderLoop) -> None:
        self.add, self.notify, self.run_due = loop.add, loop.notify, loop.run_due


def grown(until: timedelta) -> World:
    """Return the world of the older loop and its neighbours, this long after the creation."""
    simulation = staged(
        load(stories.templates("fleet"), now=START),
        BEFORE,
        stories.creation_to_ready,
        Timeline(START),
        with_neighbours=True,
    )
    simulation.run(START + until)
    return simulation.server.world


def staged(
    world: World,
    intervals: Intervals,
    story: Story,
    timeline: Timeline,
    *,
    with_neighbours: bool,
    plain: bool = False,
) -> Simulation:
    """Return a simulation of the older loop, with or without neighbours."""
    server, clock = WorldServer(world), VirtualClock(world.now)
    others = neighbours(Pace()) if with_neighbours else ()
    simulation = Simulation(server, clock, others, story, TOKYO)
    loop = OlderLoop(server, intervals, timeline)
    simulation.attach(Plain(loop) if plain else loop)
    if any(obj["kind"] == "CAPTControlPlane" for obj in world.objects()):
        loop.add(TOKYO.control_plane)
    return simulation


def executed(world: World, intervals: Intervals, span: timedelta) -> Count:
    """Execute every pass of a span over a world without other actors, as measured in Go."""
    timeline = Timeline(world.now)
    simulation = staged(world, intervals, NOTHING, timeline, with_neighbours=False, plain=True)
    simulation.run(world.now + span - timedelta(milliseconds=1))
    return timeline.total()


def without(world: World, *kinds: str) -> World:
    """Return a world without the objects of some kinds."""
    return load([obj for obj in world.objects() if obj["kind"] not in kinds], now=world.now)


@pytest.fixture(scope="module")
def ready() -> World:
    """Return a world in which the control plane is Ready."""
    return grown(timedelta(minutes=5))


@pytest.fixture(scope="module")
def creating() -> World:
    """Return a world in which Terraform runs its first apply."""
    return grown(timedelta(minutes=1))


def one_pass(world: World, intervals: Intervals = BEFORE) -> Count:
    """Return the count of the second of two passes; the first one settles the world."""
    server = WorldServer(world)
    counts = []
    for _ in range(2):
        client = Client(server)
        reconcile(client, TOKYO.control_plane, intervals, now=world.now)
        counts.append(client.count)
    return evolve(counts[-1], lines=0)


@BOTH
def test_a_ready_pass_has_the_measured_cost(ready: World, intervals: Intervals) -> None:
    """It has 12 reads and 11 writes: 4 effective, 2 refused (already there), 5 without effect."""
    assert one_pass(ready, intervals) == Count(passes=1, reads=12, writes=11, changed=4, refused=2)


@BOTH
def test_a_waiting_pass_has_the_measured_cost(creating: World, intervals: Intervals) -> None:
    """It has 7 writes, 5 of them effective."""
    count = one_pass(creating, intervals)
    assert (count.writes, count.changed, count.refused) == (7, 5, 0)


@BOTH
def test_the_older_loops_spin_while_the_control_plane_is_ready(
    ready: World, intervals: Intervals
) -> None:
    """They make 600 passes a minute with either intervals; the test executes each."""
    count = executed(ready, intervals, MINUTE)
    assert (count.passes, count.writes, count.refused, count.counted) == (600, 6600, 1200, 0)


@BOTH
def test_the_older_loops_spin_while_terraform_creates_the_control_plane(
    creating: World, intervals: Intervals
) -> None:
    """They make 600 passes a minute."""
    assert executed(creating, intervals, MINUTE).passes == 600


@BOTH
def test_the_older_loops_back_off_without_a_template(ready: World, intervals: Intervals) -> None:
    """They make 17 passes, with a backoff from 5 ms: after an error the intervals do not count."""
    world = settled(without(ready, "WorkspaceTemplate"), intervals)
    assert executed(world, intervals, TEN_MINUTES).passes == 17


@pytest.mark.parametrize(
    ("intervals", "passes"), [(BEFORE, 60), (INTERVALS_ALONE, 118)], ids=["10 s", "5 s"]
)
def test_the_older_loops_wait_for_a_missing_cluster_at_the_interval(
    ready: World, intervals: Intervals, passes: int
) -> None:
    """Only this state obeys the intervals; they start at the end of a pass of 100 ms."""
    world = settled(without(ready, "Cluster"), intervals)
    assert executed(world, intervals, TEN_MINUTES) == Count(
        passes=passes, reads=3 * passes, writes=passes, lines=2 * passes
    )


def settled(world: World, intervals: Intervals) -> World:
    """Return the world after a first pass, which writes the status of the changed world."""
    server = WorldServer(world)
    reconcile(Client(server), TOKYO.control_plane, intervals, now=world.now)
    return server.world


def test_the_two_writers_disagree_about_the_endpoint(ready: World) -> None:
    """Within one pass the first writes the whole URL as the host, the second the URL's host."""
    server = WorldServer(ready)
    reconcile(Client(server), TOKYO.control_plane, BEFORE, now=ready.now)
    written = [
        change.object for change in server.take_changes() if change.key.kind == "CAPTControlPlane"
    ]
    hosts = [obj["spec"]["controlPlaneEndpoint"]["host"] for obj in written]
    assert [host.startswith("https://") for host in hosts] == [True, False]
    assert hosts[0] == f"https://{hosts[1]}"


def test_the_first_pass_conflicts_with_its_own_write() -> None:
    """It writes the apply's name through a copy, so that its status update conflicts."""
    timeline = Timeline(START)
    world = load(stories.templates("fleet"), now=START)
    simulation = staged(world, BEFORE, stories.creation_to_ready, timeline, with_neighbours=False)
    simulation.run(START)
    assert (timeline.total().passes, timeline.total().refused) == (1, 1)


def test_skipped_passes_count_like_executed_ones() -> None:
    """A life with every pass executed has the same counts in every slice and the same events."""
    runs: list[tuple[Simulation, Timeline]] = []
    for plain in (True, False):
        timeline = Timeline(START)
        story = stories.life(timedelta(minutes=3))
        simulation = staged(
            load(stories.templates("fleet"), now=START),
            BEFORE,
            story,
            timeline,
            with_neighbours=True,
            plain=plain,
        )
        simulation.run(START + timedelta(hours=1))
        runs.append((simulation, timeline))
    (executed, full), (skipped, short) = runs
    assert executed.is_over
    assert executed.events == skipped.events
    assert short.total().counted > 0.9 * short.total().passes > 0 == full.total().counted
    assert {
        number: evolve(count, counted=0) for number, count in short.slices().items()
    } == full.slices()


def test_the_older_deletion_does_not_wait_for_the_workspace(ready: World) -> None:
    """The first pass of the deletion removes the control plane."""
    server = WorldServer(ready)
    ref = TOKYO.control_plane
    assert server.call(Request("delete", ref.api_version, ref.kind, ref.namespace, ref.name)).ok
    reconcile(Client(server), ref, BEFORE, now=ready.now)
    kinds: list[Any] = [obj["kind"] for obj in server.world.objects()]
    assert "CAPTControlPlane" not in kinds
    assert "Workspace" in kinds
    assert reconcile(Client(server), ref, BEFORE, now=ready.now).requeue_after is None


def test_a_timeline_spreads_repetitions_over_their_slices() -> None:
    """A slice of 20 s holds 200 passes."""
    timeline = Timeline(START)
    timeline.add_repeated(START + timedelta(seconds=10), Count(passes=1, writes=2), 400)
    assert timeline.slices() == {
        number: Count(passes=n, writes=2 * n, counted=n)
        for number, n in ((0, 100), (1, 200), (2, 100))
    }


def test_an_older_loop_runs_its_control_planes_in_the_order_of_their_due_times() -> None:
    """A control plane that does not exist costs one pass."""
    timeline = Timeline(START)
    loop = OlderLoop(WorldServer(load([], now=START)), BEFORE, timeline)
    for name in ("b", "a"):
        loop.add(ObjectRef(TOKYO.control_plane.api_version, "CAPTControlPlane", "fleet", name))
    assert loop.run_due(START, limit=1) == START
    assert loop.run_due(START, limit=1) is None
    assert timeline.total() == Count(passes=2, reads=2, lines=2)
