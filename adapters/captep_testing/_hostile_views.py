"""Single decisions on hostile objects; see `captep_testing._hostile`.

- P9a, P9b, P9c: the function leaves alone what another controls, deletes or marks, and does not
  count it as its own.
- P14b: a status that its controller has reported for an older generation makes nothing Ready.
- P20: defaults that the server adds to a spec cause no write.
"""

from collections.abc import Iterator
from typing import Any

from captep_core._actions import Action, Create, ObjectRef, Patch, RecordEvent, write_of
from captep_core._decision import Decision
from captep_core._observation import ABSENT
from captep_testing._delivery import is_ready
from captep_testing._hostile import (
    controlled_in_turn,
    defaulted,
    is_controlled_by,
    lost_marks,
    marked,
    only_finalizers,
    outdated,
    patched,
    rewritten,
    terminating,
)
from captep_testing._interpreters import text_of
from captep_testing._kit import Kit
from captep_testing._report import Violation
from captep_testing._view import View, decided, with_object

__all__ = ["hostile_views"]


def hostile_views(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
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
        yield from _outdated_view(kit, view, ref, found, decision)


def _identity(found: Any) -> object:  # noqa: ANN401 - Observed
    return found["metadata"].get("uid") if isinstance(found, dict) else None


def _marked_view(kit: Kit, view: View, ref: ObjectRef, found: Any) -> Iterator[Violation]:  # noqa: ANN401
    hostile = marked(found)
    for action in decided(kit, with_object(view, ref, hostile)).actions:
        if isinstance(action, Patch) and action.target == ref:
            for mark in lost_marks(hostile, patched(action, hostile)):
                yield Violation("P9c", f"{write_of(action)} removes a foreign {mark}")


def _terminating_view(kit: Kit, view: View, ref: ObjectRef, found: Any) -> Iterator[Violation]:  # noqa: ANN401
    if "deletionTimestamp" in found["metadata"]:
        return
    for action in decided(kit, with_object(view, ref, terminating(found))).actions:
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
    absent = decided(kit, with_object(view, ref, ABSENT))
    for other, hostile in controlled_in_turn(found, view.key):
        after = decided(kit, with_object(view, ref, hostile))
        # A decision that corrects what differs writes to the content of another author alone.
        actions = (
            *after.actions,
            *decided(kit, with_object(view, ref, rewritten(hostile))).actions,
        )
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
    for action in decided(kit, with_object(view, ref, hostile)).actions:
        if action.target == ref and not isinstance(action, RecordEvent):
            yield Violation("P20", f"{write_of(action)} to undo a default of the server")


def _outdated_view(
    kit: Kit,
    view: View,
    ref: ObjectRef,
    found: Any,  # noqa: ANN401 - JSON
    decision: Decision,
) -> Iterator[Violation]:
    """Judge P14b where Ready depends on the status of a dependent."""
    hostile = outdated(found)
    if hostile is None or not _makes_ready(view, decision):
        return
    blank = decided(kit, with_object(view, ref, {**found, "status": {}}))
    if _makes_ready(view, blank):
        return
    if _makes_ready(view, decided(kit, with_object(view, ref, hostile))):
        about = f"{ref} whose controller has not seen its latest generation"
        yield Violation("P14b", f"reports Ready because of the status of {about}")


def _makes_ready(view: View, decision: Decision) -> bool:
    """Whether the primary reports Ready after a decision."""
    primary: Any = view.objects.get(view.key)
    if not isinstance(primary, dict) or "deletionTimestamp" in primary["metadata"]:
        return False
    for action in decision.actions:
        if isinstance(action, Patch) and action.target == view.key:
            primary = patched(action, primary)
    status = primary.get("status")
    return isinstance(status, dict) and is_ready(status)
