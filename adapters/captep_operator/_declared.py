"""A decision may use the kinds that its operator declares, as it declares them, and no others."""

from collections.abc import Collection, Iterable
from datetime import datetime

from captep_core._actions import Manifest, ObjectRef, RecordEvent
from captep_core._decision import Decision
from captep_core._observation import Listed, Observed, ReconcileState, Selection, Unreadable
from captep_core._projection import shown_of
from captep_core.errors import DecisionError
from captep_core.ports import Decide, Read, Reads, select
from captep_operator._kind import Kind, ids_of
from captep_runtime._bodies import named, require_decision

__all__ = ["as_declared", "checked", "only_declared"]


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

    def require(ref: ObjectRef | Selection, does: str) -> None:
        asked: object = ref
        if not isinstance(asked, ObjectRef | Selection):
            raise DecisionError(
                f"the decision {does} {named(asked)}, expected an ObjectRef: ref_of makes one"
            )
        if not (ref.api_version and ref.kind):
            raise DecisionError(f"the decision {does} {ref}, which has no apiVersion or no kind")
        if (ref.api_version, ref.kind) not in declared:
            raise DecisionError(
                f"the decision {does} {ref}, and {ref.kind} ({ref.api_version}) is not declared:"
                " add it to reads"
            )

    def restricted(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        def reading(ref: ObjectRef) -> Observed[Manifest]:
            require(ref, "reads")
            return read(ref)

        def listing(selection: Selection) -> Listed:
            require(selection, "lists")
            return select(read, selection)

        decision = deciding(key, Reads(reading, listing), state, now=now)
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

    Undeclared kinds raise, and each object shows the fields that its kind keeps: a plan must not
    see what the operator cannot see.
    """
    declared = tuple(kinds)
    shown = {
        name: shown_of(kind.watched(kind.assumed())) for kind in declared for name in ids_of([kind])
    }

    def restricted(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        def reading(ref: ObjectRef) -> Observed[Manifest]:
            found = read(ref)
            name = ref.api_version, ref.kind
            return shown[name](found) if isinstance(found, dict) else found

        def listing(selection: Selection) -> Listed:
            found = select(read, selection)
            name = selection.api_version, selection.kind
            return found if isinstance(found, Unreadable) else tuple(map(shown[name], found))

        return decide(key, Reads(reading, listing), state, now=now)

    return only_declared(restricted, ids_of(declared))
