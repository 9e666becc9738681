"""A watch of one CustomResourceDefinition, where the permissions allow it.

A server that begins to serve another version goes on to serve the one in use, so no 404 shows it.
"""

from collections.abc import Callable
from typing import Final

from captep_core._resources import Representation, Resource
from captep_kubernetes._informer import Informer, identity_only
from captep_kubernetes._transport import Query, Transport, UnansweredError

__all__ = ["DefinitionWatch"]

_DEFINITIONS: Final = Resource(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)
_SECONDS: Final = 10.0
# 404 too: an in-memory server need not have definitions.
_LASTING: Final = (403, 404)


class DefinitionWatch:
    """Watches the definition of a kind.

    Args:
        transport: the way to the server.
        resource: the kind.
        on_change: called for each state of the definition, the first one included, from the
            watch's thread.
        seed: see `Informer`.
    """

    def __init__(
        self,
        transport: Transport,
        resource: Resource,
        on_change: Callable[[], None],
        *,
        seed: str = "",
    ) -> None:
        self._transport = transport
        self._selectors: Query = [("fieldSelector", f"metadata.name={resource}")]
        self._informer = Informer(
            transport,
            _DEFINITIONS,
            selectors=self._selectors,
            representation=Representation.METADATA,
            project=identity_only,
            on_change=lambda _change: on_change(),
            seed=seed,
        )
        self._has_begun = False

    def start(self) -> None:
        """Start the watch, unless the permissions do not allow it: each retry would be refused."""
        if self._is_forbidden():
            return
        self._informer.start()
        self._has_begun = True

    def _is_forbidden(self) -> bool:
        query: Query = [*self._selectors, ("limit", 1)]
        path = _DEFINITIONS.path()
        try:
            answer = self._transport.request("GET", path, query=query, timeout=_SECONDS)
        except UnansweredError:
            # A server that is away for a moment says nothing about permissions.
            return False
        return answer.status in _LASTING

    def stop(self) -> None:
        """Stop the watch."""
        if self._has_begun:
            self._informer.stop()
