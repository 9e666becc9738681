"""Fill a server with objects as they are, and supply the fields that a server sets.

A supplied value is a function of the object's identity (and of `now` for its creation), not of the
order of the objects.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from captep_core._objects import rfc3339
from captep_memory._admission import Admission
from captep_memory._builtin import prepare_built_in
from captep_memory._content import decode
from captep_memory._json import Object, without
from captep_memory._kinds import (
    NO_CONVERSIONS,
    NO_SCOPES,
    Catalog,
    Conversion,
    Scope,
    catalog_of,
    scope_of,
)
from captep_memory._metadata import decode_metadata, finalizers, is_deleting
from captep_memory._request import Key, group_of
from captep_memory._schema import normalise
from captep_memory._shelf import shelf_of
from captep_memory._status import RefusedError
from captep_memory._strategies import prepare_created
from captep_memory._world import NEWEST, Quirks, World, uid_of

__all__ = ["load"]

_NOT_MODELLED = 501


def load(
    objects: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
    quirks: Quirks = NEWEST,
    admission: tuple[Admission, ...] = (),
    scopes: Mapping[tuple[str, str], Scope] = NO_SCOPES,
    conversions: Mapping[tuple[str, str], Conversion] = NO_CONVERSIONS,
) -> World:
    """Return a server that holds `objects`.

    Given uids, resourceVersions, generations, times, finalizers and status stay. A namespaced
    object without a namespace goes to `default`; an object with a deletionTimestamp and without
    finalizers is gone. CustomResourceDefinitions among the objects prune and default the others, as
    a server does when it reads its store. Nothing is validated.

    Args:
        objects: what the store holds.
        now: the clock of the server, aware of its time zone.
        quirks: the version of the server.
        admission: plugins and webhooks, in order.
        scopes: the scopes of kinds without a definition, by (group, kind); the first object of
            such a kind decides where this says nothing.
        conversions: webhooks as functions, by (group, kind); `load` converts to their storage
            versions.

    Raises:
        ValueError: an object has no apiVersion, kind or metadata.name, exists twice, or has a
            field of the wrong type.
    """
    given = list(map(_checked, objects))
    catalog = catalog_of(given, scopes, conversions)
    shelves: dict[tuple[str, str, str | None], dict[str, Object]] = {}
    highest = quirks.first_resource_version
    for raw in given:
        key = _key(catalog, scopes, raw)
        obj = _seed(catalog, key, raw, now, quirks)
        shelf = shelves.setdefault((key.api_group, key.kind, key.namespace), {})
        if key.name in shelf:
            raise ValueError(f"{key.kind} {key.namespace or ''}/{key.name} exists twice")
        shelf[key.name] = obj
        highest = max(highest, _numeric(obj["metadata"]["resourceVersion"]))
    kept = {
        place: {name: obj for name, obj in shelf.items() if not _is_gone(obj)}
        for place, shelf in shelves.items()
    }
    return World(
        now=now,
        resource_version=highest,
        shelves={place: shelf_of(shelf) for place, shelf in kept.items() if shelf},
        catalog=catalog,
        quirks=quirks,
        admission=admission,
        compacted=highest,
    )


def _checked(obj: Mapping[str, Any]) -> Object:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not all(
        isinstance(item, str) and item for item in (obj.get("apiVersion"), obj.get("kind"), name)
    ):
        raise ValueError("an object needs apiVersion, kind and metadata.name")
    return dict(obj)


def _key(catalog: Catalog, scopes: Mapping[tuple[str, str], Scope], raw: Object) -> Key:
    namespace = _namespace(catalog, scopes, raw)
    return Key(group_of(raw["apiVersion"]), raw["kind"], namespace, raw["metadata"]["name"])


def _seed(catalog: Catalog, key: Key, raw: Object, now: datetime, quirks: Quirks) -> Object:
    try:
        decoded, is_decoded = _decoded(catalog, raw)
        obj = _stored(catalog, decoded)
    except RefusedError as error:
        reason = error.response.body["message"]
        raise ValueError(f"{key.kind} {key.namespace or ''}/{key.name}: {reason}") from error
    metadata = without(obj["metadata"], "namespace") | (
        {"namespace": key.namespace} if key.namespace else {}
    )
    supplied = {
        "uid": uid_of(key, ""),
        "resourceVersion": _version_of(key, quirks),
        "creationTimestamp": rfc3339(now),
    }
    place = (key.api_group, key.kind)
    resource = catalog.resource(obj["apiVersion"], obj["kind"])
    if scope_of(*place) is None or place in catalog.custom or resource.counts_generation:
        supplied["generation"] = 1  # type: ignore[assignment]
    seeded = {**obj, "metadata": {**supplied, **metadata}}
    return _completed(key, seeded, raw) if resource.typed and is_decoded else seeded


def _completed(key: Key, obj: Object, raw: Object) -> Object:
    """Return an object of a Go type with what its strategy gives a new one, where it lacks that."""
    if obj["kind"] == "Service":
        return _with_address(key, obj)
    if obj["kind"] == "Job" and "selector" in obj["spec"]:
        return obj
    completed = prepare_created(obj)
    if raw.get("status"):
        completed = {**completed, "status": obj["status"]}
    elif obj["kind"] == "Namespace" and is_deleting(obj):
        completed = {**completed, "status": {"phase": "Terminating"}}
    return completed


def _with_address(key: Key, service: Object) -> Object:
    """A loaded Service has an address that follows from its name, apart from those of creations."""
    spec = service["spec"]
    if spec["type"] == "ExternalName" or spec.get("clusterIP"):
        return service
    digest = hashlib.sha256(uid_of(key, "clusterIP").encode()).digest()
    address = f"10.{104 + digest[0] % 8}.{digest[1]}.{1 + digest[2] % 254}"
    return {**service, "spec": {**spec, "clusterIP": address, "clusterIPs": [address]}}


def _namespace(
    catalog: Catalog, scopes: Mapping[tuple[str, str], Scope], raw: Object
) -> str | None:
    group, kind = group_of(raw["apiVersion"]), raw["kind"]
    given = raw["metadata"].get("namespace") or None
    custom = catalog.custom.get((group, kind))
    if custom and custom.versions:
        scope = next(iter(custom.versions.values())).scope
    else:
        scope = scope_of(group, kind) or scopes.get((group, kind))
    if scope is None:
        return given
    return None if scope == "Cluster" else given or "default"


def _stored(catalog: Catalog, obj: Object) -> Object:
    """Return an object in the storage version of its conversion webhook."""
    conversion = catalog.conversions.get((group_of(obj["apiVersion"]), obj["kind"]))
    return obj if conversion is None else catalog.convert_to(obj, conversion.storage)


def _decoded(catalog: Catalog, raw: Object) -> tuple[Object, bool]:
    """Decode an object of a kind with a model; of any other kind decode the metadata alone.

    The second value says if the object was decoded as a whole.
    """
    plain = {**raw, "metadata": decode_metadata(raw["metadata"])}
    custom = catalog.custom.get((group_of(raw["apiVersion"]), raw["kind"]))
    if custom is not None:
        version = custom.versions.get(raw["apiVersion"].rpartition("/")[2])
        if version is None or version.schema is None:
            return plain, False
        return normalise(plain, version.own_schema, version.own_defaults), True
    resource = catalog.resource(raw["apiVersion"], raw["kind"])
    if not resource.writable:
        return plain, False
    try:
        obj = decode(resource, raw)
    except RefusedError as refused:
        if refused.response.status != _NOT_MODELLED:
            raise
        # Reads show it as it is; a write of it has no model.
        return plain, False
    return (prepare_built_in(obj) if resource.built_in else obj), True


def _version_of(key: Key, quirks: Quirks) -> str:
    digest = hashlib.sha256(uid_of(key, "resourceVersion").encode()).digest()
    return str(1 + int.from_bytes(digest[:4], "big") % quirks.first_resource_version)


def _numeric(version: str) -> int:
    return int(version) if version.isascii() and version.isdigit() else 0


def _is_gone(obj: Object) -> bool:
    holders = obj.get("spec", {}).get("finalizers") if obj["kind"] == "Namespace" else None
    return is_deleting(obj) and not finalizers(obj) and not holders
