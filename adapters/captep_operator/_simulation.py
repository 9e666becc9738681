"""The loop of one key, alone in an in-memory world."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import frozen

from captep_core._actions import ObjectRef
from captep_core._observation import ReconcileState
from captep_core._resources import Watched
from captep_core.ports import Decide
from captep_memory import MemoryGateway, Scope, World, collect_all, departed, group_of, load
from captep_operator._kind import Kind
from captep_operator._watching import WatchingGateway
from captep_runtime import Pass, WriteHistory, run_pass

__all__ = ["Simulation", "scopes_of", "simulated", "watched_in_memory", "world_of"]

_PASSES: Final = 20
"""The limit of the command's contract; a new object settles within a handful."""


@frozen
class Simulation:
    """The passes of a run, and the world at its end.

    `settled_after`: the number of passes before the first one that changed nothing, None when every
    pass changed something. `worlds`: the one at the beginning, and the one after each pass.
    """

    passes: tuple[Pass, ...]
    settled_after: int | None
    worlds: tuple[World, ...]

    @property
    def world(self) -> World:
        """The world at the end."""
        return self.worlds[-1]


def scopes_of(kinds: Iterable[Kind]) -> dict[tuple[str, str], Scope]:
    """Return the scopes that authors name, by group and kind: a world may lack the definitions."""
    return {
        (kind.group, kind.kind): "Namespaced" if kind.namespaced else "Cluster"
        for kind in kinds
        if kind.plural
    }


def watched_in_memory(kinds: Iterable[Kind]) -> tuple[Watched, ...]:
    """Return the kinds as an in-memory server reads them: in the newest version that it has."""
    return tuple(kind.watched(kind.assumed()) for kind in kinds)


def world_of(
    objects: Iterable[Mapping[str, Any]], now: datetime, kinds: Iterable[Kind], component: str
) -> WatchingGateway:
    """Return an in-memory server that holds `objects`; `component` is the name on Events."""
    declared = tuple(kinds)
    world = load(objects, now=now, scopes=scopes_of(declared))
    return WatchingGateway(world, watched_in_memory(declared), component=component)


def simulated(
    decide: Decide, gateway: MemoryGateway, key: ObjectRef, now: datetime, *, further: int = 0
) -> Simulation:
    """Run at most 20 passes until one changes neither world nor refusals, then `further` passes.

    The clock stands still in the first part, as the watch events of its own writes would run the
    loop at once, and advances by each pass's interval in the second.
    """
    run = _Run(decide, gateway, key, now)
    settled_after = next((number for number in range(_PASSES) if not run.one_pass()), None)
    for _ in range(further):
        run.wait()
        run.one_pass()
    return Simulation(tuple(run.passes), settled_after, tuple(run.worlds))


class _Run:
    """The loop: the state that it carries from one pass to the next, and the time."""

    def __init__(
        self, decide: Decide, gateway: MemoryGateway, key: ObjectRef, now: datetime
    ) -> None:
        self._decide = decide
        self._gateway = gateway
        self._key = key
        self._now = now
        self._state = ReconcileState()
        self._history = WriteHistory()
        self.passes: list[Pass] = []
        self.worlds: list[World] = [gateway.world]

    def one_pass(self) -> bool:
        """Run a pass, then the garbage collector; return whether anything changed."""
        gateway = self._gateway
        before = gateway.world
        done = run_pass(
            self._decide, gateway, self._key, self._state, now=self._now, history=self._history
        )
        gateway.world = collect_all(gateway.world, known_owner=departed(gateway.world))
        self._state = done.state
        self._history = done.history
        self.passes.append(done)
        self.worlds.append(gateway.world)
        return done.changed or _is_changed(before, gateway.world)

    def wait(self) -> None:
        """Advance the clock by the interval of the last pass."""
        self._now += self.passes[-1].requeue_after or timedelta(0)
        self._gateway.world = self._gateway.world.at(self._now)


def _is_changed(before: World, after: World) -> bool:
    """Whether anything but Events changed."""
    return any(
        not _is_event(change.object) for change in after.changes(since=before.resource_version)
    )


def _is_event(obj: Mapping[str, Any]) -> bool:
    """Whether an object is an Event, of either API group."""
    return obj["kind"] == "Event" and group_of(obj["apiVersion"]) in ("", "events.k8s.io")
