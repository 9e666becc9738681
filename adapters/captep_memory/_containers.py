"""The containers of a pod: validation, as far as it is worded here; the rest is 501."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from captep_memory._checks import (
    PROTOCOLS,
    check_dns_label,
    check_non_negative,
    check_one_of,
    check_port,
    check_port_name,
    check_port_number,
    not_found_field,
    require_model,
)
from captep_memory._json import Object
from captep_memory._names import config_key, dns_subdomain
from captep_memory._pod_volumes import FIELD
from captep_memory._quantities import amount
from captep_memory._status import Cause, duplicate, invalid_value, required

__all__ = ["check_container"]

_PULL = ("Always", "IfNotPresent", "Never")
_MESSAGES = ("FallbackToLogsOnError", "File")
_HEADER = re.compile("[-A-Za-z0-9]+")
_HEADER_TEXT = (
    "a valid HTTP header must consist of alphanumeric characters or '-' "
    "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
)
_COUNTED = ("cpu", "memory", "ephemeral-storage")
_FIELDS = frozenset(
    {
        *("metadata.name", "metadata.namespace", "metadata.uid"),
        *("spec.nodeName", "spec.serviceAccountName"),
        *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
    }
)


def check_container(
    path: str, container: Object, volumes: frozenset[str], grace: int
) -> Iterator[Cause]:
    """Yield the errors of a container.

    `volumes` are the names of the volumes of its pod, `grace` its grace period in seconds.
    """
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
    yield from _check_resources(f"{path}.resources", container["resources"])
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            yield from _check_probe(f"{path}.{probe}", container[probe])
    yield from _check_lifecycle(f"{path}.lifecycle", container.get("lifecycle", {}), grace)
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
        if port.get("hostPort"):
            yield from check_port_number(f"{at}.hostPort", port["hostPort"])
        require_model(not port.get("hostIP"), "a hostIP")
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
        known = place in _FIELDS or FIELD.fullmatch(place)
        require_model(known and reference["apiVersion"] == "v1", f"the fieldPath {place}")
        return
    if kind == "resourceFieldRef":
        _require_resource(reference)
        return
    if not reference["key"]:
        yield required(f"{path}.valueFrom.{kind}.key")
    name = reference.get("name", "")
    require_model(name and not dns_subdomain(name), "a reference without a sound name")
    require_model(not config_key(reference["key"] or "a"), "a malformed key in env")


def _require_resource(reference: Object) -> None:
    place, divisor = reference["resource"], reference.get("divisor", "0")
    kind, _, name = place.partition(".")
    known = kind in ("limits", "requests") and name in _COUNTED
    require_model(known, f"the resource {place} of a variable")
    divisors = (
        ("0", "1", "1m") if name == "cpu" else ("0", "1", "1k", "1M", "1G", "1Ki", "1Mi", "1Gi")
    )
    require_model(divisor in divisors, f"the divisor {divisor} of a variable")


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
        propagation = mount.get("mountPropagation", "None")
        require_model(propagation in ("None", "HostToContainer"), "this mountPropagation")


@lru_cache(maxsize=1024)
def _require_quantity(name: str, value: str) -> None:
    require_model(name in _COUNTED, f"the resource {name}")
    require_model(amount(value) >= 0, "a negative quantity")
    require_model(not value.endswith(("n", "u")), "a quantity below 1m")
    require_model(name == "cpu" or amount(value).denominator == 1, "a fraction of a byte")


def _check_resources(path: str, resources: Object) -> Iterator[Cause]:
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


def _check_handler(path: str, kind: str, handler: Object, grace: int = 0) -> Iterator[Cause]:
    match kind:
        case "exec":
            if not handler.get("command"):
                yield required(f"{path}.command")
        case "httpGet":
            yield from check_port(f"{path}.port", handler["port"])
            yield from check_one_of(f"{path}.scheme", handler["scheme"], ("HTTP", "HTTPS"))
            for name in (each["name"] for each in handler.get("httpHeaders", ())):
                if not _HEADER.fullmatch(name):
                    yield invalid_value(f"{path}.httpHeaders", name, _HEADER_TEXT)
            require_model("protocol" not in handler, "the protocol of a probe")
        case "sleep":
            require_model(0 < handler["seconds"] <= grace, "this sleep of a container")
        case _:
            yield from check_port(f"{path}.port", handler["port"])


def _check_lifecycle(path: str, lifecycle: Object, grace: int) -> Iterator[Cause]:
    for name in ("postStart", "preStop"):
        if name not in lifecycle:
            continue
        handlers = lifecycle[name]
        require_model(len(handlers) <= 1, f"a {name} with several handlers")
        if not handlers:
            yield required(f"{path}.{name}", "must specify a handler type")
        for kind, handler in handlers.items():
            yield from _check_handler(f"{path}.{name}.{kind}", kind, handler, grace)
