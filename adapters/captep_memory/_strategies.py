"""The strategies of built-in kinds: what the registry of k8s.io/kubernetes does around a write.

Each kind has a row; a kind's own steps are small functions here, its validation a module of its
area.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from attrs import frozen

from captep_memory._apps import (
    check_cron_job,
    check_daemon_set,
    check_deployment,
    check_job,
    check_replica_set,
    check_scaled_status,
    check_stateful_set,
)
from captep_memory._autoscaling import check_autoscaler
from captep_memory._checks import require_model
from captep_memory._job_status import check_job_status
from captep_memory._json import Object, deep_equal, identical, without
from captep_memory._metadata import Names
from captep_memory._pods import check_pod, check_pod_status, check_pod_update, qos_class
from captep_memory._policies import (
    check_budget,
    check_budget_status,
    check_endpoint_slice,
    check_endpoints,
    check_ingress,
    check_limit_range,
    check_network_policy,
    check_priority_class,
    check_quota,
    check_webhooks,
)
from captep_memory._rbac import check_binding, check_role
from captep_memory._services import check_service, keep_allocated
from captep_memory._status import Cause, invalid_value
from captep_memory._typed import empty_status
from captep_memory._volumes import check_claim, check_storage_class

__all__ = [
    "Strategy",
    "counts",
    "prepare_created",
    "prepare_updated",
    "status_of_new",
    "strategy_of",
]

_Check: TypeAlias = Callable[[Object, Object | None], Iterator[Cause]]
_STEP = "deprecated.daemonset.template.generation"


def _nothing(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    yield from ()


def _check_pod(obj: Object, old: Object | None) -> Iterator[Cause]:
    return check_pod(obj) if old is None else check_pod_update(obj, old)


def _status_of(check: Callable[[Object], Iterator[Cause]]) -> _Check:
    return lambda obj, old: check(obj)  # noqa: ARG005


def _check_namespace_status(obj: Object) -> Iterator[Cause]:
    """The phase follows from the deletion."""
    phase = obj["status"].get("phase")
    wanted, when = ("Active", "empty")
    if "deletionTimestamp" in obj["metadata"]:
        wanted, when = ("Terminating", "not empty")
    if phase != wanted:
        detail = f"may only be '{wanted}' if `deletionTimestamp` is {when}"
        yield invalid_value("status.Phase", phase, detail)


@frozen
class Strategy:
    """What a kind checks, and the flags of its strategy.

    `names` is the form of its names, `generation` whether its objects have one, `returns_deleted`
    whether a DELETE answers with the object.
    """

    check: _Check = _nothing
    check_status: _Check = _nothing
    names: Names = "subdomain"
    unconditional: bool = True
    creates_on_update: bool = False
    generation: bool = False
    returns_deleted: bool = False


_ROLE = Strategy(check_role, names="path", creates_on_update=True)
_BINDING = Strategy(check_binding, names="path", creates_on_update=True)
_SCALED = _status_of(check_scaled_status)
_HOOKS = Strategy(check_webhooks, unconditional=False, generation=True)
_STRATEGIES: Mapping[str, Strategy] = {
    "ServiceAccount": Strategy(returns_deleted=True),
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "Deployment": Strategy(check_deployment, _SCALED, generation=True),
    "ReplicaSet": Strategy(check_replica_set, _SCALED, generation=True),
    "StatefulSet": Strategy(check_stateful_set, _SCALED, names="label", generation=True),
    "DaemonSet": Strategy(check_daemon_set, _SCALED, generation=True),
    "Job": Strategy(check_job, check_job_status, generation=True),
    "CronJob": Strategy(check_cron_job, generation=True),
    "Pod": Strategy(
        _check_pod, _status_of(check_pod_status), generation=True, returns_deleted=True
    ),
    "Service": Strategy(check_service, names="label", creates_on_update=True, returns_deleted=True),
    "PersistentVolumeClaim": Strategy(check_claim, returns_deleted=True),
    "Endpoints": Strategy(check_endpoints, creates_on_update=True),
    "EndpointSlice": Strategy(check_endpoint_slice, generation=True),
    "Ingress": Strategy(check_ingress, generation=True),
    "NetworkPolicy": Strategy(check_network_policy, generation=True),
    # Its validation leaves the metadata out.
    "PodDisruptionBudget": Strategy(
        check_budget,
        _status_of(check_budget_status),
        names="path",
        unconditional=False,
        generation=True,
    ),
    "HorizontalPodAutoscaler": Strategy(check_autoscaler, generation=True),
    "ResourceQuota": Strategy(check_quota, check_quota, returns_deleted=True),
    "LimitRange": Strategy(check_limit_range, creates_on_update=True),
    "PriorityClass": Strategy(check_priority_class, generation=True),
    "StorageClass": Strategy(check_storage_class, returns_deleted=True),
    "ValidatingWebhookConfiguration": _HOOKS,
    "MutatingWebhookConfiguration": _HOOKS,
    "Namespace": Strategy(
        check_status=_status_of(_check_namespace_status), names="namespace", returns_deleted=True
    ),
}


def strategy_of(kind: str) -> Strategy:
    """Return the strategy of a recorded kind."""
    return _STRATEGIES[kind]


def prepare_created(obj: Object) -> Object:
    """Return a new object as its strategy prepares it; its metadata is complete."""
    prepare = _CREATED.get(obj["kind"])
    return obj if prepare is None else prepare(obj)


def _with_finalizer(obj: Object) -> Object:
    given = obj["spec"].get("finalizers", [])
    finalizers = given if "kubernetes" in given else [*given, "kubernetes"]
    return {**obj, "spec": {"finalizers": finalizers}, "status": {"phase": "Active"}}


def _with_generated_selector(obj: Object) -> Object:
    """A Job selects its pods by its own uid, unless it says otherwise."""
    spec = obj["spec"]
    if spec["manualSelector"]:
        return obj
    name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
    generated = {
        "job-name": name,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid,
    }
    metadata = spec["template"].get("metadata", {})
    labels = {**generated, **metadata.get("labels", {})}
    template = {**spec["template"], "metadata": {**metadata, "labels": labels}}
    selector = spec.get("selector") or {}
    own = {"batch.kubernetes.io/controller-uid": uid, **selector.get("matchLabels", {})}
    chosen = {**selector, "matchLabels": own}
    # The default of the Job's own labels comes again when the store reads the object.
    own_labels = obj["metadata"].get("labels") or labels
    return {
        **obj,
        "metadata": {**obj["metadata"], "labels": own_labels},
        "spec": {**spec, "template": template, "selector": chosen},
    }


def _with_step(obj: Object, step: int) -> Object:
    """A DaemonSet counts its templates in an annotation."""
    annotations = {**obj["metadata"].get("annotations", {}), _STEP: str(step)}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _first_step(obj: Object) -> Object:
    given = obj["metadata"].get("annotations", {}).get(_STEP)
    require_model(given is None, f"the annotation {_STEP} of a new DaemonSet")
    return _with_step(obj, 1)


def _pending(obj: Object) -> Object:
    return {**obj, "status": {"phase": "Pending", "qosClass": qos_class(obj["spec"])}}


_CREATED: Mapping[str, Callable[[Object], Object]] = {
    "Namespace": _with_finalizer,
    "Job": _with_generated_selector,
    "DaemonSet": _first_step,
    "Pod": _pending,
}


def prepare_updated(new: Object, old: Object) -> Object:
    """Return a changed object as its strategy prepares it."""
    match new["kind"]:
        case "Namespace":
            return {**new, "spec": old["spec"]} if "spec" in old else without(new, "spec")
        case "Service":
            return keep_allocated(new, old)
        case "DaemonSet":
            return _next_step(new, old)
        case _:
            return new


def _next_step(new: Object, old: Object) -> Object:
    known = old["metadata"].get("annotations", {}).get(_STEP, "0")
    step = int(known) if known.isdigit() else 0
    same = deep_equal(new["spec"]["template"], old["spec"]["template"])
    return _with_step(new, step if same else step + 1)


def counts(new: Object, old: Object, *, changed: bool) -> bool:
    """Whether an update counts the generation; `changed` is whether it changes more than metadata.

    A Deployment counts its annotations too, an EndpointSlice its labels, a PriorityClass nothing.
    """
    match new["kind"]:
        case "Deployment":
            return changed or not _same(new, old, "annotations")
        case "EndpointSlice":
            return changed or not _same(new, old, "labels")
        case "PriorityClass":
            return False
        case _:
            return changed


def _same(new: Object, old: Object, name: str) -> bool:
    return identical(new["metadata"].get(name, {}), old["metadata"].get(name, {}))


def status_of_new(obj: Object) -> Object:
    """Return the status of a new object."""
    return empty_status(obj["apiVersion"], obj["kind"])
