"""What a kind makes of the content of an object: decoding, defaults, validation.

Create, update, patch and load share these steps. Built-in kinds follow their Go types, custom
resources the schema of their definition.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve

from captep_memory._builtin import decode_built_in, validate_built_in
from captep_memory._json import MISSING, Object, Value, identical, text
from captep_memory._kinds import ServedKind
from captep_memory._metadata import decode_metadata
from captep_memory._request import Request
from captep_memory._schema import Schema, normalise
from captep_memory._status import (
    Cause,
    RefusedError,
    bad_request,
    invalid,
    invalid_value,
    not_modelled,
)
from captep_memory._typed import typed_kind
from captep_memory._validation import RULES, validate

__all__ = ["decode", "validate_content"]


def decode(resource: ServedKind, body: Value, known: Object | None = None) -> Object:
    """Return a body as the server understands it.

    Parts that are the same object as in `known` count as decoded.

    Raises:
        RefusedError: 400, the body is not an object of this kind.
    """
    if body is None and resource.built_in:
        body = {}
    if not isinstance(body, dict):
        shown = "null" if body is None else "the body"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): "
            f"Object 'Kind' is missing in '{shown}'"
        )
    if resource.built_in:
        body = _with_type(resource, body)
    _check_type(resource, body)
    metadata = decode_metadata(body.get("metadata"), known and known["metadata"])
    if known is not None and identical(metadata, known["metadata"]):
        metadata = known["metadata"]
    obj = {**body, "metadata": metadata}
    if resource.built_in:
        return decode_built_in(obj, known)
    return (
        obj
        if resource.schema is None
        else normalise(obj, resource.own_schema, resource.own_defaults)
    )


def _with_type(resource: ServedKind, body: Object) -> Object:
    """A built-in kind takes an empty apiVersion and an empty kind from the URL."""
    url = {"apiVersion": resource.api_version, "kind": resource.kind}
    filled = {name: value for name, value in url.items() if body.get(name) in (None, "")}
    version = body.get("apiVersion")
    if "kind" in filled and "apiVersion" not in filled and version != resource.api_version:
        raise bad_request(f'no kind "{resource.kind}" is registered for version "{version}"')
    return {**body, **filled}


def _check_type(resource: ServedKind, body: Object) -> None:
    if not text(body.get("kind")):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): "
            "Object 'Kind' is missing"
        )
    other = typed_kind(text(body.get("apiVersion")), text(body["kind"]))
    if resource.built_in and other is not None and other is not _own_kind(resource):
        raise _unconverted(resource, body)
    if body.get("apiVersion") != resource.api_version:
        given = text(body.get("apiVersion"))
        raise bad_request(
            f"the API version in the data ({given}) does not match "
            f"the expected API version ({resource.api_version})"
        )
    if body["kind"] != resource.kind:
        raise _other_kind(resource, body)


def _own_kind(resource: ServedKind) -> Mapping[str, Any] | None:
    return typed_kind(resource.api_version, resource.kind)


def _unconverted(resource: ServedKind, body: Object) -> RefusedError:
    """The server knows the kind of the body; its types have names of their own inside of it."""
    kind, version = body["kind"], body["apiVersion"].rpartition("/")[2]
    internal = resource.group.partition(".")[0] or "core"
    return bad_request(
        f'{kind} in version "{version}" cannot be handled as a {resource.kind}: '
        f"converting ({version}.{kind}) to ({internal}.{resource.kind}): unknown conversion"
    )


def _other_kind(resource: ServedKind, body: Object) -> RefusedError:
    if resource.built_in:
        return bad_request(f"the object provided is unrecognized (must be of type {resource.kind})")
    cause = invalid_value("kind", body["kind"], f"must be {resource.kind}")
    name = text(decode_metadata(body.get("metadata")).get("name"))
    return invalid(body["kind"], resource.group, name, [cause])


def validate_content(
    request: Request, resource: ServedKind, obj: Object, old: Object | None
) -> Iterator[Cause]:
    """Yield every error outside of metadata; `old` is the stored object, None on create."""
    if resource.built_in:
        yield from validate_built_in(request, obj, old)
    elif resource.schema is not None:
        own = resource.own_schema
        if request.subresource == "status" and old is not None:
            yield from _validate_status(obj, own["properties"].get("status"), old)
            if own.get(RULES):
                raise not_modelled(f"{RULES} at the root")
        else:
            yield from validate(obj, own, "", MISSING if old is None else old)


def _validate_status(obj: Object, schema: Schema | None, old: Object) -> Iterator[Cause]:
    """The status endpoint validates status as a document of its own, then prefixes the paths."""
    if schema is None or "status" not in obj:
        return
    for cause in validate(obj["status"], schema, "", old.get("status", MISSING)):
        is_root = cause.field == "<nil>"
        yield evolve(cause, field="status" if is_root else f"status.{cause.field}")
