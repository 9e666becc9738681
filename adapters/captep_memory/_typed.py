"""Built-in kinds by their recorded types: an object as its Go type decodes and encodes it.

The data file holds the fields of every type, whether the type writes a field always, and what it
does with a zero value; tests/memory/record_kinds.py measures them. A zero value of a field that
the record did not measure, and a field outside of the modelled ones, gets 501.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from captep_memory._json import Object, Value
from captep_memory._quantities import canonical
from captep_memory._status import RefusedError, bad_request, not_modelled

__all__ = ["decode_typed", "typed_kind", "typed_kinds"]

_ROOT = ("apiVersion", "kind", "metadata")
_GO_TYPES: Mapping[str, type] = {"string": str, "integer": int, "boolean": bool}
_INT32 = 1 << 31


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    text = files("captep_memory").joinpath("kinds-1.37.json").read_text("utf-8")
    data: Mapping[str, Any] = json.loads(text)
    return data


def typed_kinds() -> Mapping[str, Mapping[str, Any]]:
    """Return the recorded kinds by `apiVersion/kind`: type, plural, whether it is namespaced."""
    kinds: Mapping[str, Mapping[str, Any]] = _data()["kinds"]
    return kinds


def typed_kind(api_version: str, kind: str) -> Mapping[str, Any] | None:
    """Return a recorded kind, None for any other."""
    return typed_kinds().get(f"{api_version}/{kind}")


def decode_typed(obj: Object, modelled: Mapping[str, frozenset[str]]) -> Object:
    """Return an object of a recorded kind as the server encodes it, before defaults.

    `modelled` are the fields with a model of each type, by the last part of its name; a type that
    is not in it has a model of every field.

    Raises:
        RefusedError: 400, a value has the wrong type; 501, a field or a zero value has no model.
    """
    kind = obj["kind"]
    root = typed_kinds()[f"{obj['apiVersion']}/{kind}"]["type"]
    decoder = _Decoder(kind, modelled)
    decoded = decoder.struct(obj, root)
    return {**{name: obj[name] for name in _ROOT}, **decoded}


class _Decoder:
    """Decodes one object; `kind` and the paths are for messages."""

    def __init__(self, kind: str, modelled: Mapping[str, frozenset[str]]) -> None:
        self._kind, self._modelled = kind, modelled

    def struct(self, value: Value, name: str) -> Object:
        if not isinstance(value, dict):
            raise self._mistyped(name)
        short = name.rpartition(".")[2]
        modelled = self._modelled.get(short)
        decoded: Object = {}
        for field_name, field in _data()["types"][name].items():
            given = value.get(field_name)
            if given is not None and modelled is not None and field_name not in modelled:
                raise not_modelled(f"the field {field_name} of {short}")
            item = self._member(given, field, f"{short}.{field_name}")
            if item is not _ABSENT:
                decoded[field_name] = item
        return decoded

    def _member(self, given: Value, field: Mapping[str, Any], path: str) -> Value:
        """Return a field as it is encoded, _ABSENT when it is left out."""
        if given is not None:
            item = self._value(given, field, path)
            if item not in ("", 0, [], {}) or field.get("zero"):
                return item
            if "always" not in field and "zero" not in field:
                raise not_modelled(f"an empty {path}")
        if "always" not in field:
            return _ABSENT
        return self._empty(field)

    def _empty(self, field: Mapping[str, Any]) -> Value:
        """Return the zero value of a field that is always written."""
        if "ref" in field and isinstance(field["always"], dict):
            if field["ref"].endswith(".ObjectMeta"):
                return {}
            return self.struct({}, field["ref"])
        return field["always"]

    def _value(self, given: Value, field: Mapping[str, Any], path: str) -> Value:
        if "ref" in field:
            return self._reference(given, field["ref"], path)
        if "items" in field:
            if not isinstance(given, list):
                raise self._mistyped(path)
            return [self._item(item, field["items"], path) for item in given]
        if "map" in field:
            if not isinstance(given, dict):
                raise self._mistyped(path)
            return {key: self._item(item, field["map"], path) for key, item in given.items()}
        return self._scalar(given, field["type"], path)

    def _item(self, given: Value, field: Mapping[str, Any], path: str) -> Value:
        if given is None:
            raise not_modelled(f"a null in {path}")
        return self._value(given, field, path)

    def _scalar(self, given: Value, kind: str, path: str) -> Value:
        expected = _GO_TYPES.get(kind)
        if expected is None:
            raise not_modelled(f"values of {path}")
        is_bool = isinstance(given, bool)
        if not isinstance(given, expected) or is_bool is not (kind == "boolean"):
            raise self._mistyped(path)
        if isinstance(given, int) and not -_INT32 <= given < _INT32:
            raise not_modelled(f"a number beyond int32 in {path}")
        return given

    def _reference(self, given: Value, name: str, path: str) -> Value:
        if name.endswith(".ObjectMeta"):
            return _template_metadata(given, path)
        scalar = _data()["types"][name].get("scalar")
        match scalar:
            case None:
                return self.struct(given, name)
            case "IntOrString":
                if isinstance(given, bool) or not isinstance(given, int | str):
                    raise self._mistyped(path)
                return given
            case "Quantity":
                return self._quantity(given, path)
            case _:
                raise not_modelled(f"values of {path}")

    def _quantity(self, given: Value, path: str) -> str:
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            raise self._mistyped(path)
        found = canonical(str(given))
        if found is None:
            raise not_modelled(f"the quantity {given} in {path}")
        return found

    def _mistyped(self, path: str) -> RefusedError:
        return bad_request(
            f'{self._kind} in version "v1" cannot be handled as a {self._kind}: '
            f"json: cannot unmarshal into Go struct field {path}"
        )


_ABSENT: Any = object()


def _template_metadata(given: Value, path: str) -> Object:
    """The metadata of a pod template, as far as people set it."""
    if not isinstance(given, dict):
        raise not_modelled(f"metadata of {path} that is no object")
    stray = given.keys() - {"labels", "annotations", "creationTimestamp"}
    if stray or given.get("creationTimestamp") is not None:
        raise not_modelled(f"{', '.join(sorted(stray))} in the metadata of a template")
    decoded: Object = {}
    for name in ("labels", "annotations"):
        pairs = given.get(name)
        if pairs is None or pairs == {}:
            continue
        if not isinstance(pairs, dict) or not all(isinstance(each, str) for each in pairs.values()):
            raise bad_request(f"cannot be handled: json: cannot unmarshal {path}.{name}")
        decoded[name] = dict(pairs)
    return decoded
