"""What a neighbour of the control plane is: a small controller as a pure function, which acts through API requests alone.

Rules of this package:

1. A neighbour sees objects, the time and what it remembers of one key; it answers with requests, and with when to look again.
2. It draws no random numbers: how long something takes is a function of the seed and of a name.
3. Nothing here knows the server: the same neighbours act on a world in memory and, by HTTP, on a real API server.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from attrs import frozen

from captep_core import ObjectRef
from captep_core._objects import rfc3339
from captep_memory._json import Object
from captep_memory._request import Request, Response

__all__ = [
    "IDLE",
    "Call",
    "Memory",
    "Neighbour",
    "Objects",
    "Turn",
    "condition_of",
    "creation",
    "deletion",
    "is_true",
    "patch",
    "ref_of",
    "stamp",
    "with_conditions",
    "with_finalizer",
    "without_finalizer",
]

Call: TypeAlias = Callable[[Request], Response]
"""Send one request to an API server; a refusal is a response, not an exception."""


class Objects:
    """The objects of an API server, looked up one by one through `call`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def get(self, ref: ObjectRef) -> Object | None:
        """Return an object, None when there is none."""
        response = self._call(Request("get", ref.api_version, ref.kind, ref.namespace, ref.name))
        return response.body if response.ok else None

    def list(self, api_version: str, kind: str) -> tuple[Object, ...]:
        """Return the objects of a kind in all namespaces."""
        response = self._call(Request("list", api_version, kind))
        return tuple(response.body["items"]) if response.ok else ()


@frozen
class Memory:
    """What a neighbour's process remembers of one key; gone when it restarts.

    `doing`: what is under way, "" for nothing. `until`: when that ends. `tries`: failures in a row. `seen`: what was last acted on.
    """

    doing: str = ""
    until: datetime | None = None
    tries: int = 0
    seen: str = ""


IDLE = Memory()


@frozen
class Turn:
    """What a neighbour does now.

    `requests`: to be sent in order; when one is refused the rest is dropped and the whole turn is taken again later.
    `due`: when to look again unless an event comes first, None for not by itself. `memory`: what is kept once all requests went through.
    `occupied`: whether the neighbour's worker stays with this key until then, so that other keys wait.
    """

    requests: tuple[Request, ...] = ()
    due: datetime | None = None
    memory: Memory = IDLE
    occupied: bool = False


class Neighbour(Protocol):
    """A controller beside ours."""

    @property
    def name(self) -> str:
        """Who it is, in lower case."""
        ...

    def concerned(self, ref: ObjectRef, obj: Mapping[str, Any], /) -> ObjectRef | None:
        """Return the key to look at after an event about an object, None when the neighbour does not watch such objects."""
        ...

    def turn(self, key: ObjectRef, objects: Objects, memory: Memory, /, *, now: datetime) -> Turn:
        """Return what to do about `key` now."""
        ...


def ref_of(obj: Mapping[str, Any]) -> ObjectRef:
    """Refer to an object."""
    metadata = obj["metadata"]
    return ObjectRef(obj["apiVersion"], obj["kind"], metadata.get("namespace"), metadata["name"])


def creation(body: Object) -> Request:
    """Return the request that creates an object."""
    return Request(
        "create", body["apiVersion"], body["kind"], body["metadata"].get("namespace"), body=body
    )


def patch(ref: ObjectRef, body: Object, subresource: str | None = None) -> Request:
    """Return the request that merges `body` into an object."""
    return Request(
        "patch", ref.api_version, ref.kind, ref.namespace, ref.name, subresource, body=body
    )


def deletion(ref: ObjectRef) -> Request:
    """Return the request that deletes an object."""
    return Request("delete", ref.api_version, ref.kind, ref.namespace, ref.name)


def with_finalizer(obj: Mapping[str, Any], finalizer: str) -> tuple[Request, ...]:
    """Return the request that adds a finalizer, nothing when it is there."""
    metadata = obj["metadata"]
    held = metadata.get("finalizers", [])
    if finalizer in held:
        return ()
    return (_finalizers(obj, [*held, finalizer]),)


def without_finalizer(obj: Mapping[str, Any], finalizer: str) -> tuple[Request, ...]:
    """Return the request that takes a finalizer off, nothing when it is not there."""
    held = obj["metadata"].get("finalizers", [])
    if finalizer not in held:
        return ()
    return (_finalizers(obj, [name for name in held if name != finalizer]),)


def _finalizers(obj: Mapping[str, Any], names: list[str]) -> Request:
    # A list is replaced as a whole: the resourceVersion keeps it from undoing what somebody else did meanwhile.
    return patch(
        ref_of(obj),
        {"metadata": {"finalizers": names, "resourceVersion": obj["metadata"]["resourceVersion"]}},
    )


def condition_of(obj: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any] | None:
    """Return the condition of a type."""
    conditions = (obj or {}).get("status", {}).get("conditions", ())
    return next((entry for entry in conditions if entry["type"] == kind), None)


def is_true(obj: Mapping[str, Any] | None, kind: str) -> bool:
    """Whether the condition of a type is True."""
    found = condition_of(obj, kind)
    return found is not None and found["status"] == "True"


def with_conditions(
    obj: Mapping[str, Any], wanted: Sequence[Mapping[str, str]], *, now: datetime
) -> list[Object]:
    """Return the conditions of an object with `wanted` set; a transition time changes only together with the rest of its condition."""
    held = {entry["type"]: entry for entry in obj.get("status", {}).get("conditions", ())}
    for entry in wanted:
        before = {
            name: value
            for name, value in held.get(entry["type"], {}).items()
            if name != "lastTransitionTime"
        }
        if before != entry:
            held[entry["type"]] = {**entry, "lastTransitionTime": stamp(now)}
    return list(held.values())


def stamp(now: datetime) -> str:
    """Return a time as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    return rfc3339(now)
