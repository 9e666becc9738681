"""The files of a kubeconfig as mappings, whose fields are read with their type and never converted.

Errors name the file and the field, and quote no value that may be secret.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import yaml
from attrs import field, frozen

from captep_core.errors import GatewayError
from captep_kubernetes._settings import Material, is_unicode

__all__ = ["Node", "check_header", "kind_of", "read_document"]


@frozen
class Node:
    """One mapping of a file, and its path there."""

    file: Path
    path: str
    value: Mapping[str, object] = field(repr=False)

    @property
    def where(self) -> str:
        return f"{self.file}: {self.path}"

    def at(self, name: str) -> str:
        return f"{self.where}.{name}"

    def check(self, known: Iterable[str]) -> None:
        for name in self.value:
            if name not in known:
                raise GatewayError(f"{self.at(str(name))}: an unknown field: remove it")

    def text(self, name: str) -> str:
        value = self.value.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise GatewayError(f"{self.at(name)}: expected a string, found {kind_of(value)}")
        return value

    def header(self, name: str) -> str:
        """Return a text that travels in a header, without white space around it."""
        text = self.text(name)
        value = text.strip()
        if text and not value:
            # Taken for a missing `as`, it would give the requests the rights of the user itself.
            raise GatewayError(f"{self.at(name)}: expected more than white space")
        check_header(self.at(name), value)
        return value

    def flag(self, name: str) -> bool:
        value = self.value.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise GatewayError(f"{self.at(name)}: expected true or false, found {kind_of(value)}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return _texts(self.at(name), self.value.get(name))

    def data(self, name: str) -> bytes:
        given = self.text(name)
        text = "".join(given.split())
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise GatewayError(f"{self.at(name)}: expected base64") from None
        if given and not data.strip():
            raise GatewayError(f"{self.at(name)}: expected PEM, found white space")
        return data

    def file_path(self, name: str) -> Path | None:
        text = self.text(name)
        # Relative paths count from the kubeconfig's folder, as in kubectl.
        return self.file.parent / text if text else None

    def material(self, name: str) -> Material | None:
        """Return the field `name` or `name`-data; both at once are an error, as in kubectl."""
        path = self.file_path(name)
        data = self.data(f"{name}-data")
        if path is not None and data:
            raise GatewayError(f"{self.at(name)}: {name}-data is there too: remove one of them")
        if path is not None:
            return Material(self.at(name), path)
        return Material(self.at(f"{name}-data"), None, data) if data else None

    def node(self, name: str) -> "Node | None":
        value = self.value.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise GatewayError(f"{self.at(name)}: expected a mapping, found {kind_of(value)}")
        return Node(self.file, f"{self.path}.{name}", value)


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: no dates, and no key twice in a mapping."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[object, object]:
    loader.flatten_mapping(node)
    keys = [loader.construct_object(key) for key, _ in node.value]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is there twice", node.value[number][0].start_mark
            )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _parsed(text: str) -> object:
    """Return the value of JSON or YAML; this YAML parser refuses JSON with tabs, Go's does not."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def read_document(file: Path) -> Mapping[str, object]:
    try:
        document = _parsed(file.read_bytes().decode("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        problem = getattr(error, "problem", None) or "not UTF-8 text"
        raise GatewayError(f"{where}: not YAML: {problem}") from None
    except OSError as error:
        raise GatewayError(f"{file}: cannot be read: {error.strerror}") from error
    if not isinstance(document, dict):
        raise GatewayError(
            f"{file}: not a kubeconfig: the whole file is {type(document).__name__}, "
            "expected a mapping"
        )
    return document


def _texts(where: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise GatewayError(f"{where}: expected a list of strings, found {kind_of(value)}")
    for number, entry in enumerate(value):
        if not isinstance(entry, str):
            raise GatewayError(f"{where}[{number}]: expected a string, found {kind_of(entry)}")
    return tuple(value)


def check_header(where: str, value: str) -> None:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise GatewayError(f"{where}: holds a control character, which no header can carry")
    if not is_unicode(value):
        raise GatewayError(f"{where}: holds a character that is no Unicode text")


_KINDS: Final[Mapping[type, str]] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}


def kind_of(value: object) -> str:
    """Name the type of a value, which may be secret itself."""
    return _KINDS.get(type(value), type(value).__name__)
