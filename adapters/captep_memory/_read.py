"""Get, list and watch (rows R1 to R7)."""

import base64
import binascii
import heapq
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from captep_memory._json import Object, text, without
from captep_memory._kinds import ServedKind
from captep_memory._request import Key, Request, Response
from captep_memory._selectors import Selector, check_selectors, selector_of
from captep_memory._status import (
    Cause,
    RefusedError,
    bad_request,
    expired,
    failure,
    invalid,
    not_found,
)
from captep_memory._world import StoreChange, World

__all__ = ["bookmark", "get", "list_objects", "watch"]


def get(world: World, request: Request, resource: ServedKind, key: Key) -> tuple[World, Response]:
    """Answer a GET: this server has one copy, so any resourceVersion up to the newest will do."""
    _check_not_ahead(world, _number(request.resource_version, _unreadable))
    stored = world.get(key)
    if stored is None:
        raise not_found(resource.plural, resource.group, key.name)
    return world, Response(200, world.catalog.convert(stored, resource))


def _number(version: str, refused: Callable[[str], RefusedError]) -> int:
    if version == "":
        return 0
    if not version.isascii() or not version.isdigit():
        raise refused(
            f'resourceVersion: Invalid value: "{version}": '
            f'strconv.ParseUint: parsing "{version}": invalid syntax'
        )
    return int(version)


def _unreadable(message: str) -> RefusedError:
    """On get and watch, the server takes an unreadable resourceVersion for its own fault."""
    return failure(500, "", message)


def _not_listed(message: str) -> RefusedError:
    return bad_request(f"invalid resource version: {message}")


def _check_not_ahead(world: World, version: int) -> None:
    """Row R3."""
    if version > world.resource_version:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise failure(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {version}, current: {world.resource_version}",
            {"causes": [cause], "retryAfterSeconds": 1},
        )


def list_objects(world: World, request: Request, resource: ServedKind) -> tuple[World, Response]:
    """Answer a LIST (row R2): all pages of one list show one snapshot."""
    check_selectors(request)
    _check_list_options(request)
    selects = selector_of(request, resource)
    start, version = _page_start(world, request)
    listed = [
        obj
        for obj in _snapshot(world, request, resource, version)
        if _storage_key(obj) >= start and (selects is None or selects(obj))
    ]
    page = heapq.nsmallest(
        request.limit if request.limit > 0 else len(listed), listed, key=_storage_key
    )
    # Lists of custom resources always have the member, as Go's unstructured lists do.
    metadata: Object = {"resourceVersion": str(version)} | (
        {} if resource.built_in else {"continue": ""}
    )
    if len(page) < len(listed):
        metadata["continue"] = _continue_token(version, _storage_key(page[-1]) + "\0")
        if selects is None:
            metadata["remainingItemCount"] = len(listed) - len(page)
    items = [_as_item(world.catalog.convert(obj, resource), resource) for obj in page]
    return world, Response(
        200,
        {
            "apiVersion": resource.api_version,
            "kind": f"{resource.kind}List",
            "metadata": metadata,
            "items": items,
        },
    )


def _as_item(obj: Object, resource: ServedKind) -> Object:
    """The items of a list of a built-in kind do not repeat apiVersion and kind."""
    return without(obj, "apiVersion", "kind") if resource.built_in else obj


def _check_list_options(request: Request) -> None:
    """Refuse options that contradict each other; the answer lists every one."""
    causes = [*_match_causes(request)]
    if request.send_initial_events is not None:
        message = "Forbidden: sendInitialEvents is forbidden for list"
        causes.append(Cause("FieldValueForbidden", message, "sendInitialEvents"))
    if causes:
        raise invalid("ListOptions", "meta.k8s.io", "", causes)


def _match_causes(request: Request) -> Iterator[Cause]:
    match, version = request.resource_version_match, request.resource_version
    if not match:
        return
    if not version:
        yield _forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if request.continue_token:
        yield _forbidden("resourceVersionMatch is forbidden when continue is provided")
    if match not in ("Exact", "NotOlderThan"):
        shown = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        yield Cause("FieldValueNotSupported", shown, "resourceVersionMatch")
    if match == "Exact" and version == "0":
        yield _forbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def _forbidden(detail: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", "resourceVersionMatch")


def _page_start(world: World, request: Request) -> tuple[str, int]:
    """Return the storage key at which a page begins, and the resourceVersion of its snapshot."""
    if request.continue_token:
        start, version = _parse_continue(request.continue_token)
        if request.resource_version not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        version = world.resource_version if version < 0 else version
    else:
        start, version = "", _number(request.resource_version, _not_listed)
        _check_not_ahead(world, version)
        # Without a match, a limit makes the list exact too: older than resourceVersionMatch.
        is_exact = request.resource_version_match == "Exact" or (
            request.limit > 0 and version > 0 and not request.resource_version_match
        )
        version = version if is_exact else world.resource_version
    if version < world.compacted:
        if start:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result",
                **{"continue": _continue_token(-1, start)},
            )
        raise expired(
            f"The resourceVersion for the provided list is too old: {version} ({world.compacted})"
        )
    return start, version


def _continue_token(version: int, start: str) -> str:
    encoded = json.dumps(
        {"v": "meta.k8s.io/v1", "rv": version, "start": start}, separators=(",", ":")
    ).encode()
    return base64.urlsafe_b64encode(encoded).decode().rstrip("=")


def _parse_continue(token: str) -> tuple[str, int]:
    problem = "invalid continue token: continue key is not valid"
    stray = re.search("[^-_A-Za-z0-9]", token)
    if stray is not None:
        raise bad_request(f"{problem}: illegal base64 data at input byte {stray.start()}")
    try:
        decoded = json.loads(
            base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("utf-8", "replace")
        )
        if (
            decoded["v"] == "meta.k8s.io/v1"
            and isinstance(decoded["start"], str)
            and isinstance(decoded["rv"], int)
        ):
            return decoded["start"], decoded["rv"]
    except json.JSONDecodeError as error:
        found = error.doc[error.pos : error.pos + 1]
        wording = f"invalid character '{found}' looking for beginning of value"
        shown = wording if found else "unexpected end of JSON input"
        raise bad_request(f"{problem}: {shown}") from error
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
        raise bad_request(f"{problem}: the token has no known form") from error
    raise bad_request(f"{problem}: server does not recognize this encoded version")


def _storage_key(obj: Object) -> str:
    namespace = obj["metadata"].get("namespace")
    return f"{namespace}/{obj['metadata']['name']}" if namespace else str(obj["metadata"]["name"])


def _snapshot(world: World, request: Request, resource: ServedKind, version: int) -> list[Object]:
    """Return the objects of a kind at a resourceVersion, unsorted, by undoing later changes."""
    shelves: dict[str | None, dict[str, Object]] = {
        place[2]: dict(shelf.items())
        for place, shelf in world.shelves.items()
        if place[:2] == (resource.group, resource.kind) and _in_scope(request, place[2])
    }
    for change in reversed(world.changes(since=version)):
        if _concerns(request, resource, change):
            shelf = shelves.setdefault(change.key.namespace, {})
            shelf.pop(change.key.name, None)
            if change.previous is not None:
                shelf[change.key.name] = change.previous
    return [obj for shelf in shelves.values() for obj in shelf.values()]


def _in_scope(request: Request, namespace: str | None) -> bool:
    return request.namespace is None or request.namespace == namespace


def _concerns(request: Request, resource: ServedKind, change: StoreChange) -> bool:
    key = change.key
    if (key.api_group, key.kind) != (resource.group, resource.kind) or not _in_scope(
        request, key.namespace
    ):
        return False
    return request.name is None or request.name == key.name


def watch(world: World, request: Request, resource: ServedKind) -> tuple[World, Response]:
    """Answer a WATCH with the events so far.

    The body is `{"events": [{type, object}], "resourceVersion": where to go on}`.
    """
    events = list(_watch_events(world, request, resource))
    return world, Response(200, {"events": events, "resourceVersion": str(world.resource_version)})


def _watch_events(world: World, request: Request, resource: ServedKind) -> Iterator[Object]:
    """Yield the events of a watch from `request.resource_version` until now (rows R4 to R6).

    A compacted resourceVersion yields an ERROR event, as in the stream of a real server.

    Raises:
        RefusedError: 400 or 422, the options contradict each other.
    """
    check_selectors(request)
    _check_watch_options(request)
    selects = selector_of(request, resource)
    since = _number(request.resource_version, _unreadable)
    if request.send_initial_events or (since == 0 and request.send_initial_events is None):
        for obj in sorted(
            _snapshot(world, request, resource, world.resource_version), key=_storage_key
        ):
            if (selects is None or selects(obj)) and request.name in (
                None,
                obj["metadata"]["name"],
            ):
                yield {"type": "ADDED", "object": world.catalog.convert(obj, resource)}
        if request.send_initial_events and request.allow_bookmarks:
            yield bookmark(resource, world.resource_version, initial=True)
    elif 0 < since < world.compacted:
        yield {
            "type": "ERROR",
            "object": expired(
                f"too old resource version: {since} ({world.compacted})"
            ).response.body,
        }
    else:
        yield from _events_since(world, request, resource, since or world.resource_version, selects)


def _check_watch_options(request: Request) -> None:
    """Refuse options that contradict each other; the answer lists every one."""
    causes: list[Cause] = []
    match = request.resource_version_match
    newest = "NotOlderThan"
    if request.send_initial_events is not None and match != newest:
        causes.append(
            _forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        )
    if match and request.send_initial_events is None:
        causes.append(
            _forbidden(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
        )
    if match not in ("", newest):
        shown = f'Unsupported value: "{match}": supported values: "{newest}"'
        causes.append(Cause("FieldValueNotSupported", shown, "resourceVersionMatch"))
    # A watch without a version begins with all objects, which sets the match by default.
    begins_with_all = request.send_initial_events is None and request.resource_version in ("", "0")
    if request.continue_token and (match or begins_with_all):
        causes.append(_forbidden("resourceVersionMatch is forbidden when continue is provided"))
    if causes:
        raise invalid("ListOptions", "meta.k8s.io", "", causes)


def bookmark(resource: ServedKind, version: int, *, initial: bool = False) -> Object:
    """Return a BOOKMARK event (row R6): nothing but where the stream stands."""
    metadata: Object = {"resourceVersion": str(version)}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return {
        "type": "BOOKMARK",
        "object": {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata},
    }


def _events_since(
    world: World, request: Request, resource: ServedKind, since: int, selects: Selector | None
) -> Iterator[Object]:
    for change in world.changes(since=since):
        if _concerns(request, resource, change):
            kind = _event_type(change, selects)
            if kind:
                shown = world.catalog.convert(_event_object(change, kind), resource)
                yield {"type": kind, "object": shown}


def _event_type(change: StoreChange, selects: Selector | None) -> str:
    """Row R5: leaving the selection shows as DELETED, entering it as ADDED; "" shows nothing."""
    if selects is None:
        return change.type
    before = change.previous is not None and selects(change.previous)
    after = change.type != "DELETED" and selects(change.object)
    match before, after:
        case True, True:
            return "MODIFIED"
        case False, True:
            return "ADDED"
        case True, False:
            return "DELETED"
        case _:
            return ""


def _event_object(change: StoreChange, kind: str) -> Object:
    """A DELETED event carries the last selected object, with the resourceVersion of its leaving."""
    if kind != "DELETED" or change.type == "DELETED" or change.previous is None:
        return change.object
    metadata: Mapping[str, Any] = {
        **change.previous["metadata"],
        "resourceVersion": text(change.object["metadata"]["resourceVersion"]),
    }
    return {**change.previous, "metadata": dict(metadata)}
