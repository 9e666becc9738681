"""Moves of others, ready to be named in `Kit.moves`: each is done by a request to the server, as a user or a controller would."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from captep_core import ObjectRef
from captep_memory import Key, Object, Request, World, group_of, serve
from captep_testing._delivery import touched
from captep_testing._kit import Move

__all__ = ["create", "delete", "edit", "recreate", "touch"]


def create(manifest: Mapping[str, Any]) -> Move:
    """Somebody creates an object, unless there is one of that name."""
    body = deepcopy(dict(manifest))
    namespace = body["metadata"].get("namespace")
    return lambda world: _served(
        world, Request("create", body["apiVersion"], body["kind"], namespace, body=body)
    )


def edit(ref: ObjectRef, patch: Mapping[str, Any], *, subresource: str | None = None) -> Move:
    """Somebody changes an object by a merge patch."""
    body = deepcopy(dict(patch))
    return lambda world: _served(
        world,
        Request(
            "patch", ref.api_version, ref.kind, ref.namespace, ref.name, subresource, body=body
        ),
    )


def delete(ref: ObjectRef) -> Move:
    """Somebody deletes an object; finalizers hold it as they do."""
    return lambda world: _served(
        world, Request("delete", ref.api_version, ref.kind, ref.namespace, ref.name)
    )


def recreate(ref: ObjectRef, *, change: Callable[[Object], Object] = lambda obj: obj) -> Move:
    """Somebody deletes an object that nothing holds, and creates another one of its name with the same content, or a changed one."""

    def move(world: World) -> World | None:
        key = Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)
        stored, gone = world.get(key), delete(ref)(world)
        if stored is None or gone is None or gone.get(key) is not None:
            return None
        metadata = {
            name: value
            for name, value in stored["metadata"].items()
            if name in ("name", "namespace", "labels")
        }
        content = {name: value for name, value in stored.items() if name != "status"}
        return create(change({**content, "metadata": metadata}))(gone)

    return move


def touch(ref: ObjectRef) -> Move:
    """Somebody sets an annotation of theirs on an object, or takes it off: another resourceVersion and nothing that matters."""
    return lambda world: touched(
        world, Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)
    )


def _served(world: World, request: Request) -> World | None:
    after, response = serve(world, request)
    return after if response.ok else None
