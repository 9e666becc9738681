"""The gateway over the client keeps the contract against the in-memory API server behind HTTP."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from captep_core.capt._resources import WATCHED
from captep_kubernetes import KubernetesGateway
from captep_memory import load
from captep_memory.http import HTTPFacade
from tests.cluster.crds import definitions
from tests.gateways import GatewayContract, Site, eventually
from tests.kubernetes.scripted import transport_to

CORE = (("", "Secret"), ("", "Event"), ("coordination.k8s.io", "Lease"))


class TestOverHTTP(GatewayContract):
    """Sockets, watches and JSON between the gateway and the very same server as in memory."""

    @pytest.fixture
    def site(self) -> Iterator[Site]:
        """A server on a loopback port, and two gateways to it."""
        with ExitStack() as stack:
            server = stack.enter_context(
                HTTPFacade(load(definitions(), now=datetime(2026, 1, 1, tzinfo=UTC)), kinds=CORE)
            )
            gateways = [
                KubernetesGateway(transport_to(server.url), watched=WATCHED, namespaces=["fleet"])
                for _ in range(2)
            ]
            for gateway in gateways:
                gateway.start()
                stack.callback(gateway.stop)
            eventually(
                lambda: all(gateway.has_synced for gateway in gateways), "every cache has synced"
            )
            yield Site(gateways[0], gateways[1], "fleet")
