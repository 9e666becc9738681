"""Plural and scope of kinds, from the server's discovery."""

from collections.abc import Iterable, Iterator
from typing import Final

from captep_core._resources import Resource, Watched
from captep_core.errors import GatewayError
from captep_kubernetes import Transport, UnansweredError, served_resource
from captep_operator._kind import Kind

__all__ = ["discovered", "served_kind"]

_SECONDS: Final = 10.0
"""The limit of one request, as for every other request of a controller."""


def discovered(transport: Transport, kinds: Iterable[Kind]) -> tuple[Watched, ...]:
    """Return the kinds as the server serves them, with one request for each group and version.

    A kind with a plural costs no request. A kind that the server does not have is returned under
    the usual plural, and its watch asks again; see `served_kind`.

    Raises:
        GatewayError: the server does not answer.
    """
    wanted = tuple(kinds)
    asked = {kind.api_version for kind in wanted if not kind.plural}
    served = {
        (api_version, resource.kind): resource
        for api_version in sorted(asked)
        for resource in _served(transport, api_version)
    }
    return tuple(
        kind.watched(
            kind.assumed()
            if kind.plural
            else served.get((kind.api_version, kind.kind), kind.assumed())
        )
        for kind in wanted
    )


def served_kind(transport: Transport, watched: Watched) -> Resource:
    """Return where the server serves a kind now, after a watch was answered with 404.

    Where discovery answers nothing, the kind is returned as it is described.
    """
    resource = served_resource(transport, watched)
    try:
        served = [*_served(transport, resource.api_version)]
    except GatewayError:
        return resource
    found = sorted(
        (each for each in served if each.kind == resource.kind),
        key=lambda each: each.plural != resource.plural,
    )
    return found[0] if found else resource


def _served(transport: Transport, api_version: str) -> Iterator[Resource]:
    """List the resources of a group and version; none when the server does not know it."""
    root = "apis" if "/" in api_version else "api"
    try:
        response = transport.request("GET", f"/{root}/{api_version}", timeout=_SECONDS)
    except UnansweredError as error:
        raise GatewayError(f"the API server does not answer: {error}") from error
    if response.status not in (200, 404):
        raise GatewayError(f"discovery of {api_version} is refused: HTTP {response.status}")
    listed = (response.body or {}).get("resources") if response.status == 200 else None
    for entry in listed if isinstance(listed, list) else ():
        if not isinstance(entry, dict):
            continue
        name, kind = entry.get("name"), entry.get("kind")
        # A name with a slash is a subresource, such as `deployments/scale`.
        if isinstance(name, str) and isinstance(kind, str) and "/" not in name:
            yield Resource(api_version, kind, name, bool(entry.get("namespaced")))
