"""Secrets, ConfigMaps, Events and Leases: their Go types and strategies (rows S1 to S6)."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from captep_memory._json import Object, Value, identical, text
from captep_memory._names import config_key
from captep_memory._request import Request
from captep_memory._status import (
    Cause,
    RefusedError,
    bad_request,
    forbidden_field,
    invalid_value,
    not_modelled,
    required,
    too_long,
)
from captep_memory._strategies import strategy_of
from captep_memory._typed import decode_typed

__all__ = ["decode_built_in", "prepare_built_in", "validate_built_in"]

# MaxSecretSize of k8s.io/kubernetes/pkg/apis/core.
_SIZE_LIMIT = 1024 * 1024
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
_IMMUTABLE = "field is immutable when `immutable` is set"
_EVENT_FIELDS = (
    *(
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
    ),
    *("eventTime", "series", "action", "related", "reportingComponent", "reportingInstance"),
)
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "Secret": ("immutable", "data", "stringData", "type"),
    "ConfigMap": ("immutable", "data", "binaryData"),
    "Event": _EVENT_FIELDS,
    "Lease": ("spec",),
}


# Fields without omitempty in the Go type.
_EVENT_ALWAYS: Mapping[str, Any] = {
    "involvedObject": {},
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}


def decode_built_in(obj: Object, known: Object | None = None) -> Object:
    """Return an object as its Go type encodes it (row S3).

    Unknown and empty fields go, `stringData` goes into `data`. Of a recorded kind, an object whose
    parts are those of `known` counts as decoded.

    Raises:
        RefusedError: 400, a field has the wrong type.
    """
    kind = obj["kind"]
    if kind not in _FIELDS:
        return decode_typed(obj, known)
    decoded: Object = {name: obj[name] for name in ("apiVersion", "kind", "metadata")}
    for name in _FIELDS[kind]:
        value = obj.get(name)
        if value is not None:
            _check_type(kind, name, value)
            if value not in ({}, "", []) and not (name == "count" and value == 0):
                decoded[name] = value
    match kind:
        case "Secret":
            return _decode_secret(decoded)
        case "Event":
            return {**_EVENT_ALWAYS, **decoded}
        case "Lease":
            return {**decoded, "spec": decoded.get("spec", {})}
        case _:
            return _decode_config_map(decoded)


def _decode_config_map(decoded: Object) -> Object:
    if "data" in decoded:
        decoded["data"] = _strings("ConfigMap", decoded["data"])
    if None in decoded.get("binaryData", {}).values():
        raise not_modelled("a null in binaryData")
    _check_bytes("ConfigMap", decoded.get("binaryData", {}))
    return decoded


def _unmarshal(kind: str, why: str) -> RefusedError:
    return bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: {why}')


def _check_type(kind: str, name: str, value: Value) -> None:
    expected: type = {"immutable": bool, "count": int}.get(name, dict if name in _OBJECTS else str)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise _unmarshal(kind, f"json: cannot unmarshal into field {kind}.{name}")


_OBJECTS = frozenset(
    {"data", "stringData", "binaryData", "involvedObject", "source", "series", "related", "spec"}
)


def _strings(kind: str, values: Object) -> Object:
    """Return a map of strings as Go decodes it: a null is the empty string."""
    if None in values.values():
        values = {key: "" if value is None else value for key, value in values.items()}
    _check_strings(kind, values)
    return values


def _check_strings(kind: str, values: Mapping[str, Any]) -> None:
    if not all(isinstance(value, str) for value in values.values()):
        raise _unmarshal(kind, "json: cannot unmarshal into Go value of type string")


def _check_bytes(kind: str, values: Mapping[str, Any]) -> None:
    _check_strings(kind, values)
    try:
        for value in values.values():
            # Go's decoder skips line breaks inside of base64.
            base64.b64decode(value.replace("\n", "").replace("\r", "").encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unmarshal(kind, "illegal base64 data") from error


def _decode_secret(secret: Object) -> Object:
    data = _strings("Secret", secret.get("data", {}))
    _check_bytes("Secret", data)
    plain = _strings("Secret", secret.pop("stringData", {}))
    data = data | {
        key: base64.b64encode(value.encode(errors="surrogatepass")).decode()
        for key, value in plain.items()
    }
    if data:
        secret["data"] = data if not identical(data, secret.get("data")) else secret["data"]
    return secret


def prepare_built_in(obj: Object) -> Object:
    """Fill the type of a Secret, in an update too (row S1)."""
    return {**obj, "type": "Opaque"} if obj["kind"] == "Secret" and not obj.get("type") else obj


def validate_built_in(request: Request, obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a Secret, a ConfigMap or an Event."""
    kind = obj["kind"]
    if kind != "Lease":
        yield from _validate_finalizers(obj)
    if old is not None and kind in ("Secret", "ConfigMap"):
        yield from _validate_immutable(obj, old)
    if kind not in _FIELDS:
        if old is not None and request.subresource is None and _has_same_content(obj, old):
            return
        strategy = strategy_of(kind)
        check = strategy.check_status if request.subresource == "status" else strategy.check
        yield from check(obj, old)
        return
    if old is not None and all(obj.get(name) is old.get(name) for name in _FIELDS[kind]):
        return
    if kind == "Secret":
        yield from _validate_keys(obj, "data")
        yield from _validate_size(obj, "data")
        validate_type = _SECRET_TYPES.get(obj.get("type", ""))
        yield from validate_type(obj) if validate_type else ()
    elif kind == "ConfigMap":
        yield from _validate_keys(obj, "data", "binaryData")
        both = set(obj.get("data", {})) & set(obj.get("binaryData", {}))
        yield from (
            invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
            for key in sorted(both)
        )
        yield from _validate_size(obj, "")
    elif kind == "Event":
        yield from _validate_event(request, obj)


def _has_same_content(obj: Object, old: Object) -> bool:
    """Whether a stored object keeps everything that a validation of its kind looks at."""
    if obj["metadata"].get("annotations") != old["metadata"].get("annotations"):
        return False
    return obj.keys() == old.keys() and all(
        value == old[name] for name, value in obj.items() if name != "metadata"
    )


def _validate_finalizers(obj: Object) -> Iterator[Cause]:
    """The core group knows a few finalizers without a prefix; all others need one."""
    for index, name in enumerate(obj["metadata"].get("finalizers", ())):
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid_value(f"metadata.finalizers[{index}]", name, detail)


def _validate_event(request: Request, event: Object) -> Iterator[Cause]:
    """An event about a cluster-scoped object names no namespace and lives in `default`."""
    about = text(event.get("involvedObject", {}).get("namespace"))
    if about != request.namespace and (about or request.namespace != "default"):
        yield invalid_value("involvedObject.namespace", about, "does not match event.namespace")


def _validate_immutable(obj: Object, old: Object) -> Iterator[Cause]:
    if not identical(obj.get("type"), old.get("type")):
        yield invalid_value("type", obj.get("type"), "field is immutable")
    if old.get("immutable") is not True:
        return
    if obj.get("immutable") is not True:
        yield forbidden_field("immutable", _IMMUTABLE)
    for name in ("data", "binaryData"):
        if not identical(obj.get(name), old.get(name)):
            yield forbidden_field(name, _IMMUTABLE)


def _validate_keys(obj: Object, *names: str) -> Iterator[Cause]:
    for name in names:
        for key in obj.get(name, {}):
            for problem in config_key(key):
                yield invalid_value(f"{name}[{key}]", key, problem)


def _validate_size(obj: Object, path: str) -> Iterator[Cause]:
    """The limit counts decoded bytes."""
    encoded = "data" if obj["kind"] == "Secret" else "binaryData"
    size = sum(len(value) * 3 // 4 - value.count("=") for value in obj.get(encoded, {}).values())
    if obj["kind"] == "ConfigMap":
        size += sum(
            len(value.encode(errors="surrogatepass")) for value in obj.get("data", {}).values()
        )
    if size > _SIZE_LIMIT:
        yield too_long(path, _SIZE_LIMIT)


def _keys_required(*keys: str) -> Callable[[Object], Iterator[Cause]]:
    return lambda secret: (
        required(f"data[{key}]") for key in keys if key not in secret.get("data", {})
    )


def _validate_basic_auth(secret: Object) -> Iterator[Cause]:
    if not {"username", "password"} & set(secret.get("data", {})):
        yield required("data[username]")
        yield required("data[password]")


def _validate_ssh_auth(secret: Object) -> Iterator[Cause]:
    if not secret.get("data", {}).get("ssh-privatekey"):
        yield required("data[ssh-privatekey]")


def _validate_token(secret: Object) -> Iterator[Cause]:
    if not secret["metadata"].get("annotations", {}).get("kubernetes.io/service-account.name"):
        yield required("metadata.annotations[kubernetes.io/service-account.name]")


def _json_required(key: str) -> Callable[[Object], Iterator[Cause]]:
    def validate(secret: Object) -> Iterator[Cause]:
        if key not in secret.get("data", {}):
            yield required(f"data[{key}]")
        elif not _is_json_object(secret["data"][key]):
            yield invalid_value(
                f"data[{key}]", "<secret contents redacted>", "invalid character in the JSON object"
            )

    return validate


def _is_json_object(encoded: str) -> bool:
    try:
        return isinstance(json.loads(base64.b64decode(encoded)), dict | None)
    except (ValueError, RecursionError):
        return False


_SECRET_TYPES: Mapping[str, Callable[[Object], Iterator[Cause]]] = {
    "kubernetes.io/tls": _keys_required("tls.crt", "tls.key"),
    "kubernetes.io/basic-auth": _validate_basic_auth,
    "kubernetes.io/ssh-auth": _validate_ssh_auth,
    "kubernetes.io/service-account-token": _validate_token,
    "kubernetes.io/dockercfg": _json_required(".dockercfg"),
    "kubernetes.io/dockerconfigjson": _json_required(".dockerconfigjson"),
}
