"""A counting client with the Go client's requests: get, create, full update, merge patch, delete.

Like the Go controller, it sends an empty merge patch too.
"""

from typing import Any

from captep_core import JSON, ObjectRef
from captep_demo._timeline import Count
from captep_memory import Object, Request, Response
from captep_world import WorldServer

__all__ = ["Client", "copied", "difference"]


class Client:
    """Sends requests to a server and counts them in `count`, together with one pass."""

    def __init__(self, server: WorldServer) -> None:
        self._server = server
        self.count = Count(passes=1)

    def log(self, lines: int = 1) -> None:
        """Count log lines."""
        self.count += Count(lines=lines)

    def get(self, ref: ObjectRef) -> Object | None:
        """Read an object. The caller may change the result, as in Go."""
        self.count += Count(reads=1)
        response = self._server.call(
            Request("get", ref.api_version, ref.kind, ref.namespace, ref.name)
        )
        return copied(response.body) if response.ok else None

    def create(self, body: Object) -> Response:
        """Create an object."""
        metadata = body["metadata"]
        return self._write(
            Request("create", body["apiVersion"], body["kind"], metadata["namespace"], body=body)
        )

    def update(self, obj: Object, subresource: str | None = None) -> Response:
        """Replace a whole object, or its status; the server compares its resourceVersion."""
        metadata = obj["metadata"]
        request = Request(
            "update",
            obj["apiVersion"],
            obj["kind"],
            metadata.get("namespace"),
            metadata["name"],
            subresource,
            body=obj,
        )
        return self._write(request)

    def patch(self, base: Object, obj: Object, subresource: str | None = None) -> Response:
        """Send the differences from `base` to `obj` as a merge patch, even when it is empty."""
        metadata = base["metadata"]
        body = difference(base, obj)
        request = Request(
            "patch",
            obj["apiVersion"],
            obj["kind"],
            metadata.get("namespace"),
            metadata["name"],
            subresource,
            body=body,
        )
        return self._write(request)

    def delete(self, ref: ObjectRef) -> Response:
        """Delete an object by name."""
        return self._write(Request("delete", ref.api_version, ref.kind, ref.namespace, ref.name))

    def _write(self, request: Request) -> Response:
        before = self._server.world.resource_version
        response = self._server.call(request)
        changed = self._server.world.resource_version != before
        self.count += Count(writes=1, changed=int(changed), refused=int(not response.ok))
        return response


def copied(obj: Object) -> Object:
    """Return a deep copy: a Go client decodes a new object from each answer."""
    return {name: _copied(value) for name, value in obj.items()}


def _copied(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return copied(value)
    return list(map(_copied, value)) if isinstance(value, list) else value


def difference(base: Object, obj: Object) -> dict[str, JSON]:
    """Return the merge patch from one object to another."""
    patch: dict[str, JSON] = {name: None for name in base if name not in obj}
    for name, value in obj.items():
        held = base.get(name)
        if isinstance(value, dict) and isinstance(held, dict):
            if inner := difference(held, value):
                patch[name] = inner
        elif name not in base or held != value:
            patch[name] = value
    return patch
