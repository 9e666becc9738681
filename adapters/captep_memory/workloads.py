"""What controllers and kubelets do to workloads, as moves for stories and for the kit.

The server stores and validates; a Deployment does not become available by itself. Each function
here returns a move: a pure function from a world to the next one, or None where the move is
impossible, because the object is absent, is as it would be, or the server refuses the write. Every
write goes through `serve`, so the server's rules hold for it.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from captep_core._objects import rfc3339
from captep_memory._json import Object
from captep_memory._request import Key, Request, group_of
from captep_memory._serve import serve
from captep_memory._world import World

__all__ = [
    "Step",
    "become_available",
    "become_ready",
    "bind",
    "complete",
    "empty",
    "fail",
    "run_pod",
]

Step: TypeAlias = Callable[[World], World | None]
_Status: TypeAlias = Callable[[World, Object], Object]


def become_available(namespace: str, name: str) -> Step:
    """A Deployment has all its replicas, and its conditions say so."""
    return _status_step("apps/v1", "Deployment", namespace, name, _available)


def become_ready(namespace: str, name: str) -> Step:
    """A StatefulSet has all its replicas in one revision."""
    return _status_step("apps/v1", "StatefulSet", namespace, name, _ready)


def complete(namespace: str, name: str) -> Step:
    """A Job completes: all its pods succeeded."""
    return _status_step("batch/v1", "Job", namespace, name, _completed)


def fail(namespace: str, name: str, message: str = "Job has reached the backoff limit") -> Step:
    """A Job fails beyond its backoff limit."""

    def failed(world: World, job: Object) -> Object:
        return _failed(world, job, message)

    return _status_step("batch/v1", "Job", namespace, name, failed)


def bind(namespace: str, name: str, volume: str = "") -> Step:
    """A PersistentVolumeClaim gets a volume of the size that it asks for.

    Without `volume` the name follows from the uid of the claim, as a provisioner makes it.
    """

    def move(world: World) -> World | None:
        claim = world.get(Key("", "PersistentVolumeClaim", namespace, name))
        if claim is None or claim["status"].get("phase") == "Bound":
            return None
        chosen = volume or f"pvc-{claim['metadata']['uid']}"
        place = ("v1", "PersistentVolumeClaim", namespace, name)
        after = _sent(world, Request("patch", *place, body={"spec": {"volumeName": chosen}}))
        status = {
            "phase": "Bound",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        }
        bound = Request("patch", *place, "status", {"status": status})
        return None if after is None else _sent(after, bound)

    return move


def run_pod(namespace: str, name: str, *, address: str = "10.244.0.1") -> Step:
    """A Pod runs and is ready at an address."""

    def running(world: World, pod: Object) -> Object:
        at = rfc3339(world.now)
        conditions = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        containers = [
            {
                "name": each["name"],
                "image": each.get("image", ""),
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": at}},
            }
            for each in pod["spec"]["containers"]
        ]
        return {
            **pod["status"],
            "phase": "Running",
            "startTime": at,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [_condition(each, "True", at) for each in conditions],
            "containerStatuses": containers,
        }

    return _status_step("v1", "Pod", namespace, name, running)


def empty(name: str) -> Step:
    """A terminating Namespace loses its content and goes.

    What a finalizer holds stays, and the Namespace with it.
    """

    def move(world: World) -> World | None:
        key = Key("", "Namespace", None, name)
        namespace = world.get(key)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return None
        before = world
        for obj in [each for each in world.objects() if each["metadata"].get("namespace") == name]:
            request = Request("delete", obj["apiVersion"], obj["kind"], name)
            world, _ = serve(world, _named(request, obj["metadata"]["name"]))
        if any(obj["metadata"].get("namespace") == name for obj in world.objects()):
            return None if world is before else world
        body = {**namespace, "spec": {}}
        return _sent(world, Request("update", "v1", "Namespace", None, name, "finalize", body))

    return move


def _named(request: Request, name: str) -> Request:
    place = (request.api_version, request.kind, request.namespace, name)
    return Request("delete", *place, body={"gracePeriodSeconds": 0})


def _status_step(api_version: str, kind: str, namespace: str, name: str, status: _Status) -> Step:
    key = Key(group_of(api_version), kind, namespace, name)

    def move(world: World) -> World | None:
        stored = world.get(key)
        if stored is None:
            return None
        body = {**stored, "status": status(world, stored)}
        request = Request("update", api_version, kind, namespace, name, "status", body)
        after = _sent(world, request)
        return None if after is world else after

    return move


def _sent(world: World, request: Request) -> World | None:
    after, response = serve(world, request)
    return after if response.ok else None


def _condition(kind: str, status: str, at: str, **more: Any) -> Object:  # noqa: ANN401  # JSON
    return {"type": kind, "status": status, "lastTransitionTime": at, **more}


def _available(world: World, deployment: Object) -> Object:
    count, at = deployment["spec"]["replicas"], rfc3339(world.now)
    names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    known = {each["type"]: each for each in deployment["status"].get("conditions", ())}
    conditions = [
        _kept(known, "Available", "MinimumReplicasAvailable", at),
        _kept(known, "Progressing", "NewReplicaSetAvailable", at),
    ]
    return {
        **dict.fromkeys(names, count),
        "observedGeneration": deployment["metadata"]["generation"],
        "conditions": conditions,
    }


def _kept(known: Mapping[str, Object], kind: str, reason: str, at: str) -> Object:
    """A condition that is true already keeps its times."""
    before = known.get(kind, {})
    if before.get("status") == "True" and before.get("reason") == reason:
        return before
    return _condition(kind, "True", at, lastUpdateTime=at, reason=reason, message="")


def _ready(world: World, stateful_set: Object) -> Object:
    del world
    count = stateful_set["spec"]["replicas"]
    names = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    revision = f"{stateful_set['metadata']['name']}-{stateful_set['metadata']['generation']}"
    return {
        **dict.fromkeys(names, count),
        "observedGeneration": stateful_set["metadata"]["generation"],
        "currentRevision": revision,
        "updateRevision": revision,
        "collisionCount": 0,
    }


def _completed(world: World, job: Object) -> Object:
    at = rfc3339(world.now)
    before = job["status"]
    message = "Reached expected number of succeeded pods"
    more = {"lastProbeTime": at, "reason": "CompletionsReached", "message": message}
    return {
        "startTime": before.get("startTime") or at,
        "completionTime": at,
        "succeeded": job["spec"].get("completions", 1),
        "ready": 0,
        "terminating": 0,
        "uncountedTerminatedPods": {},
        "conditions": [
            _condition(each, "True", at, **more) for each in ("SuccessCriteriaMet", "Complete")
        ],
    }


def _failed(world: World, job: Object, message: str) -> Object:
    at = rfc3339(world.now)
    before = job["status"]
    more = {"lastProbeTime": at, "reason": "BackoffLimitExceeded", "message": message}
    return {
        "startTime": before.get("startTime") or at,
        "failed": job["spec"]["backoffLimit"] + 1,
        "ready": 0,
        "terminating": 0,
        "uncountedTerminatedPods": {},
        "conditions": [
            _condition(each, "True", at, **more) for each in ("FailureTarget", "Failed")
        ],
    }
