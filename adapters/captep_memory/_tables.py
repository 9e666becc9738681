"""Tables, as kubectl asks for them: the columns of a kind, and one row an object.

Custom resources have the columns of their definition, built-in kinds the recorded ones.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

from captep_memory._durations import since
from captep_memory._json import Object, Value, without
from captep_memory._kinds import ServedKind
from captep_memory._printers import PRINTERS
from captep_memory._status import not_modelled
from captep_memory._typed import typed_kind

__all__ = ["Columns", "columns_of", "table"]

_PATH = re.compile(
    r'\.([A-Za-z0-9_-]+)|\[(\d+)\]|\[\?\(@\.([A-Za-z0-9_.-]+)==["\']([^"\']*)["\']\)\]'
)
_NAME: Object = {"name": "Name", "type": "string", "format": "name", "priority": 0}


@frozen
class Columns:
    """The columns of a kind: definitions, and a function that returns the cells of an object."""

    definitions: tuple[Object, ...]
    cells: Callable[[Object, datetime], list[Any]]


def columns_of(resource: ServedKind) -> Columns:
    """Return the columns of a kind.

    Raises:
        RefusedError: 501, a built-in kind or a JSONPath without a model.
    """
    if not resource.built_in:
        age = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
        printed = resource.printer_columns or (age,)
        definitions = tuple(_definition(each) for each in printed)
        cells = (_name, *(_cell(each["jsonPath"], each["type"]) for each in printed))
        return Columns((_NAME, *definitions), lambda obj, now: [cell(obj, now) for cell in cells])
    recorded = typed_kind(resource.api_version, resource.kind)
    if recorded is None:
        raise not_modelled(f"tables of {resource.plural}")
    return Columns(tuple(recorded["columns"]), PRINTERS[resource.kind])


def table(
    objects: Iterable[Object],
    columns: Columns,
    metadata: Mapping[str, Any],
    *,
    now: datetime,
    version: str,
    include: str,
    headers: bool = True,
) -> Object:
    """Return a Table; `include` is includeObject of the query, `headers` adds the columns."""
    rows = [
        {
            "cells": columns.cells(obj, now),
            "object": _included(obj, include, version),
        }
        for obj in objects
    ]
    kept = ("resourceVersion", "continue", "remainingItemCount")
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": {name: metadata[name] for name in kept if metadata.get(name)},
        "columnDefinitions": list(columns.definitions) if headers else None,
        "rows": rows,
    }


def _included(obj: Object, include: str, version: str) -> Object | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    metadata = obj["metadata"]
    if obj["kind"] == "DaemonSet":
        # A Table is made of the internal type, which has a field in its place.
        kept = without(metadata.get("annotations", {}), "deprecated.daemonset.template.generation")
        metadata = without(metadata, "annotations") | ({"annotations": kept} if kept else {})
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
    }


def _column(name: str, kind: str, **more: Value) -> Object:
    return {"name": name, "type": kind, "format": "", "priority": 0, **more}


def _definition(printed: Mapping[str, Any]) -> Object:
    path = printed["jsonPath"]
    return _column(
        printed["name"],
        printed["type"],
        format=printed.get("format", ""),
        description=printed.get("description")
        or f"Custom resource definition column (in JSONPath format): {path}",
        priority=printed.get("priority", 0),
    )


def _name(obj: Object, now: datetime) -> Value:
    del now
    return obj["metadata"]["name"]


def _cell(path: str, kind: str) -> Callable[[Object, datetime], Value]:
    steps = _steps(path)

    def read(obj: Object, now: datetime) -> Value:
        value = _at(obj, steps)
        return None if value is None else _typed(value, kind, now)

    return read


def _steps(path: str) -> list[tuple[str, str]]:
    """Return the steps of a JSONPath: a member, an index, or a filter by one member."""
    steps: list[tuple[str, str]] = []
    position = 0
    while position < len(path):
        found = _PATH.match(path, position)
        if found is None:
            raise not_modelled(f"the JSONPath {path}")
        member, index, key, value = found.groups()
        steps.append((key, value) if key is not None else ("", member or f"[{index}"))
        position = found.end()
    return steps


def _at(value: Value, steps: list[tuple[str, str]]) -> Value:
    for key, step in steps:
        if key:
            items = value if isinstance(value, list) else []
            value = next((each for each in items if _has(each, key, step)), None)
        elif step.startswith("["):
            index = int(step[1:])
            value = value[index] if isinstance(value, list) and index < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _has(item: Value, key: str, wanted: str) -> bool:
    return bool(_at(item, [("", step) for step in key.split(".")]) == wanted)


def _typed(value: Value, kind: str, now: datetime) -> Value:
    match kind:
        case "string":
            shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            return value if isinstance(value, str) else shown
        case "date":
            return since(value, now)
        case "integer" | "number" if isinstance(value, int | float) and value is not True:
            return int(value) if kind == "integer" else value
        case "boolean" if isinstance(value, bool):
            return value
        case _:
            return None
