"""What can go wrong with one write, as data: how often it arrives and what its sender sees."""

from typing import Final

from attrs import frozen

__all__ = ["ALL_FAULTS", "NO_FAULT", "TYPICAL_FAULTS", "Fault"]


@frozen
class Fault:
    """One way in which a write fails.

    `deliveries`: how often it arrives at the server. `status`: what the sender is told, None for what the server answers.
    `crashes`: the sender is gone before it is told anything, and all that it remembered. `touched`: somebody changes the object just
    before. `lingers`: the write stays on its way and may arrive at any later moment, or never.
    """

    name: str
    deliveries: int = 0
    status: int | None = None
    crashes: bool = False
    touched: bool = False
    lingers: bool = False


NO_FAULT: Final = Fault("", 1)
_CRASHES: Final = (Fault("crash before", crashes=True), Fault("crash after", 1, crashes=True))
_UNKNOWN: Final = (Fault("lost request", status=504), Fault("lost response", 1, 504))
_CONFLICT: Final = Fault("conflict", 1, touched=True)

TYPICAL_FAULTS: Final = (
    *_CRASHES,
    *_UNKNOWN,
    _CONFLICT,
    Fault("late", status=504, lingers=True),
    Fault("refused with 403", status=403),
)
"""F1, F2, F3, F4, F7, F6 and F18: each kind of outcome once. For `explore`."""

ALL_FAULTS: Final = (
    *_CRASHES,
    *_UNKNOWN,
    Fault("delivered twice", 2),
    _CONFLICT,
    *(Fault(f"refused with {status}", status=status) for status in (403, 422, 429, 500, 503, 504)),
)
"""F1 to F5, F7, F17 and F18. For `sweep`."""
