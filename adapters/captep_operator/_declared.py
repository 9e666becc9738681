"""A decision may use the kinds that its operator declares, and no others."""

from collections.abc import Iterable
from datetime import datetime

from captep_core._actions import JSON, Decision, ObjectRef, RecordEvent
from captep_core._observation import Listed, Observed, ReconcileState, Selection
from captep_core._resources import Resource
from captep_core.errors import DecisionError
from captep_core.ports import Decide, Read, Reads, select

__all__ = ["only_declared"]


def only_declared(decide: Decide, resources: Iterable[Resource]) -> Decide:
    """Return `decide` with a check of the kinds that it reads and writes.

    An undeclared kind has no cache: without the check it would be unreadable for ever.

    Raises:
        DecisionError: when called, and a kind is not declared.
    """
    declared = {(each.api_version, each.kind) for each in resources}

    def require(ref: ObjectRef | Selection, does: str) -> None:
        if (ref.api_version, ref.kind) not in declared:
            raise DecisionError(
                f"the decision {does} {ref}, and {ref.kind} ({ref.api_version}) is not declared:"
                " add it to reads"
            )

    def checked(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        def reading(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            require(ref, "reads")
            return read(ref)

        def listing(selection: Selection) -> Listed:
            require(selection, "lists")
            return select(read, selection)

        decision = decide(key, Reads(reading, listing), state, now=now)
        # The runtime reports a value that is no Decision.
        for action in getattr(decision, "actions", ()):
            if not isinstance(action, RecordEvent):
                require(action.target, "writes")
        return decision

    return checked
