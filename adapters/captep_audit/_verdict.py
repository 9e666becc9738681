"""The result of an audit: who did what, and which of it is a problem."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

__all__ = ["Actor", "Finding", "Verdict"]


@frozen(cache_hash=True)
class Actor:
    """A user with a program."""

    user: str
    program: str

    def __str__(self) -> str:
        return f"{self.user} ({self.program})" if self.program else self.user


@frozen
class Finding:
    """A problem: its rule, who, which object or collection, how often, and a sentence."""

    rule: str
    actor: Actor
    object: str
    count: int
    since: str
    until: str
    message: str


@frozen
class Verdict:
    """The result: figures of each actor, findings by weight, and what the log could not show."""

    since: str
    until: str
    levels: Mapping[str, int]
    actors: Mapping[Actor, Mapping[str, Any]]
    findings: tuple[Finding, ...]
    dropped: int
    not_judged: tuple[str, ...]
