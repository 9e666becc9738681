"""Results of the pure functions that a search repeats.

The decision, the server, the neighbours, the moves and the predicates are pure, and worlds and
actions are immutable. So each of them is computed once for what it reads: a decision for the
objects that it looks up, a write for its object, a predicate for the objects that it compares. In a
search of 11,682 states our own core decides 1,944 times for 12,464 passes.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeGuard

from attrs import define, evolve, field

from captep_core._actions import JSON, Action, Create, ObjectRef, Patch
from captep_core._decision import Decision
from captep_core._not_kept import not_kept
from captep_core._observation import Listed, Observed, ReconcileState, Selection
from captep_core.ports import Answer, Decide, Read, Reads, select
from captep_memory import Key, MemoryGateway, World, collect_all, garbage, group_of
from captep_testing._canonical import digest
from captep_testing._interned import Cell, Interned, Worlds
from captep_testing._kit import Kit
from captep_testing._passes import Target, look_up
from captep_testing._recall import Recall, delta_of

__all__ = ["Memo", "memoised"]


# As in a run to rest: real neighbours need one or two rounds.
_NEIGHBOURLY = 100


@define(eq=False)
class _Node:
    """A point of a decision, reached by its reads so far: `target` is next, or it is decided."""

    target: Target | None = None
    decision: Decision | None = None
    following: dict[int, tuple[object, "_Node"]] = field(factory=dict)


class Memo:
    """The results of one kit."""

    def __init__(self, kit: Kit) -> None:
        """Remember nothing yet."""
        self.worlds = Worlds()
        self._recall = Recall(self.worlds)
        self._decide = kit.decide
        self._neighbours = kit.neighbours
        self._decisions: dict[object, _Node] = {}
        self._equal_decisions: dict[object, Decision] = {}
        self._equal_actions: dict[bytes, Action] = {}
        self._actions: dict[int, tuple[Action, Action]] = {}
        self._keys: dict[ObjectRef, Key] = {}
        self._reads: dict[object, Observed[dict[str, JSON]]] = {}
        self._lists: dict[object, Listed] = {}
        self._settled: dict[int, Interned] = {}
        self._learned: dict[tuple[int, int], tuple[Action, Answer, Answer]] = {}
        self._equal_answers: dict[object, Answer] = {}
        self._kin: dict[int, int] = {}
        self._kinships: dict[object, int] = {}
        self._kindred: dict[int, tuple[object, ...]] = {}
        self._by_kin: dict[object, Any] = {}

    def decide(
        self, key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime
    ) -> Decision:
        """Return the decision for what `read` shows."""
        node = self._decisions.setdefault((key, state, now), _Node())
        while node.decision is None and node.target is not None:
            known = node.following.get(id(look_up(read, node.target)))
            if known is None:
                break
            node = known[1]
        if node.decision is not None:
            return node.decision
        return self._decided(key, read, state, now)

    def _decided(
        self, key: ObjectRef, read: Read, state: ReconcileState, now: datetime
    ) -> Decision:
        seen: list[tuple[Target, object]] = []

        def recorded(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            found = read(ref)
            seen.append((ref, found))
            return found

        def listed(selection: Selection) -> Listed:
            found = select(read, selection)
            seen.append((selection, found))
            return found

        decision = self.equal(self._decide(key, Reads(recorded, listed), state, now=now))
        node = self._decisions[(key, state, now)]
        for target, found in seen:
            # A function that reads in another order is not pure; `check` finds it.
            node.target = target
            node = node.following.setdefault(id(found), (found, _Node()))[1]
        node.decision = decision
        return decision

    def equal(self, decision: Decision) -> Decision:
        """Return the first decision that is equal to this one, so that its passes are shared."""
        if not isinstance(decision, Decision):
            return decision  # the runtime reports it
        actions = tuple(map(self.action, decision.actions))
        rest = evolve(decision, actions=())
        try:
            return self._equal_decisions.setdefault(
                (rest, *map(id, actions)), evolve(decision, actions=actions)
            )
        except TypeError:  # a verdict without a hash
            return decision

    def action(self, action: Action) -> Action:
        """Return the first action that is equal to this one."""
        known = self._actions.get(id(action))
        if known is None:
            try:
                equal = self._equal_actions.setdefault(_text_of(action), action)
            except (TypeError, ValueError):  # a body that is no JSON: P5b reports it
                equal = action
            known = self._actions[id(action)] = (action, equal)
        return known[1]

    def reader(self, world: World) -> Read:
        """Return the reads of a world."""
        found = self.worlds.of(world)
        setting = found.setting.number

        def read(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            place = (ref, found.cell(self.key(ref)).content, setting)
            known = self._reads.get(place)
            if known is None:
                known = self._reads[place] = MemoryGateway(found).get(ref)
            return known

        def find(selection: Selection) -> Listed:
            contents = (cell.content for cell in self._candidates(found, selection))
            place = (selection, setting, *contents)
            known = self._lists.get(place)
            if known is None:
                known = self._lists[place] = MemoryGateway(found).find(selection)
            return known

        return Reads(read, find)

    def key(self, ref: ObjectRef) -> Key:
        """Return the key under which the server stores an object."""
        known = self._keys.get(ref)
        if known is None:
            group = group_of(ref.api_version)
            known = self._keys[ref] = Key(group, ref.kind, ref.namespace, ref.name)
        return known

    def _candidates(self, world: Interned, selection: Selection) -> list[Cell]:
        """Return the cells of a kind and its namespace."""
        group = group_of(selection.api_version)
        return [
            cell
            for place in self.worlds.places()
            if place[:2] == (group, selection.kind) and selection.namespace in (None, place[2])
            for cell in world.cells_of(place)
        ]

    def serve(self, world: World, action: Action) -> tuple[World, Answer]:
        """Return the world after one write, and the answer."""
        before = self.worlds.of(world)
        equal = self.action(action)

        def sent(recorded: World) -> object:
            gateway = MemoryGateway(recorded)
            answer = gateway.send(equal)
            return delta_of(gateway.world), answer

        found, answer = self._recall.value(("serve", id(equal)), sent, before)
        after = self._recall.applied(found, before)
        assert after is not None  # noqa: S101 - a server answers with a world
        return after, answer

    def settle(self, world: World) -> World:
        """Return the world after one round of the garbage collector and the neighbours."""
        before = self.worlds.of(world)
        known = self._settled.get(before.number)
        if known is None:
            after = before
            if self.garbage(before):
                after = self.worlds.of(collect_all(before))
            known = self._recall.world("neighbours", self._neighbours, after)
            assert known is not None  # noqa: S101 - neighbours return a world
            self._settled[before.number] = known
        return known

    def settled(self, world: World) -> Interned:
        """Return the world after the garbage collector and the neighbours have done all their work.

        A world in which they never come to rest is returned as it is.
        """
        start = before = self.worlds.of(world)
        for _ in range(_NEIGHBOURLY):
            after = self.worlds.of(self.settle(before))
            if after.resource_version == before.resource_version:
                return before
            before = after
        return start

    def answer(self, action: Action, answer: Answer) -> Answer:
        """Return the first answer from which the runtime learns the same."""
        place = (id(action), id(answer))
        known = self._learned.get(place)
        if known is None:
            dropped = None
            if not answer.is_refusal and answer.object is not None and _is_compared(action):
                dropped = not_kept(action, answer.object)
            equal = self._equal_answers.setdefault((id(action), answer, dropped), answer)
            # Both stay alive, so that Python gives their identities to no other object.
            known = self._learned[place] = (action, answer, equal)
        return known[2]

    def at(self, world: World, now: datetime) -> World:
        """Return a world at another time."""
        return self.worlds.of(world).at(now)

    def garbage(self, world: World) -> tuple[Key, ...]:
        """Return what the garbage collector could act on; see `captep_memory.garbage`."""
        found: tuple[Key, ...] = self.by_kin("garbage", garbage, world)
        return found

    def by_kin(self, name: object, call: Callable[[World], Any], world: World) -> Any:  # noqa: ANN401 - of any function
        """Return the result of a function of keys, uids, owners, finalizers and deletions alone."""
        found = self.worlds.of(world)
        kindred = self._kindred.get(found.number)
        if kindred is None:
            kindred = self._kindred[found.number] = (
                found.setting.number,
                *(self._kinship(self.worlds.cells[number]) for number in found.vector),
            )
        place = (name, kindred)
        if place not in self._by_kin:
            self._by_kin[place] = call(found)
        return self._by_kin[place]

    def _kinship(self, cell: Cell) -> int:
        known = self._kin.get(cell.number)
        if known is None:
            about: object = None
            if cell.obj is not None:
                metadata = cell.obj["metadata"]
                names = ("uid", "deletionTimestamp", "finalizers", "ownerReferences")
                about = json.dumps([cell.obj["apiVersion"], *map(metadata.get, names)])
            known = self._kinships.setdefault(about, len(self._kinships))
            self._kin[cell.number] = known
        return known

    def predicate(self, holds: Callable[..., bool]) -> Callable[..., bool]:
        """Return a predicate on worlds that is computed once for what it reads."""

        def remembered(*worlds: World) -> bool:
            return bool(self._recall.value(id(holds), holds, *map(self.worlds.of, worlds)))

        return remembered

    def move(self, act: Callable[[World], World | None]) -> Callable[[World], World | None]:
        """Return a move that is computed once for what it reads."""
        return lambda world: self._recall.world(id(act), act, self.worlds.of(world))


def _is_compared(action: Action) -> TypeGuard[Create | Patch]:
    return isinstance(action, Create | Patch)


def _text_of(action: Action) -> bytes:
    more = [getattr(action, name, None) for name in ("manager", "force", "type", "message", "uid")]
    known = action.preconditions
    parts: list[object] = [
        type(action).__name__,
        str(action.target),
        action.target.api_version,
        action.reason,
    ]
    parts += [action.subresource or "", known.uid, known.resource_version, *more]
    text = json.dumps([*parts, action.body], sort_keys=False, default=dict)
    return digest(text)


def memoised(kit: Kit) -> tuple[Kit, Memo]:
    """Return the kit with a memo of all its functions."""
    memo = Memo(kit)
    decide: Decide = memo.decide
    fast = evolve(
        kit,
        decide=decide,
        matches=memo.predicate(kit.matches),
        ready=kit.ready and memo.predicate(kit.ready),
        always=_each(kit.always, memo.predicate),
        sometimes=_each(kit.sometimes, memo.predicate),
        moves=_each(kit.moves, memo.move),
    )
    return fast, memo


def _each(named: Mapping[str, Any], wrap: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: wrap(call) for name, call in named.items()}
