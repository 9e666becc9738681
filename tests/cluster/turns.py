"""A life in turns: after each request of a user or a neighbour the control loop comes to rest.

So the loop sees the same changes in the same order on every server, and tests can compare its
writes one by one. The neighbours have a time of their own, which jumps to the next one due.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from attrs import evolve

from captep_core import JSON, Action, ObjectRef, Observed, RecordEvent, decide, write_of
from captep_core.capt._resources import RESOURCES
from captep_core.ports import Answer
from captep_memory import MemoryGateway, Object, Request, Response, load
from captep_runtime import Loop
from captep_world import (
    Neighbourhood,
    Objects,
    Story,
    Subject,
    VirtualClock,
    WorldServer,
    changed_ref,
    neighbours,
    stories,
)
from tests.cluster.around import FAST

__all__ = ["PARTS", "InMemory", "Place", "Turns"]

_START = datetime(2026, 1, 1, tzinfo=UTC)
_SOON = timedelta(minutes=1)
"""Neighbours finish the work that is due within this time before the next request."""
_PACE = evolve(FAST, retry=(9000.0, 9000.0))
"""A failure is not retried until somebody changes something."""
_MOST_TURNS = 500
"""A bound, so that neighbours who never come to rest fail the test."""
_WATCHED = [
    resource
    for (_, kind), resource in RESOURCES.items()
    if kind not in ("Secret", "WorkspaceTemplate")
]
_CREATION = stories.creation_to_ready
_REPAIR = evolve(stories.repair, acts=stories.repair.acts[1:])
_FAILURE = evolve(stories.failure_and_recovery, acts=stories.failure_and_recovery.acts[1:])
_DELETION = evolve(stories.deletion_of_all, acts=stories.deletion_of_all.acts[1:])


class Place(Protocol):
    """A server with a control loop at work on it."""

    def call(self, request: Request) -> Response:
        """Send a request of a user or a neighbour."""
        ...

    def rest(self, now: datetime) -> None:
        """Return once the loop has seen everything and has nothing more to do.

        `now` is the time of the neighbours.
        """
        ...

    def absence(self) -> AbstractContextManager[object]:
        """Stop the loop for a while; the loop after it knows nothing."""
        ...


class Turns:
    """A user and the neighbours of one control plane."""

    def __init__(self, place: Place, subject: Subject) -> None:
        self._place = place
        self.subject = subject
        self.objects = Objects(place.call)
        self._neighbourhood = Neighbourhood(self.send, neighbours(_PACE))
        self._known: dict[ObjectRef, Object] = {}
        self._now = _START

    def send(self, request: Request) -> Response:
        """Send one request; after a write, wait until the loop rests."""
        response = self._place.call(request)
        if request.verb not in ("get", "list"):
            self._place.rest(self._now)
        return response

    def do(self, *requests: Request) -> None:
        """Send requests that the server must grant."""
        for request in requests:
            response = self.send(request)
            assert response.ok, (request, response)
        self._settle()

    def do_unseen(self, *requests: Request) -> None:
        """Send requests that the server must grant, while no loop runs."""
        with self._place.absence():
            for request in requests:
                response = self._place.call(request)
                assert response.ok, (request, response)
        self._place.rest(self._now)
        self._settle()

    def play(self, story: Story) -> None:
        """Play a story without its pauses."""
        for act in story.acts:
            self._until(lambda act=act: act.once(self.objects, self.subject))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            self.do(*act.requests(self.subject))
        self._until(lambda: story.ends(self.objects, self.subject))

    def _until(self, holds: Callable[[], bool]) -> None:
        for _ in range(_MOST_TURNS):
            if holds():
                return self._settle()
            assert self._take_turn(within=timedelta(days=1)), "no neighbour has anything more to do"
        raise AssertionError(f"the story does not go on after {_MOST_TURNS} turns")

    def _settle(self) -> None:
        """Let the neighbours do the work that is due soon."""
        self._notice()
        turns = 0
        while self._take_turn(within=_SOON):
            turns += 1
            assert turns < _MOST_TURNS

    def _take_turn(self, *, within: timedelta) -> bool:
        self._notice()
        due = self._neighbourhood.next_due()
        if due is None or due > self._now + within:
            return False
        self._now = max(self._now, due)
        self._neighbourhood.run_one(self._now)
        return True

    def _notice(self) -> None:
        """Notify the neighbours of changes, by the server's versions, and then of deletions."""
        found = {ref: obj for ref, obj in self._listed() if self._is_ours(ref)}
        news = [(ref, obj) for ref, obj in found.items() if self._known.get(ref) != obj]
        gone = [(ref, obj) for ref, obj in self._known.items() if ref not in found]
        for ref, obj in (
            *sorted(news, key=lambda each: int(each[1]["metadata"]["resourceVersion"])),
            *gone,
        ):
            self._neighbourhood.notice(ref, obj, now=self._now)
        self._known = found

    def _listed(self) -> Iterable[tuple[ObjectRef, Object]]:
        for resource in _WATCHED:
            for obj in self.objects.list(resource.api_version, resource.kind):
                metadata = obj["metadata"]
                yield (
                    ObjectRef(
                        resource.api_version,
                        resource.kind,
                        metadata.get("namespace"),
                        metadata["name"],
                    ),
                    obj,
                )

    def _is_ours(self, ref: ObjectRef) -> bool:
        return ref.namespace == self.subject.namespace or (
            ref.namespace is None and ref.name.startswith(f"{self.subject.name}-")
        )


def _rotate(turns: Turns) -> None:
    """Put a new token where Crossplane puts it."""
    place = turns.subject
    body: Object = {"data": {"kubeconfig": "a2luZDogQ29uZmlnCiMgbmV3Cg=="}}
    turns.do(
        Request(
            "patch", "v1", "Secret", place.namespace, f"{place.name}-outputs-kubeconfig", body=body
        )
    )


def _mistype(turns: Turns) -> None:
    """Replace our kubeconfig Secret by one of a wrong type, while no loop runs."""
    secret = turns.subject.kubeconfig_secret
    kept = turns.objects.get(secret)
    assert kept is not None
    metadata = {name: kept["metadata"][name] for name in ("name", "labels", "ownerReferences")}
    body: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "data": kept["data"],
    }
    delete = Request("delete", "v1", "Secret", secret.namespace, secret.name)
    turns.do_unseen(delete, Request("create", "v1", "Secret", secret.namespace, body=body))
    mended = turns.objects.get(secret)
    assert mended is not None
    assert (mended["type"], mended["data"]) == (kept["type"], kept["data"])


def _tag(turns: Turns) -> None:
    """Edit a tag as a user does."""
    ref = turns.subject.control_plane
    body: Object = {"spec": {"additionalTags": {"Stage": "production"}}}
    turns.do(Request("patch", ref.api_version, ref.kind, ref.namespace, ref.name, body=body))


PARTS: dict[str, Callable[[Turns], None]] = {
    "creation": lambda turns: turns.play(_CREATION),
    "rotation": _rotate,
    "repair": lambda turns: turns.play(_REPAIR),
    "wrong type": _mistype,
    "tag": _tag,
    "failure": lambda turns: turns.play(_FAILURE),
    "failure again": lambda turns: turns.play(_FAILURE),
    "deletion": lambda turns: turns.play(_DELETION),
}
"""The parts of a life, in order."""


class InMemory:
    """`Place` in memory with captep's own loop; notes the writes of the loop."""

    def __init__(self, namespace: str) -> None:
        self._clock = VirtualClock(_START)
        self._server = WorldServer(load(stories.templates(namespace), now=_START))
        self._loop = Loop(decide, self, self._clock)
        self.written: list[str] = []

    def call(self, request: Request) -> Response:
        """Send a request of a user or a neighbour."""
        return self._server.call(request)

    def rest(self, now: datetime) -> None:
        """Let the loop come to rest."""
        self._clock.move(now)
        self._server.at(now)
        while changes := self._server.take_changes():
            for ref in map(changed_ref, changes):
                if ref.kind == "CAPTControlPlane":
                    self._keep(ref)
                self._loop.notify(ref)
            self._loop.run_due(now)

    @contextmanager
    def absence(self) -> Iterator[None]:
        """Replace the loop by another one, which begins at `rest`."""
        keys = self._loop.keys()
        yield
        self._loop = Loop(decide, self, self._clock)
        for key in keys:
            self._loop.add(key)

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look an object up for the loop."""
        return MemoryGateway(self._server.world).read(ref)

    def send(self, action: Action) -> Answer:
        """Send an action of the loop, and note it.

        An Event is only noted as such: it may be a new one or the count of an old one.
        """
        gateway = MemoryGateway(self._server.world)
        answer = gateway.send(action)
        self._server.world = gateway.world
        assert answer.status < 300, (action, answer)
        self.written.append("Event" if isinstance(action, RecordEvent) else str(write_of(action)))
        return answer

    def _keep(self, key: ObjectRef) -> None:
        if isinstance(self.read(key), dict):
            self._loop.add(key)
        else:
            self._loop.remove(key)
