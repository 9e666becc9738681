"""A neighbour of the control plane: a small controller as a pure function.

Rules of this package:

1. A neighbour sees objects, the time and its memory of one key; it returns requests, and the time
   of its next look.
2. It draws no random numbers: a duration is a function of the seed and of a name.
3. Nothing here knows the server: the same neighbours act on a world in memory and, by HTTP, on a
   real API server.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    "set_conditions",
    "with_conditions",
    "with_finalizer",
    "without_finalizer",
]

Call: TypeAlias = Callable[[Request], Response]
"""Send one request to an API server; a refusal is a response, not an exception."""


class Objects:
    """The objects of an API server, read one by one through `call`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def get(self, ref: ObjectRef) -> Object | None:
        """Return an object, None when it is absent."""
        response = self._call(Request("get", ref.api_version, ref.kind, ref.namespace, ref.name))
        return response.body if response.ok else None

    def list(self, api_version: str, kind: str) -> tuple[Object, ...]:
        """Return the objects of a kind in all namespaces."""
        response = self._call(Request("list", api_version, kind))
        return tuple(response.body["items"]) if response.ok else ()


@frozen
class Memory:
    """What a neighbour's process remembers of one key; a restart loses it.

    `doing`: the work under way, "" for nothing. `until`: its end. `tries`: failures in a row.
    `seen`: the input of the last work.
    """

    doing: str = ""
    until: datetime | None = None
    tries: int = 0
    seen: str = ""


IDLE = Memory()


@frozen
class Turn:
    """What a neighbour does now.

    `requests`: in order; a refused one drops the rest, and the whole turn comes again later. `due`:
    when to look again unless an event comes first, None for not by itself. `memory`: what the
    neighbour remembers once all requests went through. `occupied`: whether its worker stays with
    this key until `due`, so that other keys wait.
    """

    requests: tuple[Request, ...] = ()
    due: datetime | None = None
    memory: Memory = IDLE
    occupied: bool = False


class Neighbour(Protocol):
    """A controller next to ours."""

    @property
    def name(self) -> str:
        """Its name, in lower case."""
        ...

    def concerned(self, ref: ObjectRef, obj: Mapping[str, Any], /) -> ObjectRef | None:
        """Return the key to look at after an event about an object, None for an unwatched kind."""
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
    """Return the request that adds a finalizer, nothing when the object has it."""
    metadata = obj["metadata"]
    held = metadata.get("finalizers", [])
    if finalizer in held:
        return ()
    return (_finalizers(obj, [*held, finalizer]),)


def without_finalizer(obj: Mapping[str, Any], finalizer: str) -> tuple[Request, ...]:
    """Return the request that removes a finalizer, nothing when the object lacks it."""
    held = obj["metadata"].get("finalizers", [])
    if finalizer not in held:
        return ()
    return (_finalizers(obj, [name for name in held if name != finalizer]),)


def _finalizers(obj: Mapping[str, Any], names: list[str]) -> Request:
    # A merge patch replaces the whole list: the resourceVersion protects changes of others.
    return patch(
        ref_of(obj),
        {"metadata": {"finalizers": names, "resourceVersion": obj["metadata"]["resourceVersion"]}},
    )


def condition_of(obj: Mapping[str, Any] | None, condition_type: str) -> Mapping[str, Any] | None:
    """Return the condition of a type."""
    conditions = (obj or {}).get("status", {}).get("conditions", ())
    return next((entry for entry in conditions if entry["type"] == condition_type), None)


def is_true(obj: Mapping[str, Any] | None, condition_type: str) -> bool:
    """Whether the condition of a type is True."""
    found = condition_of(obj, condition_type)
    return found is not None and found["status"] == "True"


def with_conditions(
    obj: Mapping[str, Any], wanted: Sequence[Mapping[str, str]], *, now: datetime
) -> list[Object]:
    """Return the conditions of an object with `wanted` set."""
    return set_conditions(obj.get("status", {}).get("conditions", ()), wanted, now=now)


def set_conditions(
    conditions: Iterable[Mapping[str, Any]], wanted: Sequence[Mapping[str, str]], *, now: datetime
) -> list[Object]:
    """Return `conditions` with `wanted` set.

    A transition time changes only together with the rest of its condition.
    """
    held = {entry["type"]: dict(entry) for entry in conditions}
    for entry in wanted:
        before = {
            name: value
            for name, value in held.get(entry["type"], {}).items()
            if name != "lastTransitionTime"
        }
        if before != entry:
            held[entry["type"]] = {**entry, "lastTransitionTime": rfc3339(now)}
    return list(held.values())
