"""`fieldValidation=Strict`: a body with fields that its kind does not have is refused.

A field twice in one object is refused too by the real server; the decoder here keeps the last one.
"""

from collections.abc import Iterator

from captep_memory._json import Object, Value, text
from captep_memory._kinds import ServedKind
from captep_memory._metadata import METADATA_FIELDS
from captep_memory._request import Request
from captep_memory._schema import Schema, child_schema, items_schema
from captep_memory._status import bad_request, invalid, invalid_value
from captep_memory._typed import typed_kind, unknown_fields

__all__ = ["check_strict"]

_ROOT = frozenset({"apiVersion", "kind", "metadata"})


def check_strict(request: Request, resource: ServedKind, body: Value) -> None:
    """Refuse unknown fields when the request asks for that.

    Raises:
        RefusedError: 400, or 422 for a patched object; the message names the fields.
    """
    if request.field_validation != "Strict" or not isinstance(body, dict):
        return
    unknown = sorted(_unknown(resource, body))
    if not unknown:
        return
    listed = ", ".join(f'unknown field "{each}"' for each in unknown)
    detail = f"strict decoding error: {listed}"
    if request.verb == "patch":
        cause = invalid_value("patch", "<patched object omitted>", detail)
        raise invalid("", "", "", [cause])
    kind = resource.kind
    raise bad_request(
        f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {detail}'
    )


def _unknown(resource: ServedKind, body: Object) -> Iterator[str]:
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        yield from (f"metadata.{name}" for name in metadata if name not in METADATA_FIELDS)
    if typed_kind(resource.api_version, resource.kind) is not None:
        root = {"apiVersion": resource.api_version, "kind": resource.kind}
        yield from unknown_fields({**body, **root})
    elif resource.schema is not None and text(body.get("kind")):
        own = {name: value for name, value in body.items() if name not in _ROOT}
        yield from _outside(own, resource.schema, "")


def _outside(value: Value, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, list):
        below = items_schema(schema)
        for index, item in enumerate(value):
            if below is not None:
                yield from _outside(item, below, f"{path}[{index}]")
        return
    if not isinstance(value, dict) or schema.get("x-kubernetes-embedded-resource"):
        return
    for name, item in value.items():
        place = f"{path}.{name}" if path else name
        known = child_schema(schema, name)
        if known is not None:
            yield from _outside(item, known, place)
        elif not schema.get("x-kubernetes-preserve-unknown-fields") and not schema.get(
            "additionalProperties"
        ):
            yield place
