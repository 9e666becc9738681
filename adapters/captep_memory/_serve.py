"""`serve`: one request against one world, pure and total.

A request without a model gets 501 and the reason NotModelled, never a guess.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from attrs import evolve

from captep_memory._create import create
from captep_memory._delete import delete, delete_collection
from captep_memory._json import Object
from captep_memory._kinds import ServedKind
from captep_memory._patch import patch
from captep_memory._read import get, list_objects, watch
from captep_memory._request import Key, Request, Response
from captep_memory._scale import scale
from captep_memory._status import (
    RefusedError,
    bad_request,
    failure,
    not_found,
    not_modelled,
    not_supported_on,
    unknown_resource,
)
from captep_memory._update import update
from captep_memory._world import World

__all__ = ["check_subresource", "serve", "watch_events"]

_OnMany: TypeAlias = Callable[[World, Request, ServedKind], tuple[World, Response]]
_OnOne: TypeAlias = Callable[[World, Request, ServedKind, Key], tuple[World, Response]]
_MANY: Mapping[str, _OnMany] = {"list": list_objects, "watch": watch, "create": create}
_ONE: Mapping[str, _OnOne] = {"get": get, "update": update, "patch": patch, "delete": delete}
_SUBRESOURCES = frozenset({"finalize", "scale", "status"})
_WRITES = frozenset({"create", "update", "patch", "delete"})


def serve(world: World, request: Request) -> tuple[World, Response]:
    """Answer a request; return the world after it and the response.

    A refused request returns the very same world, unless it deletes a collection: the objects
    before the first refusal are gone.
    """
    try:
        return _dispatch(world, request)
    except RefusedError as refused:
        return world, refused.response


def watch_events(world: World, request: Request) -> tuple[Object, ...] | Response:
    """Return the events of a watch from its resourceVersion until now, or its refusal.

    A compacted resourceVersion yields an ERROR event with code 410, as in a real stream (row R4).
    """
    _, response = serve(world, evolve(request, verb="watch"))
    return tuple(response.body["events"]) if response.ok else response


def _dispatch(world: World, request: Request) -> tuple[World, Response]:
    resource = world.catalog.resource(request.api_version, request.kind)
    _check_modelled(request, resource)
    on_many = _MANY.get(request.verb)
    if on_many is not None:
        if request.verb == "create":
            _check_scope(request, resource)
        elif request.namespace is not None and resource.scope == "Cluster":
            raise unknown_resource()
        return on_many(world, request, resource)
    on_one = _ONE.get(request.verb)
    if on_one is None:
        raise failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
            {},
        )
    _check_scope(request, resource)
    if not request.name:
        if request.verb == "delete" and request.subresource is None:
            return delete_collection(world, request, resource)
        raise not_modelled(f"{request.verb} without a name")
    key = Key(resource.group, resource.kind, request.namespace, request.name)
    if request.subresource == "scale":
        return scale(world, request, resource, key)
    return on_one(world, request, resource, key)


def _check_modelled(request: Request, resource: ServedKind) -> None:
    if not request.kind or not resource.version:
        raise unknown_resource()
    if request.verb in _WRITES and not resource.writable:
        raise not_modelled(f"writes of {resource.kind} in {resource.api_version}")
    if request.subresource is None:
        return
    known = resource.subresources | ({"status"} if resource.has_status else set())
    if request.subresource not in known:
        raise (
            unknown_resource()
            if resource.built_in
            else not_found(resource.plural, resource.group, request.name or "")
        )
    check_subresource(request.subresource, resource)
    if request.verb not in ("get", "update", "patch"):
        raise not_supported_on(request.verb, resource.plural, resource.group)


def check_subresource(name: str, resource: ServedKind) -> None:
    """Refuse a subresource of a kind that has no model.

    Raises:
        RefusedError: 501.
    """
    if name in resource.subresources and name not in _SUBRESOURCES:
        raise not_modelled(f"the subresource {name} of {resource.plural}")


def _check_scope(request: Request, resource: ServedKind) -> None:
    """Namespaced kinds need a namespace, cluster-scoped ones refuse it; others take either."""
    if resource.scope == "Cluster" and request.namespace is not None:
        raise unknown_resource()
    if request.namespace == "" or (resource.scope == "Namespaced" and request.namespace is None):
        raise bad_request(
            "an empty namespace may not be set during creation"
            if request.verb == "create"
            else "namespace is required"
        )
