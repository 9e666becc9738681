"""Whether two runs end alike, up to what two runs without a fault have in common.

Rules of this module:

1. Uids, versions, times and generations differ in every run; they do not count.
2. Fields that differ between two runs without a fault are random, as passwords are; they do not
   count either, nor do random names and those that the server made of a `generateName`. Their
   number does.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from captep_memory import Key, Object, World
from captep_testing._canonical import entries
from captep_testing._changes import changed_paths
from captep_testing._delivery import TOUCHED
from captep_testing._struck import is_state

__all__ = ["other_ends"]

_TIME: Final = re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^"]*"')
# The server keeps so much of a base (names.SimpleNameGenerator of k8s.io/apiserver).
_BASE_LENGTH: Final = 58
_COUNTED: Final = ("resourceVersion", "uid", "generation", "managedFields", "creationTimestamp")


def other_ends(first: World, second: World, other: World) -> Iterator[str]:
    """Say how a world differs from the ends of two runs without a fault."""
    one = _named(first)
    two = _named(second)
    found = _named(other)
    fixed = {key for key in one.keys() & two.keys() if not _is_generated(key, one[key])}
    for key in sorted(fixed, key=str):
        if key not in found:
            yield f"{_shown(key)} is missing"
            continue
        random = changed_paths(one[key], two[key])
        paths = [
            ".".join(path)
            for path in changed_paths(one[key], found[key])
            if not any(path[: len(each)] == each for each in random)
        ]
        if paths:
            yield f"{_shown(key)}: {', '.join(paths)}"
    most = _loose(one, fixed) | _loose(two, fixed)
    for kind, count in sorted((_loose(found, fixed) - most).items()):
        named = next(key for key in sorted(found, key=str) if key.kind == kind and key not in fixed)
        yield f"{count} {kind} more, such as {_shown(named)}"


def _loose(found: dict[Key, Object], fixed: set[Key]) -> Counter[str]:
    return Counter(key.kind for key in found if key not in fixed)


def _named(world: World) -> dict[Key, Object]:
    """Return the objects of a world with names in place of uids, and without times and generated
    names.
    """
    objects = [(key, obj) for key, obj in entries(world) if is_state(key.kind, obj["apiVersion"])]
    names = {obj["metadata"]["uid"]: f"uid of {_shown(key)}" for key, obj in objects}
    # After the uids, whose words contain names.
    names |= {key.name: "generated name" for key, obj in objects if _is_generated(key, obj)}
    return {key: _normal(obj, names) for key, obj in objects}


def _is_generated(key: Key, obj: Object) -> bool:
    """Whether the server made the name of an object of its `generateName`."""
    base: str = obj["metadata"].get("generateName") or ""
    return base != "" and key.name != base and key.name.startswith(base[:_BASE_LENGTH])


def _normal(obj: Object, names: dict[str, str]) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _COUNTED}
    annotations = {
        name: value
        for name, value in (metadata.pop("annotations", None) or {}).items()
        if name != TOUCHED
    }
    if annotations:
        metadata["annotations"] = annotations
    text = _TIME.sub('"time"', json.dumps({**obj, "metadata": metadata}))
    for uid, name in names.items():
        text = text.replace(uid, name)
    normal: Object = _without_generations(json.loads(text))
    return normal


def _without_generations(value: Any) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        return {
            name: _without_generations(item)
            for name, item in value.items()
            if name != "observedGeneration"
        }
    return [_without_generations(item) for item in value] if isinstance(value, list) else value


def _shown(key: Key) -> str:
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
