"""The gateway over the official client keeps the gateway contract on a real kube-apiserver."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from captep_core.capt._resources import WATCHED
from captep_kubernetes import KubernetesGateway, load_transport
from tests.cluster.apiserver import ApiServer
from tests.gateways import GatewayContract, Site, eventually

pytestmark = pytest.mark.cluster


class TestOnACluster(GatewayContract):
    """The reference for the other two gateways."""

    @pytest.fixture
    def site(self, apiserver: ApiServer, namespace: str) -> Iterator[Site]:
        """A namespace of its own, and two gateways to it."""
        with ExitStack() as stack:
            gateways = [
                KubernetesGateway(
                    load_transport(apiserver.kubeconfig()), watched=WATCHED, namespaces=[namespace]
                )
                for _ in range(2)
            ]
            for gateway in gateways:
                gateway.start()
                stack.callback(gateway.stop)
            eventually(
                lambda: all(gateway.has_synced for gateway in gateways), "every cache has synced"
            )
            yield Site(gateways[0], gateways[1], namespace)
