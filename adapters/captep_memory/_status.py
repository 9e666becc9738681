"""The bodies of failures, word for word as the API server writes them.

`RefusedError` carries one from the place that finds the fault to `serve`.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from attrs import frozen

from captep_memory._json import MISSING, Object, without
from captep_memory._request import Response

__all__ = [
    "OTHER_NAMESPACE",
    "Cause",
    "RefusedError",
    "already_exists",
    "bad_request",
    "conflict",
    "duplicate",
    "expired",
    "failure",
    "forbidden_field",
    "invalid",
    "invalid_struct",
    "invalid_value",
    "not_found",
    "not_modelled",
    "not_supported",
    "not_supported_on",
    "qualified",
    "required",
    "too_long",
    "too_many",
    "type_invalid",
    "unknown_resource",
]

OTHER_NAMESPACE = (
    "the namespace of the provided object does not match the namespace sent on the request"
)
MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


class RefusedError(Exception):
    """The server refuses the request with `response`. Never leaves this package."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


@frozen
class Cause:
    """One entry of `details.causes`: an error of one field."""

    reason: str
    message: str
    field: str

    def json(self) -> Object:
        """Return the cause in the order and form of the wire."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


def failure(
    code: int, reason: str, message: str, details: Mapping[str, Any] | None = None
) -> RefusedError:
    """Return the failure with the given Status. Empty details are left out, as Go does."""
    body: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    }
    if details is not None:
        body["details"] = {key: value for key, value in details.items() if value not in ("", 0, [])}
    if not reason:
        del body["reason"]
    headers = (
        {"Retry-After": str(body["details"]["retryAfterSeconds"])}
        if "retryAfterSeconds" in body.get("details", {})
        else {}
    )
    return RefusedError(Response(code, {**body, "code": code}, headers))


def qualified(kind: str, group: str) -> str:
    """Return `kind.group`, or the kind alone in the core group."""
    return f"{kind}.{group}" if group else kind


def not_found(plural: str, group: str, name: str) -> RefusedError:
    """Row D1 and its like: 404 with the resource's plural."""
    details = {"name": name, "group": group, "kind": plural}
    return failure(404, "NotFound", f'{qualified(plural, group)} "{name}" not found', details)


def unknown_resource() -> RefusedError:
    """404 for a path that serves no resource."""
    return failure(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(plural: str, group: str, name: str, *, prefix: str = "") -> RefusedError:
    """Row C2."""
    details = {"name": name, "group": group, "kind": plural}
    return failure(
        409, "AlreadyExists", f'{prefix}{qualified(plural, group)} "{name}" already exists', details
    )


def conflict(kind: str, group: str, name: str, why: str = MODIFIED) -> RefusedError:
    """Rows U2, U5 and D2: `kind` is the plural for writes and the Kind for delete preconditions."""
    message = f'Operation cannot be fulfilled on {qualified(kind, group)} "{name}": {why}'
    return failure(409, "Conflict", message, {"name": name, "group": group, "kind": kind})


def invalid(kind: str, group: str, name: str, causes: Iterable[Cause]) -> RefusedError:
    """422 with one cause per field; equal messages appear once, as in the aggregate of Go."""
    listed = list(dict.fromkeys(causes))
    lines = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in listed))
    summary = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    details = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [cause.json() for cause in listed],
    }
    message = f'{qualified(kind, group)} "{name}" is invalid: {summary}'
    return failure(422, "Invalid", message, details)


def bad_request(message: str) -> RefusedError:
    """400 without details."""
    return failure(400, "BadRequest", message)


def expired(message: str, **metadata: str) -> RefusedError:
    """410 for a resourceVersion or a continue token that is too old."""
    error = failure(410, "Expired", message)
    return RefusedError(
        Response(410, {**without(error.response.body, "metadata"), "metadata": metadata})
    )


def not_supported_on(verb: str, plural: str, group: str) -> RefusedError:
    """405 for a verb that a path of a custom resource does not serve."""
    message = f'{verb} is not supported on resources of kind "{qualified(plural, group)}"'
    return failure(405, "MethodNotAllowed", message, {"group": group, "kind": plural})


def not_modelled(what: str) -> RefusedError:
    """501 where this server does not know the answer of a real one: it never guesses."""
    return failure(501, "NotModelled", f"the in-memory API server does not model {what}")


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(
            value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, default=str
        )
    return _go_float(value) if isinstance(value, float) else str(value)


def _go_float(value: float) -> str:
    """Return a float in Go's shortest form, with an exponent below 1e-4 and from 1e6 on."""
    sign, digits, _ = Decimal(repr(value)).normalize().as_tuple()
    exponent = Decimal(repr(value)).adjusted()
    if -4 <= exponent < 6 or value == 0:
        return str(int(value)) if value.is_integer() else repr(value)
    first, *rest = map(str, digits)
    mantissa = f"{first}.{''.join(rest)}" if rest else first
    return f"{'-' if sign else ''}{mantissa}e{exponent:+03d}"


def _cause(reason: str, title: str, path: str, value: object, detail: str) -> Cause:
    body = title if value is MISSING else f"{title}: {_shown(value)}"
    return Cause(reason, f"{body}: {detail}" if detail else body, path or "<nil>")


def required(path: str, detail: str = "") -> Cause:
    """A field that must be given."""
    return _cause("FieldValueRequired", "Required value", path, MISSING, detail)


def invalid_value(path: str, value: object, detail: str) -> Cause:
    """A value that is malformed, out of bounds or may not change."""
    return _cause("FieldValueInvalid", "Invalid value", path, value, detail)


def invalid_struct(path: str, value: object, detail: str) -> Cause:
    """An object or a list of a Go type: its members keep their order, where maps sort theirs."""
    shown = f"Invalid value: {json.dumps(value, separators=(',', ':'), ensure_ascii=False)}"
    return Cause("FieldValueInvalid", f"{shown}: {detail}" if detail else shown, path)


def type_invalid(path: str, value: object, detail: str) -> Cause:
    """A value of another type than the schema's."""
    return _cause("FieldValueTypeInvalid", "Invalid value", path, value, detail)


def not_supported(path: str, value: object, supported: Iterable[object]) -> Cause:
    """A value outside of an enumeration."""
    listed = ", ".join(json.dumps(str(item), ensure_ascii=False) for item in supported)
    return _cause(
        "FieldValueNotSupported", "Unsupported value", path, value, f"supported values: {listed}"
    )


def forbidden_field(path: str, detail: str) -> Cause:
    """A value that would be accepted under other conditions."""
    return _cause("FieldValueForbidden", "Forbidden", path, MISSING, detail)


def duplicate(path: str, value: object) -> Cause:
    """A value that must be unique."""
    return _cause("FieldValueDuplicate", "Duplicate value", path, value, "")


def too_long(path: str, limit: int) -> Cause:
    """A value longer than `limit`; the message leaves the value out."""
    return _cause(
        "FieldValueTooLong",
        "Too long",
        path,
        MISSING,
        f"may not be more than {limit} byte{'' if limit == 1 else 's'}",
    )


def too_many(path: str, count: int, limit: int) -> Cause:
    """A list or an object with more than `limit` members."""
    return _cause(
        "FieldValueTooMany",
        "Too many",
        path,
        count,
        f"must have at most {limit} item{'' if limit == 1 else 's'}",
    )
