"""Numbers as the API server reads them from JSON, and as Go prints them.

The server keeps an integer of 64 bits as such and every other number as a float of 64 bits. It
prints a float without a fraction as an integer, so that 1.0 and 1e3 come back as 1 and 1000.
"""

import math
import struct
from decimal import Decimal
from typing import Final

__all__ = ["NotFiniteError", "float_text", "go_float32", "integer_text", "json_number"]

_INT64: Final = range(-(2**63), 2**63)
_EXPONENT_FROM: Final = 1e21
"""Go prints smaller floats without an exponent, and the server then reads an integer."""
_INT64_DIGITS: Final = 19
_KEY_EXPONENT_FROM: Final = 6
"""The power of ten from which Go's format 'g' has an exponent."""


class NotFiniteError(ValueError):
    """A number beyond every float, infinite, or not a number: JSON has no such value."""


def json_number(number: float) -> int | float:
    """Return the value of a number after it went through the server.

    Raises:
        NotFiniteError: JSON cannot express it.
    """
    if isinstance(number, int):
        return number if number in _INT64 else json_number(_float(number))
    if not math.isfinite(number):
        raise NotFiniteError(number)
    if number.is_integer() and abs(number) < _EXPONENT_FROM:
        # Not int(number): Go prints the shortest digits and fills up with zeros.
        return int(Decimal(repr(number)))
    return number


def integer_text(text: str) -> int | float:
    """Return the value of an integer in JSON text, for `json`'s `parse_int`."""
    # Python refuses to convert thousands of digits, and no such number is an int64.
    if len(text) > _INT64_DIGITS + 1:
        return float_text(text)
    return json_number(int(text))


def float_text(text: str) -> int | float:
    """Return the value of a number in JSON text, for `json`'s `parse_float`."""
    return json_number(float(text))


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        raise NotFiniteError(number) from None


def go_float32(value: float) -> str:
    """Return a float as Go's `FormatFloat(value, 'g', -1, 32)`; sigs.k8s.io/yaml does so for keys.

    It is the shortest decimal that rounds to the same float of 32 bits, with an exponent below
    1e-4 and from 1e6 on.
    """
    if math.isnan(value):
        return ".nan"
    try:
        (narrow,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        narrow = math.copysign(math.inf, value)
    if math.isinf(narrow):
        return ".inf" if narrow > 0 else "-.inf"
    text = next(
        text
        for text in (f"{narrow:.{digits}e}" for digits in range(9))
        if struct.pack("f", float(text)) == struct.pack("f", narrow)
    )
    mantissa, _, exponent = text.partition("e")
    power = int(exponent)
    if -4 <= power < _KEY_EXPONENT_FROM:
        digits = len(mantissa.lstrip("-").replace(".", ""))
        return f"{narrow:.{max(0, digits - 1 - power)}f}"
    return f"{mantissa}e{power:+03d}"
