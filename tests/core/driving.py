"""The loop of one control plane against the in-memory server, one pass after the other, without a clock."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import frozen
from captep_memory import Request, World, load, serve

from captep_core import (
    ABSENT,
    JSON,
    Action,
    Create,
    Decision,
    Delete,
    ObjectRef,
    Observed,
    Patch,
    Policy,
    Recollection,
    Record,
    Refusal,
    Unreadable,
    Write,
    control_plane_ref,
    decide,
    write_of,
)
from captep_core.ports import Read

__all__ = ["KEY", "NOW", "Pass", "Run", "look", "reader", "refs", "run", "send", "writes_of"]

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
KEY = control_plane_ref("fleet", "tokyo")
_LIMIT = 20


@frozen
class Pass:
    """One pass: what it decided and what the server answered to each action that was sent."""

    decision: Decision
    statuses: tuple[int, ...]

    @property
    def writes(self) -> tuple[Action, ...]:
        """What was sent, Events left out."""
        return tuple(each for each in self.decision.actions[: len(self.statuses)] if not isinstance(each, Record))


@frozen
class Run:
    """The passes until one left all as it was, that one included, and the objects at the end."""

    passes: tuple[Pass, ...]
    objects: list[dict[str, Any]]
    recollection: Recollection

    @property
    def last(self) -> Decision:
        """What the pass that changed nothing decided."""
        return self.passes[-1].decision

    @property
    def writes(self) -> tuple[Action, ...]:
        """What all passes sent, Events left out."""
        return tuple(write for each in self.passes for write in each.writes)

    @property
    def events(self) -> tuple[Record, ...]:
        """What was told."""
        return tuple(action for each in self.passes for action in each.decision.actions if isinstance(action, Record))

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object as it is at the end."""
        return next(obj for obj in self.objects if (obj["kind"], obj["metadata"]["name"]) == (kind, name))

    def has(self, kind: str, name: str) -> bool:
        """Whether there is such an object at the end."""
        return any((obj["kind"], obj["metadata"]["name"]) == (kind, name) for obj in self.objects)


def reader(world: World, unreadable: Mapping[ObjectRef, str] | None = None) -> Read:
    """Read from a world; the objects in `unreadable` cannot be read, for the reason there."""

    def read(ref: ObjectRef) -> Observed[dict[str, JSON]]:
        if unreadable and ref in unreadable:
            return Unreadable(unreadable[ref])
        _, response = serve(world, Request("get", ref.api_version, ref.kind, ref.namespace, ref.name))
        if response.status == 404:
            return ABSENT
        return response.body if response.ok else Unreadable(response.reason)

    return read


def send(world: World, action: Action) -> tuple[World, int]:
    """Translate an action to its one request and serve it."""
    to = action.target
    match action:
        case Record():
            return world, 201
        case Create():
            request = Request("create", to.api_version, to.kind, to.namespace, to.name, body=dict(action.body))
        case Delete():
            options: JSON = {"preconditions": {"uid": action.preconditions.uid}}
            request = Request("delete", to.api_version, to.kind, to.namespace, to.name, body=options)
        case Patch():
            wanted = (("uid", action.preconditions.uid), ("resourceVersion", action.preconditions.resource_version))
            given = action.body.get("metadata")
            metadata = {**(given if isinstance(given, dict) else {}), **{key: value for key, value in wanted if value}}
            body: JSON = {**action.body, "metadata": metadata} if metadata else dict(action.body)
            request = Request("patch", to.api_version, to.kind, to.namespace, to.name, subresource=action.subresource, body=body)
    world, response = serve(world, request)
    return world, response.status


def look(
    objects: Iterable[Mapping[str, Any]],
    *,
    key: ObjectRef = KEY,
    unreadable: Mapping[ObjectRef, str] | None = None,
    refusals: Iterable[Refusal] = (),
    verdict: str = "",
    policy: Policy = Policy(),
) -> Decision:
    """Decide once, and send nothing."""
    world = load(objects, now=NOW)
    return decide(key, reader(world, unreadable), Recollection(tuple(refusals), verdict), now=NOW, policy=policy)


def run(
    objects: Iterable[Mapping[str, Any]],
    *,
    key: ObjectRef = KEY,
    unreadable: Mapping[ObjectRef, str] | None = None,
    refuse: Mapping[tuple[str, ObjectRef], int] | None = None,
    policy: Policy = Policy(),
) -> Run:
    """Run passes until one leaves the world and the refusals as they were; `refuse` answers (verb, object) with a status, for good."""
    world, recollection, passes = load(objects, now=NOW), Recollection(), list[Pass]()
    while len(passes) < _LIMIT:
        decision = decide(key, reader(world, unreadable), recollection, now=NOW, policy=policy)
        after, statuses, refusals = world, list[int](), list(decision.standing)
        for action in decision.actions:
            write = write_of(action)
            refused = (refuse or {}).get((write.verb, write.target))
            after, status = (after, refused) if refused else send(after, action)
            statuses.append(status)
            if isinstance(action, Record) or (isinstance(action, Delete) and status == 404):
                continue
            refusals = [each for each in refusals if each.write != write]
            if status >= 300:
                refusals.append(Refusal(write, status))
                break
        passes.append(Pass(decision, tuple(statuses)))
        is_settled = after is world and set(refusals) == set(recollection.refusals)
        world, recollection = after, Recollection(tuple(refusals), decision.verdict.reason)
        if is_settled:
            return Run(tuple(passes), [dict(obj) for obj in world.objects()], recollection)
    raise AssertionError(f"not settled after {_LIMIT} passes: {[each.decision.verdict for each in passes[-3:]]}")


def refs(objects: Iterable[Mapping[str, Any]]) -> list[ObjectRef]:
    """Refer to each of the objects."""
    return [ObjectRef(obj["apiVersion"], obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in objects]


def writes_of(actions: Iterable[Action]) -> list[str]:
    """Name the writes among the actions, in order, Events included."""
    return [str(Write(write.verb, write.target, write.subresource)) for write in map(write_of, actions)]
