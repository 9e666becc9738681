"""Run the loop of one control plane against the in-memory server: no other actor, no time."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from attrs import frozen

from captep_core import (
    Action,
    Decision,
    ObjectRef,
    Policy,
    ReconcileState,
    RecordEvent,
    Refusal,
    control_plane_ref,
    decide,
    write_of,
)
from captep_core.capt._resources import WATCHED
from captep_core.ports import Read
from captep_memory import MemoryGateway, ObjectMatch, World, load
from captep_runtime import Pass, WriteHistory, run_pass

__all__ = ["KEY", "NOW", "Run", "look", "reader", "ref", "refs", "run", "writes_of"]

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
KEY = control_plane_ref("fleet", "tokyo")
_LIMIT = 20


@frozen
class Run:
    """The passes up to the first that changed nothing, that one included, and the final objects."""

    passes: tuple[Pass, ...]
    objects: list[dict[str, Any]]

    @property
    def last(self) -> Decision:
        """The decision of the pass that changed nothing."""
        return self.passes[-1].decision

    @property
    def acted(self) -> int:
        """How many passes sent something."""
        return sum(bool(each.sent) for each in self.passes)

    @property
    def writes(self) -> tuple[Action, ...]:
        """Every action that was sent, Events left out."""
        return tuple(
            action
            for each in self.passes
            for action, _ in each.sent
            if not isinstance(action, RecordEvent)
        )

    @property
    def events(self) -> tuple[RecordEvent, ...]:
        """The Events that were recorded."""
        return tuple(
            action
            for each in self.passes
            for action, _ in each.sent
            if isinstance(action, RecordEvent)
        )

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object as it is at the end."""
        return next(
            obj for obj in self.objects if (obj["kind"], obj["metadata"]["name"]) == (kind, name)
        )

    def has(self, kind: str, name: str) -> bool:
        """Whether there is such an object at the end."""
        return any((obj["kind"], obj["metadata"]["name"]) == (kind, name) for obj in self.objects)


def _match(target: ObjectRef) -> ObjectMatch:
    return ObjectMatch(target.kind, target.namespace, target.name)


def _gateway(
    world: World,
    unreadable: Mapping[ObjectRef, str] | None = None,
    refuse: Mapping[tuple[str, ObjectRef], int] | None = None,
) -> MemoryGateway:
    return MemoryGateway(
        world,
        unreadable={_match(target): reason for target, reason in (unreadable or {}).items()},
        refuse={
            (verb, _match(target)): status for (verb, target), status in (refuse or {}).items()
        },
        watched=WATCHED,
    )


def reader(world: World, unreadable: Mapping[ObjectRef, str] | None = None) -> Read:
    """Read from a world; the objects in `unreadable` answer with the reason there."""
    return _gateway(world, unreadable).read


def look(
    objects: Iterable[Mapping[str, Any]],
    *,
    key: ObjectRef = KEY,
    unreadable: Mapping[ObjectRef, str] | None = None,
    refusals: Iterable[Refusal] = (),
    verdict: str = "",
    policy: Policy = Policy(),
    now: datetime = NOW,
) -> Decision:
    """Decide once, and send nothing."""
    return decide(
        key,
        reader(load(objects, now=now), unreadable),
        ReconcileState(tuple(refusals), verdict),
        now=now,
        policy=policy,
    )


def run(
    objects: Iterable[Mapping[str, Any]],
    *,
    key: ObjectRef = KEY,
    unreadable: Mapping[ObjectRef, str] | None = None,
    refuse: Mapping[tuple[str, ObjectRef], int] | None = None,
    policy: Policy = Policy(),
) -> Run:
    """Run passes until one changes nothing; `refuse` gives a (verb, object) its status for good."""
    gateway = _gateway(load(objects, now=NOW), unreadable, refuse)
    passes = list[Pass]()
    state = ReconcileState()
    history = WriteHistory()
    while len(passes) < _LIMIT:
        done = run_pass(
            partial(decide, policy=policy), gateway, key, state, now=NOW, history=history
        )
        passes.append(done)
        state = done.state
        history = done.history
        if not done.changed:
            return Run(
                tuple(passes),
                [dict(obj) for obj in gateway.world.objects() if obj["kind"] != "Event"],
            )
    raise AssertionError(
        f"not settled after {_LIMIT} passes: {[each.decision.verdict for each in passes[-3:]]}"
    )


def ref(obj: Mapping[str, Any]) -> ObjectRef:
    """Refer to an object."""
    return ObjectRef(
        obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]
    )


def refs(objects: Iterable[Mapping[str, Any]]) -> list[ObjectRef]:
    """Refer to each of the objects."""
    return [ref(obj) for obj in objects]


def writes_of(actions: Iterable[Action]) -> list[str]:
    """Name the write of each action, in order."""
    return [str(write_of(action)) for action in actions]
