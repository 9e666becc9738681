"""Ages and durations as kubectl shows them."""

from datetime import datetime, timedelta
from typing import Final

from captep_core._objects import instant
from captep_memory._json import Value

__all__ = ["human_duration", "since"]

_DURATIONS: Final = (
    # Below a bound, the age shows two units, then the larger one alone.
    (timedelta(minutes=2), None, "s"),
    (timedelta(minutes=10), "s", "m"),
    (timedelta(hours=3), None, "m"),
    (timedelta(hours=8), "m", "h"),
    (timedelta(hours=48), None, "h"),
    (timedelta(days=8), "h", "d"),
    (timedelta(days=730), None, "d"),
    (timedelta(days=2920), "d", "y"),
)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}


def since(text: Value, now: datetime) -> str:
    """Return how long ago a moment was; `<unknown>` for none."""
    if text in (None, ""):
        return "<unknown>"
    at = instant(text) if isinstance(text, str) else None
    return "<invalid>" if at is None else human_duration(now - at)


def human_duration(age: timedelta) -> str:
    """Return a duration as kubectl shows it: 5s, 3m20s, 43h, 2d4h."""
    seconds = int(age.total_seconds())
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    for bound, rest, unit in _DURATIONS:
        if seconds < bound.total_seconds():
            return _shown(seconds, unit, rest)
    return f"{seconds // _SECONDS['y']}y"


def _shown(seconds: int, unit: str, rest: str | None) -> str:
    whole, left = divmod(seconds, _SECONDS[unit])
    more = left // _SECONDS[rest] if rest else 0
    return f"{whole}{unit}{more}{rest}" if more else f"{whole}{unit}"
