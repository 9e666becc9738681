"""States that a search leaves out, since another one has all their futures.

Each judgement of a state that is left out is made of the other one too, which is no farther from
the start: a search finds the same violations, and its traces stay the shortest.

Rules of this module:

1. No judgement depends on the budgets that are left, and a larger one allows every step of a
   smaller one. A state is left out when a known one differs in nothing but a larger budget.
2. A lost request is a write in flight that never arrives.
3. A write in flight whose precondition can never hold again is no longer in flight: uids do not
   recur, and a resourceVersion only grows.
4. With a lag of one, a pass is left out when another one plans the same and leaves every view that
   this one leaves. A pass on a fresh view is judged more strictly: it stays unless it sends
   nothing.
"""

from collections.abc import Iterable

from attrs import evolve, field, frozen

from captep_core._actions import Action
from captep_memory import World
from captep_testing._canonical import key_of_target
from captep_testing._faults import WriteFault

__all__ = [
    "Budgets",
    "Lagging",
    "implied",
    "is_dead",
    "needed_of",
    "without_lingering",
]


@frozen
class Budgets:
    """The largest budgets with which a search has reached each state, by its name."""

    _known: dict[bytes, tuple[bytes, ...]] = field(factory=dict)

    def covers(self, name: bytes, budget: bytes) -> bool:
        """Whether a state was reached with this budget or a larger one."""
        return any(all(map(int.__ge__, known, budget)) for known in self._known.get(name, ()))

    def add(self, name: bytes, budget: bytes) -> None:
        """Note that a state was reached with a budget."""
        self._known[name] = (*self._known.get(name, ()), budget)


def implied(faults: Iterable[WriteFault]) -> dict[WriteFault, WriteFault]:
    """Return the faults that equal a write in flight that never arrives, each with that one."""
    given = tuple(faults)
    lingering = {evolve(each, name="", lingers=False): each for each in given if each.lingers}
    found = {each: lingering.get(evolve(each, name="")) for each in given if not each.lingers}
    return {each: other for each, other in found.items() if other is not None}


def without_lingering(labels: tuple[str, ...], faults: Iterable[WriteFault]) -> tuple[str, ...]:
    """Return a trace in which no write is in flight that does not arrive.

    A reader understands a lost request at once.
    """
    if any("arrives late" in label for label in labels):
        return labels
    for fault, other in implied(faults).items():
        end = f" ({other.name})"
        labels = tuple(
            f"{label.removesuffix(end)} ({fault.name})" if label.endswith(end) else label
            for label in labels
        )
    return labels


def is_dead(action: Action, world: World) -> bool:
    """Whether a write in flight can never change a world again."""
    wanted = action.preconditions
    if wanted.uid is None and wanted.resource_version is None:
        return False
    stored = world.get(key_of_target(action))
    if stored is None:
        return True
    metadata = stored["metadata"]
    return wanted.uid not in (None, metadata["uid"]) or wanted.resource_version not in (
        None,
        metadata["resourceVersion"],
    )


@frozen
class Lagging:
    """The pass that one view leads to.

    `behind`: the changes by which each kind lags. `same`: what the pass plans, and its memory.
    `idles`: whether it sends nothing.
    """

    behind: tuple[int, ...]
    same: object
    idles: bool

    def covers(self, other: "Lagging") -> bool:
        """Whether this pass has all futures of another one; see rule 4."""
        is_fresh = not any(other.behind)
        return (
            self.same == other.same
            and (other.idles or not is_fresh)
            and all(map(int.__ge__, self.behind, other.behind))
        )


def needed_of(passes: Iterable[Lagging]) -> list[Lagging]:
    """Return the passes that no other one covers."""
    given = list(passes)
    return [each for each in given if not any(one.covers(each) for one in given if one is not each)]
