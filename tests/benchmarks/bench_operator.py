"""Measures examples/database on a real kube-apiserver, next to operators of other frameworks.

    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_operator [--table] [--runs N] [DATABASES]

`KUBEBUILDER_ASSETS` names the folder with the server's binaries. Prints one JSON object per figure
and host, or with `--table` the Markdown table of the README, whose ratios are to captep in the same
run. The hosts run one after the other, each on a new server; requests and latencies come from the
server's audit log. The peers are in `peers/`.
"""

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from attrs import frozen

from tests.benchmarks.bench_cluster import cpu_seconds, rss_mib
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.controllers import Controllers
from tests.cluster.manifests import bind

_ROOT: Final = Path(__file__).resolve().parents[2]
_EXAMPLE: Final = _ROOT / "examples" / "database"
_PEERS: Final = Path(__file__).parent / "peers"
_DATABASES: Final = "/apis/db.example.com/v1/databases"
_REST_SECONDS: Final = 30.0
_START_SECONDS: Final = 10.0
_CHANGES: Final = ("create", "patch", "update", "delete")
_NOT_COUNTED: Final = ("leases", "events", "kopfpeerings")
_PEERING: Final = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "kopfpeerings.kopf.dev"},
    "spec": {
        "group": "kopf.dev",
        "names": {"kind": "KopfPeering", "plural": "kopfpeerings"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                    }
                },
            }
        ],
    },
}
_KOPF_NEEDS: Final = (
    {
        "apiGroups": ["apiextensions.k8s.io", ""],
        "resources": ["customresourcedefinitions", "namespaces"],
        "verbs": ["list", "watch"],
    },
    {
        "apiGroups": ["kopf.dev"],
        "resources": ["kopfpeerings"],
        "verbs": ["get", "list", "watch", "patch"],
    },
)
"""kopf's documentation asks for them; without the first it retries for a minute."""
_METACONTROLLER_NEEDS: Final = (
    {
        "apiGroups": ["db.example.com", "", "apps", "batch"],
        "resources": [
            *("databases", "databases/status", "secrets", "services", "statefulsets", "jobs"),
        ],
        "verbs": ["update", "delete"],
    },
)
Words = Sequence[str]


@frozen
class Host:
    """An operator: its name, which is its user and namespace too, and how it runs.

    `processes`: from a namespace to the arguments of Python for each process. `replicas`: from a
    namespace to those of a leader and of its standby, None where one replica is all there is.
    `needs`: the rules that it needs beyond those of the example's manifests.
    """

    name: str
    processes: Callable[[str], Sequence[Words]]
    replicas: Callable[[str], tuple[Words, Words]] | None = None
    needs: Sequence[Mapping[str, list[str]]] = ()


def _captep(namespace: str, *flags: str) -> Words:
    listens = ("--metrics-bind-address", "0", "--health-probe-bind-address", "0")
    return (str(_EXAMPLE / "database.py"), "run", "--namespace", namespace, *listens, *flags)


def _kopf(file: str, namespace: str, *flags: str) -> Words:
    return ("-m", "kopf", "run", "-n", namespace, *flags, str(_PEERS / file))


def _metacontroller(namespace: str) -> Sequence[Words]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    return (
        (str(_PEERS / "metacontroller_hook.py"), port),
        (str(_PEERS / "metacontroller.py"), namespace, port),
    )


_ELECTS: Final = ("--leader-elect", "--leader-election-namespace", "database-system")
HOSTS: Final = (
    Host(
        "captep",
        lambda namespace: [_captep(namespace)],
        lambda namespace: (_captep(namespace, *_ELECTS), _captep(namespace, *_ELECTS)),
    ),
    Host(
        "kopf-hosted",
        lambda namespace: [_kopf("kopf_hosted.py", namespace, "--standalone")],
        needs=_KOPF_NEEDS,
    ),
    Host(
        "kopf",
        lambda namespace: [_kopf("kopf_database.py", namespace, "--standalone")],
        lambda namespace: (
            _kopf("kopf_database.py", namespace, "--peering", "database", "--priority", "2"),
            _kopf("kopf_database.py", namespace, "--peering", "database", "--priority", "1"),
        ),
        needs=_KOPF_NEEDS,
    ),
    Host("metacontroller", _metacontroller, needs=_METACONTROLLER_NEEDS),
)


class Trial:
    """Runs one host, and keeps its figures."""

    def __init__(self, server: ApiServer, host: Host, folder: Path) -> None:
        self._server = server
        self._host = host
        self._folder = folder
        self._path = f"/apis/db.example.com/v1/namespaces/{host.name}/databases"
        self._running: list[subprocess.Popen[bytes]] = []
        self.figures: dict[str, float] = {}

    def measure(self, count: int) -> None:
        """Measure everything once, with two times `count` databases."""
        self._create(f"early-{number}" for number in range(count))
        position, began = self._position(), time.time()
        with self._started(self._host.processes(self._host.name)):
            self._wait_until_ready()
            writes = [each for each in self._asked(position) if each["verb"] in _CHANGES]
            self._show("start to first write, s", min(map(_answered_at, writes)) - began)
            self._show(f"start to {count} databases Ready, s", time.time() - began)
            self._show("CPU of that start, s", self._cpu())
            self._creation(count)
            self._mending(count)
            self._rest()
        if self._host.replicas is not None:
            self._failover(*self._host.replicas(self._host.name))

    def _creation(self, count: int) -> None:
        time.sleep(1)
        position, began = self._position(), time.monotonic()
        controller, server = self._cpu(), cpu_seconds(self._server.pid("kube-apiserver"))
        self._create(f"db-{number}" for number in range(count))
        self._wait_until_ready()
        self._show(f"{count} more Ready, s", time.monotonic() - began)
        time.sleep(1)
        verbs = Counter(each["verb"] for each in self._asked(position))
        for verb in ("get", "list", *_CHANGES):
            self._show(f"{verb} for each database", verbs[verb] / count)
        writes = sum(verbs[verb] for verb in _CHANGES)
        self._show("writes for each database", writes / count)
        self._show("CPU for each database, ms", 1000 * (self._cpu() - controller) / count)
        spent = cpu_seconds(self._server.pid("kube-apiserver")) - server
        self._show("CPU of the API server for each database, ms", 1000 * spent / count)

    def _mending(self, count: int) -> None:
        """Delete the Services, one after the other."""
        position = self._position()
        for number in range(count):
            path = f"/api/v1/namespaces/{self._host.name}/services/db-{number}"
            assert self._server.call("DELETE", path)[0] == 200
            eventually(
                lambda path=path: self._server.call("GET", path)[0] == 200,  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                what=f"{path} is back",
            )
        self._wait_until_ready()
        time.sleep(1)
        # The log has a request when it ends, so a quick answer may stand before its cause.
        services = [
            event
            for event in self._server.audit_from(position)[0]
            if event.get("objectRef", {}).get("resource") == "services"
        ]
        deleted = {
            event["objectRef"]["name"]: _seconds(event["requestReceivedTimestamp"])
            for event in services
            if event["verb"] == "delete"
        }
        waits = [
            _answered_at(event) - deleted[event["objectRef"]["name"]]
            for event in services
            if event["verb"] == "create" and event["responseStatus"]["code"] == 201
        ]
        verbs = Counter(each["verb"] for each in self._asked(position))
        writes = sum(verbs[verb] for verb in _CHANGES)
        self._show("a deleted child is back, median in ms", 1000 * statistics.median(waits))
        self._show("writes per mended child", writes / count)
        self._show("requests per mended child", (verbs.total() - verbs["watch"]) / count)

    def _rest(self) -> None:
        time.sleep(2)
        position, controller = self._position(), self._cpu()
        time.sleep(_REST_SECONDS)
        spent = self._cpu() - controller
        asked = [each for each in self._asked(position) if each["verb"] != "watch"]
        self._show(f"requests at rest in {_REST_SECONDS:g} s, without watches", len(asked))
        self._show("CPU at rest, % of a core", 100 * spent / _REST_SECONDS)
        self._show("memory, MiB", sum(rss_mib(each.pid) for each in self._running))
        self._show("memory of the API server, MiB", rss_mib(self._server.pid("kube-apiserver")))

    def _failover(self, leader: Words, standby: Words) -> None:
        """Kill the leader while the standby waits, and break something."""
        if self._host.name == "kopf":
            peering = {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering"}
            self._server.create(
                f"/apis/kopf.dev/v1/namespaces/{self._host.name}/kopfpeerings",
                {**peering, "metadata": {"name": "database"}},
            )
        with self._started([leader]) as (leading,):
            # Long enough to start and to lead, and then to see who leads.
            time.sleep(_START_SECONDS)
            with self._started([standby]):
                time.sleep(_START_SECONDS)
                position = self._position()
                leading.kill()
                killed = time.time()
                path = f"/api/v1/namespaces/{self._host.name}/services/db-0"
                assert self._server.call("DELETE", path)[0] == 200
                eventually(
                    lambda: self._server.call("GET", path)[0] == 200,
                    what=f"{path} is back",
                    within=180,
                )
                writes = [each for each in self._asked(position) if each["verb"] in _CHANGES]
                first = min(map(_answered_at, writes))
                self._show("kill -9 of the leader to the standby's first write, s", first - killed)

    @contextmanager
    def _started(self, commands: Iterable[Words]) -> Iterator[list[subprocess.Popen[bytes]]]:
        with ExitStack() as ends:
            log = ends.enter_context((self._folder / f"{self._host.name}.log").open("ab"))
            processes = []
            for words in commands:
                process = subprocess.Popen(
                    [sys.executable, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={
                        "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'adapters'}",
                        "KUBECONFIG": str(self._server.kubeconfig(self._host.name)),
                        "HOME": str(self._folder),
                    },
                )
                processes.append(process)
                ends.callback(process.wait, 30)
                ends.callback(process.terminate)
            self._running = processes
            yield processes

    def _create(self, names: Iterable[str]) -> None:
        database = yaml.safe_load((_EXAMPLE / "example.yaml").read_text())
        for name in names:
            metadata = {"name": name, "namespace": self._host.name}
            self._server.create(self._path, {**database, "metadata": metadata})

    def _wait_until_ready(self) -> None:
        def are_ready() -> bool:
            assert all(each.poll() is None for each in self._running)
            return all(map(_is_ready, self._server.call("GET", self._path)[1]["items"]))

        eventually(are_ready, what=f"{self._host.name}: all are Ready", within=120)

    def _cpu(self) -> float:
        return sum(cpu_seconds(each.pid) for each in self._running)

    def _position(self) -> int:
        return self._server.audit_from(0)[1]

    def _asked(self, position: int) -> list[dict[str, Any]]:
        """Return the host's requests since a position, without Leases, Events and peerings."""
        return [
            event
            for event in self._server.audit_from(position)[0]
            if event["user"].get("username") == self._host.name
            and event.get("objectRef", {}).get("resource") not in _NOT_COUNTED
        ]

    def _show(self, figure: str, value: float) -> None:
        self.figures[figure] = round(value, 1 if value >= 10 else 2)


def _answered_at(event: Mapping[str, Any]) -> float:
    return _seconds(event["stageTimestamp"])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _is_ready(database: Mapping[str, Any]) -> bool:
    conditions = database.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def table(trials: Mapping[str, Mapping[str, float]]) -> str:
    """Return the figures as Markdown, each with its ratio to captep's where that is not zero."""
    ours = trials["captep"]
    lines = [f"| figure | {' | '.join(trials)} |", f"| --- |{' --- |' * len(trials)}"]
    for figure, own in ours.items():
        cells = [f"{own:g}"]
        for name, figures in trials.items():
            if name == "captep":
                continue
            value = figures.get(figure)
            if value is None:
                cells.append("has none")
            else:
                cells.append(f"{value:g} ({value / own:.2g})" if own else f"{value:g}")
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


@contextmanager
def _cluster(host: Host, folder: Path) -> Iterator[ApiServer]:
    """Start a server with the definitions, the permissions and the namespace of a host."""
    assets = Path(os.environ["KUBEBUILDER_ASSETS"])
    server = ApiServer(assets, folder, users=[host.name])
    server.start()
    try:
        server.install([yaml.safe_load((_EXAMPLE / "definition.yaml").read_text()), _PEERING])
        for namespace in ("database-system", host.name):
            server.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        bind(server, str(_EXAMPLE), host.name, lease_namespace="database-system")
        server.grant(host.name, host.needs)
        with Controllers(server, _DATABASES):
            yield server
    finally:
        server.stop()


def main(count: int, *, runs: int, as_table: bool) -> None:
    """Measure all hosts, so many times."""
    trials: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for number, host in itertools.product(range(runs), HOSTS):
            with _cluster(host, Path(name) / f"{host.name}-{number}") as server:
                trial = Trial(server, host, Path(name))
                trial.measure(count)
            for figure, value in trial.figures.items():
                trials.setdefault(host.name, {}).setdefault(figure, []).append(value)
                if not as_table:
                    line = {"figure": figure, "host": host.name, "value": value}
                    print(json.dumps(line), flush=True)
    if as_table:
        medians = {
            host: {figure: statistics.median(values) for figure, values in figures.items()}
            for host, figures in trials.items()
        }
        print(table(medians))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure examples/database and its peers.")
    parser.add_argument("databases", nargs="?", type=int, default=20, help="how many to create")
    parser.add_argument("--table", action="store_true", help="print the table of the README")
    parser.add_argument("--runs", type=int, default=1, help="how often; the table has medians")
    options = parser.parse_args()
    main(options.databases, runs=options.runs, as_table=options.table)
