"""Objects from the schemas of CustomResourceDefinitions: ours, or those in CAPTEP_UPSTREAM."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from hypothesis import strategies as st

__all__ = ["JSON_GARBAGE", "admitted", "schemas"]

_STRING: Final = {"type": "string"}
_BOOLEAN: Final = {"type": "boolean"}
_INTEGER: Final = {"type": "integer", "minimum": -1, "maximum": 70000}
_TEXTS: Final = {"type": "object", "additionalProperties": _STRING}


def _object(required: tuple[str, ...] = (), /, **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_NAMED = _object(("name",), name=_STRING, namespace=_STRING)
_HOST_PORT = _object(("host", "port"), host=_STRING, port=_INTEGER)
_CONDITION = _object(
    ("type", "status"),
    type=_STRING,
    status=_STRING,
    reason=_STRING,
    message=_STRING,
    lastTransitionTime=_STRING,
)
_CONFIG = _object(region=_STRING, endpointAccess=_object(public=_BOOLEAN, private=_BOOLEAN))
_OWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "CAPTControlPlane": _object(
        ("spec",),
        spec=_object(
            ("version", "workspaceTemplateRef"),
            version=_STRING,
            workspaceTemplateRef=_NAMED,
            controlPlaneConfig=_CONFIG,
            additionalTags=_TEXTS,
            workspaceTemplateApplyName=_STRING,
            controlPlaneEndpoint=_HOST_PORT,
        ),
        status=_object(
            ready=_BOOLEAN,
            initialized=_BOOLEAN,
            secretsReady=_BOOLEAN,
            phase={"type": "string", "enum": ["Creating", "Ready", "Failed"]},
            workspaceStatus=_object(
                ready=_BOOLEAN,
                state=_STRING,
                atProvider={"x-kubernetes-preserve-unknown-fields": True},
            ),
            conditions=_list(_CONDITION),
        ),
    ),
    "Cluster": _object(
        spec=_object(
            paused=_BOOLEAN,
            controlPlaneRef=_object(kind=_STRING, name=_STRING, apiVersion=_STRING),
            controlPlaneEndpoint=_HOST_PORT,
        ),
        status=_object(
            controlPlaneReady=_BOOLEAN, failureReason=_STRING, conditions=_list(_CONDITION)
        ),
    ),
    "WorkspaceTemplate": _object(
        spec={"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    ),
    "WorkspaceTemplateApply": _object(
        spec=_object(
            ("templateRef",),
            templateRef=_NAMED,
            variables=_TEXTS,
            writeConnectionSecretToRef=_NAMED,
            waitForWorkspaces=_list(_NAMED),
        ),
        status=_object(
            applied=_BOOLEAN,
            workspaceName=_STRING,
            lastAppliedTime=_STRING,
            conditions=_list(_CONDITION),
        ),
    ),
    "Workspace": _object(
        spec=_object(writeConnectionSecretToRef=_NAMED),
        status=_object(
            atProvider=_object(
                outputs={"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            ),
            conditions=_list(_CONDITION),
        ),
    ),
}


def schemas() -> Mapping[str, Mapping[str, Any]]:
    """The openAPIV3Schema of each kind; the last of several definitions of one kind counts."""
    folder = os.environ.get("CAPTEP_UPSTREAM")
    if not folder:
        return _OWN
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(Path(folder, "crds").glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        versions = [each for each in spec["versions"] if each.get("storage")] or spec["versions"]
        found[spec["names"]["kind"]] = versions[0]["schema"]["openAPIV3Schema"]
    return {**_OWN, **found}


_WORDS = st.sampled_from(
    [
        "",
        "tokyo",
        "True",
        "443",
        "https://h:1",
        "default",
        "é\u2028",
        "a" * 300,
        "CAPTControlPlane",
        "Ready",
    ]
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 70000), st.sampled_from([0.5, 1.0, 1e300]), _WORDS
)
JSON_GARBAGE: Final = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(_WORDS, inner, max_size=2)
    ),
    max_leaves=5,
)
_DEPTH = 7


def admitted(schema: Mapping[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """JSON that the schema admits: absent and null where allowed, unknown where preserved."""
    if schema.get("nullable"):
        return st.one_of(st.none(), admitted({**schema, "nullable": False}, depth))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(0, 70000), _WORDS)
    match schema.get("type"):
        case "object":
            return _objects(schema, depth)
        case "array":
            return st.lists(
                admitted(schema.get("items", {}), depth + 1), max_size=0 if depth > _DEPTH else 2
            )
        case "string":
            return _WORDS
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(
                int(schema.get("minimum", -(2**31))), int(schema.get("maximum", 2**31))
            )
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False)
        case _:
            return JSON_GARBAGE


@st.composite
def _objects(draw: st.DrawFn, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    optional = [
        key
        for key in properties
        if key not in required and key not in ("apiVersion", "kind", "metadata")
    ]
    chosen = (
        []
        if depth > _DEPTH or not optional
        else draw(st.lists(st.sampled_from(optional), max_size=6, unique=True))
    )
    made = {
        key: draw(admitted(properties[key], depth + 1))
        for key in (*required, *chosen)
        if key in properties
    }
    if isinstance(schema.get("additionalProperties"), dict):
        made |= draw(
            st.dictionaries(_WORDS, admitted(schema["additionalProperties"], depth + 1), max_size=2)
        )
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        made |= draw(st.dictionaries(_WORDS, JSON_GARBAGE, max_size=2))
    return made
