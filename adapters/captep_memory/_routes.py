"""URLs of the Kubernetes API to requests: /api/v1/..., /apis/group/version/..."""

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qs, unquote

from attrs import frozen

from captep_memory._json import JSON
from captep_memory._kinds import ServedKind, plural_of
from captep_memory._ownership import manager_causes
from captep_memory._request import Request, Verb, group_of
from captep_memory._status import (
    Cause,
    bad_request,
    failure,
    invalid,
    not_supported,
    not_supported_on,
)
from captep_memory._typed import typed_kinds
from captep_memory._world import World

__all__ = [
    "BUILT_IN",
    "Query",
    "Route",
    "check_timeout",
    "delete_options",
    "has_bad_escape",
    "head_of",
    "plurals_of",
    "query_of",
    "request_of",
    "route_of",
    "verb_of",
]

# (group, kind) of built-in resources, for URLs without a definition.
BUILT_IN: tuple[tuple[str, str], ...] = (
    *(
        ("", kind)
        for kind in (
            "Secret",
            "ConfigMap",
            "Event",
            "Namespace",
            "Pod",
            "Service",
            "ServiceAccount",
            "Node",
        )
    ),
    ("coordination.k8s.io", "Lease"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
)
_VERBS: Mapping[str, Verb] = {
    "GET": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "POST": "create",
}
# The segments before a resource: /api/v1, /apis/group/version.
_DEPTHS = {"api": 2, "apis": 3}
_OPTIONS: Mapping[Verb, str] = {
    "create": "CreateOptions",
    "update": "UpdateOptions",
    "patch": "PatchOptions",
    "delete": "DeleteOptions",
}
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
# FieldManagerMaxLength of k8s.io/apimachinery.
_MANAGER_LIMIT = 128
_INT64 = 1 << 63
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([^.0-9]*)")
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
Query = Mapping[str, Sequence[str]]
"""A query string: every value of a parameter, in order."""


@frozen
class Route:
    """The parts of a resource path.

    `has_gap` is whether an empty segment stands in it, `skips_namespace` whether it stands in place
    of a namespace.
    """

    api_version: str
    plural: str
    namespace: str | None
    name: str | None
    subresource: str | None
    has_gap: bool = False
    skips_namespace: bool = False

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.api_version.rpartition("/")[0]


def plurals_of(world: World, kinds: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the kind of each (group, plural).

    Definitions, stored objects, the built-in kinds and `kinds`, as (group, kind), yield them.
    """
    stored = ((group, kind) for group, kind, _ in world.shelves)
    table = {(group, plural_of(kind)): kind for group, kind in (*BUILT_IN, *stored, *kinds)}
    for name, recorded in typed_kinds().items():
        api_version, _, kind = name.rpartition("/")
        table[group_of(api_version), recorded["resource"]["name"]] = kind
    for (group, kind), custom in world.catalog.custom.items():
        table |= {(group, version.plural): kind for version in custom.versions.values()}
    return table


def route_of(target: str) -> Route | None:
    """Return the parts of a resource path, None for any other path.

    An empty segment after the version counts as absent; one before it makes another path.
    """
    path = target.partition("?")[0]
    head = head_of(path)
    after = _segments(path)[_DEPTHS.get(_segments(path)[0], 0) :]
    rest = [part for part in after if part]
    if head is None:
        return None
    namespace = None
    skips_namespace = rest[0] == "namespaces" and len(rest) > 1 and after[1] == ""
    if skips_namespace:
        # /namespaces//secrets is a list over all namespaces.
        rest = rest[1:]
    elif rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace = rest[1]
        rest = rest[2:]
    if len(rest) > 3:
        return None
    plural, name, subresource = (*rest, None, None)[:3]
    gap = "" in _without_end(after) and not (after[0] == "namespaces" and after[1:2] == [""])
    return Route(head, str(plural), namespace, name, subresource, gap, skips_namespace)


def _without_end(segments: list[str]) -> list[str]:
    """Return segments without the empty ones at the end: slashes there mean nothing."""
    kept = list(segments)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def head_of(path: str) -> str | None:
    """Return the apiVersion of a path below a group and a version, None for any other path."""
    segments = _segments(path)
    depth = _DEPTHS.get(segments[0], 0)
    head = segments[:depth]
    if not depth or not all(head) or not any(segments[depth:]):
        # An empty group belongs to nothing: it counts as an unknown one.
        return "?/?" if depth and len(segments) > depth and not all(head) else None
    return "/".join(head[1:])


def has_bad_escape(target: str) -> bool:
    """Whether the path of a target has a percent sign that escapes nothing."""
    return _BAD_ESCAPE.search(target.partition("?")[0]) is not None


def _segments(path: str) -> list[str]:
    return unquote(path).split("/")[1:] or [""]


def query_of(target: str) -> Query:
    """Return the query of a target; a parameter without `=` has the empty value.

    A malformed pair counts as absent, as to Go.
    """
    text = target.partition("?")[2]
    pairs = (pair for pair in text.split("&") if ";" not in pair and not _BAD_ESCAPE.search(pair))
    return parse_qs("&".join(pairs), keep_blank_values=True)


def verb_of(method: str, route: Route, query: Query, resource: ServedKind) -> Verb:
    """Return the verb of a method on a path.

    Raises:
        RefusedError: 405, the path does not serve the method.
    """
    verb = _VERBS.get(method)
    if method == "HEAD" and not resource.built_in:
        # The endpoints of custom resources do not look at the method of a read.
        verb = "get"
    if verb is None and resource.built_in:
        raise failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
            {},
        )
    if verb is None:
        raise not_supported_on("", resource.plural, resource.group)
    if verb == "get" and route.name is None:
        return "watch" if _flag(query, "watch") else "list"
    return verb


def check_timeout(query: Query) -> None:
    """Refuse a `timeout` that is no duration of Go (time.ParseDuration).

    Raises:
        RefusedError: 400.
    """
    text = _first(query, "timeout")
    rest = text[1:] if text[:1] in ("+", "-") else text
    if not text or rest == "0":
        return
    problem = _duration_problem(rest)
    if problem:
        raise bad_request(
            f'invalid timeout specified in the request URL - time: {problem} "{text}"'
        )


def _duration_problem(text: str) -> str:
    nanoseconds = 0.0
    rest = text
    while rest:
        found = _DURATION.match(rest)
        if found is None:
            return "invalid duration"
        number, unit = found.groups()
        if not unit:
            return "missing unit in duration"
        if unit not in _NANOSECONDS:
            return f'unknown unit "{unit}" in duration'
        nanoseconds += float(number) * _NANOSECONDS[unit]
        rest = rest[found.end() :]
    return "" if text and nanoseconds < _INT64 else "invalid duration"


def request_of(verb: Verb, route: Route, kind: str, query: Query) -> Request:
    """Return the request of a query, without its body.

    Raises:
        RefusedError: 400, a value is no number; 422, an option has an unsupported value.
    """
    if verb in _OPTIONS:
        _check_write_options(verb, query)
    reads = verb in ("list", "watch") or (verb == "delete" and route.name is None)
    return Request(
        verb=verb,
        api_version=route.api_version,
        kind=kind,
        namespace=route.namespace,
        name=route.name,
        subresource=route.subresource,
        dry_run="dryRun" in query,
        field_manager=_first(query, "fieldManager"),
        field_validation=_first(query, "fieldValidation"),
        force=_flag(query, "force") if "force" in query else None,
        resource_version=_first(query, "resourceVersion"),
        resource_version_match=_first(query, "resourceVersionMatch"),
        label_selector=_first(query, "labelSelector"),
        field_selector=_first(query, "fieldSelector"),
        limit=max(_integer(query, "limit") or 0, 0) if reads else 0,
        continue_token=_first(query, "continue"),
        timeout_seconds=_integer(query, "timeoutSeconds") if reads else None,
        allow_bookmarks=_flag(query, "allowWatchBookmarks"),
        send_initial_events=_flag(query, "sendInitialEvents")
        if "sendInitialEvents" in query
        else None,
    )


def delete_options(query: Query) -> JSON:
    """Return the DeleteOptions of a query, for a DELETE without a body.

    Raises:
        RefusedError: 400, gracePeriodSeconds is no number.
    """
    options: dict[str, JSON] = {}
    grace = _integer(query, "gracePeriodSeconds")
    if grace is not None:
        options["gracePeriodSeconds"] = grace
    if "propagationPolicy" in query:
        options["propagationPolicy"] = _first(query, "propagationPolicy")
    for name in ("orphanDependents", "ignoreStoreReadErrorWithClusterBreakingPotential"):
        if name in query:
            options[name] = _flag(query, name)
    preconditions = {name: _first(query, name) for name in ("uid", "resourceVersion")}
    known: dict[str, JSON] = {name: value for name, value in preconditions.items() if value}
    if known:
        options["preconditions"] = known
    return options or None


def _first(query: Query, name: str) -> str:
    return query[name][0] if name in query else ""


def _flag(query: Query, name: str) -> bool:
    """Any value but `false` and `0` is true, the empty one too."""
    return name in query and query[name][0].lower() not in ("false", "0")


def _integer(query: Query, name: str) -> int | None:
    if name not in query:
        return None
    text = query[name][0]
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(digits) > 19 or not -_INT64 <= int(text) < _INT64:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(text)


def _check_write_options(verb: Verb, query: Query) -> None:
    causes: list[Cause] = []
    modes = query.get("dryRun", ())
    if any(mode != "All" for mode in modes):
        shown = ",".join(f'"{mode}"' for mode in modes)
        message = f'Unsupported value: [{shown}]: supported values: "All"'
        causes.append(Cause("FieldValueNotSupported", message, "dryRun"))
    causes += manager_causes(_first(query, "fieldManager")) if verb != "delete" else []
    validation = _first(query, "fieldValidation")
    if verb != "delete" and validation not in _VALIDATIONS:
        causes.append(not_supported("fieldValidation", validation, _VALIDATIONS))
    if causes:
        raise invalid(_OPTIONS[verb], "meta.k8s.io", "", causes)
