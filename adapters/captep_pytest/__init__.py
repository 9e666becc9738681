"""pytest fixtures: the in-memory API server in the process, and over HTTP.

The entry point `captep` loads this package in every run of pytest, so it imports nothing of the
server before a test asks for a fixture: a measurement of coverage begins after plugins are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from captep_memory.testing import KubeAPI, KubeWorld

__all__ = ["kube_api", "kube_world"]


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
