"""From how many requests on a rule speaks, each limit with its reason.

They are chosen so that a controller that follows its watches stays under them by a wide margin,
however busy its objects are.
"""

from typing import Final

__all__ = [
    "CONFLICTS",
    "FLIPS",
    "HOT_BURST",
    "HOT_RATE",
    "HOT_READS",
    "LISTS",
    "NO_EFFECT",
    "READS_PER_CHANGE",
    "REPEATS",
    "UNSETTLED",
]

HOT_BURST: Final = (12, 10.0)
"""Writes of one object within seconds. A creation with all its reports has half as many."""
HOT_RATE: Final = (30, 60.0)
"""The same for a slower loop: one write each two seconds for a minute."""
HOT_READS: Final = (60, 60.0)
"""Reads of one object within seconds: a controller with a cache reads each object once."""
NO_EFFECT: Final = 3
"""Writes of one object that changed nothing. One or two are a cache that lagged behind."""
REPEATS: Final = (3, 900.0)
"""The same body, sent so often within a quarter of an hour, does not last."""
FLIPS: Final = (3, 900.0)
"""A field that managers set back so often within a quarter of an hour is fought about."""
UNSETTLED: Final = 10
"""Writes of one object that still go on at the end of the log."""
READS_PER_CHANGE: Final = (100, 5.0)
"""From so many reads on, so many for each change of the log are polling: a watch needs none."""
LISTS: Final = (6, 60.0)
"""Lists of one collection within seconds: an informer lists once and then watches."""
CONFLICTS: Final = (5, 0.05)
"""From so many conflicts on, more than this share of the writes is a lost race."""
