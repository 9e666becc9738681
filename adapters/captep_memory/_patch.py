"""Patch (rows P1 to P5): the formats, and what the server makes of a patched object.

The server reads, applies and writes. A patch conflicts only when it carries a resourceVersion.
"""

from captep_memory._json import (
    Object,
    PatchError,
    Value,
    apply_json_patch,
    apply_merge_patch,
    text,
)
from captep_memory._kinds import ServedKind
from captep_memory._request import Key, Request, Response, group_of
from captep_memory._status import (
    Cause,
    RefusedError,
    bad_request,
    failure,
    invalid,
    invalid_value,
    not_found,
    not_modelled,
)
from captep_memory._update import check_identity, decode_update, replace
from captep_memory._world import World

__all__ = ["patch"]

# maxJSONPatchOperations of k8s.io/apiserver/pkg/endpoints/handlers.
_PATCH_LIMIT = 10_000
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"
_APPLY = "application/apply-patch+yaml"


def patch(world: World, request: Request, resource: ServedKind, key: Key) -> tuple[World, Response]:
    """Answer a PATCH (rows P1 to P5)."""
    if request.force is not None:
        reason = "Forbidden: may not be specified for non-apply patch"
        raise invalid(
            "PatchOptions", "meta.k8s.io", "", [Cause("FieldValueForbidden", reason, "force")]
        )
    stored = world.get(key)
    if stored is None:
        raise not_found(resource.plural, resource.group, key.name)
    old = world.catalog.convert(stored, resource)
    patched = _apply(request, resource, old)
    if patched is stored and not world.admission:
        return world, Response(200, old)
    given = _decode_patched(resource, patched, old)
    check_identity(key, given["metadata"])
    return replace(world, request, resource, key, old, given)


def _decode_patched(resource: ServedKind, patched: Value, old: Object) -> Object:
    """Decode a patched object; what a PUT refuses with 400 is 422 here.

    The real server's message holds the whole object; ours leaves it out.
    """
    given = text(patched.get("apiVersion")) if isinstance(patched, dict) else ""
    is_other_version = given not in ("", resource.api_version) and group_of(given) == resource.group
    if is_other_version and not resource.built_in:
        raise not_modelled("patches that change the version")
    try:
        return decode_update(resource, patched, old)
    except RefusedError as refused:
        if refused.response.status != 400:
            raise
        message = text(refused.response.body.get("message"))
        cause = invalid_value("patch", "<patched object omitted>", message)
        raise invalid("", "", "", [cause]) from refused


def _apply(request: Request, resource: ServedKind, old: Object) -> Value:
    content_type = request.content_type
    if content_type == _MERGE_PATCH:
        if not isinstance(request.body, dict):
            raise bad_request("error decoding patch: json: cannot unmarshal into an object")
        return apply_merge_patch(old, request.body)
    if content_type == _JSON_PATCH:
        return _applied_json_patch(request, old)
    if content_type == _STRATEGIC_PATCH and resource.built_in:
        raise not_modelled("strategic merge patches")
    if content_type in (_APPLY, "application/apply-patch+cbor"):
        raise not_modelled("server-side apply")
    strategic = (_STRATEGIC_PATCH,) if resource.built_in else ()
    accepted = ", ".join((_JSON_PATCH, _MERGE_PATCH, *strategic, _APPLY))
    raise failure(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - "
        f"accepted media types include: {accepted}",
    )


def _applied_json_patch(request: Request, old: Object) -> Value:
    operations = request.body
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal into a patch")
    if len(operations) > _PATCH_LIMIT:
        raise failure(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {_PATCH_LIMIT}, "
            f"got {len(operations)}",
        )
    try:
        return apply_json_patch(old, operations)
    except PatchError as error:
        message = "the server rejected our request due to an error in our request"
        raise failure(422, "Invalid", message, {}) from error
