"""Measures how the loop grows with the fleet, in virtual time, without a server in the process.

    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_scale CONTROL_PLANES

Prints one JSON object. The fleet is one control
plane that the simulated peers made Ready, under so many names. The gateway parses an object from
text each time that a decision reads it and keeps none, so the memory is that of the loop alone.
"""

import gc
import json
import re
import resource
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from attrs import evolve

from captep_core import JSON, Listed, ObjectRef, Observed, Selection, decide
from captep_core._observation import ABSENT, Unreadable
from captep_core._workqueue import WorkQueue
from captep_core.ports import Answer, Reads
from captep_runtime import Loop, Tuning
from captep_runtime._metrics import Labels
from captep_world import VirtualClock, stories
from tests.benchmarks.bench_fleet import MODEL, ready

LIMITS = {"KiB of memory for each control plane": 12.0}
LIMITED = 10_000
"""The size whose figures have limits."""
SIZES = (100, 1_000, 10_000, 100_000)
START = datetime(2026, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"\bc(\d+)")
_BETWEEN = "\n"
_MINUTES = 10


class Fleet:
    """A gateway to control planes at rest, `c0`, `c1` and so on; a write is an error.

    `spent`: the seconds of CPU that went into the texts, which a real gateway would not spend.
    """

    def __init__(self) -> None:
        model = ready()
        self.spent = 0.0
        self._control_plane = next(_ref(obj) for obj in model if obj["kind"] == "CAPTControlPlane")
        self._model = [*model, *stories.templates("fleet")]
        self._text = _BETWEEN.join(json.dumps(obj) for obj in self._model)
        self._refs = [_ref(obj) for obj in self._model]
        self._uids = {obj["metadata"]["uid"] for obj in model}
        self._number, self._texts = -1, dict[ObjectRef, str]()
        self.read = Reads(self._get, self._find)

    def keys(self, count: int) -> list[ObjectRef]:
        """Return the keys of so many control planes."""
        model = self._control_plane
        return [
            ObjectRef(model.api_version, model.kind, model.namespace, f"c{number}")
            for number in range(count)
        ]

    def unit(self) -> float:
        """Return the seconds of CPU to parse the objects of one control plane."""
        texts, began = self._text.split(_BETWEEN), time.process_time()
        for _ in range(500):
            for text in texts:
                json.loads(text)
        return (time.process_time() - began) / 500

    def send(self, _: object) -> Answer:
        """Refuse."""
        raise AssertionError("a fleet at rest needs no write")

    def _get(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        began = time.process_time()
        match = _NUMBER.search(ref.name)
        if match is not None and int(match[1]) != self._number:
            self._turn_to(int(match[1]))
        text = self._texts.get(ref)
        self.spent += time.process_time() - began
        if text is None:
            return ABSENT
        obj: dict[str, JSON] = json.loads(text)
        return obj

    def _turn_to(self, number: int) -> None:
        text, self._number = self._text.replace(MODEL, f"c{number}"), number
        for uid in self._uids:
            text = text.replace(uid, f"{uid[:-12]}{number:012x}")
        names = (ref.name.replace(MODEL, f"c{number}") for ref in self._refs)
        refs = (evolve(ref, name=name) for ref, name in zip(self._refs, names, strict=True))
        self._texts = dict(zip(refs, text.split(_BETWEEN), strict=True))

    def _find(self, _: Selection) -> Listed:
        return Unreadable("a fleet at rest lists nothing")


def _ref(obj: Mapping[str, JSON]) -> ObjectRef:
    metadata = obj["metadata"]
    assert isinstance(metadata, dict)
    namespace = metadata.get("namespace")
    return ObjectRef(
        str(obj["apiVersion"]),
        str(obj["kind"]),
        None if namespace is None else str(namespace),
        str(metadata["name"]),
    )


def measure(count: int) -> dict[str, float]:
    """Return the figures of a fleet of `count`; times are CPU, as multiples of the `json.loads` of
    the objects that a pass reads.

    The storm: all keys are due at once at the start. The peaks are the passes in the busiest second
    of a minute, as multiples of the mean: passes after an interval begin at whole seconds.
    """
    fleet, clock = Fleet(), VirtualClock(START)
    keys = fleet.keys(count)
    passes, before_unit = Passes(), fleet.unit()
    loop = Loop(
        decide, fleet, clock, tuning=Tuning(align_to=1.0), version=lambda _: "1", metrics=passes
    )
    # The first key pays for what is loaded once.
    loop.add(keys[0])
    loop.run_due(START)
    loop.remove(keys[0])
    gc.collect()
    before, began, fleet.spent = resident(), time.process_time(), 0.0
    for key in keys:
        loop.add(key)
    due = loop.run_due(START, limit=2 * count)
    first = time.process_time() - began - fleet.spent
    gc.collect()
    memory = resident() - before
    storm, passes.number = passes.number, 0
    seconds = [0] * (60 * _MINUTES)
    began = time.process_time()
    while due is not None and due < START + timedelta(minutes=_MINUTES):
        clock.move(due)
        after = loop.run_due(due, limit=2 * count)
        seconds[int((due - START).total_seconds())] = passes.number
        due, passes.number = after, 0
    resting = time.process_time() - began
    unit = (before_unit + fleet.unit()) / 2
    mean = sum(seconds) / len(seconds)
    return {
        "passes of the storm, of the control planes": storm / count,
        "pass, from raw JSON": first / storm / unit,
        "look at rest": resting / sum(seconds) / unit,
        "operation of the schedule": schedule(keys) / unit,
        "KiB of memory for each control plane": memory / count / 1024,
        "peak in the first minute, of the mean": max(seconds[:60]) / mean,
        "peak in the last minute, of the mean": max(seconds[-60:]) / mean,
    }


class Passes:
    """Counts passes, those included that the loop skips."""

    def __init__(self) -> None:
        self.number = 0.0

    def count(self, name: str, _labels: Labels, amount: float = 1) -> None:
        """Add the passes."""
        if name == "controller_runtime_reconcile_total":
            self.number += amount

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Drop a gauge."""

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """Drop a duration."""


def resident() -> int:
    """Return the resident bytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def schedule(keys: list[ObjectRef]) -> float:
    """Return the seconds of CPU of one operation of the work queue, a pop or the end of a run."""
    queue = WorkQueue[ObjectRef]()
    for number, key in enumerate(keys):
        queue.add(key, now=0.0, delay=float(number % 33))
    rounds, began = 20_000, time.process_time()
    now = 40.0
    for _ in range(rounds):
        due = queue.pop(now=now)
        assert due is not None
        queue.done(due, now=now, requeue_after=30.0)
        now += 31.0 / len(keys)
    return (time.process_time() - began) / (2 * rounds)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
