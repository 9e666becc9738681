"""Drive the loop {decide, run_pass} over the in-memory server, and keep every step."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from attrs import evolve, frozen

from captep_core import (
    JSON,
    Action,
    Decision,
    Listed,
    ObjectRef,
    Observed,
    ReconcileState,
    RecordEvent,
    Selection,
    Unreadable,
    control_plane_ref,
    decide,
    merge_patch,
)
from captep_core.ports import Answer
from captep_memory import Key, MemoryGateway, World, collect_all, departed, group_of
from captep_runtime import Pass, WriteHistory, run_pass
from tests.capt.worlds import ready

__all__ = [
    "BOUND",
    "KEY",
    "NOW",
    "Blind",
    "Drive",
    "Fault",
    "Faults",
    "Scene",
    "Server",
    "Step",
    "collected",
    "drive",
    "look",
    "normalised",
    "storage_key",
    "stored",
    "with_clock",
]

KEY: Final = control_plane_ref("fleet", "tokyo")
NOW: Final = datetime(2026, 1, 1, 1, tzinfo=UTC)
BOUND: Final = 6
"""From any world at most so many passes act (P1)."""
_LIMIT = 12
_NO_ATTEMPTS: Final = WriteHistory()
_VARYING = (
    "resourceVersion",
    "generation",
    "managedFields",
    "creationTimestamp",
    "deletionTimestamp",
)

Blind: TypeAlias = Mapping[ObjectRef, "Unreadable | dict[str, JSON]"]
_SEES_ALL: Blind = MappingProxyType({})


@frozen(repr=False)
class Scene:
    """A world, and the objects in it that are read as an error or as something malformed."""

    world: World
    blind: Blind = _SEES_ALL

    def __repr__(self) -> str:
        """Show the differences from a Ready world, for people who read a counterexample."""
        base = {_place(obj): obj for obj in ready()}
        mine = {_place(obj): obj for obj in self.world.objects()}
        absent = [f"without {place}" for place in sorted(base.keys() - mine.keys())]
        differing = {
            place: merge_patch(_plain(base.get(place, {})), _plain(obj))
            for place, obj in mine.items()
        }
        blind = [f"{ref} is read as {seen}" for ref, seen in self.blind.items()]
        return "\n".join(
            [
                "Scene:",
                *absent,
                *(f"{place}: {patch}" for place, patch in differing.items() if patch),
                *blind,
            ]
        )

    def _repr_pretty_(self, printer: Any, _: object) -> None:  # noqa: ANN401 - Hypothesis' own
        printer.text(repr(self))


def _place(obj: Mapping[str, Any]) -> str:
    return "/".join((obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"]))


def _plain(obj: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        key: value
        for key, value in obj.get("metadata", {}).items()
        if key not in (*_VARYING, "deletionTimestamp")
    }
    return {
        **obj,
        "metadata": {
            **kept,
            "deletionTimestamp": obj.get("metadata", {}).get("deletionTimestamp", ""),
        },
    }


class Fault(Enum):
    """A fault of one write, other than a plain refusal."""

    LOST_ANSWER = "it lands, and the answer is lost"
    TWICE = "it is delivered twice, and the second answer comes back"


Faults: TypeAlias = Callable[[Action], "Fault | int | None"]
"""What befalls a write: a fault, the HTTP status with which it is refused, or nothing."""


@frozen
class Step:
    """One sent action: the world before it, the answer, and the world after it."""

    action: Action
    answer: Answer
    before: World
    after: World

    @property
    def is_effective(self) -> bool:
        """Whether it changed the world; an Event does not count."""
        return (
            not isinstance(self.action, RecordEvent)
            and self.before.resource_version != self.after.resource_version
        )


class Server(MemoryGateway):
    """A gateway that keeps its steps, hides some objects, and injects faults into writes."""

    def __init__(self, scene: Scene, faults: Faults | None = None) -> None:
        super().__init__(scene.world)
        self._blind = scene.blind
        self._faults = faults
        self.steps: list[Step] = []
        self.refused = 0

    def get(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up."""
        seen = self._blind.get(ref)
        return super().get(ref) if seen is None else seen

    def find(self, selection: Selection) -> Listed:
        """List: an unreadable object of the kind hides the list, a malformed one stands in it."""
        found = super().find(selection)
        hidden = {
            ref.name: seen
            for ref, seen in self._blind.items()
            if (ref.api_version, ref.kind, ref.namespace)
            == (selection.api_version, selection.kind, selection.namespace)
        }
        unreadable = (seen for seen in hidden.values() if isinstance(seen, Unreadable))
        if isinstance(found, Unreadable):
            return found
        shown = tuple(hidden.get(obj["metadata"]["name"], obj) for obj in found)
        return next(unreadable, tuple(obj for obj in shown if isinstance(obj, dict)))

    def send(self, action: Action) -> Answer:
        """Serve `action`, or apply its fault."""
        before = self.world
        answer = self._befallen(action, self._faults(action) if self._faults else None)
        self.steps.append(Step(action, answer, before, self.world))
        return answer

    def _befallen(self, action: Action, fault: "Fault | int | None") -> Answer:
        match fault:
            case None:
                return super().send(action)
            case Fault.LOST_ANSWER:
                super().send(action)
                return Answer(504, changed=False)
            case Fault.TWICE:
                super().send(action)
                return super().send(action)
            case status:
                # A webhook's text is another one each time (P16c).
                self.refused += 1
                message = f"request {self.refused} is refused"
                return Answer(status, changed=False, reason="Denied", message=message)


@frozen
class Drive:
    """Passes until one left all as it was, that one included.

    `worlds`: the world before each pass. `steps`: the actions of each pass. `is_settled` is False
    when the passes did not come to rest.
    """

    passes: tuple[Pass, ...]
    worlds: tuple[World, ...]
    steps: tuple[tuple[Step, ...], ...]
    end: World
    is_settled: bool

    @property
    def acting(self) -> int:
        """How many passes changed something or learned of a refusal."""
        return len(self.passes) - self.is_settled

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """Every step, in order."""
        return tuple(step for steps in self.steps for step in steps)

    @property
    def effective(self) -> tuple[Step, ...]:
        """The steps that changed the world."""
        return tuple(step for step in self.all_steps if step.is_effective)

    @property
    def last(self) -> Pass:
        """The pass that changed nothing."""
        return self.passes[-1]


def drive(
    scene: Scene,
    *,
    state: ReconcileState = ReconcileState(),
    history: WriteHistory = _NO_ATTEMPTS,
    faults: Faults | None = None,
    tick: timedelta = timedelta(0),
    limit: int = _LIMIT,
) -> Drive:
    """Run passes and the garbage collector until a pass changes nothing; `tick` moves the clock."""
    server = Server(scene, faults)
    passes = list[Pass]()
    worlds = list[World]()
    steps = list[tuple[Step, ...]]()
    while len(passes) < limit:
        worlds.append(server.world)
        done = run_pass(decide, server, KEY, state, now=server.world.now, history=history)
        passes.append(done)
        steps.append(tuple(server.steps))
        server.steps.clear()
        state = done.state
        history = done.history
        server.world = collected(server.world)
        if not (done.changed or any(step.is_effective for step in steps[-1])):
            return Drive(tuple(passes), tuple(worlds), tuple(steps), server.world, is_settled=True)
        server.world = server.world.at(server.world.now + tick)
    return Drive(tuple(passes), tuple(worlds), tuple(steps), server.world, is_settled=False)


def collected(world: World) -> World:
    """The world after the garbage collector has had its time."""
    return collect_all(world, known_owner=departed(world)) if world.departed else world


def look(
    scene: Scene, *, state: ReconcileState = ReconcileState(), now: datetime = NOW
) -> Decision:
    """Decide once, and send nothing."""
    return decide(KEY, Server(scene).read, state, now=now)


def storage_key(ref: ObjectRef) -> Key:
    """The server's key of the object."""
    return Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name)


def stored(world: World, ref: ObjectRef) -> dict[str, Any] | None:
    """The object as it stands in the server."""
    return world.get(storage_key(ref))


def normalised(world: World, *, but: str = "", times: bool = True) -> list[Any]:
    """The objects without Events and without the values that differ from run to run.

    Each uid becomes its rank, in the order of first occurrence. `but`: the name of an object to
    leave out. `times`: whether transition times are left out too.
    """
    ranks: dict[str, str] = {}

    def plain(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
        if isinstance(value, dict):
            return {
                key: _rank(ranks, item) if key == "uid" else plain(item)
                for key, item in _lasting(value, times=times)
            }
        return [plain(item) for item in value] if isinstance(value, list) else value

    return [
        plain(obj)
        for obj in world.objects()
        if obj["kind"] != "Event" and obj["metadata"]["name"] != but
    ]


def _lasting(value: Mapping[str, Any], *, times: bool) -> Iterator[tuple[str, Any]]:
    for key in sorted(value):
        # These equal absent in owned fields: whether they exist depends on the earlier world.
        is_empty = value[key] == {} or (key == "controlPlaneReady" and not value[key])
        if not is_empty and key not in _VARYING and not (times and key == "lastTransitionTime"):
            yield key, value[key]


def _rank(ranks: dict[str, str], uid: str) -> str:
    return ranks.setdefault(uid, f"uid-{len(ranks)}")


def with_clock(scene: Scene, now: datetime) -> Scene:
    """The same scene at another time."""
    return evolve(scene, world=scene.world.at(now))
