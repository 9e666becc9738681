"""The loop, its server and every other actor as one transition system.

A step is one write, not one pass.

Rules of this module:

1. A pass observes, then sends its writes one by one; between two writes any other step may happen.
   Events are not modelled.
2. A view lags at most `lag` changes of others behind, independently for each kind. As `Gateway`
   promises, an instance always sees its own writes, and its views never go back in time.
3. Each fault and each move of another actor costs one unit of its budget. The garbage collector may
   act at any time and costs nothing.
4. The write history of the executor is not part of a state: the time between two passes exceeds
   every backoff.
"""

from collections.abc import Iterator
from itertools import product
from typing import TypeAlias

from attrs import evolve, field, frozen

from captep_core._actions import (
    JSON,
    Action,
    Decision,
    ObjectRef,
    RecordEvent,
    purpose_of,
    write_of,
)
from captep_core._observation import (
    Listed,
    Observed,
    ReconcileState,
    Selection,
    Unreadable,
)
from captep_core.ports import Answer, Read, Reads, select
from captep_memory import Key, Object, World, collect, garbage
from captep_runtime import Pass
from captep_testing._canonical import Canonical, Name, entries, key_of_target
from captep_testing._check import judge_decision
from captep_testing._delivery import deliver, uid_in
from captep_testing._faults import NO_FAULT, WriteFault
from captep_testing._kit import Kit
from captep_testing._memo import Memo
from captep_testing._passes import Target, ViolationError, advance, look
from captep_testing._report import Violation, kept

__all__ = ["Actor", "State", "System", "Transition"]

Shelf: TypeAlias = tuple[str, str, str | None]


@frozen
class Actor:
    """One instance of the loop for one key: idle, or in the middle of a pass.

    `older`: the worlds before the latest changes of others, newest first; its views may still show
    them.
    `seen`: the view of the current pass. `undisturbed`: whether that view was fresh and no other
    actor has acted since.
    """

    key: ObjectRef
    label: str
    state: ReconcileState = ReconcileState()
    older: tuple[World, ...] = ()
    decision: Decision | None = None
    pending: Action | None = None
    seen: World | None = None
    answers: tuple[Answer, ...] = ()
    undisturbed: bool = True


@frozen
class State:
    """Everything at one moment.

    `late` are writes in flight, each with the uid for which it was decided.
    """

    world: World
    actors: tuple[Actor, ...]
    faults: int
    events: int
    read_faults: int = 0
    late: tuple[tuple[Action, str | None], ...] = ()


@frozen
class Transition:
    """One step: its label, the kind under which reports count it, the state after it, the answer,
    the violation.
    """

    label: str
    kind: str
    state: State
    status: int | None = None
    violation: Violation | None = None
    reason: str = ""


@frozen
class System:
    """The transitions of a kit within bounds."""

    kit: Kit
    faults: tuple[WriteFault, ...]
    lag: int
    memo: Memo
    canonical: Canonical = field(factory=Canonical)
    _decisions: dict[object, tuple[World, Decision, Violation | None]] = field(factory=dict)
    _garbage: dict[object, tuple[World, tuple[Key, ...]]] = field(factory=dict)

    def start(self, world: World, *, faults: int, events: int, instances: int) -> State:
        """Return the state in which every instance is idle with an empty memory."""
        actors = tuple(
            Actor(key, _label(key, number, len(self.kit.keys), instances))
            for key in self.kit.keys
            for number in range(1, instances + 1)
        )
        return State(world, actors, faults, events)

    def name(self, state: State) -> Name:
        """Name a state; equal names mean equal up to uids and resourceVersions."""
        worlds = [state.world, *(older for actor in state.actors for older in actor.older)]
        actions = [
            action
            for actor in state.actors
            if actor.decision
            for action in actor.decision.actions
            if not isinstance(action, RecordEvent)
        ]
        hits = tuple(uid_in(state.world, action) == planned for action, planned in state.late)
        rest = (
            tuple(_name_of(actor, state.world) for actor in state.actors),
            state.faults,
            state.events,
            state.read_faults,
            hits,
            state.world.now,
        )
        return self.canonical.name(worlds, [*actions, *(action for action, _ in state.late)], rest)

    def transitions(self, state: State) -> Iterator[Transition]:
        """Yield every step that may happen next."""
        for place, actor in enumerate(state.actors):
            yield from (
                self._sends(state, place, actor)
                if actor.decision
                else self._observes(state, place, actor)
            )
        yield from self._others(state)
        yield from self._arrivals(state)

    def _observes(self, state: State, place: int, actor: Actor) -> Iterator[Transition]:
        for lag, view, older in _views(state.world, actor.older):
            label = f"{actor.label}observe{lag}"
            try:
                decision, violation = self._decide(actor, view)
            except ViolationError as error:
                yield Transition(label, "raise", state, None, error.violation)
                continue
            following = _began(
                evolve(actor, older=older), decision, view, state.world, fresh=not lag
            )
            if following != actor or violation:
                yield Transition(
                    label,
                    "stale view" if lag else "observe",
                    _replaced(state, place, following),
                    None,
                    violation,
                )

        if state.read_faults:
            yield from self._observes_blindly(state, place, actor)

    def _observes_blindly(self, state: State, place: int, actor: Actor) -> Iterator[Transition]:
        """Yield the passes in which one read fails."""
        read = self.memo.reader(state.world)
        seen: list[Target] = []

        def recorded(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            seen.append(ref)
            return read(ref)

        def listed(selection: Selection) -> Listed:
            seen.append(selection)
            return select(read, selection)

        try:
            look(self.kit, actor.key, Reads(recorded, listed), actor.state, state.world.now)
        except ViolationError:
            return  # the pass with all reads reports it
        for target in sorted(set(seen), key=str):
            label = f"{actor.label}observe without {target}"
            try:
                blind = _without(read, target)
                decision = look(self.kit, actor.key, blind, actor.state, state.world.now)
            except ViolationError as error:
                yield Transition(label, "raise", state, None, error.violation)
                continue
            found = kept(self.kit.waive, judge_decision(self.kit, decision, blind))
            idle = evolve(actor, older=())
            following = _began(idle, decision, state.world, state.world, fresh=False)
            after = evolve(state, read_faults=state.read_faults - 1)
            yield Transition(
                label, "failed read", _replaced(after, place, following), None, next(found, None)
            )

    def _decide(self, actor: Actor, view: World) -> tuple[Decision, Violation | None]:
        memo = (actor.key, actor.state, view.now, _identity(view))
        known = self._decisions.get(memo)
        if known is None:
            read = self.memo.reader(view)
            decision = look(self.kit, actor.key, read, actor.state, view.now)
            found = judge_decision(self.kit, decision, read)
            violation = next(kept(self.kit.waive, found), None)
            # The memo keeps the view, so that Python reuses no id of its objects.
            known = self._decisions[memo] = (view, decision, violation)
        return known[1], known[2]

    def _sends(self, state: State, place: int, actor: Actor) -> Iterator[Transition]:
        action = actor.pending
        seen = actor.seen
        assert action is not None  # noqa: S101 - rule 1: a pass has a next write
        assert seen is not None  # noqa: S101 - rule 1: and a view
        planned = uid_in(seen, action)
        for fault in (NO_FAULT, *(self.faults if state.faults else ())):
            done = deliver(
                self.kit,
                state.world,
                action,
                planned,
                undisturbed=actor.undisturbed,
                fault=fault,
                serve=self.memo.serve,
            )
            after = State(
                done.world,
                state.actors,
                state.faults - (fault is not NO_FAULT),
                state.events,
                state.read_faults,
                state.late,
            )
            if fault.lingers:
                after = evolve(after, late=(*state.late, (action, planned)))
            after = _disturbed(after, state.world, self.lag, but=None if fault.touched else place)
            following = _answered(after.actors[place], done.answer, action, done.world)
            kind = (
                f"{write_of(action).verb} {done.answer.status}"
                if done.answer and fault is NO_FAULT
                else fault.name
            )
            label = f"{actor.label}{write_of(action)}{f' ({fault.name})' if fault.name else ''}"
            yield Transition(
                label,
                kind,
                _replaced(after, place, following),
                done.answer.status if done.answer else None,
                done.violation,
                purpose_of(action),
            )

    def _others(self, state: State) -> Iterator[Transition]:
        for key in self._collectable(state.world):
            after = evolve(state, world=collect(state.world, key))
            yield Transition(
                f"collect {key.kind} {key.namespace}/{key.name}",
                "collect",
                _disturbed(after, state.world, self.lag),
            )
        if not state.events:
            return
        for name, move in self.kit.moves.items():
            world = move(state.world)
            if world is not None and (world.resource_version, world.now) != (
                state.world.resource_version,
                state.world.now,
            ):
                after = evolve(state, world=world, events=state.events - 1)
                yield Transition(name, name, _disturbed(after, state.world, self.lag))

    def _collectable(self, world: World) -> tuple[Key, ...]:
        memo = _identity(world)
        if memo not in self._garbage:
            self._garbage[memo] = (world, garbage(world))
        return self._garbage[memo][1]

    def _arrivals(self, state: State) -> Iterator[Transition]:
        for place, (action, planned) in enumerate(state.late):
            done = deliver(
                self.kit, state.world, action, planned, undisturbed=False, serve=self.memo.serve
            )
            after = evolve(
                state, world=done.world, late=(*state.late[:place], *state.late[place + 1 :])
            )
            status = done.answer.status if done.answer else None
            label = f"{write_of(action)} arrives late" + f" ({place + 1})" * bool(place)
            yield Transition(
                label,
                f"late {status}",
                _disturbed(after, state.world, self.lag),
                status,
                done.violation,
            )


_FAILED_READ = Unreadable("Timeout")


def _without(read: Read, target: Target) -> Read:
    return Reads(
        lambda ref: _FAILED_READ if ref == target else read(ref),
        lambda selection: _FAILED_READ if selection == target else select(read, selection),
    )


def _label(key: ObjectRef, number: int, keys: int, instances: int) -> str:
    parts = ([key.name] if keys > 1 else []) + ([f"#{number}"] if instances > 1 else [])
    return f"{' '.join(parts)}: " if parts else ""


def _identity(world: World) -> Name:
    return tuple(id(obj) for _, obj in entries(world))


def _name_of(actor: Actor, world: World) -> Name:
    if actor.decision is None or actor.seen is None:
        return (actor.state, len(actor.older))
    writes = [action for action in actor.decision.actions if not isinstance(action, RecordEvent)]
    answers = tuple((answer.status, answer.changed) for answer in actor.answers)
    hits = tuple(
        uid_in(world, action) == uid_in(actor.seen, action) for action in writes[len(answers) :]
    )
    verdict = (actor.decision.verdict.reason, actor.decision.outstanding)
    return (actor.state, len(actor.older), len(writes), verdict, answers, hits, actor.undisturbed)


def _replaced(state: State, place: int, actor: Actor) -> State:
    return evolve(state, actors=(*state.actors[:place], actor, *state.actors[place + 1 :]))


def _began(actor: Actor, decision: Decision, view: World, world: World, *, fresh: bool) -> Actor:
    begun = evolve(actor, decision=decision, seen=view, answers=(), undisturbed=fresh)
    return _onwards(begun, advance(decision, actor.key, actor.state, (), now=world.now))


def _answered(actor: Actor, answer: Answer | None, action: Action, world: World) -> Actor:
    """Return an instance after the answer to its write; all its later views show that write.

    None is a crash.
    """
    if answer is None or actor.decision is None:
        return Actor(actor.key, actor.label, older=actor.older)
    key = key_of_target(action)
    older = (
        tuple(_overlaid(view, key, world.get(key)) for view in actor.older)
        if not answer.is_refusal
        else actor.older
    )
    following = evolve(actor, answers=(*actor.answers, answer), older=older)
    pending = advance(actor.decision, actor.key, actor.state, following.answers, now=world.now)
    return _onwards(following, pending)


def _onwards(actor: Actor, following: Action | Pass) -> Actor:
    if isinstance(following, Pass):
        return Actor(actor.key, actor.label, following.state, actor.older)
    return evolve(actor, pending=following)


def _disturbed(state: State, before: World, lag: int, but: int | None = None) -> State:
    """Return the state after a change of the world.

    The views of all other instances may lag, and their passes are disturbed.
    """
    if state.world.resource_version == before.resource_version:
        return state
    actors = tuple(
        actor
        if place == but
        else evolve(actor, older=(before, *actor.older)[:lag], undisturbed=False)
        for place, actor in enumerate(state.actors)
    )
    return evolve(state, actors=actors)


def _views(
    world: World, older: tuple[World, ...]
) -> Iterator[tuple[str, World, tuple[World, ...]]]:
    """Yield the possible views, each with the worlds that later views may show.

    Each kind as it is or as it was.
    """
    places = sorted({place for view in older for place in _differing(world, view)}, key=str)
    for behind in product(range(len(older) + 1), repeat=len(places)):
        counts = {place: count for place, count in zip(places, behind, strict=True) if count}
        view = _combined(world, {place: older[count - 1] for place, count in counts.items()})
        lag = ", ".join(
            f"{kind} {namespace or ''} {count} behind"
            for (_, kind, namespace), count in counts.items()
        )
        left = [
            _combined(view, {place: known for place in places if counts.get(place, 0) > age})
            for age, known in enumerate(older)
        ]
        yield (f" with {lag}" if lag else ""), view, tuple(_distinct(world, left))


def _combined(world: World, shelves: dict[Shelf, World]) -> World:
    """Return a world with some of its shelves as they are in others."""
    taken = {place: other.shelves.get(place, {}) for place, other in shelves.items()}
    return (
        evolve(
            world,
            shelves={place: shelf for place, shelf in {**world.shelves, **taken}.items() if shelf},
        )
        if taken
        else world
    )


def _distinct(world: World, older: list[World]) -> Iterator[World]:
    """Drop each world that is no older than its predecessor."""
    for view in older:
        if any(_differing(world, view)):
            yield view
        world = view


def _differing(world: World, view: World) -> Iterator[Shelf]:
    for place in {*world.shelves, *view.shelves}:
        if dict(world.shelves.get(place, {})) != dict(view.shelves.get(place, {})):
            yield place


def _overlaid(world: World, key: Key, obj: Object | None) -> World:
    """Return a view in which one object is up to date."""
    place = (key.api_group, key.kind, key.namespace)
    shelf = {
        name: held for name, held in world.shelves.get(place, {}).items() if name != key.name
    } | ({key.name: obj} if obj else {})
    rest = {held: each for held, each in world.shelves.items() if held != place}
    return evolve(world, shelves={**rest, place: shelf} if shelf else rest)
