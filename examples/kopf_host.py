"""The `decide` of greeting.py inside kopf: kopf watches, captep's loop schedules and writes.

    kopf run examples/kopf_host.py --all-namespaces

What does not fit:

- kopf keeps no cache that a function could read from, so each pass reads its objects from the
  server. An operator of captep's own reads from its watches.
- kopf has no index of the objects that a decision read. Each kind needs a handler of its own here,
  and the loop's index finds the keys.
- kopf's retries, timers and daemons stay unused: they would add a finalizer and annotations to
  every Greeting, write at rest, and know neither refusals nor fights. The loop has the intervals.
- kopf's peering warns another instance; it does not fence writes. Run one replica, or use
  `greeting.operator.run(lease=...)`.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from captep_core import ObjectRef
from captep_kubernetes import KubernetesGateway, load_transport
from captep_operator import discovered
from captep_runtime import Logger, Loop
from examples.greeting import operator


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
def start(memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401 - kopf's own
    """Start the loop in threads of its own."""
    identity = operator.identity
    transport = load_transport(field_manager=identity.name, user_agent=identity.user_agent())
    kinds = [each.resource for each in discovered(transport, operator.kinds)]
    gateway = KubernetesGateway(transport, watched=(), written=kinds, component=identity.name)
    logger = Logger(logging.getLogger("kopf.objects"), identity.name)
    memo.loop = Loop(
        operator.decide,
        Live(gateway),
        Clock(),
        name=operator.name,
        reporter=logger,
        seconds=time.monotonic,
    )
    memo.loop.start(workers=4)


@kopf.on.cleanup()
def stop(memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401
    """End the passes under way."""
    memo.loop.stop(timedelta(seconds=6))


@kopf.on.event("example.com", "v1", "greetings")
def greeting_changed(
    event: kopf.RawEvent,
    namespace: str | None,
    name: str,
    memo: kopf.Memo,
    **_: Any,  # noqa: ANN401
) -> None:
    """Keep the key of a Greeting while it exists, and wake it."""
    key = ObjectRef("example.com/v1", "Greeting", namespace, name)
    if event["type"] == "DELETED":
        memo.loop.remove(key)
    else:
        memo.loop.add(key)


@kopf.on.event("v1", "configmaps")
def config_map_changed(
    namespace: str | None,
    name: str,
    memo: kopf.Memo,
    **_: Any,  # noqa: ANN401
) -> None:
    """Wake the keys whose last pass read this ConfigMap, if there are any."""
    memo.loop.notify(ObjectRef("v1", "ConfigMap", namespace, name))
