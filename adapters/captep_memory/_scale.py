"""The scale subresource of workloads: `autoscaling/v1` Scale over `spec.replicas`."""

from attrs import evolve

from captep_memory._checks import check_non_negative
from captep_memory._json import (
    Object,
    PatchError,
    Value,
    apply_json_patch,
    apply_merge_patch,
    text,
)
from captep_memory._kinds import ServedKind
from captep_memory._ownership import tracked_update
from captep_memory._request import Key, Request, Response
from captep_memory._status import bad_request, failure, invalid, not_found, not_modelled
from captep_memory._update import check_identity, replace
from captep_memory._world import World

__all__ = ["scale"]

_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale(world: World, request: Request, resource: ServedKind, key: Key) -> tuple[World, Response]:
    """Answer a request for the scale of an object."""
    stored = world.get(key)
    if stored is None:
        raise not_found(resource.plural, resource.group, key.name)
    if request.verb == "get":
        return world, Response(200, _scale_of(stored))
    wanted = _decoded(_wanted(request, _scale_of(stored)))
    check_identity(key, wanted["metadata"])
    causes = [*check_non_negative("spec", wanted["spec"], "replicas")]
    if causes:
        raise invalid("Scale", "autoscaling", key.name, causes)
    version = text(wanted["metadata"].get("resourceVersion"))
    metadata = {**stored["metadata"], "resourceVersion": version} if version else stored["metadata"]
    replicas = wanted["spec"].get("replicas", 0)
    given = {**stored, "metadata": metadata, "spec": {**stored["spec"], "replicas": replicas}}
    given = tracked_update(world, request, resource, key, stored, given)
    plain = evolve(request, verb="update", subresource=None)
    world, response = replace(world, plain, resource, key, stored, given)
    return world, evolve(response, body=_scale_of(response.body))


def _scale_of(obj: Object) -> Object:
    spec, status = obj["spec"], obj.get("status", {})
    selector = spec.get("selector") or {}
    pairs = [f"{name}={value}" for name, value in selector.get("matchLabels", {}).items()]
    if selector.get("matchExpressions"):
        raise not_modelled("the scale of an object whose selector has expressions")
    replicas = {"replicas": spec["replicas"]} if spec["replicas"] else {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: obj["metadata"][name] for name in _SHOWN},
        "spec": replicas,
        "status": {"replicas": status.get("replicas", 0), "selector": ",".join(sorted(pairs))},
    }


def _wanted(request: Request, old: Object) -> Value:
    match request.verb, request.content_type:
        case "update", _:
            return request.body
        case "patch", "application/merge-patch+json":
            return apply_merge_patch(old, request.body)
        case "patch", "application/json-patch+json" if isinstance(request.body, list):
            try:
                return apply_json_patch(old, request.body)
            except PatchError as error:
                message = "the server rejected our request due to an error in our request"
                raise failure(422, "Invalid", message, {}) from error
        case _:
            raise not_modelled("this patch of a scale")


def _decoded(body: Value) -> Object:
    given = body if isinstance(body, dict) else {}
    kind = (given.get("apiVersion"), given.get("kind"))
    if kind != ("autoscaling/v1", "Scale"):
        raise not_modelled("a scale of another kind than autoscaling/v1 Scale")
    metadata, spec = given.get("metadata") or {}, given.get("spec") or {}
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise bad_request("Scale cannot be handled as a Scale: json: cannot unmarshal")
    replicas = spec.get("replicas", 0)
    if type(replicas) is not int or abs(replicas) >= 1 << 31:
        raise bad_request("Scale cannot be handled as a Scale: json: cannot unmarshal")
    return {"metadata": metadata, "spec": {"replicas": replicas}}
