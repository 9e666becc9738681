"""Outside of a loop, an exception of the author's function becomes one error with its place."""

from datetime import datetime

from captep_core._actions import ObjectRef
from captep_core._decision import Decision
from captep_core._observation import ReconcileState
from captep_core.errors import CaptepError, DecisionError
from captep_core.ports import Decide, Read
from captep_runtime._log import described

__all__ = ["guarded"]


def guarded(decide: Decide) -> Decide:
    """Return `decide` with its exceptions as errors of one line each.

    Raises:
        DecisionError: when called, and `decide` raises. The message has the type of the exception,
            its file and its line, and not its text, which may quote a Secret.
    """

    def checked(key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime) -> Decision:
        try:
            return decide(key, read, state, now=now)
        except CaptepError:
            raise
        except Exception as error:
            raise DecisionError(f"decide raised {described(error)}") from error

    return checked
