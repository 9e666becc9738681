"""/openapi/v3 and /openapi/v2, as kubectl reads them for `explain`, validation and patches.

A document of /openapi/v3 holds the recorded schemas of its group and the schemas of definitions;
its paths have what kubectl looks at: the kind of a path, and the parameters of a patch. Version 2
is a document without definitions: clients of today ask for version 3.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from captep_memory._discovery import served_kinds
from captep_memory._json import Object
from captep_memory._kinds import ServedKind
from captep_memory._openapi import openapi, references_of
from captep_memory._world import World

__all__ = ["openapi_document"]

_PREFIX: Final = "#/components/schemas/"
_METADATA: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_VERBS: Final = ("get", "put", "patch", "delete")
_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation", "force")
_INFO: Final = {"title": "Kubernetes", "version": "1.37"}


def openapi_document(
    world: World, kinds: Mapping[tuple[str, str], str], path: str
) -> Object | None:
    """Return the document at a path of OpenAPI, None for any other path."""
    name = path.strip("/")
    if name == "openapi/v2":
        return {"swagger": "2.0", "info": dict(_INFO), "paths": {}, "definitions": {}}
    if not name.startswith("openapi/v3"):
        return None
    served = list(served_kinds(world, kinds))
    wanted = name.removeprefix("openapi/v3").strip("/")
    groups = sorted({_place_of(each) for each in served})
    if not wanted:
        return {"paths": {each: {"serverRelativeURL": _url(each, served)} for each in groups}}
    here = [each for each in served if _place_of(each) == wanted]
    return _document(here) if here else None


def _place_of(resource: ServedKind) -> str:
    return f"{'apis' if resource.group else 'api'}/{resource.api_version}"


def _url(place: str, served: Iterable[ServedKind]) -> str:
    """The hash lets a client keep a document until its kinds change."""
    shown = [(each.kind, each.schema) for each in served if _place_of(each) == place]
    digest = hashlib.sha256(json.dumps(shown, default=str, sort_keys=True).encode()).hexdigest()
    return f"/openapi/v3/{place}?hash={digest.upper()}"


def _document(served: list[ServedKind]) -> Object:
    schemas: Object = {}
    paths: Object = {}
    for resource in served:
        name = _add_schema(resource, schemas)
        paths |= dict(_paths(resource, name))
    return {
        "openapi": "3.0.0",
        "info": dict(_INFO),
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _add_schema(resource: ServedKind, schemas: Object) -> str:
    recorded = openapi()["kinds"].get(f"{resource.api_version}/{resource.kind}")
    if recorded is not None:
        _collect(recorded["schema"], schemas)
        return str(recorded["schema"])
    reverse = ".".join(reversed(resource.group.split(".")))
    name = f"{reverse}.{resource.version}.{resource.kind}"
    plain = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = dict(resource.schema or plain)
    root = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"allOf": [{"$ref": f"{_PREFIX}{_METADATA}"}]},
    }
    schema["properties"] = {**schema.get("properties", {}), **root}
    schema["x-kubernetes-group-version-kind"] = [_kind_of(resource)]
    schemas[name] = schema
    _collect(_METADATA, schemas)
    return name


def _kind_of(resource: ServedKind) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _collect(name: str, schemas: Object) -> None:
    if name in schemas:
        return
    schemas[name] = openapi()["schemas"][name]
    for below in references_of(schemas[name]):
        _collect(below, schemas)


def _paths(resource: ServedKind, schema: str) -> Iterator[tuple[str, Object]]:
    root = f"/{_place_of(resource)}"
    namespace = "" if resource.scope == "Cluster" else "/namespaces/{namespace}"
    collection = f"{root}{namespace}/{resource.plural}"
    answer = {"application/json": {"schema": {"$ref": f"{_PREFIX}{schema}"}}}
    common = {
        "responses": {"200": {"description": "OK", "content": answer}},
        "x-kubernetes-group-version-kind": _kind_of(resource),
    }
    names = [{"name": each, "in": "query", "schema": {"type": "string"}} for each in _PARAMETERS]
    yield (
        collection,
        {
            "get": {**common, "x-kubernetes-action": "list"},
            "post": {**common, "x-kubernetes-action": "post", "parameters": names[:3]},
        },
    )
    verbs: dict[str, Object] = {verb: {**common, "x-kubernetes-action": verb} for verb in _VERBS}
    for verb in ("put", "patch"):
        verbs[verb]["parameters"] = names
    yield f"{collection}/{{name}}", verbs
