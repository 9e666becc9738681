"""ObjectMeta: decoding as Go does it, and validation (rows A1, A2, U6, U7)."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

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
    "METADATA_FIELDS",
    "Names",
    "decode_metadata",
    "finalizers",
    "is_deleting",
    "names_of",
    "validate_metadata",
    "validate_metadata_update",
    "without_duplicate_owners",
]

Names: TypeAlias = Literal["subdomain", "custom", "path", "label", "namespace"]
# totalAnnotationSizeLimitB of k8s.io/apimachinery/pkg/api/validation.
_ANNOTATIONS_LIMIT = 256 * 1024
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class _Named(Protocol):
    @property
    def built_in(self) -> bool: ...

    @property
    def names(self) -> Names: ...


def finalizers(obj: Mapping[str, Any]) -> list[str]:
    """Return the finalizers of a stored object."""
    return list(obj["metadata"].get("finalizers") or ())


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Return whether a stored object waits for its finalizers."""
    return "deletionTimestamp" in obj["metadata"]


def decode_metadata(raw: Value, known: Mapping[str, Any] | None = None) -> Object:
    """Return metadata as the server's ObjectMeta encodes it, without unknown and empty fields.

    `known` is decoded metadata; fields that are the same object as there need no decoding.

    Raises:
        RefusedError: 400, a field has the wrong type.
    """
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise _mistyped("metadata", "object")
    if raw is known:
        return raw
    decoded: Object = {}
    for name, decode in _FIELDS.items():
        if name not in raw:
            continue
        value = raw[name]
        if value is None:
            continue
        if known is not None and known.get(name) is value:
            decoded[name] = value
            continue
        value = decode(f"metadata.{name}", value)
        # Of built-in kinds, an empty list of managedFields takes them away.
        is_kept = value not in ("", {}, []) or (name == "managedFields" and value == [])
        if is_kept and not (value == 0 and name == "generation"):
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
    """Metadata times have whole seconds and are in UTC."""
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


def _managed(path: str, value: Value) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
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
    "managedFields": _managed,
}


METADATA_FIELDS = frozenset(_FIELDS)
"""The fields of ObjectMeta."""


def validate_metadata(
    metadata: Mapping[str, Any], *, names: Names, old: Mapping[str, Any] | None = None
) -> Iterator[Cause]:
    """Yield the errors of metadata; fields that are the same object as in `old` count as valid."""
    before = old or {}
    if old is None:
        yield from _validate_name(text(metadata.get("name")), names)
        if "namespace" in metadata:
            namespace = metadata["namespace"]
            for problem in dns_label(namespace):
                yield invalid_value("metadata.namespace", namespace, problem)
    for name, validate in _VALIDATIONS.items():
        value = metadata.get(name)
        if value is not None and before.get(name) is not value:
            yield from validate(value)


def names_of(kind: _Named) -> Names:
    """Return the form of the names of a kind."""
    return kind.names if kind.built_in else "custom"


def _validate_name(name: str, names: Names) -> Iterator[Cause]:
    if not name:
        yield required("metadata.name", "name or generateName is required")
        return
    match names:
        case "path":
            problems = _path_segment(name)
        case "label" | "namespace":
            problems = dns_label(name)
        case _:
            problems = dns_subdomain(name)
    if problems and names == "custom":
        problems = _path_segment(name) or problems
    yield from (invalid_value("metadata.name", name, problem) for problem in problems)


def _path_segment(name: str) -> list[str]:
    """What makes a name useless in a URL; custom resources are checked for it first."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return next(([f"may not contain '{part}'"] for part in "/%" if part in name), [])


def _validate_generation(generation: int) -> Iterator[Cause]:
    if generation < 0:
        yield invalid_value("metadata.generation", generation, "must be greater than or equal to 0")


def _validate_labels(labels: Mapping[str, str]) -> Iterator[Cause]:
    for key, value in labels.items():
        for problem in qualified_name(key):
            yield invalid_value("metadata.labels", key, problem)
        for problem in label_value(value):
            yield invalid_value("metadata.labels", value, problem)


def _validate_annotations(annotations: Mapping[str, str]) -> Iterator[Cause]:
    for key in annotations:
        for problem in qualified_name(key.lower()):
            yield invalid_value("metadata.annotations", key, problem)
    parts = (part for item in annotations.items() for part in item)
    if sum(len(part.encode(errors="replace")) for part in parts) > _ANNOTATIONS_LIMIT:
        yield too_long("metadata.annotations", _ANNOTATIONS_LIMIT)


def _validate_owners(owners: list[Object]) -> Iterator[Cause]:
    controller = ""
    for index, owner in enumerate(owners):
        yield from _validate_owner(f"metadata.ownerReferences[{index}]", owner)
        if owner.get("controller") is True:
            name = f"{owner['kind']}/{owner['name']}"
            if controller:
                detail = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {name}'
                )
                yield invalid_struct("metadata.ownerReferences", owners, detail)
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
        for problem in qualified_name(name):
            yield invalid_value("metadata.finalizers", name, problem)
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
    """Yield what an update may not do: change the identity, or add finalizers while deleting."""
    if "deletionTimestamp" in old:
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            found = ", ".join(f'"{name}"' for name in extra)
            yield forbidden_field(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{found}}}",
            )
    for name in _IMMUTABLE:
        if not identical(new.get(name), old.get(name)):
            yield invalid_value(
                f"metadata.{name}",
                new.get(name, "" if name in ("name", "namespace", "uid") else None),
                "field is immutable",
            )


def without_duplicate_owners(obj: Object) -> tuple[Object, Mapping[str, str]]:
    """Row C6: return the object without repeated owner references, and the headers that warn."""
    owners = obj["metadata"].get("ownerReferences", ())
    if len(owners) < 2:
        return obj, {}
    kept: list[Object] = []
    for owner in owners:
        if not any(identical(owner, other) for other in kept):
            kept.append(owner)
    if len(kept) == len(owners):
        return obj, {}
    uids = ", ".join(sorted({owner["uid"] for owner in kept if owners.count(owner) > 1}))
    warning = (
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references "
        "in 1.20+, and may reject such requests as early as 1.24; please fix your requests; "
        f"duplicate UID(s) observed: {uids}"
    )
    metadata = {**obj["metadata"], "ownerReferences": kept}
    return {**obj, "metadata": metadata}, {"Warning": f'299 - "{warning}"'}
