"""The verdict over an audit log as text for people and as JSON for programs."""

from typing import Any, Final

from captep_audit._events import Log
from captep_audit._verdict import Finding, Verdict

__all__ = ["report_json", "report_text"]

_RULES: Final = {
    "hot-loop": "hot loop",
    "no-effect": "writes without an effect",
    "repeated-write": "repeated writes",
    "blind-delete": "deletes without preconditions",
    "fight": "fight",
    "unsettled": "unsettled resourceVersion",
    "reads-per-change": "reads per change",
    "list-storm": "list storm",
    "conflicts": "conflicts per write",
}
_SHOWN: Final = 20
"""Findings of one rule that the text shows; the JSON has more."""


def report_json(log: Log, verdict: Verdict) -> dict[str, Any]:
    """Return the whole verdict."""
    return {
        "files": log.files,
        "events": log.events,
        "broken_lines": log.broken_lines,
        "cut": log.is_cut,
        "since": verdict.since,
        "until": verdict.until,
        "levels": dict(verdict.levels),
        "actors": [
            {"user": actor.user, "program": actor.program, **figures}
            for actor, figures in verdict.actors.items()
        ],
        "findings": [_finding(each) for each in verdict.findings],
        "findings_dropped": verdict.dropped,
        "not_judged": list(verdict.not_judged),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "user": finding.actor.user,
        "program": finding.actor.program,
        "object": finding.object,
        "count": finding.count,
        "since": finding.since,
        "until": finding.until,
        "message": finding.message,
    }


def report_text(log: Log, verdict: Verdict) -> str:
    """Return the verdict for people: figures of each actor, then the findings by rule."""
    lines = [
        f"{log.events:,} events of {len(log.files)} file(s), {verdict.since} to {verdict.until}",
        *_notes(log, verdict),
        "",
    ]
    for actor, figures in verdict.actors.items():
        lines += [str(actor), *_figures(dict(figures)), ""]
    if not verdict.findings:
        return _page([*lines, "nothing found"])
    for rule, title in _RULES.items():
        found = [each for each in verdict.findings if each.rule == rule]
        if found:
            lines += _rule(title, found)
    if verdict.dropped:
        lines.append(f"{verdict.dropped:,} further findings are left out")
    return _page(lines)


def _notes(log: Log, verdict: Verdict) -> list[str]:
    notes = []
    if log.broken_lines:
        notes.append(f"skipped: {log.broken_lines:,} lines that are no events")
    if log.is_cut:
        notes.append("the last line is cut")
    return [*notes, *(f"not judged: {note}" for note in verdict.not_judged)]


def _figures(figures: dict[str, Any]) -> list[str]:
    requests = ", ".join(f"{number:,} {verb}" for verb, number in figures["requests"].items())
    writes = (
        f"{figures['writes']:,}: {figures['effective']:,} with an effect,"
        f" {figures['without_effect']:,} without, {figures['unknown_effect']:,} unknown,"
        f" {figures['refused']:,} refused, {figures['conflicts']:,} of them conflicts"
    )
    return [
        f"  requests  {requests}",
        f"  writes    {writes}",
        f"  reads     {figures['reads']:,}, {figures['reads_per_change']:g} for each change",
    ]


def _rule(title: str, found: list[Finding]) -> list[str]:
    lines = [f"{title} ({len(found)})"]
    for each in found[:_SHOWN]:
        where = f"{each.object}: " if each.object else ""
        times = "once" if each.count == 1 else f"{each.count:,} times"
        lines.append(f"  {each.actor}: {where}{each.message} ({times})")
        lines.append(f"      {each.since} to {each.until}")
    if len(found) > _SHOWN:
        lines.append(f"  and {len(found) - _SHOWN:,} more; -o json has them")
    return [*lines, ""]


def _page(lines: list[str]) -> str:
    """Join lines, each safe for a terminal: names in a log may hold escape sequences."""
    return "".join(f"{_printable(line)}\n" for line in lines)


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
