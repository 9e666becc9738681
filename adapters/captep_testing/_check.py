"""L0: what one call of the function shows, without any server.

- P5: equal views give equal decisions, whatever the order of keys and of lists that are sets; a view is not changed.
- P5a: nothing raises, whatever an object lacks.
- P8: a delete and a patch carry the uid they were decided for, a patch that replaces a list the resourceVersion as well.
- P15: the interval is within its limits.
- P17: nothing that is told holds a canary.
- P-sym: other uids and resourceVersions give the same decision about them.
- F24: what is unreadable is not written.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any

from attrs import evolve, field, frozen

from captep_core import (
    ABSENT,
    JSON,
    Absent,
    Action,
    Create,
    Decision,
    ObjectRef,
    Observed,
    Patch,
    ReconcileState,
    RecordEvent,
    Unreadable,
    write_of,
)
from captep_core.ports import Read
from captep_testing._drive import drive
from captep_testing._kit import Kit
from captep_testing._passes import RaisedError, safe
from captep_testing._report import Finding, Report, Violation

__all__ = ["View", "check", "check_view", "views_of"]

_SETS = (("metadata", "finalizers"), ("metadata", "ownerReferences"), ("status", "conditions"))


@frozen
class View:
    """All that one call of the function gets to see: the objects that it reads, what is remembered, the time."""

    key: ObjectRef
    objects: Mapping[ObjectRef, Observed[dict[str, JSON]]] = field(repr=False)
    state: ReconcileState
    now: datetime

    def read(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Look one object up."""
        return self.objects.get(ref, ABSENT)


def check(kit: Kit) -> Report:
    """Check the decisions for all views that the loop has on its way to rest from each world of the kit."""
    found: dict[Finding, Violation] = {}
    seen: set[str] = set()
    for place, world in enumerate(kit.worlds):
        views: list[View] = []
        drive(evolve(kit, decide=_recording(kit, views)), world)
        for view in views:
            text = _text_of_view(view)
            if text not in seen:
                seen.add(text)
                for finding in check_view(kit, view):
                    found.setdefault(finding, Violation(finding, place))
    return Report(
        f"{len(seen)} views from {len(kit.worlds)} worlds", tuple(found.values()), states=len(seen)
    )


def views_of(kit: Kit) -> list[View]:
    """List the views that the loop has on its way to rest from each world of the kit, for tests of one's own."""
    views: list[View] = []
    for world in kit.worlds:
        drive(evolve(kit, decide=_recording(kit, views)), world)
    return views


def _recording(kit: Kit, views: list[View]) -> Any:  # noqa: ANN401 - a Decide
    def decide(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        objects: dict[ObjectRef, Observed[dict[str, JSON]]] = {}

        def noted(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            # Copies, so that a function that changes what it reads is caught and harms nobody.
            return objects.setdefault(ref, deepcopy(read(ref)))

        views.append(View(key, objects, state, now))
        return kit.decide(key, lambda ref: deepcopy(noted(ref)), state, now=now)

    return decide


def check_view(kit: Kit, view: View) -> Iterator[Finding]:
    """Yield what is wrong with the decision for one view, and for those that differ from it in nothing that matters."""
    before = _text_of_view(view)
    try:
        decision = _decide(kit, view)
        if _text_of_view(view) != before:
            yield Finding("P5", "changes what it reads")
            return
        yield from planned_amiss(kit, decision, view.read)
        yield from _impurities(kit, view, decision)
        yield from _asymmetries(kit, view, decision)
        yield from _partial_views(kit, view)
    except RaisedError as error:
        yield error.finding


def _decide(kit: Kit, view: View) -> Decision:
    return safe(kit.decide)(view.key, view.read, view.state, now=view.now)


def planned_amiss(kit: Kit, decision: Decision, read: Read) -> Iterator[Finding]:
    """Yield what is wrong with a decision by itself (P8, P15, P17)."""
    for action in decision.actions:
        if not isinstance(action, RecordEvent | Create):
            yield from (
                Finding("P8", f"{write_of(action)} {told}") for told in _unlocked(action, read)
            )
    wait = decision.requeue_after
    if wait is not None and not kit.shortest <= wait <= kit.longest:
        yield Finding("P15", f"requeue_after is {wait}")
    told = [
        repr(decision),
        decision.verdict.message,
        *(json.dumps(action.body, default=dict) for action in _telling(decision)),
    ]
    for canary in kit.canaries:
        if any(
            form in text
            for form in (canary, base64.b64encode(canary.encode()).decode())
            for text in told
        ):
            yield Finding("P17", f"a canary is told with the verdict {decision.verdict.reason}")


def _telling(decision: Decision) -> list[Action]:
    return [
        action
        for action in decision.actions
        if isinstance(action, RecordEvent) or action.subresource == "status"
    ]


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


def _impurities(kit: Kit, view: View, decision: Decision) -> Iterator[Finding]:
    if _text(_decide(kit, view)) != _text(decision):
        yield Finding("P5", "decides otherwise when asked again")
    if _text(_decide(kit, _mapped(view, _reversed_keys))) != _text(decision):
        yield Finding("P5", "decides otherwise when keys come in another order")
    if _text(_decide(kit, _mapped(view, _reversed_sets)), sort=True) != _text(decision, sort=True):
        yield Finding(
            "P5", "decides otherwise when finalizers, owners or conditions come in another order"
        )


def _asymmetries(kit: Kit, view: View, decision: Decision) -> Iterator[Finding]:
    names = {text: f"other-{place}" for place, text in enumerate(sorted(_identities(view)))}
    renamed = _mapped(view, lambda obj: _renamed(obj, names))
    if _text(_decide(kit, renamed)) != json.dumps(_renamed(json.loads(_text(decision)), names)):
        yield Finding("P-sym", "decides otherwise when uids and resourceVersions are others")


def _partial_views(kit: Kit, view: View) -> Iterator[Finding]:
    for ref, found in view.objects.items():
        if isinstance(found, dict):
            for name in sorted(set(found) - {"apiVersion", "kind", "metadata"}):
                _decide(
                    kit,
                    _with(view, ref, {key: value for key, value in found.items() if key != name}),
                )
        decision = _decide(kit, _with(view, ref, Unreadable("Timeout")))
        for action in decision.actions:
            if action.target == ref and not isinstance(action, RecordEvent):
                yield Finding("F24", f"{write_of(action)} though the object is unreadable")


def _with(view: View, ref: ObjectRef, found: Observed[dict[str, JSON]]) -> View:
    return evolve(view, objects={**view.objects, ref: found})


def _mapped(view: View, change: Any) -> View:  # noqa: ANN401 - JSON to JSON
    return evolve(
        view,
        objects={
            ref: change(found) if isinstance(found, dict) else found
            for ref, found in view.objects.items()
        },
    )


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
    found: list[Any] = [
        each["metadata"] for each in view.objects.values() if isinstance(each, dict)
    ]
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
    """A decision as JSON text; `sort`: lists are sets."""
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
    whole = json.loads(
        json.dumps(
            [actions, str(decision.requeue_after), verdict, list(map(str, decision.outstanding))],
            default=dict,
            sort_keys=True,
        )
    )
    return json.dumps(_sorted(whole) if sort else whole)


def _sorted(value: Any) -> Any:  # noqa: ANN401 - JSON, taken apart
    if isinstance(value, dict):
        return {name: _sorted(item) for name, item in value.items()}
    return (
        sorted((_sorted(item) for item in value), key=json.dumps)
        if isinstance(value, list)
        else value
    )
