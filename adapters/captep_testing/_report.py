"""What the kit found: findings with the shortest way to them, and the bounds within which it looked."""

from collections.abc import Mapping
from typing import Self

from attrs import field, frozen

__all__ = ["Finding", "Report", "Step", "Violation"]


@frozen
class Finding:
    """A property that does not hold, by its id, and what was seen instead. Never holds a value of a Secret."""

    property: str
    what: str


@frozen
class Step:
    """One line of a trace: what happened, the HTTP status it was answered with, and which fields changed by it."""

    label: str
    status: int | None = None
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        status = "" if self.status is None else f"  {self.status}"
        return f"{self.label}{status}" + (f"   {'; '.join(self.changes)}" if self.changes else "")


@frozen
class Violation:
    """A finding and the way to it.

    `world` is the place of the first world among those of the kit, `steps` what happened then, `after` what followed when the faults
    had stopped. `labels`: what `Kit.replay` takes to go the way again; empty when it was not found by `Kit.explore`.
    """

    finding: Finding
    world: int
    steps: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    labels: tuple[str, ...] = ()
    replay: str = ""

    @property
    def property(self) -> str:
        """The id of the property."""
        return self.finding.property

    def __str__(self) -> str:
        lines = [f"{self.property}: {self.finding.what}", f"  in worlds[{self.world}]"]
        lines += [f"{number:>4} {step}" for number, step in enumerate(self.steps, 1)]
        if self.after:
            lines += ["  then, without faults:", *(f"     {step}" for step in self.after)]
        if self.replay:
            lines.append(f"  replay: {self.replay}")
        return "\n".join(lines)


@frozen
class Report:
    """What one run of the kit looked at and found.

    `scope` says what was looked at, with its bounds. `exhausted` is False when a limit ended the search before its bounds did.
    `counts`: how often what happened. `missing`: what had to happen at least once and did not (K1).
    """

    scope: str
    violations: tuple[Violation, ...] = ()
    exhausted: bool = True
    states: int = 0
    edges: int = 0
    counts: Mapping[str, int] = field(factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing was found, everything within the bounds was looked at, and nothing that had to happen is missing."""
        return not self.violations and self.exhausted and not self.missing

    @property
    def properties(self) -> frozenset[str]:
        """The ids of the properties that do not hold."""
        return frozenset(violation.property for violation in self.violations)

    def require(self) -> Self:
        """Return the report itself when everything holds.

        Raises:
            AssertionError: it does not; the message is the report.
        """
        if not self.holds:
            raise AssertionError(f"\n{self}")
        return self

    def __str__(self) -> str:
        lines = [f"{'exhausted' if self.exhausted else 'TRUNCATED'} {self.scope}"]
        lines += [f"never happened (K1): {', '.join(self.missing)}"] * bool(self.missing)
        return "\n".join([*lines, *map(str, self.violations)])
