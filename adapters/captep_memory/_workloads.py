"""Deployments, ServiceAccounts and RBAC: defaults, immutable fields and validation.

Fields of a Deployment that few operators set have no model: `MODELLED` lists those that have one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from captep_memory._json import Object, identical
from captep_memory._names import dns_label, dns_subdomain, label_value, qualified_name
from captep_memory._status import (
    Cause,
    duplicate,
    invalid_struct,
    invalid_value,
    not_modelled,
    not_supported,
    required,
)

__all__ = ["MODELLED", "default_typed", "validate_typed"]

MODELLED: Mapping[str, frozenset[str]] = {
    "LabelSelector": frozenset({"matchLabels"}),
    "PodSpec": frozenset(
        {
            "containers",
            "nodeSelector",
            "restartPolicy",
            "serviceAccountName",
            "terminationGracePeriodSeconds",
            "volumes",
            # A server writes these defaults; other values have no model.
            "dnsPolicy",
            "schedulerName",
            "securityContext",
            "serviceAccount",
        }
    ),
    "PodSecurityContext": frozenset(),
    "Container": frozenset(
        {
            "args",
            "command",
            "env",
            "image",
            "imagePullPolicy",
            "name",
            "ports",
            "resources",
            "volumeMounts",
            "terminationMessagePath",
            "terminationMessagePolicy",
        }
    ),
    "EnvVar": frozenset({"name", "value"}),
    "ContainerPort": frozenset({"containerPort", "name", "protocol"}),
    "ResourceRequirements": frozenset({"limits", "requests"}),
    "VolumeMount": frozenset({"mountPath", "name", "readOnly"}),
    "Volume": frozenset({"configMap", "emptyDir", "name", "secret"}),
    "EmptyDirVolumeSource": frozenset(),
    "SecretVolumeSource": frozenset({"defaultMode", "secretName"}),
    "ConfigMapVolumeSource": frozenset({"defaultMode", "name"}),
    "AggregationRule": frozenset(),
    "DeploymentStatus": frozenset(
        {
            "availableReplicas",
            "observedGeneration",
            "readyReplicas",
            "replicas",
            "unavailableReplicas",
            "updatedReplicas",
        }
    ),
}
_RBAC = "rbac.authorization.k8s.io"
_FIXED = {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
_POLICIES = ("Always", "IfNotPresent", "Never")


def default_typed(obj: Object) -> Object:
    """Return an object with the defaults of its kind."""
    match obj["kind"]:
        case "Deployment":
            return {**obj, "spec": _deployment_defaults(obj["spec"])}
        case "RoleBinding" | "ClusterRoleBinding":
            return _binding_defaults(obj)
        case _:
            return obj


def _binding_defaults(obj: Object) -> Object:
    reference = {**obj["roleRef"], "apiGroup": obj["roleRef"].get("apiGroup") or _RBAC}
    if not obj.get("subjects"):
        return {**obj, "roleRef": reference}
    subjects = [
        {**each, "apiGroup": _RBAC}
        if each.get("kind") in ("User", "Group") and not each.get("apiGroup")
        else each
        for each in obj["subjects"]
    ]
    return {**obj, "roleRef": reference, "subjects": subjects}


def _deployment_defaults(spec: Object) -> Object:
    strategy = dict(spec.get("strategy") or {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = {"maxUnavailable": "25%", "maxSurge": "25%"} | strategy.get("rollingUpdate", {})
        strategy["rollingUpdate"] = rolling
    template = spec["template"]
    return {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        **spec,
        "strategy": strategy,
        "template": {**template, "spec": _pod_defaults(template["spec"])},
    }


def _pod_defaults(spec: Object) -> Object:
    pod = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "securityContext": {},
        **_FIXED,
        **spec,
    }
    if pod.get("serviceAccountName") or pod.get("serviceAccount"):
        # The old name mirrors the new one.
        name = pod.get("serviceAccountName") or pod["serviceAccount"]
        pod |= {"serviceAccountName": name, "serviceAccount": name}
    if pod.get("containers"):
        pod["containers"] = [_container_defaults(each) for each in pod["containers"]]
    if pod.get("volumes"):
        pod["volumes"] = [_volume_defaults(each) for each in pod["volumes"]]
    return pod


def _container_defaults(container: Object) -> Object:
    image = container.get("image", "")
    _, _, tag = image.rpartition("/")[2].partition(":")
    policy = "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"
    defaults = {
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": policy,
        "resources": {},
    }
    filled = {**defaults, **container}
    if filled.get("ports"):
        filled["ports"] = [{"protocol": "TCP", **each} for each in filled["ports"]]
    return filled


def _volume_defaults(volume: Object) -> Object:
    for source in ("secret", "configMap"):
        if source in volume:
            return {**volume, source: {"defaultMode": 420, **volume[source]}}
    return volume if "emptyDir" in volume else {**volume, "emptyDir": {}}


def validate_typed(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of an object of a recorded kind."""
    match obj["kind"]:
        case "Role" | "ClusterRole":
            for index, rule in enumerate(obj.get("rules") or ()):
                yield from _validate_rule(f"rules[{index}]", rule, obj["kind"])
        case "RoleBinding" | "ClusterRoleBinding":
            yield from _validate_binding(obj, old)
        case "Deployment":
            yield from _validate_deployment(obj["spec"], None if old is None else old["spec"])
        case _:
            return


def _validate_rule(path: str, rule: Object, kind: str) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs")
    if rule.get("nonResourceURLs"):
        urls = rule["nonResourceURLs"]
        if kind == "Role":
            detail = "namespaced rules cannot apply to non-resource URLs"
            yield invalid_value(f"{path}.nonResourceURLs", urls, detail)
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid_value(f"{path}.nonResourceURLs", urls, detail)
        return
    if not rule.get("apiGroups"):
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _validate_binding(obj: Object, old: Object | None) -> Iterator[Cause]:
    reference = obj["roleRef"]
    kinds = ("Role", "ClusterRole") if obj["kind"] == "RoleBinding" else ("ClusterRole",)
    if reference.get("apiGroup") != _RBAC:
        yield not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), (_RBAC,))
    if reference.get("kind", "") not in kinds:
        yield not_supported("roleRef.kind", reference.get("kind", ""), kinds)
    if not reference.get("name"):
        yield required("roleRef.name")
    elif "/" in reference["name"] or "%" in reference["name"] or reference["name"] in (".", ".."):
        raise not_modelled("a roleRef whose name is no path segment")
    if old is not None and not identical(reference, old["roleRef"]):
        # The internal type has no JSON names.
        names = {"apiGroup": "APIGroup", "kind": "Kind", "name": "Name"}
        shown = {go_name: reference.get(name, "") for name, go_name in names.items()}
        yield invalid_struct("roleRef", shown, "field is immutable")
    for index, subject in enumerate(obj.get("subjects") or ()):
        yield from _validate_subject(f"subjects[{index}]", subject, obj["kind"])


def _validate_subject(path: str, subject: Object, kind: str) -> Iterator[Cause]:
    name, shown = subject.get("name", ""), subject.get("kind", "")
    if not name:
        yield required(f"{path}.name")
    group = subject.get("apiGroup", "")
    if shown == "ServiceAccount":
        for problem in dns_subdomain(name) if name else ():
            yield invalid_value(f"{path}.name", name, problem)
        if group:
            yield not_supported(f"{path}.apiGroup", group, ("",))
        if not subject.get("namespace") and kind == "ClusterRoleBinding":
            yield required(f"{path}.namespace")
    elif shown in ("User", "Group"):
        if group != _RBAC:
            yield not_supported(f"{path}.apiGroup", group, (_RBAC,))
    else:
        yield not_supported(f"{path}.kind", shown, ("ServiceAccount", "User", "Group"))


def _validate_deployment(spec: Object, old: Object | None) -> Iterator[Cause]:
    selector = (spec.get("selector") or {}).get("matchLabels", {})
    labels = spec["template"].get("metadata", {}).get("labels", {})
    if spec.get("selector") is None:
        yield required("spec.selector")
    elif not selector:
        raise not_modelled("an empty selector")
    _check_labels(selector)
    _check_labels(labels)
    if not selector or any(labels.get(name) != value for name, value in selector.items()):
        detail = "`selector` does not match template `labels`"
        yield invalid_value("spec.template.metadata.labels", labels or None, detail)
    if old is not None and not identical(spec.get("selector"), old.get("selector")):
        raise not_modelled("a change of a selector")
    yield from _validate_numbers(spec)
    _check_strategy(spec["strategy"])
    yield from _validate_pod(spec["template"]["spec"])


def _check_labels(labels: Mapping[str, str]) -> None:
    if any(qualified_name(name) or label_value(value) for name, value in labels.items()):
        raise not_modelled("malformed labels in a template or a selector")


def _check_strategy(strategy: Object) -> None:
    rolling = strategy.get("rollingUpdate", {})
    default = {"maxUnavailable": "25%", "maxSurge": "25%"}
    if strategy["type"] == "Recreate" and not rolling:
        return
    if strategy["type"] != "RollingUpdate" or rolling != default:
        raise not_modelled("strategies of Deployments other than the default and Recreate")


def _validate_numbers(spec: Object) -> Iterator[Cause]:
    for name in ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        value = spec.get(name, 0)
        if value < 0:
            yield invalid_value(f"spec.{name}", value, "must be greater than or equal to 0")
    deadline = spec["progressDeadlineSeconds"]
    if deadline <= spec.get("minReadySeconds", 0):
        detail = "must be greater than minReadySeconds"
        yield invalid_value("spec.progressDeadlineSeconds", deadline, detail)


def _validate_pod(pod: Object) -> Iterator[Cause]:
    path = "spec.template.spec"
    if any(pod[name] != value for name, value in _FIXED.items()):
        raise not_modelled("a dnsPolicy or a schedulerName other than the default")
    if pod["restartPolicy"] != "Always" or pod["terminationGracePeriodSeconds"] < 0:
        raise not_modelled("this restartPolicy or terminationGracePeriodSeconds of a template")
    if dns_subdomain(pod.get("serviceAccountName", "a")):
        raise not_modelled("a malformed serviceAccountName")
    _check_labels(pod.get("nodeSelector", {}))
    names = [volume["name"] for volume in pod.get("volumes", ())]
    if len(set(names)) < len(names) or any(map(dns_label, names)):
        raise not_modelled("duplicate or malformed names of volumes")
    if not pod.get("containers"):
        yield required(f"{path}.containers")
    seen: set[str] = set()
    for index, container in enumerate(pod.get("containers") or ()):
        yield from _validate_container(f"{path}.containers[{index}]", container, names)
        name = container["name"]
        if name and name in seen:
            yield duplicate(f"{path}.containers[{index}].name", name)
        seen.add(name)


def _validate_container(path: str, container: Object, volumes: list[str]) -> Iterator[Cause]:
    name = container["name"]
    if not name:
        yield required(f"{path}.name")
    for problem in dns_label(name) if name else ():
        yield invalid_value(f"{path}.name", name, problem)
    if not container.get("image"):
        yield required(f"{path}.image")
    elif container["image"] != container["image"].strip():
        raise not_modelled("an image with white space around it")
    if container["imagePullPolicy"] not in _POLICIES:
        yield not_supported(f"{path}.imagePullPolicy", container["imagePullPolicy"], _POLICIES)
    _check_container(container, volumes)


def _check_container(container: Object, volumes: list[str]) -> None:
    """Refuse what the real server validates and this one does not word."""
    ports: list[Any] = container.get("ports", [])
    sound = all(0 < each["containerPort"] < 65536 and each["protocol"] == "TCP" for each in ports)
    numbers = [each["containerPort"] for each in ports]
    if not sound or len(set(numbers)) < len(numbers) or any("name" in each for each in ports):
        raise not_modelled("these ports of a container")
    mounts = [each["name"] for each in container.get("volumeMounts", ())]
    paths = [each["mountPath"] for each in container.get("volumeMounts", ())]
    if not set(mounts) <= set(volumes) or len(set(paths)) < len(paths) or "" in paths:
        raise not_modelled("these volumeMounts of a container")
    if any(not each["name"].isidentifier() for each in container.get("env", ())):
        raise not_modelled("these names of environment variables")
    resources = container["resources"]
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    known = {"cpu", "memory"}
    if not (requests.keys() | limits.keys()) <= known or (limits and requests not in ({}, limits)):
        raise not_modelled("these resources of a container")
