"""YAML as kubectl and the API server read it; imported only for content that is not JSON.

Rules of this module:

1. A document has the value that sigs.k8s.io/yaml gives it: go-yaml v2 resolves it by YAML 1.1 and
   a few rules of its own, and the value becomes JSON text that the server reads. So yes, no, on and
   off are booleans, 0o17 and 1e3 are numbers, 12:30 and times are text, a tag without a JSON type
   is ignored, and a merge key overwrites the keys before it. PyYAML parses; it resolves nothing.
2. Two equal keys in one mapping are an error, as with `kubectl --validate=strict`. A number that is
   not finite is one too, since JSON has none.
3. An error names line and column and quotes no content: the content may be a Secret's.

tests/operator/yaml_values.json holds what the server made of some hundred documents.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator
from datetime import date, time
from typing import Any, Final

import yaml
from attrs import field, frozen

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml: slower, otherwise the same
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

from captep_operator.command._numbers import NotFiniteError, go_float32, json_number

__all__ = ["BrokenYAMLError", "documents"]

_TAG: Final = "tag:yaml.org,2002:"
_STR, _BOOL, _INT = f"{_TAG}str", f"{_TAG}bool", f"{_TAG}int"
_FLOAT, _NULL, _TIMESTAMP = f"{_TAG}float", f"{_TAG}null", f"{_TAG}timestamp"
_BINARY, _MERGE = f"{_TAG}binary", f"{_TAG}merge"
_RESOLVABLE: Final = frozenset([None, _STR, _BOOL, _INT, _FLOAT, _NULL, _TIMESTAMP])
_WORDS: Final[dict[str, tuple[str, object]]] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"], (_BOOL, True)),
    **dict.fromkeys(["true", "True", "TRUE"], (_BOOL, True)),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "off", "Off", "OFF"], (_BOOL, False)),
    **dict.fromkeys(["false", "False", "FALSE"], (_BOOL, False)),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], (_NULL, None)),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], (_FLOAT, math.nan)),
    **dict.fromkeys([".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"], (_FLOAT, math.inf)),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], (_FLOAT, -math.inf)),
}
_NUMERIC: Final = frozenset("+-.0123456789")
_PREFIXED: Final = re.compile(
    r"([-+]?)(?:0[bB]([01]+)|0[oO]([0-7]+)|0[xX]([0-9a-fA-F]+)|0([0-7]+)|(0|[1-9][0-9]*))"
)
# What go-yaml adds after Go's own parser has failed: a sign behind the prefix.
_SIGNED_BINARY: Final = re.compile(r"0b([-+][01]+)")
_DECIMAL: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_DATE: Final = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)"
    r"(?:[Tt](\d\d?:\d\d?:\d\d?)(?:[.,]\d+)?(?:Z|[-+]\d\d:\d\d)|"
    r" (\d\d?:\d\d?:\d\d?)(?:[.,]\d+)?)?",
    re.ASCII,
)
_INT64: Final = range(-(2**63), 2**63)
_UINT64: Final = range(2**64)
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"]*"|['"].*""")
_TOKEN: Final = re.compile(r"""'(?:\W{1,3}|<[a-z ]+>)'""")
# A byte order mark may precede any document, as when files are concatenated.
_MARK: Final = re.compile(
    r"^\ufeff(?=---(?:\s|\Z))|(?<=^---\n)\ufeff|(?<=^---\r\n)\ufeff", re.MULTILINE
)


class BrokenYAMLError(Exception):
    """The text is not YAML that JSON can express; `line` and `column` count from 1.

    `is_syntax` is false when the text is YAML and one of its values is the problem.
    """

    def __init__(self, line: int, column: int, problem: str, *, is_syntax: bool = True) -> None:
        super().__init__(problem)
        self.line, self.column = line, column
        self.is_syntax = is_syntax


class _ValueProblem(yaml.MarkedYAMLError):
    """A value that JSON does not have, with its place."""


@frozen(eq=False)
class _Node:
    """A node of a document: text, nodes, pairs of nodes, or for an alias the node of its anchor."""

    mark: Any
    tag: str | None
    value: "str | list[_Node] | list[tuple[_Node, _Node]] | _Node" = field(repr=False)
    kind: str = "scalar"
    is_plain: bool = False


def documents(text: str, *, overflow: bool = True) -> Iterator[object]:
    """Yield the documents of `text` as JSON values; aliases share their value.

    `overflow` says whether a number beyond all floats is text, as it is in YAML; in JSON it is an
    error.

    Raises:
        BrokenYAMLError: at the first problem.
    """
    text = _MARK.sub("", text)
    try:
        for document in _composed(text):
            yield _Values(overflow=overflow).of(document)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise BrokenYAMLError(
            line,
            column,
            _unquoted(exc.problem or "unreadable"),
            is_syntax=not isinstance(exc, _ValueProblem),
        ) from None
    except yaml.reader.ReaderError as exc:
        # PyYAML counts in characters or, by libyaml, in bytes of UTF-8.
        before = text[: exc.position] if isinstance(exc.position, int) else ""
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise BrokenYAMLError(line, column, "a character that YAML does not allow") from None


def _unquoted(problem: str) -> str:
    """Replace quotations in the text of a problem by `(...)`, except punctuation."""
    return _QUOTED.sub(lambda found: found[0] if _TOKEN.fullmatch(found[0]) else "(...)", problem)


def _problem(node: _Node, text: str) -> _ValueProblem:
    return _ValueProblem(None, None, text, node.mark)


def _composed(text: str) -> Iterator[_Node]:
    """Yield the root node of each document. An anchor may be defined again: the latest counts."""
    events = yaml.parse(text, Loader=_Loader)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            yield _Composer(text, events).node(next(events))


class _Composer:
    """Makes nodes from the events of one document."""

    def __init__(self, text: str, events: Iterator[Any]) -> None:
        self._text, self._events = text, events
        self._anchors: dict[str, _Node] = {}

    def node(self, event: Any) -> _Node:  # noqa: ANN401 - an event of PyYAML
        """Return the node that begins with `event`."""
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                alias = _Node(event.start_mark, None, "")
                raise _problem(alias, "an alias without an anchor before it")
            return _Node(event.start_mark, None, self._anchors[event.anchor], "alias")
        tag, mark = event.tag, event.start_mark
        if isinstance(event, yaml.ScalarEvent):
            # libyaml hides the tag `!`, which makes text of any scalar.
            if tag is None and self._text.startswith("!", mark.index):
                tag = "!"
            return self._anchored(event, _Node(mark, tag, event.value, is_plain=event.implicit[0]))
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[_Node] = []
            node = self._anchored(event, _Node(mark, tag, items, "sequence"))
            items.extend(map(self.node, self._until(yaml.SequenceEndEvent)))
            return node
        pairs: list[tuple[_Node, _Node]] = []
        node = self._anchored(event, _Node(mark, tag, pairs, "mapping"))
        keys = map(self.node, self._until(yaml.MappingEndEvent))
        pairs.extend((key, self.node(next(self._events))) for key in keys)
        return node

    def _anchored(self, event: Any, node: _Node) -> _Node:  # noqa: ANN401
        # Before the content: an alias inside its own anchor then shows as what it is.
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _until(self, end: type) -> Iterator[Any]:
        return iter(lambda: self._next(end), None)

    def _next(self, end: type) -> Any:  # noqa: ANN401
        event = next(self._events)
        return None if isinstance(event, end) else event


class _Values:
    """The JSON values of the nodes of one document, each computed once."""

    def __init__(self, *, overflow: bool) -> None:
        self._overflow = overflow
        self._known: dict[_Node, object] = {}
        self._mappings: dict[_Node, dict[str, object]] = {}
        self._open: set[_Node] = set()

    def of(self, node: _Node) -> object:
        """Return the value of a node."""
        if node in self._known:
            return self._known[node]
        if node in self._open:
            raise _problem(node, "a recursive anchor: its content contains an alias to it")
        if isinstance(node.value, _Node):
            return self.of(node.value)
        self._open.add(node)
        make: Callable[[_Node], object] = {
            "scalar": self._scalar,
            "sequence": self._sequence,
            "mapping": self._mapping,
        }[node.kind]
        value = make(node)
        self._open.discard(node)
        self._known[node] = value
        return value

    def _sequence(self, node: _Node) -> list[object]:
        return [self.of(item) for item in _items(node)]

    def _mapping(self, node: _Node) -> dict[str, object]:
        own: set[str] = set()
        out: dict[str, object] = {}
        for key, value in _pairs(node):
            if _is_merge(key):
                for source in _merged(value):
                    self.of(source)
                    out.update(self._mappings[source])
                continue
            name = self._key(key)
            if name in own:
                raise _problem(key, "the same key twice in one mapping")
            own.add(name)
            out[name] = self.of(value)
        self._mappings[node] = out
        return out

    def _key(self, node: _Node) -> str:
        """Return a key as text: numbers and booleans become text, floats in Go's shortest form."""
        if isinstance(node.value, _Node):
            return self._key(node.value)
        if node.kind == "scalar":
            _, key = _resolved(node, overflow=self._overflow)
            match key:
                case str():
                    return key
                case bool():
                    return "true" if key else "false"
                case int() if key in _INT64:
                    return str(key)
                case float():
                    return go_float32(key)
                case _:
                    pass
        raise _problem(node, "a key that is not text")

    def _scalar(self, node: _Node) -> object:
        _, value = _resolved(node, overflow=self._overflow)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        try:
            return json_number(value)
        except NotFiniteError:
            raise _problem(node, "expected a finite number") from None


def _pairs(node: _Node) -> Iterator[tuple[_Node, _Node]]:
    if isinstance(node.value, list):
        for pair in node.value:
            if isinstance(pair, tuple):
                yield pair


def _items(node: _Node) -> list[_Node]:
    return (
        [item for item in node.value if isinstance(item, _Node)]
        if isinstance(node.value, list)
        else []
    )


def _is_merge(node: _Node) -> bool:
    return node.kind == "scalar" and node.value == "<<" and (node.is_plain or node.tag == _MERGE)


def _merged(node: _Node) -> Iterator[_Node]:
    """Yield the mappings of a merge key; of a sequence the last first, so that the first wins.

    The server takes aliases of mappings, and none of a sequence.
    """
    for source in reversed(_items(node)) if node.kind == "sequence" else [node]:
        mapping = source.value if isinstance(source.value, _Node) else source
        if mapping.kind != "mapping":
            raise _problem(source, "a merge key needs a mapping or a sequence of mappings")
        yield mapping


def _resolved(node: _Node, *, overflow: bool) -> tuple[str | None, object]:
    """Return the tag and the value of a scalar, as go-yaml v2's `resolve` does."""
    text = str(node.value)
    if node.tag is None and not node.is_plain:
        return _STR, text
    if node.tag == _BINARY:
        return _BINARY, _binary(node, text)
    if node.tag not in _RESOLVABLE or node.tag == _STR:
        return node.tag, text
    tag, value = _by_content(text, node.tag)
    if not overflow and tag == _STR and _DECIMAL.fullmatch(text):
        raise _problem(node, "expected a finite number")
    if node.tag == _FLOAT and tag == _INT and isinstance(value, int) and value in _INT64:
        return _FLOAT, float(value)
    if node.tag not in (None, tag):
        raise _problem(node, "a value that is not of the type of its tag")
    return tag, value


def _by_content(text: str, tag: str | None) -> tuple[str, object]:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return _STR, text
    if text[0] == ".":
        return _decimal(text, text)
    # Without the tag a time stays text, whether it is a possible one or not.
    if tag == _TIMESTAMP and _is_time(text):
        return _TIMESTAMP, text
    plain = text.replace("_", "")
    integer = _integer(plain)
    return (_INT, integer) if integer is not None else _decimal(plain, text)


def _integer(text: str) -> int | None:
    """Return an integer as Go's ParseInt and ParseUint with base 0 read it, else None."""
    found = _PREFIXED.fullmatch(text)
    if found is not None:
        digits = next(group for group in found.groups()[1:] if group is not None)
        base = (2, 8, 16, 8, 10)[found.lastindex - 2] if found.lastindex else 10
        # More digits than any 64-bit number has; Python refuses to convert thousands of them.
        if len(digits.lstrip("0")) > 64:
            return None
        value = int(found[1] + digits, base)
        return value if value in _INT64 or (not found[1] and value in _UINT64) else None
    signed = _SIGNED_BINARY.fullmatch(text)
    return int(signed[1], 2) if signed else None


def _decimal(text: str, original: str) -> tuple[str, object]:
    """Return a decimal number; one beyond all floats is text, as Go's ParseFloat refuses it."""
    if _DECIMAL.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return _FLOAT, number
    return _STR, original


def _is_time(text: str) -> bool:
    found = _DATE.fullmatch(text)
    if found is None:
        return False
    year, month, day, zoned, local = found.groups()
    try:
        # Python has no year 0, which is a leap year as 2000 is.
        date(int(year) or 2000, int(month), int(day))
        hour, minute, second = map(int, (zoned or local or "0:0:0").split(":"))
        time(hour, minute, second)
    except ValueError:
        return False
    return True


def _binary(node: _Node, text: str) -> str:
    """Return the text that base64 encodes; Go skips line breaks in it."""
    try:
        content = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        raise _problem(node, "not base64, as the tag says") from None
    return content.decode("utf-8", "replace")
