"""Measures whether the memory of the loop grows: 30 virtual days of a fleet, with daily changes.

    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_month [CONTROL_PLANES [SEED]]

Prints one JSON object. A hundredth of the control planes is deleted and created again each day, and
a tenth gets a new token, loses its kubeconfig, or is edited. After a day's changes the fleet rests,
and a loop at rest is a fixpoint: each look leaves every state as it was. So ten minutes of the rest
are executed each day, the first hour whole, and the clock jumps over the other looks.
"""

import gc
import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta

from attrs import evolve

from captep_core import JSON, Decision, Listed, ObjectRef, Observed, ReconcileState, Selection
from captep_core import decide as decided
from captep_core._actions import Action
from captep_core.ports import Answer, Read, Reads
from captep_memory import Key, MemoryGateway, Object, load
from captep_runtime import Loop, Tuning
from captep_world import VirtualClock
from tests.benchmarks.bench_fleet import fleet

START = datetime(2026, 1, 1, tzinfo=UTC)
_GROWTH = "growth of memory after the first hour, percent"
_AT_REST = "decisions in an hour at rest"
LIMITS = {_GROWTH: 1.0, _AT_REST: 0.0}
_INTERVAL = 31.5
"""The mean of the intervals at rest: 30 s and up to a tenth."""


class Month:
    """A fleet on an in-memory server, its loop, and the hands that change it."""

    def __init__(self, count: int, seed: int) -> None:
        self._draw = random.Random(seed)
        self._objects = list(fleet(count))
        self._gateway = MemoryGateway(load(self._objects, now=START))
        self._clock = VirtualClock(START)
        self._taken = self._gateway.world.resource_version
        self.decisions = self.writes = 0
        self.read: Read = Reads(self._get, self._find)
        self._loop = Loop(
            self._decide, self, self._clock, tuning=Tuning(align_to=1.0), version=self._version
        )
        self._keys = [_ref(obj) for obj in self._objects if obj["kind"] == "CAPTControlPlane"]
        for key in self._keys:
            self._loop.add(key)

    def send(self, action: Action) -> Answer:
        """Send a write."""
        self.writes += 1
        return self._gateway.send(action)

    def run(self, length: timedelta) -> None:
        """Let time pass."""
        end = self._clock.now() + length
        while True:
            self._notify()
            due = self._loop.run_due(self._clock.now())
            if due is None or due > end:
                break
            self._clock.move(due)
        self.jump(end)

    def jump(self, end: datetime) -> None:
        """Pass over the looks of a fleet at rest."""
        self._clock.move(end)
        self._gateway.world = self._gateway.world.at(self._clock.now())

    def day(self, number: int) -> None:
        """Change the fleet, let it settle, and rest until the next day."""
        self.jump(START + timedelta(days=number))
        gone = self._draw.sample(self._keys, max(1, len(self._keys) // 100))
        for key in gone:
            self._remove(key)
        self.run(timedelta(minutes=1))
        for key in gone:
            self._add(key)
        for key in self._draw.sample(self._keys, max(1, len(self._keys) // 10)):
            self._change(key)
        self.run(timedelta(minutes=10))

    def memory(self) -> int:
        """Return the blocks of memory in use, after the server has forgotten its history.

        Blocks above 512 bytes do not count; tracing every byte took five minutes for a month.
        """
        world = self._gateway.world
        self._gateway.world = evolve(
            world.compact(world.resource_version), departed=frozenset(), ledger={}
        )
        gc.collect()
        return sys.getallocatedblocks()

    def _of(self, key: ObjectRef) -> list[Object]:
        names = (key.name, f"{key.name}-")
        return [
            obj
            for obj in self._objects
            if obj["metadata"]["name"] == names[0] or obj["metadata"]["name"].startswith(names[1])
        ]

    def _remove(self, key: ObjectRef) -> None:
        for obj in self._of(key):
            if self._gateway.world.get(_key(obj)) is not None:
                self._gateway.world = self._gateway.world.remove(_key(obj))

    def _add(self, key: ObjectRef) -> None:
        for obj in self._of(key):
            self._gateway.world, _ = self._gateway.world.put(_key(obj), obj)

    def _change(self, key: ObjectRef) -> None:
        """Give a new token, delete the kubeconfig, or edit a Workspace's annotation."""
        world = self._gateway.world
        secret = Key("", "Secret", key.namespace, f"{key.name}-kubeconfig")
        match self._draw.randrange(3):
            case 0:
                source = Key("", "Secret", key.namespace, f"{key.name}-outputs-kubeconfig")
                found = world.get(source)
                if found is not None:
                    token = {"kubeconfig": f"{self._draw.randrange(10**15):020}"}
                    self._gateway.world, _ = world.put(source, {**found, "data": token})
            case 1:
                if world.get(secret) is not None:
                    self._gateway.world = world.remove(secret)
            case _:
                stored = world.get(_key_of(key))
                if stored is not None:
                    labels = {"edited": str(self._draw.random())}
                    metadata = {**stored["metadata"], "labels": labels}
                    edited = {**stored, "metadata": metadata}
                    self._gateway.world, _ = world.put(_key_of(key), edited)

    def _notify(self) -> None:
        world = self._gateway.world
        for change in world.changes(since=self._taken):
            ref = _ref(change.object)
            if ref.kind == "CAPTControlPlane":
                if world.get(change.key) is None:
                    self._loop.remove(ref)
                else:
                    self._loop.add(ref)
            self._loop.notify(ref)
        self._taken = world.resource_version
        self._gateway.world = world.compact(self._taken)

    def _get(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        return self._gateway.get(ref)

    def _find(self, selection: Selection) -> Listed:
        return self._gateway.find(selection)

    def _decide(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        self.decisions += 1
        return decided(key, read, state, now=now)

    def _version(self, ref: ObjectRef) -> str | None:
        stored = self._gateway.world.get(_key_of(ref))
        return None if stored is None else stored["metadata"]["resourceVersion"]


def _ref(obj: Object) -> ObjectRef:
    metadata = obj["metadata"]
    return ObjectRef(obj["apiVersion"], obj["kind"], metadata.get("namespace"), metadata["name"])


def _key_of(ref: ObjectRef) -> Key:
    group = ref.api_version.rpartition("/")[0]
    return Key(group, ref.kind, ref.namespace, ref.name)


def _key(obj: Object) -> Key:
    return _key_of(_ref(obj))


def measure(count: int, seed: int, days: int = 30) -> dict[str, float]:
    """Return how the memory grows, as percents of that after the first hour, and what it cost."""
    began = time.process_time()
    gc.collect()
    empty = sys.getallocatedblocks()
    month = Month(count, seed)
    month.run(timedelta(minutes=10))
    made = month.decisions
    month.run(timedelta(minutes=50))
    needless = month.decisions - made
    hour = month.memory() - empty
    grown = list[float]()
    for number in range(1, days + 1):
        month.day(number)
        grown.append(100 * ((month.memory() - empty) / hour - 1))
    looks = count * days * 86400 / _INTERVAL
    executed = count * (3600 + days * 660) / _INTERVAL
    return {
        _GROWTH: grown[-1],
        "growth from the first to the last day, percent": grown[-1] - grown[0],
        _AT_REST: needless,
        "writes": month.writes,
        "looks executed, percent": 100 * executed / looks,
        "CPU seconds of the run": time.process_time() - began,
    }


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    print(json.dumps(measure(*(words or [1000]), *([0] if len(words) < 2 else []))))
