"""Write docs/kinds.md: what the in-memory server models of each kind.

    python -m tests.memory.table

`differential`: random sequences of the verb are compared with a real kube-apiserver
(tests/cluster/test_conformance.py). `recorded`: answers of a real one are in tests/memory/golden.
`modelled`: tests of this repository alone. `501`: the server says that it has no model.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from captep_memory import Request, Verb, load, serve
from captep_memory._typed import typed_kinds
from tests.memory import wire
from tests.memory.kinds import MANIFESTS
from tests.memory.record import lines
from tests.memory.support import NOW

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "kinds.md"
_VERBS = (
    *("create", "update", "merge patch", "JSON patch", "strategic patch", "apply"),
    *("delete", "deletecollection", "watch", "status", "scale"),
)
_PATCHES = {
    "merge patch": "application/merge-patch+json",
    "JSON patch": "application/json-patch+json",
    "strategic patch": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_METHODS = {"create": "POST", "update": "PUT", "delete": "DELETE"}
# What tests/cluster/test_apply.py compares.
APPLIED = frozenset(
    {
        *("ConfigMap", "CronJob", "DaemonSet", "Deployment", "EndpointSlice"),
        *("HorizontalPodAutoscaler", "Ingress", "LimitRange", "NetworkPolicy"),
        *("PersistentVolumeClaim", "PodDisruptionBudget", "ReplicaSet", "ResourceQuota"),
        *("Role", "RoleBinding", "Secret", "ServiceAccount", "StatefulSet"),
    }
)
# What tests/cluster/sequences.py draws for built-in objects, and for those in a namespace.
_DRAWN = ("create", "update", "merge patch", "JSON patch", "delete", "watch", "status", "scale")
_DRAWN_IN_NAMESPACES = (*_DRAWN, "deletecollection")
_INTRODUCTION = """\
# Built-in kinds of the in-memory server

`python -m tests.memory.table` writes this page from what the server answers and from the records.

- `differential`: random sequences are compared with a real kube-apiserver
  (`tests/cluster/test_conformance.py`, `tests/cluster/test_apply.py`).
- `recorded`: answers of a real kube-apiserver are in `tests/memory/golden`, and every test run
  repeats them.
- `modelled`: tests of this repository show it.
- `501`: the server refuses with `NotModelled` and names what is missing. It never guesses; a field
  or a value of a modelled verb may have no model either.
- `-`: the kind has no such verb or subresource.

A custom resource has the verbs of a Secret, its status subresource and the schema of its
definition. A CEL rule of that schema (`x-kubernetes-validations`) is not evaluated: a write that
touches a value below it is 501.

The random sequences run again, others each time, with one command; the scale multiplies their
number, 200 or 400 of each test:

```sh
CAPTEP_EXAMPLES_SCALE=10 make test-cluster PYTEST_ADDOPTS="-k test_any --timeout 0"
```
"""


def page() -> str:
    """Return the content of the page."""
    head = f"| Kind | {' | '.join(_VERBS)} |"
    rule = "|".join(["", *(["---"] * (len(_VERBS) + 1)), ""])
    return "\n".join([_INTRODUCTION, head, rule, *_rows(), ""])


def _rows() -> Iterator[str]:
    for name in sorted(typed_kinds(), key=lambda each: each.rpartition("/")[2]):
        api_version, _, kind = name.rpartition("/")
        cells = [_cell(api_version, kind, verb) for verb in _VERBS]
        yield f"| {kind} | {' | '.join(cells)} |"


def _cell(api_version: str, kind: str, verb: str) -> str:
    below = {
        each["name"].partition("/")[2]
        for each in typed_kinds()[f"{api_version}/{kind}"]["subresources"]
    }
    if verb in ("status", "scale") and verb not in below:
        return "-"
    if verb == "deletecollection":
        verbs = typed_kinds()[f"{api_version}/{kind}"]["resource"]["verbs"]
        if verb not in verbs:
            return "-"
    if _status(api_version, kind, verb) == 501:
        return "501"
    if verb in ("strategic patch", "apply") and kind in APPLIED:
        return "differential"
    is_inside = typed_kinds()[f"{api_version}/{kind}"]["resource"]["namespaced"]
    drawn = _DRAWN_IN_NAMESPACES if is_inside else _DRAWN
    is_drawn = kind == "Secret" or any(each["kind"] == kind for each in MANIFESTS)
    if is_drawn and verb in drawn:
        return "differential"
    return "recorded" if (kind, verb) in _recorded() else "modelled"


def _status(api_version: str, kind: str, verb: str) -> int:
    """Return the status of a request that touches nothing, for an object as loaded."""
    found = typed_kinds()[f"{api_version}/{kind}"]["resource"]
    namespace = "fleet" if found["namespaced"] else None
    given = next((each for each in MANIFESTS if each["kind"] == kind), {})
    body: dict[str, Any] = {**given, "apiVersion": api_version, "kind": kind}
    body["metadata"] = {"name": "a", **({"namespace": namespace} if namespace else {})}
    sent: Verb = "patch" if verb in _PATCHES else "get"
    match verb:
        case "create" | "update" | "delete" | "watch":
            sent = verb
        case "deletecollection":
            sent = "delete"
        case _:
            pass
    request = Request(
        sent,
        api_version,
        kind,
        namespace,
        "a" if verb not in ("create", "deletecollection", "watch") else None,
        verb if verb in ("status", "scale") else None,
        body if verb in ("create", "update", "apply") else _patch(verb),
        content_type=_PATCHES.get(verb, "application/json"),
        field_manager="test",
    )
    world = load([] if verb == "create" else [body], now=NOW)
    return serve(world, request)[1].status


def _patch(verb: str) -> Any:  # noqa: ANN401  # JSON
    match verb:
        case "JSON patch":
            return []
        case "merge patch" | "strategic patch":
            return {"metadata": {"labels": {"a": "b"}}}
        case _:
            return None


@lru_cache(maxsize=1)
def _recorded() -> frozenset[tuple[str, str]]:
    """Return the (kind, verb) of every recorded answer that succeeded."""
    plurals: dict[str, str] = {
        each["resource"]["name"]: name for name, each in typed_kinds().items()
    }
    found: set[tuple[str, str]] = set()
    for record in (wire.WIRE, wire.KINDS, wire.APPLIES):
        for line in wire.lines(record):
            if line["answer"]["status"] >= 300:
                continue
            parts = line["target"].partition("?")[0].split("/")
            named = [part for part in parts if part in plurals and part != "namespaces"]
            kind = plurals.get(named[0] if named else "namespaces", "")
            found |= {(kind.rpartition("/")[2], verb) for verb in _verbs_of(line, parts)}
    for line in lines():
        request, answer = line["request"], line["answer"]
        if answer["status"] < 300:
            media = request.get("content_type", _PATCHES["merge patch"])
            patch = next((verb for verb, known in _PATCHES.items() if known == media), "")
            verb = patch if request["verb"] == "patch" else str(request["verb"])
            found.add((str(request["kind"]), verb))
    return frozenset(found)


def _verbs_of(line: dict[str, Any], parts: list[str]) -> Iterator[str]:
    if parts[-1] in ("status", "scale"):
        yield parts[-1]
        return
    if "watch=" in line["target"]:
        yield "watch"
    media = json.dumps(line.get("headers", {}))
    for verb, content_type in _PATCHES.items():
        if line["method"] == "PATCH" and content_type in media:
            yield verb
    yield from (verb for verb, method in _METHODS.items() if line["method"] == method)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
