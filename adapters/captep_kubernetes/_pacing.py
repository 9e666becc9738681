"""When to try again: exponential, with jitter, never more often than once in `base`."""

from collections.abc import Callable

from attrs import field, frozen, validators

__all__ = ["Pacing"]


@frozen
class Pacing:
    """Delays in seconds: none before the first try, then `base`, doubled each time up to `cap`, each stretched by up to `jitter`.

    A delay counts from the answer to the try before. `jitter` is a fraction. A connection that lived for `good_after` seconds starts the
    count again. `cap` is short because a try that fails costs next to nothing, and all that waits for the server waits for it.
    """

    base: float = field(default=1.0, validator=validators.gt(0))
    cap: float = field(default=3.0, validator=validators.gt(0))
    jitter: float = field(default=0.2, validator=validators.ge(0))
    good_after: float = field(default=10.0, validator=validators.ge(0))

    def delay(self, tries: int, random: Callable[[], float]) -> float:
        """Return how long to wait after `tries` tries in a row; `random` returns a number in [0, 1)."""
        if tries == 0:
            return 0.0
        return float(min(self.cap, self.base * (1 << min(tries - 1, 30)))) * (
            1 + self.jitter * random()
        )
