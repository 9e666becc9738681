"""A complete operator: PostgreSQL databases, each with a password, a Service and a StatefulSet.

`definition.yaml` has the kind, `deployment.yaml` what runs this file in a cluster, and
`test_database.py` proves that the loop comes to rest, whatever happens on the way.
"""

import base64
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from attrs import frozen

from captep_core import (
    ABSENT,
    JSON,
    Absent,
    Action,
    Decision,
    Manifest,
    ObjectRef,
    Observed,
    ReconcileState,
    Refusal,
    Refused,
    Reverted,
    Unreadable,
    controller_reference,
    difference,
    is_controlled_by,
    is_deleting,
    outstanding,
    ref_of,
    set_condition,
    with_finalizer,
    without_finalizer,
    worded,
    write_of,
)
from captep_core.ports import Read
from captep_operator import Kind, Operator

FINALIZER: Final = "db.example.com/archive"
SOON: Final = timedelta(seconds=10)
# The fields that identify the entries of a list: the server adds defaults to each of them.
KEYS: Final = {
    "spec.ports": "name",
    "spec.template.spec.containers": "name",
    "spec.template.spec.containers.env": "name",
    "spec.template.spec.containers.ports": "name",
    "spec.template.spec.containers.volumeMounts": "mountPath",
}


@frozen
class Verdict:
    """The state of a database, as its condition and the log have it."""

    reason: str
    message: str = ""


def decide(
    key: ObjectRef, read: Read, state: ReconcileState, *, now: datetime, seed: bytes
) -> Decision:
    """Decide what a database needs next; `seed` makes the passwords, see `password`."""
    database = read(key)
    if isinstance(database, Absent):
        return Decision((), None, Verdict("Gone"))
    if isinstance(database, Unreadable):
        return Decision((), SOON, Verdict("Unreadable", str(database)))
    if is_deleting(database):
        if FINALIZER not in database["metadata"].get("finalizers", []):
            return Decision((), None, Verdict("Released"))
        wanted, held = [archive(database)], database
    else:
        wanted = [password(database, seed), service(database), stateful_set(database)]
        held = with_finalizer(database, FINALIZER)
    found = {ref_of(each): read(ref_of(each)) for each in wanted}
    holding = difference(held, database, "hold it until it is archived")
    corrections = [correction(each, found[ref_of(each)]) for each in wanted]
    writes: list[Action] = [write for write in (holding, *corrections) if write is not None]
    verdict = judge(database, found, is_complete=not writes)
    if is_deleting(database) and ABSENT in found.values():
        place = read(ObjectRef("v1", "Namespace", None, database["metadata"]["namespace"]))
        if isinstance(place, dict) and is_deleting(place):
            verdict = Verdict("Unarchived", "a namespace that is being deleted takes no new Job")
    if verdict.reason in ("Archived", "Unarchived"):
        last = difference(without_finalizer(database, FINALIZER), database, "nothing holds it")
        writes = [last] if last is not None else []
    verdict = refusal(database, outstanding(state, writes)) or verdict
    return concluded(state, writes, report(database, verdict, now), verdict)


def correction(desired: Manifest, observed: Observed[Manifest]) -> Action | None:
    """Create a child, or correct what can change of it."""
    if isinstance(observed, dict):
        desired = changeable(desired)
    return difference(desired, observed, f"the {desired['kind']} differs", keys=KEYS)


def changeable(desired: Manifest) -> Manifest:
    """Return a child without what its creation sets for good.

    A password that exists stays, and the API refuses to change a Job and most of a StatefulSet.
    """
    match desired["kind"]:
        case "Secret":
            return {name: item for name, item in desired.items() if name != "data"}
        case "Job":
            return {name: item for name, item in desired.items() if name != "spec"}
        case "StatefulSet":
            spec = desired["spec"]
            return {**desired, "spec": {name: spec[name] for name in ("replicas", "template")}}
        case _:
            return desired


def judge(
    database: Manifest,
    found: Mapping[ObjectRef, Observed[Manifest]],
    *,
    is_complete: bool,
) -> Verdict:
    """Say in one word how the database is: the first thing that is in the way."""
    for ref, obj in found.items():
        if isinstance(obj, Unreadable):
            return Verdict("Unreadable", f"{ref} cannot be read: {obj}")
        if obj is not ABSENT and is_taken(obj, database):
            return Verdict("Taken", f"{ref} belongs to another controller, or is being deleted")
    objects = [obj for obj in found.values() if isinstance(obj, dict)]
    if is_deleting(database):
        return archived(objects)
    is_ready = is_complete and all(map(is_running, objects))
    return Verdict("Ready") if is_ready else Verdict("Creating", "waiting for the StatefulSet")


def refusal(database: Manifest, refused: Iterable[Refusal]) -> Verdict | None:
    """Say why the server refuses a write; a conflict and a busy server are only retried."""
    reported = [each for each in refused if isinstance(each, Refused | Reverted)]
    if not reported:
        return None
    return Verdict("WriteRefused", worded(reported[0], message_of(database)))


def archived(jobs: list[Manifest]) -> Verdict:
    """Say how far the archive of a database is that is being deleted."""
    conditions = [each for job in jobs for each in job.get("status", {}).get("conditions", [])]
    met = {each["type"] for each in conditions if each["status"] == "True"}
    if "Failed" in met:
        return Verdict("ArchiveFailed", "delete the Job to try again")
    return Verdict("Archived") if "Complete" in met else Verdict("Archiving")


def is_taken(obj: Manifest, database: Manifest) -> bool:
    """Whether another controller has a child of ours, or its deletion is under way."""
    owners = obj["metadata"].get("ownerReferences", [])
    has_controller = any(owner.get("controller") for owner in owners)
    return is_deleting(obj) or (has_controller and not is_controlled_by(obj, database))


def is_running(obj: Manifest) -> bool:
    """Whether a StatefulSet is ready, in its present generation; nothing else takes time."""
    if obj["kind"] != "StatefulSet":
        return True
    status = obj.get("status") or {}
    wanted: int = (obj.get("spec") or {}).get("replicas", 1)
    is_current = status.get("observedGeneration") == obj["metadata"].get("generation")
    return is_current and bool(status.get("readyReplicas", 0) >= wanted)


def message_of(database: Manifest) -> str:
    """Return the message that the condition has now."""
    conditions = (database.get("status") or {}).get("conditions", [])
    return next((str(each.get("message")) for each in conditions if each["type"] == "Ready"), "")


def report(database: Manifest, verdict: Verdict, now: datetime) -> Action | None:
    """Write the verdict into the condition, unless nothing is known."""
    if verdict.reason == "Unreadable":
        return None
    generation = database["metadata"].get("generation", 0)
    conditions = set_condition(
        (database.get("status") or {}).get("conditions"),
        "Ready",
        "True" if verdict.reason == "Ready" else "False",
        verdict.reason,
        verdict.message,
        now=now,
        generation=generation,
    )
    status = {"observedGeneration": generation, "conditions": conditions}
    return difference({**database, "status": status}, database, "report", subresource="status")


def concluded(
    state: ReconcileState, writes: list[Action], status: Action | None, verdict: Verdict
) -> Decision:
    """Send what is not refused first, then the report, and at last the oldest refused write."""
    actions = [*writes, *([status] if status else [])]
    refused = outstanding(state, actions)
    stuck = {each.write for each in refused}
    free = [action for action in writes if write_of(action) not in stuck]
    if not free and status is not None and write_of(status) not in stuck:
        free = [status]
    retried = [action for action in actions if refused and write_of(action) == refused[0].write]
    waits = SOON if verdict.reason in ("Unreadable", "Taken") or refused else None
    return Decision(tuple(free or retried), waits, verdict, refused)


def child(database: Manifest, api_version: str, kind: str, suffix: str, **fields: JSON) -> Manifest:
    """Return an object that belongs to a database."""
    about = database["metadata"]
    metadata = {
        "name": f"{about['name']}{suffix}",
        "namespace": about["namespace"],
        "labels": labels(database),
        "ownerReferences": [controller_reference(database)],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def labels(database: Manifest) -> dict[str, JSON]:
    """Return the labels of everything that belongs to a database."""
    name = database["metadata"]["name"]
    return {"app.kubernetes.io/name": "database", "db.example.com/name": name}


def password(database: Manifest, seed: bytes) -> Manifest:
    """Return the Secret with a password that is generated once.

    The function stays pure: the password is derived from the uid and from a seed, which each
    process draws at its start. The first create wins, and `changeable` says that nobody changes it
    afterwards: a process with another seed, or a retry after a lost answer, finds the Secret.
    """
    uid = database["metadata"]["uid"].encode()
    generated = hmac.digest(seed, uid, "sha256").hex()
    data: JSON = {"password": base64.b64encode(generated.encode()).decode()}
    return child(database, "v1", "Secret", "-password", data=data)


def service(database: Manifest) -> Manifest:
    """Return the headless Service that gives the pods their names."""
    # The server derives a targetPort from the port once, and keeps it when the port changes back.
    ports: JSON = [{"name": "sql", "port": 5432, "targetPort": "sql"}]
    spec: JSON = {"clusterIP": "None", "selector": labels(database), "ports": ports}
    return child(database, "v1", "Service", "", spec=spec)


def stateful_set(database: Manifest) -> Manifest:
    """Return the StatefulSet; `spec.version` and `spec.replicas` of the database may change."""
    wanted = database.get("spec") or {}
    claim: JSON = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": wanted.get("storage", "1Gi")}},
        },
    }
    container: JSON = {
        "name": "postgres",
        "image": f"postgres:{wanted.get('version', '17')}",
        "env": [{"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": key_of(database)}}],
        "ports": [{"name": "sql", "containerPort": 5432}],
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
    }
    template: JSON = {"metadata": {"labels": labels(database)}, "spec": {"containers": [container]}}
    spec: JSON = {
        "replicas": wanted.get("replicas", 1),
        "serviceName": database["metadata"]["name"],
        "selector": {"matchLabels": labels(database)},
        "template": template,
        "volumeClaimTemplates": [claim],
    }
    return child(database, "apps/v1", "StatefulSet", "", spec=spec)


def archive(database: Manifest) -> Manifest:
    """Return the Job that archives a database before it goes."""
    host = f"{database['metadata']['name']}.{database['metadata']['namespace']}.svc"
    container: JSON = {
        "name": "archive",
        "image": f"postgres:{(database.get('spec') or {}).get('version', '17')}",
        "command": ["pg_dumpall", "--host", host, "--username", "postgres"],
        "env": [{"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": key_of(database)}}],
    }
    pod: JSON = {"restartPolicy": "Never", "containers": [container]}
    return child(database, "batch/v1", "Job", "-archive", spec={"template": {"spec": pod}})


def key_of(database: Manifest) -> dict[str, JSON]:
    """Name the password in its Secret."""
    return {"name": f"{database['metadata']['name']}-password", "key": "password"}


operator = Operator(
    "database",
    partial(decide, seed=secrets.token_bytes(32)),
    primary=Kind("db.example.com/v1", "Database"),
    reads=[
        Kind("v1", "Secret", payload="on demand"),
        Kind("v1", "Service"),
        Kind("apps/v1", "StatefulSet"),
        Kind("batch/v1", "Job"),
        Kind("v1", "Namespace", plural="namespaces", namespaced=False, payload="metadata"),
    ],
)

if __name__ == "__main__":
    operator.main()
