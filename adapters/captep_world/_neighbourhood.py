"""All neighbours of one API server: whose turn it is, by watch events and due times."""

from collections.abc import Hashable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from captep_core import ObjectRef
from captep_world._applies import WorkspaceTemplateApplies
from captep_world._cluster_api import CAPTClusters, ClusterAPI, CoreVersion
from captep_world._neighbour import IDLE, Call, Memory, Neighbour, Objects, Turn
from captep_world._pace import REAL_PACE, Pace
from captep_world._terraform import Terraform

__all__ = ["HOT", "Neighbourhood", "neighbours"]

_Post: TypeAlias = tuple[int, ObjectRef]
# The base delay of a failed turn; real controllers back off from milliseconds to minutes.
_RETRY = timedelta(seconds=1)
# Two neighbours that undo each other's work must do it in time, not for ever at one moment.
_REST = timedelta(milliseconds=100)
HOT = timedelta(seconds=1)
"""Turns due within this time belong to the present, later ones to the future."""


def neighbours(pace: Pace = REAL_PACE, core: CoreVersion | None = "1.8") -> tuple[Neighbour, ...]:
    """Return all neighbours of a control plane.

    They are the controller of applies, Terraform, Cluster API's core in the version `core` (None:
    without core), and the CAPTCluster controller.
    """
    cores = () if core is None else (ClusterAPI(core),)
    return (WorkspaceTemplateApplies(pace), Terraform(pace), *cores, CAPTClusters())


class Neighbourhood:
    """Takes the turns of neighbours: of each key when it is due or after an event about it.

    A neighbour has one worker: while it is occupied with one key, the other keys wait. Two turns
    over the same key are at least 100 ms apart.
    """

    def __init__(self, call: Call, around: Iterable[Neighbour]) -> None:
        """Act on the server behind `call`."""
        self._call, self._objects, self._neighbours = call, Objects(call), tuple(around)
        self._rested: dict[_Post, datetime] = {}
        self._due: dict[_Post, datetime] = {}
        self._memory: dict[_Post, Memory] = {}
        self._occupied: dict[int, tuple[_Post, datetime]] = {}

    def notice(self, ref: ObjectRef, obj: Mapping[str, Any], *, now: datetime) -> None:
        """Take note of an event: `obj` is new, has changed or is gone."""
        for number, neighbour in enumerate(self._neighbours):
            key = neighbour.concerned(ref, obj)
            if key is not None:
                earliest = max(now, self._rested.get((number, key), now))
                self._due[number, key] = min(earliest, self._due.get((number, key), earliest))

    def next_due(self) -> datetime | None:
        """Return when the next turn is due, None when only an event can bring one.

        The time is in the past when the turn had to wait for a worker.
        """
        return min(map(self._due_at, self._due), default=None)

    def run_one(self, now: datetime) -> bool:
        """Take the first turn that is due; return whether one was."""
        ready = [post for post in self._due if self._due_at(post) <= now]
        if not ready:
            return False
        self._take(min(ready, key=self._place), now)
        return True

    def state(self, *, now: datetime) -> Hashable:
        """Return what decides the next turns: hot turns by wait, others by time, and memories."""
        times = ((post, self._due_at(post)) for post in self._due)
        due = ((post, at - now if at <= now + HOT else at) for post, at in times)
        return frozenset(due), frozenset(self._memory.items())

    def next_cold_due(self, *, now: datetime) -> datetime | None:
        """Return the time of the first turn that is not due within the next second."""
        return min((at for at in map(self._due_at, self._due) if at > now + HOT), default=None)

    def pass_over(self, span: timedelta, *, now: datetime) -> None:
        """Delay by `span` the turns due within the next second, as if they had repeated."""
        self._due = {post: at + span if at <= now + HOT else at for post, at in self._due.items()}
        self._rested = {post: at + span if at > now else at for post, at in self._rested.items()}

    def _place(self, post: _Post) -> tuple[datetime, bool, int, str]:
        """The order of turns: a worker ends its work before it takes another key."""
        return self._due_at(post), not self._holds(post), post[0], str(post[1])

    def _holds(self, post: _Post) -> bool:
        return post[0] in self._occupied and self._occupied[post[0]][0] == post

    def _due_at(self, post: _Post) -> datetime:
        if post[0] not in self._occupied or self._holds(post):
            return self._due[post]
        return max(self._due[post], self._occupied[post[0]][1])

    def _take(self, post: _Post, now: datetime) -> None:
        number, key = post
        before = self._memory.get(post, IDLE)
        self._rested[post] = now + _REST
        turn = self._neighbours[number].turn(key, self._objects, before, now=now)
        if not self._sent(turn):
            self._due[post] = now + _RETRY
            return
        self._remember(post, turn)

    def _sent(self, turn: Turn) -> bool:
        for request in turn.requests:
            response = self._call(request)
            if not response.ok and (request.verb, response.status) != ("delete", 404):
                return False
        return True

    def _remember(self, post: _Post, turn: Turn) -> None:
        if turn.occupied and turn.due is not None:
            self._occupied[post[0]] = (post, turn.due)
        elif self._holds(post):
            del self._occupied[post[0]]
        if turn.memory == IDLE:
            self._memory.pop(post, None)
        else:
            self._memory[post] = turn.memory
        if turn.due is None:
            self._due.pop(post, None)
        else:
            self._due[post] = max(turn.due, self._rested[post])
