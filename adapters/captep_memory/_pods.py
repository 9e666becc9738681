"""Pods and their templates: validation, as far as it is worded here; the rest is 501."""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from captep_memory._checks import (
    PROTOCOLS,
    check_dns_label,
    check_ip,
    check_labels,
    check_non_negative,
    check_one_of,
    check_port,
    check_port_name,
    check_port_number,
    not_found_field,
    require_model,
)
from captep_memory._json import Object, deep_equal, without
from captep_memory._names import (
    config_key,
    dns_label,
    dns_subdomain,
    label_value,
    qualified_name,
)
from captep_memory._quantities import amount
from captep_memory._status import Cause, duplicate, forbidden_field, invalid_value, required

__all__ = [
    "check_pod",
    "check_pod_spec",
    "check_pod_status",
    "check_pod_update",
    "check_template",
    "qos_class",
]

_PULL = ("Always", "IfNotPresent", "Never")
_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default")
_MESSAGES = ("FallbackToLogsOnError", "File")
_HOST_PATHS = (
    *("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate"),
    *("File", "FileOrCreate", "Socket"),
)
_COUNTED = ("cpu", "memory", "ephemeral-storage")
_FIELD = re.compile(r"metadata\.(labels|annotations)\['[a-z0-9./-]+'\]")
_FIELDS = frozenset(
    {
        *("metadata.name", "metadata.namespace", "metadata.uid"),
        *("spec.nodeName", "spec.serviceAccountName"),
        *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
    }
)
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
    yield from _check_volumes(path, spec.get("volumes", ()))
    names = frozenset(each["name"] for each in spec.get("volumes", ()))
    seen: set[str] = set()
    for place in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(place) or ()):
            at = f"{path}.{place}[{index}]"
            yield from _check_container(at, container, names)
            if place == "initContainers":
                probed = {"livenessProbe", "readinessProbe", "startupProbe"} & container.keys()
                require_model(not probed, "probes of an init container")
            if container["name"] and container["name"] in seen:
                yield duplicate(f"{at}.name", container["name"])
            seen.add(container["name"])
    if not spec.get("containers"):
        yield required(f"{path}.containers")


def _require_sound(spec: Object) -> None:
    """Refuse values that the real server validates and this one does not word."""
    require_model(spec["restartPolicy"] in _RESTART, "an unknown restartPolicy")
    require_model(spec["dnsPolicy"] in _DNS, "this dnsPolicy")
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
    _require_security(spec["securityContext"])


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


def _require_security(context: Object) -> None:
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
    profile = context.get("seccompProfile", {"type": "Unconfined"})
    sound = profile["type"] in ("RuntimeDefault", "Unconfined")
    require_model(sound and "localhostProfile" not in profile, "this seccompProfile")


def _check_volumes(path: str, volumes: Any) -> Iterator[Cause]:  # noqa: ANN401  # a JSON list
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        at, name = f"{path}.volumes[{index}]", volume["name"]
        if not name:
            yield required(f"{at}.name")
        else:
            yield from check_dns_label(f"{at}.name", name)
        if name in seen and name:
            yield duplicate(f"{at}.name", name)
        seen.add(name)
        yield from _check_source(at, without(volume, "name"))


def _check_source(path: str, sources: Object) -> Iterator[Cause]:
    require_model(len(sources) == 1, "a volume of several types")
    (kind, source) = next(iter(sources.items()))
    named = _NAMED_BY.get(kind)
    if named is not None and not source.get(named):
        yield required(f"{path}.{kind}.{named}")
    match kind:
        case "secret" | "configMap":
            _require_items(source)
        case "hostPath":
            require_model(".." not in source["path"].split("/"), "a host path with ..")
            require_model(source.get("type", "") in _HOST_PATHS, "this type of a host path")
        case "downwardAPI":
            _require_downward(source)
        case "projected":
            require_model(source.get("sources"), "a projected volume without sources")
            for each in source["sources"]:
                _require_projection(each)
        case "emptyDir":
            medium = source.get("medium", "") in ("", "Memory")
            sound = medium and amount(source.get("sizeLimit", "0")) >= 0
            require_model(sound, "this emptyDir")
        case _:
            return


# The field of a volume that names what it shows.
_NAMED_BY = {
    "secret": "secretName",
    "configMap": "name",
    "persistentVolumeClaim": "claimName",
    "hostPath": "path",
}


def _require_downward(source: Object) -> None:
    for item in source.get("items", ()):
        sound = "fieldRef" in item and "resourceFieldRef" not in item and item["path"]
        require_model(sound and not item["path"].startswith(("/", "..")), "this downwardAPI")
        place = item["fieldRef"]["fieldPath"]
        known = place in ("metadata.name", "metadata.namespace", "metadata.uid")
        whole = place in ("metadata.labels", "metadata.annotations")
        require_model(known or whole or _FIELD.fullmatch(place), f"the fieldPath {place}")


def _require_projection(source: Object) -> None:
    require_model(len(source) == 1, "a projection without exactly one source")
    ((kind, given),) = source.items()
    match kind:
        case "serviceAccountToken":
            sound = given["path"] and given["expirationSeconds"] >= 600
            require_model(sound and not given.get("audience"), "this projected token")
        case "configMap" | "secret":
            require_model(given.get("name"), "a projection without a name")
            _require_items({**given, "defaultMode": 0})
        case "downwardAPI":
            _require_downward(given)
        case _:
            require_model(condition=False, what=f"the projection {kind}")


def _require_items(source: Object) -> None:
    modes = [source["defaultMode"], *(each.get("mode", 0) for each in source.get("items", ()))]
    require_model(all(0 <= mode <= 0o777 for mode in modes), "a mode beyond 0777")
    for item in source.get("items", ()):
        sound = item["key"] and item["path"] and not item["path"].startswith(("/", ".."))
        require_model(sound and ".." not in item["path"].split("/"), "this item of a volume")


def _check_container(path: str, container: Object, volumes: frozenset[str]) -> Iterator[Cause]:
    name = container["name"]
    if not name:
        yield required(f"{path}.name")
    else:
        yield from check_dns_label(f"{path}.name", name)
    image = container.get("image", "")
    if not image:
        yield required(f"{path}.image")
    require_model(image == image.strip(), "an image with white space around it")
    yield from check_one_of(f"{path}.imagePullPolicy", container["imagePullPolicy"], _PULL)
    require_model(
        container["terminationMessagePolicy"] in _MESSAGES, "this terminationMessagePolicy"
    )
    yield from _check_container_ports(f"{path}.ports", container.get("ports", ()))
    for place in ("env", "envFrom"):
        for index, each in enumerate(container.get(place, ())):
            yield from _ENVIRONMENT[place](f"{path}.{place}[{index}]", each)
    yield from _check_mounts(f"{path}.volumeMounts", container.get("volumeMounts", ()), volumes)
    yield from check_resources(f"{path}.resources", container["resources"])
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            yield from _check_probe(f"{path}.{probe}", container[probe])
    _require_container_security(container.get("securityContext", {}))


def _require_container_security(context: Object) -> None:
    numbers = ("runAsUser", "runAsGroup")
    require_model(all(context.get(each, 0) >= 0 for each in numbers), "a negative user or group")
    added = context.get("capabilities", {}).get("add", ())
    is_raised = context.get("privileged") or {"SYS_ADMIN", "CAP_SYS_ADMIN"} & set(added)
    sound = context.get("allowPrivilegeEscalation", True) or not is_raised
    require_model(sound, "a privileged container without allowPrivilegeEscalation")
    profile = context.get("seccompProfile", {"type": "Unconfined"})
    sound = profile["type"] in ("RuntimeDefault", "Unconfined")
    require_model(sound and "localhostProfile" not in profile, "this seccompProfile")


def _check_container_ports(path: str, ports: Any) -> Iterator[Cause]:  # noqa: ANN401  # a JSON list
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"{path}[{index}]", port.get("name", "")
        problems = [*check_port_name(f"{at}.name", name)] if name else []
        yield from problems
        if name and not problems:
            if name in seen:
                yield duplicate(f"{at}.name", name)
            seen.add(name)
        if port["containerPort"] == 0:
            yield required(f"{at}.containerPort")
        else:
            yield from check_port_number(f"{at}.containerPort", port["containerPort"])
        require_model("hostPort" not in port, "a hostPort")
        yield from check_one_of(f"{at}.protocol", port["protocol"], PROTOCOLS)


def _check_env(path: str, variable: Object) -> Iterator[Cause]:
    name = variable["name"]
    if not name:
        yield required(f"{path}.name")
    require_model(name.isprintable() and name.isascii() and "=" not in name, "this name of env")
    source = variable.get("valueFrom")
    if source is None:
        return
    require_model(len(source) == 1, "a valueFrom without exactly one source")
    if variable.get("value"):
        detail = "may not be specified when `value` is not empty"
        yield invalid_value(f"{path}.valueFrom", "", detail)
    ((kind, reference),) = source.items()
    if kind == "fieldRef":
        place = reference["fieldPath"]
        known = place in _FIELDS or _FIELD.fullmatch(place)
        require_model(known and reference["apiVersion"] == "v1", f"the fieldPath {place}")
        return
    if not reference["key"]:
        yield required(f"{path}.valueFrom.{kind}.key")
    name = reference.get("name", "")
    require_model(name and not dns_subdomain(name), "a reference without a sound name")
    require_model(not config_key(reference["key"] or "a"), "a malformed key in env")


def _check_env_from(path: str, source: Object) -> Iterator[Cause]:
    prefix = source.get("prefix", "")
    require_model(prefix.isprintable() and "=" not in prefix, "this prefix of envFrom")
    references = source.keys() & {"configMapRef", "secretRef"}
    require_model(len(references) == 1, "an envFrom without exactly one source")
    kind = next(iter(references))
    name = source[kind].get("name", "")
    if not name:
        yield required(f"{path}.{kind}.name")
    for problem in dns_subdomain(name) if name else ():
        yield invalid_value(f"{path}.{kind}.name", name, problem)


_ENVIRONMENT = {"env": _check_env, "envFrom": _check_env_from}


def _check_mounts(
    path: str,
    mounts: Any,  # noqa: ANN401  # a JSON list
    volumes: frozenset[str],
) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        at = f"{path}[{index}]"
        if not mount["name"]:
            yield required(f"{at}.name")
        if mount["name"] not in volumes:
            yield not_found_field(f"{at}.name", mount["name"])
        if not mount["mountPath"]:
            yield required(f"{at}.mountPath")
        if mount["mountPath"] in seen:
            yield invalid_value(f"{at}.mountPath", mount["mountPath"], "must be unique")
        seen.add(mount["mountPath"])
        inner = mount.get("subPath", "") or mount.get("subPathExpr", "")
        is_single = not ("subPath" in mount and "subPathExpr" in mount)
        sound = is_single and not inner.startswith("/") and ".." not in inner.split("/")
        require_model(sound, "this subPath")


@lru_cache(maxsize=1024)
def _require_quantity(name: str, value: str) -> None:
    require_model(name in _COUNTED, f"the resource {name}")
    require_model(amount(value) >= 0, "a negative quantity")
    require_model(not value.endswith(("n", "u")), "a quantity below 1m")
    require_model(name == "cpu" or amount(value).denominator == 1, "a fraction of a byte")


def check_resources(path: str, resources: Object) -> Iterator[Cause]:
    """Yield a request beyond its limit; other resources than the usual have no model."""
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name, value in (*requests.items(), *limits.items()):
        _require_quantity(name, value)
    for name, value in requests.items():
        limit = limits.get(name)
        if limit is not None and amount(value) > amount(limit):
            detail = f"must be less than or equal to {name} limit of {limit}"
            yield invalid_value(f"{path}.requests", value, detail)


def _check_probe(path: str, probe: Object) -> Iterator[Cause]:
    handlers = probe.keys() & {"exec", "httpGet", "tcpSocket", "grpc"}
    require_model(len(handlers) <= 1, "a probe with several handlers")
    if not handlers:
        yield required(path, "must specify a handler type")
    for kind in handlers:
        yield from _check_handler(f"{path}.{kind}", kind, probe[kind])
    numbers = (
        *("initialDelaySeconds", "timeoutSeconds", "periodSeconds"),
        *("successThreshold", "failureThreshold"),
    )
    yield from check_non_negative(path, probe, *numbers)
    if probe["successThreshold"] != 1 and not path.endswith("readinessProbe"):
        yield invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    require_model("terminationGracePeriodSeconds" not in probe, "the grace period of a probe")


def _check_handler(path: str, kind: str, handler: Object) -> Iterator[Cause]:
    match kind:
        case "exec":
            if not handler.get("command"):
                yield required(f"{path}.command")
        case "httpGet":
            yield from check_port(f"{path}.port", handler["port"])
            yield from check_one_of(f"{path}.scheme", handler["scheme"], ("HTTP", "HTTPS"))
            require_model(not handler.get("httpHeaders"), "the headers of a probe")
            require_model("protocol" not in handler, "the protocol of a probe")
        case _:
            yield from check_port(f"{path}.port", handler["port"])


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
