"""What may still happen to a world at rest: a late write, a second delivery, a clock that jumps.

- P12: a request that counted as lost arrives once everything is at rest (F6).
- P23: a write arrives a second time, at rest, when other writes have followed it (F5).
- P1, P5a, P14: the clock goes back by an hour, or forward by a day, between two passes (F21).

After each the loop comes to rest in a right world again.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from attrs import evolve

from captep_core._actions import Action, write_of
from captep_memory import World
from captep_testing._delivery import deliver
from captep_testing._drive import Healing, Run, Sent, Strike, drive
from captep_testing._faults import NO_FAULT, WriteFault
from captep_testing._kit import Kit
from captep_testing._memo import Memo
from captep_testing._report import TraceStep, Violation

__all__ = ["disturbed_at_rest"]

# A time server that corrects a clock, and a machine that was suspended for a night and more.
_JUMPS: Final = (timedelta(hours=-1), timedelta(days=1))
_LOST: Final = WriteFault("lost request", status=504)


def disturbed_at_rest(
    kit: Kit, memo: Memo, healing: Healing, world: World, reference: Run
) -> Iterator[Run]:
    """Yield the runs after each disturbance of the rest to which `reference` came from `world`."""
    for place, sent in enumerate(reference.sent):
        if not sent.changed:
            continue
        yield _delivered(kit, memo, healing, reference, sent, "a second time")
        lost = drive(kit, world, strike=_lost(place), memo=memo, healing=healing)
        if lost.violation is None:
            yield _delivered(kit, memo, healing, lost, sent, "late")
    for jump in _JUMPS:
        how = f"{'back' if jump < timedelta(0) else 'on'} by {abs(jump)}"
        after = reference.world.at(reference.world.now + jump)
        yield _onwards(kit, memo, healing, reference, after, f"the clock goes {how}", None)


def _lost(place: int) -> Strike:
    def strike(sent: int, _: Action) -> WriteFault:
        return _LOST if sent == place else NO_FAULT

    return strike


def _delivered(kit: Kit, memo: Memo, healing: Healing, rest: Run, sent: Sent, when: str) -> Run:
    """Deliver a write at rest, and go on."""
    what = f"{write_of(sent.action)} arrives {when}"
    done = deliver(kit, rest.world, sent.action, sent.planned, undisturbed=False, serve=memo.serve)
    return _onwards(kit, memo, healing, rest, done.world, what, done.violation)


def _onwards(
    kit: Kit,
    memo: Memo,
    healing: Healing,
    rest: Run,
    after: World,
    what: str,
    violation: Violation | None,
) -> Run:
    """Run to rest again after a disturbance of the rest."""
    step = TraceStep(what, rest.world, after)
    if violation is None:
        # A strike, though it strikes nothing: the fewest writes are no measure here.
        run = drive(kit, after, strike=_lost(-1), memo=memo, healing=healing)
    else:
        run = evolve(rest, world=after, steps=(), violation=violation)
    steps = (*rest.steps, step, *run.steps)
    if run.violation is None:
        return evolve(run, steps=steps)
    message = f"after {what} at rest: {run.violation.message}"
    return evolve(run, steps=steps, violation=Violation(run.violation.property, message))
