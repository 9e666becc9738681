"""Reads the objects of a world from files: YAML or JSON, by content and not by file name."""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import frozen

from captep_cli._errors import InputError, suggestion

__all__ = ["Manifest", "read_manifests"]

Object: TypeAlias = dict[str, Any]
_SEPARATOR: Final = re.compile(r"\s*(?:^---[ \t]*(?:\r?\n|\Z)\s*)*", re.MULTILINE)
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


def read_manifests(files: Iterable[str]) -> list[Manifest]:
    """Read all objects of all files; `-` is standard input.

    Raises:
        InputError: a file is missing, broken or not UTF-8, or holds an object twice or something
            other than objects.
    """
    found = [manifest for file in files for manifest in _manifests(file)]
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
            yield Manifest(place, _default_namespace(_checked(obj, place)))


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
        return [
            budget.spend(document)
            for document in _json_documents(text) or _yaml_documents(text, name)
        ]
    except RecursionError:
        raise InputError(
            f"{name}: nested too deeply; expected at most {_MAX_DEPTH} levels"
        ) from None


def _json_documents(text: str) -> list[object] | None:
    """Read JSON documents, with or without `---` between them; None if the text is not JSON."""
    if not text.lstrip("-\n\r \t").startswith(("{", "[")):
        return None
    decoder = json.JSONDecoder(
        object_pairs_hook=_distinct, parse_constant=_not_finite, parse_float=_finite
    )
    documents: list[object] = []
    position = _skip(text, 0)
    try:
        while position < len(text):
            document, position = decoder.raw_decode(text, position)
            documents.append(document)
            position = _skip(text, position)
    except ValueError:
        return None
    return documents


def _skip(text: str, position: int) -> int:
    found = _SEPARATOR.match(text, position)
    return found.end() if found else position


def _distinct(pairs: list[tuple[str, Any]]) -> Object:
    obj = dict(pairs)
    if len(obj) != len(pairs):
        raise ValueError("the same key twice in one object")
    return obj


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number that is not finite")
    return number


def _not_finite(_: str) -> float:
    raise ValueError("a number that is not finite")


def _yaml_documents(text: str, name: str) -> Iterator[object]:
    """Read YAML. Broken JSON comes here too: YAML's errors name line and column.

    Raises:
        InputError: the text is broken, or PyYAML is not installed.
    """
    try:
        from captep_cli import _yaml  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as exc:
        if exc.name != "yaml":
            raise
        raise InputError(
            f"{name}: {_json_problem(text)};"
            " to read YAML, install PyYAML (pip install 'captep[cli]')"
        ) from None
    return _yaml.documents(text, name)


def _json_problem(text: str) -> str:
    try:
        json.loads(text, object_pairs_hook=_distinct, parse_constant=_not_finite)
    except json.JSONDecodeError as exc:
        return f"not JSON at line {exc.lineno}, column {exc.colno}: {exc.msg}"
    except ValueError as exc:
        return f"not JSON: {exc}"
    return "not JSON"


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
        if isinstance(value, dict):
            return {key: self.spend(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.spend(item, depth + 1) for item in value]
        return value


def _unfolded(document: object, where: str) -> Iterator[tuple[str, object]]:
    """Yield the objects of a document with their places: the document itself, or a List's items."""
    if document is None:
        return
    if isinstance(document, dict) and document.get("kind") == "List":
        items = document.get("items")
        if not isinstance(items, list | None):
            raise InputError(f"{where}: items of a List: expected a list")
        for index, item in enumerate(items or ()):
            yield from _unfolded(item, f"{where}, item {index + 1}")
        return
    yield where, document


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


def _default_namespace(obj: Object) -> Object:
    """Put an object of Cluster API without a namespace into `default`.

    All kinds of Cluster API are namespaced; the scope of other kinds is unknown here.
    """
    group = obj["apiVersion"].rpartition("/")[0]
    if obj["metadata"].get("namespace") or not f".{group}".endswith(".cluster.x-k8s.io"):
        return obj
    return {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}


def _identity(manifest: Manifest) -> tuple[str, str, str, str]:
    obj = manifest.object
    namespace = obj["metadata"].get("namespace") or ""
    return (
        obj["apiVersion"].rpartition("/")[0],
        obj["kind"],
        namespace if isinstance(namespace, str) else "",
        obj["metadata"]["name"],
    )
