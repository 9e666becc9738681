"""A gateway over a world: each action becomes one request to the in-memory API server."""

import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, frozen

from captep_core._actions import JSON, Action, ObjectRef, RecordEvent, write_of
from captep_core._observation import ABSENT, Listed, Observed, Selection, Unreadable
from captep_core._request import (
    RawResponse,
    RecordedEvent,
    WriteRequest,
    answer_of,
    event_request,
    request_of,
)
from captep_core._resources import Watched
from captep_core.ports import Answer, Read, Reads
from captep_memory._request import Key, Request, Response, group_of
from captep_memory._serve import serve
from captep_memory._world import World

__all__ = ["MemoryGateway", "NotModelledError", "ObjectMatch"]

_COMPONENT: Final = "captep"
_MERGE_PATCH: Final = "application/merge-patch+json"
_APPLY_PATCH: Final = "application/apply-patch+yaml"
_NOT_MODELLED: Final = 501


@frozen
class ObjectMatch:
    """One object by kind and name, in any version; without `api_group` that kind in every group."""

    kind: str
    namespace: str | None
    name: str
    api_group: str | None = None

    def matches(self, ref: ObjectRef) -> bool:
        """Whether `ref` is this object."""
        named = (self.kind, self.namespace, self.name) == (ref.kind, ref.namespace, ref.name)
        return named and self.api_group in (None, group_of(ref.api_version))

    def may_be_in(self, selection: Selection) -> bool:
        """Whether a list is of the kind and the namespace of this object."""
        return (
            self.kind == selection.kind
            and selection.namespace in (None, self.namespace)
            and self.api_group in (None, group_of(selection.api_version))
        )


_NOTHING_UNREADABLE: Final[Mapping[ObjectMatch, str]] = MappingProxyType({})
_NOTHING_REFUSED: Final[Mapping[tuple[str, ObjectMatch], int]] = MappingProxyType({})


class NotModelledError(Exception):
    """A write has no model in the in-memory server; the message names what is missing.

    It says nothing about the code under test: a real server would have answered.
    """


class MemoryGateway:
    """A `Gateway` that holds a world; tests and simulated peers may replace `world` any time."""

    def __init__(
        self,
        world: World,
        *,
        unreadable: Mapping[ObjectMatch, str] = _NOTHING_UNREADABLE,
        refuse: Mapping[tuple[str, ObjectMatch], int] = _NOTHING_REFUSED,
        watched: Iterable[Watched] = (),
        component: str = _COMPONENT,
    ) -> None:
        """Serve `world`.

        Args:
            world: the server to begin with.
            unreadable: objects whose reads fail, with the Kubernetes reason.
            refuse: writes that change nothing, by verb and object (its status included), with the
                HTTP status of the answer.
            watched: kinds that decisions speak in several versions; each is read and written in the
                newest that the server has.
            component: the name that Events carry.
        """
        self.world = world
        self._component = component
        self._unreadable, self._refuse = unreadable, refuse
        self._versions = {
            (each.resource.api_version, each.resource.kind): each.versions for each in watched
        }
        self._lock = threading.Lock()

    @property
    def read(self) -> Read:
        """Look one object up, or list."""
        return Reads(self.get, self.find)

    def get(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up; see `Read`."""
        for match, reason in self._unreadable.items():
            if match.matches(ref):
                return Unreadable(reason)
        _, response = serve(
            self.world, Request("get", self._version(ref), ref.kind, ref.namespace, ref.name)
        )
        if response.ok:
            return response.body
        # A 404 for a kind that is not served names no object, and says nothing about this one.
        if response.status == 404 and response.body.get("details", {}).get("name"):
            return ABSENT
        return Unreadable(response.reason, str(response.body["message"]))

    def find(self, selection: Selection) -> Listed:
        """Look the objects of a list up; one that is unreadable leaves the list unreadable."""
        for match, reason in self._unreadable.items():
            if match.may_be_in(selection):
                return Unreadable(reason)
        kind = {"apiVersion": selection.api_version, "kind": selection.kind}
        request = Request(
            "list",
            self._served(selection) or selection.api_version,
            selection.kind,
            selection.namespace,
            label_selector=selection.selector,
        )
        _, response = serve(self.world, request)
        if not response.ok:
            return Unreadable(response.reason, str(response.body["message"]))
        # Items of a built-in kind lack apiVersion and kind.
        items = [{**kind, **obj} for obj in response.body["items"]]
        if self._served(selection) is None:
            items = [self._as_stored(obj) for obj in items]
        return tuple(sorted(items, key=_place))

    def send(self, action: Action) -> Answer:
        """Translate `action` to one request and serve it; an Event that exists is counted up.

        Raises:
            NotModelledError: the in-memory server has no model of the request.
        """
        verb = write_of(action).verb
        for (refused, match), status in self._refuse.items():
            if refused == verb and match.matches(action.target):
                return Answer(status, changed=False)
        with self._lock:
            request = request_of(action, now=self.world.now, component=self._component)
            target = request.target
            if not isinstance(action, RecordEvent):
                request = evolve(request, target=evolve(target, api_version=self._version(target)))
            answer = self._serve(request)
            if isinstance(action, RecordEvent) and answer.status == 409:
                answer = self._serve(self._repeated(action, request.target))
        return answer

    def _served(self, target: ObjectRef | Selection) -> str | None:
        """Return the version in which the server has a kind; None: each object in its own."""
        spoken = self._versions.get((target.api_version, target.kind), ())
        if len(spoken) < 2:
            return target.api_version
        served = self.world.catalog.served(group_of(target.api_version), target.kind)
        if served is None:
            return None
        return next((each for each in spoken if each in served), target.api_version)

    def _version(self, ref: ObjectRef) -> str:
        """Return the version in which to name an object."""
        served = self._served(ref)
        if served is not None:
            return served
        stored = self.world.get(Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name))
        held = "" if stored is None else stored["apiVersion"]
        return held if held in self._versions[ref.api_version, ref.kind] else ref.api_version

    def _as_stored(self, obj: Mapping[str, Any]) -> dict[str, JSON]:
        """Return an object of a list in its own version."""
        metadata = obj["metadata"]
        named = metadata.get("namespace"), metadata["name"]
        found = self.get(ObjectRef(obj["apiVersion"], obj["kind"], *named))
        return found if isinstance(found, dict) else dict(obj)

    def _repeated(self, record: RecordEvent, target: ObjectRef) -> WriteRequest:
        """Count up the Event that an earlier pass recorded; the world keeps the count."""
        found = serve(self.world, Request("get", "v1", "Event", target.namespace, target.name))[1]
        event = RecordedEvent(target.name, (found.body.get("count") or 1) + 1)
        return event_request(record, event, now=self.world.now, component=self._component)

    def _serve(self, request: WriteRequest) -> Answer:
        before = self.world
        self.world, response = serve(before, _request(request))
        if response.status == _NOT_MODELLED and response.reason == "NotModelled":
            target = request.target
            place = f"{target.namespace}/{target.name}" if target.namespace else target.name
            missing = response.body["message"]
            raise NotModelledError(f"{missing}: {request.verb} {target.kind} {place}")
        changed = self.world.resource_version != before.resource_version
        return answer_of(_raw(response), request.target, changed=changed)


def _place(obj: Mapping[str, Any]) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def _request(request: WriteRequest) -> Request:
    target = request.target
    manager = "" if request.verb == "delete" else request.manager or _COMPONENT
    return Request(
        "patch" if request.verb == "apply" else request.verb,
        target.api_version,
        target.kind,
        target.namespace,
        None if request.verb == "create" else target.name,
        request.subresource,
        body=dict(request.body),
        content_type=_APPLY_PATCH if request.verb == "apply" else _MERGE_PATCH,
        field_manager=manager,
        force=True if request.force else None,
    )


def _raw(response: Response) -> RawResponse:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return RawResponse(response.status, headers, response.body)
