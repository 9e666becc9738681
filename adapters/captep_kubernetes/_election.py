"""The decisions of leader election over a Lease; no I/O and no clock.

Rules of this module:

1. Leading lasts until `renew_deadline` after the *sending* of the last claim that the server is
   known to have accepted. A claim without an answer extends nothing.
2. Another holder's lease expires when this candidate has seen it unchanged for as long as the lease
   says, on its own clock. Times inside the lease are for people: clocks of different machines are
   never compared.
3. Every claim carries the resourceVersion that it was computed from: of two claims one loses (409),
   and a late claim changes nothing.
4. A lease belongs to a fleet of so many shards, by its annotation, and a fleet without shards has
   one. A candidate of another number never claims the lease, also where nobody holds it: two
   numbers would give one key two owners.

Theory: other candidates see a claim sent at t at t or later, so none of them leads before
t + lease_duration, and this one stops at t + renew_deadline. The time between the two covers clocks
that run at different speeds (by a third, with the defaults) and requests still on their way.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import evolve, field, frozen

from captep_core._actions import JSON
from captep_core._objects import rfc3339

__all__ = ["SHARDS", "Elector", "LeaseTimes", "marks", "shards_of"]

SHARDS: Final = "captep/shards"
"""The annotation with the number of shards; a Lease without it belongs to a fleet of one."""

_NEVER = -math.inf


@frozen
class LeaseTimes:
    """Seconds; the defaults are those of client-go.

    Raises:
        ValueError: not lease_duration > renew_deadline > retry_period > 0.
    """

    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __attrs_post_init__(self) -> None:
        if not self.lease_duration > self.renew_deadline > self.retry_period > 0:
            raise ValueError(
                f"expected lease_duration > renew_deadline > retry_period > 0, found {self}"
            )


@frozen
class Elector:
    """One candidate: what it saw of the lease, when, and until when it leads.

    Every `now` is a time of this candidate's own monotonic clock, in seconds. `shards`: the number
    of shards of its fleet.
    """

    identity: str
    times: LeaseTimes = LeaseTimes()
    shards: int = field(default=1, kw_only=True)
    lease: Mapping[str, JSON] | None = field(default=None, repr=False)
    seen_at: float = _NEVER
    leading_until: float = _NEVER

    @property
    def holder(self) -> str:
        """The identity that the lease names; empty when nobody holds it."""
        return _holder(self.lease)

    @property
    def is_of_others(self) -> bool:
        """Whether the lease belongs to a fleet with another number of shards."""
        return self.lease is not None and shards_of(self.lease) != self.shards

    @property
    def expires_at(self) -> float:
        """The time at which another holder's lease expires unless it changes."""
        lasts = self.times.lease_duration
        return self.seen_at + (lasts if self.lease is None else _duration(self.lease, lasts))

    def is_leading(self, *, now: float) -> bool:
        """Whether this candidate leads."""
        return now < self.leading_until

    def observe(self, lease: Mapping[str, JSON] | None, *, now: float) -> "Elector":
        """Return the candidate after it read `lease`; None: the server has no such lease."""
        seen_at = self.seen_at
        holder = _holder(self.lease)
        if lease is None and self.lease is not None:
            # The holder of a deleted lease may lead for as long as the lease said.
            longer = _duration(self.lease, self.times.lease_duration) - self.times.lease_duration
            seen_at = now + longer if holder not in ("", self.identity) else _NEVER
        elif lease is not None and (self.lease is None or _version(lease) != _version(self.lease)):
            seen_at = now
        after = evolve(self, lease=lease, seen_at=seen_at)
        leads_still = after.holder == self.identity and not after.is_of_others
        return after if leads_still else after.stepped_down()

    def claim(self, *, now: float, wall: datetime) -> dict[str, JSON] | None:
        """Return what to write to get or keep the lease; None while it belongs to another.

        The result is a whole Lease to create when `lease` is None, else a merge patch. `wall` is
        the time that people read in the lease.
        """
        if self.lease is None:
            return self._created(wall) if now >= self.expires_at else None
        is_held = self.holder not in ("", self.identity) and now < self.expires_at
        if is_held or self.is_of_others:
            return None
        return self._patched({} if self.holder == self.identity else self._taken(wall), wall)

    def claimed(self, lease: Mapping[str, JSON], *, sent_at: float, now: float) -> "Elector":
        """Return the candidate after the server accepted its claim of `sent_at` with `lease`."""
        return evolve(
            self.observe(lease, now=now), leading_until=sent_at + self.times.renew_deadline
        )

    def stepped_down(self) -> "Elector":
        """Return the candidate that no longer leads; the lease stays as it is."""
        return evolve(self, leading_until=_NEVER)

    def release(self, *, wall: datetime) -> dict[str, JSON] | None:
        """Return the merge patch that frees the lease; None when another candidate holds it."""
        if self.lease is None or _holder(self.lease) != self.identity:
            return None
        return self._patched({"holderIdentity": "", "leaseDurationSeconds": 1}, wall)

    def _created(self, wall: datetime) -> dict[str, JSON]:
        spec: dict[str, JSON] = {
            **self._held(wall),
            "acquireTime": rfc3339(wall, "microseconds"),
            "leaseTransitions": 0,
        }
        return {"metadata": marks(self.shards), "spec": spec}

    def _taken(self, wall: datetime) -> dict[str, JSON]:
        transitions = _spec(self.lease).get("leaseTransitions")
        return {
            "acquireTime": rfc3339(wall, "microseconds"),
            "leaseTransitions": (transitions if isinstance(transitions, int) else 0) + 1,
        }

    def _patched(self, changes: Mapping[str, JSON], wall: datetime) -> dict[str, JSON]:
        return {
            "metadata": {"resourceVersion": _version(self.lease)},
            "spec": {**self._held(wall), **changes},
        }

    def _held(self, wall: datetime) -> dict[str, JSON]:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self.times.lease_duration),
            "renewTime": rfc3339(wall, "microseconds"),
        }


def marks(shards: int) -> dict[str, JSON]:
    """Return the metadata by which `shards_of` finds the number of shards."""
    return {} if shards == 1 else {"annotations": {SHARDS: str(shards)}}


def shards_of(lease: Mapping[str, JSON]) -> int:
    """Return the number of shards of the fleet that a Lease belongs to; 0 for no number."""
    metadata = lease.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    text = annotations.get(SHARDS, "1") if isinstance(annotations, dict) else "1"
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() else 0


def _spec(lease: Mapping[str, JSON] | None) -> Mapping[str, JSON]:
    spec = (lease or {}).get("spec")
    return spec if isinstance(spec, dict) else {}


def _holder(lease: Mapping[str, JSON] | None) -> str:
    holder = _spec(lease).get("holderIdentity")
    return holder if isinstance(holder, str) else ""


def _duration(lease: Mapping[str, JSON], default: float) -> float:
    seconds = _spec(lease).get("leaseDurationSeconds")
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else default


def _version(lease: Mapping[str, JSON] | None) -> str:
    metadata = (lease or {}).get("metadata")
    return str(metadata.get("resourceVersion") or "") if isinstance(metadata, dict) else ""
