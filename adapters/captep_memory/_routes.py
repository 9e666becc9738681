"""URLs of the Kubernetes API to requests: /api/v1/..., /apis/group/version/..."""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import frozen

from captep_memory._json import JSON
from captep_memory._kinds import plural_of
from captep_memory._request import Request, Verb
from captep_memory._world import World

__all__ = ["BUILT_IN", "Route", "plurals_of", "request_of", "route_of"]

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


@frozen
class Route:
    """The parts of a resource path."""

    api_version: str
    plural: str
    namespace: str | None
    name: str | None
    subresource: str | None

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
    for (group, kind), custom in world.catalog.custom.items():
        table |= {(group, version.plural): kind for version in custom.versions.values()}
    return table


def route_of(path: str) -> Route | None:
    """Return the parts of a resource path, None for any other path."""
    parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        api_version, rest = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        api_version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    else:
        return None
    namespace = None
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        return None
    plural, name, subresource = (*rest, None, None)[:3]
    return Route(api_version, str(plural), namespace, name, subresource)


def request_of(
    method: str, url: str, route: Route, kind: str, body: JSON, content_type: str
) -> Request:
    """Return the request for `serve`; a GET of many is a list, or a watch with `watch=true`."""
    query = {
        name: values[-1]
        for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()
    }
    verb = _VERBS.get(method, "get")
    if verb == "get" and (route.name is None or _is_true(query, "watch")):
        verb = "watch" if _is_true(query, "watch") else "list"
    return Request(
        verb=verb,
        api_version=route.api_version,
        kind=kind,
        namespace=route.namespace,
        name=route.name,
        subresource=route.subresource,
        body=body,
        content_type=content_type,
        # A DELETE with a body takes its options from the body alone, as the real server does.
        dry_run="dryRun" in query and not (verb == "delete" and body is not None),
        field_manager=query.get("fieldManager", ""),
        field_validation=query.get("fieldValidation", ""),
        force=_is_true(query, "force") if "force" in query else None,
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=_integer(query.get("limit", "0")),
        continue_token=query.get("continue", ""),
        timeout_seconds=_integer(query["timeoutSeconds"]) if "timeoutSeconds" in query else None,
        allow_bookmarks=_is_true(query, "allowWatchBookmarks"),
        send_initial_events=_is_true(query, "sendInitialEvents")
        if "sendInitialEvents" in query
        else None,
    )


def _is_true(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "false").lower() in ("true", "1")


def _integer(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() else 0
