"""Faults around `captep run` on a real kube-apiserver.

Nothing is lost, nothing is repeated, and everything is repaired soon.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from captep_core import ObjectRef
from captep_core.capt._resources import RESOURCES
from captep_world import Subject
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around, play, requests_by
from tests.cluster.manifests import bind, granted
from tests.cluster.process import Captep
from tests.cluster.proxy import Proxy
from tests.cluster.test_run import CREATION, DELETION, SECRETS, WRITES, rotate, secret_of, settle

pytestmark = pytest.mark.cluster
INTERVAL = 12.0
"""Seconds after which a refused write is retried at the latest.

They are the interval of 10 s, a tenth of it as jitter of each key, and the tick of 1 s.
"""
PACE = 3.6
"""Seconds after which a watch is retried at the latest: 3 s and a fifth of jitter."""
SLACK = 4.0
"""Seconds for the work itself and that of the neighbours, on a busy machine of two cores."""
_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def begin(around: Around, subject: Subject) -> None:
    """Create a Cluster and its control plane without waiting for anything."""
    for act in CREATION.acts:
        for request in act.requests(subject):
            assert around.call(request).ok


def is_usable(around: Around, subject: Subject) -> bool:
    """Whether the control plane is Ready and has its kubeconfig."""
    return CREATION.ends(around.objects, subject)


def writes_of(server: ApiServer, user: str, since: int) -> list[str]:
    """Return the accepted writes of `user`, without those of Events and the Lease."""
    return [
        f"{verb} {ref}/{sub}"
        for verb, ref, sub, status in requests_by(server, user, since=since)
        if verb in WRITES
        and status < 300
        and ref is not None
        and ref.kind not in ("Event", "Lease")
    ]


def assert_at_rest(server: ApiServer, user: str) -> None:
    """From now on there is no write: the fixpoint."""
    settle(server, user)
    since = len(server.audit())
    time.sleep(3)
    assert writes_of(server, user, since) == []


def test_a_crash_at_any_moment_loses_nothing(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """Eight kills during a creation: each object is created once, and then there is rest."""
    sapporo = around.subject(namespace, "sapporo")
    chance = random.Random(16)
    since = len(apiserver.audit())
    begin(around, sapporo)
    for _ in range(8):
        with Captep(controller, tmp_path, "--namespace", namespace) as process:
            process.wait_until_it_works()
            time.sleep(chance.uniform(0.0, 0.4))
    with Captep(controller, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        eventually(
            lambda: is_usable(around, sapporo), what="usable after eight crashes", within=INTERVAL
        )
        assert_at_rest(apiserver, "controller")
        creations = [
            write
            for write in writes_of(apiserver, "controller", since)
            if write.startswith("create")
        ]
        assert len(creations) == len(set(creations)) == 5, creations
        play(around, DELETION, sapporo)


def test_a_leader_that_is_cut_off_stops_before_another_begins(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """The cut-off leader ends with status 1 and writes nothing after the standby's first write."""
    bind(apiserver, "base", "standby", lease_namespace=namespace)
    bind(apiserver, "base", "controller", lease_namespace=namespace)
    otaru = around.subject(namespace, "otaru")
    elect = ("--namespace", namespace, "--leader-elect", "--leader-election-namespace", namespace)
    since = len(apiserver.audit())
    with (
        Proxy(apiserver.port) as wire,
        Captep(apiserver.kubeconfig("controller", server=wire.url), tmp_path, *elect) as first,
    ):
        first.wait_until_it_works()
        with Captep(apiserver.kubeconfig("standby"), tmp_path, *elect) as second:
            eventually(
                lambda: second.says("waiting for the lease"), what="the standby waits", within=20
            )
            begin(around, otaru)
            eventually(lambda: secret_of(apiserver, otaru, "ca"), what="the leader works")
            wire.cut()
            cut_at = time.monotonic()
            apiserver.call("DELETE", SECRETS.path(namespace, "otaru-ca"))
            eventually(second.works, what="the standby leads", within=30)
            assert 5 < time.monotonic() - cut_at < 25
            assert first.process.wait(15) == 1
            assert first.says("the lease")
            eventually(
                lambda: is_usable(around, otaru) and secret_of(apiserver, otaru, "ca"),
                what="usable",
                within=INTERVAL,
            )
            writes = [
                each
                for each in apiserver.audit()[since:]
                if each["verb"] in WRITES and "dryRun" not in each["requestURI"]
            ]
            by = [
                each["user"]["username"]
                for each in writes
                if each["objectRef"]["resource"] != "leases" and each["user"]["username"] != "admin"
            ]
            assert by == sorted(by)
            assert set(by) == {"controller", "standby"}


def test_a_leader_that_ends_hands_over_at_once(
    apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    """After SIGTERM the standby leads within four seconds, before the lease would expire."""
    for user in ("controller", "standby"):
        bind(apiserver, "base", user, lease_namespace=namespace)
    elect = ("--namespace", namespace, "--leader-elect", "--leader-election-namespace", namespace)
    with (
        Captep(apiserver.kubeconfig("controller"), tmp_path, *elect) as first,
        Captep(apiserver.kubeconfig("standby"), tmp_path, *elect) as second,
    ):
        eventually(
            lambda: any(each.says("working with") for each in (first, second)),
            what="one leads",
            within=20,
        )
        leads, waits = (first, second) if first.says("working with") else (second, first)
        assert not waits.says("working with")
        eventually(lambda: waits.says("waiting for the lease"), what="the other waits", within=20)
        assert waits.get("/readyz") == (200, "ok")
        assert leads.end()[0] == 0
        eventually(lambda: waits.says("working with"), what="the other leads", within=4)


def test_a_restart_of_the_server_does_not_stop_a_creation(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """kube-apiserver is away for three seconds; the process idles and then goes on."""
    hakone = around.subject(namespace, "hakone")
    with Captep(controller, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        begin(around, hakone)
        time.sleep(0.3)
        apiserver.kill_apiserver()
        before = cpu_seconds(process)
        time.sleep(3)
        assert cpu_seconds(process) - before < 0.3
        apiserver.start_apiserver()
        eventually(
            lambda: is_usable(around, hakone),
            what="usable after the restart",
            within=INTERVAL + SLACK,
        )
        assert process.process.poll() is None
        assert_at_rest(apiserver, "controller")


def cpu_seconds(process: Captep) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_cut_connection_costs_few_requests(
    apiserver: ApiServer, around: Around, namespace: str, tmp_path: Path
) -> None:
    """Ten seconds cut off cost under 2 % of a core; one interval later all is repaired."""
    bind(apiserver, "base", "controller", lease_namespace=namespace)
    nikko = around.subject(namespace, "nikko")
    with (
        Proxy(apiserver.port) as wire,
        Captep(
            apiserver.kubeconfig("controller", server=wire.url), tmp_path, "--namespace", namespace
        ) as process,
    ):
        process.wait_until_it_works()
        play(around, CREATION, nikko)
        settle(apiserver, "controller")
        wire.cut()
        time.sleep(0.5)
        before = cpu_seconds(process)
        apiserver.call("DELETE", SECRETS.path(namespace, "nikko-kubeconfig"))
        time.sleep(10)
        assert cpu_seconds(process) - before < 0.2
        wire.mend()
        eventually(
            lambda: secret_of(apiserver, nikko),
            what="the deleted Secret is created again",
            within=INTERVAL,
        )
        assert_at_rest(apiserver, "controller")


def test_a_revoked_permission_stops_only_its_own_kind(
    apiserver: ApiServer, around: Around, namespace: str, tmp_path: Path
) -> None:
    """Other kinds go on and refusals stay few; the permission returns, and all is repaired."""
    nagano = around.subject(namespace, "nagano")
    matsumoto = around.subject(namespace, "matsumoto")
    with (
        permission(apiserver, "tenant", namespace) as allow,
        Captep(apiserver.kubeconfig("tenant"), tmp_path, "--namespace", namespace) as process,
    ):
        process.wait_until_it_works()
        play(around, CREATION, nagano)
        settle(apiserver, "tenant")
        allow(without="secrets")
        since = len(apiserver.audit())
        apiserver.call("DELETE", SECRETS.path(namespace, "nagano-kubeconfig"))
        begin(around, matsumoto)
        eventually(
            lambda: (
                (
                    apiserver.call(
                        "GET",
                        f"/apis/{_INFRASTRUCTURE}/namespaces/{namespace}/workspacetemplateapplies/matsumoto-eks-controlplane-apply",
                    )[0]
                )
                == 200
            ),
            what="other kinds are worked on",
        )
        time.sleep(INTERVAL)
        refused = [each for each in requests_by(apiserver, "tenant", since=since) if each[3] == 403]
        assert 1 <= len(refused) < 25, refused
        allow()
        eventually(
            lambda: secret_of(apiserver, nagano) and is_usable(around, matsumoto),
            what="both control planes are well",
            within=INTERVAL + SLACK,
        )
        assert process.process.poll() is None
        assert_at_rest(apiserver, "tenant")


@contextmanager
def permission(server: ApiServer, user: str, namespace: str) -> Iterator[Any]:
    """Grant `user` the permissions of the manifests, until the end.

    Yields a function that grants them again, all of them or without those for one resource.
    """
    name = f"{user}-{namespace}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"

    def rules(without: str = "") -> list[dict[str, list[str]]]:
        return [
            {"apiGroups": [g], "resources": [r], "verbs": [v]}
            for g, r, v in granted("base")
            if r != without
        ]

    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    server.create(f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": rules()})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    server.create(
        f"{rbac}/clusterrolebindings",
        {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]},
    )

    def allow(without: str = "") -> None:
        server.merge(f"{rbac}/clusterroles/{name}", {"rules": rules(without)})

    eventually(
        lambda: server.call("GET", SECRETS.path(), user=user)[0] == 200,
        what="the permission counts",
    )
    try:
        yield allow
    finally:
        server.call("DELETE", f"{rbac}/clusterrolebindings/{name}")


def test_a_definition_without_secrets_ready_comes_to_rest(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """A server that prunes status.secretsReady still gets a Ready control plane, and rest."""
    aomori = around.subject(namespace, "aomori")
    path = f"{_DEFINITIONS}/captcontrolplanes.controlplane.cluster.x-k8s.io"
    whole = apiserver.call("GET", path)[1]["spec"]
    older = deepcopy(whole)
    for version in older["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"].pop(
            "secretsReady"
        )
    apiserver.merge(path, {"spec": older})
    try:
        time.sleep(1)
        with Captep(controller, tmp_path, "--namespace", namespace) as process:
            process.wait_until_it_works()
            play(around, CREATION, aomori)
            assert_at_rest(apiserver, "controller")
            found = around.objects.get(aomori.control_plane) or {}
            assert "secretsReady" not in found["status"]
            play(around, DELETION, aomori)
    finally:
        apiserver.merge(path, {"spec": whole})


def test_a_control_plane_of_the_go_controller_is_taken_over(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """A URL as host is repaired; a kubeconfig apply that writes to `default` stays as it is."""
    akita = around.subject(namespace, "akita")
    with Captep(controller, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        play(around, CREATION, akita)
        settle(apiserver, "controller")
    apply = ObjectRef(
        _INFRASTRUCTURE, "WorkspaceTemplateApply", namespace, "akita-kubeconfig-apply"
    )
    host = (around.objects.get(akita.control_plane) or {})["spec"]["controlPlaneEndpoint"]["host"]
    for ref in (akita.control_plane, akita.cluster):
        around.merge(
            ref, {"spec": {"controlPlaneEndpoint": {"host": f"https://{host}", "port": 443}}}
        )
    name = (around.objects.get(apply) or {})["status"]["workspaceName"]
    workspace = ObjectRef("tf.upbound.io/v1beta1", "Workspace", None, name)
    place = {"name": "akita-outputs-kubeconfig", "namespace": "default"}
    around.merge(apply, {"spec": {"writeConnectionSecretToRef": place}})
    # A place there would have the simulated Terraform write a kubeconfig of its own.
    around.merge(workspace, {"spec": {"writeConnectionSecretToRef": None}})
    apiserver.call("DELETE", SECRETS.path(namespace, "akita-outputs-kubeconfig"))
    # A Secret elsewhere counts only when the Workspace of our own apply owns it.
    owner = {
        "apiVersion": workspace.api_version,
        "kind": workspace.kind,
        "name": name,
        "uid": (around.objects.get(workspace) or {})["metadata"]["uid"],
        "controller": True,
    }
    apiserver.create(
        SECRETS.path("default"),
        {
            "metadata": {"name": "akita-outputs-kubeconfig", "ownerReferences": [owner]},
            "data": {"kubeconfig": "a2luZDogQ29uZmlnCiMgb2xkCg=="},
        },
    )
    with Captep(
        controller, tmp_path, "--namespace", namespace, "--namespace", "default"
    ) as process:
        process.wait_until_it_works()

        def is_right() -> bool:
            endpoints = [
                (around.objects.get(ref) or {})["spec"]["controlPlaneEndpoint"]
                for ref in (akita.control_plane, akita.cluster)
            ]
            return endpoints == [{"host": host, "port": 443}] * 2 and secret_of(
                apiserver, akita
            ) == {"value": "a2luZDogQ29uZmlnCiMgb2xkCg=="}

        eventually(is_right, what="what the Go controller left is right", within=INTERVAL)
        rotate(apiserver, akita, "a2luZDogQ29uZmlnCiMgbmV3Cg==", "default")
        assert_at_rest(apiserver, "controller")
        assert (around.objects.get(apply) or {})["spec"]["writeConnectionSecretToRef"][
            "namespace"
        ] == "default"


@contextmanager
def lax(server: ApiServer, definition: str, part: str) -> Iterator[None]:
    """Let anything into one part of a kind's objects, as an older definition did.

    Invalid objects stay after the end.
    """
    path = f"{_DEFINITIONS}/{definition}"
    strict = server.call("GET", path)[1]["spec"]
    loose = deepcopy(strict)
    for version in loose["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"][part] = {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
        }
    server.merge(path, {"spec": loose})
    try:
        yield
    finally:
        server.merge(path, {"spec": strict})


def test_malformed_objects_harm_no_other(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """A malformed Workspace and control plane are logged; another control plane gets Ready."""
    bad, worse, good = (around.subject(namespace, name) for name in ("iwate", "aizu", "miyagi"))
    unsound = {"status": {"atProvider": {"outputs": "unsound"}}}
    with Captep(controller, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        for subject in (bad, worse):
            play(around, CREATION, subject)
        with lax(apiserver, "workspaces.tf.upbound.io", "status"):
            path = RESOURCES["tf.upbound.io/v1beta1", "Workspace"].path(
                None, bad.workspace.name, "status"
            )
            eventually(lambda: merged(apiserver, path, unsound), what="an unsound Workspace got in")
        with lax(apiserver, "captcontrolplanes.controlplane.cluster.x-k8s.io", "spec"):
            path = RESOURCES[worse.control_plane.api_version, "CAPTControlPlane"].path(
                namespace, worse.name
            )
            eventually(
                lambda: merged(apiserver, path, {"spec": {"version": 5}}),
                what="an unsound control plane got in",
            )
        for subject in (bad, worse):
            eventually(
                lambda name=subject.name: logs_malformed(process, name),  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                what=f"{subject.name} is logged as malformed",
                within=INTERVAL,
            )
        play(around, CREATION, good)
        assert_at_rest(apiserver, "controller")
        assert (around.objects.get(bad.control_plane) or {})["status"]["ready"] is True
        assert process.process.poll() is None


def merged(server: ApiServer, path: str, body: dict[str, Any]) -> bool:
    """Merge-patch an object; return whether the server accepted it."""
    return server.call("PATCH", path, body, content_type="application/merge-patch+json")[0] == 200


def logs_malformed(process: Captep, name: str) -> bool:
    """Whether the log says that something of a control plane is malformed."""
    return any(line.get("name") == name and "alformed" in line["message"] for line in process.log())
