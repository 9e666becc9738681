"""Measures `captep run` with many control planes on a real kube-apiserver.

    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_cluster [CONTROL_PLANES]
    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_cluster --rest CONTROL_PLANES

`KUBEBUILDER_ASSETS` names the folder with the server's binaries. Prints one JSON object per
figure. `--rest` makes the fleet without Terraform's peers: each control plane waits for its first
apply, and only users change anything.

Otherwise the simulated peers act at once and do the least that the controller needs; they share the
machine's CPU with the API server and the controller.
"""

import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import asdict, frozen

from captep_core.capt._resources import RESOURCES
from captep_kubernetes import MERGE_PATCH, CacheChange, Informer, load_transport
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.crds import definitions
from tests.cluster.manifests import bind
from tests.cluster.process import Captep

_FLEET = "fleet"
_BARE = "bare"
_BARE_WRITES = 1000
# As many as the controller has workers.
_THREADS = 4
_READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Available",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
_SYNCED = {
    "type": "Synced",
    "status": "True",
    "reason": "ReconcileSuccess",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
_APPLIES = RESOURCES[_INFRASTRUCTURE, "WorkspaceTemplateApply"]
_WORKSPACES = RESOURCES["tf.upbound.io/v1beta1", "Workspace"]
_SECRETS = RESOURCES["v1", "Secret"]
_CONTROL_PLANES = RESOURCES["controlplane.cluster.x-k8s.io/v1beta1", "CAPTControlPlane"]
_QUIET_SECONDS = 66.0
_ROTATIONS = 300
_CLIENT_LOADED = (
    "import captep_kubernetes, captep_runtime, captep_core, time; import kubernetes.dynamic;"
    " print(flush=True); time.sleep(60)"
)


def show(figure: str, **values: object) -> None:
    """Print a figure."""
    print(json.dumps({"figure": figure, **values}), flush=True)


class Users:
    """Sends the requests of users and peers from a pool of threads."""

    def __init__(self, server: ApiServer) -> None:
        self.transport = load_transport(server.kubeconfig(), connection_pool_maxsize=32)
        self.pool = ThreadPoolExecutor(8)

    def create(self, path: str, body: dict[str, Any]) -> None:
        """Create an object unless it exists."""
        answer = self.transport.request("POST", path, body=body, timeout=30)
        assert answer.status in (201, 409), (path, answer.status, answer.body)

    def merge(self, path: str, body: dict[str, Any]) -> None:
        """Merge-patch an object."""
        answer = self.transport.request(
            "PATCH", path, body=body, content_type=MERGE_PATCH, timeout=30
        )
        assert answer.status == 200, (path, answer.status, answer.body)

    def all(self, tasks: Iterable[Callable[[], None]]) -> None:
        """Run all tasks and wait for them."""
        for done in [self.pool.submit(task) for task in tasks]:
            done.result()


class Neighbours:
    """Makes each apply Ready at once, with a Workspace and its outputs; a context manager."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._seen: set[str] = set()
        self._informer = Informer(users.transport, _APPLIES, on_change=self._changed)
        self._problems: list[BaseException] = []

    def __enter__(self) -> Self:
        self._informer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._informer.stop()
        assert kind is not None or not self._problems, self._problems[:3]

    def _changed(self, change: CacheChange) -> None:
        name = change.ref.name
        if change.new is not None and name not in self._seen:
            self._seen.add(name)
            self._users.pool.submit(self._apply, name, change.new)

    def _apply(self, name: str, apply: dict[str, Any]) -> None:
        try:
            self._make(name, apply["spec"].get("writeConnectionSecretToRef"))
        except BaseException as problem:  # noqa: BLE001  # __exit__ reports it
            self._problems.append(problem)

    def _make(self, name: str, to: dict[str, str] | None) -> None:
        workspace = name.removesuffix("-apply")
        cluster = name.partition("-")[0]
        outputs = {"cluster_endpoint": f"https://{cluster}.example", "role_exists": True}
        if to:
            data = {
                "kubeconfig": _KUBECONFIG,
                "cluster_endpoint": f"https://{cluster}.example",
                "cluster_certificate_authority_data": _CA,
            }
            encoded = {
                key: base64.b64encode(value.encode()).decode() for key, value in data.items()
            }
            self._users.create(
                _SECRETS.path(_FLEET), {"metadata": {"name": to["name"]}, "data": encoded}
            )
        spec: dict[str, Any] = {"forProvider": {"source": "Inline", "module": "# a module\n" * 50}}
        if to:
            spec["writeConnectionSecretToRef"] = to
        body = {
            "apiVersion": _WORKSPACES.api_version,
            "kind": "Workspace",
            "metadata": {"name": workspace},
            "spec": spec,
        }
        self._users.create(_WORKSPACES.path(), body)
        self._users.merge(
            _WORKSPACES.path(None, workspace, "status"),
            {"status": {"conditions": [_SYNCED, _READY], "atProvider": {"outputs": outputs}}},
        )
        status = {
            "applied": True,
            "workspaceName": workspace,
            "lastAppliedTime": "2026-01-01T00:00:00Z",
            "conditions": [_SYNCED, _READY],
        }
        self._users.merge(_APPLIES.path(_FLEET, name, "status"), {"status": status})


_KUBECONFIG = "apiVersion: v1\nkind: Config\nusers: []\n" + "# as long as a real one\n" * 80
_CA = base64.b64encode(
    b"-----BEGIN CERTIFICATE-----\n" + b"A" * 1400 + b"\n-----END CERTIFICATE-----\n"
).decode()


def give(users: Users, count: int) -> None:
    """Create the fleet as a user does."""
    users.create("/api/v1/namespaces", {"metadata": {"name": _FLEET}})
    template = {
        "apiVersion": _INFRASTRUCTURE,
        "kind": "WorkspaceTemplate",
        "spec": {"template": {"spec": {"forProvider": {"source": "Inline", "module": ""}}}},
    }
    users.create(
        RESOURCES[_INFRASTRUCTURE, "WorkspaceTemplate"].path(_FLEET),
        {**template, "metadata": {"name": "eks"}},
    )
    users.all(_giver(users, _FLEET, f"c{number}") for number in range(count))


def _giver(users: Users, namespace: str, name: str) -> Callable[[], None]:
    ref = {
        "apiVersion": _CONTROL_PLANES.api_version,
        "kind": "CAPTControlPlane",
        "name": name,
        "namespace": namespace,
    }
    cluster = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {"controlPlaneRef": ref},
    }
    spec = {
        "version": "1.33",
        "workspaceTemplateRef": {"name": "eks"},
        "controlPlaneConfig": {"region": "ap-northeast-1"},
    }
    control_plane = {
        "apiVersion": _CONTROL_PLANES.api_version,
        "kind": "CAPTControlPlane",
        "metadata": {"name": name},
        "spec": spec,
    }

    def task() -> None:
        users.create(RESOURCES["cluster.x-k8s.io/v1beta1", "Cluster"].path(namespace), cluster)
        users.create(_CONTROL_PLANES.path(namespace), control_plane)

    return task


def usable(users: Users) -> int:
    """Count the control planes that are Ready with their Secrets."""
    items = users.transport.request("GET", _CONTROL_PLANES.path(_FLEET), timeout=60).body or {}
    found = items.get("items")
    assert isinstance(found, list)
    return sum(
        bool(each.get("status", {}).get("ready") and each["status"].get("secretsReady"))  # type: ignore[union-attr]  # JSON
        for each in found
        if isinstance(each, dict)
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_after(seconds: float) -> bool:
    """Wait and return True: a condition that polls must not use the measured CPU."""
    time.sleep(seconds)
    return True


def spent(pid: int, seconds: float) -> float:
    """Return the CPU time of a process within the next `seconds`."""
    before = cpu_seconds(pid)
    return is_after(seconds) * (cpu_seconds(pid) - before)


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    line = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024


def idle_rss_mib() -> float:
    """Return the resident memory of an idle interpreter with the client loaded, in MiB."""
    with subprocess.Popen([sys.executable, "-c", _CLIENT_LOADED], stdout=subprocess.PIPE) as idle:
        assert idle.stdout is not None
        idle.stdout.readline()
        resident = rss_mib(idle.pid)
        idle.kill()
    return resident


def asked(server: ApiServer, since: int) -> list[dict[str, Any]]:
    """Return the audit events of the controller's requests for objects."""
    return [
        event
        for event in server.audit()[since:]
        if event["user"].get("username") == "controller" and "objectRef" in event
    ]


@frozen
class Spent:
    """CPU seconds of the processes that share the machine."""

    controller: float
    users_and_peers: float
    api_server: float
    etcd: float

    @classmethod
    def so_far(cls, server: ApiServer, process: Captep) -> Self:
        """Return what each process has spent since its start."""
        return cls(
            controller=cpu_seconds(process.process.pid),
            users_and_peers=time.process_time(),
            api_server=cpu_seconds(server.pid("kube-apiserver")),
            etcd=cpu_seconds(server.pid("etcd")),
        )

    def since(self, before: Self) -> dict[str, float]:
        """Return what each process spent since `before`."""
        now, then = asdict(self), asdict(before)
        return {name: now[name] - then[name] for name in now}


def bare(server: ApiServer, users: Users) -> float:
    """Return the milliseconds of CPU that a write costs a client that decides nothing."""
    users.create("/api/v1/namespaces", {"metadata": {"name": _BARE}})
    _giver(users, _BARE, _BARE)()
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bare_client",
        str(server.kubeconfig()),
        _CONTROL_PLANES.path(_BARE, _BARE, "status"),
        str(_BARE_WRITES),
        str(_THREADS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    for resource in (_CONTROL_PLANES, RESOURCES["cluster.x-k8s.io/v1beta1", "Cluster"]):
        users.transport.request("DELETE", resource.path(_BARE, _BARE), timeout=30)
    figures = json.loads(done.stdout)
    milliseconds = float(1000 * figures["cpu_seconds"] / figures["writes"])
    show(
        "a write of a bare client",
        cpu_ms=round(milliseconds, 2),
        writes_each_second=round(figures["writes"] / figures["seconds"]),
        threads=_THREADS,
    )
    return milliseconds


@frozen
class Cost:
    """The CPU of a creation: the writes that the controller sent, Events included, and who spent
    how many seconds.
    """

    writes: int
    seconds: dict[str, float]

    @property
    def milliseconds(self) -> float:
        """The controller's CPU for each write."""
        return 1000 * self.seconds["controller"] / self.writes

    @property
    def percent(self) -> float:
        """The controller's share of the CPU of all."""
        return 100 * self.seconds["controller"] / sum(self.seconds.values())


def compare(cost: Cost, bare_milliseconds: float) -> None:
    """Show the controller next to a client that sends the same number of writes and decides
    nothing.
    """
    sender = {**cost.seconds, "controller": cost.writes * bare_milliseconds / 1000}
    show(
        "CPU of the controller and of a bare client",
        ms_each_write=round(cost.milliseconds, 2),
        bare_ms_each_write=round(bare_milliseconds, 2),
        ratio=round(cost.milliseconds / bare_milliseconds, 2),
        target=3,
        share_percent=round(cost.percent, 1),
        bare_share_percent=round(Cost(cost.writes, sender).percent, 1),
        target_percent=8,
    )


def creation(server: ApiServer, users: Users, process: Captep, count: int) -> Cost:
    """Measure the creation of the whole fleet, until each control plane is usable."""
    since, began = len(server.audit()), time.monotonic()
    with Neighbours(users):
        eventually(process.works, what="works", within=60)
        before = Spent.so_far(server, process)
        eventually(
            lambda: is_after(1.0) and usable(users) == count,
            what="the whole fleet is usable",
            within=900,
        )
    seconds = time.monotonic() - began
    used = Spent.so_far(server, process).since(before)
    time.sleep(5)
    requests = asked(server, since)
    sent = Counter(
        (each["objectRef"]["resource"] == "events", each["responseStatus"]["code"] < 300)
        for each in requests
        if each["verb"] in ("create", "patch", "delete")
    )
    cost = Cost(sent.total(), used)
    show(
        "creation",
        control_planes=count,
        seconds=round(seconds, 1),
        cpu_seconds={name: round(value, 1) for name, value in used.items()},
        start_up_cpu_seconds=round(before.controller, 1),
        load=os.getloadavg()[0],
        writes_each=sent[False, True] / count,
        events_each=sent[True, True] / count,
        refused=sent[False, False] + sent[True, False],
        gets_each=sum(each["verb"] == "get" for each in requests) / count,
        target_gets_each=2,
        log_lines_each=len(process.log()) / count,
        target_seconds=60,
    )
    return cost


def quiet(server: ApiServer, process: Captep, count: int) -> None:
    """Measure requests, CPU and memory at rest."""
    pid = process.process.pid
    since, before = len(server.audit()), cpu_seconds(pid)
    time.sleep(_QUIET_SECONDS)
    share = (cpu_seconds(pid) - before) / _QUIET_SECONDS
    verbs = Counter(each["verb"] for each in asked(server, since))
    resident, idle = rss_mib(pid), idle_rss_mib()
    show(
        "requests at rest",
        control_planes=count,
        seconds=_QUIET_SECONDS,
        by_verb=dict(verbs),
        target="watch only",
    )
    show("CPU at rest", control_planes=count, percent_of_a_core=round(100 * share, 2), target=1)
    show(
        "memory",
        control_planes=count,
        mib=round(resident, 1),
        idle_client_mib=round(idle, 1),
        above=round(resident - idle, 1),
        target=60,
    )


def rotation(server: ApiServer, users: Users, count: int) -> None:
    """Measure the time from a Secret's change to the write that copies it, by the audit log."""
    since = len(server.audit())
    names = [f"c{number * 7 % count}" for number in range(min(_ROTATIONS, count))]
    for number, name in enumerate(names):
        # What is no kubeconfig would not be copied.
        value = base64.b64encode(f"{_KUBECONFIG}# {number}\n".encode()).decode()
        users.merge(
            _SECRETS.path(_FLEET, f"{name}-outputs-kubeconfig"), {"data": {"kubeconfig": value}}
        )
        time.sleep(0.02)
    time.sleep(5)
    at: dict[tuple[str, str], float] = {}
    for event in server.audit()[since:]:
        if event["verb"] == "patch" and event["objectRef"]["resource"] == "secrets":
            moment = (
                "stageTimestamp"
                if event["user"]["username"] == "admin"
                else "requestReceivedTimestamp"
            )
            at[
                event["user"]["username"],
                event["objectRef"]["name"]
                .removesuffix("-outputs-kubeconfig")
                .removesuffix("-kubeconfig"),
            ] = _seconds(event[moment])
    waits = sorted(1000 * (at["controller", name] - at["admin", name]) for name in names)
    show(
        "Secret change to its write",
        control_planes=count,
        samples=len(waits),
        p50_ms=round(statistics.median(waits), 1),
        p99_ms=round(waits[int(len(waits) * 0.99)], 1),
        target=100,
    )


def edits(server: ApiServer, users: Users, count: int) -> None:
    """Measure the time from an edit of a control plane to the first write about it."""
    since = len(server.audit())
    names = [f"c{number * 7 % count}" for number in range(min(_ROTATIONS, count))]
    for name in names:
        users.merge(_CONTROL_PLANES.path(_FLEET, name), {"spec": {"version": "1.34"}})
        time.sleep(0.02)
    time.sleep(5)
    edited, written = dict[str, float](), dict[str, float]()
    for event in server.audit()[since:]:
        if event["verb"] not in ("create", "patch") or "objectRef" not in event:
            continue
        name = event["objectRef"].get("name", "").partition("-")[0].partition(".")[0]
        if event["user"]["username"] == "admin":
            edited[name] = _seconds(event["stageTimestamp"])
        elif event["user"]["username"] == "controller":
            written.setdefault(name, _seconds(event["requestReceivedTimestamp"]))
    waits = sorted(1000 * (written[name] - edited[name]) for name in names)
    show(
        "edit of a control plane to its first write",
        control_planes=count,
        samples=len(waits),
        p50_ms=round(statistics.median(waits), 1),
        p99_ms=round(waits[int(len(waits) * 0.99)], 1),
        target=100,
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def start_up(kubeconfig: Path, folder: Path, count: int) -> None:
    """Measure the time from the start of the process to synced caches and working threads."""
    began = time.monotonic()
    with Captep(kubeconfig, folder) as process:
        eventually(process.works, what="works", within=60)
        seconds, pid = time.monotonic() - began, process.process.pid
        cpu = cpu_seconds(pid)
        # A hundredth of a second for each thousand looks is what a fleet at rest takes.
        eventually(lambda: spent(pid, 1.0) < 0.05 + count / 50_000, what="rests", within=600)
        show(
            "start-up to synced",
            control_planes=count,
            seconds=round(seconds, 2),
            cpu_seconds=round(cpu, 2),
            rested_after=round(time.monotonic() - began - 1, 1),
            target=3,
        )
        resident, idle = rss_mib(pid), idle_rss_mib()
        show(
            "memory after a restart",
            control_planes=count,
            mib=round(resident, 1),
            above=round(resident - idle, 1),
            target=60,
        )
        status, ended = process.end()
        show("SIGTERM to the end", status=status, seconds=round(ended, 2))


@contextmanager
def _server(folder: Path) -> Iterator[ApiServer]:
    """A server with the kinds and the role of the controller."""
    assets = Path(os.environ["KUBEBUILDER_ASSETS"])
    server = ApiServer(assets, folder / "server", users=["controller"])
    server.start()
    try:
        server.install(definitions())
        bind(server, "base", "controller")
        yield server
    finally:
        server.stop()


def main(count: int) -> None:
    """Measure everything once."""
    with tempfile.TemporaryDirectory() as name, _server(folder := Path(name)) as server:
        users, kubeconfig = Users(server), server.kubeconfig("controller")
        limit = bare(server, users)
        give(users, count)
        with Captep(kubeconfig, folder) as process:
            cost = creation(server, users, process, count)
            quiet(server, process, count)
            rotation(server, users, count)
        compare(cost, (limit + bare(server, users)) / 2)
        start_up(kubeconfig, folder, count)


def main_at_rest(count: int) -> None:
    """Measure a large fleet that waits."""
    with tempfile.TemporaryDirectory() as name, _server(folder := Path(name)) as server:
        users, kubeconfig = Users(server), server.kubeconfig("controller")
        give(users, count)
        with Captep(kubeconfig, folder) as process:
            pid = process.process.pid
            eventually(process.works, what="works", within=300)
            # Half of what a loop at work takes: looks at a large fleet at rest are less.
            eventually(lambda: spent(pid, 10.0) < 2.0, what="rests", within=3600)
            quiet(server, process, count)
            edits(server, users, count)
        start_up(kubeconfig, folder, count)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rest"]:
        main_at_rest(int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
