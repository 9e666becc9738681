"""What one audit event says of a request: which object, which manager, which fields, which effect.

Nothing here judges or remembers.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs

from captep_audit._events import Event
from captep_audit._verdict import Actor

__all__ = [
    "Name",
    "comparable",
    "effect_of",
    "leaves_of",
    "manager_of",
    "name_of",
    "seconds_of",
    "shown",
    "version_of",
]

_TIME: Final = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^"]*"')
_BOOKKEEPING: Final = frozenset(
    {"resourceVersion", "managedFields", "generation", "creationTimestamp", "uid", "selfLink"}
)
Name = tuple[str, str, str]
"""Resource with its group, namespace, name."""


def name_of(ref: Event, answer: object) -> Name:
    group = ref.get("apiGroup") or ""
    resource = f"{ref.get('resource', '')}.{group}".rstrip(".")
    name = ref.get("name") or ""
    if not name and isinstance(answer, dict) and answer.get("kind") != "Status":
        metadata = answer.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return resource, ref.get("namespace") or "", str(name)


def shown(name: Name) -> str:
    resource, namespace, own = name
    return f"{resource} {namespace}/{own}" if namespace else f"{resource} {own}"


def manager_of(uri: str, actor: Actor) -> str:
    if "fieldManager=" in uri:
        given = parse_qs(uri.partition("?")[2]).get("fieldManager")
        if given:
            return given[0]
    return actor.program or actor.user


def version_of(obj: object) -> str:
    if not isinstance(obj, dict) or obj.get("kind") == "Status":
        return ""
    metadata = obj.get("metadata")
    return str(metadata.get("resourceVersion", "")) if isinstance(metadata, dict) else ""


def effect_of(verb: str, ref: Event, body: object, answer: object, known: str) -> bool | None:
    """Return whether a write that was taken had an effect, None when the log does not show it."""
    if verb not in ("patch", "update"):
        return True
    after = version_of(answer)
    before = known
    if verb == "update":
        before = version_of(body) or str(ref.get("resourceVersion") or "") or known
    return after != before if after and before else None


def comparable(body: object) -> str:
    """Return a body as text that is equal for equal wishes: without times and bookkeeping."""
    if isinstance(body, dict) and isinstance(body.get("metadata"), dict):
        kept = {key: value for key, value in body["metadata"].items() if key not in _BOOKKEEPING}
        body = {**body, "metadata": kept}
    return _TIME.sub('"T"', json.dumps(body, sort_keys=True))


def leaves_of(body: object, subresource: str, verb: str) -> Iterator[tuple[str, int]]:
    """Yield the fields that a write sets, with a hash of each value; times are left out."""
    if isinstance(body, list):
        for step in body:
            if isinstance(step, dict) and step.get("op") in ("add", "replace", "remove"):
                path = str(step.get("path", "")).strip("/").replace("/", ".")
                yield path, _hashed(step.get("value"))
        return
    if not isinstance(body, dict):
        return
    for top, value in body.items():
        if top in ("apiVersion", "kind") or (
            verb == "update" and (top == "status") != bool(subresource)
        ):
            continue
        yield from _leaves_below(value, top)


def _leaves_below(value: object, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if path != "metadata" or key not in _BOOKKEEPING:
                yield from _leaves_below(item, f"{path}.{key}")
    else:
        yield path, _hashed(value)


def _hashed(value: object) -> int:
    if isinstance(value, list | dict):
        return hash(_TIME.sub('"T"', json.dumps(value, sort_keys=True)))
    if isinstance(value, str) and _TIME.fullmatch(f'"{value}"'):
        return 0
    return hash((type(value).__name__, value))


def seconds_of(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
