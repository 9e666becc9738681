"""The ways in which one write can fail, as data: how often it arrives, and what its sender sees."""

from typing import Final

from attrs import frozen

__all__ = ["ALL_FAULTS", "HTTP_FAULTS", "NO_FAULT", "TYPICAL_FAULTS", "WriteFault"]


@frozen
class WriteFault:
    """One way in which a write fails.

    `deliveries`: how often the write arrives at the server. `status`: the HTTP status that the
    sender sees, None for the server's own answer. `crashes`: the sender dies before it sees an
    answer and loses its memory. `touched`: another actor changes the object just before the write
    arrives.
    `lingers`: the write stays in flight and may arrive at any later moment, or never.
    `drops`: the connection breaks in place of an answer; a pure function sees `status`.
    """

    name: str
    deliveries: int = 0
    status: int | None = None
    crashes: bool = False
    touched: bool = False
    lingers: bool = False
    drops: bool = False


NO_FAULT: Final = WriteFault("", 1)
_CRASHES: Final = (
    WriteFault("crash before", crashes=True),
    WriteFault("crash after", 1, crashes=True),
)
_UNKNOWN: Final = (
    WriteFault("lost request", status=504),
    WriteFault("lost response", 1, 504),
)
_CONFLICT: Final = WriteFault("conflict", 1, touched=True)

TYPICAL_FAULTS: Final = (
    *_CRASHES,
    *_UNKNOWN,
    _CONFLICT,
    WriteFault("late", status=504, lingers=True),
    WriteFault("refused with 403", status=403),
)
"""F1, F2, F3, F4, F7, F6 and F18: each kind of outcome once. The default of `explore`."""

ALL_FAULTS: Final = (
    *_CRASHES,
    *_UNKNOWN,
    WriteFault("delivered twice", 2),
    _CONFLICT,
    *(
        WriteFault(f"refused with {status}", status=status)
        for status in (403, 422, 429, 500, 503, 504)
    ),
)
"""F1 to F5, F7, F17 and F18. The default of `sweep`."""

HTTP_FAULTS: Final = (
    *_CRASHES,
    WriteFault("connection dropped before", status=504, drops=True),
    WriteFault("connection dropped after", 1, 504, drops=True),
    WriteFault("delivered twice", 2),
    _CONFLICT,
    *(WriteFault(f"{status} after it was applied", 1, status) for status in (500, 504)),
    *(
        WriteFault(f"refused with {status}", status=status)
        for status in (403, 409, 422, 429, 500, 503)
    ),
)
"""F1 to F5, F7, F17 and F18 as a client sees them over HTTP. The default of `process.trial`."""
