"""The requests of one actor, counted."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from attrs import define, field

__all__ = ["Tally"]


@define
class Tally:
    """The requests of one actor."""

    verbs: Counter[str] = field(factory=Counter)
    writes: int = 0
    effective: int = 0
    without_effect: int = 0
    unknown: int = 0
    refused: int = 0
    conflicts: int = 0
    reads: int = 0
    deletes_without_preconditions: int = 0

    def count(self, verb: str, code: int, *, effect: bool | None) -> None:
        """Count a write; `effect` is None where the log does not show it."""
        self.verbs[verb] += 1
        self.writes += 1
        if code >= 300:
            self.refused += 1
            # A create that finds its object there lost no race: it did not look.
            self.conflicts += code == 409 and verb != "create"
        elif effect is None:
            self.unknown += 1
        elif effect:
            self.effective += 1
        else:
            self.without_effect += 1

    def figures(self, changes: int) -> Mapping[str, Any]:
        """Return the figures as JSON; `changes` are those of the whole log."""
        return {
            "requests": dict(sorted(self.verbs.items())),
            "writes": self.writes,
            "effective": self.effective,
            "without_effect": self.without_effect,
            "unknown_effect": self.unknown,
            "refused": self.refused,
            "conflicts": self.conflicts,
            "conflicts_per_write": round(self.conflicts / self.writes, 4) if self.writes else 0,
            "reads": self.reads,
            "reads_per_change": round(self.reads / max(1, changes), 2),
            "deletes_without_preconditions": self.deletes_without_preconditions,
        }
