"""The three loops of the demo, each alone with the same world and the same story."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import frozen

from captep_core import JSON, Action, ObjectRef, Observed, decide
from captep_core.ports import Answer
from captep_demo._ledger import Count, Ledger
from captep_demo._older import BEFORE, INTERVALS_ALONE, Intervals, OlderLoop
from captep_memory import MemoryGateway, StoreChange, World, load
from captep_runtime import Logger, Loop
from captep_world import (
    ControlLoop,
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
    """One loop. `secret` is the pattern of the name of the kubeconfig Secret that it makes."""

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
    """What came of one lane: counts in all and by slices of 20 s, when the user acted, and how long others had to wait, in seconds.

    A wait is None when what was waited for did not come.
    """

    lane: Lane
    total: Count
    slices: Mapping[int, Count]
    happenings: tuple[StoryEvent, ...]
    usable_after: float | None
    mended_after: float | None
    reported_after: float | None
    rotations: tuple[datetime, ...]
    is_over: bool


def play(lane: Lane, name: str, *, story: Story, seed: int, limit: timedelta) -> Result:
    """Play a story about the control plane `name` with the loop of a lane, on a server of its own, for at most `limit`."""
    subject = Subject(_NAMESPACE, name, lane.secret)
    clock, diary = VirtualClock(START), Diary(subject)
    server = WatchedServer(load(stories.templates(_NAMESPACE), now=START), diary)
    ledger = Ledger(START)
    simulation = Simulation(server, clock, neighbours(Pace(seed=seed)), story, subject)
    resident: ControlLoop = (
        OlderLoop(server, lane.older, ledger) if lane.older else CaptepLoop(server, clock, ledger)
    )
    simulation.attach(resident)
    simulation.run(START + limit)
    return Result(
        lane=lane,
        total=ledger.total(),
        slices=ledger.slices(),
        happenings=tuple(simulation.events),
        usable_after=_seconds(START, diary.usable_at),
        mended_after=_seconds(diary.secret_lost_at, diary.secret_back_at),
        reported_after=_seconds(diary.failing_since, diary.reported_at),
        rotations=tuple(diary.rotations),
        is_over=simulation.is_over,
    )


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else (until - since).total_seconds()


class Diary:
    """When the things happened that somebody waits for."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.usable_at: datetime | None = None
        self.secret_lost_at: datetime | None = None
        self.secret_back_at: datetime | None = None
        self.failing_since: datetime | None = None
        self.reported_at: datetime | None = None
        self.rotations: list[datetime] = []
        self._has_kubeconfig = self._is_ready = False

    def note(self, change: StoreChange, now: datetime) -> None:
        """Take note of one change in the server."""
        ref = (change.key.kind, change.key.name)
        if ref == ("Secret", self._subject.kubeconfig_secret.name):
            self._note_secret(change, now)
        elif ref == ("CAPTControlPlane", self._subject.name):
            self._note_control_plane(change, now)
        elif ref == ("Workspace", self._subject.workspace.name):
            synced = _condition(change, "Synced")
            if synced.get("status") == "False" and self.failing_since is None:
                self.failing_since = now

    def _note_secret(self, change: StoreChange, now: datetime) -> None:
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
        self._note_usable(now)

    def _note_control_plane(self, change: StoreChange, now: datetime) -> None:
        ready = _condition(change, "Ready")
        self._is_ready = ready.get("status") == "True"
        if (
            self.failing_since is not None
            and self.reported_at is None
            and ready.get("reason") == "WorkspaceError"
        ):
            self.reported_at = now
        self._note_usable(now)

    def _note_usable(self, now: datetime) -> None:
        if self._is_ready and self._has_kubeconfig and self.usable_at is None:
            self.usable_at = now


def _condition(change: StoreChange, kind: str) -> Mapping[str, str]:
    found: list[Mapping[str, str]] = change.object.get("status", {}).get("conditions", [])
    return next((entry for entry in found if entry["type"] == kind), {})


class WatchedServer(WorldServer):
    """A server whose changes are noted in a diary."""

    def __init__(self, world: World, diary: Diary) -> None:
        super().__init__(world)
        self._diary = diary

    def take_changes(self) -> tuple[StoreChange, ...]:
        """Return what happened, and note it."""
        changes = super().take_changes()
        for change in changes:
            self._diary.note(change, self.world.now)
        return changes


class CaptepLoop:
    """captep's own runtime loop with its own decisions, over a gateway that counts."""

    def __init__(self, server: WorldServer, clock: VirtualClock, ledger: Ledger) -> None:
        self._server, self._clock, self._ledger = server, clock, ledger
        self._gateway = MemoryGateway(server.world)
        # A logger outside of the hierarchy: no handler of the process writes what is only counted.
        lines = logging.Logger("captep", logging.INFO)  # noqa: LOG001
        lines.addHandler(_LineCounter(self))
        self._loop = Loop(decide, self, clock, reporter=Logger(lines, "captep"))

    def add(self, key: ObjectRef) -> None:
        """Take over a control plane."""
        self._loop.add(key)

    def notify(self, ref: ObjectRef) -> None:
        """Wake whoever has read this object."""
        self._loop.notify(ref)

    def run_due(self, now: datetime, *, limit: int) -> datetime | None:
        """Run passes that are due."""
        if limit:
            self.count(Count(passes=1))
        return self._loop.run_due(now, limit=limit)

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look an object up."""
        self.count(Count(reads=1))
        self._gateway.world = self._server.world
        return self._gateway.read(ref)

    def send(self, action: Action) -> Answer:
        """Send an action."""
        self._gateway.world = self._server.world
        answer = self._gateway.send(action)
        self._server.world = self._gateway.world
        self.count(Count(writes=1, changed=int(answer.changed), refused=int(answer.is_refusal)))
        return answer

    def count(self, count: Count) -> None:
        """Count something done now."""
        self._ledger.note(self._clock.now(), count)


class _LineCounter(logging.Handler):
    """Counts log lines instead of writing them."""

    def __init__(self, loop: CaptepLoop) -> None:
        super().__init__()
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - that there is a line is all that counts
        """Count one line."""
        self._loop.count(Count(lines=1))
