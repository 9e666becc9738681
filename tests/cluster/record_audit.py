"""Records the audit logs of `tests/audit` from a real kube-apiserver.

    KUBEBUILDER_ASSETS=$(tests/apiserver/build) python -m tests.cluster.record_audit kopf
    KUBEBUILDER_ASSETS=$(tests/apiserver/build) python -m tests.cluster.record_audit restless

A log has the requests of one operator and those of the person who edits its objects meanwhile.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.apiserver import ApiServer, eventually

CLIENTS = Path(__file__).parent / "clients"
LOGS = Path(__file__).parents[1] / "audit"
OBJECTS = "/api/v1/namespaces/walk/configmaps"
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]
RULES = [
    {"apiGroups": [""], "resources": ["configmaps", "events"], "verbs": VERBS},
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
    {
        "apiGroups": ["apiextensions.k8s.io"],
        "resources": ["customresourcedefinitions"],
        "verbs": ["get", "list", "watch"],
    },
]


@contextmanager
def running(
    command: Sequence[str], server: ApiServer, user: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run an operator with the kubeconfig of its user, as the last word and in KUBECONFIG."""
    config = server.kubeconfig(user)
    # JSON is YAML too, and needs no parser outside of the standard library.
    config.write_text(json.dumps(yaml.safe_load(config.read_text())))
    environment: Mapping[str, str] = {**os.environ, "KUBECONFIG": str(config)}
    words = [word.replace("{kubeconfig}", str(config)) for word in command]
    process = subprocess.Popen([sys.executable, *words], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def kopf(server: ApiServer) -> None:
    """Let kopf mark two ConfigMaps, one of which changes and goes."""
    command = ["-m", "kopf", "run", "--standalone", "-n", "walk", str(CLIENTS / "kopf_operator.py")]
    with running(command, server, "kopf"):
        for name in ("one", "two"):
            labels = {"owner": "kopf"}
            body = {"metadata": {"name": name, "labels": labels}, "data": {"colour": "green"}}
            server.create(OBJECTS, body)
            wait_for(server, name, "green")
        server.merge(f"{OBJECTS}/one", {"data": {"colour": "blue"}})
        wait_for(server, "one", "blue")
        server.call("DELETE", f"{OBJECTS}/one")
        eventually(
            lambda: server.call("GET", f"{OBJECTS}/one")[0] == 404, what="one is gone", within=30
        )


def wait_for(server: ApiServer, name: str, colour: str) -> None:
    """Wait for the label."""

    def is_marked() -> bool:
        labels = server.call("GET", f"{OBJECTS}/{name}")[1]["metadata"]["labels"]
        return bool(labels.get("colour") == colour)

    eventually(is_marked, what=f"{name} is {colour}", within=30)
    # kopf watches what it has just written.
    time.sleep(1)


def restless(server: ApiServer) -> None:
    """Let the restless operator work for some seconds."""
    server.create(OBJECTS, {"metadata": {"name": "colour"}, "data": {"colour": "green"}})
    command = [str(CLIENTS / "restless_operator.py"), "{kubeconfig}"]
    with running(command, server, "restless") as process:
        process.wait(60)


OPERATORS = {"kopf": kopf, "restless": restless}


def record(name: str) -> None:
    """Record the log of one operator."""
    with tempfile.TemporaryDirectory() as folder:
        assets = Path(os.environ["KUBEBUILDER_ASSETS"])
        server = ApiServer(assets, Path(folder), users=[name], audit_level="RequestResponse")
        server.start()
        try:
            server.create("/api/v1/namespaces", {"metadata": {"name": "walk"}})
            server.grant(name, RULES)
            since = len(server.audit())
            OPERATORS[name](server)
            events = [each for each in server.audit()[since:] if is_theirs(each, name)]
        finally:
            server.stop()
    lines = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in events)
    # Without a time in the head, the same events are the same file.
    (LOGS / f"{name}.log.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))


def is_theirs(event: Mapping[str, Any], name: str) -> bool:
    """Whether an event is a request of the operator, or an edit of the person."""
    who = event["user"]["username"]
    return who == name or (who == "admin" and event["verb"] in ("create", "patch", "delete"))


if __name__ == "__main__":
    for each in sys.argv[1:]:
        record(each)
