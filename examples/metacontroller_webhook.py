"""The `decide` of greeting.py as the sync hook of a Metacontroller CompositeController.

    python examples/metacontroller_webhook.py 8080

Metacontroller sends a parent with its children and wants the children and the status that should
be. The hook loads them into an in-memory server, runs the loop there until it settles, and answers
with what the server then holds. `POST /sync` is the hook.

What does not fit:

- Metacontroller writes, not captep: preconditions, the order of writes, refusals and fights do not
  reach the cluster, and a decision never learns that a write was refused.
- A decision sees the parent, its children and nothing else (a `customize` hook adds `related`
  objects). It may write children in the parent's namespace and the parent's status: any other write
  is an error here, as Metacontroller would drop it.
- Events are dropped. A finalizer belongs to Metacontroller (`finalize` hook).
- An object that cannot be read is absent from the request: the hook cannot see the difference.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from captep_core import RecordEvent, write_of
from examples.greeting import operator

__all__ = ["Handler", "sync"]


def sync(request: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Answer one sync request: `status` of the parent, `children`, `resyncAfterSeconds`.

    Raises:
        ValueError: the decision does not settle, or writes what Metacontroller cannot write.
    """
    parent = request["parent"]
    meta = parent["metadata"]
    place = meta.get("namespace")
    run = operator.simulate([*_objects(request)], place, meta["name"], now)
    if run.settled_after is None:
        raise ValueError("the decision does not settle")
    for done in run.passes:
        for action, _ in done.sent:
            target = action.target
            is_parent = target.kind == operator.primary.kind and action.subresource == "status"
            is_child = target.kind != operator.primary.kind and target.namespace == place
            if not isinstance(action, RecordEvent) and not is_parent and not is_child:
                raise ValueError(f"Metacontroller cannot {write_of(action)}")
    after = [*run.world.objects()]
    kinds = {(kind.api_version, kind.kind) for kind in operator.reads}
    requeue = run.passes[-1].requeue_after
    return {
        "status": next(
            (each.get("status", {}) for each in after if each["metadata"]["uid"] == meta["uid"]), {}
        ),
        "children": [
            _desired(each) for each in after if (each["apiVersion"], each["kind"]) in kinds
        ],
        "resyncAfterSeconds": 0 if requeue is None else requeue.total_seconds(),
    }


def _objects(request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield request["parent"]
    for group in ("children", "related"):
        for objects in (request.get(group) or {}).values():
            yield from objects.values()


def _desired(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without what the server or Metacontroller supplies."""
    kept = {"name", "namespace", "labels", "annotations"}
    metadata = {name: value for name, value in obj["metadata"].items() if name in kept}
    return {**obj, "metadata": metadata}


class Handler(BaseHTTPRequestHandler):
    """Answers the hook."""

    def do_POST(self) -> None:
        """Answer one request; an error is 500, and Metacontroller tries again."""
        try:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = 200, sync(json.loads(content), datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - the hook must answer
            status, answer = 500, {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
    print("usage: python examples/metacontroller_webhook.py PORT")
