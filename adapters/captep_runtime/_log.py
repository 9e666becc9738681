"""One log line per change and none per quiet pass, as text or as JSON; never the body of anything.

Rules of this module:

1. What is logged is built from names, verbs, statuses, reasons and verdicts; a body, an object or the text of an exception never is. An
   exception is told by its type and where it was raised, only one of captep's own by its message, which is safe by contract.
2. A line carries controller, namespace, name and reconcileID, as controller-runtime's do.
"""

import json
import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Protocol, assert_never

from attrs import frozen

from captep_core import Conflicted, ObjectRef, RecordEvent, Refusal, Refused, Reverted, write_of
from captep_core._objects import rfc3339
from captep_core.errors import CaptepError
from captep_runtime._execute import Pass

__all__ = [
    "SILENT",
    "JSONFormatter",
    "Line",
    "Logger",
    "Reporter",
    "TextFormatter",
    "described",
    "lines",
]

_EXTRA = "captep_fields"


class Reporter(Protocol):
    """Who is told about passes; called from every worker."""

    def passed(self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass) -> None:
        """A pass ended; `verdict_before` is reason and message of the pass before, "" for the first one."""
        ...

    def failed(self, key: ObjectRef, reconcile_id: str, what: str) -> None:
        """A pass raised, and not as the pass before did."""
        ...

    def alarmed(self, key: ObjectRef, reconcile_id: str, passes: int) -> None:
        """A key had news in so many passes in a row that it must rest."""
        ...


class _Silent:
    def passed(self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass) -> None:
        """Tell nobody."""

    def failed(self, key: ObjectRef, reconcile_id: str, what: str) -> None:
        """Tell nobody."""

    def alarmed(self, key: ObjectRef, reconcile_id: str, passes: int) -> None:
        """Tell nobody."""


SILENT: Reporter = _Silent()


@frozen
class Line:
    """One line of the log, without the fields that all lines have."""

    level: int
    message: str
    fields: Mapping[str, str | int]


def _status_of(refusal: Refusal) -> Mapping[str, str | int]:
    match refusal:
        case Refused(status=status):
            return {"status": status}
        case Conflicted():
            return {"status": 409}
        case Reverted():
            return {}
        case _ as unreachable:
            assert_never(unreachable)


def lines(verdict_before: str, done: Pass) -> tuple[Line, ...]:
    """Return what is worth a line in a pass: writes that changed something, new refusals, another verdict."""
    told = [
        Line(logging.INFO, f"{write_of(action)}: {action.reason}", {"status": answer.status})
        for action, answer in done.sent
        if answer.changed and not isinstance(action, RecordEvent)
    ]
    level = (
        logging.DEBUG
        if all(isinstance(new, Conflicted) for new in done.new_refusals)
        else logging.WARNING
    )
    told += [Line(level, str(new), _status_of(new)) for new in done.new_refusals]
    conclusion = done.decision.verdict
    verdict = (
        f"{conclusion.reason}: {conclusion.message}" if conclusion.message else conclusion.reason
    )
    if verdict != verdict_before:
        warns = any(
            isinstance(action, RecordEvent) and action.type == "Warning"
            for action in done.decision.actions
        )
        told.append(
            Line(
                logging.WARNING if warns else logging.INFO,
                f"verdict: {verdict}",
                {"verdict": conclusion.reason},
            )
        )
    return tuple(told)


def described(exc: Exception) -> str:
    """Tell an exception without its text, which may quote what it choked on; one of captep's own tells itself."""
    if isinstance(exc, CaptepError):
        return f"{type(exc).__name__}: {exc}"
    frames = traceback.extract_tb(exc.__traceback__)
    where = " < ".join(
        f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in reversed(frames[-5:])
    )
    return f"{type(exc).__name__} at {where}" if where else type(exc).__name__


class Logger:
    """A reporter that writes to a logger of the standard library."""

    def __init__(self, logger: logging.Logger, controller: str) -> None:
        self._logger, self._controller = logger, controller

    def passed(self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass) -> None:
        """Write a line for each change."""
        for line in lines(verdict_before, done):
            self._write(key, reconcile_id, line)

    def failed(self, key: ObjectRef, reconcile_id: str, what: str) -> None:
        """Write where it was raised."""
        self._write(
            key,
            reconcile_id,
            Line(logging.ERROR, f"the pass failed and will be retried: {what}", {}),
        )

    def alarmed(self, key: ObjectRef, reconcile_id: str, passes: int) -> None:
        """Write one warning."""
        message = f"{passes} passes in a row changed something: resting before the next one"
        self._write(key, reconcile_id, Line(logging.WARNING, message, {"passes": passes}))

    def _write(self, key: ObjectRef, reconcile_id: str, line: Line) -> None:
        about = {
            "controller": self._controller,
            "namespace": key.namespace or "",
            "name": key.name,
            "reconcileID": reconcile_id,
        }
        self._logger.log(line.level, "%s", line.message, extra={_EXTRA: {**about, **line.fields}})


class JSONFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        at = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        return json.dumps({**at, **_fields(record)}, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, message, then the fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`."""
        fields = " ".join(
            f"{name}={value}" for name, value in _fields(record).items() if value != ""
        )
        return " ".join(
            filter(None, (_time(record), f"{record.levelname:<7}", _message(record), fields))
        )


def _time(record: logging.LogRecord) -> str:
    return rfc3339(datetime.fromtimestamp(record.created, UTC), "milliseconds")


def _message(record: logging.LogRecord) -> str:
    """The message on one line, with what was raised told by `described`: a traceback's text is not safe."""
    message = " ".join(record.getMessage().split())
    raised = record.exc_info[1] if record.exc_info else None
    return f"{message}: {described(raised)}" if isinstance(raised, Exception) else message


def _fields(record: logging.LogRecord) -> Mapping[str, str | int]:
    fields: Mapping[str, str | int] = getattr(record, _EXTRA, {})
    return fields
