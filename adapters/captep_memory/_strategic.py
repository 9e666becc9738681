"""Strategic merge patch: a merge patch that knows how the lists of built-in kinds merge.

The OpenAPI of a kind says it with `x-kubernetes-patch-strategy` and `-patch-merge-key`. A patch
may hold directives: `$patch`, `$retainKeys`, `$setElementOrder/LIST` and
`$deleteFromPrimitiveList/LIST` (SIG API machinery, "Strategic Merge Patch").
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from captep_memory._fields import go_type, printed
from captep_memory._json import Object, Value, without
from captep_memory._openapi import OpenAPI, reference_of, resolve

__all__ = ["StrategicError", "strategic_merge"]

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"
_BAD_RETAIN = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"
_BAD_DELETE = "invalid patch format of primitive list"
_Items: TypeAlias = list[Any]


class StrategicError(ValueError):
    """The patch does not apply; `status` is that of the answer."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


def strategic_merge(original: Object, patch: Object, schema: OpenAPI) -> Object:
    """Return an object of a built-in kind with a patch applied.

    Raises:
        StrategicError: a directive is malformed or does not fit.
    """
    return _merge_maps(original, patch, schema)


def _merge_maps(original: Mapping[str, Any], patch: Mapping[str, Any], schema: OpenAPI) -> Object:
    directive = patch.get(_PATCH)
    if directive == "replace":
        return without(patch, _PATCH)
    if directive == "delete":
        return {}
    if _PATCH in patch:
        raise StrategicError(_unknown(directive, patch))
    merged = dict(original)
    rest = dict(patch)
    if _RETAIN in rest:
        merged = _retained(merged, rest.pop(_RETAIN), rest)
    for name in [name for name in rest if name.startswith(_ORDER)]:
        _order(merged, rest, name, schema)
    for name, value in rest.items():
        _merge_member(merged, name, value, schema)
    return merged


def _unknown(directive: Value, patch: Mapping[str, Any]) -> str:
    return f"unknown patch type: {printed(directive)} in map: {printed(dict(patch))}"


def _retained(merged: Object, names: Value, patch: Mapping[str, Any]) -> Object:
    if not isinstance(names, list):
        raise StrategicError(_BAD_RETAIN, 400)
    for name, value in patch.items():
        if value is not None and not name.startswith((_DELETE, _ORDER)) and name not in names:
            raise StrategicError(_BAD_RETAIN, 400)
    return {name: value for name, value in merged.items() if name in names}


def _merge_member(merged: Object, name: str, value: Value, schema: OpenAPI) -> None:
    is_deletion = name.startswith(_DELETE)
    if is_deletion:
        name = _list_of(name, _DELETE, _BAD_DELETE)
    if value is None:
        merged.pop(name, None)
        return
    old = merged.get(name)
    if name in merged and isinstance(old, dict) and isinstance(value, dict):
        property_ = _property(schema, name)
        if _strategy(property_) != "replace":
            value = _merge_maps(old, value, resolve(property_))
        merged[name] = value
    elif name in merged and isinstance(old, list) and isinstance(value, list):
        property_ = _property(schema, name)
        if is_deletion or _strategy(property_) == "merge":
            value = _merge_lists(old, value, property_, is_deletion=is_deletion)
        merged[name] = value
    elif not is_deletion:
        kept = list(_without_directives(_without_nulls(value)))
        if kept:
            merged[name] = kept[0]
        else:
            merged.pop(name, None)


def _list_of(name: str, prefix: str, problem: str) -> str:
    head, slash, rest = name.partition("/")
    if not slash or head != prefix:
        raise StrategicError(problem, 400)
    return rest


def _property(schema: OpenAPI, name: str) -> OpenAPI:
    """Return the property of a member, with its extensions; a map has one for all members."""
    found = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    if not isinstance(found, Mapping):
        kinds = schema.get("x-kubernetes-group-version-kind", [{}])
        struct = kinds[0].get("kind", "")
        message = f'unable to find api field in struct {struct} for the json field "{name}"'
        raise StrategicError(message)
    return found


def _strategy(property_: OpenAPI) -> str:
    given = property_.get("x-kubernetes-patch-strategy", "").split(",")
    return next((each for each in given if each not in ("", "retainKeys")), "")


def _key(property_: OpenAPI) -> str:
    return str(property_.get("x-kubernetes-patch-merge-key", ""))


def _without_nulls(value: Value) -> Value:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _without_directives(value: Value) -> Iterator[Value]:
    """Yield a value without directives; nothing for a map that is one itself."""
    if isinstance(value, dict):
        if _PATCH not in value:
            kept = ((name, list(_without_directives(item))) for name, item in value.items())
            yield {name: items[0] for name, items in kept if items}
    elif isinstance(value, list):
        yield [kept for item in value for kept in _without_directives(item)]
    else:
        yield value


def _merge_lists(
    original: _Items, patch: _Items, property_: OpenAPI, *, is_deletion: bool
) -> _Items:
    if not original and not patch:
        return original
    key = _key(property_)
    if not _holds_maps(original, patch):
        if is_deletion:
            return [item for item in original if item not in patch]
        merged = list(dict.fromkeys([*original, *patch]))
        return _ordered(merged, patch, original, "")
    if not key:
        raise StrategicError(f"cannot merge lists without merge key for {_struct(property_)}")
    original, patch = _with_special_items(original, patch, key)
    return _ordered(_merge_items(original, patch, property_, key), patch, original, key)


def _struct(property_: OpenAPI) -> str:
    name = reference_of(property_.get("items", {})) or ""
    return name.rpartition(".")[2]


def _holds_maps(*lists: _Items) -> bool:
    """Return whether the items of lists are maps.

    Raises:
        StrategicError: they have several types, or are lists.
    """
    types = list(dict.fromkeys(type(item) for items in lists for item in items))
    if not types:
        raise StrategicError("no elements in any of the given slices")
    if types[0] is list:
        raise StrategicError("lists of lists are not supported", 422)
    if len(types) > 1:
        raise StrategicError(f"list element types are not identical: {printed(list(lists))}")
    return types[0] is dict


def _with_special_items(original: _Items, patch: _Items, key: str) -> tuple[_Items, _Items]:
    """Return the lists to merge after the items with a directive have acted."""
    plain, replaces = [], False
    for item in patch:
        match item.get(_PATCH):
            case None if _PATCH not in item:
                plain.append(item)
            case "delete":
                wanted = _key_of(item, key)
                original = [each for each in original if each.get(key) != wanted]
            case "replace":
                replaces = True
            case "merge":
                raise StrategicError("merging lists cannot yet be specified in the patch")
            case other:
                raise StrategicError(_unknown(other, item))
    return (plain, []) if replaces else (original, plain)


def _key_of(item: Value, key: str) -> Value:
    if not isinstance(item, dict):
        raise StrategicError(f"value for key {key} is not a map")
    if key not in item:
        problem = f"map: {printed(item)} does not contain declared merge key: {key}"
        raise StrategicError(problem)
    return item[key]


def _merge_items(original: _Items, patch: _Items, property_: OpenAPI, key: str) -> _Items:
    merged = list(original)
    for item in patch:
        wanted = _key_of(item, key)
        places = [index for index, each in enumerate(merged) if each.get(key) == wanted]
        if places:
            merged[places[0]] = _merge_maps(merged[places[0]], item, resolve(property_["items"]))
        else:
            merged.append(item)
    return merged


def _ordered(merged: _Items, patch_order: _Items, server_order: _Items, key: str) -> _Items:
    """Order a list: the items of the patch as the patch has them, others as they were."""

    def identity(item: Value) -> Value:
        return _key_of(item, key) if key else item

    in_patch = [identity(item) for item in patch_order]
    in_server = [identity(item) for item in server_order]

    def place(item: Value, order: _Items) -> int:
        return order.index(identity(item)) if identity(item) in order else -1

    ours = sorted(
        (item for item in merged if identity(item) in in_patch),
        key=lambda item: place(item, in_patch),
    )
    others = sorted(
        (item for item in merged if identity(item) not in in_patch),
        key=lambda item: place(item, in_server),
    )
    joined = []
    while ours and others:
        left, right = place(others[0], in_server), place(ours[0], in_server)
        comes_first = 0 <= left < right
        joined.append(others.pop(0) if comes_first else ours.pop(0))
    return [*joined, *ours, *others]


def _order(merged: Object, patch: Object, directive: str, schema: OpenAPI) -> None:
    """Let `$setElementOrder` order a list, and merge the list of the patch on the way."""
    wanted = patch.pop(directive)
    name = _list_of(directive, _ORDER, _BAD_ORDER)
    lists = (wanted, merged.get(name, []), patch.get(name, []))
    for each in lists:
        if not isinstance(each, list):
            raise StrategicError(f"expected a []interface {{}}, but received a {go_type(each)}")
    property_ = _property(schema, name)
    key = _key(property_)
    original, changes = merged.get(name), patch.pop(name, None)
    _check_order(changes or [], wanted, key)
    if original is None and changes is None:
        return
    items: _Items
    if changes is None:
        items = original or []
    elif original is None:
        items = next(_without_directives(changes))
    elif _strategy(property_) == "merge":
        items = _merge_lists(original, changes, property_, is_deletion=False)
    else:
        items = changes
    _holds_maps(original or [], changes or [])
    merged[name] = _ordered(items, wanted, original or [], key)


def _check_order(changes: _Items, wanted: _Items, key: str) -> None:
    """The items of a patch must stand in the order that its directive gives them."""
    if not changes or not wanted:
        return
    plain = [each for each in changes if not (isinstance(each, dict) and _PATCH in each)]
    rest = iter(wanted)
    for item in plain:
        identity = _key_of(item, key) if key else item
        if not any(identity == (_key_of(each, key) if key else each) for each in rest):
            message = (
                f"The order in patch list:\n{printed(changes)}\n "
                f"doesn't match {_ORDER} list:\n{printed(wanted)}\n"
            )
            raise StrategicError(message)
