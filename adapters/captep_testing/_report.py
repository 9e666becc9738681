"""Results of a run of the kit.

The properties that fail, the shortest trace to each, and the bounds that the run covered.
"""

from collections.abc import Mapping
from typing import Self

from attrs import field, frozen

__all__ = ["Counterexample", "Report", "TraceStep", "Violation"]


@frozen
class Violation:
    """One property that does not hold.

    `property` is its id (P1, F24, ...; see `docs/properties.md`), `message` what the kit saw
    instead. The message never holds a value of a Secret.
    """

    property: str
    message: str


@frozen
class TraceStep:
    """One line of a trace: what happened, the HTTP status of the answer, and the fields that
    changed.
    """

    label: str
    status: int | None = None
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        status = "" if self.status is None else f"  {self.status}"
        changes = f"   {'; '.join(self.changes)}" if self.changes else ""
        return f"{self.label}{status}{changes}"


@frozen
class Counterexample:
    """A violation and the trace that leads to it.

    `world` is the index of the first world in `Kit.worlds`. `steps` is the trace; `after` is what
    the loop did once the faults had stopped. `labels` is the trace as `replay` takes it, empty when
    `explore` did not find it.
    """

    violation: Violation
    world: int
    steps: tuple[TraceStep, ...] = ()
    after: tuple[TraceStep, ...] = ()
    labels: tuple[str, ...] = ()
    replay: str = ""

    @property
    def property(self) -> str:
        """The id of the property that does not hold."""
        return self.violation.property

    def __str__(self) -> str:
        lines = [f"{self.property}: {self.violation.message}", f"  in worlds[{self.world}]"]
        lines += [f"{number:>4} {step}" for number, step in enumerate(self.steps, 1)]
        if self.after:
            lines += ["  then, without faults:", *(f"     {step}" for step in self.after)]
        if self.replay:
            lines.append(f"  replay: {self.replay}")
        return "\n".join(lines)


@frozen
class Report:
    """The outcome of one run of the kit.

    `scope` names what the run covered, with its bounds. `exhausted` is False when a limit ended the
    search before its bounds did. `counts` says how often each kind of step occurred. `missing`
    names the declared events that never occurred (K1).
    """

    scope: str
    counterexamples: tuple[Counterexample, ...] = ()
    exhausted: bool = True
    states: int = 0
    edges: int = 0
    counts: Mapping[str, int] = field(factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every property held, the search covered its bounds, and no declared event is
        missing.
        """
        return not self.counterexamples and self.exhausted and not self.missing

    @property
    def properties(self) -> frozenset[str]:
        """The ids of the properties that do not hold."""
        return frozenset(found.property for found in self.counterexamples)

    def require(self) -> Self:
        """Return the report itself when everything holds.

        Raises:
            AssertionError: a property fails, a limit ended the search, or a declared event is
                missing; the message is the report.
        """
        if not self.holds:
            raise AssertionError(f"\n{self}")
        return self

    def __str__(self) -> str:
        lines = [f"{'exhausted' if self.exhausted else 'TRUNCATED'} {self.scope}"]
        if self.missing:
            lines.append(f"never happened (K1): {', '.join(self.missing)}")
        return "\n".join([*lines, *map(str, self.counterexamples)])
