"""Sequences of applies and of the writes that take fields from them, in the form of a record.

A sequence is about one object; the pools are small, so that managers want the same fields. They
leave out an empty list of a field that Go writes as null.
"""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from captep_memory import Object

__all__ = ["APPLIES", "KINDS", "RESETS", "STRATEGICS"]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_MANAGERS = ("m1", "m2", "m3", "kubectl")
_METADATA: tuple[Object, ...] = (
    {},
    {},
    {},
    {"labels": {"x": "1"}},
    {"labels": {"x": "2", "y": "1"}},
    {"labels": {}},
    {"labels": {"x": ""}},
    {"annotations": {"ex.io/n": "1"}},
    {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
    {"finalizers": ["ex.io/f"]},
    {"finalizers": ["ex.io/f", "ex.io/g"]},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1"}]},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "u2"}]},
    {"labels": None},
    {"labels": {"x": None}},
    {"generation": 7},
)
_RARE: tuple[Object, ...] = (
    {"resourceVersion": "$rv"},
    {"resourceVersion": "1"},
    {"uid": "other"},
    {"managedFields": []},
    {"managedFields": [{}]},
    {"managedFields": None},
    {"managedFields": [{}, {}]},
    {"name": "other"},
    {"namespace": "other"},
    {"labels": {"x": 1}},
    {"labels": "x"},
    {"finalizers": ["ex.io/f", "ex.io/f"]},
    {"unknown": 1},
    {"creationTimestamp": None},
    {"deletionTimestamp": None},
)
_ITEM = {"k": "a", "v": 1}
_SPECS: tuple[Object, ...] = (
    {"size": 1},
    {"size": 1},
    {"size": 2},
    {"ratio": 1.5},
    {"ratio": 2},
    {"flag": True},
    {"mode": "A"},
    {"mode": "B"},
    {"opt": None},
    {"opt": "o"},
    {"deep": {}},
    {"deep": {"a": 1}},
    {"deep": {"a": 2, "b": "c"}},
    {"deep": {"c": {"d": 1}}},
    {"deep": {"c": {}}},
    {"tags": {}},
    {"tags": {"t": "1"}},
    {"tags": {"t": "2", "u": "1"}},
    {"whole": {"a": 1}},
    {"whole": {"a": 2, "b": 1}},
    {"whole": {}},
    {"either": 1},
    {"either": "5%"},
    {"any": {"n": 1}},
    {"any": {"n": {"m": [1, 2]}}},
    {"any": {"n": None, "o": {}}},
    {"any": {}},
    {"atoms": ["a"]},
    {"atoms": ["a", "b"]},
    {"atoms": []},
    {"set": ["a"]},
    {"set": ["b", "a"]},
    {"set": ["c", "b"]},
    {"set": []},
    {"numbers": [1]},
    {"numbers": [2, 1]},
    {"list": [_ITEM]},
    {"list": [{"k": "b"}, _ITEM]},
    {"list": [{"k": "a", "v": 2}]},
    {"list": [{"k": "a", "tags": {"t": "1"}}]},
    {"list": [{"k": "b", "v": 1}, {"k": "c"}]},
    {"list": []},
    {"pairs": [_ITEM]},
    {"pairs": [{"k": "a", "p": "UDP"}]},
    {"pairs": [{"k": "a", "p": "TCP", "v": 2}, {"k": "a", "p": "UDP"}]},
)
_ODD: tuple[Any, ...] = (
    {"size": 99},
    {"size": "1"},
    {"size": None},
    {"deep": None},
    {"tags": {"t": None}},
    {"set": ["a", "a"]},
    {"list": [_ITEM, _ITEM]},
    {"list": [{"v": 1}]},
    {"list": None},
    {"set": [None]},
    {"set": [["a"]]},
    {"junk": 1},
    {"deep": {"junk": 1}},
    {"deep": []},
    {"set": {}},
    {"list": [{"k": "a", "junk": 1}]},
    {"mode": 1},
    {"flag": "true"},
    {"whole": {"junk": 1}},
    {"either": True},
    None,
    "text",
)
_STATUSES: tuple[Any, ...] = (
    {"phase": "X"},
    {"phase": "Y"},
    {"conditions": [{"type": "Ready", "status": "True"}]},
    {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Up"}]},
    {},
)
_DATA: tuple[Object, ...] = (
    {},
    {"data": {"k": "dg=="}},
    {"data": {"k": "dw==", "l": ""}},
    {"data": {"l": "dg=="}},
    {"data": {}},
    {"type": "Opaque"},
    {"type": "ex.io/t"},
    {"immutable": False},
)
_SECRETS: tuple[Object, ...] = (
    *_DATA,
    {"stringData": {"k": "v"}},
    {"stringData": {"k": "w", "m": ""}},
    {"data": {"k": 1}},
    {"data": {"k": "?"}},
    {"junk": 1},
)
_CONTAINERS: tuple[Object, ...] = (
    {"name": "c", "image": "i"},
    {"name": "c", "image": "j", "env": [{"name": "A", "value": "1"}]},
    {"name": "c", "image": "i", "env": [{"name": "B", "value": "1"}, {"name": "A", "value": "2"}]},
    {"name": "c", "image": "i", "ports": [{"containerPort": 80}]},
    {"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "UDP"}]},
    {"name": "d", "image": "i", "resources": {"limits": {"cpu": "1000m"}}},
    {"name": "d", "image": "i", "args": ["a"], "command": ["b"]},
)
_DEPLOYMENTS: tuple[Object, ...] = (
    {"replicas": 1},
    {"replicas": 2},
    {"paused": True},
    {"strategy": {"type": "Recreate"}},
    {"strategy": {"type": "RollingUpdate"}},
    {"minReadySeconds": 3},
    {"template": {"metadata": {"labels": {"a": "b", "c": "d"}}}},
    {"template": {"spec": {"nodeSelector": {"n": "1"}}}},
    {"template": {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}},
    {"template": {"spec": {"volumes": [{"name": "w", "secret": {"secretName": "s"}}]}}},
)
KINDS = {
    "Mesh": ("ex.io/v1", "Mesh"),
    "Secret": ("v1", "Secret"),
    "ConfigMap": ("v1", "ConfigMap"),
    "Deployment": ("apps/v1", "Deployment"),
    "ServiceAccount": ("v1", "ServiceAccount"),
    "Role": ("rbac.authorization.k8s.io/v1", "Role"),
}
_FLAT: dict[str, tuple[Object, ...]] = {
    "Secret": _SECRETS,
    "ConfigMap": (
        {},
        {"data": {"k": "v"}},
        {"data": {"k": "w", "l": ""}},
        {"data": {}},
        {"immutable": False},
        {"data": {"k": 1}},
    ),
    "ServiceAccount": (
        {},
        {"automountServiceAccountToken": False},
        {"secrets": [{"name": "a"}]},
        {"secrets": [{"name": "b"}, {"name": "a"}]},
        {"imagePullSecrets": [{"name": "a"}]},
        {"imagePullSecrets": [{"name": "b"}, {"name": "a"}]},
    ),
    "Role": (
        {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]},
        {"rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]},
    ),
}
_OPERATIONS: tuple[Object, ...] = (
    {"op": "add", "path": "/metadata/labels", "value": {"x": "3"}},
    {"op": "add", "path": "/metadata/annotations", "value": {"ex.io/n": "2"}},
    {"op": "remove", "path": "/metadata/labels"},
    {"op": "remove", "path": "/metadata/managedFields/0"},
    {"op": "replace", "path": "/metadata/managedFields", "value": [{}]},
    {"op": "replace", "path": "/metadata/managedFields", "value": []},
    {"op": "remove", "path": "/metadata/managedFields"},
    {"op": "test", "path": "/metadata/managedFields/0/fieldsType", "value": "FieldsV1"},
    {"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "m2"},
    {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Apply"},
    {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Odd"},
    {"op": "replace", "path": "/spec", "value": {"size": 3}},
    {"op": "remove", "path": "/spec/size"},
    {"op": "add", "path": "/spec/list", "value": [_ITEM, _ITEM]},
    {"op": "add", "path": "/spec/set", "value": ["a", "b", "a"]},
    {"op": "add", "path": "/data", "value": {"k": "dnY="}},
)


def _one_in(draw: st.DrawFn, count: int) -> bool:
    return draw(st.integers(1, count)) == count


def _joined(parts: list[Object]) -> Object:
    """Join parts; equal names of objects are joined too."""
    whole: Object = {}
    for part in parts:
        for name, value in part.items():
            before = whole.get(name)
            is_both = isinstance(before, dict) and isinstance(value, dict)
            whole[name] = _joined([before, value]) if is_both else value  # type: ignore[list-item]
    return whole


@st.composite
def _content(draw: st.DrawFn, kind: str) -> Object:
    if kind in _FLAT:
        return _joined(draw(st.lists(st.sampled_from(_FLAT[kind]), max_size=2)))
    if kind == "Deployment":
        return {"spec": draw(_deployment())}
    parts = draw(st.lists(st.sampled_from(_SPECS), max_size=4))
    content: Object = {"spec": _joined(parts)} if parts else {}
    if _one_in(draw, 12):
        odd = draw(st.sampled_from(_ODD))
        content["spec"] = {**content.get("spec", {}), **odd} if isinstance(odd, dict) else odd
    if _one_in(draw, 5):
        content["status"] = draw(st.sampled_from(_STATUSES))
    return content


@st.composite
def _deployment(draw: st.DrawFn) -> Object:
    base: Object = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {}},
    }
    parts = draw(st.lists(st.sampled_from(_DEPLOYMENTS), max_size=2))
    containers = {
        each["name"]: each for each in draw(st.lists(st.sampled_from(_CONTAINERS), max_size=2))
    }
    if containers and not _one_in(draw, 8):
        parts.append({"template": {"spec": {"containers": list(containers.values())}}})
    return _joined([*([] if _one_in(draw, 5) else [base]), *parts])


@st.composite
def _metadata(draw: st.DrawFn) -> Object:
    metadata = _joined(draw(st.lists(st.sampled_from(_METADATA), max_size=2)))
    return {**metadata, **draw(st.sampled_from(_RARE))} if _one_in(draw, 12) else metadata


@st.composite
def _applied(draw: st.DrawFn, whole: Object) -> Object:
    if _one_in(draw, 30):
        whole = {**whole, "apiVersion": draw(st.sampled_from(["ex.io/v2", "v1", ""]))}
    force = {"force": True} if _one_in(draw, 3) else {}
    return {**force, "content_type": APPLY, "body": whole}


@st.composite
def _request(draw: st.DrawFn, kind: str) -> Object:
    verb = draw(st.sampled_from(["apply"] * 12 + ["merge"] * 4 + ["json"] * 2 + ["put"] * 2))
    api_version, _ = KINDS[kind]
    request: Object = {"verb": "patch", "api_version": api_version, "kind": kind, "name": "a"}
    has_status = kind in ("Mesh", "Deployment")
    if has_status and _one_in(draw, 6):
        request["subresource"] = "status"
    if _one_in(draw, 10):
        request["dry_run"] = True
    if not _one_in(draw, 12):
        request["field_manager"] = draw(st.sampled_from(_MANAGERS))
    metadata, content = draw(_metadata()), draw(_content(kind))
    if request.get("subresource") and kind == "Mesh" and not _one_in(draw, 3):
        content = {"status": draw(st.sampled_from(_STATUSES))}
    elif request.get("subresource") and kind == "Deployment":
        metadata, content = {}, {"status": {"replicas": draw(st.integers(0, 2))}}
    named = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", **metadata}}
    whole = {**named, **content}
    match verb:
        case "apply":
            return {**request, **draw(_applied(whole))}
        case "merge":
            metadata = {name: value for name, value in metadata.items() if name != "uid"}
            return {**request, "content_type": MERGE, "body": {"metadata": metadata, **content}}
        case "json":
            operations = draw(st.lists(st.sampled_from(_OPERATIONS), min_size=1, max_size=2))
            return {**request, "content_type": JSON_PATCH, "body": operations}
        case _:
            whole["metadata"].setdefault("resourceVersion", "$rv")
            return {**request, "verb": "update", "body": whole}


@st.composite
def _sequence(draw: st.DrawFn) -> list[Object]:
    """Draw a creation, by an apply or a POST, and what happens to the object."""
    kind = draw(st.sampled_from(["Mesh"] * 6 + [name for name in KINDS if name != "Mesh"]))
    requests = draw(st.lists(_request(kind), min_size=2, max_size=8))
    if _one_in(draw, 3):
        api_version, _ = KINDS[kind]
        body = {"apiVersion": api_version, "kind": kind, **draw(_content(kind))}
        created = {"verb": "create", "api_version": api_version, "kind": kind}
        body["metadata"] = {"name": "a", **draw(_metadata())}
        requests.insert(0, {**created, "field_manager": "creator", "body": body})
    return requests


APPLIES = _sequence()


_TAKEN: tuple[Any, ...] = ([], [{}], None, [{}, {}])


def _resets() -> Iterator[list[Object]]:
    """Yield every way to take managedFields from an object, and the applies after it.

    A client takes them with an empty list or an empty entry; null and a patch that tests them do
    not. The object is as its creation left it, or its managers have changed it.
    """
    for kind, content, changed in (
        ("Secret", {"data": {"k": "dg=="}}, {"data": {"k": "dw=="}}),
        ("Mesh", {"spec": {"size": 1}}, {"spec": {"size": 2}}),
    ):
        api_version, _ = KINDS[kind]
        of_kind: Object = {"api_version": api_version, "kind": kind}
        one: Object = {"verb": "patch", **of_kind, "name": "a", "field_manager": "w"}
        bare: Object = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}
        create = {"verb": "create", **of_kind, "field_manager": "m", "body": {**bare, **content}}
        again = {**one, "verb": "update", "field_manager": "n", "body": {**bare, **changed}}
        again["body"]["metadata"] = {"name": "a", "resourceVersion": "$rv"}
        applied = {**one, "content_type": APPLY, "field_manager": "m1", "body": bare}
        for entries in _TAKEN:
            metadata = {"name": "a", "resourceVersion": "$rv", "managedFields": entries}
            put = {**one, "verb": "update", "body": {**bare, **content, "metadata": metadata}}
            patch = {**one, "body": {"metadata": {"managedFields": entries}}}
            operation = {"op": "replace", "path": "/metadata/managedFields", "value": entries}
            ways = [
                put,
                {**put, "dry_run": True},
                {**patch, "content_type": MERGE},
                {**one, "content_type": JSON_PATCH, "body": [operation]},
                {**applied, "body": {**bare, "metadata": {"name": "a", "managedFields": entries}}},
                *([{**patch, "content_type": STRATEGIC}] if kind == "Secret" else []),
            ]
            for way in ways:
                yield [create, way, applied, {**applied, "field_manager": "m2"}]
                yield [create, again, way, applied, applied]


RESETS: tuple[list[Object], ...] = tuple(_resets())
"""Sequences about managedFields that a client takes away, of a built-in and of a custom kind."""

# What strategic merge patches do to metadata and to the lists of a Deployment.
_PATCHED_METADATA: tuple[Object, ...] = (
    *_METADATA[3:11],
    {"labels": None},
    {"labels": {"x": None}},
    {"labels": {"$patch": "replace", "z": "1"}},
    {"labels": {"$patch": "delete"}},
    {"labels": {"$patch": "odd"}},
    {"labels": {"$retainKeys": ["x"], "x": "5"}},
    {"labels": {"$retainKeys": [], "x": "5"}},
    {"labels": {"$retainKeys": "x"}},
    {"finalizers": ["ex.io/h", "ex.io/f"]},
    {"$deleteFromPrimitiveList/finalizers": ["ex.io/f"]},
    {"$deleteFromPrimitiveList": ["ex.io/f"]},
    {"$setElementOrder/finalizers": ["ex.io/g", "ex.io/f"]},
    {"$setElementOrder/finalizers": ["ex.io/g", "ex.io/f"], "finalizers": ["ex.io/f"]},
    {"$setElementOrder/finalizers": ["ex.io/f"], "finalizers": ["ex.io/g"]},
    {"$setElementOrder/finalizers": "x"},
    {"finalizers": None},
    {"finalizers": [1]},
    {"ownerReferences": [{"$patch": "delete", "uid": "u1"}]},
    {"ownerReferences": [{"$patch": "replace"}]},
    {"ownerReferences": [{"uid": "u1", "name": "r"}]},
    {"ownerReferences": [{"name": "r"}]},
)
_PATCHED_ITEMS: tuple[Object, ...] = (
    *_CONTAINERS,
    {"name": "c", "$patch": "delete"},
    {"name": "d", "$patch": "delete"},
    {"$patch": "replace"},
    {"$patch": "merge"},
    {"$patch": "delete"},
    {"$patch": "odd"},
    {"image": "i"},
    {"name": "c", "env": [{"name": "A", "$patch": "delete"}]},
    {"name": "c", "env": [{"name": "C", "value": "3"}, {"name": "A", "value": None}]},
    {"name": "c", "$setElementOrder/env": [{"name": "B"}, {"name": "A"}]},
    {
        "name": "c",
        "$setElementOrder/env": [{"name": "C"}, {"name": "A"}],
        "env": [{"name": "C", "value": "4"}],
    },
    {"name": "c", "env": None},
    {"name": "c", "args": ["x", "y"]},
    {"name": "c", "ports": [{"containerPort": 81}]},
    {"name": "c", "ports": [{"containerPort": 80, "name": "web"}]},
    {"name": "c", "resources": {"requests": {"cpu": "1"}}},
    {"name": "c", "resources": {"$patch": "replace", "limits": {"cpu": "2"}}},
)
_PATCHED_SPECS: tuple[Object, ...] = (
    *_DEPLOYMENTS,
    {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
    {"strategy": {"$patch": "replace", "type": "Recreate"}},
    {"strategy": {"rollingUpdate": None, "type": "Recreate"}},
    {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}},
    {"template": {"spec": {"volumes": [{"name": "v", "$patch": "delete"}]}}},
    {"template": {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"]}]}}},
    {
        "template": {
            "spec": {
                "$setElementOrder/containers": [{"name": "d"}, {"name": "c"}],
                "containers": [{"name": "d", "image": "k"}],
            }
        }
    },
    {"template": {"spec": {"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}]}}},
    {"template": {"spec": {"$setElementOrder/containers": [{"image": "d"}]}}},
    {"template": {"metadata": {"labels": {"c": None, "e": "f"}}}},
    {"template": None},
    {"junk": {"a": 1}},
    {"replicas": "x"},
    {"$patch": "replace", "replicas": 1},
)


@st.composite
def _strategic(draw: st.DrawFn, kind: str) -> Object:
    api_version, _ = KINDS[kind]
    body: Object = {}
    # One part alone: of two faults, Go meets either first.
    is_about_metadata = _one_in(draw, 2)
    if is_about_metadata:
        drawn = draw(st.lists(st.sampled_from(_PATCHED_METADATA), min_size=1, max_size=2))
        body["metadata"] = _joined(drawn)
        if "$deleteFromPrimitiveList/finalizers" in body["metadata"]:
            # Go adds and deletes in any order.
            body["metadata"].pop("finalizers", None)
    elif kind == "Deployment":
        items = draw(st.lists(st.sampled_from(_PATCHED_ITEMS), max_size=3))
        parts = draw(st.lists(st.sampled_from(_PATCHED_SPECS), max_size=1))
        if items:
            parts.append({"template": {"spec": {"containers": items}}})
        if parts:
            body["spec"] = _joined(parts)
    elif not _one_in(draw, 4):
        body |= draw(_content(kind))
    request: Object = {"verb": "patch", "api_version": api_version, "kind": kind, "name": "a"}
    if not _one_in(draw, 3):
        request["field_manager"] = draw(st.sampled_from(_MANAGERS))
    return {**request, "content_type": STRATEGIC, "body": body}


_SOUND: dict[str, Object] = {
    "Deployment": {
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "containers": [
                        {"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}]},
                        {"name": "d", "image": "i"},
                    ],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                },
            },
        }
    }
}


@st.composite
def _strategic_sequence(draw: st.DrawFn) -> list[Object]:
    """Draw a creation, and strategic merge patches with a few applies among them."""
    kind = draw(st.sampled_from(["Deployment"] * 4 + [name for name in KINDS if name != "Mesh"]))
    api_version, _ = KINDS[kind]
    metadata = {"name": "a", **draw(st.sampled_from(_METADATA))}
    content = _SOUND.get(kind) or draw(_content(kind))
    body = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
    created = {"verb": "create", "api_version": api_version, "kind": kind, "body": body}
    step = st.one_of(*[_strategic(kind)] * 5, _request(kind))
    return [created, *draw(st.lists(step, min_size=1, max_size=6))]


STRATEGICS = _strategic_sequence()
