"""Fixtures of the tests that need a real kube-apiserver."""

import itertools
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.apiserver import ApiServer
from tests.cluster.around import Around
from tests.cluster.crds import definitions
from tests.cluster.manifests import bind
from tests.cluster.tampering import Tampering

USERS = ("captep", "other", "controller", "standby", "tenant", "blind", "measured", "nobody")
_numbers = itertools.count(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the tests that need a server without KUBEBUILDER_ASSETS.

    The skip is in one place, so that pytest reports all of them in one line.
    """
    if item.get_closest_marker("cluster") and not os.environ.get("KUBEBUILDER_ASSETS"):
        pytest.skip(
            "needs KUBEBUILDER_ASSETS, a folder with etcd and kube-apiserver: "
            "make test-cluster builds and uses one"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ignore the warning about a socket that CPython 3.11 does not close.

    It is the socket of a TLS handshake that the server has reset; the garbage collector closes it.
    """
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(
                pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the server's log to the report of a failure."""
    report = yield
    server = getattr(item, "funcargs", {}).get("apiserver")
    if report.failed and isinstance(server, ApiServer):
        report.sections.append(("etcd and kube-apiserver", server.log_tail()))
    return report


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A running server with the kinds of captep installed."""
    assets = Path(os.environ["KUBEBUILDER_ASSETS"])
    missing = [name for name in ("etcd", "kube-apiserver") if not os.access(assets / name, os.X_OK)]
    if missing:
        pytest.fail(
            f"KUBEBUILDER_ASSETS={assets} has no executable {' and no executable '.join(missing)}",
            pytrace=False,
        )
    server = ApiServer(assets, tmp_path_factory.mktemp("apiserver"), users=USERS)
    server.start()
    try:
        server.install(definitions())
        yield server
    finally:
        server.stop()


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """A new namespace."""
    name = f"test-{next(_numbers)}"
    apiserver.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture(scope="session")
def controller(apiserver: ApiServer) -> Path:
    """The kubeconfig of a user with exactly the permissions of examples/manifests/base."""
    bind(apiserver, "base", "controller")
    return apiserver.kubeconfig("controller")


@pytest.fixture
def wire(apiserver: ApiServer) -> Iterator[Tampering]:
    """A wire to the server, for tampering."""
    with Tampering(apiserver) as wire:
        yield wire


@pytest.fixture
def through(apiserver: ApiServer, controller: Path, wire: Tampering) -> Path:
    """The kubeconfig of `controller`, with the wire in place of the server."""
    return apiserver.kubeconfig("controller", server=wire.url)


@pytest.fixture(scope="module")
def around(apiserver: ApiServer) -> Iterator[Around]:
    """The neighbours, at work."""
    with Around(apiserver) as neighbours:
        yield neighbours
