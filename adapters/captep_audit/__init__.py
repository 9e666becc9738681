"""Judges any operator by the audit log of a real API server: what it read, wrote and fought about.

The operator may be in any language, and need not know of captep. `read_events` reads the log,
`Judge` judges its events in constant memory, `report_text` and `report_json` show the result.
"""

from captep_audit._events import AuditLogError, Log, read_events
from captep_audit._judge import Judge
from captep_audit._report import report_json, report_text
from captep_audit._verdict import Actor, Finding, Verdict

__all__ = [
    "Actor",
    "AuditLogError",
    "Finding",
    "Judge",
    "Log",
    "Verdict",
    "read_events",
    "report_json",
    "report_text",
]
