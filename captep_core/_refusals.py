"""Writes that did not go through, as the passes that follow observe them.

Refusals are equal without their messages: webhooks write durations and request ids into their
texts, and a changed text alone is no news.
"""

from typing import Final, TypeAlias

from attrs import field, frozen

from captep_core._actions import Write

__all__ = [
    "FIELD_MANAGER_CONFLICT",
    "Conflicted",
    "Refusal",
    "Refused",
    "Reverted",
    "Throttled",
    "refusal_of",
    "worded",
]


@frozen
class Refused:
    """The server did not take the write when it was last tried; `status` is the HTTP status of its
    answer, 400 to 599.

    `reason` and `message`: as in `captep_core.ports.Answer`. The first message stays while the
    server refuses the write with this status and reason.
    """

    write: Write
    status: int
    reason: str = ""
    message: str = field(default="", eq=False)

    def __str__(self) -> str:
        return _refused(self, self.status)


@frozen
class Conflicted:
    """The object was newer than what the decision had seen (HTTP 409). It is retried and never
    reported. `reason` and `message`: as in `Refused`.
    """

    write: Write
    reason: str = ""
    message: str = field(default="", eq=False)

    def __str__(self) -> str:
        return _refused(self, 409)


@frozen
class Throttled:
    """The server has been too busy for the write (HTTP 429), and not for long: it is retried and
    not reported yet. `reason` and `message`: as in `Refused`.
    """

    write: Write
    reason: str = ""
    message: str = field(default="", eq=False)

    def __str__(self) -> str:
        return _refused(self, 429)


def _refused(refusal: Refused | Conflicted | Throttled, status: int) -> str:
    cause = f"HTTP {status} {refusal.reason}" if refusal.reason else f"HTTP {status}"
    text = f"{refusal.write} is refused: {cause}"
    return f"{text}: {refusal.message}" if refusal.message else text


@frozen
class Reverted:
    """The server accepts the write, and it does not last: another writer undoes it, or the server
    drops it.

    It stays known until the write has stood for a while, whether or not a pass wants the write.
    `fields`: the JSON paths that the write sets, empty for a create and a delete. `manager`: the
    field manager of the other writer, "" when it is unknown. `reason` and `message` are empty where
    the server accepted the write.
    """

    write: Write
    fields: tuple[str, ...] = ()
    manager: str = ""
    reason: str = ""
    message: str = field(default="", eq=False)

    def __str__(self) -> str:
        return f"{self.write} is accepted but does not last{self._cause()}"

    def _cause(self) -> str:
        other = self.manager or "another writer"
        match self.write.verb:
            case "create":
                return f": {other} deletes it"
            case "delete":
                return f": {other} creates it again"
            case _:
                return f": {other} changes {_listed(self.fields)}" if self.fields else ""


def _listed(fields: tuple[str, ...]) -> str:
    more = len(fields) - _LISTED_FIELDS
    shown = ", ".join(fields[:_LISTED_FIELDS])
    return f"{shown} and {more} more" if more > 0 else shown


# A message for people: three paths say where to look.
_LISTED_FIELDS = 3


Refusal: TypeAlias = Refused | Conflicted | Throttled | Reverted
"""A write that did not go through when it was last tried: an observation of the passes that follow.
"""


def refusal_of(write: Write, status: int, reason: str = "", message: str = "") -> Refusal:
    """Name the refusal of `write` that was answered with the HTTP status `status`; below 300 it
    does not last.
    """
    if status < 300:
        return Reverted(write)
    # A retry meets the same owner of the field, so this one is reported and paced.
    if status == 409 and reason != FIELD_MANAGER_CONFLICT:
        return Conflicted(write, reason, message)
    return Refused(write, status, reason, message)


def worded(refusal: Refusal, before: str = "") -> str:
    """Say `refusal` in words, which are those of `before` as long as they differ in the server's
    message alone.

    With the message of the reported condition as `before`, a controller that starts again does not
    rewrite the condition because a webhook's text holds a duration.

    >>> from captep_core import ObjectRef
    >>> write = Write("create", ObjectRef("v1", "Service", "team", "db"))
    >>> slow = Refused(write, 403, "Forbidden", "over quota (took 12 ms)")
    >>> worded(Refused(write, 403, "Forbidden", "over quota (took 9 ms)"), str(slow))
    'create Service team/db is refused: HTTP 403 Forbidden: over quota (took 12 ms)'
    """
    text = str(refusal)
    is_same = refusal.message and before.startswith(text.removesuffix(refusal.message))
    return before if is_same else text


FIELD_MANAGER_CONFLICT: Final = "FieldManagerConflict"
"""The reason of an apply that meets fields of another manager (apimachinery, CauseType)."""
