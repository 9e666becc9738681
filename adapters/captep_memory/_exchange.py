"""One HTTP request against a world, as bytes on both sides; pure.

The order of the steps is that of the real handlers: path, method, Accept, Content-Type, query,
body.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from attrs import evolve, field, frozen

from captep_memory._bodies import BodyError, decode_json, decode_yaml, encode_json
from captep_memory._create import create
from captep_memory._discovery import AGGREGATED, aggregated, discovery, wants_aggregated
from captep_memory._json import JSON, Object, without
from captep_memory._kinds import ServedKind, is_built_in_group
from captep_memory._media import Presentation, check_content_type, presentation_of, presented
from captep_memory._openapi_documents import openapi_document
from captep_memory._ownership import is_apply
from captep_memory._patch import check_format, media_type_of
from captep_memory._protobuf import decode_protobuf
from captep_memory._request import Request, Response, Verb, group_of
from captep_memory._routes import (
    Query,
    Route,
    check_timeout,
    delete_options,
    has_bad_escape,
    head_of,
    query_of,
    request_of,
    route_of,
    verb_of,
)
from captep_memory._serve import check_subresource, serve
from captep_memory._status import (
    RefusedError,
    bad_request,
    failure,
    not_found,
    not_modelled,
    not_supported_on,
    unknown_resource,
)
from captep_memory._tables import columns_of
from captep_memory._typed import served_resources
from captep_memory._world import World

__all__ = ["Asked", "HTTPAnswer", "HTTPRequest", "answer", "asked_of", "event_line", "exchange"]

_PLAIN = "text/plain; charset=utf-8"
# The older form of a watch.
_WATCHED = re.compile(r"/(?:api/[^/]+|apis/[^/]+/[^/]+)/watch/")
_HEALTH = frozenset({"/readyz", "/livez", "/healthz"})
# Paths of the real server that this one does not serve.
_UNMODELLED = (
    "/api",
    "/apis",
    "/openapi",
    "/metrics",
    "/.well-known",
    "/logs",
    "/debug",
    "/openid",
    *_HEALTH,
)
_WRITES = frozenset({"create", "update", "delete"})
_NOT_FOUND = "404 page not found\n"
_NOT_ALLOWED = "the server does not allow this method on the requested resource"


@frozen
class HTTPRequest:
    """A request as it came: `target` is path and query, header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@frozen
class HTTPAnswer:
    """An answer to send; `headers` has Content-Type."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@frozen
class Asked:
    """What a request asks of `serve`, and the form in which its answer goes out."""

    request: Request
    presentation: Presentation
    resource: ServedKind
    now: datetime


def exchange(
    world: World, kinds: Mapping[tuple[str, str], str], http: HTTPRequest
) -> tuple[World, HTTPAnswer]:
    """Answer a request; a watch has its events so far as lines.

    `kinds` are the kinds behind the URLs, by (group, plural).
    """
    asked = asked_of(world, kinds, http)
    if isinstance(asked, HTTPAnswer):
        return world, asked
    world, response = serve(world, asked.request)
    if asked.request.verb == "watch" and response.ok:
        events = response.body["events"]
        lines = (event_line(asked, each, first=each is events[0]) for each in events)
        return world, HTTPAnswer(
            200, {"Content-Type": asked.presentation.media_type}, b"".join(lines)
        )
    return world, answer(asked, response)


def event_line(asked: Asked, event: Object, *, first: bool) -> bytes:
    """Return a watch event as a line of the stream."""
    inner = Response(200, event["object"])
    shown = presented(inner, asked.presentation, asked.resource, now=asked.now, headers=first)
    return encode_json({**event, "object": shown.body})


def answer(asked: Asked, response: Response) -> HTTPAnswer:
    """Return a response as bytes, in the form that the request accepts."""
    shown = presented(response, asked.presentation, asked.resource, now=asked.now)
    body = encode_json(shown.body, pretty=asked.presentation.pretty)
    headers = {"Content-Type": asked.presentation.media_type, **response.headers}
    return HTTPAnswer(shown.status, headers, body)


def asked_of(
    world: World, kinds: Mapping[tuple[str, str], str], http: HTTPRequest
) -> Asked | HTTPAnswer:
    """Return what a request asks, or the answer to one that never reaches `serve`."""
    path = http.target.partition("?")[0]
    if has_bad_escape(path):
        return HTTPAnswer(400, {"Content-Type": _PLAIN, "Connection": "close"}, b"400 Bad Request")
    route = route_of(http.target)
    kind = None if route is None else kinds.get((route.group, route.plural))
    query = query_of(http.target)
    try:
        if not query.get("watch"):
            check_timeout(query)
        if kind is None and _WATCHED.match(path):
            raise not_modelled("paths below watch/")
        if path.startswith("//"):
            return _unserved("?")
        if kind is None and http.method != "GET" and _only_reads(path.rstrip("/")):
            raise failure(405, "MethodNotAllowed", _NOT_ALLOWED, {})
        if route is not None and kind is None:
            _check_model(route)
        if route is None or kind is None:
            return _without_resource(world, kinds, path, http.headers.get("accept", ""))
        return _asked(world, http, route, kind)
    except RefusedError as refused:
        nothing = ServedKind("", "", "", "", None)
        asked = Asked(Request("get", "", ""), _error_presentation(http), nothing, world.now)
        return answer(asked, refused.response)


def _error_presentation(http: HTTPRequest) -> Presentation:
    """A refusal before the negotiation has the accepted media type, else JSON."""
    try:
        accepted = presentation_of(http.headers.get("accept", ""), built_in=False, streams=False)
    except RefusedError:
        return Presentation()
    return Presentation(accepted.media_type, pretty=accepted.pretty)


def _without_resource(
    world: World, kinds: Mapping[tuple[str, str], str], path: str, accept: str
) -> HTTPAnswer:
    name = path.rstrip("/")
    if name in _HEALTH:
        return HTTPAnswer(200, {"Content-Type": _PLAIN}, b"ok")
    if name == "/version":
        major, minor = world.quirks.version
        version: JSON = {
            "major": str(major),
            "minor": str(minor),
            "gitVersion": f"v{major}.{minor}.0",
            "platform": "memory",
        }
        return HTTPAnswer(
            200, {"Content-Type": "application/json"}, encode_json(version, pretty=True)
        )
    if wants_aggregated(accept):
        document = aggregated(world, kinds, name)
        if document is not None:
            return HTTPAnswer(200, {"Content-Type": AGGREGATED}, encode_json(document))
    document = discovery(world, kinds, name) or openapi_document(world, kinds, name)
    if document is not None:
        return HTTPAnswer(200, {"Content-Type": "application/json"}, encode_json(document))
    head = head_of(name)
    if head is None and (name == "" or _is_unmodelled(name)):
        raise not_modelled(f"the path {name or '/'}")
    if name.startswith(("/api/", "/version/")):
        return _unserved("")
    return _unserved("?" if head is None else group_of(head))


def _check_model(route: Route) -> None:
    """Refuse a resource that a real server has and this one lacks: 404 would say that no server
    has it.
    """
    if route.plural in served_resources().get(route.api_version, ()):
        raise not_modelled(f"{route.plural} in {route.api_version}")


def _only_reads(path: str) -> bool:
    """Whether a path without objects has routes for GET alone; the aggregator's take any method."""
    head = head_of(f"{path}/x")
    return path in ("/version", "/api") or (
        head is not None and path.count("/") < 4 and is_built_in_group(group_of(head))
    )


def _unserved(group: str) -> HTTPAnswer:
    """A group of Kubernetes itself answers with a Status; anything else is plain text."""
    if is_built_in_group(group):
        raise unknown_resource()
    return HTTPAnswer(404, {"Content-Type": _PLAIN}, _NOT_FOUND.encode())


def _check_namespace(method: str, route: Route, resource: ServedKind) -> None:
    """Refuse the paths in which no namespace can stand where one belongs."""
    if route.namespace in (".", "..") and resource.scope == "Namespaced":
        _refuse_step(method, route, resource)
    is_skipped = route.skips_namespace and resource.built_in and resource.scope == "Namespaced"
    if is_skipped and route.name is not None and route.subresource is None:
        if method == "POST":
            raise failure(405, "MethodNotAllowed", _NOT_ALLOWED, {})
        raise bad_request("Namespace parameter required.")


def _refuse_step(method: str, route: Route, resource: ServedKind) -> None:
    """Refuse a namespace that the store takes for a step in the path of its keys."""
    if resource.built_in and method in ("PUT", "PATCH") and route.name is None:
        raise failure(405, "MethodNotAllowed", _NOT_ALLOWED, {})
    if method not in ("GET", "DELETE"):
        # What is wrong with the body counts first.
        raise not_modelled(f"a write in a namespace with the name {route.namespace}")
    group = "" if resource.built_in else resource.group
    key = "/".join(filter(None, (group, route.plural, route.namespace, route.name)))
    raise failure(500, "", f'invalid key: "/{key}"')


def _check_name(verb: Verb, route: Route) -> None:
    """Refuse a name that is a step in a path; a PUT compares it with that of its body."""
    if route.name in (".", "..") and verb in ("get", "patch", "delete"):
        problem = f"may not be '{route.name}'"
        raise bad_request(f'Name parameter invalid: "{route.name}": {problem}')


def _is_elsewhere(method: str, route: Route, resource: ServedKind) -> bool:
    """Whether a kind lacks this path; lists over all namespaces have one."""
    if route.skips_namespace and not resource.built_in and method != "GET":
        return True
    if resource.built_in and (route.has_gap or _lacks_subresource(route, resource)):
        return True
    if route.has_gap:
        # The real server reads `things//a` as a thing without a name.
        if route.name is not None:
            raise not_modelled("an empty part of a path")
        return True
    if resource.scope == "Cluster":
        return route.namespace is not None
    if resource.scope is None or route.namespace is not None:
        return False
    return route.name is not None or (method in ("POST", "DELETE") and not resource.built_in)


def _lacks_subresource(route: Route, resource: ServedKind) -> bool:
    if route.subresource is None or route.subresource in resource.subresources:
        return False
    return not (route.subresource == "status" and resource.has_status)


def _is_unmodelled(path: str) -> bool:
    return any(path == known or path.startswith(f"{known}/") for known in _UNMODELLED)


def _asked(world: World, http: HTTPRequest, route: Route, kind: str) -> Asked | HTTPAnswer:
    try:
        resource = world.catalog.resource(route.api_version, kind)
    except RefusedError:
        _check_model(route)
        return _unserved(route.group)
    query = query_of(http.target)
    _check_namespace(http.method, route, resource)
    if _is_elsewhere(http.method, route, resource):
        return _unserved(route.group)
    verb = verb_of(http.method, route, query, resource)
    if verb == "patch" and not resource.built_in:
        check_format(http.headers.get("content-type", ""), resource)
    _check_path(verb, route, resource)
    _check_name(verb, route)
    if verb == "patch":
        check_format(http.headers.get("content-type", ""), resource)
    presentation = presentation_of(
        http.headers.get("accept", ""),
        built_in=resource.built_in,
        streams=verb in ("list", "watch"),
    )
    if "pretty" in query and query["pretty"][0].lower() not in ("false", "0"):
        presentation = evolve(presentation, pretty=True)
    if presentation.form == "Table":
        _check_table(verb, resource)
        include = query.get("includeObject", [""])[0]
        presentation = evolve(presentation, include=include)
    content_type = http.headers.get("content-type", "")
    media_type = ""
    if verb in _WRITES and http.body:
        media_type = check_content_type(content_type, built_in=resource.built_in)
    request = request_of(verb, route, kind, query)
    if verb == "patch":
        request = evolve(request, content_type=media_type_of(content_type))
    request = evolve(request, user_agent=http.headers.get("user-agent", ""))
    if verb == "patch" and is_apply(content_type):
        body = _configuration(http.body)
    else:
        body = _body(verb, kind, media_type, http.body)
    request = _with_body(request, query, body, given=bool(http.body))
    _refuse_nowhere(world, request, route, resource)
    return Asked(request, presentation, resource, world.now)


def _check_table(verb: Verb, resource: ServedKind) -> None:
    columns_of(resource)
    if verb == "delete" and not resource.built_in:
        # The real server does not ask the definition for the columns of what is gone.
        raise not_modelled("the table of a deleted custom resource")


def _refuse_nowhere(world: World, request: Request, route: Route, resource: ServedKind) -> None:
    """Refuse to create an object below `namespaces//`: every error of it counts, and its place.

    Raises:
        RefusedError: 400, 422; 501, the plugins judge a Pod before its place does.
    """
    if request.verb != "create" or not route.skips_namespace:
        return
    if resource.kind == "Pod":
        raise not_modelled("a Pod with an empty namespace in its path")
    body = request.body
    if isinstance(body, dict) and isinstance(body.get("metadata"), dict):
        body = {**body, "metadata": without(body["metadata"], "namespace")}
    create(world, evolve(request, namespace=None, body=body), resource)


def _check_path(verb: Verb, route: Route, resource: ServedKind) -> None:
    """Refuse a path without a model, and a method that the path does not serve."""
    built_in = resource.built_in
    # The body of a subresource may be of another kind, so nothing decodes it here.
    check_subresource(route.subresource or "", resource)
    if not built_in and _lacks_subresource(route, resource):
        raise not_found(resource.plural, resource.group, route.name or "")
    if route.subresource == "status" and verb in ("create", "delete"):
        raise not_supported_on(verb, resource.plural, resource.group)
    is_collection = route.namespace is None and resource.scope == "Namespaced"
    if built_in and verb == "create" and is_collection and not route.skips_namespace:
        raise failure(405, "MethodNotAllowed", _NOT_ALLOWED, {})
    if route.name is not None and (verb != "create" or route.subresource is not None):
        return
    if route.name is None and verb == "delete":
        is_kept = is_collection or resource.kind == "Namespace"
        if built_in and is_kept:
            raise failure(405, "MethodNotAllowed", _NOT_ALLOWED, {})
        return
    if built_in and (verb in ("update", "patch") or (verb == "create" and route.name)):
        raise failure(405, "MethodNotAllowed", _NOT_ALLOWED, {})
    if route.name is None and verb in ("update", "patch"):
        raise bad_request("name must be provided")


def _body(verb: Verb, kind: str, media_type: str, raw: bytes) -> JSON:
    """Decode the body of a write.

    Raises:
        RefusedError: 400, the bytes are no document; 501, YAML without PyYAML.
    """
    if verb in ("get", "list", "watch") or (verb == "delete" and not raw):
        return None
    try:
        match media_type:
            case "application/yaml":
                return decode_yaml(raw)
            case "application/vnd.kubernetes.protobuf":
                return decode_protobuf(raw)
            case _:
                return decode_json(raw)
    except ModuleNotFoundError as error:
        raise not_modelled("YAML bodies without PyYAML") from error
    except BodyError as error:
        raise bad_request(_undecodable(verb, kind, str(error))) from error


def _configuration(raw: bytes) -> JSON:
    """Decode an apply configuration: YAML, which JSON is too.

    Raises:
        RefusedError: 400, the bytes are no document; 501, YAML without PyYAML.
    """
    if raw.lstrip()[:1] == b"{":
        with suppress(BodyError):
            return decode_json(raw)
    try:
        return decode_yaml(raw)
    except ModuleNotFoundError as error:
        raise not_modelled("YAML bodies without PyYAML") from error
    except BodyError as error:
        raise bad_request(f"error encoding patch: {error}") from error


def _undecodable(verb: Verb, kind: str, why: str) -> str:
    if verb == "patch":
        return "invalid JSON patch"
    if "into Go value" in why:
        return f"{kind} cannot be handled as a {kind}: {why}"
    prefix = (
        ""
        if verb == "delete"
        else f"the object provided is unrecognized (must be of type {kind}): "
    )
    parse = why if why.startswith("yaml") else f"couldn't get version/kind; json parse error: {why}"
    return prefix + parse


def _with_body(request: Request, query: Query, body: JSON, *, given: bool) -> Request:
    if request.verb != "delete":
        return evolve(request, body=body)
    if given:
        # A DELETE with a body takes its options from the body alone.
        return evolve(request, body=body, dry_run=False)
    return evolve(request, body=delete_options(query))
