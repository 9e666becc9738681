"""An in-memory server as an operator sees it on a cluster: through the watches of its kinds.

A selector hides objects: they are absent, until a create of their name is refused with 409. From
then on they are unreadable for as long as they exist, as `captep_kubernetes` has it. Which fields
of an object show is the business of `_declared`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from captep_core._actions import JSON, Action, Create, ObjectRef
from captep_core._observation import ABSENT, Absent, Listed, Observed, Selection, Unreadable
from captep_core._projection import hidden
from captep_core._resources import Watched
from captep_core.ports import Answer
from captep_memory import MemoryGateway, Request, World, serve

__all__ = ["WatchingGateway"]

_CONFLICT: Final = 409


class WatchingGateway(MemoryGateway):
    """A `MemoryGateway` that shows of its world the objects that the watches of `watched` choose.

    `options`: those of `MemoryGateway`.
    """

    def __init__(
        self,
        world: World,
        watched: Iterable[Watched],
        **options: Any,  # noqa: ANN401 - passed on
    ) -> None:
        declared = tuple(watched)
        super().__init__(world, watched=declared, **options)
        self._watched = {(each.resource.api_version, each.resource.kind): each for each in declared}
        self._taken: set[ObjectRef] = set()

    def get(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up; see `Read`."""
        found = super().get(ref)
        watched = self._watched.get((ref.api_version, ref.kind))
        if watched is None or isinstance(found, Unreadable):
            return found
        if isinstance(found, Absent):
            self._taken.discard(ref)
            return found
        places = self._places(watched, ref.namespace)
        if isinstance(places, Unreadable):
            return places
        if places is None or (ref.namespace, ref.name) in places:
            return found
        return hidden(ref, watched) if ref in self._taken else ABSENT

    def find(self, selection: Selection) -> Listed:
        """Look the objects of a list up."""
        found = super().find(selection)
        watched = self._watched.get((selection.api_version, selection.kind))
        if watched is None or isinstance(found, Unreadable):
            return found
        places = self._places(watched, selection.namespace)
        if isinstance(places, Unreadable):
            return places
        return tuple(obj for obj in found if places is None or _place(obj) in places)

    def send(self, action: Action) -> Answer:
        """Translate `action` to one request and serve it."""
        answer = super().send(action)
        if isinstance(action, Create) and answer.status == _CONFLICT:
            self._taken.add(action.target)
        return answer

    def _places(
        self, watched: Watched, namespace: str | None
    ) -> frozenset[tuple[str | None, str]] | Unreadable | None:
        """Return namespace and name of each object that the selectors choose; None: all are."""
        if not watched.selectors:
            return None
        selectors = dict(watched.selectors)
        kind = watched.resource
        request = Request(
            "list",
            self._version(ObjectRef(kind.api_version, kind.kind, namespace, "")),
            kind.kind,
            namespace,
            label_selector=selectors.get("labelSelector", ""),
            field_selector=selectors.get("fieldSelector", ""),
        )
        _, response = serve(self.world, request)
        if not response.ok:
            return Unreadable(response.reason, str(response.body["message"]))
        return frozenset(map(_place, response.body["items"]))


def _place(obj: Mapping[str, Any]) -> tuple[str | None, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace"), metadata["name"]
