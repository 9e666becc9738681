"""The gateway over a world of the in-memory API server keeps the contract of gateways."""

from datetime import UTC, datetime

import pytest

from captep_memory import MemoryGateway, load
from tests.cluster.crds import definitions
from tests.gateways import GatewayContract, Site


class TestMemory(GatewayContract):
    """Over the in-memory server itself; the same gateway plays the other writers."""

    @pytest.fixture
    def site(self) -> Site:
        """A server with the kinds of captep installed."""
        gateway = MemoryGateway(load(definitions(), now=datetime(2026, 1, 1, tzinfo=UTC)))
        return Site(gateway, gateway, "fleet")
