"""The same stories with the same neighbours in memory, to count what a loop writes there."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from attrs import evolve

from captep_core import JSON, Action, ObjectRef, Observed, Record, decide, write_of
from captep_core.ports import Answer
from captep_memory import MemoryGateway, load
from captep_memory.world import Server, Simulation, Story, Subject, VirtualClock, neighbours, stories
from captep_runtime import Loop
from tests.cluster.around import FAST

__all__ = ["writes_in_memory"]

_START = datetime(2026, 1, 1, tzinfo=UTC)
_PAUSE = timedelta(minutes=1)


class _Noting:
    """A gateway to a server that notes what it sends, and when."""

    def __init__(self, server: Server, clock: VirtualClock) -> None:
        self._server, self._clock = server, clock
        self.sent: list[tuple[datetime, str]] = []

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up."""
        return MemoryGateway(self._server.world).read(ref)

    def send(self, action: Action) -> Answer:
        """Note and send one action."""
        gateway = MemoryGateway(self._server.world)
        answer = gateway.send(action)
        self._server.world = gateway.world
        if not isinstance(action, Record):
            self.sent.append((self._clock.now(), str(write_of(action))))
        return answer


def writes_in_memory(parts: Mapping[str, Story], name: str) -> dict[str, list[str]]:
    """Return what is written in each part of a life, Events left out; a part begins with its first act, a minute after the one before."""
    clock, last = VirtualClock(_START), [*parts.values()][-1]
    server = Server(load(stories.templates("fleet"), now=_START))
    gateway = _Noting(server, clock)
    acts = [evolve(act, after=_PAUSE if number == 0 else act.after) for story in parts.values() for number, act in enumerate(story.acts)]
    simulation = Simulation(server, clock, neighbours(FAST), evolve(last, acts=tuple(acts)), Subject("fleet", name))
    simulation.live_with(Loop(decide, gateway, clock))
    simulation.run(_START + timedelta(hours=1))
    assert simulation.is_over
    first_acts = {story.acts[0].title: title for title, story in parts.items()}
    began = [(happening.at, first_acts[happening.title]) for happening in simulation.happenings if happening.title in first_acts]
    return {title: [what for at, what in gateway.sent if _part(began, at) == title] for title in parts}


def _part(began: list[tuple[datetime, str]], at: datetime) -> str:
    return [title for since, title in began if since <= at][-1]
