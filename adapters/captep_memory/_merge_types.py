"""How values merge: which fields, lists and maps have one owner and which have one for each part.

A `MergeType` says it for one value. It is read from the schema of a CustomResourceDefinition or
from the OpenAPI of built-in kinds, by the rules of k8s.io/kube-openapi/pkg/schemaconv: a list is
atomic unless `x-kubernetes-list-type` (or a patch strategy) says otherwise, a map is granular
unless `x-kubernetes-map-type` is `atomic`.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, TypeAlias

from attrs import define, evolve, field

from captep_memory._json import MISSING, Value
from captep_memory._openapi import openapi, reference_of

__all__ = [
    "CUSTOM",
    "DEDUCED",
    "FITTING",
    "Member",
    "MergeType",
    "Scalar",
    "built_in_type",
    "custom_type",
]

Scalar: TypeAlias = Literal["", "numeric", "string", "boolean", "untyped"]
FITTING: Mapping[Scalar, frozenset[type]] = {
    "": frozenset(),
    "numeric": frozenset({int, float}),
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
    "untyped": frozenset({str, bool, int, float}),
}
"""The types of the values that fit a scalar without another look."""
# The path element of a field, its type, and what fits it without another look.
Member: TypeAlias = "tuple[str, MergeType, frozenset[type]]"
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SCALARS: Mapping[str, Scalar] = {
    "integer": "numeric",
    "number": "numeric",
    "boolean": "boolean",
}


@define(eq=False)
class MergeType:
    """The alternatives of one value: a scalar, a list, a map, or several of them.

    `list_keys` names the fields that identify an item; a list without keys whose `list_is_atomic`
    is False is a set of scalars. `other` is the type of the members of a map that have no field of
    their own, None where the schema allows none. The maps may be filled after construction,
    because types refer to themselves.
    """

    scalar: Scalar = ""
    is_list: bool = False
    list_is_atomic: bool = True
    list_keys: tuple[str, ...] = ()
    items: "MergeType | None" = field(default=None, repr=False)
    is_map: bool = False
    map_is_atomic: bool = False
    fields: dict[str, "MergeType"] = field(factory=dict, repr=False)
    defaults: dict[str, Value] = field(factory=dict, repr=False)
    other: "MergeType | None" = field(default=None, repr=False)

    @cached_property
    def members(self) -> dict[str, Member]:
        """The fields as a walk needs them: one look-up for each where it would take four."""
        return {
            name: (f"f:{name}", type_, FITTING[type_.scalar]) for name, type_ in self.fields.items()
        }

    def member(self, name: str) -> "MergeType | None":
        """Return the type of a member of a map, None if the schema declares none."""
        return self.fields.get(name) or self.other


def _untyped() -> MergeType:
    """A value without a schema of which each part is atomic."""
    found = MergeType("untyped", is_list=True, is_map=True, map_is_atomic=True)
    found.items = found.other = found
    return found


def _deduced() -> MergeType:
    """A value without a schema: each member of a map has its own owner, a list is atomic."""
    found = MergeType("untyped", is_list=True, is_map=True)
    found.items, found.other = _UNTYPED, found
    return found


_UNTYPED = _untyped()
DEDUCED = _deduced()
_Refer: TypeAlias = Callable[[str], MergeType]


def _read(schema: Mapping[str, Any], refer: _Refer, *, keeps_unknown: bool = False) -> MergeType:
    """Return the type of a schema; `refer` resolves references, `keeps_unknown` is inherited."""
    name = reference_of(schema)
    if name is not None:
        return _overridden(refer(name), schema)
    keeps_unknown = keeps_unknown or schema.get("x-kubernetes-preserve-unknown-fields") is True
    found = MergeType()
    _fill(found, schema, refer, keeps_unknown=keeps_unknown)
    return found


def _overridden(found: MergeType, schema: Mapping[str, Any]) -> MergeType:
    """A property may say of its reference that the map is atomic, or granular."""
    given = schema.get("x-kubernetes-map-type")
    if given is None or (given == "atomic") is found.map_is_atomic:
        return found
    return evolve(found, map_is_atomic=given == "atomic")


def _fill(
    found: MergeType, schema: Mapping[str, Any], refer: _Refer, *, keeps_unknown: bool
) -> None:
    kind = schema.get("type", "")
    if kind in ("", "object"):
        found.is_map = True
        found.map_is_atomic = schema.get("x-kubernetes-map-type") == "atomic"
        properties = schema.get("properties", {})
        for name, item in properties.items():
            found.fields[name] = _read(item, refer, keeps_unknown=keeps_unknown)
            if item.get("default") is not None:
                found.defaults[name] = item["default"]
        found.other = _other(schema, refer, keeps_unknown=keeps_unknown)
    if kind in ("", "array"):
        found.is_list = True
        found.list_is_atomic, found.list_keys = _list_type(schema)
        items = schema.get("items")
        found.items = (
            _UNTYPED if items is None else _read(items, refer, keeps_unknown=keeps_unknown)
        )
    if kind == "string":
        found.scalar = "string" if schema.get("format", "") in ("", "byte") else "untyped"
    elif kind not in ("object", "array"):
        found.scalar = _SCALARS.get(kind, "untyped")


def _other(schema: Mapping[str, Any], refer: _Refer, *, keeps_unknown: bool) -> MergeType | None:
    additional = schema.get("additionalProperties", MISSING)
    if additional is MISSING:
        return DEDUCED if keeps_unknown or not schema.get("properties") else None
    if isinstance(additional, Mapping):
        return _read(additional, refer, keeps_unknown=keeps_unknown)
    return DEDUCED if additional else None


def _list_type(schema: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Return whether a list is atomic, and the keys of its items."""
    match schema.get("x-kubernetes-list-type"):
        case "map":
            return False, tuple(schema.get("x-kubernetes-list-map-keys", ()))
        case "set":
            return False, ()
        case None if "merge" in schema.get("x-kubernetes-patch-strategy", "").split(","):
            key = schema.get("x-kubernetes-patch-merge-key")
            return False, () if key is None else (key,)
        case _:
            return True, ()


_KNOWN: dict[str, MergeType] = {}


def _named(name: str) -> MergeType:
    """Return the type of a named schema; one that refers to itself finds itself half made."""
    if name in _KNOWN:
        return _KNOWN[name]
    if name.endswith(".RawExtension"):
        return _UNTYPED
    found = MergeType("untyped" if name.endswith(".Quantity") else "")
    _KNOWN[name] = found
    if not found.scalar:
        _fill(found, openapi()["schemas"][name], _named, keeps_unknown=False)
    return found


def built_in_type(api_version: str, kind: str) -> MergeType | None:
    """Return how a built-in kind merges, None for a kind without a recorded schema."""
    known = openapi()["kinds"].get(f"{api_version}/{kind}")
    return None if known is None else _named(known["schema"])


def custom_type(schema: Mapping[str, Any]) -> MergeType:
    """Return how a custom resource with a structural schema merges."""
    return _read(_with_type_and_metadata(_structural(schema)), _named)


def _structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a structural schema decides on merging: formats do not."""
    kept = {name: item for name, item in schema.items() if name not in ("format", "allOf", "$ref")}
    if "properties" in schema:
        kept["properties"] = {
            name: _structural(item) for name, item in schema["properties"].items()
        }
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            kept[name] = _structural(schema[name])
    return _with_type_and_metadata(kept) if schema.get("x-kubernetes-embedded-resource") else kept


def _with_type_and_metadata(schema: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": f"#/components/schemas/{_METADATA}"},
    }
    return {**schema, "properties": {**schema.get("properties", {}), **own}}


CUSTOM = custom_type({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
"""A custom resource without a schema: all but its metadata has the type that its value shows."""
