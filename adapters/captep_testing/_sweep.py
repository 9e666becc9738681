"""L1: from every world, without faults, with one fault at every write, and with one write that is refused for good.

- P12, P16, P23: whatever becomes of one write, the loop comes to rest as it should.
- P18: and creates and deletes nothing more often than without the fault.
- P16: a write that is refused for good is tried at most once per interval, and is told (unless it is the telling itself).
"""

from collections.abc import Iterable, Iterator

from captep_core import Action, ObjectRef, write_of
from captep_memory import World
from captep_testing._drive import Run, Strike, drive
from captep_testing._faults import ALL_FAULTS, NO_FAULT, Fault
from captep_testing._kit import Kit
from captep_testing._report import Finding, Report, Violation

__all__ = ["converge", "sweep"]

_FOR_GOOD = (403, 422)


def converge(kit: Kit) -> Report:
    """Run the loop to rest from each world of the kit (P1, P2, P2a, P3, P4a, and what every write is judged by)."""
    runs = [(place, drive(kit, world)) for place, world in enumerate(kit.worlds)]
    writes = sum(len(run.sent) for _, run in runs)
    slack = f", {kit.slack} more than needed allowed" * bool(kit.slack)
    return Report(
        f"{len(runs)} worlds, {writes} writes{slack}",
        _violations(runs),
        states=len(runs),
        edges=writes,
    )


def sweep(kit: Kit, faults: Iterable[Fault] = ALL_FAULTS) -> Report:
    """Repeat each of these runs with each fault at each of its writes, and with each of its writes refused for good.

    A world from which the loop does not come to rest without faults is reported, and no faults are tried.
    """
    kinds, runs = tuple(faults), list[tuple[int, Run]]()
    for place, world in enumerate(kit.worlds):
        reference = drive(kit, world)
        if reference.finding:
            runs.append((place, reference))
            continue
        runs += [(place, run) for run in _struck(kit, world, reference, kinds)]
        runs += [(place, run) for run in _refused(kit, world, reference)]
    scope = f"{len(runs)} runs from {len(kit.worlds)} worlds, {len(kinds)} faults at each write"
    return Report(scope, _violations(runs), states=len(runs))


def _violations(runs: Iterable[tuple[int, Run]]) -> tuple[Violation, ...]:
    """One violation for each finding, with the fewest steps."""
    shortest: dict[Finding, Violation] = {}
    for place, run in runs:
        if run.finding and (
            run.finding not in shortest or len(run.steps) < len(shortest[run.finding].steps)
        ):
            shortest[run.finding] = Violation(run.finding, place, run.steps)
    return tuple(shortest.values())


def _struck(kit: Kit, world: World, reference: Run, faults: Iterable[Fault]) -> Iterator[Run]:
    for fault in faults:
        for place in range(len(reference.sent)):
            run = drive(kit, world, strike=_once(place, fault))
            yield run if run.finding else _compared(run, reference)


def _once(place: int, fault: Fault) -> Strike:
    return lambda sent, _: fault if sent == place else NO_FAULT


def _compared(run: Run, reference: Run) -> Run:
    """P18: what is created or deleted more often than in the reference."""
    more = run.counts() - reference.counts()
    needless = sorted(f"{verb} {target}" for verb, target in more if verb in ("create", "delete"))
    finding = (
        Finding("P18", f"{needless[0]} more often than without the fault") if needless else None
    )
    return Run(run.world, run.steps, run.sent, finding, run.verdicts)


def _refused(kit: Kit, world: World, reference: Run) -> Iterator[Run]:
    for verb, kind in sorted({_sort(each.action) for each in reference.sent}):
        targets = {
            each.action.target for each in reference.sent if _sort(each.action) == (verb, kind)
        }
        for status in _FOR_GOOD:
            run = drive(
                kit,
                world,
                strike=_always(verb, kind, Fault(f"refused with {status}", status=status)),
            )
            finding = _retried(kit, run, reference, (verb, kind), targets)
            healed = drive(kit, run.world, strike=_once(-1, NO_FAULT))
            finding = finding or (
                healed.finding
                and Finding(
                    healed.finding.property, f"after a refusal for good: {healed.finding.what}"
                )
            )
            yield Run(run.world, run.steps, run.sent, finding)


def _sort(action: Action) -> tuple[str, str]:
    write = write_of(action)
    return write.verb, f"{action.target.kind}{'/' + write.subresource if write.subresource else ''}"


def _always(verb: str, kind: str, fault: Fault) -> Strike:
    return lambda _, action: fault if _sort(action) == (verb, kind) else NO_FAULT


def _retried(
    kit: Kit, run: Run, reference: Run, sort: tuple[str, str], targets: set[ObjectRef]
) -> Finding | None:
    """P16, for a run in which all writes of one sort are refused; that it does not come to rest is no fault of its own."""
    if run.finding and run.finding.property not in ("P1", "P2"):
        return run.finding
    tried = [each.at_seconds for each in run.sent if _sort(each.action) == sort]
    allowed = len(targets) * (1 + int(max(tried, default=0) / run.error_interval.total_seconds()))
    if len(tried) > allowed:
        return Finding(
            "P16",
            f"{' '.join(sort)} is refused for good and tried {len(tried)} times where {allowed} would do",
        )
    silent = all(
        run.verdicts[key].reason == reference.verdicts[key].reason
        for key in kit.keys
        if key in run.verdicts
    )
    if (
        tried and silent and not sort[1].endswith("/status")
    ):  # a status that cannot be written tells nothing
        return Finding("P16", f"{' '.join(sort)} is refused for good, and nothing is told of it")
    return None
