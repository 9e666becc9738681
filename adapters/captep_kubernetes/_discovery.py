"""Which version of a kind the server serves, asked only where a controller speaks several.

Discovery answers at the start, and again after a watch was answered with 404 (a version that a
CustomResourceDefinition no longer serves) or a watch of the definition showed a change. At rest
nothing asks.
"""

from collections.abc import Iterable
from typing import Final

from attrs import evolve

from captep_core._request import RawResponse
from captep_core._resources import Resource, Watched
from captep_kubernetes._transport import Transport, UnansweredError

__all__ = ["served_resource"]

_SECONDS: Final = 10.0


def served_resource(transport: Transport, watched: Watched) -> Resource:
    """Return the kind in the newest version that both the server and the controller speak.

    Where discovery answers nothing, the kind is returned as it is described.
    """
    resource = watched.resource
    if len(watched.versions) < 2:
        return resource
    group = resource.api_version.rpartition("/")[0]
    served = set(_names(_get(transport, f"/apis/{group}"), "versions", "groupVersion"))
    for version in watched.versions:
        if version in served:
            kinds = _names(_get(transport, f"/apis/{version}"), "resources", "name")
            if resource.plural in kinds:
                return evolve(resource, api_version=version)
    return resource


def _get(transport: Transport, path: str) -> RawResponse | None:
    try:
        return transport.request("GET", path, timeout=_SECONDS)
    except UnansweredError:
        return None


def _names(answer: RawResponse | None, section: str, name: str) -> Iterable[str]:
    if answer is None or answer.status != 200 or answer.body is None:
        return
    entries = answer.body.get(section)
    for entry in entries if isinstance(entries, list) else ():
        found = entry.get(name) if isinstance(entry, dict) else None
        if isinstance(found, str):
            yield found
