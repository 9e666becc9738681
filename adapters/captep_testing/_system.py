"""The loop, its server and every other actor as one transition system.

A step is one write, not one pass.

Rules of this module:

1. A pass observes, then sends its writes one by one; between two writes any other step may happen.
   Events are not modelled.
2. A view lags at most `lag` changes of others behind, independently for each kind. As `Gateway`
   promises, an instance always sees its own writes, and its views never go back in time.
3. Each fault and each move of another actor costs one unit of its budget. The garbage collector may
   act at any time and costs nothing.
   Between two passes time may pass: a second, or until the next look or deadline of an instance
   that then decides otherwise. Within a pass the clock stands still: its decision is made.
4. The write history of the executor is not part of a state: the time between two passes exceeds
   every backoff.
5. Worlds and instances exist once each. A step of an instance depends on it and on the world alone,
   so all states with this pair share it; a state only puts the pieces together.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from attrs import evolve, field, frozen

from captep_core._actions import JSON, Action, ObjectRef, purpose_of, write_of
from captep_core._decision import Decision
from captep_core._observation import (
    Listed,
    Observed,
    Selection,
    Unreadable,
)
from captep_core.ports import Answer, Read, Reads, select
from captep_memory import World, collect
from captep_runtime import Pass
from captep_testing._canonical import Canonical, digest, key_of_target
from captep_testing._decision import judge_decision
from captep_testing._delivery import deliver, is_orphan, uid_in
from captep_testing._faults import NO_FAULT, WriteFault
from captep_testing._interned import Interned
from captep_testing._kit import Kit
from captep_testing._lagging import views_of
from captep_testing._memo import Memo
from captep_testing._passes import Target, ViolationError, advance, look
from captep_testing._reductions import Lagging, implied, is_dead, needed_of
from captep_testing._report import Violation, kept
from captep_testing._states import Actor, Late, State, Transition, text_of, writes_of

__all__ = ["LEFT_OUT", "System"]

LEFT_OUT: Final = "late create without an owner"
"""The kind of the steps at which a write in flight is lost, because no loop can fence it off."""
# The times of conditions are whole seconds.
_A_SECOND: Final = timedelta(seconds=1)


class _Step(NamedTuple):
    """One step of one instance, or of others, without the rest of the state."""

    label: str
    kind: str
    world: Interned
    actor: Actor | None = None
    status: int | None = None
    violation: Violation | None = None
    reason: str = ""
    late: Late | None = None


@frozen
class System:
    """The transitions of a kit within bounds."""

    kit: Kit
    faults: tuple[WriteFault, ...]
    lag: int
    memo: Memo
    # Replaying a trace allows every step, whatever a search leaves out.
    reduces: bool = True
    canonical: Canonical = field(factory=Canonical)
    # Equal actors, and writes in flight, are one object each; see rule 5.
    _actors: dict[object, Actor] = field(factory=dict)
    _late: dict[object, Late] = field(factory=dict)
    _steps: dict[object, tuple[_Step, ...]] = field(factory=dict)
    _advanced: dict[object, Action | Pass] = field(factory=dict)
    _judged: dict[object, Violation | None] = field(factory=dict)
    _texts: dict[object, bytes] = field(factory=dict)

    def start(self, world: World, *, faults: int, events: int, instances: int) -> State:
        """Return the state in which every instance is idle with an empty memory."""
        actors = tuple(
            self._actor(Actor(key, _label(key, number, len(self.kit.keys), instances)))
            for key in self.kit.keys
            for number in range(1, instances + 1)
        )
        return State(self.memo.worlds.of(world), actors, faults, events)

    def _actor(self, actor: Actor) -> Actor:
        """Return the instance that is equal to this one."""
        identity = (
            *(actor.key, actor.label, actor.state, actor.older, id(actor.decision)),
            *(id(actor.pending), actor.planned, tuple(map(id, actor.answers)), actor.undisturbed),
        )
        return self._actors.setdefault(identity, actor)

    def restored(self, actor: Actor) -> Actor:
        """Return an instance of another process: in a pass, its next write follows from it."""
        if actor.decision is None:
            return self._actor(actor)
        pending = actor.writes[len(actor.answers)]
        sent = zip(actor.writes, actor.answers, strict=False)
        answers = tuple(self.memo.answer(action, answer) for action, answer in sent)
        return self._actor(evolve(actor, pending=pending, answers=answers))

    def in_flight(self, action: Action, planned: str | None, decided: datetime) -> Late:
        """Return the write in flight that is equal to this one."""
        place = (id(action), planned, decided)
        return self._late.setdefault(place, Late(action, planned, decided))

    def name(self, state: State) -> bytes:
        """Name a state but for its budgets; equal names mean equal up to uids and
        resourceVersions.
        """
        world, actors, _, _, _, late, _ = state
        actions = [action for actor in actors for action in actor.writes]
        actions += [each.action for each in late]
        hits = tuple(
            (uid_in(world, each.action) == each.planned, each.decided.isoformat()) for each in late
        )
        older = [view for actor in actors for view in actor.older]
        rest = (
            tuple(self._name_of(actor, world) for actor in actors),
            hits,
            world.now.isoformat(),
        )
        return digest(repr(self.canonical.name([world, *older], actions, rest)))

    def _name_of(self, actor: Actor, world: Interned) -> tuple[object, ...]:
        state = self._text(actor.state)
        if actor.decision is None:
            return (state, len(actor.older))
        decision = actor.decision
        verdict = (decision.verdict.reason, decision.outstanding)
        writes = actor.writes
        answers = tuple((answer.status, answer.changed) for answer in actor.answers)
        left = zip(writes[len(answers) :], actor.planned[len(answers) :], strict=True)
        hits = tuple(uid_in(world, action) == planned for action, planned in left)
        shown = self._text(verdict)
        return (state, len(actor.older), len(writes), shown, answers, hits, actor.undisturbed)

    def _text(self, value: object) -> bytes:
        known = self._texts.get(value)
        if known is None:
            known = self._texts[value] = digest(text_of(value))
        return known

    def transitions(self, state: State) -> Iterator[Transition]:
        """Yield every step that may happen next."""
        for transition in self._transitions(state):
            after = transition.state
            if self.reduces and any(is_dead(each.action, after.world) for each in after.late):
                late = (each for each in after.late if not is_dead(each.action, after.world))
                yield transition._replace(state=after._replace(late=tuple(late)))
            else:
                yield transition

    def _transitions(self, state: State) -> Iterator[Transition]:
        for place, actor in enumerate(state.actors):
            if actor.decision:
                yield from self._sends(state, place, actor)
            else:
                yield from self._observes(state, place, actor)
        yield from self._others(state)
        yield from self._arrivals(state)

    def _known(
        self,
        steps: Callable[..., Iterator[_Step]],
        *about: Any,  # noqa: ANN401 - of any step
    ) -> tuple[_Step, ...]:
        """Return the steps of a function, each time the same for the same arguments."""
        place = (steps.__name__, *about)
        known = self._steps.get(place)
        if known is None:
            known = self._steps[place] = tuple(steps(*about))
        return known

    def _observes(self, state: State, place: int, actor: Actor) -> Iterator[Transition]:
        for step in self._known(self._looks, actor, state.world):
            yield _moved(step, _replaced(state, place, step.actor))
        if state.read_faults:
            after = state._replace(read_faults=state.read_faults - 1)
            for step in self._known(self._looks_blindly, actor, state.world):
                yield _moved(step, _replaced(after, place, step.actor))

    def _looks(self, actor: Actor, world: Interned) -> Iterator[_Step]:
        found: list[_Step] = []
        passes: list[Lagging] = []
        for behind, lag, view, older in views_of(world, actor.older):
            label = f"{actor.label}observe{lag}"
            try:
                decision, violation = self._decide(actor, view)
            except ViolationError as error:
                yield _Step(label, "raise", world, None, None, error.violation)
                continue
            idle = evolve(actor, older=older)
            following = self._began(idle, decision, view, world, fresh=not lag)
            kind = "stale view" if lag else "observe"
            found.append(_Step(label, kind, world, following, None, violation))
            same = (id(following.decision), following.planned, following.state)
            passes.append(Lagging(behind, same, idles=following.decision is None))
        needed = needed_of(passes) if self.reduces and self.lag == 1 else passes
        for step, each in zip(found, passes, strict=True):
            if step.violation or (step.actor is not actor and each in needed):
                yield step

    def _looks_blindly(self, actor: Actor, world: Interned) -> Iterator[_Step]:
        """Yield the passes in which one read fails."""
        read = self.memo.reader(world)
        seen: list[Target] = []

        def recorded(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            seen.append(ref)
            return read(ref)

        def listed(selection: Selection) -> Listed:
            seen.append(selection)
            return select(read, selection)

        try:
            look(self.kit, actor.key, Reads(recorded, listed), actor.state, world.now)
        except ViolationError:
            return  # the pass with all reads reports it
        for target in sorted(set(seen), key=str):
            label = f"{actor.label}observe without {target}"
            try:
                blind = _without(read, target)
                decision = look(self.kit, actor.key, blind, actor.state, world.now)
            except ViolationError as error:
                yield _Step(label, "raise", world, None, None, error.violation)
                continue
            found = kept(self.kit.waive, judge_decision(self.kit, decision, blind))
            idle = evolve(actor, older=())
            following = self._began(idle, decision, world, world, fresh=False)
            yield _Step(label, "failed read", world, following, None, next(found, None))

    def _decide(self, actor: Actor, view: Interned) -> tuple[Decision, Violation | None]:
        read = self.memo.reader(view)
        decision = look(self.kit, actor.key, read, actor.state, view.now)
        # The judgement reads the targets of the writes, and nothing else.
        place = (id(decision), *(id(read(action.target)) for action in decision.actions))
        if place not in self._judged:
            found = judge_decision(self.kit, decision, read)
            self._judged[place] = next(kept(self.kit.waive, found), None)
        return decision, self._judged[place]

    def _sends(self, state: State, place: int, actor: Actor) -> Iterator[Transition]:
        world, actors, faults, events, read_faults, late, ticks = state
        steps = self._known(self._writes, actor, world)
        if faults:
            steps += self._known(self._failing_writes, actor, world)
        for number, step in enumerate(steps):
            others = actors if step.world is world else self._disturbed(actors, world)
            after = State(
                step.world,
                (*others[:place], step.actor or actor, *others[place + 1 :]),
                faults - (number > 0),
                events,
                read_faults,
                late if step.late is None else (*late, step.late),
                ticks,
            )
            yield _moved(step, after)

    def _writes(self, actor: Actor, world: Interned) -> Iterator[_Step]:
        yield self._write(actor, world, NO_FAULT)

    def _failing_writes(self, actor: Actor, world: Interned) -> Iterator[_Step]:
        left_out = implied(self.faults) if self.reduces else {}
        for fault in self.faults:
            if fault not in left_out:
                yield self._write(actor, world, fault)

    def _write(self, actor: Actor, world: Interned, fault: WriteFault) -> _Step:
        action = actor.pending
        assert action is not None  # noqa: S101 - rule 1: a pass has a next write
        planned = actor.planned[len(actor.answers)]
        done = deliver(
            self.kit,
            world,
            action,
            planned,
            undisturbed=actor.undisturbed,
            fault=fault,
            serve=self.memo.serve,
        )
        after = self.memo.worlds.of(done.world)
        (mine,) = (
            self._disturbed((actor,), world) if fault.touched and after is not world else (actor,)
        )
        following = self._answered(mine, done.answer, action, after)
        kind = fault.name
        if done.answer and fault is NO_FAULT:
            kind = f"{write_of(action).verb} {done.answer.status}"
        return _Step(
            f"{actor.label}{write_of(action)}{f' ({fault.name})' if fault.name else ''}",
            kind,
            after,
            following,
            done.answer.status if done.answer else None,
            done.violation,
            purpose_of(action),
            self.in_flight(action, planned, world.now) if fault.lingers else None,
        )

    def _others(self, state: State) -> Iterator[Transition]:
        for step in self._known(self._collections, state.world):
            yield _moved(step, self._after(state, step.world))
        if state.events:
            rest = state._replace(events=state.events - 1)
            for step in self._known(self._moves, state.world):
                yield _moved(step, self._after(rest, step.world))
        if state.ticks and all(actor.decision is None for actor in state.actors):
            yield from self._ticks(state)

    def _ticks(self, state: State) -> Iterator[Transition]:
        now = state.world.now
        instants = {now + _A_SECOND}
        for actor in state.actors:
            instants.update(step.world.now for step in self._known(self._dues, actor, state.world))
        for instant in sorted(instants):
            after = state._replace(world=state.world.at(instant), ticks=state.ticks - 1)
            yield Transition(f"{instant - now} pass", "time", after)

    def _dues(self, actor: Actor, world: Interned) -> Iterator[_Step]:
        """Yield the instants at which an idle instance looks again and then decides otherwise."""
        known = self._outcome(actor, world)
        if known is None:
            return
        instants = {known.wakes_at} if known.wakes_at else set()
        if known.requeue_after is not None:
            instants.add(world.now + known.requeue_after)
        for instant in sorted(each for each in instants if each > world.now):
            later = world.at(instant)
            other = self._outcome(actor, later)
            if other is None or (other.actions, other.verdict) != (known.actions, known.verdict):
                yield _Step("", "time", later)

    def _outcome(self, actor: Actor, world: Interned) -> Decision | None:
        """Return the decision on a fresh view, None for one that a pass reports as a violation."""
        try:
            return self._decide(actor, world)[0]
        except ViolationError:
            return None

    def _collections(self, world: Interned) -> Iterator[_Step]:
        for key in self.memo.garbage(world):
            label = f"collect {key.kind} {key.namespace}/{key.name}"
            yield _Step(label, "collect", self.memo.worlds.of(collect(world, key)))

    def _moves(self, world: Interned) -> Iterator[_Step]:
        for name, move in self.kit.moves.items():
            moved = move(world)
            after = None if moved is None else self.memo.worlds.of(moved)
            if after is not None and after is not world:
                yield _Step(name, name, after)

    def _arrivals(self, state: State) -> Iterator[Transition]:
        for place, each in enumerate(state.late):
            (step,) = self._known(self._arrives, each, state.world)
            rest = state._replace(late=(*state.late[:place], *state.late[place + 1 :]))
            moved = _moved(step, self._after(rest, step.world))
            yield moved._replace(label=f"{step.label} ({place + 1})") if place else moved

    def _arrives(self, late: Late, world: Interned) -> Iterator[_Step]:
        if is_orphan(self.kit, late.action, world):
            yield _Step(f"{write_of(late.action)} never arrives", LEFT_OUT, world)
            return
        done = deliver(
            self.kit,
            world,
            late.action,
            late.planned,
            undisturbed=False,
            serve=self.memo.serve,
            decided=late.decided,
        )
        status = done.answer.status if done.answer else None
        label = f"{write_of(late.action)} arrives late"
        after = self.memo.worlds.of(done.world)
        yield _Step(label, f"late {status}", after, None, status, done.violation)

    def _began(
        self, actor: Actor, decision: Decision, view: Interned, world: Interned, *, fresh: bool
    ) -> Actor:
        planned = tuple(uid_in(view, action) for action in writes_of(decision))
        begun = evolve(actor, decision=decision, planned=planned, answers=(), undisturbed=fresh)
        return self._onwards(begun, world)

    def _answered(
        self, actor: Actor, answer: Answer | None, action: Action, world: Interned
    ) -> Actor:
        """Return an instance after the answer to its write; all its later views show that write.

        None is a crash.
        """
        if answer is None or actor.decision is None:
            return self._actor(Actor(actor.key, actor.label, older=actor.older))
        older = actor.older
        if not answer.is_refusal:
            key = key_of_target(action)
            cells = {self.memo.worlds.slot(key): world.cell(key).number}
            older = tuple(view.changed(cells, view.now) for view in older)
        known = self.memo.answer(action, answer)
        following = evolve(actor, answers=(*actor.answers, known), older=older)
        return self._onwards(following, world)

    def _onwards(self, actor: Actor, world: Interned) -> Actor:
        """Return an instance with its next write, or idle with the memory of the whole pass."""
        decision = actor.decision
        assert decision is not None  # noqa: S101 - it is in a pass
        place = (id(decision), actor.key, actor.state, tuple(map(id, actor.answers)), world.now)
        following = self._advanced.get(place)
        if following is None:
            following = advance(decision, actor.key, actor.state, actor.answers, now=world.now)
            self._advanced[place] = following
        if isinstance(following, Pass):
            return self._actor(Actor(actor.key, actor.label, following.state, actor.older))
        return self._actor(evolve(actor, pending=following))

    def _after(self, state: State, world: Interned) -> State:
        """Return the state after others changed the world."""
        if world.resource_version == state.world.resource_version:
            return state._replace(world=world)
        return state._replace(world=world, actors=self._disturbed(state.actors, state.world))

    def _disturbed(self, actors: tuple[Actor, ...], before: Interned) -> tuple[Actor, ...]:
        """Return instances after a change of a world by others: their views may lag."""
        return tuple(
            self._actor(evolve(actor, older=(before, *actor.older)[: self.lag], undisturbed=False))
            for actor in actors
        )


def _moved(step: _Step, state: State) -> Transition:
    return Transition(step.label, step.kind, state, step.status, step.violation, step.reason)


def _replaced(state: State, place: int, actor: Actor | None) -> State:
    """Return the state with another instance at a place; None leaves it."""
    if actor is None:
        return state
    return state._replace(actors=(*state.actors[:place], actor, *state.actors[place + 1 :]))


_FAILED_READ = Unreadable("Timeout")


def _without(read: Read, target: Target) -> Read:
    return Reads(
        lambda ref: _FAILED_READ if ref == target else read(ref),
        lambda selection: _FAILED_READ if selection == target else select(read, selection),
    )


def _label(key: ObjectRef, number: int, keys: int, instances: int) -> str:
    parts = ([key.name] if keys > 1 else []) + ([f"#{number}"] if instances > 1 else [])
    return f"{' '.join(parts)}: " if parts else ""
