"""A decision may use the kinds that its operator declares, and no others."""

from collections.abc import Collection
from datetime import datetime

from captep_core._actions import JSON, Decision, ObjectRef, RecordEvent
from captep_core._observation import Observed, ReconcileState
from captep_core.errors import DecisionError
from captep_core.ports import Decide, Read
from captep_runtime._bodies import require_decision

__all__ = ["checked", "only_declared"]


def only_declared(decide: Decide, declared: Collection[tuple[str, str]]) -> Decide:
    """Return `decide` with a check of the kinds that it reads and writes.

    An undeclared kind has no cache: without the check it would be unreadable for ever.

    Args:
        decide: the function.
        declared: the kinds, each by apiVersion and kind.

    Raises:
        DecisionError: when called, and a kind is not declared, or `decide` returns no Decision.
    """

    def require(ref: ObjectRef, does: str) -> None:
        if (ref.api_version, ref.kind) not in declared:
            raise DecisionError(
                f"the decision {does} {ref}, and {ref.kind} ({ref.api_version}) is not declared:"
                " add it to reads"
            )

    def restricted(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        def reading(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            require(ref, "reads")
            return read(ref)

        decision = checked(decide)(key, reading, state, now=now)
        for action in decision.actions:
            if not isinstance(action, RecordEvent):
                require(action.target, "writes")
        return decision

    return restricted


def checked(decide: Decide) -> Decide:
    """Return `decide` with a check of what it returns.

    Raises:
        DecisionError: when called, and `decide` returns no Decision.
    """

    def checking(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        decision = decide(key, read, state, now=now)
        require_decision(decision)
        return decision

    return checking
