"""Quantities in the canonical form of `resource.Quantity`: 1000m is 1, 1024Mi is 1Gi."""

import re
from fractions import Fraction
from functools import lru_cache

__all__ = ["amount", "canonical"]

_FORM = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"": 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
# Beyond it the real server rounds.
_LARGEST = 1 << 63


@lru_cache(maxsize=1024)
def canonical(text: str) -> str | None:
    """Return the canonical form of a quantity, None for one without a model.

    Exponents, values beyond int64 and values with digits below 1n have no model.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    value = _scaled(found[2], found[3])
    if value >= _LARGEST:
        return None
    is_binary = found[3] in _BINARY and found[3] != ""
    if is_binary and value.denominator == 1:
        written = _written(value, {name: Fraction(2) ** power for name, power in _BINARY.items()})
    else:
        written = _written(value, {name: Fraction(10) ** power for name, power in _DECIMAL.items()})
    return f"-{written}" if written and value and found[1] == "-" else written


@lru_cache(maxsize=1024)
def amount(text: str) -> Fraction:
    """Return the value of a quantity in canonical form."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"a quantity is not in canonical form: {text}")
    value = _scaled(found[2], found[3])
    return -value if found[1] == "-" else value


def _scaled(digits: str, suffix: str) -> Fraction:
    is_binary = suffix in _BINARY and suffix != ""
    return Fraction(digits) * (
        2 ** _BINARY[suffix] if is_binary else Fraction(10) ** _DECIMAL[suffix]
    )


def _written(value: Fraction, units: dict[str, Fraction]) -> str | None:
    """Return the value with the largest unit of which it is a whole multiple."""
    if value == 0:
        return "0"
    for name, unit in sorted(units.items(), key=lambda item: -item[1]):
        multiple = value / unit
        if multiple.denominator == 1:
            return f"{multiple.numerator}{name}"
    return None
