"""An operator of the standard library alone: it keeps a copy of each ConfigMap `colour`.

    python copier.py URL [BUG]

It polls, as a shell script would. `BUG` names a mistake that it then makes.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

URL, BUG = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
SOURCE = "/api/v1/namespaces/fleet/configmaps/colour"
COPIES = "/api/v1/namespaces/fleet/configmaps"
COPY = f"{COPIES}/copy"
FINALIZER = "example.dev/copy"
INTERVAL_SECONDS = 0.02
made = False


def call(method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Send one request; return status and body, 0 when the connection broke."""
    content = None if body is None else json.dumps(body).encode()
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    request = urllib.request.Request(
        f"{URL}{path}", content, {"Content-Type": kind, "User-Agent": "copier/1.0"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, {}
    except OSError:
        return 0, {}


def look() -> None:
    """Make one step towards the right world."""
    status, source = call("GET", SOURCE)
    found, copy = call("GET", COPY)
    if status != 200 or found not in (200, 404):
        return
    meta = source["metadata"]
    if "deletionTimestamp" in meta:
        leave(source, copy if found == 200 else None)
    elif FINALIZER not in meta.get("finalizers", []):
        hold(source, [*meta.get("finalizers", []), FINALIZER])
    elif found == 404:
        make(source)
    elif copy["data"] != source["data"] or BUG == "writes always":
        if BUG == "no version":
            copy["metadata"].pop("resourceVersion")
        call("PUT", COPY, {**copy, "data": source["data"]})


def make(source: dict[str, Any]) -> None:
    """Create the copy."""
    global made
    if BUG == "remembers" and made:
        return
    made = True
    wanted = {"metadata": {"name": "copy", "namespace": "fleet"}, "data": source["data"]}
    status, _ = call("POST", COPIES, wanted)
    if status != 201 and BUG == "gives up":
        time.sleep(60)
    if status == 0 and BUG == "starts over":
        call("DELETE", COPY)


def hold(source: dict[str, Any], finalizers: list[str]) -> None:
    """Replace the finalizers of the source, in the version that was read."""
    version = source["metadata"]["resourceVersion"]
    metadata = {"finalizers": finalizers, "resourceVersion": version}
    call("PATCH", SOURCE, {"metadata": metadata})


def leave(source: dict[str, Any], copy: dict[str, Any] | None) -> None:
    """Remove the copy, then the finalizer."""
    if copy is not None:
        lock = {"uid": copy["metadata"]["uid"]}
        options = {} if BUG == "by name" else {"preconditions": lock}
        call("DELETE", COPY, options)
    elif FINALIZER in source["metadata"].get("finalizers", []):
        hold(source, [each for each in source["metadata"]["finalizers"] if each != FINALIZER])


while True:
    look()
    time.sleep(INTERVAL_SECONDS)
