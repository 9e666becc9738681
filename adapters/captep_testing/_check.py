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
- P14: a condition keeps its time while its status stays.
- P17: no output holds a canary, nor a password or a key of a Secret.
- P-sym: other uids and resourceVersions give the same decision about them.
- P5b: bodies are JSON.
- P9a, P9b, P9c: the function leaves alone what another controls, deletes or marks, and does not
  count it as its own.
- P15b: an unreadable object on which the decision depends needs an interval.
- P14b: a status of an older generation makes nothing Ready.
- P20: defaults that the server adds to a spec cause no write.
- F24: the function writes nothing to an unreadable object and never treats it as absent.

A list in the order of a set is found by a second interpreter with another hash seed. It needs a
function that `pickle` can import by name: a closure or a function of `__main__` is not seen (P5).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any

from attrs import evolve

from captep_core._actions import (
    JSON,
    ObjectRef,
    RecordEvent,
    write_of,
)
from captep_core._decision import Decision
from captep_core._observation import (
    ABSENT,
    Listed,
    Observed,
    ReconcileState,
    Selection,
    Unreadable,
)
from captep_core.ports import Read, Reads, select
from captep_memory import World
from captep_testing._decision import is_write, judge_decision, leaks
from captep_testing._delivery import deliver, uid_in
from captep_testing._drive import drive
from captep_testing._hostile_views import hostile_views
from captep_testing._interpreters import other_interpreters, text_of
from captep_testing._kit import Kit
from captep_testing._passes import ViolationError, read_of
from captep_testing._report import Counterexample, Report, Violation, kept, waivers
from captep_testing._times import missed_deadlines, other_times
from captep_testing._view import View, decided, mapped, text_of_view, with_list, with_object

__all__ = ["check", "check_view", "views_of"]

# The lists of Kubernetes objects whose order means nothing.
_SETS = (("metadata", "finalizers"), ("metadata", "ownerReferences"), ("status", "conditions"))


def check(kit: Kit) -> Report:
    """Check the decision for every view between each world of the kit and rest, and between rest
    and rest after each move.
    """
    found: dict[Violation, Counterexample] = {}
    seen: set[str] = set()
    distinct: list[View] = []
    for place, (name, world) in enumerate(kit.named_worlds()):
        for named, view in _views(kit, name, world):
            text = text_of_view(view)
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
        return text_of(decided(kit, view))
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
    before = text_of_view(view)
    try:
        decision = decided(kit, view)
        if text_of_view(view) != before:
            yield Violation("P5", "changes what it reads")
            return
        yield from judge_decision(kit, decision, view.read)
        yield from leaks(kit, decision, view.objects)
        if decision.wakes_at is not None and decision.wakes_at <= view.now:
            yield Violation("P15", f"wakes_at is {decision.wakes_at - view.now} after now")
        yield from _impurities(kit, view, decision)
        yield from _asymmetries(kit, view, decision)
        _try_partial_views(kit, view)
        yield from _unreadable_views(kit, view, decision)
        yield from hostile_views(kit, view, decision)
        yield from missed_deadlines(kit, view, decision)
        yield from other_times(kit, view)
    except ViolationError as error:
        yield error.violation


def _impurities(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    if text_of(decided(kit, view)) != text_of(decision):
        yield Violation("P5", "a second call decides differently")
    if text_of(decided(kit, mapped(view, _reversed_keys))) != text_of(decision):
        yield Violation("P5", "the order of keys changes the decision")
    reordered = decided(kit, mapped(view, _reversed_sets))
    if text_of(reordered, sort=True) != text_of(decision, sort=True):
        yield Violation("P5", "the order of finalizers, owners or conditions changes the decision")


def _asymmetries(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    names = {text: f"other-{place}" for place, text in enumerate(sorted(_identities(view)))}
    renamed = mapped(view, lambda obj: _renamed(obj, names))
    if text_of(decided(kit, renamed)) != json.dumps(_renamed(json.loads(text_of(decision)), names)):
        yield Violation("P-sym", "other uids and resourceVersions change the decision")


def _try_partial_views(kit: Kit, view: View) -> None:
    """Decide for views whose objects lack a part; an exception ends the check of the view (P5a)."""
    for ref, found in view.objects.items():
        if isinstance(found, dict):
            for name in sorted(set(found) - {"apiVersion", "kind", "metadata"}):
                lacking = {key: value for key, value in found.items() if key != name}
                try:
                    decided(kit, with_object(view, ref, lacking))
                except ViolationError as error:
                    message = f"{error.violation.message}, when {ref} has no {name}"
                    raise ViolationError(Violation(error.violation.property, message)) from error


def _unreadable_views(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    for ref, found in view.objects.items():
        blind = decided(kit, with_object(view, ref, Unreadable("Timeout")))
        absent = decided(kit, with_object(view, ref, ABSENT))
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
    blind = decided(kit, with_list(view, selection, Unreadable("Timeout")))
    empty = decided(kit, with_list(view, selection, ()))
    writes = _writes(blind)
    new = set(writes) - set(_writes(decision))
    if new and writes == _writes(empty):
        named = sorted({json.loads(each)[0] for each in new})
        yield Violation("F24", f"treats an unreadable list as empty: {', '.join(named)}")
    depends = text_of(blind) != text_of(empty) or text_of(blind) != text_of(decision)
    if depends and blind.requeue_after is None:
        yield Violation("P15b", f"never looks again while the list {selection} is unreadable")
    yield from _sent(kit, view, blind, f"with the list {selection} unreadable")


def _writes(decision: Decision, but: ObjectRef | None = None) -> list[str]:
    """Return the writes of a decision as text, without reports and those on one object."""
    return sorted(
        json.dumps([str(write_of(action)), action.body], default=dict, sort_keys=True)
        for action in decision.actions
        if is_write(action) and action.target != but
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
