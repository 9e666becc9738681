"""What a real server says of built-in kinds: their OpenAPI schemas and their discovery.

tests/memory/record_openapi.py records the data file.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeAlias

__all__ = ["OpenAPI", "openapi", "reference_of", "references_of", "resolve", "schema_of"]

OpenAPI: TypeAlias = Mapping[str, Any]
_PREFIX = "#/components/schemas/"


@lru_cache(maxsize=1)
def openapi() -> OpenAPI:
    """Return the whole record: `version`, `groups`, `kinds` and `schemas`."""
    text = files("captep_memory").joinpath("openapi-1.37.json").read_text("utf-8")
    data: OpenAPI = json.loads(text)
    return data


def schema_of(api_version: str, kind: str) -> OpenAPI | None:
    """Return the schema of a built-in kind, None for any other; its references are not resolved."""
    found = openapi()["kinds"].get(f"{api_version}/{kind}")
    return None if found is None else openapi()["schemas"][found["schema"]]


def resolve(schema: OpenAPI) -> OpenAPI:
    """Return the schema that a property, an item or a value refers to; itself without a reference.

    Extensions such as x-kubernetes-list-type stand on the property, not on its reference.
    """
    name = reference_of(schema)
    return schema if name is None else openapi()["schemas"][name]


def reference_of(schema: OpenAPI) -> str | None:
    """Return the name of the schema that a property refers to, directly or through `allOf`."""
    holder = schema["allOf"][0] if "allOf" in schema else schema
    reference: str | None = holder.get("$ref")
    return None if reference is None else reference.removeprefix(_PREFIX)


def references_of(value: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    """Yield the name of every schema that a part of a document refers to, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].removeprefix(_PREFIX)
        for item in value.values():
            yield from references_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from references_of(item)
