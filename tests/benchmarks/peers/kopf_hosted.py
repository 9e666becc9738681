"""The `decide` of examples/database inside kopf, hosted as in examples/kopf_host.py."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from captep_core import ObjectRef
from captep_kubernetes import KubernetesGateway, load_transport
from captep_operator import Kind, discovered
from captep_runtime import Logger, Loop
from examples.database.database import operator


class Clock:
    """The time of the machine."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return datetime.now(UTC)


class Live:
    """The gateway without caches: what it reads is what the server has."""

    def __init__(self, gateway: KubernetesGateway) -> None:
        self.read, self.send = gateway.read_live, gateway.send


@kopf.on.startup()
def start(memo: kopf.Memo, **_: Any) -> None:
    """Start the loop in threads of its own."""
    transport = load_transport(field_manager="database", user_agent="database")
    kinds = [each.resource for each in discovered(transport, operator.kinds)]
    gateway = KubernetesGateway(transport, watched=(), written=kinds, component="database")
    logger = Logger(logging.getLogger("kopf.objects"), "database")
    memo.loop = Loop(
        operator.decide, Live(gateway), Clock(), reporter=logger, seconds=time.monotonic
    )
    memo.loop.start(workers=4)


@kopf.on.cleanup()
def stop(memo: kopf.Memo, **_: Any) -> None:
    """End the passes under way."""
    memo.loop.stop(timedelta(seconds=6))


def changed(kind: Kind) -> Callable[..., None]:
    """Return the handler of a kind: it wakes the keys that read the object."""

    def handle(
        event: kopf.RawEvent,
        namespace: str | None,
        name: str,
        memo: kopf.Memo,
        **_: Any,
    ) -> None:
        ref = ObjectRef(kind.api_version, kind.kind, namespace, name)
        if kind != operator.primary:
            memo.loop.notify(ref)
        elif event["type"] == "DELETED":
            memo.loop.remove(ref)
        else:
            memo.loop.add(ref)

    return handle


for _kind in operator.kinds:
    _group, _, _version = _kind.api_version.rpartition("/")
    kopf.on.event(group=_group, version=_version, kind=_kind.kind, id=_kind.kind)(changed(_kind))
