"""The neighbours in real time, next to an in-memory server that others use over HTTP."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from attrs import evolve

from captep_core import ObjectRef
from captep_memory.http import HTTPFacade
from captep_world._neighbour import Neighbour
from captep_world._neighbourhood import Neighbourhood
from captep_world._pace import REAL_PACE, Pace
from captep_world._server import changed_ref

__all__ = ["LiveNeighbours", "quickened"]

# Turns in one tick; the rest waits for the next one, so that a spinning neighbour blocks nobody.
_TURNS = 200


def quickened(factor: float, pace: Pace = REAL_PACE) -> Pace:
    """Return a pace that is `factor` times faster."""

    def faster(between: tuple[float, float]) -> tuple[float, float]:
        low, high = between
        return low / factor, high / factor

    return evolve(
        pace,
        apply=faster(pace.apply),
        small_apply=faster(pace.small_apply),
        destroy=faster(pace.destroy),
        look=faster(pace.look),
        poll=faster(pace.poll),
        retry=faster(pace.retry),
        mirror=pace.mirror / factor,
        wait=pace.wait / factor,
    )


class LiveNeighbours:
    """Takes the turns of neighbours that are due, whenever it is called with the facade."""

    def __init__(
        self,
        facade: HTTPFacade,
        neighbours: Iterable[Neighbour],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Act on a running server; the objects that it holds count as new."""
        self._clock = clock
        self._neighbourhood = Neighbourhood(facade.request, neighbours)
        world = facade.world
        self._seen = world.resource_version
        for obj in world.objects():
            place = obj["metadata"].get("namespace")
            ref = ObjectRef(obj["apiVersion"], obj["kind"], place, obj["metadata"]["name"])
            self._neighbourhood.notice(ref, obj, now=clock())

    def __call__(self, facade: HTTPFacade) -> None:
        """Take note of changes, and take the turns that are due."""
        for _ in range(_TURNS):
            now = self._clock()
            world = facade.world
            for change in world.changes(since=self._seen):
                self._neighbourhood.notice(changed_ref(change), change.object, now=now)
            self._seen = world.resource_version
            if not self._neighbourhood.run_one(now):
                return
