"""Plural and scope of kinds, from the server's discovery."""

from collections.abc import Iterable, Iterator
from typing import Final

from captep_core._resources import Resource, Watched
from captep_core.errors import GatewayError
from captep_kubernetes import Transport, UnansweredError
from captep_operator._kind import Kind

__all__ = ["discovered"]

_SECONDS: Final = 10.0
"""The limit of one request, as for every other request of a controller."""


def discovered(transport: Transport, kinds: Iterable[Kind]) -> tuple[Watched, ...]:
    """Return the kinds as the server serves them, with one request for each group and version.

    A kind with a plural costs no request.

    Raises:
        GatewayError: the server does not answer, or does not serve a kind; one line names all.
    """
    wanted = tuple(kinds)
    asked = {kind.api_version for kind in wanted if not kind.plural}
    served = {
        (api_version, resource.kind): resource
        for api_version in sorted(asked)
        for resource in _served(transport, api_version)
    }
    missing = [
        str(kind)
        for kind in wanted
        if not kind.plural and (kind.api_version, kind.kind) not in served
    ]
    if missing:
        raise GatewayError(
            f"not installed in the cluster: {', '.join(missing)}:"
            " apply their CustomResourceDefinitions, or choose another --context"
        )
    return tuple(
        kind.watched(
            Resource(kind.api_version, kind.kind, kind.plural, kind.namespaced)
            if kind.plural
            else served[kind.api_version, kind.kind]
        )
        for kind in wanted
    )


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
