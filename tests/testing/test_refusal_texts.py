"""P16c: a server that refuses each time with another text is no reason to write again."""

from datetime import datetime
from typing import Any

from attrs import evolve

from captep_core import Action, Decision, ObjectRef, Patch, ReconcileState
from captep_core._objects import rfc3339
from captep_core.ports import Read
from captep_testing import Kit, sweep
from tests.testing.toy import KEY, SOON, keep, lock, toy


def reporting(text: str, thing: Any, decision: Decision) -> Decision:  # noqa: ANN401 - Observed
    """Report `text` in the status while a write of the Thing is refused."""
    status = {**thing.get("status", {}), "problem": text}
    if thing.get("status") == status:
        return decision
    write: Action = Patch(KEY, {"status": status}, lock(thing), "report the refusal", "status")
    return evolve(decision, actions=(write,), requeue_after=SOON)


def quoting(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Keep the Thing, and report what the server says."""
    decision = keep(key, read, state, now=now)
    thing = read(KEY)
    others = [each for each in decision.outstanding if each.write.subresource is None]
    if not isinstance(thing, dict) or not others or "deletionTimestamp" in str(thing):
        return decision
    return reporting(str(others[0]), thing, decision)


def timing(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
    """Report the time of the refusal, which every retry changes."""
    decision = keep(key, read, state, now=now)
    thing = read(KEY)
    if not isinstance(thing, dict) or not decision.outstanding or "deletionTimestamp" in str(thing):
        return decision
    return reporting(f"refused at {rfc3339(now)}", thing, decision)


def properties(kit: Kit) -> set[str]:
    """Return the properties that a sweep finds broken."""
    return {each.violation.property for each in sweep(kit).counterexamples}


def test_an_operator_may_report_the_words_of_the_server() -> None:
    """The kit answers each try with another text, and the first one stays reported."""
    assert "P16c" not in properties(toy(quoting))


def test_an_operator_that_reports_every_text_is_found() -> None:
    """Its status is written after each retry, for as long as the refusal lasts."""
    assert "P16c" in properties(toy(timing))
