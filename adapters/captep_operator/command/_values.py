"""The values of flags: from their text to what it means."""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from captep_operator._shard import Shard
from captep_operator.command._errors import suggestion

__all__ = [
    "Named",
    "address",
    "count_from",
    "lease_name",
    "namespace",
    "object_name",
    "place",
    "place_or_name",
    "refusal",
    "shard",
    "time",
    "unreadable",
]

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_VERBS: Final = ("create", "patch", "delete", "apply", "event")
# A simulation's clock advances from here; datetime ends with the year 9999.
_YEARS: Final = range(1970, 9000)


@frozen
class Named:
    """An object as a flag names it; without a `group` the kind of any group."""

    kind: str
    namespace: str | None
    name: str
    group: str | None = None

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


def place(text: str) -> tuple[str, str]:
    """Read NS/NAME."""
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"expected NS/NAME, not {text!r}")
    return namespace, name


def place_or_name(text: str) -> tuple[str | None, str]:
    """Read NS/NAME, or NAME for a cluster-scoped object."""
    return (None, text) if text and "/" not in text else place(text)


def namespace(text: str) -> str:
    """Read the name of a namespace."""
    if not re.fullmatch(_LABEL, text):
        raise argparse.ArgumentTypeError(
            f"expected the name of a namespace (lower case letters, digits and -), not {text!r}"
        )
    return text


def lease_name(text: str) -> str:
    """Read the name of a Lease."""
    if not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text) or len(text) > 253:
        raise argparse.ArgumentTypeError(
            f"expected a name for the Lease (lower case letters, digits, - and .), not {text!r}"
        )
    return text


def shard(text: str) -> Shard:
    """Read I/N."""
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def time(text: str) -> datetime:
    """Read an RFC 3339 time, in UTC."""
    problem = argparse.ArgumentTypeError(
        f"expected an RFC 3339 time such as 2026-01-01T00:00:00Z, not {text!r}"
    )
    if not (text.isascii() and _TIME.fullmatch(text)):
        raise problem
    try:
        read = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise problem from None
    if read.year not in _YEARS:
        raise argparse.ArgumentTypeError(
            f"expected a time from {_YEARS.start} to {_YEARS.stop - 1}, not {text!r}"
        )
    return read


def object_name(text: str) -> Named:
    """Read KIND/NS/NAME or KIND.GROUP/NS/NAME; a cluster-scoped object has an empty NS."""
    parts = text.split("/")
    if len(parts) != 3 or not parts[0] or not parts[2] or parts[0].startswith("."):
        raise argparse.ArgumentTypeError(
            f"expected KIND/NS/NAME (an empty NS for a cluster-scoped object), not {text!r}"
        )
    kind, dot, group = parts[0].partition(".")
    if dot and not group:
        raise argparse.ArgumentTypeError(f"expected KIND.GROUP/NS/NAME, not {text!r}")
    return Named(kind, parts[1] or None, parts[2], group or None)


def unreadable(text: str) -> tuple[Named, str]:
    """Read KIND/NS/NAME=REASON."""
    what, _, reason = text.rpartition("=")
    if not (reason.isascii() and _REASON.fullmatch(reason)):
        raise argparse.ArgumentTypeError(
            f"expected KIND/NS/NAME=REASON with a reason such as Forbidden, not {text!r}"
        )
    return object_name(what), reason


def refusal(text: str) -> tuple[str, Named, int]:
    """Read VERB:KIND/NS/NAME=STATUS."""
    verb, colon, rest = text.partition(":")
    if not colon or verb not in _VERBS:
        raise argparse.ArgumentTypeError(
            f"expected VERB:KIND/NS/NAME=STATUS with {', '.join(_VERBS)}"
            f"{suggestion(verb, _VERBS)}, not {text!r}"
        )
    what, _, status = rest.rpartition("=")
    if not (re.fullmatch(r"[45][0-9]{2}", status) and what):
        raise argparse.ArgumentTypeError(
            f"expected VERB:KIND/NS/NAME=STATUS with a status from 400 to 599, not {text!r}"
        )
    return verb, object_name(what), int(status)


def count_from(least: int) -> Callable[[str], int]:
    """Return a function that reads a whole number of `least` or more."""

    def count(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of {least} or more, not {text!r}"
            )
        return int(text)

    return count


def address(text: str) -> str:
    """Read HOST:PORT, or 0 for no address."""
    from captep_runtime import parse_bind_address  # noqa: PLC0415 - only `run` needs it

    try:
        parse_bind_address(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return text
