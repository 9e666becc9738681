"""The older loops, run over the in-memory server, come to the numbers that were measured with the Go code (per pass, and in 10 minutes)."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from captep_core import ObjectRef
from captep_demo._lanes import START
from captep_demo._ledger import Count, Ledger
from captep_demo._older import BEFORE, INTERVALS_ALONE, Client, Intervals, OlderLoop, reconcile
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
MINUTES = timedelta(minutes=10)


class Plain:
    """An older loop that nobody can let off a pass."""

    def __init__(self, loop: OlderLoop) -> None:
        self.add, self.notify, self.run_due = loop.add, loop.notify, loop.run_due


def grown(until: timedelta) -> World:
    """Return the world that the older loop and its neighbours have come to, so long after the creation."""
    simulation = staged(
        load(stories.templates("fleet"), now=START),
        BEFORE,
        stories.creation_to_ready,
        Ledger(START),
        around=True,
    )
    simulation.run(START + until)
    return simulation.server.world


def staged(
    world: World,
    intervals: Intervals,
    story: Story,
    ledger: Ledger,
    *,
    around: bool,
    plain: bool = False,
) -> Simulation:
    """Return a simulation of the older loop, with or without neighbours."""
    server, clock = WorldServer(world), VirtualClock(world.now)
    simulation = Simulation(server, clock, neighbours(Pace()) if around else (), story, TOKYO)
    loop = OlderLoop(server, intervals, ledger)
    simulation.attach(Plain(loop) if plain else loop)
    if any(obj["kind"] == "CAPTControlPlane" for obj in world.objects()):
        loop.add(TOKYO.control_plane)
    return simulation


def in_ten_minutes(world: World, intervals: Intervals) -> Count:
    """Run every single pass of ten minutes over a world in which nobody else acts, as it was measured."""
    ledger = Ledger(world.now)
    staged(world, intervals, NOTHING, ledger, around=False, plain=True).run(
        world.now + MINUTES - timedelta(milliseconds=1)
    )
    return ledger.total()


def without(world: World, *kinds: str) -> World:
    """Return a world that lacks all objects of some kinds."""
    return load([obj for obj in world.objects() if obj["kind"] not in kinds], now=world.now)


@pytest.fixture(scope="module")
def ready() -> World:
    """A world in which the control plane is Ready."""
    return grown(timedelta(minutes=5))


@pytest.fixture(scope="module")
def creating() -> World:
    """A world in which Terraform is at its first apply."""
    return grown(timedelta(minutes=1))


def one_pass(world: World, intervals: Intervals = BEFORE) -> Count:
    """Return what the second of two passes does: the first one settles what the world before it left."""
    server = WorldServer(world)
    counts = []
    for _ in range(2):
        client = Client(server)
        reconcile(client, TOKYO.control_plane, intervals, now=world.now)
        counts.append(client.count)
    return evolve(counts[-1], lines=0)


@BOTH
def test_a_ready_pass_costs_what_was_measured(ready: World, intervals: Intervals) -> None:
    """12 reads and 11 writes: 4 that change something, 2 refused as there already, and so 5 that change nothing."""
    assert one_pass(ready, intervals) == Count(passes=1, reads=12, writes=11, changed=4, refused=2)


@BOTH
def test_a_waiting_pass_costs_what_was_measured(creating: World, intervals: Intervals) -> None:
    """7 writes, 5 of which change something."""
    count = one_pass(creating, intervals)
    assert (count.writes, count.changed, count.refused) == (7, 5, 0)


@BOTH
def test_ready_never_rests(ready: World, intervals: Intervals) -> None:
    """6,000 passes in ten minutes, each of them executed here, whatever the intervals."""
    count = in_ten_minutes(ready, intervals)
    assert (count.passes, count.writes, count.refused, count.counted) == (6000, 66000, 12000, 0)


@BOTH
def test_creating_never_rests(creating: World, intervals: Intervals) -> None:
    """6,000 passes in ten minutes."""
    assert in_ten_minutes(creating, intervals).passes == 6000


@BOTH
def test_a_missing_template_backs_off(ready: World, intervals: Intervals) -> None:
    """17 passes, by a back-off from 5 ms on: the intervals do not count after an error."""
    world = settled(without(ready, "WorkspaceTemplate"), intervals)
    assert in_ten_minutes(world, intervals).passes == 17


@pytest.mark.parametrize(
    ("intervals", "passes"), [(BEFORE, 60), (INTERVALS_ALONE, 118)], ids=["10 s", "5 s"]
)
def test_a_missing_cluster_is_looked_for_at_the_interval(
    ready: World, intervals: Intervals, passes: int
) -> None:
    """The one state in which the intervals have a say; they count from the end of a pass of 100 ms."""
    world = settled(without(ready, "Cluster"), intervals)
    assert in_ten_minutes(world, intervals) == Count(
        passes=passes, reads=3 * passes, writes=passes, lines=2 * passes
    )


def settled(world: World, intervals: Intervals) -> World:
    """Let a first pass write what is new to it."""
    server = WorldServer(world)
    reconcile(Client(server), TOKYO.control_plane, intervals, now=world.now)
    return server.world


def test_the_two_writers_disagree_about_the_endpoint(ready: World) -> None:
    """One takes the whole URL for the host, the other its host: within one pass it is both."""
    server = WorldServer(ready)
    reconcile(Client(server), TOKYO.control_plane, BEFORE, now=ready.now)
    written = [
        change.object for change in server.take_changes() if change.key.kind == "CAPTControlPlane"
    ]
    hosts = [obj["spec"]["controlPlaneEndpoint"]["host"] for obj in written]
    assert [host.startswith("https://") for host in hosts] == [True, False]
    assert hosts[0] == f"https://{hosts[1]}"


def test_the_first_pass_runs_into_its_own_write() -> None:
    """The apply's name is written through a copy, so that the status conflicts; it is the only conflict of a creation."""
    ledger = Ledger(START)
    world = load(stories.templates("fleet"), now=START)
    simulation = staged(world, BEFORE, stories.creation_to_ready, ledger, around=False)
    simulation.run(START)
    assert (ledger.total().passes, ledger.total().refused) == (1, 1)


def test_passes_that_are_let_off_are_counted_as_if_they_had_been_executed() -> None:
    """The same life, once with every pass executed: the same counts in every slice, the same moments, and the same world but for counters."""
    runs: list[tuple[Simulation, Ledger]] = []
    for plain in (True, False):
        ledger = Ledger(START)
        story = stories.life(timedelta(minutes=3))
        simulation = staged(
            load(stories.templates("fleet"), now=START),
            BEFORE,
            story,
            ledger,
            around=True,
            plain=plain,
        )
        simulation.run(START + timedelta(hours=1))
        runs.append((simulation, ledger))
    (executed, full), (skipped, short) = runs
    assert executed.is_over
    assert executed.events == skipped.events
    assert short.total().counted > 0.9 * short.total().passes > 0 == full.total().counted
    assert {
        number: evolve(count, counted=0) for number, count in short.slices().items()
    } == full.slices()


def test_a_deletion_does_not_wait_for_the_workspace(ready: World) -> None:
    """The control plane is gone in the pass that begins it."""
    server = WorldServer(ready)
    ref = TOKYO.control_plane
    assert server.call(Request("delete", ref.api_version, ref.kind, ref.namespace, ref.name)).ok
    reconcile(Client(server), ref, BEFORE, now=ready.now)
    kinds: list[Any] = [obj["kind"] for obj in server.world.objects()]
    assert "CAPTControlPlane" not in kinds
    assert "Workspace" in kinds
    assert reconcile(Client(server), ref, BEFORE, now=ready.now).requeue_after is None


def test_a_ledger_spreads_repetitions_over_the_slices_in_which_they_fall() -> None:
    """200 passes fit into a slice of 20 s."""
    ledger = Ledger(START)
    ledger.repeat(START + timedelta(seconds=10), Count(passes=1, writes=2), 400)
    assert ledger.slices() == {
        number: Count(passes=n, writes=2 * n, counted=n)
        for number, n in ((0, 100), (1, 200), (2, 100))
    }


def test_a_loop_looks_after_several_control_planes_in_the_order_in_which_they_are_due() -> None:
    """Control planes that do not exist cost one pass each and no more."""
    ledger = Ledger(START)
    loop = OlderLoop(WorldServer(load([], now=START)), BEFORE, ledger)
    for name in ("b", "a"):
        loop.add(ObjectRef(TOKYO.control_plane.api_version, "CAPTControlPlane", "fleet", name))
    assert loop.run_due(START, limit=1) == START
    assert loop.run_due(START, limit=1) is None
    assert ledger.total() == Count(passes=2, reads=2, lines=2)
