"""pytest fixtures for the in-memory API server, and the option `--captep-replay FILE`.

The entry point `captep` loads this package in every run of pytest, so it imports nothing of the
server or the kit before a test asks for it: a measurement of coverage begins after plugins are
loaded. With the option, `explore` of the operator that the file names replays the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from captep_memory.testing import KubeAPI, KubeWorld
    from captep_testing import Report

__all__ = [
    "kube_api",
    "kube_trial",
    "kube_world",
    "pytest_addoption",
    "pytest_configure",
    "pytest_unconfigure",
]


@pytest.fixture
def kube_world() -> KubeWorld:
    """An empty in-memory server; a namespace that is not in it counts as existing."""
    from captep_memory.testing import KubeWorld  # noqa: PLC0415 - see the docstring above

    return KubeWorld()


@pytest.fixture
def kube_api(tmp_path: Path) -> Iterator[KubeAPI]:
    """A server on a free port of loopback with the built-in namespaces, and its kubeconfig."""
    from captep_memory.testing import serving  # noqa: PLC0415 - see the docstring above

    with serving(tmp_path / "kubeconfig") as api:
        yield api


@pytest.fixture
def kube_trial(tmp_path: Path) -> Callable[..., Report]:
    """`captep_testing.process.trial` with its files in a folder of the test.

    `kube_trial(kit, ["node", "operator.js"]).require()` runs an operator of any language with a
    fault at each of its writes, and judges all of its requests.
    """
    from captep_testing.process import trial  # noqa: PLC0415 - see the docstring above

    return partial(trial, folder=tmp_path)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--captep-replay", metavar="FILE", help="replay the trace of a captep counterexample"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the trace.

    Raises:
        pytest.UsageError: the file is missing or holds no trace.
    """
    name = config.getoption("--captep-replay")
    if name is None:
        return
    from captep_testing._replay import load_trace, request  # noqa: PLC0415 - see the docstring above

    try:
        request(load_trace(Path(name)))
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--captep-replay: {error}") from error


def pytest_unconfigure(config: pytest.Config) -> None:
    """Search again."""
    if config.getoption("--captep-replay") is None:
        return
    from captep_testing._replay import request  # noqa: PLC0415 - see the docstring above

    request(None)
