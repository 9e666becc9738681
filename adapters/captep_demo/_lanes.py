"""The three loops of the demo, each with a world of its own and the same story."""

import logging
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from attrs import field, frozen

from captep_core import (
    JSON,
    Action,
    Decision,
    Listed,
    ObjectRef,
    Observed,
    ReconcileState,
    Selection,
    decide,
)
from captep_core.capt._resources import WATCHED
from captep_core.errors import GatewayError
from captep_core.ports import Answer, Read, Reads
from captep_demo._older import BEFORE, INTERVALS_ALONE, Intervals, OlderLoop
from captep_demo._timeline import Count, Timeline
from captep_memory import MemoryGateway, StoreChange, World, load
from captep_runtime import Logger, Loop
from captep_world import (
    Pace,
    Simulation,
    Story,
    StoryEvent,
    Subject,
    VirtualClock,
    WorldServer,
    neighbours,
    stories,
)

__all__ = ["LANES", "START", "CaptepLoop", "Lane", "Result", "play"]

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NAMESPACE = "fleet"


@frozen
class Lane:
    """One loop. `secret` is the pattern of its kubeconfig Secret's name."""

    name: str
    secret: str
    older: Intervals | None = None


LANES: Final = (
    Lane("before CAPTEP-0016", "{}-control-plane-kubeconfig", BEFORE),
    Lane("its intervals alone", "{}-control-plane-kubeconfig", INTERVALS_ALONE),
    Lane("captep", "{}-kubeconfig"),
)


@frozen
class Result:
    """The result of one lane.

    `slices` holds the counts by slice of 20 s, `total` their sum. `usable_after`, `restored_after`
    and `reported_after` are waits in seconds, None when the awaited state never came.
    """

    lane: Lane
    total: Count
    slices: Mapping[int, Count]
    story_events: tuple[StoryEvent, ...]
    usable_after: float | None
    restored_after: float | None
    reported_after: float | None
    rotations: tuple[datetime, ...]
    is_over: bool
    cpu_seconds: float = field(default=0.0, eq=False)
    """CPU time of all passes; those that were not executed count as the mean of the others."""
    gaps: tuple[tuple[float, float], ...] = ()
    """The seconds that a decision asked for and those until the next one, where nothing woke it."""
    errors: int = 0
    """Passes of captep that ended in an error, and refused writes."""


def play(
    lane: Lane, name: str, *, story: Story, seed: int, limit: timedelta, faults: float = 0.0
) -> Result:
    """Play a story about the control plane `name` with the loop of a lane, for at most `limit`.

    `faults`: the share of captep's writes that get no answer; every second one of them has landed.
    """
    subject = Subject(_NAMESPACE, name, lane.secret)
    clock = VirtualClock(START)
    milestones = Milestones(subject)
    server = ObservedServer(load(stories.templates(_NAMESPACE), now=START), milestones)
    timeline = Timeline(START)
    simulation = Simulation(server, clock, neighbours(Pace(seed=seed)), story, subject)
    captep = CaptepLoop(server, clock, timeline, faults=faults, seed=seed)
    loop = OlderLoop(server, lane.older, timeline) if lane.older else captep
    simulation.attach(loop)
    simulation.run(START + limit)
    total = timeline.total()
    executed = total.passes - total.counted
    return Result(
        lane=lane,
        total=total,
        slices=timeline.slices(),
        story_events=tuple(simulation.events),
        usable_after=_seconds(START, milestones.usable_at),
        restored_after=_seconds(milestones.secret_lost_at, milestones.secret_back_at),
        reported_after=_seconds(milestones.failing_since, milestones.reported_at),
        rotations=tuple(milestones.rotations),
        is_over=simulation.is_over,
        cpu_seconds=loop.cpu_seconds * total.passes / max(1, executed),
        gaps=tuple(captep.gaps),
        errors=captep.errors,
    )


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else (until - since).total_seconds()


class Milestones:
    """The times of the changes that a user waits for, None for a change that has not come."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.usable_at: datetime | None = None
        self.secret_lost_at: datetime | None = None
        self.secret_back_at: datetime | None = None
        self.failing_since: datetime | None = None
        self.reported_at: datetime | None = None
        self.rotations: list[datetime] = []
        self._has_kubeconfig = False
        self._is_ready = False

    def observe(self, change: StoreChange, now: datetime) -> None:
        """Record the time of a change in the server."""
        ref = (change.key.kind, change.key.name)
        if ref == ("Secret", self._subject.kubeconfig_secret.name):
            self._observe_secret(change, now)
        elif ref == ("CAPTControlPlane", self._subject.name):
            self._observe_control_plane(change, now)
        elif ref == ("Workspace", self._subject.workspace.name):
            synced = _condition(change, "Synced")
            if synced.get("status") == "False" and self.failing_since is None:
                self.failing_since = now

    def _observe_secret(self, change: StoreChange, now: datetime) -> None:
        self._has_kubeconfig = change.type != "DELETED" and bool(
            change.object.get("data", {}).get("value")
        )
        if change.type == "DELETED" and self.secret_lost_at is None:
            self.secret_lost_at = now
        elif (
            change.type == "ADDED"
            and self.secret_lost_at is not None
            and self.secret_back_at is None
        ):
            self.secret_back_at = now
        elif change.type == "MODIFIED":
            self.rotations.append(now)
        self._observe_usable(now)

    def _observe_control_plane(self, change: StoreChange, now: datetime) -> None:
        ready = _condition(change, "Ready")
        self._is_ready = ready.get("status") == "True"
        if (
            self.failing_since is not None
            and self.reported_at is None
            and ready.get("reason") == "WorkspaceError"
        ):
            self.reported_at = now
        self._observe_usable(now)

    def _observe_usable(self, now: datetime) -> None:
        if self._is_ready and self._has_kubeconfig and self.usable_at is None:
            self.usable_at = now


def _condition(change: StoreChange, kind: str) -> Mapping[str, str]:
    found: list[Mapping[str, str]] = change.object.get("status", {}).get("conditions", [])
    return next((entry for entry in found if entry["type"] == kind), {})


class ObservedServer(WorldServer):
    """A server that passes its changes to the milestones."""

    def __init__(self, world: World, milestones: Milestones) -> None:
        super().__init__(world)
        self._milestones = milestones

    def take_changes(self) -> tuple[StoreChange, ...]:
        """Return the changes since the last call."""
        changes = super().take_changes()
        for change in changes:
            self._milestones.observe(change, self.world.now)
        return changes


class CaptepLoop:
    """captep's runtime loop with captep's decisions, over a gateway that counts and may fail."""

    def __init__(
        self,
        server: WorldServer,
        clock: VirtualClock,
        timeline: Timeline,
        *,
        faults: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._server, self._clock, self._timeline = server, clock, timeline
        self.cpu_seconds = 0.0
        self.gaps: list[tuple[float, float]] = []
        self.errors = 0
        self._asked: tuple[float, datetime] | None = None
        self._faults, self._draw = faults, random.Random(seed)  # noqa: S311 - no secret depends on it
        self._gateway = MemoryGateway(server.world, watched=WATCHED)
        # A logger outside the hierarchy: the demo counts these lines and prints none of them.
        lines = logging.Logger("captep", logging.INFO)  # noqa: LOG001
        lines.addHandler(_LineCounter(self))
        self._loop = Loop(self._decide, self, clock, reporter=Logger(lines, "captep"))

    def add(self, key: ObjectRef) -> None:
        """Take over a control plane."""
        self._loop.add(key)

    def notify(self, ref: ObjectRef) -> None:
        """Wake the control planes whose last decision read this object."""
        self._loop.notify(ref)

    def run_due(self, now: datetime, *, limit: int) -> datetime | None:
        """Run passes that are due."""
        if limit:
            self.count(Count(passes=1))
        began = time.process_time()
        due = self._loop.run_due(now, limit=limit)
        self.cpu_seconds += time.process_time() - began
        return due

    @property
    def read(self) -> Read:
        """Read an object, or a list."""
        return Reads(self._get, self._find)

    def _get(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        self.count(Count(reads=1))
        self._gateway.world = self._server.world
        return self._gateway.get(ref)

    def _find(self, selection: Selection) -> Listed:
        self.count(Count(reads=1))
        self._gateway.world = self._server.world
        return self._gateway.find(selection)

    def send(self, action: Action) -> Answer:
        """Send an action."""
        self._gateway.world = self._server.world
        fate = self._draw.random()
        if fate < self._faults / 2:
            self._fail()
        answer = self._gateway.send(action)
        self._server.world = self._gateway.world
        if fate < self._faults:
            self._fail()
        self.errors += answer.is_refusal
        self.count(Count(writes=1, changed=int(answer.changed), refused=int(answer.is_refusal)))
        return answer

    def _fail(self) -> NoReturn:
        self.errors += 1
        raise GatewayError("the connection broke: no answer to a write")

    def _decide(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Decide, and note how long after a quiet decision without a wake-up that is."""
        if self._asked is not None and (now - self._asked[1]).total_seconds() >= self._asked[0]:
            self.gaps.append((self._asked[0], (now - self._asked[1]).total_seconds()))
        decision = decide(key, read, state, now=now)
        wait = decision.requeue_after
        is_quiet = wait is not None and not decision.actions
        self._asked = (wait.total_seconds(), now) if wait is not None and is_quiet else None
        return decision

    def count(self, count: Count) -> None:
        """Add to the counts of the present time."""
        self._timeline.add(self._clock.now(), count)


class _LineCounter(logging.Handler):
    """Counts log lines instead of writing them."""

    def __init__(self, loop: CaptepLoop) -> None:
        super().__init__()
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - the text does not matter
        """Count one line."""
        self._loop.count(Count(lines=1))
