"""One consistent LIST, whole, for reads that no cache answers."""

from collections.abc import Iterable, Mapping

from captep_core._actions import JSON
from captep_core._observation import Listed, Selection, Unreadable
from captep_core._request import reason_of
from captep_core._resources import Resource
from captep_kubernetes._transport import Query, Transport, UnansweredError

__all__ = ["items_of", "list_live", "place_of"]


def list_live(
    transport: Transport,
    resource: Resource,
    selection: Selection,
    *,
    selectors: Iterable[tuple[str, str]] = (),
    timeout: float,
) -> Listed:
    """Ask the server for the objects of a list; `timeout` in seconds.

    `selectors`: those of the kind's watch, which hides other objects.
    """
    chosen = dict(selectors)
    labels = ",".join(filter(None, (chosen.get("labelSelector"), selection.selector)))
    query: Query = [*{**chosen, "labelSelector": labels}.items()] if labels else [*chosen.items()]
    try:
        path = resource.path(selection.namespace)
        answer = transport.request("GET", path, query=query, timeout=timeout)
    except UnansweredError as error:
        return Unreadable("Timeout" if "Timeout" in str(error) else "Unavailable", str(error))
    except ValueError as error:
        return Unreadable("Invalid", str(error))
    body = answer.body
    if answer.status != 200 or body is None:
        hint = ": is its CustomResourceDefinition installed?" if answer.status == 404 else ""
        return Unreadable(reason_of(answer), f"{path}: HTTP {answer.status}{hint}")
    items = items_of(body)
    if items is None or not all(isinstance(each, dict) for each in items):
        return Unreadable("Malformed", f"{path}: HTTP 200 without a list of items")
    kind: Mapping[str, JSON] = {"apiVersion": resource.api_version, "kind": resource.kind}
    objects = [{**kind, **each} for each in items if isinstance(each, dict)]
    return tuple(sorted(objects, key=place_of))


def items_of(body: Mapping[str, JSON]) -> list[JSON] | None:
    """Return the items of a list, None for another answer; Go may write an empty list as null."""
    items = body.get("items")
    if items is None and str(body.get("kind")).endswith("List"):
        return []
    return items if isinstance(items, list) else None


def place_of(obj: Mapping[str, JSON]) -> tuple[str, str]:
    """Return namespace and name, the order of a list."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return "", ""
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
