"""Kubernetes JSON made into the model, strictly; the only place that knows cattrs, and the only one where Any is at home.

Rules of this module:

1. Nothing is coerced: a string where a number is expected is a problem, not a number.
2. All problems of an object are told at once, each with its path; a value is never quoted, it may be a Secret's.
3. null and absent are the same. Fields that are not modelled are passed over; list entries that go back to the server keep all they came
   with.
"""

import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, get_type_hints

import attrs
from cattrs import Converter
from cattrs.errors import AttributeValidationNote, BaseValidationError, IterableValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from captep_core._actions import JSON
from captep_core._model import (
    CAPTControlPlane,
    WorkspaceState,
)
from captep_core._observation import Absent, Observed, Unreadable
from captep_core.errors import WireError

__all__ = ["instant", "observed", "problems", "rfc3339", "structure"]

T = TypeVar("T", bound=attrs.AttrsInstance)
"""Any of the kinds of the model: CAPTControlPlane, Cluster, Secret, Workspace, WorkspaceTemplate, WorkspaceTemplateApply."""


class _WrongValueError(ValueError):
    """What is wrong with one value, without the value."""


def _strict(kind: type, called: str) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:  # noqa: ANN401 - whatever the wire holds
        if type(value) is not kind:
            raise _WrongValueError(f"expected {called}, found {_called(value)}")
        return value

    return check


def _called(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
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
_converter.register_structure_hook(str, _strict(str, "a string"))
_converter.register_structure_hook(bool, _strict(bool, "a boolean"))
_converter.register_structure_hook(int, _integer)
_converter.register_structure_hook(bytes, _bytes)
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


@_converter.register_structure_hook_factory(lambda hint: getattr(hint, "__origin__", None) is Mapping)
def _mapping_of(hint: Any, converter: Converter) -> Callable[[Any, Any], Mapping[str, Any]]:  # noqa: ANN401
    element = hint.__args__[1]
    each = converter.get_structure_hook(element)

    def items(value: Any, _: Any) -> Mapping[str, Any]:  # noqa: ANN401
        if type(value) is not dict:
            raise _WrongValueError(f"expected an object, found {_called(value)}")
        made, errors = {}, []
        for key, item in value.items():
            if item is None and element not in _JSON_HINTS:
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
        given = {key: item for key, item in value.items() if item is not None} if None in value.values() else value
        return structured({**given, "wire": value} if keeps_wire else given, kind)

    return make


def structure(raw: object, kind: type[T]) -> T:
    """Make the JSON of one object into its class.

    Raises:
        WireError: it does not have that shape; every problem is named, with its path.
    """
    try:
        made: T = _converter.structure(raw, kind)
    except (ValueError, BaseValidationError) as exc:
        raise WireError(_identity(raw, kind), tuple(sorted(_problems(exc, "$")))) from None
    return made


def observed(raw: Observed[dict[str, JSON]], kind: type[T]) -> Observed[T]:
    """Make what was read into what is observed: a malformed object is an unreadable one."""
    if isinstance(raw, Absent | Unreadable):
        return raw
    try:
        return structure(raw, kind)
    except WireError as exc:
        return Unreadable("Malformed", "; ".join(exc.problems))


def problems(raw: object) -> tuple[str, ...]:
    """List all that is wrong with the JSON of a control plane, each problem with its path; empty when it is well-formed."""
    try:
        structure(raw, CAPTControlPlane)
    except WireError as exc:
        return exc.problems
    return ()


def _identity(raw: object, kind: type) -> str:
    metadata = raw.get("metadata") if isinstance(raw, dict) else None
    name, namespace = (metadata.get(key) for key in ("name", "namespace")) if isinstance(metadata, dict) else (None, None)
    return f"{kind.__name__} {namespace}/{name}" if namespace else f"{kind.__name__} {name}"


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
    for note in getattr(exc, "__notes__", ()):
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]" if isinstance(note.index, int) else f".{note.index}"
        if isinstance(note, AttributeValidationNote) and not isinstance(exc, KeyError):
            return f".{_camel(note.name)}"
    return ""


def instant(text: str) -> datetime | None:
    """Parse a time as Kubernetes (RFC 3339) or Go's `time.String()` writes it; None when it is no time of the years 1 to 9999."""
    words = text.split()
    if len(words) >= 3:
        text = "".join((words[0], "T", words[1], words[2]))
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


def rfc3339(moment: datetime) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
