"""The convergence kit: prove of any pure reconcile function (`captep_core.ports.Decide`) that its
loop comes to rest.

Describe what is right, what the operator owns and who else acts (`Kit`). Then call:

- `check(kit)`: single decisions, without a server (P5, P5a, P8, P14, P14b, P15, P17, P-sym, F24).
- `converge(kit)`: every world driven to rest, and on from there after each move (P1, P2, P2a, P3,
  P4a), every write judged (P8, P9, P13, P14).
- `sweep(kit)`: the same with one disturbance (P1, P9, P12, P16, P18, P23): a fault at a write, a
  hostile object, or somebody who deletes and edits at rest what the loop has made.
- `explore(kit, faults=1, events=1, lag=1)`: every interleaving within the bounds, and the shortest
  trace to a violation (P1 to P22, K1).

Each returns a `Report`; its `require()` raises when a property fails. These calls draw no random
number, never sleep and read no clock. `captep_testing.process.trial` does the same in real time
with an operator that is a process of any language.

The properties (`docs/properties.md` has them all):

- P1: from any world in which the loop may start, it comes to rest within the bound, in a right
  world.
- P2: at rest the loop sends nothing. P2a: the server accepts a write decided on a fresh view, and
  the write changes something.
- P3: the loop sends the minimum of writes. P4a: no world recurs after a write has changed it.
- P5: equal views give equal decisions, and stay unchanged. P5a: the function never raises.
- P8: a patch or a delete hits the incarnation on which it was decided, by precondition and in fact.
- P9: the loop changes what it owns and nothing else. P13: `Kit.always` holds of every write.
- P12: a pass may stop after any of its writes. P14: conditions and observedGeneration are true.
- P15: intervals are within their limits. P16: the loop reports refusals and retries them slowly.
- P17: no output holds the content of a Secret.
- P18: a fault makes the loop create or delete nothing more often.
- P22: two instances at once do no harm. P23: a write that arrives twice does none.
- P-sym: the loop compares uids and resourceVersions and does nothing else with them.
- F24: unreadable is not absent. K1: the search reaches every declared event.
"""

from captep_testing import moves
from captep_testing._check import check, check_view, views_of
from captep_testing._drive import Run, drive
from captep_testing._explore import Progress, explore, replay
from captep_testing._faults import ALL_FAULTS, TYPICAL_FAULTS, WriteFault
from captep_testing._kit import Kit, Move, StepTest, WorldTest
from captep_testing._replay import save_trace
from captep_testing._report import Counterexample, Report, TraceStep, Violation
from captep_testing._sweep import converge, sweep
from captep_testing._view import View

__all__ = [
    "ALL_FAULTS",
    "TYPICAL_FAULTS",
    "Counterexample",
    "Kit",
    "Move",
    "Progress",
    "Report",
    "Run",
    "StepTest",
    "TraceStep",
    "View",
    "Violation",
    "WorldTest",
    "WriteFault",
    "check",
    "check_view",
    "converge",
    "drive",
    "explore",
    "moves",
    "replay",
    "save_trace",
    "sweep",
    "views_of",
]
