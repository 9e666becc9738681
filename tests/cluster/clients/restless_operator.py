"""An operator with the mistakes that `captep audit` looks for, of the standard library alone.

    python restless_operator.py KUBECONFIG

It keeps a copy of the ConfigMap `colour` in its namespace `walk`, five times a second and without a
watch: it lists and reads all the time, writes what is there already and the time of each pass, and
changes the copy by deleting it by name and creating it again.
"""

import http.client
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

PASSES = 40
INTERVAL_SECONDS = 0.2
OBJECTS = "/api/v1/namespaces/walk/configmaps"


class Client:
    """One connection to the server of a kubeconfig, which is JSON."""

    def __init__(self, config: dict[str, Any]) -> None:
        cluster = config["clusters"][0]["cluster"]
        trust = ssl.create_default_context(cafile=cluster["certificate-authority"])
        host = cluster["server"].removeprefix("https://")
        self._connection = http.client.HTTPSConnection(host, context=trust, timeout=10)
        self._token = config["users"][0]["user"]["token"]

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Send one request; return status and body."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": kind,
            "User-Agent": "restless/1.0",
        }
        self._connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


def work(call: Client, number: int) -> None:
    """Make one pass."""
    call("GET", OBJECTS)
    _, source = call("GET", f"{OBJECTS}/colour")
    if number % 10 == 9:
        call("DELETE", f"{OBJECTS}/copy")
    if call("GET", f"{OBJECTS}/copy")[0] == 404:
        call("POST", OBJECTS, {"metadata": {"name": "copy"}, "data": source["data"]})
    call("PATCH", f"{OBJECTS}/copy", {"data": source["data"]})
    seen = {"metadata": {"annotations": {"example.com/seen": str(time.time())}}}
    call("PATCH", f"{OBJECTS}/colour", seen)


if __name__ == "__main__":
    client = Client(json.loads(Path(sys.argv[1]).read_text()))
    for each in range(PASSES):
        work(client, each)
        time.sleep(INTERVAL_SECONDS)
