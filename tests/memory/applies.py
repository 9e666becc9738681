"""Requests whose managedFields matter, and the part of their answers that two servers share.

The form is that of tests/memory/record.py; here managedFields count. Their times differ between
servers, and with the times the order of the entries, so the comparison sorts them and keeps of a
time that it is there.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from captep_memory import Object, Quirks, Request, Response, load
from tests.memory.record import VERSION, Fake
from tests.memory.support import NOW, Free

__all__ = ["AGENT", "DEFINITION", "NAMESPACE", "RECORD", "Talk", "fake_of", "lines", "replay"]

RECORD = Path(__file__).parent / "golden" / f"apply-{VERSION}.jsonl"
NAMESPACE = "apply-here"
"""The namespace of the record."""
AGENT = "captep-tests"
"""The user agent, which is the manager of a write that names none."""
# The schema of this kind has every list type and map type.
_ITEMS: Object = {
    "type": "object",
    "required": ["k"],
    "properties": {
        "k": {"type": "string"},
        "p": {"type": "string", "default": "TCP"},
        "v": {"type": "integer"},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
_SPEC: Object = {
    "type": "object",
    "properties": {
        "size": {"type": "integer", "maximum": 9},
        "ratio": {"type": "number"},
        "flag": {"type": "boolean"},
        "mode": {"type": "string", "default": "A"},
        "opt": {"type": "string", "nullable": True},
        "deep": {
            "type": "object",
            "properties": {
                "a": {"type": "integer"},
                "b": {"type": "string", "default": "b"},
                "c": {"type": "object", "properties": {"d": {"type": "integer"}}},
            },
        },
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "whole": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
        "either": {"x-kubernetes-int-or-string": True},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "atoms": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "numbers": {
            "type": "array",
            "items": {"type": "integer"},
            "x-kubernetes-list-type": "set",
        },
        "list": {
            "type": "array",
            "items": _ITEMS,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
        },
        "pairs": {
            "type": "array",
            "items": _ITEMS,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k", "p"],
        },
    },
}
_STATUS: Object = {
    "type": "object",
    "properties": {
        "phase": {"type": "string"},
        "conditions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"type": "string"}, "status": {"type": "string"}},
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    },
}
_NAMES = {"kind": "Mesh", "plural": "meshes", "singular": "mesh", "listKind": "MeshList"}
DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "meshes.ex.io"},
    "spec": {
        "group": "ex.io",
        "scope": "Namespaced",
        "names": _NAMES,
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": _SPEC, "status": _STATUS},
                    }
                },
            }
        ],
    },
}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What a server prints of a Go value is not compared; nor is the order of several problems.
_GO_VALUE = re.compile(r"(, got ).*", re.DOTALL)
_DECODING = re.compile(r"(unable to convert unstructured object to [^:]*:).*", re.DOTALL)
# A strategic merge patch may have several faults, and Go meets them in any order.
_ANY_FAULT = re.compile(
    "declared merge key|The order in patch list|unknown patch type|element types are not identical"
    r"|but received a|^invalid patch format|merging lists cannot|unable to find api field"
)
_SEVERAL = re.compile(r"(errors:).*", re.DOTALL)


def fake_of(namespace: str, quirks: Quirks) -> Fake:
    """Return the in-memory server with the kind and a namespace."""
    place = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    return Fake(load([DEFINITION, place], now=NOW, quirks=quirks))


def compared(response: Response, *, with_owners: bool) -> Free:
    """Return the compared part of an answer."""
    body = response.body
    if "metadata" in body and response.ok and body.get("kind") != "Status":
        return {"status": response.status, "body": _object(body, with_owners=with_owners)}
    shown = {name: value for name, value in body.items() if name != "metadata"}
    details = dict(shown.get("details", {}))
    if "causes" in details:
        # Of a patch that does not decode, the real server repeats the whole object.
        causes = [
            {**cause, "message": "*"} if cause.get("field") == "patch" else cause
            for cause in details["causes"]
        ]
        # The real server repeats some causes.
        details["causes"] = sorted({json.dumps(cause, sort_keys=True) for cause in causes})
        shown["details"] = details
    is_apply_conflict = str(shown.get("message", "")).startswith("Apply failed")
    if len(details.get("causes", ())) > 1 and not is_apply_conflict:
        shown["message"] = "*"
    details.pop("uid", None)
    return {"status": response.status, "body": _worded(shown)}


def _worded(shown: Object) -> Object:
    message = str(shown.get("message", ""))
    if "patch: Invalid value" in message or "cannot be handled" in message:
        return {**shown, "message": "*"}
    if _ANY_FAULT.search(message):
        return {"message": "*"}
    for pattern in (_SEVERAL, _GO_VALUE, _DECODING):
        message = pattern.sub(r"\1", message)
    message = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<uid>", message)
    return {**shown, "message": message}


def _object(body: Object, *, with_owners: bool) -> Object:
    chosen = ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "managedFields")
    metadata: Object = {
        name: value if name not in chosen else "*"
        for name, value in body["metadata"].items()
        if name != "managedFields"
    }
    last = metadata.get("annotations", {}).get(_LAST_APPLIED)
    if last is not None:
        # A configuration may hold a resourceVersion, which differs between servers.
        shown = re.sub(r'"resourceVersion":"[0-9]+"', '"resourceVersion":"*"', last)
        metadata["annotations"] = {**metadata["annotations"], _LAST_APPLIED: shown}
    entries = body["metadata"].get("managedFields")
    if with_owners and entries is not None:
        timed = ({**each, "time": "time" in each} for each in entries)
        metadata["managedFields"] = sorted(timed, key=lambda each: json.dumps(each, sort_keys=True))
    return {**body, "metadata": metadata}


def without_owners(answer: Free) -> Free:
    """Return an answer without managedFields."""
    metadata = answer["body"].get("metadata")
    if metadata is None:
        return answer
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    return {**answer, "body": {**answer["body"], "metadata": kept}}


@define
class Talk:
    """One server's side of a sequence; `$rv` in a request is the last resourceVersion seen."""

    ask: Any
    with_owners: bool = True
    wrote: bool = field(default=False, init=False)
    """Whether the last answer shows another resourceVersion than the one before."""
    _versions: dict[str, str] = field(factory=dict, init=False)

    def __call__(self, template: Object) -> Free:
        """Send a request; return the compared part of the answer."""
        request = evolve(Request(**self._filled(template)), user_agent=AGENT)
        response = self.ask(request)
        metadata = response.body.get("metadata", {})
        self.wrote = False
        if response.ok and "resourceVersion" in metadata and not request.dry_run:
            self.wrote = self._versions.get(request.kind) != metadata["resourceVersion"]
            self._versions[request.kind] = metadata["resourceVersion"]
        return compared(response, with_owners=self.with_owners)

    def _filled(self, template: Free) -> Free:
        if isinstance(template, dict):
            return {key: self._filled(value) for key, value in template.items()}
        if isinstance(template, list):
            return [self._filled(value) for value in template]
        if template == "$rv":
            return next(reversed(self._versions.values()), "1")
        return template


def lines() -> list[list[Object]]:
    """Return the recorded sequences: requests, each with its answer."""
    return [json.loads(line) for line in RECORD.read_text("utf-8").splitlines()]


def replay(sequence: Iterable[Object], talk: Talk, namespace: str) -> Iterator[tuple[Object, Free]]:
    """Send each request of a sequence; yield it with the present answer."""
    for line in sequence:
        yield line, talk({**line["request"], "namespace": namespace})
