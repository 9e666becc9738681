"""Judges the requests of operators, event by event.

Rules of this module:

1. An actor is a user with a program: the user's name and the first word of the user agent. A write
   belongs to a manager: the fieldManager of the request, else that word, as the server has it.
2. A write has an effect when the resourceVersion of its answer is new. Without the answer, as at
   the audit level Metadata, the effect is unknown, and rules that need it judge nothing.
3. Leases, Events and reviews are no state: an elected leader writes its Lease every two seconds.
4. The memory is bounded: objects that were not touched for long are forgotten, the oldest first.

The limits stand in `captep_audit._limits`.
"""

import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from attrs import define, field, frozen

from captep_audit._events import Event
from captep_audit._limits import (
    CONFLICTS,
    FLIPS,
    HOT_BURST,
    HOT_RATE,
    HOT_READS,
    LISTS,
    NO_EFFECT,
    READS_PER_CHANGE,
    REPEATS,
    UNSETTLED,
)
from captep_audit._request import (
    Name,
    comparable,
    effect_of,
    leaves_of,
    manager_of,
    name_of,
    seconds_of,
    shown,
    version_of,
)
from captep_audit._tally import Tally
from captep_audit._verdict import Actor, Finding, Verdict

__all__ = ["Judge"]

_OBJECTS: Final = 20_000
_LEAVES: Final = 300
"""Fields that are remembered of one object."""
_BODIES: Final = 32
"""Bodies that are remembered of one object."""
_FINDINGS: Final = 1000

_STATELESS: Final = frozenset(
    {
        "leases",
        "events",
        "tokenreviews",
        "subjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
        "localsubjectaccessreviews",
        "selfsubjectreviews",
    }
)
_THIRD_PERSON: Final = {
    "create": "creates",
    "update": "updates",
    "patch": "patches",
    "delete": "deletes",
    "deletecollection": "deletes",
}
_WRITES: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_SUBRESOURCES: Final = frozenset({None, "", "status", "scale"})
_Key = TypeVar("_Key")


@define
class _Case:
    """What a rule has seen for one actor and object."""

    count: int = 0
    since: str = ""
    until: str = ""
    message: str = ""


@frozen
class _Leaf:
    """A field of an object: the hash of its value, and who set it."""

    value: int
    manager: str
    actor: Actor
    is_judged: bool


@define
class _Seen:
    """The record of one object: its version, its fields, and the writes of each actor.

    The keys of `times` are an actor with `get`, `write` or `change`, those of `flips` a field with
    its two managers, those of `lives` an actor with `create` or `delete`.
    """

    version: str = ""
    leaves: dict[str, _Leaf] = field(factory=dict)
    own: dict[tuple[str, str], int] = field(factory=dict)
    times: dict[tuple[Actor, str], deque[float]] = field(factory=dict)
    flips: dict[tuple[str, ...], deque[float]] = field(factory=dict)
    bodies: OrderedDict[tuple[Actor, int], deque[float]] = field(factory=OrderedDict)
    lives: dict[tuple[Actor, str], deque[float]] = field(factory=dict)


@define
class _Write:
    """One write and its answer. `effect` is None where the log does not show it."""

    actor: Actor
    is_judged: bool
    manager: str
    verb: str
    subresource: str
    name: Name
    body: Any
    code: int
    effect: bool | None
    at: str
    seconds: float

    @property
    def changes(self) -> bool:
        """Whether the server took the write and nothing shows that it had no effect."""
        return 0 < self.code < 300 and self.effect is not False


class Judge:
    """Judges events in their order. `user` and `agent` select the actors that are judged."""

    def __init__(self, user: str | None = None, agent: str | None = None) -> None:
        self._user, self._agent = user, agent
        self._objects: OrderedDict[Name, _Seen] = OrderedDict()
        self._tallies: dict[Actor, Tally] = {}
        self._actors: dict[tuple[str, str], tuple[Actor, Tally | None]] = {}
        self._interned: dict[Actor, Actor] = {}
        self._cases: dict[tuple[str, Actor, str], _Case] = {}
        self._lists: OrderedDict[tuple[Actor, str], deque[float]] = OrderedDict()
        self._levels: Counter[str] = Counter()
        self._changes = 0
        self._dropped = 0
        self._bodies = 0
        self._answers = 0
        self._written = 0
        self._since = self._until = ""

    def see(self, event: Event) -> None:
        """Judge one event; an event that is no complete request changes nothing."""
        stage = event.get("stage", "ResponseComplete")
        verb = event.get("verb", "")
        if stage != "ResponseComplete" and not (stage == "ResponseStarted" and verb == "watch"):
            return
        at = event.get("stageTimestamp") or event.get("requestReceivedTimestamp") or ""
        self._since = self._since or at
        self._until = max(self._until, at)
        self._levels[event.get("level", "")] += 1
        ref = event.get("objectRef")
        if not ref or stage == "ResponseStarted":
            return
        if ref.get("resource") in _STATELESS or ref.get("subresource") not in _SUBRESOURCES:
            return
        uri = event.get("requestURI", "")
        if verb not in _WRITES:
            self._read(event, ref, verb, uri, at)
        elif "dryRun=All" not in uri:
            self._write(event, ref, verb, uri, at)

    def _judged(self, event: Event) -> tuple[Actor, Tally | None]:
        """Return the actor of an event, and its tally if it is judged."""
        user = event.get("user")
        key = (user.get("username", "") if user else "", event.get("userAgent", ""))
        # One object for each actor: a comparison of it costs as much as half of an event.
        known = self._actors.get(key)
        if known is None:
            known = self._actors[key] = self._new_actor(*map(str, key))
        return known

    def _new_actor(self, name: str, agent: str) -> tuple[Actor, Tally | None]:
        new = Actor(name, agent.partition("/")[0].partition(" ")[0])
        actor = self._interned.setdefault(new, new)
        if (self._user and name != self._user) or (self._agent and self._agent not in agent):
            return actor, None
        return actor, self._tallies.setdefault(actor, Tally())

    # Reads

    def _read(self, event: Event, ref: Event, verb: str, uri: str, at: str) -> None:
        answer = event.get("responseObject")
        name = name_of(ref, answer)
        if verb == "get" and name[2]:
            self._learn(name, answer)
        actor, tally = self._judged(event)
        if tally is None:
            return
        tally.verbs[verb] += 1
        if verb == "watch":
            return
        tally.reads += 1
        if verb == "list":
            path, _, query = uri.partition("?")
            if "continue=" not in query:
                self._listed(actor, path, at)
        elif verb == "get" and name[2]:
            times = _recent(self._seen(name).times, (actor, "get"), HOT_READS[0], seconds_of(at))
            if _is_dense(times, HOT_READS):
                message = "reads the object again and again"
                self._add("hot-loop", actor, shown(name), at, message, HOT_READS[0])

    def _listed(self, actor: Actor, path: str, at: str) -> None:
        key = (actor, path)
        times = self._lists.get(key)
        if times is None:
            times = self._lists[key] = deque(maxlen=LISTS[0])
            if len(self._lists) > _OBJECTS:
                self._lists.popitem(last=False)
        times.append(seconds_of(at))
        if _is_dense(times, LISTS):
            message = "lists the collection instead of watching it"
            self._add("list-storm", actor, path, at, message, LISTS[0])

    # Writes

    def _write(self, event: Event, ref: Event, verb: str, uri: str, at: str) -> None:
        answer = event.get("responseObject")
        body = event.get("requestObject")
        name = name_of(ref, answer)
        actor, tally = self._judged(event)
        seen = self._seen(name)
        write = _Write(
            actor=actor,
            is_judged=tally is not None,
            manager=manager_of(uri, actor),
            verb=verb,
            subresource=ref.get("subresource") or "",
            name=name,
            body=body,
            code=int((event.get("responseStatus") or {}).get("code", 0) or 0),
            effect=effect_of(verb, ref, body, answer, seen.version),
            at=at,
            seconds=seconds_of(at),
        )
        self._written += 1
        self._bodies += body is not None
        self._answers += isinstance(answer, dict) and answer.get("kind") != "Status"
        if write.changes:
            self._changes += 1
            _recent(seen.times, (actor, "change"), HOT_RATE[0], write.seconds)
            self._fight(seen, write)
        if write.code < 300 and verb != "delete":
            self._learn(name, answer)
        if tally is not None:
            tally.count(write.verb, write.code, effect=write.effect)
            self._judge_write(seen, tally, write, event)

    def _judge_write(self, seen: "_Seen", tally: Tally, write: "_Write", event: Event) -> None:
        times = _recent(seen.times, (write.actor, "write"), HOT_RATE[0], write.seconds)
        for limit in (HOT_RATE, HOT_BURST):
            if _is_dense(times, limit):
                message = f"{_THIRD_PERSON[write.verb]} the object again and again"
                self._find("hot-loop", write, message, limit[0])
                break
        if write.code >= 300:
            return
        if write.effect is False:
            self._find("no-effect", write, f"{write.verb} without an effect")
        elif write.body is not None and write.verb in ("create", "patch", "update"):
            self._judge_repeat(seen, write)
        if write.verb in ("delete", "deletecollection"):
            self._judge_delete(tally, write, event)

    def _judge_repeat(self, seen: "_Seen", write: "_Write") -> None:
        key = (write.actor, hash((write.verb, write.subresource, comparable(write.body))))
        times = seen.bodies.get(key)
        if times is None:
            times = seen.bodies[key] = deque(maxlen=REPEATS[0])
            if len(seen.bodies) > _BODIES:
                seen.bodies.popitem(last=False)
        times.append(write.seconds)
        if _is_dense(times, REPEATS):
            self._find("repeated-write", write, f"sends the same {write.verb} again", REPEATS[0])

    def _judge_delete(self, tally: Tally, write: "_Write", event: Event) -> None:
        if event.get("level") not in ("Request", "RequestResponse"):
            return
        preconditions = write.body.get("preconditions") if isinstance(write.body, dict) else None
        if not preconditions:
            tally.deletes_without_preconditions += 1
            message = f"{write.verb} without a uid or resourceVersion: it may hit a newer object"
            self._find("blind-delete", write, message)

    # Fights

    def _fight(self, seen: "_Seen", write: "_Write") -> None:
        if write.verb in ("create", "delete"):
            self._judge_lives(seen, write)
            return
        if write.verb == "deletecollection":
            return
        for path, value in leaves_of(write.body, write.subresource, write.verb):
            before = seen.leaves.get(path)
            if before is not None and before.value == value:
                continue
            if before is None and len(seen.leaves) >= _LEAVES:
                break
            own = seen.own.get((write.manager, path))
            seen.leaves[path] = _Leaf(value, write.manager, write.actor, write.is_judged)
            seen.own[write.manager, path] = value
            if before is not None and before.manager != write.manager and own == value:
                self._judge_flip(seen, write, path, before)

    def _judge_flip(self, seen: "_Seen", write: "_Write", path: str, before: "_Leaf") -> None:
        """A manager set a field back to a value that it had set before."""
        managers = sorted((write.manager, before.manager))
        flips = _recent(seen.flips, (path, *managers), FLIPS[0], write.seconds)
        if not _is_dense(flips, FLIPS) or not (write.is_judged or before.is_judged):
            return
        actor = write.actor if write.is_judged else before.actor
        message = f"{managers[0]} and {managers[1]} set {path} in turn"
        self._add("fight", actor, shown(write.name), write.at, message, FLIPS[0])

    def _judge_lives(self, seen: "_Seen", write: "_Write") -> None:
        """An object that is created and deleted in turn."""
        times = _recent(seen.lives, (write.actor, write.verb), REPEATS[0], write.seconds)
        opposite = "delete" if write.verb == "create" else "create"
        others = sorted(str(actor) for actor, verb in seen.lives if verb == opposite)
        if write.is_judged and others and _is_dense(times, REPEATS):
            does = _THIRD_PERSON[write.verb]
            message = f"{does} the object in turn with a {opposite} by {', '.join(others)}"
            self._find("fight", write, message, REPEATS[0])

    # Memory

    def _seen(self, name: Name) -> _Seen:
        seen = self._objects.get(name)
        if seen is None:
            seen = self._objects[name] = _Seen()
            if len(self._objects) > _OBJECTS:
                self._objects.popitem(last=False)
        else:
            self._objects.move_to_end(name)
        return seen

    def _learn(self, name: Name, answer: object) -> None:
        version = version_of(answer)
        if version:
            self._seen(name).version = version

    def _find(self, rule: str, write: "_Write", message: str, count: int = 1) -> None:
        self._add(rule, write.actor, shown(write.name), write.at, message, count)

    def _add(
        self, rule: str, actor: Actor, where: str, at: str, message: str, count: int = 1
    ) -> None:
        """Add to a finding; its first event counts as `count`."""
        key = (rule, actor, where)
        case = self._cases.get(key)
        if case is None:
            if len(self._cases) >= _OBJECTS:
                self._dropped += 1
                return
            case = self._cases[key] = _Case(since=at)
        case.count = max(case.count + 1, count)
        case.until = at
        case.message = message

    # The end

    def verdict(self) -> Verdict:
        """Return the verdict over the events so far."""
        self._judge_unsettled()
        findings = [
            Finding(rule, actor, where, case.count, case.since, case.until, case.message)
            for (rule, actor, where), case in self._cases.items()
            if rule != "no-effect" or case.count >= NO_EFFECT
        ]
        findings += self._ratios()
        findings.sort(key=lambda each: (each.rule, -each.count, str(each.actor), each.object))
        dropped = self._dropped + max(0, len(findings) - _FINDINGS)
        return Verdict(
            since=self._since,
            until=self._until,
            levels=dict(self._levels),
            actors={actor: tally.figures(self._changes) for actor, tally in self._tallies.items()},
            findings=tuple(findings[:_FINDINGS]),
            dropped=dropped,
            not_judged=self._not_judged(),
        )

    def _judge_unsettled(self) -> None:
        end = seconds_of(self._until)
        for name, seen in self._objects.items():
            changes = {
                actor: times for (actor, what), times in seen.times.items() if what == "change"
            }
            for actor, times in changes.items():
                others = sum(len(each) for other, each in changes.items() if other != actor)
                # A controller that answers to the writes of others is as busy as they are.
                if actor not in self._tallies or len(times) < UNSETTLED or 2 * others > len(times):
                    continue
                gaps = sorted(after - before for before, after in itertools.pairwise(times))
                # The next write would have come by now, had the loop come to rest.
                if end - times[-1] <= 2 * gaps[len(gaps) // 2] + 1:
                    message = "still writes the object at the end of the log"
                    where = shown(name)
                    self._add("unsettled", actor, where, self._until, message, len(times))

    def _ratios(self) -> Iterator[Finding]:
        for actor, tally in self._tallies.items():
            if tally.conflicts >= CONFLICTS[0] and tally.conflicts > CONFLICTS[1] * tally.writes:
                share = 100 * tally.conflicts / tally.writes
                message = f"{share:.0f} % of the writes were conflicts (409)"
                yield self._ratio("conflicts", actor, tally.conflicts, message)
            per_change = tally.reads / max(1, self._changes)
            if tally.reads >= READS_PER_CHANGE[0] and per_change > READS_PER_CHANGE[1]:
                message = f"{per_change:.1f} reads for each change in the log"
                yield self._ratio("reads-per-change", actor, tally.reads, message)

    def _ratio(self, rule: str, actor: Actor, count: int, message: str) -> Finding:
        return Finding(rule, actor, "", count, self._since, self._until, message)

    def _not_judged(self) -> tuple[str, ...]:
        notes = []
        if self._written and self._bodies == 0:
            notes.append(
                "repeated writes, fights and preconditions of deletes: the log has no request"
                " bodies (audit level Request)"
            )
        if self._written and self._answers == 0:
            notes.append(
                "writes without an effect: the log has no answers (audit level RequestResponse)"
            )
        return tuple(notes)


def _recent(times: dict[_Key, deque[float]], key: _Key, most: int, now: float) -> deque[float]:
    """Add a time to those of a key, the latest `most` of which are kept, and return them."""
    found = times.get(key)
    if found is None:
        found = times[key] = deque(maxlen=most)
    found.append(now)
    return found


def _is_dense(times: deque[float], limit: tuple[int, float]) -> bool:
    """Whether the latest times hold as many as the limit says, within its seconds."""
    number, seconds = limit
    return len(times) >= number and times[-1] - times[-number] <= seconds
