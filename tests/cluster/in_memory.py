"""The same stories with the same neighbours in memory, to count what a loop writes there."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from captep_core import JSON, Action, ObjectRef, Observed, Record, decide, write_of
from captep_core.ports import Answer
from captep_memory import MemoryGateway, load
from captep_memory.world import Server, Simulation, Story, Subject, VirtualClock, neighbours, stories
from captep_runtime import Loop
from tests.cluster.around import FAST

__all__ = ["writes_in_memory"]

_START = datetime(2026, 1, 1, tzinfo=UTC)


class _Noting:
    """A gateway to a server that notes what it sends."""

    def __init__(self, server: Server) -> None:
        self._server, self.sent = server, list[str]()

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up."""
        return MemoryGateway(self._server.world).read(ref)

    def send(self, action: Action) -> Answer:
        """Note and send one action."""
        gateway = MemoryGateway(self._server.world)
        answer = gateway.send(action)
        self._server.world = gateway.world
        if not isinstance(action, Record):
            self.sent.append(str(write_of(action)))
        return answer


def writes_in_memory(parts: Mapping[str, Story], name: str) -> dict[str, list[str]]:
    """Return what is written in each part of a life, Events left out; the parts follow each other, each until half a minute after its end."""
    clock, subject = VirtualClock(_START), Subject("fleet", name)
    server = Server(load(stories.templates("fleet"), now=_START))
    gateway = _Noting(server)
    whole = Story("all parts", tuple(act for story in parts.values() for act in story.acts), lambda _objects, _subject: False)
    simulation = Simulation(server, clock, neighbours(FAST), Story("", (), whole.ends), subject)
    simulation.live_with(Loop(decide, gateway, clock))
    written = {}
    for title, story in parts.items():
        seen, simulation._acts = len(gateway.sent), list(story.acts)  # one world for all parts
        simulation._looked_at_version = -1
        simulation.run(clock.now() + timedelta(seconds=60))
        assert not simulation._acts, f"{title}: {simulation._acts[0].title} was not done"
        written[title] = gateway.sent[seen:]
    return written
