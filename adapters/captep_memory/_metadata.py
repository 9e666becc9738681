"""ObjectMeta: decoding as Go does it, and validation (rows A1, A2, U6, U7)."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from captep_core._objects import rfc3339
from captep_memory._json import Object, Value, identical, text
from captep_memory._names import dns_label, dns_subdomain, label_value, qualified_name
from captep_memory._status import (
    Cause,
    RefusedError,
    bad_request,
    forbidden_field,
    invalid_struct,
    invalid_value,
    required,
    too_long,
)

__all__ = [
    "decode_metadata",
    "finalizers",
    "is_deleting",
    "validate_metadata",
    "validate_metadata_update",
]

_ANNOTATIONS_LIMIT = 256 * 1024
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def finalizers(obj: Mapping[str, Any]) -> list[str]:
    """Return the finalizers of a stored object."""
    return list(obj["metadata"].get("finalizers") or ())


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Tell whether a stored object waits for its finalizers."""
    return "deletionTimestamp" in obj["metadata"]


def decode_metadata(raw: Value, known: Mapping[str, Any] | None = None) -> Object:
    """Return metadata as the server's ObjectMeta encodes it: unknown and empty fields left out.

    `known` is metadata that is decoded already; fields that are the same object as there are taken as they are.

    Raises:
        RefusedError: 400, a field has the wrong type.
    """
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise _mistyped("metadata", "object")
    decoded: Object = {}
    for name, decode in _FIELDS.items():
        value = raw.get(name)
        if value is None:
            continue
        if known is None or known.get(name) is not value:
            value = decode(f"metadata.{name}", value)
        if value not in ("", {}, []) and not (value == 0 and name == "generation"):
            decoded[name] = value
    return decoded


def _mistyped(path: str, kind: str) -> RefusedError:
    return bad_request(f"cannot be handled: json: cannot unmarshal into {path} of type {kind}")


def _string(path: str, value: Value) -> str:
    if value is not None and not isinstance(value, str):
        raise _mistyped(path, "string")
    return value or ""


def _integer(path: str, value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _mistyped(path, "int64")
    return value


def _boolean(path: str, value: Value) -> bool:
    if not isinstance(value, bool):
        raise _mistyped(path, "bool")
    return value


def _time(path: str, value: Value) -> str:
    """Metadata times have whole seconds and are written in UTC."""
    moment = _string(path, value)
    if not moment:
        return ""
    if not _TIME.fullmatch(moment):
        raise bad_request(
            f'cannot be handled: parsing time in {path} as "2006-01-02T15:04:05Z07:00"'
        )
    try:
        return rfc3339(datetime.fromisoformat(moment))
    except (ValueError, OverflowError) as error:
        raise bad_request(f"cannot be handled: parsing time in {path}: out of range") from error


def _strings(path: str, value: Value) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _mistyped(path, "map[string]string")
    return {_string(path, key): _string(path, item) for key, item in value.items()}


def _list(path: str, value: Value) -> list[str]:
    if not isinstance(value, list):
        raise _mistyped(path, "[]string")
    return [_string(path, item) for item in value]


def _owners(path: str, value: Value) -> list[Object]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _mistyped(path, "[]OwnerReference")
    return [_owner(path, item) for item in value]


def _owner(path: str, value: Object) -> Object:
    owner: Object = {
        name: _string(f"{path}.{name}", value.get(name))
        for name in ("apiVersion", "kind", "name", "uid")
    }
    flags = {
        name: value[name]
        for name in ("controller", "blockOwnerDeletion")
        if value.get(name) is not None
    }
    return {**owner, **{name: _boolean(f"{path}.{name}", flag) for name, flag in flags.items()}}


def _kept(path: str, value: Value) -> Value:
    if not isinstance(value, list):
        raise _mistyped(path, "[]ManagedFieldsEntry")
    return value


_FIELDS: Mapping[str, Callable[[str, Any], Any]] = {
    "name": _string,
    "generateName": _string,
    "namespace": _string,
    "selfLink": _string,
    "uid": _string,
    "resourceVersion": _string,
    "generation": _integer,
    "creationTimestamp": _time,
    "deletionTimestamp": _time,
    "deletionGracePeriodSeconds": _integer,
    "labels": _strings,
    "annotations": _strings,
    "ownerReferences": _owners,
    "finalizers": _list,
    "managedFields": _kept,
}


def validate_metadata(
    metadata: Mapping[str, Any], *, built_in: bool, old: Mapping[str, Any] | None = None
) -> Iterator[Cause]:
    """Yield what is wrong with metadata on its own; fields that are the same object as in `old` were valid and are not looked at."""
    before = old or {}
    if old is None:
        yield from _validate_name(text(metadata.get("name")), built_in=built_in)
        if "namespace" in metadata:
            yield from (
                invalid_value("metadata.namespace", metadata["namespace"], told)
                for told in dns_label(metadata["namespace"])
            )
    for name, validate in _VALIDATIONS.items():
        value = metadata.get(name)
        if value is not None and before.get(name) is not value:
            yield from validate(value)


def _validate_name(name: str, *, built_in: bool) -> Iterator[Cause]:
    if not name:
        yield required("metadata.name", "name or generateName is required")
        return
    told = dns_subdomain(name)
    if told and not built_in and (name in (".", "..") or "/" in name or "%" in name):
        told = [
            f"may not {'be' if name in ('.', '..') else 'contain'} '{name if name in ('.', '..') else '/' if '/' in name else '%'}'"
        ]
    yield from (invalid_value("metadata.name", name, item) for item in told)


def _validate_generation(generation: int) -> Iterator[Cause]:
    if generation < 0:
        yield invalid_value("metadata.generation", generation, "must be greater than or equal to 0")


def _validate_labels(labels: Mapping[str, str]) -> Iterator[Cause]:
    for key, value in labels.items():
        yield from (invalid_value("metadata.labels", key, told) for told in qualified_name(key))
        yield from (invalid_value("metadata.labels", value, told) for told in label_value(value))


def _validate_annotations(annotations: Mapping[str, str]) -> Iterator[Cause]:
    for key in annotations:
        yield from (
            invalid_value("metadata.annotations", key, told) for told in qualified_name(key.lower())
        )
    if (
        sum(len(part.encode(errors="replace")) for item in annotations.items() for part in item)
        > _ANNOTATIONS_LIMIT
    ):
        yield too_long("metadata.annotations", _ANNOTATIONS_LIMIT)


def _validate_owners(owners: list[Object]) -> Iterator[Cause]:
    controller = ""
    for index, owner in enumerate(owners):
        yield from _validate_owner(f"metadata.ownerReferences[{index}]", owner)
        if owner.get("controller") is True:
            name = f"{owner['kind']}/{owner['name']}"
            if controller:
                told = f'Only one reference can have Controller set to true. Found "true" in references for {controller} and {name}'
                yield invalid_struct("metadata.ownerReferences", owners, told)
            controller = controller or name


def _validate_owner(path: str, owner: Object) -> Iterator[Cause]:
    for name in ("apiVersion", "kind", "name", "uid"):
        if not owner[name]:
            yield required(f"{path}.{name}", "must not be empty")
    if owner["apiVersion"] and (
        owner["apiVersion"].count("/") > 1 or owner["apiVersion"].endswith("/")
    ):
        yield invalid_value(
            f"{path}.apiVersion", owner["apiVersion"], "must be <group>/<version> or <version>"
        )
    if (owner["apiVersion"], owner["kind"]) == ("v1", "Event"):
        yield invalid_struct(path, owner, "/v1, Kind=Event is disallowed from being an owner")


def _validate_finalizers(names: list[str]) -> Iterator[Cause]:
    for name in names:
        yield from (
            invalid_value("metadata.finalizers", name, told) for told in qualified_name(name)
        )
    if {"orphan", "foregroundDeletion"} <= set(names):
        yield invalid_value(
            "metadata.finalizers",
            names,
            "finalizer orphan and foregroundDeletion cannot be both set",
        )


_VALIDATIONS: Mapping[str, Callable[[Any], Iterator[Cause]]] = {
    "generation": _validate_generation,
    "labels": _validate_labels,
    "annotations": _validate_annotations,
    "ownerReferences": _validate_owners,
    "finalizers": _validate_finalizers,
}
_IMMUTABLE = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def validate_metadata_update(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield what an update may not do to metadata: change its identity, or add finalizers while deleting."""
    if "deletionTimestamp" in old:
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            found = ", ".join(f'"{name}"' for name in extra)
            told = "no new finalizers can be added if the object is being deleted, found new finalizers"
            yield forbidden_field("metadata.finalizers", f"{told} []string{{{found}}}")
    for name in _IMMUTABLE:
        if not identical(new.get(name), old.get(name)):
            yield invalid_value(
                f"metadata.{name}",
                new.get(name, "" if name in ("name", "namespace", "uid") else None),
                "field is immutable",
            )
