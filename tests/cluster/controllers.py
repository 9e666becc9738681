"""kube-controller-manager, as far as an operator sees it: workloads, quotas, garbage collection.

The tests have no kubelets and no controllers; a thread does their part, as administrator.
"""

import threading
from datetime import UTC, datetime
from http.client import HTTPException
from types import TracebackType
from typing import Any, Self

from captep_memory import Key, group_of, load
from captep_memory.workloads import Step, become_ready, complete
from tests.cluster.apiserver import ApiServer

__all__ = ["Controllers"]

_EACH_SECONDS = 0.1
_STEPS = {
    "statefulsets": ("apps/v1", "StatefulSet", become_ready),
    "jobs": ("batch/v1", "Job", complete),
}
_OWNED = {
    "secrets": "/api/v1",
    "services": "/api/v1",
    "statefulsets": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
}
_MERGE = "application/merge-patch+json"


class Controllers:
    """Makes StatefulSets ready, Jobs complete, and keeps quotas; a context manager.

    Orphans of the owners at `owners` are deleted, as the garbage collector does in the end.
    """

    def __init__(self, server: ApiServer, owners: str) -> None:
        self._server = server
        self._owners = owners
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._live, name="controllers")
        self._problem: BaseException | None = None
        self._seen: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join(30)
        if kind is None and self._problem is not None:
            raise self._problem

    def _live(self) -> None:
        try:
            while not self._ends.wait(_EACH_SECONDS):
                try:
                    self._act()
                except (OSError, HTTPException, _AwayError):
                    # A test has stopped the server.
                    continue
        except Exception as problem:  # noqa: BLE001  # __exit__ raises it
            self._problem = problem

    def _act(self) -> None:
        self._collect()
        for plural, (api_version, kind, step) in _STEPS.items():
            for each in self._listed(f"/apis/{api_version}/{plural}"):
                if each["metadata"]["resourceVersion"] in self._seen:
                    continue
                found = {**each, "apiVersion": api_version, "kind": kind}
                metadata = each["metadata"]
                after = _moved(found, step(metadata["namespace"], metadata["name"]))
                # The finished Job is not completed again, though its times would differ.
                if after is not None and not each.get("status", {}).get("completionTime"):
                    self._report(_path(f"/apis/{api_version}", plural, each), each, after)
                self._seen.add(each["metadata"]["resourceVersion"])
        for quota in self._listed("/api/v1/resourcequotas"):
            self._count(quota)

    def _count(self, quota: dict[str, Any]) -> None:
        """Admission refuses everything that a quota limits until its status is known."""
        hard = quota["spec"]["hard"]
        namespace = quota["metadata"]["namespace"]
        used = {name: str(self._number(name, namespace)) for name in hard}
        self._report(_path("/api/v1", "resourcequotas", quota), quota, {"hard": hard, "used": used})

    def _number(self, name: str, namespace: str) -> int:
        assert name == "count/statefulsets.apps", name
        return len(self._listed(f"/apis/apps/v1/namespaces/{namespace}/statefulsets"))

    def _collect(self) -> None:
        dependents = [
            (_path(root, plural, each), each["metadata"])
            for plural, root in _OWNED.items()
            for each in self._listed(f"{root}/{plural}")
        ]
        # The owners come second, so that a child is never older than the list of its owners.
        living = {each["metadata"]["uid"] for each in self._listed(self._owners)}
        for path, metadata in dependents:
            owners = {each["uid"] for each in metadata.get("ownerReferences", ())}
            if owners and not owners & living:
                body = {
                    "propagationPolicy": "Background",
                    "preconditions": {"uid": metadata["uid"]},
                }
                self._server.call("DELETE", path, body)

    def _report(self, path: str, found: dict[str, Any], status: dict[str, Any]) -> None:
        if status == found.get("status"):
            return
        version = found["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "status": status}
        answer = self._server.call("PATCH", f"{path}/status", body, content_type=_MERGE)
        # 404 and 409: the object has changed since; the next round looks again.
        if answer[0] >= 500:
            raise _AwayError
        assert answer[0] in (200, 404, 409), answer

    def _listed(self, path: str) -> list[dict[str, Any]]:
        status, body = self._server.call("GET", path)
        if status != 200:
            raise _AwayError
        items: list[dict[str, Any]] = body["items"]
        return items


class _AwayError(Exception):
    """The server does not answer for now."""


def _moved(obj: dict[str, Any], step: Step) -> dict[str, Any] | None:
    """Return the status after the move of a controller, None if there is nothing to do."""
    metadata = obj["metadata"]
    world = step(load([obj], now=datetime.now(UTC)))
    if world is None:
        return None
    key = Key(group_of(obj["apiVersion"]), obj["kind"], metadata["namespace"], metadata["name"])
    found = world.get(key)
    return None if found is None else dict(found["status"])


def _path(root: str, plural: str, obj: dict[str, Any]) -> str:
    metadata = obj["metadata"]
    return f"{root}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
