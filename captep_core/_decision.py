"""What a pass returns: its actions, when to look again, and one verdict."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from attrs import frozen

from captep_core._actions import Action
from captep_core._refusals import Refusal

__all__ = ["Decision", "VerdictLike"]


class VerdictLike(Protocol):
    """What every verdict has: a reason in CamelCase and a message for people, without any Secret's
    content.
    """

    @property
    def reason(self) -> str: ...

    @property
    def message(self) -> str: ...


if TYPE_CHECKING:
    # A default (PEP 696) lets an operator that has no union of verdicts write plain `Decision`.
    # `typing` has it from Python 3.13 on; type checkers know it for every version.
    from typing_extensions import TypeVar as TypeVarWithDefault

    V_co = TypeVarWithDefault("V_co", bound=VerdictLike, covariant=True, default=VerdictLike)
else:
    V_co = TypeVar("V_co", bound=VerdictLike, covariant=True)


@frozen
class Decision(Generic[V_co]):
    """What a pass decided, with a verdict of the type `V_co`.

    `actions` are to be sent in order; any prefix of them may be all that happens. `requeue_after`
    is when to look again (positive), None when there is nothing to come back for. `outstanding` are
    the known refusals whose writes are still wanted; the executor forgets all others.
    `requeue_after_refusal` (positive) replaces `requeue_after` while a refusal is known after the
    pass, and the refused write stays in backoff as long; None leaves that to the executor.
    `wakes_at` is a deadline, aware and in the future: the next pass begins then at the latest, also
    when nothing has changed. An interval is for what nobody announces, a deadline for what time
    alone changes, such as the end of a certificate.
    """

    actions: tuple[Action, ...]
    requeue_after: timedelta | None
    verdict: V_co
    outstanding: tuple[Refusal, ...] = ()
    requeue_after_refusal: timedelta | None = None
    wakes_at: datetime | None = None

    def wait(self, *, now: datetime) -> timedelta | None:
        """Return how long after `now` the next look is due, None for never by itself.

        A deadline that has passed does not count.
        """
        if self.wakes_at is None or self.wakes_at <= now:
            return self.requeue_after
        left = self.wakes_at - now
        return left if self.requeue_after is None else min(left, self.requeue_after)
