"""The convergence kit: prove of any pure reconcile function of the shape `captep_core.ports.Decide` that its loop comes to rest.

Say what is right, what is yours and who else acts (`Kit`), and then:

- `check(kit)`: the decisions by themselves, no server (P5, P5a, P8, P15, P17, P-sym, F24).
- `converge(kit)`: to rest from every world (P1, P2, P2a, P3, P4a), every write judged (P8, P9, P13, P14).
- `sweep(kit)`: the same with one fault at every write (P12, P16, P18, P23).
- `explore(kit, faults=1, events=1, lag=1)`: every interleaving within the bounds, and the shortest way to what is wrong (P1 to P22, K1).

Each returns a `Report`; `.require()` raises when it does not hold. Nothing here draws a random number, sleeps, or reads a clock.

The properties:

- P1: from a world that the loop may find itself in, it comes to rest within the bound, and all is then as it should be.
- P2: at rest nothing is sent. P2a: a write on a fresh view is accepted and changes something.
- P3: the writes are as few as can be. P4a: no world comes back that was left by a write.
- P5: equal views give equal decisions, and are not changed. P5a: nothing raises, whatever an object lacks.
- P8: what is patched or deleted is the incarnation that was looked at, by precondition and in fact.
- P9: only what is owned is changed. P13: what always holds holds of every write. P14: conditions and observedGeneration tell the truth.
- P12: any prefix of a pass may be all that happens. P22: two instances at once do no harm. P23: a write that arrives twice does none.
- P15: intervals are sane. P16: refusals are told and not retried at full speed. P17: no content of a Secret is told.
- P18: a fault makes nothing be created or deleted more often. P-sym: uids and resourceVersions are only compared.
- F24: unreadable is not absent. K1: what has to occur in an exploration occurred.
"""

from captep_testing import moves
from captep_testing._check import View, check, check_view, views_of
from captep_testing._drive import Run, drive
from captep_testing._explore import explore, replay
from captep_testing._faults import ALL_FAULTS, TYPICAL_FAULTS, Fault
from captep_testing._kit import Kit, Move, StepTest, WorldTest
from captep_testing._report import Finding, Report, Step, Violation
from captep_testing._sweep import converge, sweep

__all__ = [
    "ALL_FAULTS",
    "TYPICAL_FAULTS",
    "Fault",
    "Finding",
    "Kit",
    "Move",
    "Report",
    "Run",
    "Step",
    "StepTest",
    "View",
    "Violation",
    "WorldTest",
    "check",
    "check_view",
    "converge",
    "drive",
    "explore",
    "moves",
    "replay",
    "sweep",
    "views_of",
]
