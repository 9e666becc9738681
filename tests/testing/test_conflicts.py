"""A write that another actor overtook is repeated, and that is no fault of the loop."""

from datetime import datetime, timedelta

from captep_core import (
    Conflicted,
    Decision,
    Delete,
    ObjectRef,
    ReconcileState,
    is_deleting,
    outstanding,
    preconditions_of,
)
from captep_core.ports import Read
from captep_memory import Key, World, load
from captep_testing import Kit, sweep
from tests.objects import manifest
from tests.testing.toy import NOW, Verdict

DOOMED = ObjectRef("v1", "ConfigMap", "fleet", "doomed")


def drain(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Delete the object exactly as it was seen."""
    found = read(key)
    if not isinstance(found, dict):
        return Decision((), timedelta(minutes=1), Verdict("Drained"))
    if is_deleting(found):
        return Decision((), timedelta(minutes=1), Verdict("Leaving"))
    action = Delete(key, preconditions_of(found), "drain it")
    refused = outstanding(state, [action])
    is_refused = any(not isinstance(each, Conflicted) for each in refused)
    verdict = Verdict("Refused" if is_refused else "Draining")
    return Decision((action,), timedelta(seconds=5), verdict, refused)


def is_drained(world: World) -> bool:
    """Whether the object is gone."""
    return world.get(Key("", DOOMED.kind, DOOMED.namespace, DOOMED.name)) is None


def test_a_deletion_that_is_repeated_after_a_conflict_is_one_deletion() -> None:
    """P18 counts what the loop deleted; the edit that came before was another actor's."""
    world = load([manifest(DOOMED)], now=NOW)
    sweep(Kit(drain, keys=(DOOMED,), worlds=(world,), matches=is_drained)).require()
