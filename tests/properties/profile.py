"""How many examples a property tries, and the proof that its interesting cases are among them."""

import os
from collections.abc import Callable
from typing import Final, TypeVar

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["SCALE", "examples", "reaches"]

T = TypeVar("T")

SCALE: Final = int(os.environ.get("CAPTEP_EXAMPLES_SCALE", "1"))


def examples(count: int) -> settings:
    """So many examples, times the scale; the same ones each time unless a long run is asked for."""
    return settings(
        max_examples=count * SCALE,
        deadline=None,
        derandomize=SCALE == 1,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def reaches(worlds: SearchStrategy[T], holds: Callable[[T], bool], *, within: int = 2000) -> T:
    """Find an example for which a condition holds.

    Raises:
        hypothesis.errors.NoSuchExample: no example among `within` has it: the property is vacuous.
    """
    return find(
        worlds,
        holds,
        settings=settings(examples(within), max_examples=within, phases=[Phase.generate]),
    )
