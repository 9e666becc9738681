"""Sequences of requests over two kinds and two names each, in the form of the record's lines.

The pools are so small that requests meet. The sequences leave out requests that two servers may
answer differently: reads from a cache (resourceVersion 0), generated names, and resourceVersions
from the future, for which a real server waits three seconds. They write the status in one version:
with owners in two, managedFields alone may change, and a world that shows them late stores no such
write.
"""

import copy
import json
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from captep_memory import Object
from tests.memory.kinds import MANIFESTS, path_of

__all__ = ["BUILT_INS", "NAMES", "SEQUENCES", "VIEWS", "WIRES"]

Template = dict[str, Any]

NAMES = {"Thing": ("a", "b"), "Secret": ("s", "t")}
THING, THING_V2, SECRET = ("ex.io/v1", "Thing"), ("ex.io/v2", "Thing"), ("v1", "Secret")
_OWNER = {"apiVersion": "ex.io/v1", "kind": "Thing", "name": "a", "uid": "$uid:a"}
_ANOTHER = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "uuu"}
# These make two writes of one object meet: the current value, then the values of a client that has
# read too early, then wrong ones or none.
_UIDS = ("$uid:{}", "$uid:{}", "$uid-before:{}", "other", "")
_VERSIONS = ("$rv:{}", "$rv:{}", "$rv:{}", "$rv-before:{}", "1", "0", "", "abc")
_METADATA: tuple[Object, ...] = (
    {"labels": {"x": "1"}},
    {"labels": {"x": "2", "y": "1"}},
    {"labels": {}},
    {"labels": None},
    {"labels": {"x": None}},
    {"labels": {"x": "no value"}},
    {"annotations": {"ex.io/n": "1"}},
    {"annotations": {"ex.io/n": ""}},
    {"finalizers": ["ex.io/f"]},
    {"finalizers": ["ex.io/f", "ex.io/g"]},
    {"finalizers": ["ex.io/g"]},
    {"finalizers": ["ex.io/f", "ex.io/f"]},
    {"finalizers": ["orphan"]},
    {"finalizers": ["foregroundDeletion", "ex.io/f"]},
    {"finalizers": ["unqualified"]},
    *({"finalizers": []}, {"finalizers": None}) * 2,
    {"ownerReferences": [_OWNER]},
    {"ownerReferences": [_OWNER, _OWNER]},
    {"ownerReferences": [{**_OWNER, "controller": True, "blockOwnerDeletion": True}, _ANOTHER]},
    {"ownerReferences": [{**_OWNER, "controller": True}, {**_ANOTHER, "controller": True}]},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "s"}]},
    {"ownerReferences": []},
    {"ownerReferences": None},
    {"generation": 7},
    {"generation": -1},
    {"creationTimestamp": "2020-01-01T00:00:00Z"},
    {"creationTimestamp": None},
    {"deletionTimestamp": "2020-01-01T00:00:00Z"},
    {"deletionTimestamp": None},
    {"deletionGracePeriodSeconds": 5},
    {"selfLink": "/x"},
    {"unknown": 1},
    {"namespace": "elsewhere"},
    {"name": "c"},
    {"labels": {"x": 1}},
)
_SPECS: tuple[Any, ...] = (
    {"size": 1},
    {"size": 1},
    {"size": 2},
    {"size": 3, "mode": "B"},
    {"size": 1, "mode": None, "opt": None, "name": None},
    {"size": 2, "list": [{"k": "a", "v": 1}]},
    {"size": 2, "list": [{"k": "a"}, {"k": "a"}]},
    {"size": 2, "set": ["a", "b"], "tags": {"t": "1"}},
    {"size": 4, "any": {"n": None, "deep": {"er": [1, None]}}, "junk": 1},
    {"size": 2.0, "num": 4, "ios": "5%"},
    {"size": 2, "flag": True, "props": {"p": 1}},
    {"size": 99},
    {"mode": "C"},
    {"size": "2"},
    {},
    None,
    "text",
)
_STATUSES: tuple[Any, ...] = (
    {"phase": "X"},
    {"phase": "Y", "n": 1},
    {"n": 1},
    {"conds": [{"type": "Ready", "at": "2020-01-01T00:00:00Z"}]},
    {"phase": None},
    {"junk": 1},
    {},
    None,
    {"phase": "Z"},
    {"n": "1"},
)
_CONTENTS: tuple[Object, ...] = (
    {},
    {"data": {"k": "dg=="}},
    {"data": {"k": "dg=="}},
    {"data": {"k": "dw==", "l": ""}},
    {"data": {"k": None}},
    {"data": {}},
    {"data": None},
    {"stringData": {"k": "v"}},
    {"stringData": {"k": "w", "m": ""}},
    {"stringData": {"k": None}},
    {"type": "Opaque"},
    {"type": "ex.io/t"},
    {"type": "kubernetes.io/tls"},
    {"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}},
    {"type": ""},
    {"immutable": True},
    {"immutable": False},
    {"immutable": None},
    {"data": {"no key": "dg=="}},
    {"data": {"k": "?"}},
    {"data": {"k": 1}},
    {"junk": 1},
)
_OPERATIONS: tuple[Object, ...] = (
    {"op": "test", "path": "/metadata/resourceVersion", "value": "$rv:{}"},
    {"op": "test", "path": "/metadata/resourceVersion", "value": "$rv-before:{}"},
    {"op": "test", "path": "/metadata/uid", "value": "$uid:{}"},
    {"op": "test", "path": "/metadata/uid", "value": "other"},
    {"op": "test", "path": "/metadata/finalizers", "value": ["ex.io/f"]},
    {"op": "test", "path": "/metadata/finalizers", "value": None},
    {"op": "add", "path": "/metadata/finalizers", "value": ["ex.io/f"]},
    {"op": "add", "path": "/metadata/finalizers/-", "value": "ex.io/g"},
    {"op": "add", "path": "/metadata/finalizers/0", "value": "ex.io/f"},
    *(
        {"op": "remove", "path": "/metadata/finalizers/0"},
        {"op": "remove", "path": "/metadata/finalizers"},
    )
    * 2,
    {"op": "replace", "path": "/metadata/finalizers", "value": []},
    {"op": "add", "path": "/metadata/labels", "value": {"x": "1"}},
    {"op": "add", "path": "/metadata/labels/x", "value": "2"},
    {"op": "replace", "path": "/metadata/labels/x", "value": "2"},
    {"op": "remove", "path": "/metadata/labels/x"},
    {"op": "replace", "path": "/metadata/resourceVersion", "value": "1"},
    {"op": "remove", "path": "/metadata/resourceVersion"},
    {"op": "replace", "path": "/metadata/uid", "value": "other"},
    {"op": "replace", "path": "/metadata/name", "value": "c"},
    {"op": "remove", "path": "/metadata/deletionTimestamp"},
    {"op": "remove", "path": "/metadata"},
    {"op": "remove", "path": "/kind"},
    {"op": "replace", "path": "/apiVersion", "value": "ex.io/v2"},
    {"op": "replace", "path": "", "value": {}},
    {"op": "move", "from": "/metadata/labels", "path": "/metadata/annotations"},
    {"op": "copy", "from": "/metadata/labels", "path": "/metadata/annotations"},
    {"op": "test", "path": "/metadata/labels/x"},
    {"op": "add", "path": "/metadata/labels/x"},
    {"op": "other", "path": "/metadata"},
    {"path": "/metadata"},
    {"op": "add", "path": "metadata", "value": 1},
)
_ON_THINGS: tuple[Object, ...] = (
    {"op": "replace", "path": "/spec/size", "value": 2},
    {"op": "add", "path": "/spec/size", "value": 3},
    {"op": "remove", "path": "/spec/size"},
    {"op": "add", "path": "/spec", "value": {"size": 1}},
    {"op": "remove", "path": "/spec"},
    {"op": "add", "path": "/spec/list", "value": [{"k": "a"}]},
    {"op": "add", "path": "/spec/list/-", "value": {"k": "b"}},
    {"op": "add", "path": "/spec/list/1", "value": {"k": "c"}},
    {"op": "replace", "path": "/spec/list/-1", "value": {"k": "d"}},
    {"op": "remove", "path": "/spec/list/0/v"},
    {"op": "copy", "from": "/spec/list/0", "path": "/spec/list/-"},
    {"op": "add", "path": "/status", "value": {"phase": "X"}},
    {"op": "add", "path": "/status/phase", "value": "Y"},
    {"op": "replace", "path": "/status/phase", "value": None},
    {"op": "remove", "path": "/status"},
    {"op": "test", "path": "/spec/size", "value": 1},
    {"op": "test", "path": "/spec/size", "value": 2.0},
    {"op": "test", "path": "/spec/nothing", "value": None},
)
_ON_SECRETS: tuple[Object, ...] = (
    {"op": "add", "path": "/data", "value": {"k": "dg=="}},
    {"op": "add", "path": "/data/k", "value": "dw=="},
    {"op": "replace", "path": "/data/k", "value": "?"},
    {"op": "remove", "path": "/data/k"},
    {"op": "remove", "path": "/data"},
    {"op": "add", "path": "/stringData", "value": {"k": "v"}},
    {"op": "add", "path": "/immutable", "value": True},
    {"op": "replace", "path": "/type", "value": "ex.io/t"},
    {"op": "remove", "path": "/type"},
    {"op": "test", "path": "/data/k", "value": "dg=="},
)
_DELETIONS: tuple[Object, ...] = (
    {},
    {"kind": "DeleteOptions", "apiVersion": "v1"},
    {"propagationPolicy": "Foreground"},
    {"propagationPolicy": "Background"},
    {"propagationPolicy": "Orphan"},
    {"orphanDependents": True},
    *({"orphanDependents": False},) * 2,
    {"gracePeriodSeconds": 0},
    {"gracePeriodSeconds": 30},
    {"dryRun": ["All"]},
    {"dryRun": ["Some"]},
    {"propagationPolicy": "Sideways"},
    {"propagationPolicy": "Orphan", "orphanDependents": False},
)
_LISTS: tuple[Template, ...] = (
    {},
    {},
    {"label_selector": "x=1"},
    {"label_selector": "x in (1,2),y"},
    {"label_selector": "x!=1"},
    {"label_selector": "!x"},
    {"label_selector": "x=="},
    {"label_selector": "x in"},
    {"field_selector": "metadata.name=a"},
    {"field_selector": "metadata.name!=a"},
    {"field_selector": "type=Opaque"},
    {"limit": 1},
    {"limit": 1},
    {"limit": 1, "label_selector": "x"},
    {"limit": 1, "continue_token": "$continue"},
    {"limit": 5, "continue_token": "$continue"},
    {"continue_token": "$continue"},
    {"resource_version": "$rv:{}", "resource_version_match": "Exact"},
    {"resource_version": "$rv-before:{}", "resource_version_match": "Exact"},
    {"resource_version": "$rv:{}", "resource_version_match": "Exact", "limit": 1},
    {"resource_version": "$rv-before:{}", "limit": 1},
    *({"resource_version_match": "NotOlderThan"},) * 2,
)
_VERBS = st.sampled_from(
    ["create"] * 4
    + ["update"] * 4
    + ["patch"] * 4
    + ["json-patch"] * 3
    + ["delete"] * 4
    + ["list"] * 2
    + ["get"] * 2
)
_KINDS = st.sampled_from([THING] * 5 + [SECRET] * 5 + [THING_V2])


def _about(value: Any, name: str) -> Any:  # noqa: ANN401
    """Return a member of a pool with `{}` replaced by a name."""
    if isinstance(value, dict):
        return {key: _about(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_about(item, name) for item in value]
    return value.replace("{}", name) if isinstance(value, str) else value


def _one_in(draw: st.DrawFn, count: int) -> bool:
    return draw(st.integers(1, count)) == count


@st.composite
def _metadata(draw: st.DrawFn, name: str) -> Object:
    """Draw some metadata or none; uid and resourceVersion are more frequent than other fields."""
    metadata: Object = {}
    for parts in draw(st.lists(st.sampled_from(_METADATA), max_size=2)):
        metadata |= parts
    if _one_in(draw, 3):
        metadata["resourceVersion"] = draw(st.sampled_from(_VERSIONS))
    if _one_in(draw, 4):
        metadata["uid"] = draw(st.sampled_from(_UIDS))
    return dict(_about(metadata, name))


@st.composite
def _content(draw: st.DrawFn, kind: str) -> Object:
    """Draw the fields other than the metadata."""
    if kind == "Secret":
        return {
            key: value
            for part in draw(st.lists(st.sampled_from(_CONTENTS), max_size=2))
            for key, value in part.items()
        }
    content: Object = {"spec": draw(st.sampled_from(_SPECS))} if _one_in(draw, 2) else {}
    return {**content, **({"status": draw(st.sampled_from(_STATUSES))} if _one_in(draw, 2) else {})}


@st.composite
def _whole(draw: st.DrawFn, api_version: str, kind: str, name: str) -> Object:
    """Draw an object that is mostly sound."""
    content = draw(_content(kind))
    if kind == "Thing" and not _one_in(draw, 6):
        content = {"spec": draw(st.sampled_from(_SPECS[:5])), **content}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, **draw(_metadata(name))},
        **content,
    }


@st.composite
def _body(draw: st.DrawFn, verb: str, api_version: str, kind: str, name: str) -> Any:  # noqa: ANN401
    match verb:
        case "create" | "update":
            body = draw(_whole(api_version, kind, name))
            if verb == "update" and not _one_in(draw, 4):
                body["metadata"].setdefault("resourceVersion", f"$rv:{name}")
            return body
        case "patch":
            metadata = draw(_metadata(name))
            return {**draw(_content(kind)), **({"metadata": metadata} if metadata else {})}
        case "json-patch":
            pool = _OPERATIONS + (_ON_SECRETS if kind == "Secret" else _ON_THINGS)
            return _about(draw(st.lists(st.sampled_from(pool), max_size=3)), name)
        case "delete" if not _one_in(draw, 3):
            options = dict(draw(st.sampled_from(_DELETIONS)))
            if _one_in(draw, 2):
                place = draw(st.sampled_from(["uid", "resourceVersion"]))
                words: tuple[str, ...] = _UIDS if place == "uid" else _VERSIONS
                options["preconditions"] = {place: draw(st.sampled_from(words)).format(name)}
            return options
        case _:
            return None


def _sound(api_version: str, kind: str, name: str, **metadata: Any) -> Object:  # noqa: ANN401  # JSON
    content: Object = {"data": {"k": "dg=="}} if kind == "Secret" else {"spec": {"size": 1}}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, **metadata},
        **content,
    }


def _pointed(api_version: str, kind: str, name: str) -> tuple[Template, ...]:
    """Return requests that chance alone draws too rarely.

    They are a stale write, the end of a deletion and its refusals, a status, dry runs, lists of the
    past and lists in pages.
    """
    of_all = {"api_version": api_version, "kind": kind}
    here = {**of_all, "name": name}
    version = {"resourceVersion": f"$rv:{name}"}
    more = {"finalizers": ["ex.io/f", "ex.io/g"]}
    sound = _sound(api_version, kind, name, **version)
    update = {"verb": "update", **here, "body": sound}
    status = (
        {"verb": "patch", "body": {"status": {"phase": "X"}}},
        {"verb": "update", "body": {**sound, "status": {"phase": "Y"}}},
    )
    return (
        update,
        {**update, "dry_run": True},
        {**update, "body": _sound(api_version, kind, name, resourceVersion="1")},
        {**update, "body": _sound(api_version, kind, name, **version, **more)},
        {"verb": "patch", **here, "body": {"metadata": more}},
        {"verb": "patch", **here, "body": {"metadata": {**version, "finalizers": []}}},
        {"verb": "patch", **here, "body": {"metadata": {"labels": {"x": "1"}}}, "dry_run": True},
        {"verb": "delete", **here, "dry_run": True},
        {"verb": "delete", **here, "body": {"preconditions": {"resourceVersion": "1"}}},
        {"verb": "delete", **here, "body": {"preconditions": {"uid": f"$uid:{name}"}}},
        {"verb": "delete", **here, "body": {"orphanDependents": False}},
        {
            "verb": "list",
            **of_all,
            "resource_version": f"$rv-before:{name}",
            "resource_version_match": "Exact",
        },
        {"verb": "list", **of_all, "limit": 1},
        {"verb": "delete", **of_all},
        {"verb": "delete", **of_all, "label_selector": "x in ("},
        {"verb": "delete", **of_all, "body": {"preconditions": {"uid": "other"}}},
        {"verb": "patch", **here, "body": {"metadata": {"resourceVersion": f"$rv-before:{name}"}}},
        {"verb": "patch", **here, "body": {"metadata": {"resourceVersion": "1"}}},
        *(
            {**here, **each, "subresource": "status"}
            for each in status
            if (api_version, kind) == THING
        ),
    )


_COLLECTIONS: tuple[Object, ...] = (
    {},
    {"label_selector": "x=1"},
    {"label_selector": "!x"},
    {"label_selector": "x in ("},
    {"field_selector": "metadata.name=a"},
    {"field_selector": "metadata.name!=s"},
    {"field_selector": "spec.none=a"},
    {"limit": 1},
    {"label_selector": "x", "body": {"propagationPolicy": "Foreground"}},
    {"body": {"propagationPolicy": "Orphan"}},
    {"body": {"preconditions": {"uid": "$uid:a"}}},
    {"body": {"preconditions": {"resourceVersion": "$rv:s"}}},
    {"body": {"dryRun": ["All"]}},
)
"""What deletes a whole collection, or a part of it."""


@st.composite
def requests(draw: st.DrawFn) -> Template:
    """Draw one request."""
    verb = draw(_VERBS)
    api_version, kind = draw(_KINDS)
    name = draw(st.sampled_from(NAMES[kind]))
    if _one_in(draw, 3):
        return draw(st.sampled_from(_pointed(api_version, kind, NAMES[kind][0])))
    request: Template = {
        "verb": verb.removeprefix("json-"),
        "api_version": api_version,
        "kind": kind,
    }
    if verb == "list":
        return {**request, **_about(draw(st.sampled_from(_LISTS)), name)}
    if verb == "delete" and _one_in(draw, 8):
        selected = draw(st.sampled_from(_COLLECTIONS))
        is_dry = "body" not in selected and _one_in(draw, 4)
        return {**request, **selected, **({"dry_run": True} if is_dry else {})}
    request |= {"name": name, "body": draw(_body(verb, api_version, kind, name))}
    if verb == "json-patch":
        request["content_type"] = "application/json-patch+json"
    has_status = (api_version, kind) == THING
    if verb in ("update", "patch", "json-patch", "get") and has_status and _one_in(draw, 3):
        request["subresource"] = "status"
    if verb in ("create", "update", "patch", "json-patch") or (
        verb == "delete" and request["body"] is None
    ):
        request |= {"dry_run": True} if _one_in(draw, 8) else {}
    if verb in ("create", "update", "patch", "json-patch"):
        request |= {"field_manager": "other"} if _one_in(draw, 6) else {}
    return {key: value for key, value in request.items() if value is not None}


def _created(kind: tuple[str, str], name: str, **metadata: Any) -> Template:  # noqa: ANN401  # JSON
    return {
        "verb": "create",
        "api_version": kind[0],
        "kind": kind[1],
        "name": name,
        "body": _sound(*kind, name, **metadata),
    }


def _deleted(kind: tuple[str, str], name: str) -> Template:
    return {"verb": "delete", "api_version": kind[0], "kind": kind[1], "name": name}


_ALL = (
    _created(THING, "a"),
    _created(SECRET, "s"),
    _created(THING, "b", labels={"x": "1"}),
    _created(SECRET, "t", labels={"x": "1"}),
)
_HELD = (
    _created(THING, "a", finalizers=["ex.io/f"]),
    _created(SECRET, "s", finalizers=["ex.io/f"]),
)
# The worlds to begin in are built and not left to chance: objects, objects that wait for a
# finalizer, and second incarnations.
_OPENINGS: tuple[tuple[Template, ...], ...] = (
    (),
    _ALL,
    (*_HELD, *_ALL[2:]),
    *((*_HELD, *_ALL[2:], _deleted(THING, "a"), _deleted(SECRET, "s")),) * 2,
    (*_ALL, _deleted(THING, "a"), _deleted(SECRET, "s"), *_ALL[:2]),
    (_created(THING_V2, "a"), _created(THING_V2, "b", finalizers=["ex.io/f"]), *_ALL[1::2]),
)
SEQUENCES = st.builds(
    lambda opening, rest: [*opening, *rest],
    st.sampled_from(_OPENINGS),
    st.lists(requests(), min_size=4, max_size=12),
)
# The selectors of the watch that shows the whole sequence at its end.
VIEWS = st.sampled_from(
    [
        {},
        {},
        {"label_selector": "x=1"},
        {"label_selector": "x"},
        {"field_selector": "metadata.name!=a"},
    ]
)


_MEDIA = (
    "",
    "*/*",
    "application/*",
    "application/json",
    "application/json; charset=utf-8",
    "application/json;pretty=1",
    "application/yaml",
    "application/cbor",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadata",
    "application/json;as=Other;g=meta.k8s.io;v=v1",
    "application/json;g=meta.k8s.io",
    "application/json;AS=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    "Application/json",
    "application/json;a=b;a=c",
    ";",
    "text/html",
    "text/html, application/json;q=0.5",
    "text/*, */*;q=0.1",
    "text/plain",
    "garbage",
    ";",
    ",",
)
_PATCHES = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/merge-patch+json; charset=utf-8",
)
_VALUES = (
    "",
    "0",
    "1",
    "1m",
    "-1",
    "abc",
    "true",
    "false",
    "TRUE",
    "All",
    "1.5",
    "%zz",
    "%20",
    "x;y=1",
)
_SELECTORS = (
    *(
        "x",
        "!x",
        "x=1",
        "x==1",
        "x!=1",
        "x>1",
        "x<1",
        "x>a",
        "x in (1,2)",
        "x notin (1)",
        "x in ()",
    ),
    *(
        "x=1,y",
        "x,",
        ",x",
        "x in (1",
        "x=\u00fc",
        "\u00fc",
        "x=(1)",
        "!x=1",
        "a/b",
        "a/b/c",
        "x =1",
        "-",
        "in",
    ),
)
_FIELDS = (
    *("metadata.name=a", "metadata.name!=a", "metadata.name", "metadata.name=a=b", "spec.x=1", "="),
    *("metadata.name=a\\x", "metadata.name=a\\", "metadata.name=a\\=b", "metadata.name=a,b"),
    *("metadata.name=a\\,b", "metadata.namespace=x", "type=Opaque", ",", "metadata.name==a,"),
)
_BYTES = (
    *(
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "1",
        "{}",
        "NaN",
        "\xef\xbb\xbf{}",
        "{} x",
        "{}{}",
        "a: 1",
        "a: [",
    ),
    *('{"spec":{"size":1.5}}', '{"spec":{"size":1e400}}', '{"spec":{"size":9223372036854775808}}'),
    *(
        '{"spec":{"any":{"n":"\xff"}}}',
        '{"spec":{"any":{"n":"\\ud800"}}}',
        '{"spec":{"any":{"n":-0.0}}}',
    ),
    *(
        '{"metadata":{"labels":{"x":"1"}}}',
        '{"data":{"k":"dw=="}}',
        '[{"op":"test","path":"/kind"}]',
    ),
)
_PARAMETERS = (
    *("dryRun", "fieldManager", "fieldValidation", "limit", "timeoutSeconds", "continue", "pretty"),
    *("resourceVersionMatch", "allowWatchBookmarks", "sendInitialEvents", "force", "unknown"),
    *("gracePeriodSeconds", "propagationPolicy", "timeout"),
)
_PATHS = (
    *("/api/v1/namespaces/{}/secrets", "/api/v1/namespaces/{}/secrets/s", "/api/v1/secrets/s"),
    *("/apis/ex.io/v1/namespaces/{}/things", "/apis/ex.io/v1/namespaces/{}/things/a"),
    *("/apis/ex.io/v1/namespaces/{}/things/a/status", "/api/v1/namespaces/{}/secrets/s/status"),
    *("/apis/ex.io/v2/namespaces/{}/things/a", "/apis/ex.io/v3/namespaces/{}/things"),
    *("/apis/ex.io/v1/namespaces/{}/things/", "/api/v1/namespaces/{}/secrets//s", "//api/v1/x"),
    *("//apis/ex.io/v1/namespaces/{}/things", "/apis/ex.io/v1//things", "/version/x", "/a%zz"),
    *("/api/v1/namespaces/{}/nothings", "/apis/none.io/v1/nothings", "/nonsense", "/healthz"),
)


@st.composite
def _wire(draw: st.DrawFn) -> Template:
    """One request as bytes, odd in some of its parts."""
    method = draw(
        st.sampled_from(
            ["GET"] * 4 + ["POST", "PUT", "PATCH", "PATCH", "DELETE", "OPTIONS", "HEAD"]
        )
    )
    path = draw(st.sampled_from(_PATHS))
    pairs = draw(
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from(_PARAMETERS), st.sampled_from(_VALUES)),
                st.tuples(st.just("labelSelector"), st.sampled_from(_SELECTORS)),
                st.tuples(st.just("fieldSelector"), st.sampled_from(_FIELDS)),
            ),
            max_size=2,
        )
    )
    headers = {"Accept": draw(st.sampled_from(_MEDIA))} if _one_in(draw, 2) else {}
    if method not in ("GET", "HEAD", "OPTIONS") and not _one_in(draw, 4):
        media = (_PATCHES if method == "PATCH" else ()) * 3 + _MEDIA[3:7] * 3 + _MEDIA
        headers["Content-Type"] = draw(st.sampled_from(media))
    body = "" if method in ("GET", "HEAD", "OPTIONS") else draw(_wire_body(path))
    query = "&".join(f"{name}={quote(value, safe='%')}" for name, value in pairs)
    target = f"{path}?{query}" if query else path
    return {"method": method, "target": target, "headers": headers, "body": body}


@st.composite
def _wire_body(draw: st.DrawFn, path: str) -> str:
    if _one_in(draw, 2):
        return draw(st.sampled_from(_BYTES))
    kind, name = (SECRET, "s") if "secrets" in path else (THING, "a")
    return json.dumps(_sound(*kind, name))


WIRES = st.lists(_wire(), min_size=1, max_size=6)
"""Requests as bytes, as in tests/memory/wire.py; `{}` in a target stands for a namespace."""


_ODD: tuple[Any, ...] = (
    *(
        None,
        "",
        "x",
        "A_",
        "a/b",
        "1",
        "1.5Gi",
        "1000m",
        0,
        1,
        -1,
        5,
        600,
        1.5,
        True,
        False,
        [],
        {},
    ),
    *([{}], ["x"], {"a": "b"}, {"a": "c"}, [{"name": "c"}], "Recreate", "Never", "i:2"),
    *("NodePort", "None", "LoadBalancer", "ClientIP", "UDP", "25%", "0%", "101%", "10.96.0.9"),
    *("ReadWriteMany", ["ReadWriteMany"], "Parallel", "OnDelete", "Retain", "Exact", "Ignore"),
    *(30080, 65536, {"type": "OnDelete"}, {"type": "Recreate"}, [{"name": "d", "port": 81}]),
    *({"matchLabels": {"a": "b"}}, {"matchExpressions": [{"key": "a", "operator": "Exists"}]}),
    *({"matchExpressions": [{"key": "a", "operator": "In"}]}, "@daily", "0 0 31 2 *", "Indexed"),
)
_EXTRA = (
    *("replicas", "paused", "minReadySeconds", "command", "args", "env", "resources", "ports"),
    *("labels", "annotations", "junk", "nodeSelector", "serviceAccountName", "imagePullPolicy"),
    *("resourceNames", "nonResourceURLs", "automountServiceAccountToken", "revisionHistoryLimit"),
    *("type", "clusterIP", "nodePort", "targetPort", "sessionAffinity", "externalName", "selector"),
    *("accessModes", "storageClassName", "volumeMode", "volumeName", "schedule", "suspend", "name"),
    *("parallelism", "completions", "completionMode", "restartPolicy", "serviceName", "value"),
    *("updateStrategy", "strategy", "maxUnavailable", "minAvailable", "podManagementPolicy"),
    *("host", "path", "pathType", "protocol", "policyTypes", "egress", "failurePolicy", "url"),
    *(
        "hostNetwork",
        "dnsPolicy",
        "volumeMounts",
        "livenessProbe",
        "securityContext",
        "reclaimPolicy",
    ),
    *("affinity", "topologySpreadConstraints", "hostPort", "lifecycle", "dnsConfig", "weight"),
    *("finalizers", "hard", "minReplicas", "metrics", "reason", "immutable", "backoffLimit"),
)


def _paths(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value in an object, apart from its type and its name."""
    if isinstance(value, dict):
        below: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    else:
        return []
    fixed = {("apiVersion",), ("kind",), ("metadata",)}
    found = [((*at, key), item) for key, item in below if (*at, key) not in fixed]
    return [path for place, item in found for path in (place, *_paths(item, place))]


@st.composite
def _changed(draw: st.DrawFn, manifest: Object) -> Object:
    """A manifest with some of its values replaced, removed or added."""
    body = copy.deepcopy(manifest)
    for _ in range(draw(st.integers(0, 2))):
        places = _paths(body)
        if not places:
            break
        place = draw(st.sampled_from(places))
        target = body
        for step in place[:-1]:
            target = target[step]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                target[place[-1]] = copy.deepcopy(draw(st.sampled_from(_ODD)))
            case "remove":
                del target[place[-1]]
            case _ if isinstance(target, dict):
                name = draw(st.sampled_from(_EXTRA))
                target[name] = copy.deepcopy(draw(st.sampled_from(_ODD)))
    return body


_JSON, _MERGE = "application/json", "application/merge-patch+json"
_STEPS: tuple[tuple[str, str, str], ...] = (
    *(("POST", _JSON, ""),) * 3,
    *(("PUT", _JSON, ""),) * 2,
    *(("PATCH", _MERGE, ""),) * 2,
    *(("PATCH", "application/json-patch+json", ""),) * 2,
    *(("PATCH", _MERGE, "/status"), ("PATCH", _MERGE, "/scale")),
    *(("GET", _JSON, ""), ("GET", _JSON, "/scale"), ("DELETE", _JSON, "")),
    ("DELETE", _JSON, "*"),
)
"""A method, its media type, and the subresource; `*` stands for the collection."""
_KIND_OPERATIONS: tuple[Object, ...] = (
    {"op": "add", "path": "/metadata/labels", "value": {"x": "1"}},
    {"op": "remove", "path": "/metadata/labels/x"},
    {"op": "add", "path": "/metadata/annotations", "value": {"ex.io/n": "1"}},
    {"op": "replace", "path": "/spec/replicas", "value": 3},
    {"op": "replace", "path": "/spec/replicas", "value": -1},
    {"op": "remove", "path": "/spec/template/spec/containers/0/resources"},
    {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "i:3"},
    {"op": "add", "path": "/spec/ports/-", "value": {"name": "b", "port": 81}},
    {"op": "test", "path": "/kind", "value": "Service"},
    {"op": "remove", "path": "/spec"},
)
_KIND_STATUSES: tuple[Object, ...] = (
    {"status": {}},
    {"status": {"replicas": 2, "readyReplicas": 1}},
    {"status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}},
    {"status": {"observedGeneration": -1}},
    {"metadata": {"labels": {"x": "1"}, "annotations": {"ex.io/n": "1"}}},
    {"spec": {"replicas": 7}},
    {"status": None},
    {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
)
_SCALES: tuple[Object, ...] = (
    # No manifest has this number: the first scale without an effect is a write, of managedFields.
    {"spec": {"replicas": 9}},
    {"spec": {"replicas": -2}},
    {"spec": {"replicas": None}},
    {"metadata": {"resourceVersion": "1"}},
)


@st.composite
def _step_body(draw: st.DrawFn, step: tuple[str, str, str], manifest: Object) -> Any:  # noqa: ANN401
    """Draw the body of a step."""
    match step:
        case (_, _, "/status"):
            return draw(st.sampled_from(_KIND_STATUSES))
        case (_, _, "/scale"):
            return draw(st.sampled_from(_SCALES))
        case (_, "application/json-patch+json", _):
            return draw(st.lists(st.sampled_from(_KIND_OPERATIONS), max_size=2))
        case _:
            return draw(_changed(manifest))


@st.composite
def _about_kind(draw: st.DrawFn) -> list[Template]:
    """A creation of a built-in kind, and updates and patches of it."""
    manifest = draw(st.sampled_from(MANIFESTS))
    path = path_of(manifest)
    named = {**manifest, "metadata": {"name": "{}"}}
    lines: list[Template] = []
    for kind in draw(st.lists(st.sampled_from(_STEPS), max_size=5)):
        method, media, below = kind
        if below == "*" and "{}" not in path:
            # The server's own objects are in a collection without a namespace.
            continue
        target = path if method == "POST" or below == "*" else f"{path}/{{}}{below}"
        body = "" if method in ("GET", "DELETE") else json.dumps(draw(_step_body(kind, named)))
        lines.append(
            {"method": method, "target": target, "headers": {"Content-Type": media}, "body": body}
        )
    first = {"method": "POST", "target": path, "headers": {"Content-Type": "application/json"}}
    return [{**first, "body": json.dumps(named)}, *lines]


BUILT_INS = _about_kind()
"""Requests about one object of a built-in kind; `{}` stands for its name and its namespace."""
