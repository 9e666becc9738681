"""L0: single calls of the function under test, without a server.

- P5: equal views give equal decisions, whatever the order of keys and of lists that are sets; the
  function leaves a view unchanged.
- P5a: the function never raises, whatever field an object lacks.
- P8: a delete and a patch carry the uid for which they were decided; a patch that replaces a list
  carries the resourceVersion too.
- P15: the interval is within its limits.
- P17: no output holds a canary.
- P-sym: other uids and resourceVersions give the same decision about them.
- F24: the function writes nothing to an unreadable object.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any

from attrs import evolve, field, frozen

from captep_core._actions import (
    JSON,
    Action,
    Create,
    Decision,
    ObjectRef,
    Patch,
    RecordEvent,
    write_of,
)
from captep_core._observation import ABSENT, Absent, Observed, ReconcileState, Unreadable
from captep_core.ports import Decide, Read
from captep_testing._drive import drive
from captep_testing._kit import Kit
from captep_testing._passes import ViolationError, safe
from captep_testing._report import Counterexample, Report, Violation

__all__ = ["View", "check", "check_view", "judge_decision", "views_of"]

# The lists of Kubernetes objects whose order means nothing.
_SETS = (("metadata", "finalizers"), ("metadata", "ownerReferences"), ("status", "conditions"))


@frozen
class View:
    """Everything that one call of the function sees.

    The objects that it reads, its state, the time.
    """

    key: ObjectRef
    objects: Mapping[ObjectRef, Observed[dict[str, JSON]]] = field(repr=False)
    state: ReconcileState
    now: datetime

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up."""
        return self.objects.get(ref, ABSENT)


def check(kit: Kit) -> Report:
    """Check the decision for every view between each world of the kit and rest."""
    found: dict[Violation, Counterexample] = {}
    seen: set[str] = set()
    for place, world in enumerate(kit.worlds):
        views: list[View] = []
        drive(evolve(kit, decide=_recording(kit, views)), world)
        for view in views:
            text = _text_of_view(view)
            if text not in seen:
                seen.add(text)
                for violation in check_view(kit, view):
                    found.setdefault(violation, Counterexample(violation, place))
    scope = f"{len(seen)} views from {len(kit.worlds)} worlds"
    return Report(scope, tuple(found.values()), states=len(seen))


def views_of(kit: Kit) -> list[View]:
    """List the views between each world of the kit and rest, for an author's own tests."""
    views: list[View] = []
    for world in kit.worlds:
        drive(evolve(kit, decide=_recording(kit, views)), world)
    return views


def _recording(kit: Kit, views: list[View]) -> Decide:
    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        objects: dict[ObjectRef, Observed[dict[str, JSON]]] = {}

        def recorded(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            # Copies: a function that changes what it reads is caught, and its changes stay its own.
            return objects.setdefault(ref, deepcopy(read(ref)))

        views.append(View(key, objects, state, now))
        return kit.decide(key, lambda ref: deepcopy(recorded(ref)), state, now=now)

    return decide


def check_view(kit: Kit, view: View) -> Iterator[Violation]:
    """Yield the violations of the decision for one view, and for its equivalents."""
    before = _text_of_view(view)
    try:
        decision = _decide(kit, view)
        if _text_of_view(view) != before:
            yield Violation("P5", "changes what it reads")
            return
        yield from judge_decision(kit, decision, view.read)
        yield from _impurities(kit, view, decision)
        yield from _asymmetries(kit, view, decision)
        yield from _partial_views(kit, view)
    except ViolationError as error:
        yield error.violation


def _decide(kit: Kit, view: View) -> Decision:
    return safe(kit.decide)(view.key, view.read, view.state, now=view.now)


def judge_decision(kit: Kit, decision: Decision, read: Read) -> Iterator[Violation]:
    """Yield the violations of one decision (P8, P15, P17)."""
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
    if action.preconditions.uid is None:
        yield "carries no uid"
    if isinstance(action, Patch) and action.preconditions.resource_version is None:
        found = read(action.target)
        if _replaces_list(action.body, found if isinstance(found, dict) else {}):
            yield "replaces a list and carries no resourceVersion"


def _replaces_list(patch: Any, target: Any) -> bool:  # noqa: ANN401 - JSON, taken apart
    if not isinstance(patch, dict):
        return isinstance(patch, list) or (patch is None and isinstance(target, list))
    below = target if isinstance(target, dict) else {}
    return any(_replaces_list(value, below.get(name)) for name, value in patch.items())


def _impurities(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    if _text(_decide(kit, view)) != _text(decision):
        yield Violation("P5", "a second call decides differently")
    if _text(_decide(kit, _mapped(view, _reversed_keys))) != _text(decision):
        yield Violation("P5", "the order of keys changes the decision")
    reordered = _decide(kit, _mapped(view, _reversed_sets))
    if _text(reordered, sort=True) != _text(decision, sort=True):
        yield Violation("P5", "the order of finalizers, owners or conditions changes the decision")


def _asymmetries(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    names = {text: f"other-{place}" for place, text in enumerate(sorted(_identities(view)))}
    renamed = _mapped(view, lambda obj: _renamed(obj, names))
    if _text(_decide(kit, renamed)) != json.dumps(_renamed(json.loads(_text(decision)), names)):
        yield Violation("P-sym", "other uids and resourceVersions change the decision")


def _partial_views(kit: Kit, view: View) -> Iterator[Violation]:
    for ref, found in view.objects.items():
        if isinstance(found, dict):
            for name in sorted(set(found) - {"apiVersion", "kind", "metadata"}):
                lacking = {key: value for key, value in found.items() if key != name}
                _decide(kit, _with(view, ref, lacking))
        decision = _decide(kit, _with(view, ref, Unreadable("Timeout")))
        for action in decision.actions:
            if action.target == ref and not isinstance(action, RecordEvent):
                yield Violation("F24", f"{write_of(action)} although the object is unreadable")


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
    return json.dumps([str(view.key), objects, repr(view.state), str(view.now)], sort_keys=True)


def _text(decision: Decision, *, sort: bool = False) -> str:
    """Return a decision as JSON text; with `sort`, without the order of lists."""
    actions = [
        [
            str(write_of(action)),
            action.body,
            action.preconditions.uid,
            action.preconditions.resource_version,
            action.reason,
        ]
        for action in decision.actions
    ]
    verdict = [decision.verdict.reason, decision.verdict.message]
    outstanding = [str(refusal) for refusal in decision.outstanding]
    content = [actions, str(decision.requeue_after), verdict, outstanding]
    whole = json.loads(json.dumps(content, default=dict, sort_keys=True))
    return json.dumps(_sorted(whole) if sort else whole)


def _sorted(value: Any) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        return {name: _sorted(item) for name, item in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(item) for item in value), key=json.dumps)
    return value
