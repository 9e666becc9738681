"""One log line per change and none per quiet pass, as text or as JSON; never the body of anything.

Rules of this module:

1. A line consists of names, verbs, statuses, reasons and verdicts, and never of a body, an object
   or the text of an exception. It names an exception by its type and the place that raised it. Only
   captep's own exceptions appear with their message, which holds no Secret by contract.
2. A line carries controller, namespace, name and reconcileID, as controller-runtime's lines do.
"""

import json
import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Protocol, assert_never

from attrs import frozen

from captep_core._actions import ObjectRef, RecordEvent, write_of
from captep_core._objects import rfc3339
from captep_core._refusals import Conflicted, Refusal, Refused, Reverted, Throttled
from captep_core.errors import CaptepError
from captep_runtime._execute import Pass
from captep_runtime._schedule import verdict_text

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
    """The receiver of pass results; every worker calls it."""

    def passed(self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass) -> None:
        """Receive a pass that ended.

        `verdict_before`: reason and message of the verdict of the pass before, "" for the first
        pass.
        """
        ...

    def failed(self, key: ObjectRef, reconcile_id: str, failure: str) -> None:
        """Receive the `failure` of a pass that raised, unless the pass before raised the same."""
        ...

    def too_busy(self, key: ObjectRef, reconcile_id: str, passes: int) -> None:
        """Receive how many passes in a row made progress, when that leads to a cooldown."""
        ...


class _Silent:
    def passed(self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass) -> None:
        """Write nothing."""

    def failed(self, key: ObjectRef, reconcile_id: str, failure: str) -> None:
        """Write nothing."""

    def too_busy(self, key: ObjectRef, reconcile_id: str, passes: int) -> None:
        """Write nothing."""


SILENT: Reporter = _Silent()


@frozen
class Line:
    """One line of the log, without the fields that every line has."""

    level: int
    message: str
    fields: Mapping[str, str | int]


def _status_of(refusal: Refusal) -> Mapping[str, str | int]:
    match refusal:
        case Refused(status=status):
            return {"status": status}
        case Conflicted():
            return {"status": 409}
        case Throttled():
            return {"status": 429}
        case Reverted():
            return {}
        case _ as unreachable:
            assert_never(unreachable)


def lines(verdict_before: str, done: Pass) -> tuple[Line, ...]:
    """Return the lines of a pass: effective writes, new refusals, fields not kept, the verdict."""
    return (
        *_write_lines(done),
        *_refusal_lines(done),
        *_not_kept_lines(done),
        *_verdict_lines(verdict_before, done),
    )


def _write_lines(done: Pass) -> list[Line]:
    return [
        Line(logging.INFO, f"{write_of(action)}: {action.reason}", {"status": answer.status})
        for action, answer in done.sent
        if answer.changed and not isinstance(action, RecordEvent)
    ]


def _refusal_lines(done: Pass) -> list[Line]:
    # Alone, these two are everyday: the retry has seen the newer object, or the server has time.
    is_everyday = all(isinstance(new, Conflicted | Throttled) for new in done.new_refusals)
    level = logging.DEBUG if is_everyday else logging.WARNING
    return [Line(level, str(new), _status_of(new)) for new in done.new_refusals]


def _not_kept_lines(done: Pass) -> list[Line]:
    return [
        Line(logging.WARNING, f"the server does not keep {new}", {}) for new in done.new_not_kept
    ]


def _verdict_lines(verdict_before: str, done: Pass) -> list[Line]:
    verdict = done.decision.verdict
    text = verdict_text(verdict)
    if text == verdict_before:
        return []
    warns = any(
        isinstance(action, RecordEvent) and action.type == "Warning"
        for action in done.decision.actions
    )
    level = logging.WARNING if warns else logging.INFO
    return [Line(level, f"verdict: {text}", {"verdict": verdict.reason})]


def described(exc: Exception) -> str:
    """Describe an exception without its text, which may quote a Secret; captep's own are safe."""
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
        self._logger = logger
        self._controller = controller

    def passed(self, key: ObjectRef, reconcile_id: str, verdict_before: str, done: Pass) -> None:
        """Write a line for each change."""
        for line in lines(verdict_before, done):
            self._write(key, reconcile_id, line)

    def failed(self, key: ObjectRef, reconcile_id: str, failure: str) -> None:
        """Write one error with the place that raised it."""
        message = f"the pass failed and will be retried: {failure}"
        self._write(key, reconcile_id, Line(logging.ERROR, message, {}))

    def too_busy(self, key: ObjectRef, reconcile_id: str, passes: int) -> None:
        """Write one warning."""
        message = f"{passes} passes in a row made progress: the next one waits for a cooldown"
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
    """Return the message on one line, with a description instead of a traceback."""
    message = " ".join(record.getMessage().split())
    raised = record.exc_info[1] if record.exc_info else None
    return f"{message}: {described(raised)}" if isinstance(raised, Exception) else message


def _fields(record: logging.LogRecord) -> Mapping[str, str | int]:
    fields: Mapping[str, str | int] = getattr(record, _EXTRA, {})
    return fields
