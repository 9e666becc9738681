"""Results of a run of the kit.

The properties that fail, the shortest trace to each, and the bounds that the run covered.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from attrs import field, frozen

from captep_memory import World
from captep_show import Run, Sent, Step, changes, masked, named, page, write_file
from captep_testing._changes import shown

__all__ = ["Counterexample", "Report", "TraceStep", "Violation", "cycle_of", "kept", "waivers"]


@frozen
class Violation:
    """One property that does not hold.

    `property` is its id (P1, F24, ...; see `docs/properties.md`), `message` what the kit saw
    instead. The message never holds a value of a Secret.
    """

    property: str
    message: str


def kept(waive: Mapping[str, str], violations: Iterable[Violation]) -> Iterator[Violation]:
    """Drop the violations of waived properties."""
    return (violation for violation in violations if violation.property not in waive)


def waivers(waive: Mapping[str, str]) -> str:
    """Return the part of a scope that names the waived properties with their reasons."""
    return "".join(f"; waived {name}: {reason}" for name, reason in sorted(waive.items()))


@frozen
class TraceStep:
    """One line of a trace: what happened, the HTTP status of the answer, and why.

    `before` and `after` are the worlds around the step.
    """

    label: str
    before: World = field(repr=False)
    after: World = field(repr=False)
    status: int | None = None
    reason: str = ""

    @property
    def changes(self) -> tuple[str, ...]:
        """The fields that changed, object by object, without values."""
        # Most steps are never printed, and a difference costs as much as a pass.
        return tuple(shown(self.before, self.after))

    def __str__(self) -> str:
        status = "" if self.status is None else f"  {self.status}"
        changes = f"   {'; '.join(self.changes)}" if self.changes else ""
        reason = f"   because: {self.reason}" if self.reason else ""
        return f"{self.label}{status}{changes}{reason}"


@frozen
class Counterexample:
    """A violation and the trace that leads to it.

    `world` is the index of the first world in `Kit.worlds`, `named` its name. `steps` is the trace;
    `after` is what the loop did once the faults had stopped. `labels` is the trace as `replay`
    takes it, empty when `explore` did not find it.
    """

    violation: Violation
    world: int
    steps: tuple[TraceStep, ...] = ()
    after: tuple[TraceStep, ...] = ()
    labels: tuple[str, ...] = ()
    replay: str = ""
    named: str = ""
    instances: int = 1

    @property
    def property(self) -> str:
        """The id of the property that does not hold."""
        return self.violation.property

    def __str__(self) -> str:
        lines = [
            f"{self.property}: {self.violation.message}",
            f"  in {self.named or f'worlds[{self.world}]'}",
        ]
        lines += [f"{number:>4} {step}" for number, step in enumerate(self.steps, 1)]
        if self.after:
            lines += ["  then, without faults:", *(f"     {step}" for step in self.after)]
        if self.replay:
            lines.append(f"  replay: {self.replay}")
        return "\n".join(lines)

    def html(self, file: str | Path) -> None:
        """Write the trace as a page for a browser: each step with the fields that it changed.

        Values of Secrets are masked.

        Raises:
            OSError: the file cannot be written.
        """
        write_file(Path(file), page(self.run()))

    def run(self) -> Run:
        """Return the trace as a page shows it."""
        # A trace with labels is a search's, and what it repeats is the search's choice.
        repeats = cycle_of(self.after if self.labels else self.steps)
        last = len(self.steps) + len(self.after) - 1
        return Run(
            self.property,
            f"in {self.named or f'worlds[{self.world}]'}",
            (*map(_shown, self.steps), *(_shown(each, "without faults: ") for each in self.after)),
            f"{self.property}: {self.violation.message}",
            (last - repeats + 1, last) if repeats else None,
        )

    def as_test(self, *, kit: str = "kit") -> str:
        """Return a pytest function that fails as long as the trace leads to the violation.

        `kit` is the expression for the kit in the module that holds the test. The text is empty
        when `explore` did not find the counterexample.
        """
        if not self.labels:
            return ""
        words = re.findall(r"[a-z0-9]+", self.property.lower())
        steps = "".join(f"        {label!r},\n" for label in self.labels)
        more = f", world={self.world}" if self.world else ""
        more += f", instances={self.instances}" if self.instances > 1 else ""
        return (
            f"def test_{'_'.join(words)}_holds_after_{len(self.labels)}_steps() -> None:\n"
            f'    """{self.property}: {self.violation.message}."""\n'
            f"    trace = [\n{steps}    ]\n"
            f"    replay({kit}, trace{more}).require()\n"
        )


def cycle_of(steps: Sequence[TraceStep]) -> int:
    """Return the number of steps that repeat at the end of a trace, 0 when none do."""
    labels = [(step.label, step.status) for step in steps]
    lengths = range(1, len(labels) // 2 + 1)
    return next((n for n in lengths if labels[-n:] == labels[-2 * n : -n]), 0)


def _shown(step: TraceStep, before: str = "") -> Step:
    made = changes(named(step.before.objects(), masked), named(step.after.objects(), masked))
    return Step(
        f"{before}{step.label}",
        sent=()
        if step.status is None
        else (Sent("", step.label, step.status, bool(made), step.reason),),
        changes=made,
    )


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
    code: str = ""

    @property
    def certificate(self) -> str:
        """One line for the record: what the run covered, and the hash of the code under test.

        It is empty when the report does not hold.
        """
        return f"{self}; code sha256:{self.code}" if self.holds else ""

    def as_test(self, *, kit: str = "kit") -> str:
        """Return pytest functions that replay the counterexamples; see `Counterexample.as_test`."""
        return "\n\n".join(filter(None, (each.as_test(kit=kit) for each in self.counterexamples)))

    def html(self, file: str | Path) -> None:
        """Write the first counterexample as a page; see `Counterexample.html`.

        A report without one is a page that says what the run covered.

        Raises:
            OSError: the file cannot be written.
        """
        if self.counterexamples:
            self.counterexamples[0].html(file)
        else:
            write_file(Path(file), page(Run("no counterexample", str(self), ())))

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
