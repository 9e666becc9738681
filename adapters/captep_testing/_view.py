"""Everything that one call of the function sees, as a value that a check can change."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import evolve, field, frozen

from captep_core._actions import JSON, ObjectRef
from captep_core._decision import Decision
from captep_core._observation import Absent, Observed, ReconcileState, Selection, Unreadable
from captep_core.ports import Read
from captep_memory import World
from captep_testing._kit import Kit
from captep_testing._passes import Members, read_of, safe

__all__ = ["View", "decided", "mapped", "text_of_view", "with_list", "with_object"]


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


def decided(kit: Kit, view: View) -> Decision:
    return safe(kit.decide)(view.key, view.read, view.state, now=view.now)


def with_list(
    view: View, selection: Selection, members: tuple[ObjectRef, ...] | Unreadable
) -> View:
    return evolve(view, lists={**view.lists, selection: members})


def with_object(view: View, ref: ObjectRef, found: Observed[dict[str, JSON]]) -> View:
    return evolve(view, objects={**view.objects, ref: found})


def mapped(view: View, change: Any) -> View:  # noqa: ANN401 - JSON to JSON
    objects = {
        ref: change(found) if isinstance(found, dict) else found
        for ref, found in view.objects.items()
    }
    return evolve(view, objects=objects)


def text_of_view(view: View) -> str:
    objects = {
        str(ref): repr(found) if isinstance(found, Absent | Unreadable) else found
        for ref, found in view.objects.items()
    }
    lists = {str(selection): str(members) for selection, members in view.lists.items()}
    rest = [repr(view.state), str(view.now)]
    return json.dumps([str(view.key), objects, lists, *rest], sort_keys=True)
