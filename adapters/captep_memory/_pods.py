"""Pods and their templates: validation, as far as it is worded here; the rest is 501."""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction

from captep_memory._checks import (
    check_ip,
    check_labels,
    require_model,
)
from captep_memory._containers import check_container
from captep_memory._json import Object, deep_equal, without
from captep_memory._names import (
    dns_label,
    dns_subdomain,
    label_value,
    qualified_name,
)
from captep_memory._pod_volumes import check_volumes
from captep_memory._quantities import amount
from captep_memory._scheduling import check_affinity, check_spread
from captep_memory._status import Cause, duplicate, forbidden_field, invalid_value, required

__all__ = [
    "check_pod",
    "check_pod_spec",
    "check_pod_status",
    "check_pod_update",
    "check_template",
    "qos_class",
]

_RESTART = ("Always", "OnFailure", "Never")
_MOST_NAMESERVERS = 3
_MOST_SEARCHES = 32
_MOST_LETTERS = 1900
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?[1-9]?\d)(?:\.(?!$)|$)){4}")
# The sysctls of a namespace of the kernel that a pod may share with its host.
_OF_HOST = ("net.", "kernel.", "fs.mqueue.", "net/", "kernel/", "fs/mqueue/")
_SYSCTL = re.compile(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
    "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)


def check_pod(obj: Object) -> Iterator[Cause]:
    """Yield the errors of a new Pod."""
    yield from _check_annotations(obj["metadata"].get("annotations", {}))
    yield from check_pod_spec("spec", obj["spec"])


def check_pod_update(obj: Object, old: Object) -> Iterator[Cause]:
    """Yield the errors of a changed Pod: little besides images may change."""
    yield from check_pod(obj)
    new_spec, old_spec = obj["spec"], old["spec"]
    for name in ("containers", "initContainers"):
        require_model(
            len(new_spec.get(name) or ()) == len(old_spec.get(name) or ()),
            "another number of containers in an update of a Pod",
        )
    require_model(
        new_spec.get("tolerations", [])[: len(old_spec.get("tolerations", []))]
        == old_spec.get("tolerations", []),
        "other tolerations of a Pod than more of them",
    )
    new_spec = {**new_spec, "tolerations": old_spec.get("tolerations", [])}
    old_spec = {**old_spec, "tolerations": old_spec.get("tolerations", [])}
    free = ("activeDeadlineSeconds",)
    for name in free:
        require_model(
            deep_equal(new_spec.get(name), old_spec.get(name)), f"a change of {name} of a Pod"
        )
    if not deep_equal(_without_images(new_spec), _without_images(old_spec)):
        # The real server goes on with the difference of the two Go structs.
        yield forbidden_field("spec", f"{_MUTABLE}\n<difference omitted>")


def check_pod_status(obj: Object) -> Iterator[Cause]:
    """Yield the errors of the status of a Pod."""
    status = obj["status"]
    if status.get("observedGeneration", 0) < 0:
        detail = "must be a non-negative integer"
        yield invalid_value("status.observedGeneration", status["observedGeneration"], detail)
    for address in status.get("podIPs", ()):
        require_model(not [*check_ip("", address["ip"])], "a malformed address of a Pod")
    containers = status.get("containerStatuses", ())
    require_model(all(each["restartCount"] >= 0 for each in containers), "this restartCount")


def _without_images(spec: Object) -> Object:
    kept = without(spec, "containers", "initContainers")
    for name in ("containers", "initContainers"):
        kept[name] = [without(each, "image") for each in spec.get(name) or ()]
    return kept


def _check_annotations(annotations: Mapping[str, str]) -> Iterator[Cause]:
    marks = ("config.mirror", "pod-deletion-cost", "alpha.kubernetes.io", "beta.kubernetes.io")
    odd = [name for name in annotations if any(mark in name for mark in marks)]
    require_model(not odd, f"the annotations {', '.join(odd)} of a pod")
    yield from ()


def check_template(path: str, template: Object) -> Iterator[Cause]:
    """Yield the errors of a pod template."""
    metadata = template.get("metadata", {})
    yield from check_labels(f"{path}.labels", metadata.get("labels", {}))
    annotations = metadata.get("annotations", {})
    for name in annotations:
        for problem in qualified_name(name.lower()):
            yield invalid_value(f"{path}.annotations", name, problem)
    yield from _check_annotations(annotations)
    yield from check_pod_spec(f"{path}.spec", template["spec"])


def check_pod_spec(path: str, spec: Object) -> Iterator[Cause]:
    """Yield the errors of the spec of a pod."""
    _require_sound(spec)
    yield from check_volumes(path, spec.get("volumes", ()))
    names = frozenset(each["name"] for each in spec.get("volumes", ()))
    grace = spec["terminationGracePeriodSeconds"]
    seen: set[str] = set()
    for place in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(place) or ()):
            at = f"{path}.{place}[{index}]"
            yield from check_container(at, container, names, grace)
            if place == "initContainers":
                probed = {"livenessProbe", "readinessProbe", "startupProbe"} & container.keys()
                require_model(not probed, "probes of an init container")
            if container["name"] and container["name"] in seen:
                yield duplicate(f"{at}.name", container["name"])
            seen.add(container["name"])
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    yield from _check_names(path, spec)
    yield from _check_host_ports(path, spec)
    yield from check_affinity(f"{path}.affinity", spec.get("affinity", {}))
    yield from check_spread(
        f"{path}.topologySpreadConstraints", spec.get("topologySpreadConstraints", ())
    )


def _check_host_ports(path: str, spec: Object) -> Iterator[Cause]:
    """The containers of a pod share the ports of its host; init containers run one at a time."""
    containers = [(f"containers[{n}]", each) for n, each in enumerate(spec.get("containers") or ())]
    if spec.get("hostNetwork"):
        for place, container in containers:
            yield from _check_host_network(f"{path}.{place}", container)
    yield from _check_shared_ports(path, containers)
    for index, container in enumerate(spec.get("initContainers") or ()):
        yield from _check_shared_ports(path, [(f"initContainers[{index}]", container)])


def _check_host_network(path: str, container: Object) -> Iterator[Cause]:
    for index, port in enumerate(container.get("ports", ())):
        if port.get("hostPort", 0) not in (0, port["containerPort"]):
            detail = "must match `containerPort` when `hostNetwork` is true"
            yield invalid_value(f"{path}.ports[{index}].hostPort", port["hostPort"], detail)


def _check_shared_ports(path: str, containers: list[tuple[str, Object]]) -> Iterator[Cause]:
    seen: set[str] = set()
    for place, container in containers:
        for index, port in enumerate(container.get("ports", ())):
            if not port.get("hostPort"):
                continue
            used = f"{port['protocol']}/{port.get('hostIP', '')}/{port['hostPort']}"
            if used in seen:
                yield duplicate(f"{path}.{place}.ports[{index}].hostPort", used)
            seen.add(used)


def _require_sound(spec: Object) -> None:
    """Refuse values that the real server validates and this one does not word."""
    require_model(spec["restartPolicy"] in _RESTART, "an unknown restartPolicy")
    require_model(spec["terminationGracePeriodSeconds"] >= 0, "a negative grace period")
    require_model(spec.get("activeDeadlineSeconds", 1) > 0, "this activeDeadlineSeconds")
    names = ("serviceAccountName", "nodeName", "priorityClassName")
    for name in names:
        require_model(not dns_subdomain(spec.get(name) or "a"), f"a malformed {name}")
    for name in ("hostname", "subdomain"):
        require_model(not dns_label(spec.get(name) or "a"), f"a malformed {name}")
    selector = spec.get("nodeSelector", {})
    sound = not any(qualified_name(name) or label_value(selector[name]) for name in selector)
    require_model(sound, "malformed labels in a nodeSelector")
    require_model(
        all(each.get("name") for each in spec.get("imagePullSecrets", ())),
        "an imagePullSecret without a name",
    )
    require_model(not spec.get("readinessGates"), "readinessGates")
    require_model("runtimeClassName" not in spec, "a runtimeClassName")
    for toleration in spec.get("tolerations", ()):
        _require_toleration(toleration)
    on_host = any(spec.get(name) for name in ("hostNetwork", "hostIPC", "hostPID"))
    shares = spec.get("shareProcessNamespace") and spec.get("hostPID")
    require_model(not shares, "shareProcessNamespace with hostPID")
    _require_security(spec["securityContext"], on_host=on_host)


def _check_names(path: str, spec: Object) -> Iterator[Cause]:
    """Yield the errors of what a pod resolves names with."""
    config = spec.get("dnsConfig", {})
    servers, searches = config.get("nameservers", ()), config.get("searches", ())
    require_model(spec["dnsPolicy"] in _DNS, "this dnsPolicy")
    if spec["dnsPolicy"] == "None" and not servers:
        if "dnsConfig" in spec:
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{path}.dnsConfig.nameservers", detail)
        else:
            detail = "must provide `dnsConfig` when `dnsPolicy` is None"
            yield required(f"{path}.dnsConfig", detail)
    few = len(servers) <= _MOST_NAMESERVERS and len(searches) <= _MOST_SEARCHES
    named = all(each.get("name") for each in config.get("options", ()))
    sound = not any(map(dns_subdomain, searches)) and sum(map(len, searches)) < _MOST_LETTERS
    require_model(few and named and sound, "this dnsConfig")
    hosts = spec.get("hostAliases", ())
    for address in (*servers, *(each["ip"] for each in hosts)):
        require_model(_IPV4.fullmatch(address), f"the address {address} of a dnsConfig")
    aliases = (name for each in hosts for name in each.get("hostnames", ()))
    require_model(not any(map(dns_subdomain, aliases)), "these hostAliases")


def _require_toleration(toleration: Object) -> None:
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    sound = (
        operator in ("", "Equal", "Exists")
        and (not key or not qualified_name(key))
        and (bool(key) or operator == "Exists")
        and not (operator == "Exists" and toleration.get("value"))
        and not label_value(toleration.get("value", ""))
        and toleration.get("effect", "") in ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
        and ("tolerationSeconds" not in toleration or toleration.get("effect") == "NoExecute")
    )
    require_model(sound, "this toleration")


def _require_security(context: Object, *, on_host: bool) -> None:
    numbers = ("fsGroup", "runAsUser", "runAsGroup")
    require_model(all(context.get(each, 0) >= 0 for each in numbers), "a negative user or group")
    require_model(
        all(0 <= each < 1 << 31 for each in context.get("supplementalGroups", ())),
        "these supplementalGroups",
    )
    require_model(
        context.get("fsGroupChangePolicy", "Always") in ("Always", "OnRootMismatch"),
        "this fsGroupChangePolicy",
    )
    names = [each["name"] for each in context.get("sysctls", ())]
    sound = all(map(_SYSCTL.fullmatch, names)) and len(set(names)) == len(names)
    shared = on_host and any(name.startswith(_OF_HOST) for name in names)
    require_model(sound and not shared, "these sysctls")
    profile = context.get("seccompProfile", {"type": "Unconfined"})
    sound = profile["type"] in ("RuntimeDefault", "Unconfined")
    require_model(sound and "localhostProfile" not in profile, "this seccompProfile")


def qos_class(spec: Object) -> str:
    """Return the QoS class that the server gives a pod by its resources."""
    limits, requests = [], []
    containers = (*(spec.get("containers") or ()), *spec.get("initContainers", ()))
    for container in containers:
        resources = container["resources"]
        requests.append(_counted(resources.get("requests", {})))
        limits.append(_counted(resources.get("limits", {})))
    if not any(requests) and not any(limits):
        return "BestEffort"
    bounded = all(each.keys() == {"cpu", "memory"} for each in limits)
    return "Guaranteed" if bounded and requests == limits else "Burstable"


def _counted(resources: Object) -> dict[str, Fraction]:
    amounts = {name: amount(value) for name, value in resources.items()}
    return {name: each for name, each in amounts.items() if name in ("cpu", "memory") and each}
