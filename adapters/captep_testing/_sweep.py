"""L1: every world without a fault, with one fault at every write, and with one write refused for
ever.

- P12, P16, P23: whatever happens to one write, the loop comes to rest in a right world.
- P18: a fault makes the loop create or delete nothing more often than without it.
- P16: the loop retries a write that is refused for ever at most once an interval and reports it,
  unless the write is the report itself.
"""

from collections.abc import Iterable, Iterator

from attrs import evolve

from captep_core._actions import Action, ObjectRef, write_of
from captep_memory import World
from captep_testing._drive import Run, Strike, drive
from captep_testing._faults import ALL_FAULTS, NO_FAULT, WriteFault
from captep_testing._kit import Kit
from captep_testing._report import Counterexample, Report, Violation

__all__ = ["converge", "sweep"]

# RBAC and validation: the two refusals that no retry overcomes.
_PERMANENT = (403, 422)


def converge(kit: Kit) -> Report:
    """Run the loop to rest from each world of the kit (P1, P2, P2a, P3, P4a), and judge every
    write.
    """
    runs = [(place, drive(kit, world)) for place, world in enumerate(kit.worlds)]
    writes = sum(len(run.sent) for _, run in runs)
    slack = f", {kit.slack} above the minimum allowed" if kit.slack else ""
    scope = f"{len(runs)} worlds, {writes} writes{slack}"
    return Report(scope, _counterexamples(runs), states=len(runs), edges=writes)


def sweep(kit: Kit, faults: Iterable[WriteFault] = ALL_FAULTS) -> Report:
    """Repeat each of these runs with each fault at each write, and with each sort of write refused
    for ever.

    A world from which the loop fails to come to rest without faults is reported without trying
    faults.
    """
    kinds = tuple(faults)
    runs: list[tuple[int, Run]] = []
    for place, world in enumerate(kit.worlds):
        reference = drive(kit, world)
        if reference.violation:
            runs.append((place, reference))
            continue
        runs += [(place, run) for run in _struck(kit, world, reference, kinds)]
        runs += [(place, run) for run in _refused(kit, world, reference)]
    scope = f"{len(runs)} runs from {len(kit.worlds)} worlds, {len(kinds)} faults at each write"
    return Report(scope, _counterexamples(runs), states=len(runs))


def _counterexamples(runs: Iterable[tuple[int, Run]]) -> tuple[Counterexample, ...]:
    """Return one counterexample for each violation, the one with the fewest steps."""
    shortest: dict[Violation, Counterexample] = {}
    for place, run in runs:
        if run.violation is None:
            continue
        known = shortest.get(run.violation)
        if known is None or len(run.steps) < len(known.steps):
            shortest[run.violation] = Counterexample(run.violation, place, run.steps)
    return tuple(shortest.values())


def _struck(kit: Kit, world: World, reference: Run, faults: Iterable[WriteFault]) -> Iterator[Run]:
    for fault in faults:
        for place in range(len(reference.sent)):
            run = drive(kit, world, strike=_once(place, fault))
            yield run if run.violation else _compared(run, reference)


def _once(place: int, fault: WriteFault) -> Strike:
    return lambda sent, _: fault if sent == place else NO_FAULT


def _compared(run: Run, reference: Run) -> Run:
    """Judge P18: compare the creations and deletions with the reference."""
    more = run.counts() - reference.counts()
    needless = sorted(f"{verb} {target}" for verb, target in more if verb in ("create", "delete"))
    if not needless:
        return run
    return evolve(
        run, violation=Violation("P18", f"{needless[0]} more often than without the fault")
    )


def _refused(kit: Kit, world: World, reference: Run) -> Iterator[Run]:
    for sort in sorted({_sort(each.action) for each in reference.sent}):
        targets = {each.action.target for each in reference.sent if _sort(each.action) == sort}
        for status in _PERMANENT:
            fault = WriteFault(f"refused with {status}", status=status)
            run = drive(kit, world, strike=_always(sort, fault))
            violation = _retried(kit, run, reference, sort, targets)
            yield evolve(run, violation=violation or _unhealed(kit, run.world))


def _unhealed(kit: Kit, world: World) -> Violation | None:
    """Return how the loop fails to come to rest once the server accepts the write again."""
    # A strike, though it strikes nothing: P3 cannot be judged after a fault.
    found = drive(kit, world, strike=_once(-1, NO_FAULT)).violation
    return found and Violation(found.property, f"after a permanent refusal: {found.message}")


def _sort(action: Action) -> tuple[str, str]:
    write = write_of(action)
    return write.verb, f"{action.target.kind}{'/' + write.subresource if write.subresource else ''}"


def _always(sort: tuple[str, str], fault: WriteFault) -> Strike:
    return lambda _, action: fault if _sort(action) == sort else NO_FAULT


def _retried(
    kit: Kit, run: Run, reference: Run, sort: tuple[str, str], targets: set[ObjectRef]
) -> Violation | None:
    """Judge P16 for a run in which the server refuses all writes of one sort.

    Such a run need not come to rest.
    """
    if run.violation and run.violation.property not in ("P1", "P2"):
        return run.violation
    tried = [each.at_seconds for each in run.sent if _sort(each.action) == sort]
    allowed = len(targets) * (1 + int(max(tried, default=0) / run.error_interval.total_seconds()))
    if len(tried) > allowed:
        retries = f"tried {len(tried)} times where {allowed} are enough"
        return Violation("P16", f"{' '.join(sort)} is always refused and {retries}")
    silent = all(
        run.verdicts[key].reason == reference.verdicts[key].reason
        for key in kit.keys
        if key in run.verdicts
    )
    # A status that the server refuses cannot report its own refusal.
    if tried and silent and not sort[1].endswith("/status"):
        return Violation("P16", f"{' '.join(sort)} is always refused, and nothing reports it")
    return None
