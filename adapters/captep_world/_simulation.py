"""One world in virtual time: neighbours, a story, and the control loop under test.

Rules of this module:

1. The actor that is due first acts first; at one moment the user goes before the neighbours, and
   they before the loop.
2. All actors learn of a change before anybody acts again.
3. A pass of the loop takes 100 ms, a measured value. The loop has one worker, so there is at most
   one pass in that time.
4. The simulation may skip most passes of a spinning loop, but only after a pass that left
   everything exactly as the pass before it did (counters of the server and times of conditions
   aside), and only until the next moment at which another actor does something.
"""

from collections.abc import Hashable, Iterable
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from captep_core import ObjectRef
from captep_memory._json import Object, identical, without
from captep_memory._world import World
from captep_world._neighbour import Neighbour, ref_of
from captep_world._neighbourhood import HOT, Neighbourhood
from captep_world._player import Player, StoryEvent
from captep_world._server import WorldServer, changed_ref, changed_refs
from captep_world.stories import Story, Subject

__all__ = ["PASS_TIME", "ControlLoop", "Repeating", "Simulation", "VirtualClock", "alike"]

PASS_TIME = timedelta(milliseconds=100)


class VirtualClock:
    """A clock that stands until a caller moves it."""

    def __init__(self, at: datetime) -> None:
        """Start at a time."""
        self._at = at

    def now(self) -> datetime:
        """Return the time."""
        return self._at

    def move(self, at: datetime) -> None:
        """Move on to a time."""
        self._at = max(self._at, at)


class ControlLoop(Protocol):
    """A control loop under test; `captep_runtime.Loop` is one."""

    def add(self, key: ObjectRef) -> None:
        """Take over a control plane."""
        ...

    def notify(self, ref: ObjectRef) -> None:
        """Take note that an object has changed."""
        ...

    def run_due(self, now: datetime, *, limit: int) -> datetime | None:
        """Run at most `limit` passes that are due; return when the next one is."""
        ...


@runtime_checkable
class Repeating(Protocol):
    """A loop whose passes the simulation may skip while they repeat themselves."""

    def state(self) -> Hashable:
        """Return what its next pass depends on apart from the world, and what the last one did."""
        ...

    def repeat(self, times: int) -> None:
        """Count the last pass so many times again, each `PASS_TIME` after the one before."""
        ...


@frozen
class _Snapshot:
    at: datetime
    world: World
    neighbours: Hashable
    loop: Hashable


class Simulation:
    """Plays one story over a server."""

    def __init__(
        self,
        server: WorldServer,
        clock: VirtualClock,
        around: Iterable[Neighbour],
        story: Story,
        subject: Subject,
    ) -> None:
        """Prepare a story; the loop is added by `attach`, since it needs the server and the clock.

        Args:
            server: the world to begin with; the neighbours learn of its objects.
            clock: moved on as time passes.
            around: the neighbours.
            story: what the user does.
            subject: the control plane of the story.
        """
        self.server, self.clock = server, clock
        self._neighbourhood = Neighbourhood(server.call, around)
        self._player = Player(server.call, story, subject, now=clock.now())
        self._looked_at_version = -1
        self._loop: ControlLoop | None = None
        self._free_at = clock.now()
        self._snapshot: _Snapshot | None = None
        for obj in server.world.objects():
            self._neighbourhood.notice(ref_of(obj), obj, now=clock.now())

    @property
    def events(self) -> tuple[StoryEvent, ...]:
        """The acts so far, and the end of the story."""
        return tuple(self._player.events)

    @property
    def is_over(self) -> bool:
        """Whether the story has ended."""
        return self._player.is_over

    def attach(self, loop: ControlLoop) -> None:
        """Attach the control loop under test."""
        self._loop = loop

    def run(self, until: datetime) -> None:
        """Let time pass up to `until`, or until the story is over."""
        while not self.is_over and (due := self._next_due()) is not None and due <= until:
            self.clock.move(due)
            self.server.at(self.clock.now())
            self._act_once(until)
            self._notify()
        if not self.is_over:
            self.clock.move(until)
            self.server.at(until)

    def _next_due(self) -> datetime | None:
        times = (self._user_due(), self._neighbourhood.next_due(), self._loop_due())
        return min((due for due in times if due is not None), default=None)

    def _loop_due(self) -> datetime | None:
        due = self._loop.run_due(self.clock.now(), limit=0) if self._loop is not None else None
        return None if due is None else max(due, self._free_at)

    def _user_due(self) -> datetime | None:
        """When the user looks next: at the end of a wait, then after each change."""
        waits_until = self._player.waits_until()
        if waits_until > self.clock.now():
            return waits_until
        return (
            self.clock.now()
            if self._looked_at_version != self.server.world.resource_version
            else None
        )

    def _act_once(self, until: datetime) -> None:
        now = self.clock.now()
        user_due = self._user_due()
        if user_due is not None and user_due <= now:
            self._look()
        elif not self._neighbourhood.run_one(now) and self._loop is not None:
            self._loop.run_due(now, limit=1)
            self._free_at = now + PASS_TIME
            self._notify()
            self._skip_repeats(until)

    def _look(self) -> None:
        self._looked_at_version = self.server.world.resource_version
        if self._player.look(self.clock.now()):
            self._looked_at_version = -1

    def _notify(self) -> None:
        for change in self.server.take_changes():
            ref = changed_ref(change)
            self._neighbourhood.notice(ref, change.object, now=self.clock.now())
            if self._loop is not None:
                if (change.type, ref.kind) == ("ADDED", "CAPTControlPlane"):
                    self._loop.add(ref)
                for each in changed_refs(change, self.server.world):
                    self._loop.notify(each)

    def _skip_repeats(self, until: datetime) -> None:
        """Rule 4."""
        if not isinstance(self._loop, Repeating) or self._loop_due() != self._free_at:
            self._snapshot = None
            return
        now = self.clock.now()
        before = self._snapshot
        self._snapshot = _Snapshot(
            now, self.server.world, self._neighbourhood.state(now=now), self._loop.state()
        )
        if before is None or before.at + PASS_TIME != now or not _is_same(before, self._snapshot):
            return
        waits_until = self._player.waits_until()
        others = (
            self._neighbourhood.next_cold_due(now=now),
            waits_until if waits_until > now else None,
        )
        quiet_until = min(until, *(due for due in others if due is not None))
        times = int((quiet_until - now) / PASS_TIME) - 1
        # No hot turn may become due after the first cold one.
        if times > HOT / PASS_TIME:
            self._loop.repeat(times)
            self._pass_over(times * PASS_TIME)

    def _pass_over(self, span: timedelta) -> None:
        now = self.clock.now()
        self._neighbourhood.pass_over(span, now=now)
        self.clock.move(now + span)
        self.server.at(now + span)
        self._free_at += span
        self._snapshot = None


def _is_same(before: _Snapshot, after: _Snapshot) -> bool:
    return (before.neighbours, before.loop) == (after.neighbours, after.loop) and alike(
        before.world, after.world
    )


def alike(left: World, right: World) -> bool:
    """Whether two worlds differ only by resourceVersions, generations and transition times."""
    if left.shelves.keys() != right.shelves.keys():
        return False
    for place, shelf in left.shelves.items():
        other = right.shelves[place]
        if shelf is other:
            continue
        if shelf.keys() != other.keys():
            return False
        for name, obj in shelf.items():
            if obj is not other[name] and not identical(_lasting(obj), _lasting(other[name])):
                return False
    return True


def _lasting(obj: Object) -> Object:
    kept = {**obj, "metadata": without(obj["metadata"], "resourceVersion", "generation")}
    conditions: list[Any] = obj.get("status", {}).get("conditions", [])
    if conditions:
        kept["status"] = {
            **obj["status"],
            "conditions": [without(each, "lastTransitionTime") for each in conditions],
        }
    return kept
