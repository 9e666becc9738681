"""What goes wrong around `captep run` on a real kube-apiserver: nothing is lost, nothing repeated, and all is well soon after."""

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
from tests.cluster.around import Around, play, told_by
from tests.cluster.manifests import bind, granted
from tests.cluster.process import Captep
from tests.cluster.proxy import Proxy
from tests.cluster.test_run import CREATION, DELETION, SECRETS, WRITES, rotate, secret_of, settle

pytestmark = pytest.mark.cluster
INTERVAL = 12.0
"""How soon at the latest a write is tried again that was refused: 10 s, a tenth of it that each key has for itself, the tick of 1 s."""
PACE = 3.6
"""How soon at the latest a watch is tried again: 3 s and a fifth of jitter."""
SLACK = 4.0
"""For the work itself, that of the neighbours included, on a busy machine of two cores."""
_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def begin(around: Around, subject: Subject) -> None:
    """Create a Cluster and its control plane, and wait for nothing."""
    for act in CREATION.acts:
        for request in act.requests(subject):
            assert around.call(request).ok


def is_usable(around: Around, subject: Subject) -> bool:
    """Whether the control plane is Ready and has its kubeconfig."""
    return CREATION.ends(around.objects, subject)


def writes_of(server: ApiServer, user: str, since: int) -> list[str]:
    """The accepted writes of `user` without Events and the Lease."""
    return [
        f"{verb} {ref}/{sub}"
        for verb, ref, sub, status in told_by(server, user, since=since)
        if verb in WRITES
        and status < 300
        and ref is not None
        and ref.kind not in ("Event", "Lease")
    ]


def assert_at_rest(server: ApiServer, user: str) -> None:
    """From now on nothing is written: the fixpoint."""
    settle(server, user)
    since = len(server.audit())
    time.sleep(3)
    assert writes_of(server, user, since) == []


def test_a_crash_at_any_moment_loses_nothing(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """Killed eight times while a control plane is made, it makes it all the same, each object created once, and then rests."""
    sapporo, chance = around.subject(namespace, "sapporo"), random.Random(16)
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
    """The cut-off leader ends with status 1; the standby takes over; no write of the one comes after the first of the other."""
    bind(apiserver, "base", "standby", lease_namespace=namespace)
    bind(apiserver, "base", "controller", lease_namespace=namespace)
    otaru, elect = (
        around.subject(namespace, "otaru"),
        ("--namespace", namespace, "--leader-elect", "--leader-election-namespace", namespace),
    )
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
            told = [
                each
                for each in apiserver.audit()[since:]
                if each["verb"] in WRITES and "dryRun" not in each["requestURI"]
            ]
            by = [
                each["user"]["username"]
                for each in told
                if each["objectRef"]["resource"] != "leases" and each["user"]["username"] != "admin"
            ]
            assert by == sorted(by)
            assert set(by) == {"controller", "standby"}


def test_a_leader_that_ends_hands_over_at_once(
    apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    """After SIGTERM the standby leads within four seconds, without waiting for the lease to expire."""
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


def test_a_restart_of_the_server_in_the_middle(
    apiserver: ApiServer, around: Around, controller: Path, namespace: str, tmp_path: Path
) -> None:
    """kube-apiserver dies while a control plane is made and comes back after three seconds: it is made, by the process that was there."""
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
    """CPU time of a process so far."""
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_cut_connection_costs_few_requests(
    apiserver: ApiServer, around: Around, namespace: str, tmp_path: Path
) -> None:
    """Cut off for ten seconds it uses under 2 % of a core; what happened meanwhile is mended within one interval after that."""
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
            what="the deleted Secret is made again",
            within=INTERVAL,
        )
        assert_at_rest(apiserver, "controller")


def test_a_permission_is_revoked_and_given_back(
    apiserver: ApiServer, around: Around, namespace: str, tmp_path: Path
) -> None:
    """Without permission for Secrets nothing else suffers and nothing is repeated in a hurry; given back, all is mended in one interval."""
    nagano, matsumoto = around.subject(namespace, "nagano"), around.subject(namespace, "matsumoto")
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
        refused = [each for each in told_by(apiserver, "tenant", since=since) if each[3] == 403]
        assert 1 <= len(refused) < 25, refused
        allow()
        eventually(
            lambda: secret_of(apiserver, nagano) and is_usable(around, matsumoto),
            what="all is well",
            within=INTERVAL + SLACK,
        )
        assert process.process.poll() is None
        assert_at_rest(apiserver, "tenant")


@contextmanager
def permission(server: ApiServer, user: str, namespace: str) -> Iterator[Any]:
    """Let `user` do what the manifests allow, all of it or without one resource; taken back at the end."""
    name, rbac = f"{user}-{namespace}", "/apis/rbac.authorization.k8s.io/v1"

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
    """Where the server prunes status.secretsReady a control plane becomes Ready all the same, and nothing is written again and again."""
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
    """A URL as host is put right, a kubeconfig apply that writes to `default` is read from there and left alone; then there is rest."""
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
    around.merge(
        apply,
        {
            "spec": {
                "writeConnectionSecretToRef": {
                    "name": "akita-outputs-kubeconfig",
                    "namespace": "default",
                }
            }
        },
    )
    apiserver.call("DELETE", SECRETS.path(namespace, "akita-outputs-kubeconfig"))
    apiserver.create(
        SECRETS.path("default"),
        {"metadata": {"name": "akita-outputs-kubeconfig"}, "data": {"kubeconfig": "b2xk"}},
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
            ) == {"value": "b2xk"}

        eventually(is_right, what="what the Go controller left is right", within=INTERVAL)
        rotate(apiserver, akita, "bmV3", "default")
        assert_at_rest(apiserver, "controller")
        assert (around.objects.get(apply) or {})["spec"]["writeConnectionSecretToRef"][
            "namespace"
        ] == "default"


@contextmanager
def lax(server: ApiServer, definition: str, part: str) -> Iterator[None]:
    """Let anything into a part of the objects of a kind, as a definition did that was less strict; what got in then stays."""
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
    """A Workspace and a control plane that no schema admits are told of; the control plane beside them is made as if nothing were; all rest."""
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
                lambda name=subject.name: tells_of_malformed(process, name),  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                what=f"{subject.name} is told of",
                within=INTERVAL,
            )
        play(around, CREATION, good)
        assert_at_rest(apiserver, "controller")
        assert (around.objects.get(bad.control_plane) or {})["status"]["ready"] is True
        assert process.process.poll() is None


def merged(server: ApiServer, path: str, body: dict[str, Any]) -> bool:
    """Merge into an object; whether the server took it."""
    return server.call("PATCH", path, body, content_type="application/merge-patch+json")[0] == 200


def tells_of_malformed(process: Captep, name: str) -> bool:
    """Whether the log says of a control plane that something of it is malformed."""
    return any(line.get("name") == name and "alformed" in line["message"] for line in process.log())
