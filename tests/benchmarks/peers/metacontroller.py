"""What Metacontroller does for a CompositeController, in few lines, around the hook of Databases.

    python tests/benchmarks/peers/metacontroller.py NAMESPACE PORT

Metacontroller itself is written in Go, and neither Python's nor Go's package registry offers it. Of
its documentation this driver does: watch parents and children; `generateSelector` (a label with the
parent's uid, a controller reference); call `sync` or `finalize` with the cached objects after each
change of one of them; create what is missing, with the annotation of the last applied form; update
in place (PUT of the merged object) a Service or StatefulSet that differs; delete what the hook does
not list; replace the status; add a finalizer and remove it once the hook says `finalized`.

It leaves out what the hook does not use (revisions, rolling updates, customize, decorators), the
rate limit of five requests a second, and the removal of fields that the hook no longer names. Its
requests are Metacontroller's; its CPU and memory are those of this driver.
"""

import http.client
import json
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from captep_core._resources import Resource
from captep_kubernetes import CacheChange, Informer, Transport, load_transport
from tests.benchmarks.peers.children import holds

_PARENTS: Final = Resource("db.example.com/v1", "Database", "databases")
_CHILDREN: Final = (
    Resource("v1", "Secret", "secrets"),
    Resource("v1", "Service", "services"),
    Resource("apps/v1", "StatefulSet", "statefulsets"),
    Resource("batch/v1", "Job", "jobs"),
)
_IN_PLACE: Final = ("Service", "StatefulSet")
"""The kinds whose `updateStrategy` is InPlace; OnDelete, the default, leaves the others alone."""
_FINALIZER: Final = "metacontroller.app/compositecontroller-database"
_LABEL: Final = "controller-uid"
_APPLIED: Final = "metacontroller.k8s.io/last-applied-configuration"
_WORKERS: Final = 5
_SECONDS: Final = 10.0


class Driver:
    """Syncs each parent after each change of it or of its children."""

    def __init__(self, transport: Transport, namespace: str, port: int) -> None:
        self._transport = transport
        self._namespace = namespace
        self._port = port
        self._due: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._local = threading.local()
        self._parents = self._informer(_PARENTS, self._parent_changed)
        self._children = {
            resource: self._informer(resource, self._child_changed) for resource in _CHILDREN
        }

    def run(self) -> None:
        """Sync for ever."""
        informers = [*self._children.values(), self._parents]
        for informer in informers:
            informer.start()
        for informer in informers:
            assert informer.wait_synced(60)
        with ThreadPoolExecutor(_WORKERS) as workers:
            while True:
                names = {self._due.get()}
                while not self._due.empty():
                    names.add(self._due.get())
                list(workers.map(self._sync, names))

    def _informer(self, resource: Resource, changed: Callable[[CacheChange], None]) -> Informer:
        return Informer(self._transport, resource, on_change=changed, namespace=self._namespace)

    def _parent_changed(self, change: CacheChange) -> None:
        self._due.put(change.ref.name)

    def _child_changed(self, change: CacheChange) -> None:
        states: Any = (change.new or {}, change.old or {})
        for state in states:
            for owner in state.get("metadata", {}).get("ownerReferences", ()):
                if owner["kind"] == _PARENTS.kind:
                    self._due.put(owner["name"])

    def _sync(self, name: str) -> None:
        parent = self._find(name)
        if parent is None:
            return
        is_deleting = "deletionTimestamp" in parent["metadata"]
        finalizers = parent["metadata"].get("finalizers", [])
        if is_deleting and _FINALIZER not in finalizers:
            return
        if not is_deleting and _FINALIZER not in finalizers:
            self._set_finalizers(parent, [*finalizers, _FINALIZER])
            return
        found = self._owned_by(parent)
        answer = self._ask(parent, found)
        if answer.get("finalized"):
            kept = [each for each in finalizers if each != _FINALIZER]
            self._set_finalizers(parent, kept)
            return
        self._apply(parent, found, answer["children"])
        if answer["status"] != parent.get("status"):
            path = _PARENTS.path(self._namespace, name, "status")
            self._send("PUT", path, {**parent, "status": answer["status"]})

    def _find(self, name: str) -> dict[str, Any] | None:
        objects: Any = self._parents.objects(self._namespace)
        return next((each for each in objects if each["metadata"]["name"] == name), None)

    def _owned_by(self, parent: Mapping[str, Any]) -> dict[Resource, dict[str, Any]]:
        uid = parent["metadata"]["uid"]
        found: dict[Resource, dict[str, Any]] = {}
        for resource, informer in self._children.items():
            objects: Any = informer.objects(self._namespace)
            found[resource] = {
                each["metadata"]["name"]: each
                for each in objects
                if uid in [owner["uid"] for owner in each["metadata"].get("ownerReferences", ())]
            }
        return found

    def _ask(
        self, parent: Mapping[str, Any], found: Mapping[Resource, dict[str, Any]]
    ) -> dict[str, Any]:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=_SECONDS
            )
        children = {f"{each.kind}.{each.api_version}": objects for each, objects in found.items()}
        request = {
            "controller": {"kind": "CompositeController", "metadata": {"name": "database"}},
            "parent": parent,
            "children": children,
            "related": {},
            "finalizing": "deletionTimestamp" in parent["metadata"],
        }
        self._local.connection.request("POST", "/sync", json.dumps(request))
        answer = self._local.connection.getresponse()
        assert answer.status == 200
        body: dict[str, Any] = json.loads(answer.read())
        return body

    def _apply(
        self,
        parent: Mapping[str, Any],
        found: Mapping[Resource, dict[str, Any]],
        children: list[dict[str, Any]],
    ) -> None:
        for resource, objects in found.items():
            wanted = {
                each["metadata"]["name"]: each for each in children if each["kind"] == resource.kind
            }
            for name, desired in wanted.items():
                if name not in objects:
                    self._send("POST", resource.path(self._namespace), _owned(desired, parent))
                elif resource.kind in _IN_PLACE and not holds(objects[name], desired):
                    path = resource.path(self._namespace, name)
                    self._send("PUT", path, _merged(objects[name], _owned(desired, parent)))
            for name in objects.keys() - wanted.keys():
                self._send("DELETE", resource.path(self._namespace, name), {})

    def _set_finalizers(self, parent: Mapping[str, Any], finalizers: list[str]) -> None:
        metadata = {**parent["metadata"], "finalizers": finalizers}
        path = _PARENTS.path(self._namespace, parent["metadata"]["name"])
        self._send("PUT", path, {**parent, "metadata": metadata})

    def _send(self, method: str, path: str, body: dict[str, Any]) -> None:
        answer = self._transport.request(
            method, path, body=body, content_type="application/json", timeout=_SECONDS
        )
        # The cache was a moment late; the next change syncs again.
        assert answer.status in (200, 201, 404, 409), (method, path, answer.status, answer.body)


def _owned(desired: Mapping[str, Any], parent: Mapping[str, Any]) -> dict[str, Any]:
    """Return a child with its owner, its label and the form in which it was applied."""
    owner = {
        "apiVersion": parent["apiVersion"],
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        **desired["metadata"],
        "labels": {**desired["metadata"].get("labels", {}), _LABEL: parent["metadata"]["uid"]},
        "annotations": {_APPLIED: json.dumps(desired)},
        "ownerReferences": [owner],
    }
    return {**desired, "metadata": metadata}


def _merged(observed: Any, desired: Any) -> Any:
    """Return the observed value with the desired fields; items of lists pair by place."""
    if isinstance(observed, dict) and isinstance(desired, dict):
        return {
            **observed,
            **{name: _merged(observed.get(name), value) for name, value in desired.items()},
        }
    if isinstance(observed, list) and isinstance(desired, list) and len(observed) == len(desired):
        return [_merged(*pair) for pair in zip(observed, desired, strict=True)]
    return desired


if __name__ == "__main__":
    Driver(load_transport(user_agent="metacontroller"), sys.argv[1], int(sys.argv[2])).run()
