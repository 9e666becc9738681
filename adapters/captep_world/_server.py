"""A world that is held, so that requests change it and changes can be handed on."""

from datetime import datetime

from captep_core import ObjectRef
from captep_memory._garbage import collect_all, departed
from captep_memory._json import Object
from captep_memory._request import Request, Response
from captep_memory._serve import serve
from captep_memory._world import Change, World

__all__ = ["Server", "changed_ref"]


class Server:
    """An in-memory API server with its garbage collector; `world` is what it holds now."""

    def __init__(self, world: World) -> None:
        """Hold `world`; what happened in it before is not told."""
        self.world = world
        self._told = world.resource_version

    def call(self, request: Request) -> Response:
        """Serve a request."""
        self.world, response = serve(self.world, request)
        return response

    def at(self, now: datetime) -> None:
        """Set the clock."""
        self.world = self.world.at(now)

    def take_changes(self) -> tuple[Change, ...]:
        """Return what happened since it was last asked for, garbage collected after each deletion; and forget it."""
        changes = self.world.changes(since=self._told)
        if any(
            change.type == "DELETED" or change.object["metadata"].get("deletionTimestamp")
            for change in changes
        ):
            self.world = collect_all(self.world, known_owner=departed(self.world))
            changes = self.world.changes(since=self._told)
        self._told = self.world.resource_version
        self.world = self.world.compact(self._told)
        return changes


def changed_ref(change: Change) -> ObjectRef:
    """Refer to the object that a change is about, in the version it is stored in."""
    obj: Object = change.object
    return ObjectRef(obj["apiVersion"], change.key.kind, change.key.namespace, change.key.name)
