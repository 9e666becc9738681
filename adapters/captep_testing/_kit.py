"""The description of an operator that its author writes.

What is right, what it owns and who else acts.
How to test it is the kit's business.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import field, frozen

from captep_core._actions import ObjectRef
from captep_core.ports import Decide
from captep_memory import World
from captep_testing._changes import Path

__all__ = ["Kit", "Move", "StepTest", "WorldTest"]

Move: TypeAlias = Callable[[World], World | None]
"""One act of another actor on a world, None where it is impossible; a pure function."""
WorldTest: TypeAlias = Callable[[World], bool]
StepTest: TypeAlias = Callable[[World, World], bool]


def _unchanged(world: World) -> World:
    return world


def _not_empty(_: object, attribute: Any, value: Any) -> None:  # noqa: ANN401 - any attrs field
    if not value:
        raise ValueError(f"{attribute.name} must not be empty")


@frozen
class Kit:
    """One operator and its small domain.

    The first four fields are enough to begin with: `Kit(decide, keys, worlds, matches)`.

    `keys`: the primary objects, usually one.
    `worlds`: the worlds in which the loop may start, by name or in a row. Keep them small; two
    values a field are enough.
    `matches`: whether a world is right once the loop is at rest and nobody else acts.
    `owned`: for each kind, the fields that the loop may change; `()` stands for the whole object.
    None switches P9 off.
    `moves`: what users, other controllers and the managed system may do, by name.
    `neighbours`: what other controllers will do in the end. In a healed world they run to their own
    rest before each pass.
    `always`: predicates on the worlds before and after every write of the loop, by name (P13). The
    kit judges late writes and writes from stale views by them too.
    `sometimes`: events that `explore` has to reach, by name (K1).
    `canaries`: contents of Secrets that no output may hold (P17).
    `shared`: objects besides the primaries that several controllers write. The rules for dependents
    (P9a, P9b) leave them out.
    `ready`: what a primary promises that reports Ready (P14a); by default `matches`.
    `waive`: properties that the operator breaks on purpose, each with its reason; reports show
    both. `"K1: NAME"` waives a move or an event that no search reaches.
    `slack`: writes above the minimum that P3 allows, for declared progress reports; the certificate
    shows the number.
    `bound`: the number of passes within which the loop has to come to rest.
    `shortest`, `longest`: the limits of `requeue_after` (P15).
    `lateness`: how long after a deadline the loop may look (P15a).
    """

    decide: Decide
    keys: tuple[ObjectRef, ...] = field(validator=_not_empty)
    worlds: Mapping[str, World] | tuple[World, ...] = field(validator=_not_empty)
    matches: WorldTest
    owned: Mapping[str, tuple[Path, ...]] | None = None
    moves: Mapping[str, Move] = MappingProxyType({})
    neighbours: Callable[[World], World] = _unchanged
    always: Mapping[str, StepTest] = MappingProxyType({})
    sometimes: Mapping[str, WorldTest] = MappingProxyType({})
    canaries: tuple[str, ...] = field(default=(), repr=False)
    shared: tuple[ObjectRef, ...] = ()
    ready: WorldTest | None = None
    waive: Mapping[str, str] = MappingProxyType({})
    slack: int = 0
    # Three times the passes of the longest run that a domain of five objects needs.
    bound: int = 30
    # Below a second a loop is a busy loop; above a day no deadline (certificate, token) is met in
    # time.
    shortest: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(hours=24)
    # An operator that looks once an hour keeps every deadline that people set in days.
    lateness: timedelta = timedelta(hours=1)

    def named_worlds(self) -> tuple[tuple[str, World], ...]:
        """Return the worlds in their order, each with its name.

        One without a name goes by its index.
        """
        if isinstance(self.worlds, Mapping):
            return tuple(self.worlds.items())
        return tuple((f"worlds[{place}]", world) for place, world in enumerate(self.worlds))
