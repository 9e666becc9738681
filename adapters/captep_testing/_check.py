"""L0: single calls of the function under test, without a server.

- P5: equal views give equal decisions, whatever the order of keys and of lists that are sets; the
  function leaves a view unchanged.
- P5a: the function never raises, whatever field an object lacks.
- P8: a delete and a patch carry the uid for which they were decided; a patch that replaces a list
  carries the resourceVersion too.
- P10: the finalizer goes before every write to another object.
- P15: the interval is within its limits, and a deadline lies in the future, also when the clock has
  jumped.
- P15a: at rest, the interval brings the loop back in time for its next deadline.
- P17: no output holds a canary.
- P-sym: other uids and resourceVersions give the same decision about them.
- P5b: bodies are JSON.
- P9a, P9b, P9c: the function leaves alone what another controls, deletes or marks, and does not
  count it as its own.
- P15b: an unreadable object on which the decision depends needs an interval.
- P20: defaults that the server adds to a spec cause no write.
- F24: the function writes nothing to an unreadable object and never treats it as absent.

A list in the order of a set is found by a second interpreter with another hash seed. It needs a
function that `pickle` can import by name: a closure or a function of `__main__` is not seen (P5).
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve, field, frozen

from captep_core._actions import (
    JSON,
    Action,
    Apply,
    Create,
    ObjectRef,
    Patch,
    RecordEvent,
    write_of,
)
from captep_core._decision import Decision
from captep_core._objects import instant
from captep_core._observation import (
    ABSENT,
    Absent,
    Listed,
    Observed,
    ReconcileState,
    Selection,
    Unreadable,
)
from captep_core.ports import Read, Reads, select
from captep_memory import World
from captep_testing._delivery import deliver, uid_in
from captep_testing._drive import drive
from captep_testing._hostile import (
    controlled_in_turn,
    defaulted,
    is_controlled_by,
    lost_marks,
    marked,
    only_finalizers,
    patched,
    rewritten,
    terminating,
)
from captep_testing._interpreters import other_interpreters, text_of
from captep_testing._kit import Kit
from captep_testing._passes import Members, ViolationError, read_of, safe
from captep_testing._report import Counterexample, Report, Violation, kept, waivers

__all__ = ["View", "check", "check_view", "judge_decision", "replaces_list", "views_of"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
# A time server corrects the clock, and a machine was suspended.
_JUMPS = {
    timedelta(hours=-1): "an hour earlier",
    timedelta(days=1): "a day later",
}
# A day of intervals of a minute.
_MOST_LOOKS = 1500
# The lists of Kubernetes objects whose order means nothing.
_SETS = (("metadata", "finalizers"), ("metadata", "ownerReferences"), ("status", "conditions"))


@frozen
class View:
    """Everything that one call of the function sees.

    The objects that it reads, the names of those in each list, its state, the time. `is_moved`:
    whether somebody else has acted on the way to it.
    """

    key: ObjectRef
    objects: Mapping[ObjectRef, Observed[dict[str, JSON]]] = field(repr=False)
    state: ReconcileState
    now: datetime
    world: World | None = field(default=None, repr=False, eq=False)
    lists: Members = field(factory=dict, repr=False)
    is_moved: bool = field(default=False, repr=False, eq=False)

    @property
    def read(self) -> Read:
        """Look one object up, or list."""
        return read_of(self.objects, self.lists)


def check(kit: Kit) -> Report:
    """Check the decision for every view between each world of the kit and rest, and between rest
    and rest after each move.
    """
    found: dict[Violation, Counterexample] = {}
    seen: set[str] = set()
    distinct: list[View] = []
    for place, (name, world) in enumerate(kit.named_worlds()):
        for named, view in _views(kit, name, world):
            text = _text_of_view(view)
            if text not in seen:
                seen.add(text)
                distinct.append(view)
                for violation in kept(kit.waive, check_view(kit, view)):
                    found.setdefault(violation, Counterexample(violation, place, named=named))
    for violation in kept(kit.waive, _seeded(kit, distinct)):
        found.setdefault(violation, Counterexample(violation, 0, named="any world"))
    scope = f"{len(seen)} views from {len(kit.worlds)} worlds{waivers(kit.waive)}"
    return Report(scope, tuple(found.values()), states=len(seen))


def _views(kit: Kit, name: str, world: World) -> Iterator[tuple[str, View]]:
    """Yield the views of a run to rest, and of those that go on from there after one move."""
    views: list[View] = []
    rest = drive(_recording(kit, views), world)
    yield from ((name, view) for view in views)
    if rest.violation is not None:
        return
    for label, move in kit.moves.items():
        moved = move(rest.world)
        if moved is not None:
            views = []
            drive(_recording(kit, views), moved)
            for view in views:
                yield f"{name}, then {label}", evolve(view, is_moved=True)


def _seeded(kit: Kit, views: list[View]) -> Iterator[Violation]:
    """Repeat the decisions in interpreters with other hash seeds."""
    for texts in other_interpreters(kit.decide, views):
        if texts != [_safe_text(kit, view) for view in views]:
            yield Violation(
                "P5", "another PYTHONHASHSEED changes the decision: a set gives a list its order"
            )


def _safe_text(kit: Kit, view: View) -> str:
    try:
        return text_of(_decide(kit, view))
    except ViolationError as error:
        return error.violation.message


def views_of(kit: Kit) -> list[View]:
    """List the views between each world of the kit and rest, for an author's own tests."""
    views: list[View] = []
    for _, world in kit.named_worlds():
        drive(_recording(kit, views), world)
    return views


def _recording(kit: Kit, views: list[View]) -> Kit:
    """Return the kit with a function that records its views."""

    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        objects: dict[ObjectRef, Observed[dict[str, JSON]]] = {}
        lists: dict[Selection, tuple[ObjectRef, ...] | Unreadable] = {}
        recording = read_of(objects, lists)

        # Copies: a function that changes what it reads is caught, and its changes stay its own.
        def recorded(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            objects.setdefault(ref, deepcopy(read(ref)))
            return deepcopy(recording(ref))

        def listed(selection: Selection) -> Listed:
            found = select(read, selection)
            if isinstance(found, Unreadable):
                lists[selection] = found
                return found
            named = {_ref_of(selection, obj): obj for obj in found}
            lists[selection] = tuple(named)
            for ref, obj in named.items():
                objects.setdefault(ref, deepcopy(obj))
            return deepcopy(select(recording, selection))

        # `drive` reads by a method of its gateway, which knows the world.
        gateway = getattr(getattr(read, "get", None), "__self__", None)
        views.append(View(key, objects, state, now, getattr(gateway, "world", None), lists))
        return kit.decide(key, Reads(recorded, listed), state, now=now)

    return evolve(kit, decide=decide)


def _ref_of(selection: Selection, obj: Mapping[str, Any]) -> ObjectRef:
    metadata = obj["metadata"]
    named = metadata.get("namespace"), metadata["name"]
    return ObjectRef(selection.api_version, selection.kind, *named)


def check_view(kit: Kit, view: View) -> Iterator[Violation]:
    """Yield the violations of the decision for one view, and for its equivalents."""
    before = _text_of_view(view)
    try:
        decision = _decide(kit, view)
        if _text_of_view(view) != before:
            yield Violation("P5", "changes what it reads")
            return
        yield from judge_decision(kit, decision, view.read)
        if decision.wakes_at is not None and decision.wakes_at <= view.now:
            yield Violation("P15", f"wakes_at is {decision.wakes_at - view.now} after now")
        yield from _impurities(kit, view, decision)
        yield from _asymmetries(kit, view, decision)
        _try_partial_views(kit, view)
        yield from _unreadable_views(kit, view, decision)
        yield from _hostile_views(kit, view, decision)
        yield from _missed_deadlines(kit, view, decision)
        yield from _other_times(kit, view)
    except ViolationError as error:
        yield error.violation


def _decide(kit: Kit, view: View) -> Decision:
    return safe(kit.decide)(view.key, view.read, view.state, now=view.now)


def judge_decision(kit: Kit, decision: Decision, read: Read) -> Iterator[Violation]:
    """Yield the violations of one decision (P8, P10, P15, P17)."""
    yield from _late_finalizer(kit, decision, read)
    for action in decision.actions:
        if not isinstance(action, RecordEvent | Create):
            for lack in _unlocked(action, read):
                yield Violation("P8", f"{write_of(action)} {lack}")
    wait = decision.requeue_after
    if wait is not None and not kit.shortest <= wait <= kit.longest:
        yield Violation("P15", f"requeue_after is {wait}")
    for canary in kit.canaries:
        if _holds(decision, canary):
            yield Violation(
                "P17", f"the output with the verdict {decision.verdict.reason} holds a canary"
            )


def _late_finalizer(kit: Kit, decision: Decision, read: Read) -> Iterator[Violation]:
    """Judge P10: a crash between two writes must not leave a dependent without the finalizer."""
    earlier: Action | None = None
    for action in decision.actions:
        if action.target in kit.keys and isinstance(action, Patch):
            if earlier is not None and _adds_finalizer(action, read):
                yield Violation("P10", f"{write_of(earlier)} goes before the finalizer")
        elif _is_write(action):
            earlier = action


def _adds_finalizer(action: Patch, read: Read) -> bool:
    metadata = action.body.get("metadata")
    wanted = metadata.get("finalizers") if isinstance(metadata, dict) else None
    found: Any = read(action.target)
    held = found["metadata"].get("finalizers") or [] if isinstance(found, dict) else []
    return isinstance(wanted, list) and bool(set(map(str, wanted)) - set(held))


def _holds(decision: Decision, canary: str) -> bool:
    texts = [
        repr(decision),
        decision.verdict.message,
        *(
            json.dumps(action.body, default=dict)
            for action in decision.actions
            if _is_public(action)
        ),
    ]
    forms = (canary, base64.b64encode(canary.encode()).decode())
    return any(form in text for form in forms for text in texts)


def _is_public(action: Action) -> bool:
    """Whether people read the body of an action: an Event or a status."""
    return isinstance(action, RecordEvent) or action.subresource == "status"


def _unlocked(action: Action, read: Read) -> Iterator[str]:
    found = read(action.target)
    creates = isinstance(action, Apply) and isinstance(found, Absent)
    if action.preconditions.uid is None and not creates:
        yield "carries no uid"
    if not isinstance(action, Patch) or action.preconditions.resource_version is not None:
        return
    if replaces_list(action.body, found if isinstance(found, dict) else {}):
        yield "replaces a list and carries no resourceVersion"


def replaces_list(patch: Any, target: Any) -> bool:  # noqa: ANN401 - JSON, taken apart
    if not isinstance(patch, dict):
        return isinstance(patch, list) or (patch is None and isinstance(target, list))
    below = target if isinstance(target, dict) else {}
    return any(replaces_list(value, below.get(name)) for name, value in patch.items())


def _impurities(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    if text_of(_decide(kit, view)) != text_of(decision):
        yield Violation("P5", "a second call decides differently")
    if text_of(_decide(kit, _mapped(view, _reversed_keys))) != text_of(decision):
        yield Violation("P5", "the order of keys changes the decision")
    reordered = _decide(kit, _mapped(view, _reversed_sets))
    if text_of(reordered, sort=True) != text_of(decision, sort=True):
        yield Violation("P5", "the order of finalizers, owners or conditions changes the decision")


def _asymmetries(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    names = {text: f"other-{place}" for place, text in enumerate(sorted(_identities(view)))}
    renamed = _mapped(view, lambda obj: _renamed(obj, names))
    if text_of(_decide(kit, renamed)) != json.dumps(_renamed(json.loads(text_of(decision)), names)):
        yield Violation("P-sym", "other uids and resourceVersions change the decision")


def _try_partial_views(kit: Kit, view: View) -> None:
    """Decide for views whose objects lack a part; an exception ends the check of the view (P5a)."""
    for ref, found in view.objects.items():
        if isinstance(found, dict):
            for name in sorted(set(found) - {"apiVersion", "kind", "metadata"}):
                lacking = {key: value for key, value in found.items() if key != name}
                _decide(kit, _with(view, ref, lacking))


def _unreadable_views(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    for ref, found in view.objects.items():
        blind = _decide(kit, _with(view, ref, Unreadable("Timeout")))
        absent = _decide(kit, _with(view, ref, ABSENT))
        for action in blind.actions:
            if action.target == ref and not isinstance(action, RecordEvent):
                yield Violation("F24", f"{write_of(action)} although the object is unreadable")
        writes = _writes(blind, ref)
        # A write that nobody wants while the object is in sight rests on its absence.
        new = set(writes) - set(_writes(decision, ref))
        if isinstance(found, dict) and new and writes == _writes(absent, ref):
            named = sorted({json.loads(each)[0] for each in new})
            yield Violation("F24", f"treats an unreadable {ref} as absent: {', '.join(named)}")
        depends = text_of(blind) != text_of(absent) or text_of(blind) != text_of(decision)
        if depends and blind.requeue_after is None and blind.wakes_at is None:
            yield Violation("P15b", f"never looks again while {ref} is unreadable")
        yield from _sent(kit, view, blind, f"with {ref} unreadable")
    for selection in view.lists:
        yield from _unreadable_list(kit, view, decision, selection)


def _unreadable_list(
    kit: Kit, view: View, decision: Decision, selection: Selection
) -> Iterator[Violation]:
    """Judge a decision whose list fails; an empty list says that no such object exists."""
    blind = _decide(kit, _with_list(view, selection, Unreadable("Timeout")))
    empty = _decide(kit, _with_list(view, selection, ()))
    writes = _writes(blind)
    new = set(writes) - set(_writes(decision))
    if new and writes == _writes(empty):
        named = sorted({json.loads(each)[0] for each in new})
        yield Violation("F24", f"treats an unreadable list as empty: {', '.join(named)}")
    depends = text_of(blind) != text_of(empty) or text_of(blind) != text_of(decision)
    if depends and blind.requeue_after is None:
        yield Violation("P15b", f"never looks again while the list {selection} is unreadable")
    yield from _sent(kit, view, blind, f"with the list {selection} unreadable")


def _is_write(action: Action) -> bool:
    return not isinstance(action, RecordEvent) and action.subresource != "status"


def _writes(decision: Decision, but: ObjectRef | None = None) -> list[str]:
    """Return the writes of a decision as text, without reports and those on one object."""
    return sorted(
        json.dumps([str(write_of(action)), action.body], default=dict, sort_keys=True)
        for action in decision.actions
        if _is_write(action) and action.target != but
    )


def _sent(kit: Kit, view: View, decision: Decision, when: str) -> Iterator[Violation]:
    """Send a decision to the world of its view, and judge the writes."""
    world = view.world
    if world is None:
        return
    seen = world
    for action in decision.actions:
        done = deliver(kit, world, action, uid_in(seen, action), undisturbed=False)
        if done.violation is not None:
            yield Violation(done.violation.property, f"{when}: {done.violation.message}")
            return
        world = done.world


def _hostile_views(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    primary = view.objects.get(view.key)
    uid = _identity(primary)
    for ref, found in view.objects.items():
        if not isinstance(found, dict):
            continue
        yield from _marked_view(kit, view, ref, found)
        if ref in kit.keys or ref in kit.shared:
            continue
        yield from _terminating_view(kit, view, ref, found)
        if uid is not None and is_controlled_by(found, uid):
            yield from _controlled_view(kit, view, ref, found, decision)
        yield from _defaulted_view(kit, view, ref, found, decision)


def _identity(found: Any) -> object:  # noqa: ANN401 - Observed
    return found["metadata"].get("uid") if isinstance(found, dict) else None


def _missed_deadlines(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    """Judge P15a: find the next time at which the loop would act, and follow its intervals."""
    if decision.actions:
        return
    due = _next_deadline(kit, view)
    if due is None:
        return
    now = view.now
    for _ in range(_MOST_LOOKS):
        looked = _decide(kit, evolve(view, now=now))
        # The deadline is known to a second, and the look may come just in time.
        if looked.actions:
            break
        wait = looked.wait(now=now)
        if wait is None:
            yield Violation("P15a", f"never looks again, and acts {due - view.now} later")
            return
        now += wait
        if now >= due:
            break
    if now - due > kit.lateness:
        yield Violation("P15a", f"looks {now - due} after its deadline")


def _other_times(kit: Kit, view: View) -> Iterator[Violation]:
    """Judge the decision when the clock has jumped since the last look (F21)."""
    for jump, when in _JUMPS.items():
        decision = _decide(kit, evolve(view, now=view.now + jump))
        for found in judge_decision(kit, decision, view.read):
            yield Violation(found.property, f"{when}: {found.message}")


def _next_deadline(kit: Kit, view: View) -> datetime | None:
    """Return the first time at which the decision has actions, to a second; None within a year."""
    quiet = view.now
    for probe in sorted(_probes(view)):
        if _decide(kit, evolve(view, now=probe)).actions:
            return _between(kit, view, quiet, probe)
        quiet = probe
    return None


def _between(kit: Kit, view: View, quiet: datetime, busy: datetime) -> datetime:
    """Return the time between two at which the decision begins to have actions, by bisection."""
    while busy - quiet > timedelta(seconds=1):
        middle = quiet + (busy - quiet) / 2
        if _decide(kit, evolve(view, now=middle)).actions:
            busy = middle
        else:
            quiet = middle
    return busy


def _probes(view: View) -> set[datetime]:
    """Return the times at which a deadline may lie.

    Every order of magnitude, and all in the view.
    """
    steps = (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=30))
    probes = {view.now + step for step in (*steps, timedelta(days=365))}
    texts = _TIME.findall(
        json.dumps([obj for obj in view.objects.values() if isinstance(obj, dict)])
    )
    named = {moment for text in texts if (moment := instant(text)) is not None}
    return probes | {moment + timedelta(seconds=1) for moment in named if moment > view.now}


def _marked_view(kit: Kit, view: View, ref: ObjectRef, found: Any) -> Iterator[Violation]:  # noqa: ANN401
    hostile = marked(found)
    for action in _decide(kit, _with(view, ref, hostile)).actions:
        if isinstance(action, Patch) and action.target == ref and action.subresource is None:
            for mark in lost_marks(hostile, patched(action, hostile)):
                yield Violation("P9c", f"{write_of(action)} removes a foreign {mark}")


def _terminating_view(kit: Kit, view: View, ref: ObjectRef, found: Any) -> Iterator[Violation]:  # noqa: ANN401
    if "deletionTimestamp" in found["metadata"]:
        return
    for action in _decide(kit, _with(view, ref, terminating(found))).actions:
        if action.target == ref and _is_intrusive(action) and not only_finalizers(action):
            yield Violation("P9b", f"{write_of(action)} although it is being deleted")


def _is_intrusive(action: Action) -> bool:
    return not isinstance(action, RecordEvent | Create)


def _controlled_view(
    kit: Kit,
    view: View,
    ref: ObjectRef,
    found: Any,  # noqa: ANN401 - JSON
    decision: Decision,
) -> Iterator[Violation]:
    """Judge the decision when another controls a dependent of the primary."""
    absent = _decide(kit, _with(view, ref, ABSENT))
    for other, hostile in controlled_in_turn(found, view.key):
        after = _decide(kit, _with(view, ref, hostile))
        # A decision that corrects what differs writes to the content of another author alone.
        actions = (*after.actions, *_decide(kit, _with(view, ref, rewritten(hostile))).actions)
        wrong = {write_of(each) for each in actions if each.target == ref and _is_intrusive(each)}
        for write in sorted(wrong, key=str):
            yield Violation("P9a", f"{write} although {other} controls it")
        # A decision that needs the object and does not change takes the other's for its own. After
        # a move it may mend something else first, and come to this object later.
        counts = not view.is_moved and text_of(after) == text_of(decision) != text_of(absent)
        if counts:
            yield Violation("P9a", f"counts {ref} as its own although {other} controls it")
        # A decision that ignores one owner ignores all of them.
        if counts or wrong:
            return


def _defaulted_view(
    kit: Kit,
    view: View,
    ref: ObjectRef,
    found: Any,  # noqa: ANN401 - JSON
    decision: Decision,
) -> Iterator[Violation]:
    hostile = defaulted(found)
    if hostile is None or any(action.target == ref for action in decision.actions):
        return
    for action in _decide(kit, _with(view, ref, hostile)).actions:
        if action.target == ref and not isinstance(action, RecordEvent):
            yield Violation("P20", f"{write_of(action)} to undo a default of the server")


def _with_list(
    view: View, selection: Selection, members: tuple[ObjectRef, ...] | Unreadable
) -> View:
    return evolve(view, lists={**view.lists, selection: members})


def _with(view: View, ref: ObjectRef, found: Observed[dict[str, JSON]]) -> View:
    return evolve(view, objects={**view.objects, ref: found})


def _mapped(view: View, change: Any) -> View:  # noqa: ANN401 - JSON to JSON
    objects = {
        ref: change(found) if isinstance(found, dict) else found
        for ref, found in view.objects.items()
    }
    return evolve(view, objects=objects)


def _reversed_keys(value: Any) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        return {name: _reversed_keys(value[name]) for name in reversed(value)}
    return [_reversed_keys(item) for item in value] if isinstance(value, list) else value


def _reversed_sets(obj: dict[str, Any]) -> dict[str, Any]:
    for part, name in _SETS:
        held = obj.get(part)
        if isinstance(held, dict) and isinstance(held.get(name), list):
            obj = {**obj, part: {**held, name: held[name][::-1]}}
    return obj


def _identities(view: View) -> Iterable[str]:
    found: list[Any] = [obj["metadata"] for obj in view.objects.values() if isinstance(obj, dict)]
    return {
        str(metadata[name])
        for metadata in found
        for name in ("uid", "resourceVersion")
        if name in metadata
    }


def _renamed(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def _text_of_view(view: View) -> str:
    objects = {
        str(ref): repr(found) if isinstance(found, Absent | Unreadable) else found
        for ref, found in view.objects.items()
    }
    lists = {str(selection): str(members) for selection, members in view.lists.items()}
    rest = [repr(view.state), str(view.now)]
    return json.dumps([str(view.key), objects, lists, *rest], sort_keys=True)
