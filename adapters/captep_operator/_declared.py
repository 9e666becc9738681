"""A decision may use the kinds that its operator declares, as it declares them, and no others."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from captep_core._actions import JSON, Decision, ObjectRef, RecordEvent
from captep_core._observation import Observed, ReconcileState
from captep_core.errors import DecisionError
from captep_core.ports import Decide, Read
from captep_operator._kind import Kind, ids_of
from captep_runtime._bodies import require_decision

__all__ = ["as_declared", "checked", "only_declared"]

_IDENTITY: Final = ("apiVersion", "kind", "metadata")


def only_declared(decide: Decide, declared: Collection[tuple[str, str]]) -> Decide:
    """Return `decide` with a check of the kinds that it reads and writes.

    An undeclared kind has no cache: without the check it would be unreadable for ever.

    Args:
        decide: the function.
        declared: the kinds, each by apiVersion and kind.

    Raises:
        DecisionError: when called, and a kind is not declared, or `decide` returns no Decision.
    """

    deciding = checked(decide)

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

        decision = deciding(key, reading, state, now=now)
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


def as_declared(decide: Decide, kinds: Iterable[Kind]) -> Decide:
    """Return `decide` with reads as a cluster answers them, for a server without caches.

    Undeclared kinds raise, and kinds by their metadata show nothing else: a plan in memory must not
    see what the operator cannot see.
    """
    declared = tuple(kinds)
    by_metadata = ids_of(each for each in declared if each.payload == "metadata")

    def restricted(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        def reading(ref: ObjectRef) -> Observed[dict[str, JSON]]:
            found = read(ref)
            if isinstance(found, dict) and (ref.api_version, ref.kind) in by_metadata:
                return {name: found[name] for name in _IDENTITY if name in found}
            return found

        return decide(key, reading, state, now=now)

    return only_declared(restricted, ids_of(declared))
