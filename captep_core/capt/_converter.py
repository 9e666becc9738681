"""Strict conversion from JSON to the model by cattrs.

Only `captep_core.capt.wire` imports this module, on first use, because importing cattrs takes as
long as the rest of the core.
"""

import binascii
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from captep_core._actions import JSON
from captep_core.capt._model import WorkspaceState

__all__ = ["structured"]


T = TypeVar("T")


class _WrongValueError(ValueError):
    """The problem of one value, without the value."""


def _text(value: Any, _: Any) -> str:  # noqa: ANN401 - whatever the wire holds
    if type(value) is str:
        return value
    raise _WrongValueError(f"expected a string, found {_called(value)}")


def _boolean(value: Any, _: Any) -> bool:  # noqa: ANN401
    if type(value) is bool:
        return value
    raise _WrongValueError(f"expected a boolean, found {_called(value)}")


def _called(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), type(value).__name__)


def _integer(value: Any, _: Any) -> int:  # noqa: ANN401
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    raise _WrongValueError(f"expected a whole number, found {_called(value)}")


def _bytes(value: Any, _: Any) -> bytes:  # noqa: ANN401
    if type(value) is not str:
        raise _WrongValueError(f"expected base64 text, found {_called(value)}")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raise _WrongValueError("expected base64 text, found something else") from None


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


_converter = Converter(detailed_validation=True, prefer_attrib_converters=True)
_converter.register_structure_hook(str, _text)
_converter.register_structure_hook(bool, _boolean)
_converter.register_structure_hook(int, _integer)
_converter.register_structure_hook(bytes, _bytes)
_TEXT = {str}
_JSON_HINTS = (JSON, get_type_hints(WorkspaceState)["at_provider"])
_converter.register_structure_hook_func(lambda hint: hint in _JSON_HINTS, lambda value, _: value)


@_converter.register_structure_hook_factory(lambda hint: getattr(hint, "__origin__", None) is tuple)
def _tuple_of(hint: Any, converter: Converter) -> Callable[[Any, Any], tuple[Any, ...]]:  # noqa: ANN401
    element = hint.__args__[0]
    each = converter.get_structure_hook(element)

    def entries(value: Any, _: Any) -> tuple[Any, ...]:  # noqa: ANN401
        if type(value) is not list:
            raise _WrongValueError(f"expected a list, found {_called(value)}")
        made, errors = [], []
        for index, item in enumerate(value):
            try:
                made.append(each(item, element))
            except (ValueError, BaseValidationError) as exc:
                exc.add_note(IterableValidationNote("at", index, element))
                errors.append(exc)
        if errors:
            raise IterableValidationError("entries", errors, hint)
        return tuple(made)

    return entries


@_converter.register_structure_hook_factory(
    lambda hint: getattr(hint, "__origin__", None) is Mapping
)
def _mapping_of(hint: Any, converter: Converter) -> Callable[[Any, Any], Mapping[str, Any]]:  # noqa: ANN401
    element = hint.__args__[1]
    each = converter.get_structure_hook(element)

    def items(value: Any, _: Any) -> Mapping[str, Any]:  # noqa: ANN401
        if type(value) is not dict:
            raise _WrongValueError(f"expected an object, found {_called(value)}")
        if element in _JSON_HINTS or (element is str and {*map(type, value.values())} <= _TEXT):
            return value
        made, errors = {}, []
        for key, item in value.items():
            if item is None:
                continue
            try:
                made[key] = each(item, element)
            except (ValueError, BaseValidationError) as exc:
                exc.add_note(IterableValidationNote("at", str(key), element))
                errors.append(exc)
        if errors:
            raise IterableValidationError("items", errors, hint)
        return made

    return items


@_converter.register_structure_hook_factory(attrs.has)
def _object_of(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:  # noqa: ANN401
    names = attrs.fields_dict(kind)
    renamed: Any = {name: override(rename=_camel(name)) for name in names}
    structured = make_dict_structure_fn(kind, converter, **renamed)
    keeps_wire = "wire" in names

    def make(value: Any, _: Any) -> Any:  # noqa: ANN401
        if type(value) is not dict:
            raise _WrongValueError(f"expected an object, found {_called(value)}")
        given = (
            {key: item for key, item in value.items() if item is not None}
            if None in value.values()
            else value
        )
        return structured({**given, "wire": value} if keeps_wire else given, kind)

    return make


def structured(raw: object, kind: type[T]) -> T | tuple[str, ...]:
    """Make `raw` into a `kind`, or list its problems, each with its path."""
    try:
        made: T = _converter.structure(raw, kind)
    except (ValueError, BaseValidationError) as exc:
        return tuple(sorted(_problems(exc, "$")))
    return made


def _problems(exc: BaseException, path: str) -> list[str]:
    """Flatten the tree of a validation error: one `path: what` for each leaf."""
    if isinstance(exc, BaseValidationError):
        return [line for child in exc.exceptions for line in _problems(child, path + _step(child))]
    if isinstance(exc, KeyError):
        return [f"{path}.{exc.args[0]}: required, not there"]
    if isinstance(exc, _WrongValueError):
        return [f"{path}: {exc}"]
    return [f"{path}: not what it should be"]


def _step(exc: BaseException) -> str:
    for note in exc.__notes__:
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]" if isinstance(note.index, int) else f".{note.index}"
        if isinstance(note, AttributeValidationNote) and not isinstance(exc, KeyError):
            return f".{_camel(note.name)}"
    return ""
