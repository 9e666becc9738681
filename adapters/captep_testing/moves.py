"""Moves of other actors, ready for `Kit.moves`.

Each is one request to the server, as a user or a controller sends it.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from captep_core._actions import ObjectRef
from captep_memory import Key, Object, Request, World, group_of, serve
from captep_testing._delivery import touched
from captep_testing._kit import Move

__all__ = ["create", "default", "delete", "edit", "recreate", "touch"]

# Another creator repeats the name and the labels. Everything else in metadata belongs to the first
# incarnation.
_REPEATED = ("name", "namespace", "labels")


def create(manifest: Mapping[str, Any]) -> Move:
    """Return the move that creates an object; impossible while an object has the name."""
    body = deepcopy(dict(manifest))
    namespace = body["metadata"].get("namespace")
    request = Request("create", body["apiVersion"], body["kind"], namespace, body=body)
    return lambda world: _served(world, request)


def edit(ref: ObjectRef, patch: Mapping[str, Any], *, subresource: str | None = None) -> Move:
    """Return the move that changes an object by a JSON merge patch."""
    body = deepcopy(dict(patch))
    place = (ref.api_version, ref.kind, ref.namespace, ref.name)
    request = Request("patch", *place, subresource, body=body)
    return lambda world: _served(world, request)


def default(ref: ObjectRef, schema: Mapping[str, Any]) -> Move:
    """Return the move by which the server adds the defaults of an OpenAPI schema to an object."""
    key = Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)

    def move(world: World) -> World | None:
        stored = world.get(key)
        if stored is None:
            return None
        filled = _defaulted(stored, schema)
        return None if filled == stored else world.put(key, filled)[0]

    return move


def _defaulted(value: Any, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        given = {
            name: deepcopy(below["default"])
            for name, below in properties.items()
            if "default" in below and name not in value
        }
        known = {name: _defaulted(item, properties.get(name) or {}) for name, item in value.items()}
        return {**known, **given}
    if isinstance(value, list):
        return [_defaulted(item, schema.get("items") or {}) for item in value]
    return value


def delete(ref: ObjectRef) -> Move:
    """Return the move that deletes an object; finalizers hold the object as usual."""
    request = Request("delete", ref.api_version, ref.kind, ref.namespace, ref.name)
    return lambda world: _served(world, request)


def recreate(ref: ObjectRef, *, change: Callable[[Object], Object] = lambda obj: obj) -> Move:
    """Return the move that deletes an object and creates another of its name.

    The new object has the same content, or the content that `change` returns. The move is
    impossible while a finalizer holds the object.
    """

    def move(world: World) -> World | None:
        key = Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)
        stored = world.get(key)
        gone = delete(ref)(world)
        if stored is None or gone is None or gone.get(key) is not None:
            return None
        metadata = {
            name: stored["metadata"][name] for name in _REPEATED if name in stored["metadata"]
        }
        content = {name: value for name, value in stored.items() if name != "status"}
        return create(change({**content, "metadata": metadata}))(gone)

    return move


def touch(ref: ObjectRef) -> Move:
    """Return the move that sets or removes a foreign annotation.

    A new resourceVersion and nothing else.
    """
    key = Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)
    return lambda world: touched(world, key)


def _served(world: World, request: Request) -> World | None:
    after, response = serve(world, request)
    return after if response.ok else None
