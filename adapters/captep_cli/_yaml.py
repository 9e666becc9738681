"""YAML as kubectl reads it, by PyYAML; imported only for content that is not JSON.

Rules of this module:

1. Plain scalars have the types that kubectl gives them (sigs.k8s.io/yaml): yes, no, on and off are
   booleans, 0o17 and 1e3 are numbers, 12:30 and times are text.
2. A value that JSON cannot express is an error: two equal keys in a mapping, a number that is not
   finite, a tag of another type.
3. An error names line and column and quotes no content: the content may be a Secret's.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import yaml

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml: slower, otherwise the same
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

from captep_cli._errors import InputError

__all__ = ["documents"]

_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"
_TRUE: Final = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE: Final = frozenset(
    ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"]
)
_INTEGER: Final = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"]*"|['"].*""")
_TOKEN: Final = re.compile(r"""'(?:\W{1,3}|<[a-z ]+>)'""")


class _Loader(_SafeLoader):
    """PyYAML's safe loader with kubectl's scalars and without its own types."""

    # PyYAML's type stubs declare no ClassVar.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}


def documents(text: str, where: str) -> Iterator[object]:
    """Yield the documents of `text` as JSON values.

    Raises:
        InputError: with line and column.
    """
    try:
        yield from yaml.load_all(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "an unknown place"
        raise InputError(
            f"{where}: broken YAML at {place}: {_unquoted(exc.problem or 'cannot be read')}"
        ) from None
    except yaml.reader.ReaderError as exc:
        before = text[: exc.position] if isinstance(exc.position, int) else ""
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise InputError(
            f"{where}: broken YAML at line {line}, column {column}:"
            " a character that YAML does not allow"
        ) from None


def _unquoted(problem: str) -> str:
    """Replace quotations in the text of a problem by `(...)`, except punctuation."""
    return _QUOTED.sub(lambda found: found[0] if _TOKEN.fullmatch(found[0]) else "(...)", problem)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    own: set[str] = set()
    for key, _ in node.value:
        if key.tag != _MERGE:
            name = _key(loader, key)
            if name in own:
                raise yaml.constructor.ConstructorError(
                    None, None, "the same key twice in one mapping", key.start_mark
                )
            own.add(name)
    loader.flatten_mapping(node)
    return {
        _key(loader, key): loader.construct_object(value, deep=True) for key, value in node.value
    }


def _key(loader: _Loader, node: yaml.Node) -> str:
    """Return a key as kubectl does: numbers and booleans become text."""
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(
            None, None, "a key that is not text", node.start_mark
        )
    key = loader.construct_object(node)
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int | float):
        return str(key)
    if not isinstance(key, str):
        raise yaml.constructor.ConstructorError(
            None, None, "a key that is not text", node.start_mark
        )
    return key


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return [loader.construct_object(item, deep=True) for item in node.value]


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


def _boolean(loader: _Loader, node: yaml.ScalarNode) -> bool:
    value = loader.construct_scalar(node)
    if value not in _TRUE | _FALSE:
        raise yaml.constructor.ConstructorError(None, None, "expected a boolean", node.start_mark)
    return value in _TRUE


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node))
    try:
        return _integer(text) if _INTEGER.fullmatch(text) else _finite(text)
    except ValueError:
        raise yaml.constructor.ConstructorError(
            None, None, "expected a finite number", node.start_mark
        ) from None


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    return int(f"{octal[1]}0o{octal[2]}", 0) if octal else int(digits, 0)


def _finite(text: str) -> int | float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    # kubectl reads 012345678901, which is no octal number, as a decimal one.
    return int(text) if text.lstrip("+-").isdigit() else number


def _null(loader: _Loader, node: yaml.ScalarNode) -> None:
    loader.construct_scalar(node)


def _other(_: _Loader, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(
        None, None, "a tag that JSON has no type for", node.start_mark
    )


for _name, _pattern, _first in (
    ("bool", re.compile("(?:" + "|".join(sorted(_TRUE | _FALSE)) + r")\Z"), "yYnNtTfFoO"),
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("int", re.compile(rf"(?:{_INTEGER.pattern})\Z"), "-+0123456789"),
    ("float", re.compile(rf"(?:{_FLOAT.pattern})\Z"), "-+.0123456789"),
    ("merge", re.compile(r"(?:<<)\Z"), "<"),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", _pattern, list(_first))
for _kind, _constructor in (
    ("map", _mapping),
    ("seq", _sequence),
    ("str", _text),
    ("merge", _text),
    ("timestamp", _text),
    ("bool", _boolean),
    ("int", _number),
    ("float", _number),
    ("null", _null),
):
    _Loader.add_constructor(f"{_TAG}{_kind}", _constructor)
_Loader.add_constructor(None, _other)
