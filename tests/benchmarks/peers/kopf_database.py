"""A kopf operator for the `Database` of examples/database, as kopf's documentation advises.

    kopf run --standalone -n NAMESPACE tests/benchmarks/peers/kopf_database.py

From its pages "Reconciliation", "Indexing" and "Hierarchies": an index in place of requests for the
children, a timer that brings the actual state to the desired one every ten seconds, handlers of the
children's events for what cannot wait so long, and the official client for the writes.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final

import kopf
from kubernetes import client, config

from captep_core import is_deleting
from examples.database import database as example
from tests.benchmarks.peers.children import LABEL, children, holds, status

_GROUP: Final = "db.example.com"
_DATABASES: Final = (_GROUP, "v1", "databases")
_OURS: Final[dict[str, Any]] = {"labels": {LABEL: kopf.PRESENT}}
_SEED: Final = secrets.token_bytes(32)


@kopf.on.startup()
def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Connect the client; post no Events about successes, as the others do not."""
    config.load_kube_config()
    api = client.ApiClient()
    core, apps, batch = client.CoreV1Api(api), client.AppsV1Api(api), client.BatchV1Api(api)
    memo.databases = client.CustomObjectsApi(api)
    memo.creates = {
        "Secret": core.create_namespaced_secret,
        "Service": core.create_namespaced_service,
        "StatefulSet": apps.create_namespaced_stateful_set,
        "Job": batch.create_namespaced_job,
    }
    memo.patches = {
        "Secret": core.patch_namespaced_secret,
        "Service": core.patch_namespaced_service,
        "StatefulSet": apps.patch_namespaced_stateful_set,
    }
    settings.posting.enabled = False


@kopf.index(*_DATABASES)
def databases(namespace: str | None, name: str, body: kopf.Body, **_: Any) -> dict[Any, Any]:
    """Keep the databases, for the events of their children."""
    return {(namespace, name): dict(body)}


@kopf.index("v1", "secrets", **_OURS)
@kopf.index("v1", "services", **_OURS)
@kopf.index("apps", "v1", "statefulsets", **_OURS)
@kopf.index("batch", "v1", "jobs", **_OURS)
def owned(
    namespace: str | None,
    labels: Mapping[str, str],
    body: kopf.Body,
    resource: kopf.Resource,
    **_: Any,
) -> dict[Any, Any]:
    """Keep the children of each database."""
    return {(namespace, labels[LABEL]): {**body, "kind": resource.kind}}


@kopf.on.create(*_DATABASES)
@kopf.on.update(*_DATABASES)
@kopf.on.resume(*_DATABASES)
def changed(
    body: kopf.Body, namespace: str | None, name: str, memo: kopf.Memo, **given: Any
) -> None:
    """Bring the children to the desired state; the events of the StatefulSet have the status."""
    _mend(dict(body), given["owned"].get((namespace, name), ()), memo)


@kopf.timer(*_DATABASES, interval=10, initial_delay=10)
def look(
    body: kopf.Body,
    namespace: str | None,
    name: str,
    patch: kopf.Patch,
    memo: kopf.Memo,
    **given: Any,
) -> None:
    """Do the same for what an event has missed."""
    reported = _mend(dict(body), given["owned"].get((namespace, name), ()), memo)
    if reported != body.get("status"):
        patch.status.update(reported)


@kopf.on.event("v1", "secrets", **_OURS)
@kopf.on.event("v1", "services", **_OURS)
@kopf.on.event("apps", "v1", "statefulsets", **_OURS)
def child_changed(
    event: kopf.RawEvent,
    namespace: Any,
    labels: Mapping[str, str],
    memo: kopf.Memo,
    **given: Any,
) -> None:
    """Mend at once after a deletion or an edit; the status of the StatefulSet comes here too."""
    # While a family is created, the index has a part of it: its own creates are no news.
    if event["type"] not in ("MODIFIED", "DELETED"):
        return
    name = labels[LABEL]
    for database in given["databases"].get((namespace, name), ()):
        reported = _mend(database, given["owned"].get((namespace, name), ()), memo)
        if reported != database.get("status"):
            memo.databases.patch_namespaced_custom_object_status(
                _GROUP, "v1", namespace, "databases", name, {"status": reported}
            )


@kopf.on.delete(*_DATABASES)
def archive(
    body: kopf.Body, namespace: str | None, name: str, memo: kopf.Memo, **given: Any
) -> None:
    """Wait for the Job that archives the database."""
    jobs = [each for each in given["owned"].get((namespace, name), ()) if each["kind"] == "Job"]
    if not jobs:
        _create(example.archive(dict(body)), memo)
    if example.archived(jobs).reason != "Archived":
        raise kopf.TemporaryError("the archive is not complete", delay=1)


def _mend(database: dict[str, Any], owned: Any, memo: Any) -> dict[str, Any]:
    """Create and correct the children; return the status that the database should have."""
    found = {each["kind"]: each for each in owned}
    wanted = children(database, _SEED)
    if not is_deleting(database):
        for desired in wanted:
            observed = found.get(desired["kind"])
            changeable = example.changeable(desired)
            if observed is None:
                _create(desired, memo)
            elif not holds(observed, changeable):
                _patch(changeable, memo)
    return status(database, wanted[-1], found)


def _create(manifest: dict[str, Any], memo: Any) -> None:
    try:
        memo.creates[manifest["kind"]](manifest["metadata"]["namespace"], manifest)
    except client.ApiException as refused:
        # The index is a moment late; the next event has the object.
        if refused.status != 409:
            raise


def _patch(manifest: dict[str, Any], memo: Any) -> None:
    metadata = manifest["metadata"]
    memo.patches[manifest["kind"]](metadata["name"], metadata["namespace"], manifest)
