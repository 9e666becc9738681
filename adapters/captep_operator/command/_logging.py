"""The log of `captep run` on standard error, the words of its libraries included.

Rules of this module:

1. Everything that this process writes to standard error goes through one handler: records of any
   logger, warnings, exceptions that end a thread, exceptions in a finalizer. With JSON as the
   format every line is one JSON object.
2. The same warning is one record, however often a library issues it: urllib3 warns at every
   request without verification.
3. Words that may hold a credential are not repeated: an exception of others appears by its type
   and place, and the client's loader of kubeconfigs, which logs the standard error of an exec
   plugin, without its text.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from captep_core.errors import CaptepError
from captep_operator.command._errors import InputError, UsageError
from captep_runtime import JSONFormatter, TextFormatter
from captep_runtime._log import described

__all__ = ["error_line", "log_to_stderr"]

_log = logging.getLogger("captep.run")
_warnings = logging.getLogger("py.warnings")


@contextmanager
def log_to_stderr(form: str) -> Iterator[None]:
    """Write the log to standard error, as `text` or `json`, until the end of the block."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(form))
    handler.addFilter(_without_words_of_plugins)
    root, ours = logging.getLogger(), logging.getLogger("captep")
    level_before = ours.level
    hooks_before = (
        warnings.showwarning,
        threading.excepthook,
        sys.unraisablehook,
        logging.raiseExceptions,
    )
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    warnings.showwarning = _Warnings().show
    threading.excepthook = _thread_ended
    sys.unraisablehook = _unraisable
    # A record with wrong arguments would print a traceback between the lines.
    logging.raiseExceptions = False
    try:
        yield
    except (CaptepError, InputError, UsageError):
        raise
    except Exception as error:
        if form != "json":
            raise
        # Python would print a traceback, and no line of it is JSON.
        _log.error("ended by a fault of this program: %s", described(error))
        raise SystemExit(1) from None
    finally:
        (
            warnings.showwarning,
            threading.excepthook,
            sys.unraisablehook,
            logging.raiseExceptions,
        ) = hooks_before
        ours.setLevel(level_before)
        root.removeHandler(handler)


def error_line(form: str, message: str) -> str:
    """Return the line of an error that ends the process, in the format of the log."""
    record = _log.makeRecord(_log.name, logging.ERROR, "", 0, message, (), None)
    return _formatter(form).format(record)


def _formatter(form: str) -> logging.Formatter:
    return JSONFormatter() if form == "json" else TextFormatter()


class _Warnings:
    """Logs each warning once."""

    def __init__(self) -> None:
        self._seen: set[tuple[type[Warning], str]] = set()

    def show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,  # noqa: ARG002 - the signature of warnings.showwarning
        lineno: int,  # noqa: ARG002
        file: TextIO | None = None,  # noqa: ARG002
        line: str | None = None,  # noqa: ARG002
    ) -> None:
        """Log a warning, unless the same one was logged before."""
        known = (category, str(message))
        if known not in self._seen:
            self._seen.add(known)
            _warnings.warning("%s: %s", category.__name__, message)


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "a thread"
    if isinstance(args.exc_value, Exception):
        _log.error("the thread %s ended: %s", name, described(args.exc_value))


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    if isinstance(args.exc_value, Exception):
        _log.error("a finalizer failed: %s", described(args.exc_value))


def _without_words_of_plugins(record: logging.LogRecord) -> bool:
    """Replace the text of a record that the client's loader of kubeconfigs logs."""
    is_foreign = record.name.partition(".")[0] != "captep"
    if is_foreign and "/kubernetes/config/" in record.pathname:
        record.msg = "the client's loader of the kubeconfig reports a problem"
        record.args = None
        record.exc_info = None
    return True
