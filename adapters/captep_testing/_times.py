"""Single decisions at other times: deadlines that a loop sleeps past, and a clock that jumps.

- P14: a condition keeps its time while its status stays, however much later the loop writes it.
- P15: intervals and deadlines are right, also when the clock has jumped (F21).
- P15a: at rest, the interval brings the loop back in time for its next deadline.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from attrs import evolve

from captep_core._actions import Patch, write_of
from captep_core._decision import Decision
from captep_core._objects import instant, rfc3339
from captep_testing._decision import judge_decision
from captep_testing._delivery import untruths
from captep_testing._hostile import patched
from captep_testing._kit import Kit
from captep_testing._report import Violation
from captep_testing._view import View, decided, with_object

__all__ = ["missed_deadlines", "other_times"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
# A time server corrects the clock, and a machine was suspended.
_JUMPS = {
    timedelta(hours=-1): "an hour earlier",
    timedelta(days=1): "a day later",
}
# A day of intervals of a minute.
_MOST_LOOKS = 1500


def missed_deadlines(kit: Kit, view: View, decision: Decision) -> Iterator[Violation]:
    """Judge P15a: find the next time at which the loop would act, and follow its intervals."""
    if decision.actions:
        return
    due = _next_deadline(kit, view)
    if due is None:
        return
    now = view.now
    for _ in range(_MOST_LOOKS):
        looked = decided(kit, evolve(view, now=now))
        # The deadline is known to a second, and the look may come just in time.
        if looked.actions:
            break
        wait = looked.wait(now=now)
        if wait is None:
            yield Violation("P15a", f"never looks again, and acts {due - view.now} later")
            return
        now += wait
        if now >= due:
            break
    if now - due > kit.lateness:
        yield Violation("P15a", f"looks {now - due} after its deadline")


def other_times(kit: Kit, view: View) -> Iterator[Violation]:
    """Judge the decision when the clock has jumped since the last look (F21)."""
    for jump, when in _JUMPS.items():
        later = evolve(view, now=view.now + jump)
        decision = decided(kit, later)
        for found in (*judge_decision(kit, decision, view.read), *_untimely(later, decision)):
            yield Violation(found.property, f"{when}: {found.message}")
    primary = view.objects.get(view.key)
    if isinstance(primary, dict):
        for other in _reported_otherwise(primary):
            later = with_object(evolve(view, now=view.now + timedelta(days=1)), view.key, other)
            for found in _untimely(later, decided(kit, later)):
                yield Violation(found.property, f"a day later: {found.message}")


def _reported_otherwise(primary: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a primary with other reasons, and with another generation: its status is written."""
    status = primary.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    if not isinstance(conditions, list) or not conditions:
        return
    others = [{**each, "reason": "Other", "message": "other"} for each in conditions]
    yield {**primary, "status": {**primary["status"], "conditions": others}}
    metadata = primary["metadata"]
    if isinstance(metadata.get("generation"), int):
        yield {**primary, "metadata": {**metadata, "generation": metadata["generation"] + 1}}


def _untimely(view: View, decision: Decision) -> Iterator[Violation]:
    """Judge the conditions that a decision writes (P14)."""
    for action in decision.actions:
        found = view.objects.get(action.target)
        if isinstance(action, Patch) and action.subresource and isinstance(found, dict):
            for untruth in untruths(found, patched(action, found), rfc3339(view.now)):
                yield Violation("P14", f"{write_of(action)}: {untruth}")


def _next_deadline(kit: Kit, view: View) -> datetime | None:
    """Return the first time at which the decision has actions, to a second; None within a year."""
    quiet = view.now
    for probe in sorted(_probes(view)):
        if decided(kit, evolve(view, now=probe)).actions:
            return _between(kit, view, quiet, probe)
        quiet = probe
    return None


def _between(kit: Kit, view: View, quiet: datetime, busy: datetime) -> datetime:
    """Return the time between two at which the decision begins to have actions, by bisection."""
    while busy - quiet > timedelta(seconds=1):
        middle = quiet + (busy - quiet) / 2
        if decided(kit, evolve(view, now=middle)).actions:
            busy = middle
        else:
            quiet = middle
    return busy


def _probes(view: View) -> set[datetime]:
    """Return the times at which a deadline may lie.

    Every order of magnitude, and all in the view.
    """
    steps = (timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(days=30))
    probes = {view.now + step for step in (*steps, timedelta(days=365))}
    texts = _TIME.findall(
        json.dumps([obj for obj in view.objects.values() if isinstance(obj, dict)])
    )
    named = {moment for text in texts if (moment := instant(text)) is not None}
    return probes | {moment + timedelta(seconds=1) for moment in named if moment > view.now}
