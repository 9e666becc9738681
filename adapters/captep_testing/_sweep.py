"""L1: every world once without a fault, and once with each single disturbance.

- P12, P16, P23: whatever happens to one write, the loop comes to rest in a right world.
- P18: a fault makes the loop create or delete nothing more often than without it.
- P9a, P9b, P9c: it leaves alone what another controls, deletes or marks, and comes to rest in a
  right world once the other is gone.
- P15b: a read that fails once delays the loop and does no other harm.
- P1, P12, P23: neither a late write nor a second delivery nor a clock that jumps disturbs its rest
  for long; see `captep_testing._after_rest`.
- P16: the loop retries a write that is refused for ever at most once an interval and reports it,
  unless the write is the report itself. P16b: the report has a reason that progress never has.
  P16c: the report is not written again because the server's text has changed.
"""

from collections.abc import Iterable, Iterator

from attrs import evolve

from captep_core._actions import Action, ObjectRef, Write, write_of
from captep_memory import World
from captep_testing._after_rest import disturbed_at_rest
from captep_testing._drive import Blind, Healing, Run, Strike, drive
from captep_testing._faults import ALL_FAULTS, NO_FAULT, WriteFault
from captep_testing._hostile import hostile_worlds
from captep_testing._kit import Kit
from captep_testing._memo import Memo, memoised
from captep_testing._passes import Target
from captep_testing._report import Counterexample, Report, TraceStep, Violation, kept, waivers

__all__ = ["converge", "sweep"]

# RBAC and validation: the two refusals that no retry overcomes.
_PERMANENT = (403, 422)
# Half of them are more than the passes that a report takes.
_MANY_TRIES = 8


def converge(kit: Kit) -> Report:
    """Run the loop to rest from each world of the kit, and again after each move from there (P1,
    P2, P2a, P3, P4a), and judge every write.
    """
    runs: list[tuple[int, Run]] = []
    for place, (_, world) in enumerate(kit.named_worlds()):
        reference = drive(kit, world)
        runs.append((place, reference))
        if reference.violation is None:
            runs += [(place, run) for run in _moved(kit, reference)]
    writes = sum(len(run.sent) for _, run in runs)
    slack = f", {kit.slack} above the minimum allowed" if kit.slack else ""
    size = f"{len(kit.worlds)} worlds, {len(runs)} runs"
    scope = f"{size}, {writes} writes{slack}{waivers(kit.waive)}"
    return Report(scope, _counterexamples(kit, runs), states=len(kit.worlds), edges=writes)


def _moved(kit: Kit, reference: Run) -> Iterator[Run]:
    """Run on from rest after each move of others."""
    for name, move in kit.moves.items():
        world = move(reference.world)
        if world is not None:
            run = drive(kit, world)
            step = TraceStep(name, reference.world, world)
            yield evolve(run, steps=(*reference.steps, step, *run.steps))


def sweep(kit: Kit, faults: Iterable[WriteFault] = ALL_FAULTS) -> Report:
    """Repeat each of these runs with one disturbance.

    The disturbances: each fault at each write, each read failing once, each sort of write refused
    for ever, each object hostile, at the start and at rest, and at rest each write late or a second
    time, a clock that jumps, and each object that the loop has made deleted and edited. A world
    from which the loop fails to come to rest without faults is reported without trying any.
    """
    kit, memo = memoised(kit)
    healing = Healing()
    kinds = tuple(faults)
    runs: list[tuple[int, Run]] = []
    worlds = [world for _, world in kit.named_worlds()]
    # Whole runs: one that ends where an earlier one came by lacks the writes after that.
    references = [drive(kit, world, memo=memo) for world in worlds]
    progress = frozenset[str]().union(*(reference.signals for reference in references))
    for place, (world, reference) in enumerate(zip(worlds, references, strict=True)):
        if reference.violation:
            runs.append((place, reference))
            continue
        runs += [(place, run) for run in _struck(kit, memo, healing, world, reference, kinds)]
        runs += [(place, run) for run in _blinded(kit, memo, healing, world, reference)]
        runs += [(place, run) for run in _refused(kit, memo, healing, world, reference, progress)]
        for start in (world, reference.world):
            runs += [(place, run) for run in _invaded(kit, memo, healing, start)]
        disturbed = disturbed_at_rest(kit, memo, healing, world, reference)
        runs += [(place, run) for run in disturbed]
    size = f"{len(runs)} runs from {len(worlds)} worlds, {len(kinds)} faults at each write"
    return Report(size + waivers(kit.waive), _counterexamples(kit, runs), states=len(runs))


def _counterexamples(kit: Kit, runs: Iterable[tuple[int, Run]]) -> tuple[Counterexample, ...]:
    """Return one counterexample for each violation, the one with the fewest steps."""
    shortest: dict[Violation, Counterexample] = {}
    for place, run in runs:
        if run.violation is None:
            continue
        known = shortest.get(run.violation)
        if known is None or len(run.steps) < len(known.steps):
            name, _ = kit.named_worlds()[place]
            shortest[run.violation] = Counterexample(run.violation, place, run.steps, named=name)
    return tuple(shortest.values())


def _struck(
    kit: Kit,
    memo: Memo,
    healing: Healing,
    world: World,
    reference: Run,
    faults: Iterable[WriteFault],
) -> Iterator[Run]:
    for fault in faults:
        for place in range(len(reference.sent)):
            run = drive(kit, world, strike=_once(place, fault), memo=memo, healing=healing)
            yield run if run.violation else _compared(kit, run, reference)


def _blinded(kit: Kit, memo: Memo, healing: Healing, world: World, reference: Run) -> Iterator[Run]:
    """Repeat the run with each read of each pass failing once."""
    for each in sorted(set(reference.reads), key=str):
        run = drive(kit, world, blind=_once_blind(*each), memo=memo, healing=healing)
        if run.violation is None:
            run = _compared(kit, run, reference)
        if run.violation is not None:
            message = f"after one read of {each[1]} failed: {run.violation.message}"
            run = evolve(run, violation=Violation(run.violation.property, message))
        yield run


def _once_blind(place: int, target: Target) -> Blind:
    return lambda passes, read: (passes, read) == (place, target)


def _invaded(kit: Kit, memo: Memo, healing: Healing, world: World) -> Iterator[Run]:
    """Run from each world with one hostile object, and again once the hostility has ended."""
    for hostile in hostile_worlds(kit, world):
        run = drive(kit, hostile.world, hostile=True, memo=memo, healing=healing)
        # A strike, though it strikes nothing: the fewest writes are no measure here.
        if run.violation is None:
            run = drive(
                kit, hostile.heal(run.world), strike=_once(-1, NO_FAULT), memo=memo, healing=healing
            )
        if run.violation is not None:
            message = f"with {hostile.name}: {run.violation.message}"
            run = evolve(run, violation=Violation(run.violation.property, message))
        yield run


def _once(place: int, fault: WriteFault) -> Strike:
    return lambda sent, _: fault if sent == place else NO_FAULT


def _compared(kit: Kit, run: Run, reference: Run) -> Run:
    """Judge P18: compare the creations and deletions with the reference."""
    more = run.counts() - reference.counts()
    needless = sorted(f"{verb} {target}" for verb, target in more if verb in ("create", "delete"))
    if not needless or "P18" in kit.waive:
        return run
    return evolve(
        run, violation=Violation("P18", f"{needless[0]} more often than without the fault")
    )


def _refused(
    kit: Kit, memo: Memo, healing: Healing, world: World, reference: Run, progress: frozenset[str]
) -> Iterator[Run]:
    for sort in sorted({_sort(each.action) for each in reference.sent}):
        targets = {each.action.target for each in reference.sent if _sort(each.action) == sort}
        for status in _PERMANENT:
            fault = WriteFault(f"refused with {status}", status=status)
            run = drive(kit, world, strike=_always(sort, fault), memo=memo, healing=healing)
            found = kept(kit.waive, _retried(run, progress, sort, targets))
            violation = next(found, None) or _unhealed(kit, memo, healing, run.world)
            yield evolve(run, violation=violation)


def _unhealed(kit: Kit, memo: Memo, healing: Healing, world: World) -> Violation | None:
    """Return how the loop fails to come to rest once the server accepts the write again."""
    # A strike, though it strikes nothing: P3 cannot be judged after a fault.
    found = drive(kit, world, strike=_once(-1, NO_FAULT), memo=memo, healing=healing).violation
    return found and Violation(found.property, f"after a permanent refusal: {found.message}")


def _sort(action: Action) -> tuple[str, str]:
    write = write_of(action)
    return write.verb, f"{action.target.kind}{'/' + write.subresource if write.subresource else ''}"


def _always(sort: tuple[str, str], fault: WriteFault) -> Strike:
    return lambda _, action: fault if _sort(action) == sort else NO_FAULT


def _retried(
    run: Run, progress: frozenset[str], sort: tuple[str, str], targets: set[ObjectRef]
) -> Iterator[Violation]:
    """Judge a run in which the server refuses all writes of one sort; it need not come to rest.

    `progress`: the reasons that people see in runs without a fault.
    """
    if run.violation and run.violation.property not in ("P1", "P2"):
        yield run.violation
    tried = [each.at_seconds for each in run.sent if _sort(each.action) == sort]
    allowed = len(targets) * (1 + int(max(tried, default=0) / run.error_interval.total_seconds()))
    if len(tried) > allowed:
        retries = f"tried {len(tried)} times where {allowed} are enough"
        yield Violation("P16", f"{' '.join(sort)} is always refused and {retries}")
    # A status that the server refuses cannot report its own refusal.
    if tried and not run.last_signals - progress and not sort[1].endswith("/status"):
        yield Violation("P16b", f"{' '.join(sort)} is always refused, and nothing reports it")
    for write in _repeated(run, tried):
        texts = f"{' '.join(sort)} is always refused, each time with another text"
        yield Violation("P16c", f"{texts}: {write} follows each of them")


def _repeated(run: Run, tried: list[float]) -> Iterator[Write]:
    """Yield the first write that still changes the server after half of the refusals.

    The report is written within a few passes; what comes so much later follows from the texts.
    """
    if len(tried) >= _MANY_TRIES:
        half = tried[len(tried) // 2]
        late = [each for each in run.sent if each.changed and each.at_seconds > half]
        yield from (write_of(each.action) for each in late[:1])
