"""A holder of a world: requests change it, and others take the changes."""

from datetime import datetime

from attrs import evolve

from captep_core import ObjectRef
from captep_memory._garbage import collect_all, departed
from captep_memory._json import Object
from captep_memory._request import Request, Response
from captep_memory._serve import serve
from captep_memory._world import StoreChange, World

__all__ = ["WorldServer", "changed_ref", "changed_refs"]


class WorldServer:
    """An in-memory API server with its garbage collector; `world` is its present state."""

    def __init__(self, world: World) -> None:
        """Hold `world`; its history so far counts as taken."""
        self.world = world
        self._taken = world.resource_version

    def call(self, request: Request) -> Response:
        """Serve a request."""
        self.world, response = serve(self.world, request)
        return response

    def at(self, now: datetime) -> None:
        """Set the clock."""
        self.world = self.world.at(now)

    def take_changes(self) -> tuple[StoreChange, ...]:
        """Return the changes since the last call, and forget them.

        The garbage collector runs after each deletion.
        """
        changes = self.world.changes(since=self._taken)
        if any(
            change.type == "DELETED" or change.object["metadata"].get("deletionTimestamp")
            for change in changes
        ):
            self.world = collect_all(self.world, known_owner=departed(self.world))
            changes = self.world.changes(since=self._taken)
        self._taken = self.world.resource_version
        self.world = self.world.compact(self._taken)
        return changes


def changed_ref(change: StoreChange) -> ObjectRef:
    """Refer to the object of a change, in its storage version."""
    obj: Object = change.object
    return ObjectRef(obj["apiVersion"], change.key.kind, change.key.namespace, change.key.name)


def changed_refs(change: StoreChange, world: World) -> tuple[ObjectRef, ...]:
    """Refer to the object of a change in every version in which a watch shows it."""
    ref = changed_ref(change)
    conversion = world.catalog.conversions.get((change.key.api_group, change.key.kind))
    others = () if conversion is None else conversion.versions
    return ref, *(evolve(ref, api_version=name) for name in others if name != ref.api_version)
