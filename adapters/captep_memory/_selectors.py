"""Label and field selectors (rows R5 and A1)."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from captep_memory._json import Object
from captep_memory._kinds import ServedKind
from captep_memory._names import label_value, qualified_name
from captep_memory._request import Request
from captep_memory._status import RefusedError, bad_request

__all__ = ["Selector", "check_selectors", "selector_of"]

Selector: TypeAlias = Callable[[Object], bool]

# Longer operators first. White space separates and means nothing.
_TOKEN = re.compile(r"[ \t\r\n]*(?P<word>==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+|$)")
_OPERATORS = ("in", "notin", "=", "==", "!=", ">", "<")
_SYMBOLS = frozenset("=!(),<>") | {"==", "!=", ""}
_FIELD_OPERATORS = ("!=", "==", "=")
_EVENT_FIELDS = (
    *(
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
    ),
    *(
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
)


def check_selectors(request: Request) -> None:
    """Refuse selectors that do not parse, which the real server does before it looks at options.

    Raises:
        RefusedError: 400.
    """
    _label_terms(request.label_selector)
    for part in _field_texts(request.field_selector):
        _field_parts(part, request.field_selector)


def selector_of(request: Request, resource: ServedKind) -> Selector | None:
    """Return the predicate that a request selects with, None when it selects everything.

    Raises:
        RefusedError: 400, a selector has a syntax error or names a field without an index.
    """
    labels = _label_terms(request.label_selector)
    fields = _field_terms(request.field_selector, resource)
    if not labels and not fields:
        return None

    def selects(obj: Object) -> bool:
        found: Mapping[str, str] = obj["metadata"].get("labels", {})
        return all(term(found) for term in labels) and all(term(obj) for term in fields)

    return selects


_Term: TypeAlias = Callable[[Mapping[str, Any]], bool]


class _Tokens:
    """The tokens of a label selector; the end is the empty word for ever."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))

    def peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def take(self) -> str:
        return self._tokens.pop(0) if self._tokens else ""


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while match := _TOKEN.match(text, position):
        if not match["word"]:
            return
        yield match["word"]
        position = match.end()


def _label_terms(selector: str) -> list[_Term]:
    """Parse `key`, `!key`, `key=value`, `key in (a,b)`, `key > 1`, ..., joined by commas."""
    tokens = _Tokens(selector)
    terms: list[_Term] = []
    while word := tokens.peek():
        if word in _SYMBOLS and word != "!":
            raise _unexpected(word, "!, identifier, or 'end of string'")
        try:
            terms.append(_label_term(tokens))
        except _RequirementError as error:
            raise bad_request(f"unable to parse requirement: {error}") from error
        word = tokens.take()
        if word not in (",", ""):
            raise _unexpected(word, "',' or 'end of string'")
        after = tokens.peek()
        if word == "," and (after in _SYMBOLS and after != "!"):
            raise _unexpected(after, "identifier after ','")
    return terms


class _RequirementError(ValueError):
    """One requirement of a selector is malformed."""


def _unexpected(word: str, expected: str) -> RefusedError:
    return bad_request(f"found '{word}', expected: {expected}")


def _identifier(tokens: _Tokens) -> str:
    word = tokens.take()
    if word in _SYMBOLS:
        raise _RequirementError(f"found '{word}', expected: identifier")
    return word


def _label_term(tokens: _Tokens) -> _Term:
    absent = tokens.peek() == "!"
    if absent:
        tokens.take()
    key = _identifier(tokens)
    for problem in qualified_name(key):
        raise _RequirementError(f'<nil>: Invalid value: "{key}": {problem}')
    if absent:
        return lambda labels: key not in labels
    if tokens.peek() in ("", ","):
        return lambda labels: key in labels
    operator = tokens.take()
    if operator not in _OPERATORS:
        expected = "in, notin, =, ==, !=, gt, lt"
        raise _RequirementError(f"found '{operator}', expected: {expected}")
    if operator in ("in", "notin"):
        values = _values(tokens)
        _check_values(key, values)
        is_in = operator == "in"
        return lambda labels: (labels.get(key) in values) is is_in
    return _comparison(key, operator, tokens)


def _values(tokens: _Tokens) -> list[str]:
    """Parse `(a,b)`; an empty place is the empty value."""
    if (word := tokens.take()) != "(":
        raise _RequirementError(f"found '{word}' expected: '('")
    values: list[str] = []
    expects_value = True
    while (word := tokens.take()) != ")":
        if word == ",":
            values += [""] if expects_value else []
            expects_value = True
        elif word in _SYMBOLS or not expects_value:
            raise _RequirementError(f"found '{word}', expected: ',' or ')'")
        else:
            values.append(word)
            expects_value = False
    return [*values, ""] if expects_value else values


def _check_values(key: str, values: list[str]) -> None:
    for index, value in enumerate(values):
        for problem in label_value(value):
            raise _RequirementError(f'values[{index}][{key}]: Invalid value: "{value}": {problem}')


def _comparison(key: str, operator: str, tokens: _Tokens) -> _Term:
    value = "" if tokens.peek() in ("", ",") else _identifier(tokens)
    if operator in (">", "<"):
        return _ordered(key, operator, value)
    _check_values(key, [value])
    is_equal = operator != "!="
    return lambda labels: (labels.get(key) == value) is is_equal


def _ordered(key: str, operator: str, value: str) -> _Term:
    bound = _integer(value)
    if bound is None:
        problem = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise _RequirementError(f'values[0]: Invalid value: "{value}": {problem}')
    limit = bound

    def compares(labels: Mapping[str, Any]) -> bool:
        found = _integer(labels.get(key, ""))
        if found is None:
            return False
        return found > limit if operator == ">" else found < limit

    return compares


def _integer(text: str) -> int | None:
    """Parse an int64 as Go's strconv does."""
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text, re.ASCII):
        return None
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else None


def _field_terms(selector: str, resource: ServedKind) -> list[_Term]:
    terms: list[_Term] = []
    for part in _field_texts(selector):
        key, operator, value = _field_parts(part, selector)
        if not key and not value:
            continue
        if key not in _selectable(resource):
            raise bad_request(f"field label not supported: {key}")
        terms.append(_compare(_reader(key), operator, value))
    return terms


def _field_texts(selector: str) -> Iterator[str]:
    return filter(None, re.split(r"(?<!\\),", selector))


def _field_parts(part: str, selector: str) -> tuple[str, str, str]:
    position = next((at for at, character in enumerate(part) if character in "!="), len(part))
    operator = next((each for each in _FIELD_OPERATORS if part.startswith(each, position)), "")
    if not operator:
        raise bad_request(f"invalid selector: '{selector}'; can't understand '{part}'")
    return part[:position], operator, _unescaped(part[position + len(operator) :])


def _unescaped(value: str) -> str:
    characters = iter(value)
    plain = ""
    for character in characters:
        if character == "=":
            code = ord(character)
            raise bad_request(f"invalid field selector: unescaped character in value: {code}")
        if character == "\\":
            character = next(characters, "")  # noqa: PLW2901 - the escaped one counts
            if character not in ("\\", ",", "="):
                raise bad_request(f"invalid field selector: invalid escape sequence: \\{character}")
        plain += character
    return plain


def _compare(get: Callable[[Mapping[str, Any]], object], operator: str, value: str) -> _Term:
    is_equal = operator != "!="
    return lambda target: (get(target) == value) is is_equal


def _selectable(resource: ServedKind) -> tuple[str, ...]:
    if resource.built_in:
        own = {"Secret": ("type",), "Event": _EVENT_FIELDS}.get(resource.kind, ())
    else:
        own = resource.selectable
    namespaced = () if resource.scope == "Cluster" else ("metadata.namespace",)
    return ("metadata.name", *namespaced, *own)


def _reader(path: str) -> Callable[[Mapping[str, Any]], object]:
    def read(obj: Mapping[str, Any]) -> object:
        value: Any = obj
        for name in path.split("."):
            value = value.get(name, "") if isinstance(value, dict) else ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if not isinstance(value, dict) else value.get("component", "")

    return read
