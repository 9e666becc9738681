"""The cells of Tables of built-in kinds, as pkg/printers of k8s.io/kubernetes fills them.

Each function returns the cells of an object in the order of the recorded columns.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from captep_core._objects import instant
from captep_memory._durations import human_duration, since
from captep_memory._json import Object, Value

__all__ = ["PRINTERS"]

Printer: TypeAlias = Callable[[Object, datetime], list[Any]]
_NONE, _UNSET, _UNKNOWN = "<none>", "<unset>", "<unknown>"
_MODES: Mapping[str, str] = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Object, now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def _created(obj: Object, now: datetime) -> list[Any]:
    del now
    return [_name(obj), obj["metadata"]["creationTimestamp"]]


def _plain(*cells: Callable[[Object], Value]) -> Printer:
    """Return a printer that shows the name, the cells and the age."""
    return lambda obj, now: [_name(obj), *(cell(obj) for cell in cells), _age(obj, now)]


def _containers(spec: Object) -> list[str]:
    containers = spec.get("containers") or ()
    names = ",".join(each["name"] for each in containers)
    return [names, ",".join(each.get("image", "") for each in containers)]


def _labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items())) or _NONE


def _selector(selector: Object | None) -> str:
    """A selector in the form of a query."""
    if selector is None:
        return _NONE
    parts = [(name, f"{name}={value}") for name, value in selector.get("matchLabels", {}).items()]
    for each in selector.get("matchExpressions", ()):
        key, values = each["key"], ",".join(sorted(each.get("values", ())))
        shown = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append((key, shown[each["operator"]]))
    return ",".join(text for _, text in sorted(parts)) or _NONE


def _deployment(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    ready = f"{status.get('readyReplicas', 0)}/{spec['replicas']}"
    counts = [status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    wide = [*_containers(spec["template"]["spec"]), _selector(spec.get("selector"))]
    return [_name(obj), ready, *counts, _age(obj, now), *wide]


def _stateful_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    ready = f"{status.get('readyReplicas', 0)}/{spec['replicas']}"
    return [_name(obj), ready, _age(obj, now), *_containers(spec["template"]["spec"])]


def _replica_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    counts = [spec["replicas"], status.get("replicas", 0), status.get("readyReplicas", 0)]
    wide = [*_containers(spec["template"]["spec"]), _selector(spec.get("selector"))]
    return [_name(obj), *counts, _age(obj, now), *wide]


def _daemon_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    names = (
        *("desiredNumberScheduled", "currentNumberScheduled", "numberReady"),
        *("updatedNumberScheduled", "numberAvailable"),
    )
    pod = spec["template"]["spec"]
    nodes = _labels(pod.get("nodeSelector"))
    wide = [*_containers(pod), _selector(spec.get("selector"))]
    return [_name(obj), *(status.get(each, 0) for each in names), nodes, _age(obj, now), *wide]


_JOB_STATES = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def _job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    succeeded = status.get("succeeded", 0)
    done = f"{succeeded}/{spec.get('completions', 1)}"
    if "completions" not in spec and spec["parallelism"] > 1:
        done = f"{succeeded}/1 of {spec['parallelism']}"
    wide = [*_containers(spec["template"]["spec"]), _selector(spec.get("selector"))]
    return [_name(obj), _job_state(obj), done, _job_duration(status, now), _age(obj, now), *wide]


def _job_state(obj: Object) -> str:
    conditions = obj["status"].get("conditions", ())
    true = {each["type"] for each in conditions if each["status"] == "True"}
    for state in ("Complete", "Failed"):
        if state in true:
            return state
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return next((state for state in _JOB_STATES if state in true), "Running")


def _job_duration(status: Object, now: datetime) -> str:
    start = instant(status.get("startTime") or "")
    if start is None:
        return ""
    end = instant(status.get("completionTime") or "")
    return human_duration((now if end is None else end) - start)


def _cron_job(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    last = status.get("lastScheduleTime")
    job = spec["jobTemplate"]["spec"]
    return [
        _name(obj),
        spec["schedule"],
        spec.get("timeZone", _NONE),
        "True" if spec["suspend"] else "False",
        len(status.get("active", ())),
        _NONE if last is None else since(last, now),
        _age(obj, now),
        *_containers(job["template"]["spec"]),
        _selector(job.get("selector")),
    ]


def _pod(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    statuses = status.get("containerStatuses", ())
    running = [each for each in statuses if each["ready"] and "running" in each.get("state", {})]
    restarts = sum(each["restartCount"] for each in statuses)
    addresses = status.get("podIPs") or [{"ip": _NONE}]
    return [
        _name(obj),
        f"{len(running)}/{len(spec['containers'])}",
        _pod_state(obj),
        str(restarts),
        _age(obj, now),
        addresses[0]["ip"],
        spec.get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        _NONE,
    ]


def _pod_state(obj: Object) -> str:
    status = obj["status"]
    phase = status.get("phase", "")
    if "deletionTimestamp" in obj["metadata"] and phase not in ("Failed", "Succeeded"):
        return "Terminating"
    reason = status.get("reason") or phase
    for container in reversed(status.get("containerStatuses", ())):
        state = container.get("state", {})
        waiting, ended = state.get("waiting", {}), state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = ended.get("reason") or f"ExitCode:{ended['exitCode']}"
    return str(reason)


def _service(obj: Object, now: datetime) -> list[Any]:
    spec = obj["spec"]
    ports = ",".join(_port(each) for each in spec.get("ports", ())) or _NONE
    address = (spec.get("clusterIPs") or [_NONE])[0]
    selector = _labels(spec.get("selector"))
    outside = _outside(obj)
    return [_name(obj), spec["type"], address, outside, ports, _age(obj, now), selector]


def _port(port: Object) -> str:
    node = f":{port['nodePort']}" if "nodePort" in port else ""
    return f"{port['port']}{node}/{port['protocol']}"


def _outside(obj: Object) -> str:
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return str(spec["externalName"])
    addresses = list(spec.get("externalIPs", ()))
    if spec["type"] == "LoadBalancer":
        addresses = [*_balanced(obj), *addresses]
        return ",".join(addresses) or "<pending>"
    return ",".join(addresses) or _NONE


def _balanced(obj: Object) -> list[str]:
    ingress = obj["status"].get("loadBalancer", {}).get("ingress", ())
    return [each.get("ip") or each.get("hostname", "") for each in ingress]


def _claim(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    phase = "Terminating" if "deletionTimestamp" in obj["metadata"] else status["phase"]
    volume = spec.get("volumeName", "")
    capacity = status.get("capacity", {}).get("storage", "0") if volume else ""
    modes = [_MODES[each] for each in _MODES if each in status.get("accessModes", ())]
    return [
        _name(obj),
        phase,
        volume,
        capacity,
        ",".join(modes) if volume else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName", _UNSET),
        _age(obj, now),
        spec.get("volumeMode", _UNSET),
    ]


def _shortened(items: Iterable[str]) -> str:
    listed = list(items)
    more = f" + {len(listed) - 3} more..." if len(listed) > 3 else ""
    return (",".join(listed[:3]) + more) or ""


def _endpoints(obj: Object) -> str:
    found = []
    for subset in obj.get("subsets", ()):
        addresses = [each["ip"] for each in subset.get("addresses", ())]
        ports = [f":{each['port']}" for each in subset.get("ports", ())]
        found += [f"{address}{port}" for port in ports or [""] for address in addresses]
    return _shortened(found) if obj.get("subsets") else _NONE


def _slice_ports(obj: Object) -> str:
    ports = [str(each.get("port", each["name"])) for each in obj.get("ports") or ()]
    return _shortened(ports) or _UNSET


def _slice_endpoints(obj: Object) -> str:
    endpoints = obj.get("endpoints") or ()
    return _shortened(address for each in endpoints for address in each["addresses"]) or _UNSET


def _hosts(obj: Object) -> str:
    hosts = [each["host"] for each in obj["spec"].get("rules", ())[:3] if each.get("host")]
    more = len(obj["spec"].get("rules", ())) - 3
    return (",".join(hosts) or "*") + (f" + {more} more..." if more > 0 and hosts else "")


def _metrics(obj: Object) -> str:
    shown = []
    for each in obj["spec"]["metrics"]:
        resource = each.get("resource")
        if resource is None:
            shown.append(_UNKNOWN)
            continue
        target = resource["target"]
        wanted = target.get("averageValue") or f"{target.get('averageUtilization')}%"
        shown.append(f"{resource['name']}: {_UNKNOWN}/{wanted}")
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    return ", ".join(shown[:2]) + more


def _quota(obj: Object, now: datetime) -> list[Any]:
    status = obj["status"]
    parts: dict[bool, list[str]] = {False: [], True: []}
    for name, hard in sorted(status.get("hard", {}).items()):
        used = status.get("used", {}).get(name, "0")
        parts[name.startswith("limits.")].append(f"{name}: {used}/{hard}")
    return [_name(obj), ", ".join(parts[False]), ", ".join(parts[True]), _age(obj, now)]


def _binding(obj: Object, now: datetime) -> list[Any]:
    subjects = obj.get("subjects") or ()
    by_kind = {
        kind: [each["name"] for each in subjects if each["kind"] == kind]
        for kind in ("User", "Group")
    }
    accounts = [
        f"{each.get('namespace', '')}/{each['name']}"
        for each in subjects
        if each["kind"] == "ServiceAccount"
    ]
    role = f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"
    lists = (by_kind["User"], by_kind["Group"], accounts)
    return [_name(obj), role, _age(obj, now), *(", ".join(each) for each in lists)]


def _priority_class(obj: Object, now: datetime) -> list[Any]:
    is_global = bool(obj.get("globalDefault"))
    return [_name(obj), obj["value"], is_global, _age(obj, now), obj["preemptionPolicy"]]


def _storage_class(obj: Object, now: datetime) -> list[Any]:
    annotations = obj["metadata"].get("annotations", {})
    chosen = annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    name = f"{_name(obj)} (default)" if chosen else _name(obj)
    grows = bool(obj.get("allowVolumeExpansion"))
    cells = [obj["provisioner"], obj["reclaimPolicy"], obj["volumeBindingMode"], grows]
    return [name, *cells, _age(obj, now)]


def _event(obj: Object, now: datetime) -> list[Any]:
    about = obj["involvedObject"]
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or first
    kind = about.get("kind", "").lower()
    target = f"{kind}/{about['name']}" if about.get("name") else kind
    source = ", ".join(
        filter(None, (obj["source"].get("component", ""), obj["source"].get("host", "")))
    )
    return [
        since(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        about.get("fieldPath", ""),
        source or obj.get("reportingComponent", ""),
        obj.get("message", "").strip(),
        since(first, now),
        obj.get("count") or 1,
        _name(obj),
    ]


PRINTERS: Mapping[str, Printer] = {
    "ClusterRole": _created,
    "ClusterRoleBinding": _binding,
    "CronJob": _cron_job,
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "EndpointSlice": _plain(lambda obj: obj["addressType"], _slice_ports, _slice_endpoints),
    "Endpoints": _plain(_endpoints),
    "Event": _event,
    "HorizontalPodAutoscaler": _plain(
        lambda obj: "{kind}/{name}".format(**obj["spec"]["scaleTargetRef"]),
        _metrics,
        lambda obj: str(obj["spec"]["minReplicas"]),
        lambda obj: obj["spec"]["maxReplicas"],
        lambda obj: obj["status"].get("currentReplicas", 0),
    ),
    "Ingress": _plain(
        lambda obj: obj["spec"].get("ingressClassName", _NONE),
        _hosts,
        lambda obj: ",".join(_balanced(obj)),
        lambda obj: "80, 443" if obj["spec"].get("tls") else "80",
    ),
    "Job": _job,
    "Lease": _plain(lambda obj: obj["spec"].get("holderIdentity", "")),
    "LimitRange": _created,
    "MutatingWebhookConfiguration": _plain(lambda obj: len(obj.get("webhooks", ()))),
    "Namespace": _plain(lambda obj: obj["status"].get("phase", "")),
    "NetworkPolicy": _plain(lambda obj: _selector(obj["spec"]["podSelector"])),
    "PersistentVolumeClaim": _claim,
    "Pod": _pod,
    "PodDisruptionBudget": _plain(
        lambda obj: str(obj["spec"].get("minAvailable", "N/A")),
        lambda obj: str(obj["spec"].get("maxUnavailable", "N/A")),
        lambda obj: obj["status"].get("disruptionsAllowed", 0),
    ),
    "PriorityClass": _priority_class,
    "ReplicaSet": _replica_set,
    "ResourceQuota": _quota,
    "Role": _created,
    "RoleBinding": _binding,
    "Secret": _plain(lambda obj: obj["type"], lambda obj: len(obj.get("data", {}))),
    "Service": _service,
    "ServiceAccount": _plain(),
    "StatefulSet": _stateful_set,
    "StorageClass": _storage_class,
    "ConfigMap": _plain(lambda obj: len(obj.get("data", {})) + len(obj.get("binaryData", {}))),
    "ValidatingWebhookConfiguration": _plain(lambda obj: len(obj.get("webhooks", ()))),
}
"""The printer of each kind."""
