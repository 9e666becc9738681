"""Patch (rows P1 to P5): the formats, and what the server makes of a patched object.

The server reads, applies and writes. A patch conflicts only when it carries a resourceVersion.
"""

from functools import lru_cache

from captep_memory._apply import apply_configuration
from captep_memory._json import (
    Object,
    PatchError,
    Value,
    apply_json_patch,
    apply_merge_patch,
    identical,
    text,
)
from captep_memory._kinds import ServedKind
from captep_memory._openapi import schema_of
from captep_memory._ownership import APPLY, shown_with_owners, tracked_update
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
from captep_memory._strategic import StrategicError, strategic_merge
from captep_memory._strict import check_strict
from captep_memory._update import check_identity, decode_update, is_unsettled, replace, unnamed
from captep_memory._world import World

__all__ = ["check_format", "media_type_of", "patch"]

# maxJSONPatchOperations of k8s.io/apiserver/pkg/endpoints/handlers.
_PATCH_LIMIT = 10_000
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"


def patch(world: World, request: Request, resource: ServedKind, key: Key) -> tuple[World, Response]:
    """Answer a PATCH (rows P1 to P5)."""
    if check_format(request.content_type, resource) == APPLY:
        return apply_configuration(world, request, resource, key)
    if request.force is not None:
        reason = "Forbidden: may not be specified for non-apply patch"
        raise invalid(
            "PatchOptions", "meta.k8s.io", "", [Cause("FieldValueForbidden", reason, "force")]
        )
    stored = world.get(key)
    if stored is None:
        raise not_found(resource.plural, resource.group, key.name)
    old = world.catalog.convert(stored, resource)
    if _names_owners(request.body):
        old = shown_with_owners(world, resource, key, old)
    patched = _apply(request, resource, old)
    if patched is stored and not world.admission and not is_unsettled(world, key, stored):
        return world, Response(200, old)
    check_strict(request, resource, patched)
    given = _decode_patched(resource, patched, old)
    check_identity(key, given["metadata"])
    given = tracked_update(world, request, resource, key, old, given)
    return replace(world, request, resource, key, old, given)


def _decode_patched(resource: ServedKind, patched: Value, old: Object) -> Object:
    """Decode a patched object; what a PUT refuses with 400 is 422 here.

    The real server's message holds the whole object; ours leaves it out.
    """
    given = text(patched.get("apiVersion")) if isinstance(patched, dict) else ""
    if resource.built_in and isinstance(patched, dict) and not patched.get("apiVersion"):
        # Without a version the real server decodes nothing of the object.
        raise unnamed(text(old["metadata"]["name"]))
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


def check_format(content_type: str, resource: ServedKind) -> str:
    """Return the media type of a patch; refuse a format that a kind does not take.

    Raises:
        RefusedError: 415, the real server refuses it too; 501, a format without a model.
    """
    media_type = media_type_of(content_type)
    if media_type in (_MERGE_PATCH, _JSON_PATCH, APPLY):
        return media_type
    if media_type == _STRATEGIC_PATCH and resource.built_in:
        return media_type
    known = (_JSON_PATCH, _MERGE_PATCH, *((_STRATEGIC_PATCH,) if resource.built_in else ()), APPLY)
    if resource.built_in and media_type.strip() not in known:
        # A filter before the handler refuses it (go-restful), with a message of its own.
        raise failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    raise failure(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - "
        f"accepted media types include: {', '.join(known)}",
    )


def _names_owners(patch: Value) -> bool:
    """Return whether a patch reads or writes managedFields, which an object shows late."""
    if isinstance(patch, dict):
        metadata = patch.get("metadata")
        return metadata is not None and isinstance(metadata, dict) and "managedFields" in metadata
    if not isinstance(patch, list):
        return False
    places = (each.get("path") for each in patch if isinstance(each, dict))
    return any(text(place).startswith("/metadata/managedFields") for place in places)


@lru_cache(maxsize=64)
def media_type_of(content_type: str) -> str:
    """Return the media type of a patch, without parameters.

    The real server compares its case, and a space before the semicolon.
    """
    return content_type.strip().partition(";")[0]


def _apply(request: Request, resource: ServedKind, old: Object) -> Value:
    if request.content_type == _JSON_PATCH:
        return _applied_json_patch(request, old)
    if request.content_type == _STRATEGIC_PATCH:
        return _applied_strategic_patch(request, resource, old)
    if request.body is None:
        raise bad_request("Invalid JSON Patch")
    if not isinstance(request.body, dict):
        raise bad_request(_unmarshal(request.body, "map[string]interface {}"))
    return apply_merge_patch(old, request.body)


def _unmarshal(value: Value, wanted: str) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "bool"}
    kind = kinds.get(type(value), "number")
    return f"error decoding patch: json: cannot unmarshal {kind} into Go value of type {wanted}"


def _applied_strategic_patch(request: Request, resource: ServedKind, old: Object) -> Value:
    schema = schema_of(resource.api_version, resource.kind)
    if schema is None:
        raise not_modelled(f"strategic merge patches of {resource.kind}")
    patch = {} if request.body is None else request.body
    if not isinstance(patch, dict):
        raise bad_request(_unmarshal(patch, "map[string]interface {}").partition(": ")[2])
    try:
        merged = strategic_merge(old, patch, schema)
    except StrategicError as error:
        reasons = {400: "BadRequest", 422: "Invalid"}
        if error.status == 422:
            message = "the server rejected our request due to an error in our request"
            raise failure(422, "Invalid", message, {}) from error
        raise failure(error.status, reasons.get(error.status, ""), str(error)) from error
    return old if identical(merged, old) else merged


def _applied_json_patch(request: Request, old: Object) -> Value:
    operations = request.body
    if not isinstance(operations, list):
        raise bad_request(_unmarshal(operations, "[]handlers.jsonPatchOp"))
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
