"""Fill a server with objects as they are: what is given is taken, what the server would have set is supplied.

What is supplied is a function of the object's identity (and `now` for its creation), not of the order of the objects.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from captep_memory._admission import Admission
from captep_memory._json import Object, without
from captep_memory._kinds import Catalog, catalog_of, scope_of
from captep_memory._metadata import decode_metadata, finalizers, is_deleting
from captep_memory._request import Key, group_of
from captep_memory._schema import normalise
from captep_memory._status import RefusedError
from captep_memory._world import NEWEST, Quirks, World, timestamp, uid_of
from captep_memory._write import decode

__all__ = ["load"]


def load(
    objects: Iterable[Mapping[str, Any]],
    *,
    now: datetime,
    quirks: Quirks = NEWEST,
    admission: tuple[Admission, ...] = (),
) -> World:
    """Return a server that holds `objects`.

    uids, resourceVersions, generations, times, finalizers and status are kept when given. A namespaced object without a namespace
    goes to `default`; an object that is being deleted and has no finalizers is gone. CustomResourceDefinitions among the objects
    prune and default the others, as a server does when it reads its store; nothing is validated.

    Raises:
        ValueError: an object has no apiVersion, kind or metadata.name, is there twice, or cannot be decoded.
    """
    given = list(map(_checked, objects))
    catalog = catalog_of(given)
    shelves: dict[tuple[str, str, str | None], dict[str, Object]] = {}
    highest = quirks.first_resource_version
    for raw in given:
        key, obj = _seed(catalog, raw, now, quirks)
        shelf = shelves.setdefault((key.api_group, key.kind, key.namespace), {})
        if key.name in shelf:
            raise ValueError(f"{key.kind} {key.namespace or ''}/{key.name} is there twice")
        shelf[key.name] = obj
        highest = max(highest, _numeric(obj["metadata"]["resourceVersion"]))
    kept = {
        place: {name: obj for name, obj in shelf.items() if not _is_gone(obj)}
        for place, shelf in shelves.items()
    }
    return World(
        now=now,
        resource_version=highest,
        shelves={place: shelf for place, shelf in kept.items() if shelf},
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


def _seed(catalog: Catalog, raw: Object, now: datetime, quirks: Quirks) -> tuple[Key, Object]:
    key = Key(
        group_of(raw["apiVersion"]), raw["kind"], _namespace(catalog, raw), raw["metadata"]["name"]
    )
    try:
        obj = _decoded(catalog, raw)
    except RefusedError as error:
        told = error.response.body["message"]
        raise ValueError(f"{key.kind} {key.namespace or ''}/{key.name}: {told}") from error
    metadata = without(obj["metadata"], "namespace") | (
        {"namespace": key.namespace} if key.namespace else {}
    )
    supplied = {
        "uid": uid_of(key, ""),
        "resourceVersion": _version_of(key, quirks),
        "creationTimestamp": timestamp(now),
    }
    is_custom = (
        scope_of(key.api_group, key.kind) is None
        or (key.api_group, key.kind) in catalog.custom
        or key.api_group == "tf.upbound.io"
    )
    if is_custom:
        supplied["generation"] = 1  # type: ignore[assignment]
    return key, {**obj, "metadata": {**supplied, **metadata}}


def _namespace(catalog: Catalog, raw: Object) -> str | None:
    group, kind = group_of(raw["apiVersion"]), raw["kind"]
    given = raw["metadata"].get("namespace") or None
    custom = catalog.custom.get((group, kind))
    scope = (
        next(iter(custom.versions.values())).scope
        if custom and custom.versions
        else scope_of(group, kind)
    )
    if scope is None:
        return given
    return None if scope == "Cluster" else given or "default"


def _decoded(catalog: Catalog, raw: Object) -> Object:
    """Decode an object whose kind and version are modelled; keep any other as it is, but for its metadata."""
    custom = catalog.custom.get((group_of(raw["apiVersion"]), raw["kind"]))
    if custom is not None:
        version = custom.versions.get(raw["apiVersion"].rpartition("/")[2])
        obj = {**raw, "metadata": decode_metadata(raw["metadata"])}
        return obj if version is None or version.schema is None else normalise(obj, version.schema)
    resource = catalog.resource(raw["apiVersion"], raw["kind"])
    if not resource.writable:
        return {**raw, "metadata": decode_metadata(raw["metadata"])}
    obj = decode(resource, raw)
    return (
        {**obj, "type": "Opaque"}
        if resource.built_in and raw["kind"] == "Secret" and not obj.get("type")
        else obj
    )


def _version_of(key: Key, quirks: Quirks) -> str:
    digest = hashlib.sha256(uid_of(key, "resourceVersion").encode()).digest()
    return str(1 + int.from_bytes(digest[:4], "big") % quirks.first_resource_version)


def _numeric(version: str) -> int:
    return int(version) if version.isascii() and version.isdigit() else 0


def _is_gone(obj: Object) -> bool:
    return is_deleting(obj) and not finalizers(obj)
