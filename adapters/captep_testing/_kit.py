"""What an author says about an operator: what is right, what is ours and who else acts. How to test it is not for the author to say."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import field, frozen

from captep_core import ObjectRef
from captep_core.ports import Decide
from captep_memory import World
from captep_testing._changes import Path

__all__ = ["Kit", "Move", "StepTest", "WorldTest"]

Move: TypeAlias = Callable[[World], World | None]
"""What somebody else does to a world, None where it is not possible; a pure function."""
WorldTest: TypeAlias = Callable[[World], bool]
StepTest: TypeAlias = Callable[[World, World], bool]


def _unchanged(world: World) -> World:
    return world


def _not_empty(_: object, attribute: Any, value: tuple[object, ...]) -> None:  # noqa: ANN401 - attrs.Attribute of any type
    if not value:
        raise ValueError(f"{attribute.name} must not be empty")


@frozen
class Kit:
    """One operator with its little domain.

    `keys`: the primary objects, usually one. `worlds`: where the loop may find itself; keep them small, two values for a field will do.
    `matches`: whether a world is as it should be, once nobody acts any more and the loop has come to rest.
    `owned`: by kind, the fields that the loop may change; `()` for all of an object. None: P9 is not judged.
    `moves`: what users, other controllers and the managed system do, by name. `neighbours`: what they are bound to do in the end, run to
    its own rest before each pass of a healed world.
    `always`: what holds of every write of the loop, by name, given the world before it and after it (P13). It is judged of late writes
    and of stale views as well. `sometimes`: what has to occur in `explore`, by name (K1).
    `canaries`: contents of Secrets that must never be told (P17).
    `slack`: writes above the least number that P3 lets pass, for declared reports of progress; the certificate shows it.
    `bound`: passes within which the loop has to come to rest. `shortest`, `longest`: the limits of `requeue_after` (P15).
    """

    decide: Decide
    keys: tuple[ObjectRef, ...] = field(validator=_not_empty)
    worlds: tuple[World, ...] = field(validator=_not_empty)
    matches: WorldTest
    owned: Mapping[str, tuple[Path, ...]] | None = None
    moves: Mapping[str, Move] = MappingProxyType({})
    neighbours: Callable[[World], World] = _unchanged
    always: Mapping[str, StepTest] = MappingProxyType({})
    sometimes: Mapping[str, WorldTest] = MappingProxyType({})
    canaries: tuple[str, ...] = field(default=(), repr=False)
    slack: int = 0
    bound: int = 30
    shortest: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(hours=24)
