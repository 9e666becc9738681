"""Random traces beyond the bounds of `explore`, as a Hypothesis state machine.

Needs `captep[testing]`.
Each run draws a swarm: some kinds of steps are switched off, so that the others come in long rows.
At its end the faults stop, and the loop has to come to rest in a right world. Hypothesis shrinks a
failing trace; the error is the counterexample, with the call that repeats it.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from captep_testing._explore import replay
from captep_testing._faults import TYPICAL_FAULTS
from captep_testing._kit import Kit
from captep_testing._memo import memoised
from captep_testing._states import State
from captep_testing._system import System

__all__ = ["state_machine"]


def state_machine(
    kit: Kit, *, faults: int = 3, events: int = 5, lag: int = 1, instances: int = 1
) -> type[RuleBasedStateMachine]:
    """Return a state machine for one kit: `TestRandom = state_machine(kit).TestCase`.

    Args:
        kit: the operator.
        faults: the number of writes that may fail, and of reads.
        events: the number of moves of others.
        lag: the number of changes of others by which a view may lag.
        instances: the number of instances of the loop.
    """
    fast, memo = memoised(kit)
    system = System(fast, TYPICAL_FAULTS, lag, memo)
    worlds = kit.named_worlds()
    kinds = sorted({*kit.moves, *(fault.name for fault in TYPICAL_FAULTS), "stale view", "collect"})

    class Machine(RuleBasedStateMachine):
        """The loop and everybody else, one step a rule."""

        state: State
        world: int

        def __init__(self) -> None:
            super().__init__()
            self.labels: list[str] = []
            self.swarm: frozenset[str] = frozenset()

        @initialize(
            place=st.integers(0, len(worlds) - 1),
            swarm=st.frozensets(st.sampled_from(kinds), max_size=len(kinds) - 1),
        )
        def begin(self, place: int, swarm: frozenset[str]) -> None:
            self.world = place
            self.swarm = swarm
            state = system.start(
                worlds[place][1], faults=faults, events=events, instances=instances
            )
            self.state = state._replace(read_faults=faults)

        @rule(data=st.data())
        def step(self, data: Any) -> None:  # noqa: ANN401 - the type of st.data() is private
            possible = {
                each.label: each
                for each in system.transitions(self.state)
                if each.kind not in self.swarm
            }
            if not possible:
                return
            label = data.draw(st.sampled_from(sorted(possible)))
            self.labels.append(label)
            self.state = possible[label].state
            if possible[label].violation:
                self.judge()

        def teardown(self) -> None:
            self.judge()

        def judge(self) -> None:
            """Raise the counterexample of the trace so far."""
            labels = tuple(self.labels)
            self.labels = []
            if labels:
                report = replay(kit, labels, world=self.world, lag=lag, instances=instances)
                report.require()

    Machine.__name__ = "Operator"
    return Machine
