"""Results of the pure functions that a search repeats, by the identity of their arguments.

The decision, the server, the neighbours and the clock are pure, and worlds and actions are
immutable. So runs that share a beginning share its objects, and each step of it is computed once.
The memo keeps its arguments alive, so that Python gives their identities to no other object.
"""

from datetime import datetime

from attrs import define, evolve, field

from captep_core._actions import JSON, Action, Decision, ObjectRef
from captep_core._observation import Listed, Observed, ReconcileState, Selection
from captep_core.ports import Answer, Decide, Read, Reads, select
from captep_memory import Key, MemoryGateway, Object, World, collect_all, group_of
from captep_testing._kit import Kit
from captep_testing._passes import Target, look_up

__all__ = ["Memo", "memoised"]


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
        self._decide = kit.decide
        self._neighbours = kit.neighbours
        self._decisions: dict[object, _Node] = {}
        self._reads: dict[object, tuple[object, Observed[dict[str, JSON]]]] = {}
        self._lists: dict[object, tuple[object, Listed]] = {}
        self._served: dict[tuple[int, int], tuple[object, object, World, Answer]] = {}
        self._settled: dict[int, tuple[World, World]] = {}
        self._times: dict[tuple[int, datetime], tuple[World, World]] = {}

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

        decision = self._decide(key, Reads(recorded, listed), state, now=now)
        node = self._decisions[(key, state, now)]
        for target, found in seen:
            # A function that reads in another order is not pure; `check` finds it.
            node.target = target
            node = node.following.setdefault(id(found), (found, _Node()))[1]
        node.decision = decision
        return decision

    def reader(self, world: World) -> Read:
        """Return the reads of a world."""
        gateway = MemoryGateway(world)

        def read(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            stored = world.get(Key(group_of(ref.api_version), ref.kind, ref.namespace, ref.name))
            place = (ref, id(stored), id(world.catalog))
            known = self._reads.get(place)
            if known is None:
                known = self._reads[place] = ((stored, world.catalog), gateway.get(ref))
            return known[1]

        def find(selection: Selection) -> Listed:
            stored = _candidates(world, selection)
            place = (selection, *map(id, stored), id(world.catalog))
            known = self._lists.get(place)
            if known is None:
                known = self._lists[place] = ((*stored, world.catalog), gateway.find(selection))
            return known[1]

        return Reads(read, find)

    def serve(self, world: World, action: Action) -> tuple[World, Answer]:
        """Return the world after one write, and the answer."""
        place = (id(world), id(action))
        known = self._served.get(place)
        if known is None:
            gateway = MemoryGateway(world)
            answer = gateway.send(action)
            known = self._served[place] = (world, action, gateway.world, answer)
        return known[2], known[3]

    def settle(self, world: World) -> World:
        """Return the world after one round of the garbage collector and the neighbours."""
        known = self._settled.get(id(world))
        if known is None:
            known = self._settled[id(world)] = (world, self._neighbours(collect_all(world)))
        return known[1]

    def at(self, world: World, now: datetime) -> World:
        """Return a world at another time."""
        place = (id(world), now)
        known = self._times.get(place)
        if known is None:
            known = self._times[place] = (world, world.at(now))
        return known[1]


def _candidates(world: World, selection: Selection) -> tuple[Object, ...]:
    """Return the stored objects of a kind and its namespace, in the order of their names."""
    group = group_of(selection.api_version)
    shelves = {
        namespace or "": shelf
        for (api_group, kind, namespace), shelf in world.shelves.items()
        if (api_group, kind) == (group, selection.kind) and selection.namespace in (None, namespace)
    }
    return tuple(
        shelves[place][name] for place in sorted(shelves) for name in sorted(shelves[place])
    )


def memoised(kit: Kit) -> tuple[Kit, Memo]:
    """Return the kit with a memo of its decisions."""
    memo = Memo(kit)
    decide: Decide = memo.decide
    return evolve(kit, decide=decide), memo
