"""`run` as a process of its own: from its options to the run of an operator, ended by signals."""

import argparse
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from captep_operator._leadership import Lease
from captep_operator._operator import Operator
from captep_operator._serving import Serving

__all__ = ["run"]

_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_OUTSIDE: Final = "kube-system"
"""The Lease's namespace outside a pod."""


def run(operator: Operator, options: argparse.Namespace) -> None:
    """Run an operator until a signal arrives or its lease is lost.

    Raises:
        GatewayError: the start failed, or the lease is lost; one line says what to do.
    """
    namespace = options.leader_election_namespace or _own_namespace()
    lease = Lease(namespace, options.leader_election_id)
    folder = options.metrics_cert_dir
    with _signals(operator.stop):
        operator.run(
            kubeconfig=options.kubeconfig,
            context=options.context,
            namespaces=options.namespace,
            workers=options.workers,
            lease=lease if options.leader_elect or options.shard.count > 1 else None,
            shard=options.shard,
            dry_run=options.dry_run,
            serving=Serving(
                probes=options.health_probe_bind_address,
                metrics=options.metrics_bind_address,
                certificates=Path(folder) if options.metrics_secure else None,
            ),
        )


def _own_namespace() -> str:
    return _POD_NAMESPACE.read_text("utf-8").strip() if _POD_NAMESPACE.is_file() else _OUTSIDE


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first SIGTERM or SIGINT; the second ends the process at once."""
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        # SimpleQueue.put, which `stop` calls, is reentrant; threading.Event.set takes a lock.
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
