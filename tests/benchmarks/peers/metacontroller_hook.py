"""The hooks of a CompositeController for the `Database` of examples/database.

    python tests/benchmarks/peers/metacontroller_hook.py PORT

One handler serves `sync` and `finalize`, as Metacontroller's documentation describes: from a parent
and its children to the children and the status that should be.
"""

import json
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from examples.database import database as example
from tests.benchmarks.peers.children import children, status

_SEED: Final = secrets.token_bytes(32)


def sync(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request of either hook."""
    parent = request["parent"]
    found = {
        obj["kind"]: obj for objects in request["children"].values() for obj in objects.values()
    }
    wanted = children(parent, _SEED)
    if not request["finalizing"]:
        return {"status": status(parent, wanted[-1], found), "children": [*map(_applied, wanted)]}
    jobs = [found["Job"]] if "Job" in found else []
    return {
        "status": parent.get("status", {}),
        "children": [*map(_applied, [*wanted, example.archive(parent)])],
        "finalized": example.archived(jobs).reason == "Archived",
    }


def _applied(desired: dict[str, Any]) -> dict[str, Any]:
    """Leave the owner to Metacontroller."""
    metadata = {
        name: value for name, value in desired["metadata"].items() if name != "ownerReferences"
    }
    return {**desired, "metadata": metadata}


class Handler(BaseHTTPRequestHandler):
    """Answers the hooks; connections stay open, as Go's client keeps them."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes, and the second would wait for the peer's delayed ACK.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer one request."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(sync(json.loads(content))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
