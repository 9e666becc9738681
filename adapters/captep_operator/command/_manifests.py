"""Reads the objects of a world from files: YAML or JSON, by content and not by file name."""

import base64
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeGuard

from attrs import evolve, frozen

from captep_operator.command._errors import InputError, suggestion
from captep_operator.command._numbers import NotFiniteError, float_text, integer_text

__all__ = ["Manifest", "read_manifests"]

Object: TypeAlias = dict[str, Any]
# White space of JSON, lines that separate documents, and a byte order mark before a document.
_SEPARATOR: Final = re.compile(r"(?:[ \t\r\n\ufeff]+|^---[ \t]*(?:\r?\n|\Z))*", re.MULTILINE)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_DEPTH: Final = 100
"""A CustomResourceDefinition with a deep schema nests some 40 levels, a hostile file thousands."""
_MAX_NODES: Final = 5_000_000
"""Room for some 10,000 control planes with all their objects."""


@frozen
class Manifest:
    """One object and its place in the files."""

    where: str
    object: Object

    def __repr__(self) -> str:
        """Show the place alone: the object may be a Secret."""
        return f"Manifest({self.where})"


def _none_is_namespaced(_group: str, _kind: str) -> bool:
    return False


def read_manifests(
    files: Iterable[str], is_namespaced: Callable[[str, str], bool] = _none_is_namespaced
) -> list[Manifest]:
    """Read all objects of all files; `-` is standard input.

    An object without a namespace is in `default` where its kind is namespaced: `is_namespaced`
    says so of a group and a kind that the files do not define.

    Raises:
        InputError: a file is missing, broken or not UTF-8, or holds an object twice or something
            other than objects.
    """
    read = [manifest for file in files for manifest in _manifests(file)]
    defined = dict(_defined_scopes(read))

    def placed(manifest: Manifest) -> Manifest:
        obj = manifest.object
        group, kind = obj["apiVersion"].rpartition("/")[0], obj["kind"]
        if defined.get((group, kind), is_namespaced(group, kind)):
            return evolve(manifest, object=_in_default(obj))
        return manifest

    found = [placed(manifest) for manifest in read]
    seen: dict[tuple[str, str, str, str], str] = {}
    for manifest in found:
        identity = _identity(manifest)
        if identity in seen:
            _, kind, namespace, name = identity
            raise InputError(
                f"{manifest.where}: {kind} {namespace}/{name} is there twice,"
                f" first in {seen[identity]}; expected each object once"
            )
        seen[identity] = manifest.where
    return found


def _manifests(file: str) -> Iterator[Manifest]:
    name = "standard input" if file == "-" else file
    text = _read(file, name)
    for number, document in enumerate(_documents(text, name), start=1):
        where = f"{name}, document {number}"
        for place, obj in _unfolded(document, where):
            yield Manifest(place, _encoded_once(_checked(obj, place)))


def _read(file: str, name: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise InputError(
            f"{name}: cannot be read: {why}; expected a file of YAML or JSON{_similar(Path(file))}"
        ) from None
    except ValueError:
        raise InputError(f"{name!r}: cannot be the name of a file") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise InputError(
            f"{name}: not UTF-8 at line {line}, byte {exc.start + 1} of the file;"
            " expected YAML or JSON in UTF-8"
        ) from None


def _similar(file: Path) -> str:
    """Suggest a file of the same folder for one that does not exist."""
    try:
        there = [path.name for path in file.parent.iterdir()]
    except OSError:
        return ""
    return "" if file.name in there else suggestion(file.name, there)


def _documents(text: str, name: str) -> list[object]:
    """Return the documents of a file as JSON values of bounded size."""
    try:
        budget = _Budget(name)
        return [budget.spend(document) for document in _parsed(text, name)]
    except RecursionError:
        raise InputError(
            f"{name}: nested too deeply; expected at most {_MAX_DEPTH} levels"
        ) from None


def _parsed(text: str, name: str) -> Iterator[object]:
    """Yield JSON documents, with or without `---` between them, and from the first other one YAML.

    Broken JSON goes through the YAML parser too: it may be YAML, and duplicate keys and endless
    numbers have no position in the errors of the JSON parser.

    Raises:
        InputError: the text is neither, or it is YAML and PyYAML is not installed.
    """
    end = 0
    while text.startswith(("{", "["), start := _skip(text, end)):
        try:
            document, behind = _JSON.raw_decode(text, start)
        except ValueError as exc:
            yield from _yaml_documents(text, end, name, exc)
            return
        yield document
        end = behind
    if start < len(text):
        yield from _yaml_documents(text, end, name, None)


def _skip(text: str, position: int) -> int:
    found = _SEPARATOR.match(text, position)
    return found.end() if found else position


def _distinct(pairs: list[tuple[str, Any]]) -> Object:
    obj = dict(pairs)
    if len(obj) != len(pairs):
        raise ValueError("the same key twice in one object")
    return obj


def _no_json(_: str) -> float:
    raise ValueError("NaN and Infinity are not JSON")


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_distinct,
    parse_constant=_no_json,
    parse_float=float_text,
    parse_int=integer_text,
)


def _yaml_documents(
    text: str, start: int, name: str, json_error: ValueError | None
) -> Iterator[object]:
    """Yield the YAML documents from `start` on, which are no JSON because of `json_error`."""
    try:
        from captep_operator.command import _yaml  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as exc:
        if exc.name != "yaml":
            raise
        problem = "" if json_error is None else f": {json_error}"
        raise InputError(
            f"{name}: not JSON{problem}; to read YAML, install PyYAML (pip install 'captep[cli]')"
        ) from None
    try:
        overflow = not isinstance(json_error, NotFiniteError)
        yield from _yaml.documents(text[start:], overflow=overflow)
    except _yaml.BrokenYAMLError as exc:
        line, column = _absolute(text, start, exc.line, exc.column)
        if exc.is_syntax and _understood_more(json_error, text[start:], line):
            raise InputError(
                f"{name}: broken JSON at line {json_error.lineno}, column {json_error.colno}:"
                f" {json_error.msg}"
            ) from None
        raise InputError(f"{name}: broken YAML at line {line}, column {column}: {exc}") from None


def _understood_more(
    json_error: ValueError | None, text: str, line: int
) -> TypeGuard[json.JSONDecodeError]:
    """Whether the JSON parser came as far as `line`, and beyond the first bracket.

    YAML takes a missing comma for a line break inside a text, and so it often comes a little
    further on the same line.
    """
    if not isinstance(json_error, json.JSONDecodeError) or json_error.lineno < line:
        return False
    parsed = json_error.doc[: json_error.pos]
    return parsed[len(json_error.doc) - len(text) :].strip() not in ("{", "[")


def _absolute(text: str, start: int, line: int, column: int) -> tuple[int, int]:
    """Return line and column in `text` of a place in the part from `start` on."""
    if line == 1:
        column += start - (text.rfind("\n", 0, start) + 1)
    return line + text.count("\n", 0, start), column


class _Budget:
    """Copies JSON and counts values: a YAML alias may expand beyond memory or contain itself."""

    def __init__(self, name: str) -> None:
        self._name, self._left = name, _MAX_NODES

    def spend(self, value: object, depth: int = 0) -> object:
        """Return a copy of `value` that shares no part with it.

        Raises:
            InputError: the value is nested too deeply or too large.
        """
        self._left -= 1
        if depth > _MAX_DEPTH:
            raise InputError(
                f"{self._name}: nested too deeply; expected at most {_MAX_DEPTH} levels"
            )
        if self._left < 0:
            raise InputError(f"{self._name}: too large; expected at most {_MAX_NODES} values")
        if isinstance(value, str):
            return _valid(value)
        if isinstance(value, dict):
            return {_valid(key): self.spend(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.spend(item, depth + 1) for item in value]
        return value


def _valid(text: str) -> str:
    """Return `text` as Go decodes it from JSON: half a surrogate pair becomes U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _unfolded(document: object, where: str) -> Iterator[tuple[str, object]]:
    """Yield the objects of a document with their places: the document itself, or a list's items.

    A list has a kind that ends in `List`, as `List` itself or `SecretList`. Items without kind and
    apiVersion, as the API server sends them, take both from the list.
    """
    if document is None:
        return
    kind = _list_kind(document)
    if not isinstance(document, dict) or kind is None:
        yield where, document
        return
    items = document.get("items")
    if not isinstance(items, list | None):
        raise InputError(f"{where}: items of a {kind}List: expected a list")
    for index, item in enumerate(items or ()):
        if kind and isinstance(item, dict) and not item.get("kind") and not item.get("apiVersion"):
            item = {**item, "apiVersion": document.get("apiVersion"), "kind": kind}  # noqa: PLW2901
        yield from _unfolded(item, f"{where}, item {index + 1}")


def _list_kind(document: object) -> str | None:
    """Return the kind of a list's items, empty for `List` itself, and None for any other object."""
    if not isinstance(document, dict):
        return None
    kind = document.get("kind")
    if not isinstance(kind, str) or not kind.endswith("List"):
        return None
    # A custom kind may end in List too: an object of it has a name, and no items.
    metadata = document.get("metadata")
    is_named = isinstance(metadata, dict) and bool(metadata.get("name"))
    if kind != "List" and is_named and not isinstance(document.get("items"), list):
        return None
    return kind.removesuffix("List")


def _checked(obj: object, where: str) -> Object:
    if not isinstance(obj, dict):
        raise InputError(
            f"{where}: not an object; expected a mapping with apiVersion, kind and metadata.name"
        )
    metadata = obj.get("metadata")
    identity = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "metadata.name": metadata.get("name") if isinstance(metadata, dict) else None,
    }
    wrong = [name for name, value in identity.items() if not (isinstance(value, str) and value)]
    if wrong:
        raise InputError(f"{where}: an object without {' and '.join(wrong)}; expected text")
    return obj


def _defined_scopes(manifests: Iterable[Manifest]) -> Iterator[tuple[tuple[str, str], bool]]:
    """Yield whether a kind is namespaced, by group and name, for each definition in the files."""
    for manifest in manifests:
        obj = manifest.object
        spec = obj.get("spec") if obj["kind"] == "CustomResourceDefinition" else None
        names = spec.get("names") if isinstance(spec, dict) else None
        if not isinstance(spec, dict) or not isinstance(names, dict):
            continue
        group, kind = spec.get("group"), names.get("kind")
        if isinstance(group, str) and isinstance(kind, str):
            yield (group, kind), spec.get("scope") == "Namespaced"


def _in_default(obj: Object) -> Object:
    """Put an object without a namespace into `default`."""
    if obj["metadata"].get("namespace"):
        return obj
    return {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}


def _encoded_once(obj: Object) -> Object:
    """Encode the bytes of a Secret or ConfigMap as the server stores them.

    The server skips line breaks inside base64 and encodes the bytes again, without them.
    """
    name = {"Secret": "data", "ConfigMap": "binaryData"}.get(obj["kind"])
    if name is None or obj["apiVersion"] != "v1":
        return obj
    values = obj.get(name)
    if not isinstance(values, dict):
        return obj
    return {**obj, name: {key: _base64(value) for key, value in values.items()}}


def _base64(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        content = base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        return value
    return base64.b64encode(content).decode()


def _identity(manifest: Manifest) -> tuple[str, str, str, str]:
    obj = manifest.object
    namespace = obj["metadata"].get("namespace") or ""
    return (
        obj["apiVersion"].rpartition("/")[0],
        obj["kind"],
        namespace if isinstance(namespace, str) else "",
        obj["metadata"]["name"],
    )
