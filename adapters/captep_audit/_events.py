"""Reads the events of audit logs: plain or gzip, rotated files in any order, a cut last line.

Rules of this module:

1. A file is a stream: one line is in memory at a time, however many gigabytes there are.
2. The first lines decide whether a file is an audit log. Later lines that are no events are counted
   and skipped, since a server that crashes leaves half a line behind.
3. An error or a note never quotes a line: it may hold a Secret.
"""

import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from attrs import define, field

__all__ = ["AuditLogError", "Event", "Log", "read_events"]

Event: TypeAlias = dict[str, Any]
"""An event of audit.k8s.io as the API server writes it."""

_GZIP: Final = b"\x1f\x8b"
_RECEIVED: Final = b'"stage":"RequestReceived"'
_decode: Final = json.JSONDecoder().decode
_HEAD: Final = 400
"""The stage stands among the first fields of an event; a body behind it may quote anything."""


class AuditLogError(Exception):
    """A file is missing or no audit log; the message names it."""


@define
class Log:
    """The events that were read, their files in order, and the lines that are no events."""

    files: list[str] = field(factory=list)
    events: int = 0
    broken_lines: int = 0
    is_cut: bool = False


def read_events(files: Iterable[str], log: Log) -> Iterator[Event]:
    """Yield the events of all files in the order of time, and fill `log`.

    Rotated files may come in any order: the first event of each decides. `-` is standard input.

    Raises:
        AuditLogError: a file is missing or unreadable, or no audit log, or no file has an event.
    """
    starts = [(_first_time(name), number, name) for number, name in enumerate(files)]
    for _, _, name in sorted(starts):
        log.files.append(name)
        try:
            yield from _events(name, log)
        except (OSError, EOFError) as error:
            # A file that is being compressed ends in the middle.
            if log.events == 0:
                raise AuditLogError(f"{name}: cannot be read: {_reason(error)}") from None
            log.is_cut = True
    if log.events == 0:
        raise AuditLogError(f"{', '.join(log.files)}: no event; expected an audit log")


def _first_time(name: str) -> str:
    """Return the time of the first event of a file, empty for a file without any."""
    if name == "-":
        return ""
    try:
        with _opened(name) as lines:
            for line in lines:
                if line.strip():
                    return _time(_first_event(line, name))
    except (OSError, EOFError) as error:
        raise AuditLogError(f"{name}: cannot be read: {_reason(error)}") from None
    return ""


def _first_event(line: bytes, name: str) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    events = list(_unfolded(event))
    if not events:
        raise AuditLogError(
            f"{name}: no audit log of a Kubernetes API server; expected a JSON object of"
            " audit.k8s.io/v1 on each line"
        )
    return events[0]


def _time(event: Event) -> str:
    return str(event.get("stageTimestamp") or event.get("requestReceivedTimestamp") or "")


def _events(name: str, log: Log) -> Iterator[Event]:
    is_first = True
    line = b""
    with _opened(name) as lines:
        for line in lines:
            # A request is judged by its answer; its arrival is half of the lines of some policies.
            if _RECEIVED in line[:_HEAD] or not line.strip():
                continue
            if is_first:
                _first_event(line, name)
                is_first = False
            try:
                found = _decode(line.decode("utf-8", "replace"))
            except ValueError:
                found = None
            # Nearly every line; the way below costs as much as a third of its parsing.
            if type(found) is dict and found.get("kind") == "Event" and _is_audit(found):
                log.events += 1
                yield found
                continue
            before = log.events
            for event in _unfolded(found):
                log.events += 1
                yield event
            if log.events == before and not _is_list(found):
                log.broken_lines += 1
                log.is_cut = not line.endswith(b"\n")
                log.broken_lines -= log.is_cut


def _is_list(found: object) -> bool:
    return isinstance(found, dict) and found.get("kind") == "EventList"


def _is_audit(found: Event) -> bool:
    return str(found.get("apiVersion", "")).startswith("audit.k8s.io/")


def _unfolded(found: object) -> Iterator[Event]:
    """Yield the events of a line: one, or the items of a list as webhooks receive it."""
    if not isinstance(found, dict):
        return
    if _is_audit(found):
        if found.get("kind") == "Event":
            yield found
        elif found.get("kind") == "EventList":
            yield from (item for item in found.get("items") or () if isinstance(item, dict))


@contextmanager
def _opened(name: str) -> Iterator[Iterable[bytes]]:
    """Open a file, or standard input, and unpack it if its content is gzip."""
    if name == "-":
        yield _unpacked(sys.stdin.buffer)
        return
    with Path(name).open("rb") as file:
        yield _unpacked(file)


def _unpacked(file: BinaryIO) -> Iterable[bytes]:
    """Return the lines of a file, unpacked if it is gzip."""
    if isinstance(file, io.BufferedReader) and file.peek(2)[:2] == _GZIP:
        return gzip.open(file)
    return file


def _reason(error: OSError | EOFError) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
