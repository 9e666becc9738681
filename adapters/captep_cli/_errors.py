"""What ends a command with status 1."""

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "one_line", "suggestion"]


class InputError(Exception):
    """What was given cannot be worked with; the message says what, where and what was expected, never a value of a Secret."""


def one_line(text: str) -> str:
    """Return `text` as one line that a terminal shows as it is: whitespace folded, other characters that do not print escaped."""
    folded = " ".join(text.split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in folded)


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return `, did you mean X?` for the closest of `known`, or nothing."""
    close = difflib.get_close_matches(given, sorted(known), n=1)
    return f", did you mean {close[0]}?" if close else ""
