"""Counts the writes of each life story against the fewest that could do.

    PYTHONPATH=.:adapters python -m tests.benchmarks.writes

Users and neighbours send one request at a time, and the loop comes to rest in between, as in
`tests/cluster/test_life.py`, which holds the same loop to the same writes on a real server. So
every state on the way is visible to the loop, and the bound counts it: from rest to rest one write
for each object that is created, deleted or changed, and one for each changed status.
`passing_over` counts each target and verb once: a loop that reports states on the way cannot reach
it. Prints one JSON object for each story.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from captep_memory import Object, Request
from captep_memory._world import World
from captep_world import Subject
from tests.cluster.turns import PARTS, InMemory, Turns

__all__ = ["STORIES", "measured"]

_SUBJECT = Subject("fleet", "tokyo")
_BOOKKEEPING = ("resourceVersion", "generation", "managedFields")


class Counting(InMemory):
    """A place that counts what the loop had to change from rest to rest."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self.least = 0

    @property
    def world(self) -> World:
        """The objects as they are now."""
        return self._server.world

    def rest(self, now: datetime) -> None:
        """Let the loop come to rest."""
        before = self.world
        super().rest(now)
        self.least += sum(fewest(before, self.world))


def _edit(body: Object) -> Callable[[Turns], None]:
    """Return a story of one edit of the control plane by its user."""
    ref = _SUBJECT.control_plane
    request = Request("patch", ref.api_version, ref.kind, ref.namespace, ref.name, body=body)
    return lambda turns: turns.do(request)


def _paused(value: str | None) -> Callable[[Turns], None]:
    return _edit({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}})


STORIES: dict[str, Callable[[Turns], None]] = {
    "creation": PARTS["creation"],
    "rotation": PARTS["rotation"],
    "repair": PARTS["repair"],
    "failure": PARTS["failure"],
    "upgrade": _edit({"spec": {"version": "1.34"}}),
    "pause": _paused("true"),
    "end of the pause": _paused(None),
    "deletion": PARTS["deletion"],
}
"""The stories of one control plane, in the order of its life."""


def fewest(before: World, after: World) -> Iterator[int]:
    """Yield, for each object, the fewest writes that make the difference."""
    then, now = _by_place(before), _by_place(after)
    is_over = any(place[0] == "CAPTControlPlane" for place in then.keys() - now.keys())
    for place in then.keys() | now.keys():
        old, new = then.get(place), now.get(place)
        if old is None:
            yield 1
        elif new is None:
            # Garbage collection takes the rest with the control plane.
            yield 1 if place[0] == "CAPTControlPlane" or not is_over else 0
        elif not is_over:
            yield (_main(old) != _main(new)) + (old.get("status") != new.get("status"))


def _by_place(world: World) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    return {
        (obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"]): obj
        for obj in world.objects()
        if obj["kind"] != "Event"
    }


def _main(obj: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in obj.items() if name != "status"}
    metadata = obj["metadata"]
    kept["metadata"] = {name: metadata[name] for name in metadata if name not in _BOOKKEEPING}
    return kept


def measured() -> Iterator[dict[str, Any]]:
    """Live the life of one control plane; yield the figures of each story."""
    place = Counting(_SUBJECT.namespace)
    turns = Turns(place, _SUBJECT)
    for story, play in STORIES.items():
        place.written, place.least = [], 0
        play(turns)
        writes = sum(each != "Event" for each in place.written)
        yield {
            "figure": f"writes of {story}",
            "writes": writes,
            "least": place.least,
            "ratio": round(writes / place.least, 2),
            "passing_over": len({*place.written} - {"Event"}),
            "events": len(place.written) - writes,
        }


if __name__ == "__main__":
    for figure in measured():
        print(json.dumps(figure))
