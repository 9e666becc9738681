"""Measures examples/database on a real kube-apiserver, next to the same `decide` inside kopf.

    PYTHONPATH=.:adapters python -m tests.benchmarks.bench_operator [DATABASES]

`KUBEBUILDER_ASSETS` names the folder with the server's binaries. Prints one JSON object per figure
and host. The two hosts run one after the other on one server, each in a namespace of its own.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.controllers import Controllers
from tests.cluster.manifests import bind

_ROOT: Final = Path(__file__).resolve().parents[2]
_EXAMPLE: Final = _ROOT / "examples" / "database"
_DATABASES: Final = "/apis/db.example.com/v1/databases"
_REST_SECONDS: Final = 30.0
_KOPF: Final = str(Path(__file__).parent / "kopf_database.py")
_KOPF_NEEDS: Final = (
    {
        "apiGroups": ["apiextensions.k8s.io", ""],
        "resources": ["customresourcedefinitions", "namespaces"],
        "verbs": ["list", "watch"],
    },
)
"""kopf's documentation asks for them; without them it retries for a minute."""
HOSTS: Final[dict[str, Callable[[str], Sequence[str]]]] = {
    "captep": lambda namespace: (
        str(_EXAMPLE / "database.py"),
        *("run", "--namespace", namespace),
        *("--metrics-bind-address", "0", "--health-probe-bind-address", "0"),
    ),
    "kopf": lambda namespace: ("-m", "kopf", "run", "--standalone", "-n", namespace, _KOPF),
}
"""The arguments of Python that run the operator in a namespace; the name is the user as well."""


class Host:
    """An operator's process, and the databases in its namespace."""

    def __init__(self, server: ApiServer, name: str, folder: Path) -> None:
        self._server = server
        self._name = name
        self._path = f"/apis/db.example.com/v1/namespaces/{name}/databases"
        server.create("/api/v1/namespaces", {"metadata": {"name": name}})
        self._create("first")
        self._began = time.time()
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *HOSTS[name](name)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'adapters'}",
                    "KUBECONFIG": str(server.kubeconfig(name)),
                    "HOME": str(folder),
                },
            )

    def measure(self, count: int) -> None:
        """Print the figures."""
        self._wait_until_ready()
        first = min(at for verb, _, at in self._asked(0) if _is_change(verb))
        self._show("start to first write, s", round(first - self._began, 2))
        since = len(self._server.audit())
        for number in range(count):
            self._create(f"db-{number}")
        began = time.monotonic()
        self._wait_until_ready()
        self._show(f"{count} databases Ready, s", round(time.monotonic() - began, 2))
        self._show("writes for each", self._writes(since) / count)
        self._mend(count)
        time.sleep(2)
        since = len(self._server.audit())
        time.sleep(_REST_SECONDS)
        asked = [verb for verb, _, _ in self._asked(since) if verb != "watch"]
        self._show(f"requests at rest in {_REST_SECONDS:g} s, without watches", len(asked))
        self._show("memory, MiB", _resident(self.process.pid))

    def _mend(self, count: int) -> None:
        """Delete the Services, one after the other."""
        since = len(self._server.audit())
        took = []
        for number in range(count):
            path = f"/api/v1/namespaces/{self._name}/services/db-{number}"
            began = time.monotonic()
            assert self._server.call("DELETE", path)[0] == 200
            eventually(
                lambda path=path: self._server.call("GET", path)[0] == 200,  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                what=f"{path} is back",
            )
            took.append(time.monotonic() - began)
        self._wait_until_ready()
        time.sleep(1)
        self._show("a deleted child is back, median in ms", round(statistics.median(took) * 1000))
        self._show("writes per mended child", self._writes(since) / count)
        self._show("requests per mended child", len(self._asked(since)) / count)

    def _create(self, name: str) -> None:
        database = yaml.safe_load((_EXAMPLE / "example.yaml").read_text())
        metadata = {"name": name, "namespace": self._name}
        self._server.create(self._path, {**database, "metadata": metadata})

    def _wait_until_ready(self) -> None:
        def are_ready() -> bool:
            assert self.process.poll() is None
            return all(map(_is_ready, self._server.call("GET", self._path)[1]["items"]))

        eventually(are_ready, what=f"{self._name}: the databases are Ready", within=120)

    def _writes(self, since: int) -> int:
        return sum(_is_change(verb) for verb, _, _ in self._asked(since))

    def _asked(self, since: int) -> list[tuple[str, str, float]]:
        """Return verb, resource and time of the requests, without Leases and Events."""
        return [
            (
                event["verb"],
                event.get("objectRef", {}).get("resource", ""),
                datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
            )
            for event in self._server.audit()[since:]
            if event["user"].get("username") == self._name
            and event.get("objectRef", {}).get("resource") not in ("leases", "events")
        ]

    def _show(self, figure: str, value: float) -> None:
        print(json.dumps({"figure": figure, "host": self._name, "value": value}), flush=True)


def _is_change(verb: str) -> bool:
    return verb in ("create", "patch", "update", "delete")


def _is_ready(database: dict[str, Any]) -> bool:
    conditions = database.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kibibytes = next(line.split()[1] for line in lines if line.startswith("VmRSS"))
    return round(int(kibibytes) / 1024, 1)


def main(count: int) -> None:
    """Measure both hosts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assets = Path(os.environ["KUBEBUILDER_ASSETS"])
        server = ApiServer(assets, folder / "server", users=HOSTS)
        server.start()
        try:
            server.install([yaml.safe_load((_EXAMPLE / "definition.yaml").read_text())])
            server.create("/api/v1/namespaces", {"metadata": {"name": "database-system"}})
            bind(server, str(_EXAMPLE), "captep", lease_namespace="database-system")
            bind(server, str(_EXAMPLE), "kopf", lease_namespace="database-system")
            server.grant("kopf", _KOPF_NEEDS)
            with Controllers(server, _DATABASES):
                for host in HOSTS:
                    running = Host(server, host, folder)
                    try:
                        running.measure(count)
                    finally:
                        running.process.terminate()
                        running.process.wait(30)
        finally:
            server.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
