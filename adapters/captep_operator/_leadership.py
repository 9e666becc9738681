"""The lease of an operator: its names, and the candidate that competes for it."""

import logging
import socket
import uuid
from collections.abc import Callable

from attrs import field, frozen
from attrs.validators import min_len

from captep_kubernetes import LeaderElector, Transport
from captep_operator._shard import Shard
from captep_runtime import Metrics

__all__ = ["Lease", "candidate_for"]

_log = logging.getLogger("captep.run")


@frozen
class Lease:
    """A Lease of coordination.k8s.io: only its holder writes.

    Raises:
        ValueError: a name is empty.
    """

    namespace: str = field(validator=min_len(1))
    name: str = field(validator=min_len(1))

    def of(self, shard: Shard) -> "Lease":
        """Return the Lease of one shard of the fleet; this one, if the shard is the whole fleet."""
        return Lease(self.namespace, shard.lease_name(self.name))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def candidate_for(
    lease: Lease,
    operator: str,
    transport: Transport,
    metrics: Metrics,
    *,
    shards: int,
    leads: Callable[[], None],
    lost: Callable[[], None],
) -> LeaderElector:
    """Return an elector for `lease` of a fleet of `shards`, not started.

    It calls `leads` and `lost`.

    Its identity begins with the name of the operator. The log says who holds the lease meanwhile,
    as a warning when that is another operator: then neither of them can ever work next to the
    other.
    """
    gauge = {"name": lease.name}

    def started() -> None:
        metrics.set("leader_election_master_status", gauge, 1)
        leads()

    def stopped() -> None:
        metrics.set("leader_election_master_status", gauge, 0)
        lost()

    def held(holder: str) -> None:
        other = _operator_of(holder)
        if other in ("", operator):
            _log.info("the lease %s is held by %s", lease, holder)
        else:
            _log.warning(
                "the lease %s is held by another operator, %s (%s):"
                " give each operator a lease of its own",
                lease,
                other,
                holder,
            )

    metrics.set("leader_election_master_status", gauge, 0)
    return LeaderElector(
        transport,
        namespace=lease.namespace,
        name=lease.name,
        identity=f"{operator}_{socket.gethostname()}_{uuid.uuid4()}",
        shards=shards,
        on_started_leading=started,
        on_stopped_leading=stopped,
        on_other_leader=held,
    )


def _operator_of(holder: str) -> str:
    """Return the operator that an identity names, empty for an identity of another form."""
    parts = holder.split("_")
    return parts[0] if len(parts) == 3 else ""
