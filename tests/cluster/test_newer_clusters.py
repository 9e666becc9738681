"""A life on a real kube-apiserver that serves Clusters in v1beta2 alone, with and without core."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captep_core import ObjectRef
from captep_world import CoreVersion, stories
from captep_world._neighbour import deletion
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import FAST, Around, requests_by
from tests.cluster.crds import newer_definitions
from tests.cluster.manifests import bind
from tests.cluster.process import Captep
from tests.cluster.test_run import WRITES

pytestmark = pytest.mark.cluster
NEWER = "cluster.x-k8s.io/v1beta2"
USER = "controller"
QUIET_SECONDS = 36.0
"""Longer than the longest interval with jitter: the control plane is reconciled once more."""
CORES: tuple[CoreVersion | None, ...] = (None, "1.13")


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server of its own, whose Clusters have v1beta2 alone."""
    folder = tmp_path_factory.mktemp("newer")
    server = ApiServer(Path(os.environ["KUBEBUILDER_ASSETS"]), folder, users=(USER,))
    server.start()
    try:
        server.install(newer_definitions())
        bind(server, "base", USER)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def lives(newer: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, dict[str, Any]]:
    """What each life wrote, and what stood there at its height, by core."""
    return {core: _lived(newer, core, tmp_path_factory.mktemp("life")) for core in CORES}


def _lived(server: ApiServer, core: CoreVersion | None, folder: Path) -> dict[str, Any]:
    namespace = "without" if core is None else "with"
    server.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    cluster = ObjectRef(NEWER, "Cluster", namespace, "tokyo")
    seen: dict[str, Any] = {}
    words = ("--namespace", namespace, "--namespace", "default")
    with (
        Around(server, FAST, core) as around,
        Captep(server.kubeconfig(USER), folder, *words) as process,
    ):
        process.wait_until_it_works()
        subject = around.subject(namespace, "tokyo")
        since = len(server.audit())
        _, create = stories._create(subject)
        to = {
            "apiGroup": "controlplane.cluster.x-k8s.io",
            "kind": "CAPTControlPlane",
            "name": "tokyo",
        }
        path = f"/apis/{NEWER}/namespaces/{namespace}/clusters"
        named = {"apiVersion": NEWER, "kind": "Cluster", "metadata": {"name": "tokyo"}}
        server.create(path, {**named, "spec": {"controlPlaneRef": to}})
        assert around.call(create).ok
        eventually(lambda: stories.is_usable(around.objects, subject), what="Ready", within=40)
        eventually(
            lambda: _initialization(around.objects.get(cluster)).get("controlPlaneInitialized"),
            what="the Cluster shows it",
            within=20,
        )
        time.sleep(3)
        seen["made"] = _accepted(server, since)
        seen["cluster"] = around.objects.get(cluster)
        seen["control plane"] = around.objects.get(subject.control_plane)
        since = len(server.audit())
        time.sleep(QUIET_SECONDS)
        seen["quiet"] = requests_by(server, USER, since=since)
        since = len(server.audit())
        first = subject.control_plane if core is None else cluster
        assert around.call(deletion(first)).ok
        eventually(
            lambda: around.objects.get(subject.control_plane) is None, what="gone", within=40
        )
        seen["deleted"] = _accepted(server, since)
    return seen


def _accepted(server: ApiServer, since: int) -> list[str]:
    """Return the writes without Events. A conflict with core, which acts at once, is no other
    refusal.
    """
    sent = [
        (f"{verb} {ref}{'/' + sub if sub else ''}", status)
        for verb, ref, sub, status in requests_by(server, USER, since=since)
        if verb in WRITES and ref is not None and ref.kind not in ("Event", "Lease")
    ]
    assert {status for _, status in sent if status >= 300} <= {409}, sent
    # The names of kinds are known in their usual version alone.
    return [write.replace("clusters", "Cluster") for write, status in sent if status < 300]


def _initialization(cluster: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return ((cluster or {}).get("status") or {}).get("initialization") or {}


@pytest.mark.parametrize("core", CORES)
def test_the_control_plane_refers_to_its_cluster_in_v1beta2(
    lives: dict[Any, dict[str, Any]], core: CoreVersion | None
) -> None:
    """Once, captep or core, by which came first."""
    (reference,) = lives[core]["control plane"]["metadata"]["ownerReferences"]
    assert (reference["apiVersion"], reference["kind"]) == (NEWER, "Cluster")


@pytest.mark.parametrize("core", CORES)
def test_endpoint_and_initialization_reach_the_cluster(
    lives: dict[Any, dict[str, Any]], core: CoreVersion | None
) -> None:
    """The server's definition accepts each field."""
    cluster = lives[core]["cluster"]
    assert cluster["apiVersion"] == NEWER
    assert cluster["spec"]["controlPlaneEndpoint"]["port"] == 443
    assert cluster["status"]["initialization"]["controlPlaneInitialized"] is True
    (shown,) = (
        each for each in cluster["status"]["conditions"] if each["type"].startswith("ControlPlaneI")
    )
    assert (shown["status"], shown["reason"]) == ("True", "Initialized")


@pytest.mark.parametrize("core", CORES)
def test_at_rest_nothing_is_written_and_nothing_is_discovered(
    lives: dict[Any, dict[str, Any]], core: CoreVersion | None
) -> None:
    """Watches alone go on; a refused watch of definitions is not tried again."""
    verbs = {(verb, ref and ref.kind) for verb, ref, _, _ in lives[core]["quiet"]}
    assert {verb for verb, _ in verbs} <= {"watch"}


def test_core_takes_over_its_share_and_nothing_else_changes(
    lives: dict[Any, dict[str, Any]],
) -> None:
    """The same writes as without core, minus the status of the Cluster."""
    status = "patch Cluster {}/tokyo/status"
    without = [each.replace("without", "with") for each in lives[None]["made"]]
    assert status.format("with") in without
    without.remove(status.format("with"))
    made = lives["1.13"]["made"]
    # Core may set the owner reference first, in the same pass as ours or before it.
    assert sorted(made) == sorted(without)


@pytest.mark.parametrize("core", CORES)
def test_the_deletion_withdraws_the_endpoint_first(
    lives: dict[Any, dict[str, Any]], core: CoreVersion | None
) -> None:
    """The Cluster's endpoint, both applies and the finalizer go, in this order."""
    first, *_, last = lives[core]["deleted"]
    assert (first.split()[:2], last.split()[:2]) == (
        ["patch", "Cluster"],
        ["patch", "CAPTControlPlane"],
    )
