"""Ingresses, NetworkPolicies, budgets, autoscalers, quotas, classes, endpoints: validation."""

import re
from collections.abc import Iterator

from captep_memory._checks import (
    PROTOCOLS,
    check_dns_label,
    check_int_or_percent,
    check_ip,
    check_non_negative,
    check_one_of,
    check_port,
    check_port_name,
    check_port_number,
    check_selector,
    require_model,
)
from captep_memory._json import Object
from captep_memory._names import dns_label, dns_subdomain, qualified_name
from captep_memory._quantities import amount
from captep_memory._status import (
    Cause,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
)

__all__ = [
    "check_budget",
    "check_budget_status",
    "check_endpoint_slice",
    "check_endpoints",
    "check_ingress",
    "check_limit_range",
    "check_network_policy",
    "check_priority_class",
    "check_quota",
    "check_webhooks",
]

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_HIGHEST_PRIORITY = 1_000_000_000
_QUOTED = re.compile(
    r"(limits|requests)\.(cpu|memory|storage|ephemeral-storage)|cpu|memory|pods|services"
    r"|configmaps|secrets|persistentvolumeclaims|resourcequotas|replicationcontrollers"
    r"|services\.(nodeports|loadbalancers)|count/[a-z]+(\.[a-z]+)*"
)


def check_ingress(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    """Yield the errors of an Ingress."""
    spec = obj["spec"]
    if not spec.get("rules") and "defaultBackend" not in spec:
        detail = "either `defaultBackend` or `rules` must be specified"
        yield invalid_value("spec", None, detail)
    if "defaultBackend" in spec:
        yield from _check_backend("spec.defaultBackend", spec["defaultBackend"])
    for index, rule in enumerate(spec.get("rules", ())):
        yield from _check_rule(f"spec.rules[{index}]", rule)
    for index, tls in enumerate(spec.get("tls", ())):
        at = f"spec.tls[{index}]"
        for position, host in enumerate(tls.get("hosts", ())):
            yield from _check_host(f"{at}.hosts[{position}]", host)
        secret = tls.get("secretName", "")
        for problem in dns_subdomain(secret) if secret else ():
            yield invalid_value(f"{at}.secretName", secret, problem)
    name = spec.get("ingressClassName")
    for problem in dns_subdomain(name) if name is not None else ():
        yield invalid_value("spec.ingressClassName", name, problem)
    legacy = obj["metadata"].get("annotations", {}).get("kubernetes.io/ingress.class")
    require_model(legacy is None, "the annotation kubernetes.io/ingress.class")


def _check_host(path: str, host: str) -> Iterator[Cause]:
    require_model("*" not in host, "a wildcard host")
    for problem in dns_subdomain(host):
        yield invalid_value(path, host, problem)


def _check_rule(path: str, rule: Object) -> Iterator[Cause]:
    host = rule.get("host", "")
    if host:
        require_model(not re.fullmatch(r"[0-9.]+|[0-9a-f:]+", host), "a host that may be an IP")
        yield from _check_host(f"{path}.host", host)
    if "http" not in rule:
        return
    paths = rule["http"].get("paths") or ()
    if not paths:
        yield required(f"{path}.http.paths")
    for index, each in enumerate(paths):
        yield from _check_path(f"{path}.http.paths[{index}]", each)


def _check_path(path: str, given: Object) -> Iterator[Cause]:
    kind = given.get("pathType")
    if kind is None:
        yield required(f"{path}.pathType", "pathType must be specified")
        return
    place = given.get("path", "")
    if kind not in _PATH_TYPES:
        yield not_supported(f"{path}.pathType", kind, _PATH_TYPES)
    elif not place.startswith("/") and (place or kind != "ImplementationSpecific"):
        yield invalid_value(f"{path}.path", place, "must be an absolute path")
    odd = "//" in place or "/." in place or "%2" in place.lower()
    require_model(not odd, "this path of an Ingress")
    yield from _check_backend(f"{path}.backend", given["backend"])


def _check_backend(path: str, backend: Object) -> Iterator[Cause]:
    require_model("resource" not in backend, "a resource backend")
    service = backend.get("service")
    if service is None:
        yield invalid_value(path, "", "resource or service backend is required")
        return
    name = service["name"]
    if not name:
        yield required(f"{path}.service.name")
    for problem in dns_label(name) if name else ():
        yield invalid_value(f"{path}.service.name", name, problem)
    port = service["port"]
    if "name" in port and "number" in port:
        yield invalid_value(path, "", "cannot set both port name & port number")
    elif "name" in port:
        yield from check_port_name(f"{path}.service.port.name", port["name"])
    elif "number" in port:
        yield from check_port_number(f"{path}.service.port.number", port["number"])
    else:
        yield required(path, "port name or number is required")


def check_network_policy(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    """Yield the errors of a NetworkPolicy."""
    spec = obj.get("spec", {})
    yield from check_selector("spec.podSelector", spec.get("podSelector"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction, ())):
            at = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports", ())):
                yield from _check_policy_port(f"{at}.ports[{position}]", port)
            for position, peer in enumerate(rule.get(peers, ())):
                yield from _check_peer(f"{at}.{peers}[{position}]", peer)
    types = spec["policyTypes"]
    require_model(len(types) <= 2, "more than two policyTypes")
    for index, each in enumerate(types):
        if each not in ("Ingress", "Egress"):
            yield not_supported(f"spec.policyTypes[{index}]", each, ("Ingress", "Egress"))


def _check_policy_port(path: str, port: Object) -> Iterator[Cause]:
    require_model("endPort" not in port, "an endPort")
    if port["protocol"] not in PROTOCOLS:
        yield not_supported(f"{path}.protocol", port["protocol"], ("TCP", "UDP", "SCTP"))
    if "port" in port:
        yield from check_port(f"{path}.port", port["port"])


def _check_peer(path: str, peer: Object) -> Iterator[Cause]:
    if not peer:
        yield required(path, "must specify a peer")
    for name in ("podSelector", "namespaceSelector"):
        yield from check_selector(f"{path}.{name}", peer.get(name))
    block = peer.get("ipBlock")
    if block is None:
        return
    if len(peer) > 1:
        yield forbidden_field(path, "may not specify both ipBlock and another peer")
    sound = re.fullmatch(r"(0|10(\.\d{1,2}){3})(\.0\.0\.0)?/(0|8|16|24|32)", block["cidr"])
    require_model(sound and not block.get("except"), "this ipBlock")


def check_budget(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    """Yield the errors of a PodDisruptionBudget."""
    spec = obj["spec"]
    both = {"minAvailable", "maxUnavailable"} <= spec.keys()
    require_model(not both, "a budget with minAvailable and maxUnavailable")
    for name in ("minAvailable", "maxUnavailable"):
        if name in spec:
            path, value = f"spec.{name}", spec[name]
            problems = [*check_int_or_percent(path, value)]
            yield from problems
            if not problems and isinstance(value, str) and int(value[:-1]) > 100:
                yield invalid_value(path, value, "must not be greater than 100%")
    yield from check_selector("spec.selector", spec.get("selector"))
    policies = ("AlwaysAllow", "IfHealthyBudget")
    if "unhealthyPodEvictionPolicy" in spec:
        path = "spec.unhealthyPodEvictionPolicy"
        yield from check_one_of(path, spec["unhealthyPodEvictionPolicy"], policies)


def check_budget_status(obj: Object) -> Iterator[Cause]:
    """Yield the errors of the status of a PodDisruptionBudget."""
    status = obj["status"]
    numbers = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    yield from check_non_negative("status", status, *numbers)
    for index, condition in enumerate(status.get("conditions", ())):
        at = f"status.conditions[{index}]"
        for name in ("lastTransitionTime", "reason"):
            if not condition[name]:
                yield required(f"{at}.{name}")
        sound = condition["type"] and not qualified_name(condition["type"])
        word = re.fullmatch("([A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?)?", condition["reason"])
        known = condition["status"] in ("True", "False", "Unknown")
        require_model(sound and known and word, "this condition of a budget")


def check_quota(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    """Yield the errors of a ResourceQuota."""
    for part in (obj.get("spec", {}).get("hard", {}), *_quota_status(obj)):
        for name, value in part.items():
            require_model(_QUOTED.fullmatch(name), f"the quota of {name}")
            whole = amount(value).denominator == 1 or name.endswith("cpu")
            require_model(amount(value) >= 0 and whole, f"the quantity {value} of a quota")
    yield from ()


def _quota_status(obj: Object) -> tuple[Object, Object]:
    status = obj.get("status", {})
    return status.get("hard", {}), status.get("used", {})


def check_limit_range(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    """Yield the errors of a LimitRange."""
    limits = (obj.get("spec") or {}).get("limits") or ()
    kinds = [each["type"] for each in limits]
    require_model(len(set(kinds)) == len(kinds), "two limits of one type")
    for item in limits:
        require_model(item["type"] in ("Container", "Pod"), f"limits of {item['type']}")
        require_model("maxLimitRequestRatio" not in item, "maxLimitRequestRatio")
        _require_ordered(item)
    yield from ()


def _require_ordered(item: Object) -> None:
    order = ("min", "defaultRequest", "default", "max")
    names = {name for part in order for name in item.get(part, {})}
    require_model(names <= {"cpu", "memory"}, "limits of other resources than cpu and memory")
    is_pod = item["type"] == "Pod"
    require_model(not is_pod or not item.keys() & {"default", "defaultRequest"}, "this limit")
    for name in names:
        amounts = [amount(item[part][name]) for part in order if name in item.get(part, {})]
        require_model(amounts == sorted(amounts), f"limits of {name} that contradict each other")


def check_priority_class(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a PriorityClass."""
    require_model(not obj["metadata"]["name"].startswith("system-"), "the class of the system")
    if obj["value"] > _HIGHEST_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}"
        yield forbidden_field("value", detail)
    policies = ("Never", "PreemptLowerPriority")
    require_model(obj["preemptionPolicy"] in policies, "this preemptionPolicy")
    if old is None:
        require_model(not obj.get("globalDefault"), "a global default priority")
        return
    require_model(obj.get("globalDefault") == old.get("globalDefault"), "a change of globalDefault")
    if obj["value"] != old["value"]:
        yield forbidden_field("value", "may not be changed in an update.")
    if obj["preemptionPolicy"] != old["preemptionPolicy"]:
        yield invalid_value("preemptionPolicy", obj["preemptionPolicy"], "field is immutable")


def check_endpoints(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    """Yield the errors of Endpoints."""
    for index, subset in enumerate(obj.get("subsets", ())):
        at = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield required(at, "must specify `addresses` or `notReadyAddresses`")
        for place in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(place, ())):
                path = f"{at}.{place}[{position}]"
                problems = [*check_ip(f"{path}.ip", address["ip"])]
                yield from problems
                if problems:
                    detail = "must be a valid IP address"
                    yield invalid_value(f"{path}.ip", address["ip"], detail)
                require_model(not dns_label(address.get("hostname") or "a"), "this hostname")
                require_model(not dns_subdomain(address.get("nodeName") or "a"), "this nodeName")
        ports = subset.get("ports", ())
        for position, port in enumerate(ports):
            yield from _check_endpoint_port(f"{at}.ports[{position}]", port, len(ports) > 1)


def _check_endpoint_port(path: str, port: Object, needs_name: bool) -> Iterator[Cause]:  # noqa: FBT001
    name = port.get("name", "")
    if needs_name and not name:
        yield required(f"{path}.name")
    elif name:
        yield from check_dns_label(f"{path}.name", name)
    yield from check_port_number(f"{path}.port", port["port"])
    yield from check_one_of(f"{path}.protocol", port["protocol"], PROTOCOLS)
    require_model(not qualified_name(port.get("appProtocol") or "a"), "this appProtocol")


def check_endpoint_slice(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of an EndpointSlice."""
    require_model(obj["addressType"] == "IPv4", "an addressType other than IPv4")
    require_model(old is None or old["addressType"] == obj["addressType"], "another addressType")
    names = [each["name"] for each in obj.get("ports") or ()]
    require_model(len(set(names)) == len(names), "two ports with one name")
    for index, port in enumerate(obj.get("ports") or ()):
        if port["name"]:
            yield from check_dns_label(f"ports[{index}].name", port["name"])
        yield from check_one_of(f"ports[{index}].protocol", port["protocol"], PROTOCOLS)
        require_model(not qualified_name(port.get("appProtocol") or "a"), "this appProtocol")
    for index, endpoint in enumerate(obj["endpoints"] or ()):
        at = f"endpoints[{index}]"
        if not endpoint["addresses"]:
            yield required(f"{at}.addresses")
        for position, address in enumerate(endpoint["addresses"] or ()):
            require_model(":" not in address, "an IPv6 address")
            yield from check_ip(f"{at}.addresses[{position}]", address)
        require_model(not dns_label(endpoint.get("hostname") or "a"), "this hostname")
        require_model(not dns_subdomain(endpoint.get("nodeName") or "a"), "this nodeName")
        require_model("targetRef" not in endpoint, "the targetRef of an endpoint")


def check_webhooks(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    """Yield the errors of a webhook configuration."""
    names = [each["name"] for each in obj.get("webhooks", ())]
    require_model(len(set(names)) == len(names), "two webhooks with one name")
    for index, hook in enumerate(obj.get("webhooks", ())):
        yield from _check_webhook(f"webhooks[{index}]", hook)


def _check_webhook(path: str, hook: Object) -> Iterator[Cause]:
    qualified = not dns_subdomain(hook["name"]) and hook["name"].count(".") >= 2
    require_model(qualified, "a webhook whose name is not fully qualified")
    versions = hook["admissionReviewVersions"] or []
    require_model("v1" in versions and {*versions} <= {"v1", "v1beta1"}, "these versions")
    require_model(len({*versions}) == len(versions), "a version twice")
    for index, rule in enumerate(hook.get("rules", ())):
        _require_rule(rule)
        at = f"{path}.rules[{index}]"
        if not rule.get("operations"):
            yield required(f"{at}.operations")
    yield from check_one_of(f"{path}.failurePolicy", hook["failurePolicy"], ("Fail", "Ignore"))
    matches = ("Equivalent", "Exact")
    yield from check_one_of(f"{path}.matchPolicy", hook["matchPolicy"], matches)
    effects = ("None", "NoneOnDryRun")
    if hook.get("sideEffects") is None:
        yield required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    else:
        yield from check_one_of(f"{path}.sideEffects", hook["sideEffects"], effects)
    if not 1 <= hook["timeoutSeconds"] <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        yield invalid_value(f"{path}.timeoutSeconds", hook["timeoutSeconds"], detail)
    for name in ("namespaceSelector", "objectSelector"):
        yield from check_selector(f"{path}.{name}", hook[name])
    if "reinvocationPolicy" in hook:
        at = f"{path}.reinvocationPolicy"
        yield from check_one_of(at, hook["reinvocationPolicy"], ("IfNeeded", "Never"))
    yield from _check_client(f"{path}.clientConfig", hook["clientConfig"])


def _require_rule(rule: Object) -> None:
    operations = rule.get("operations") or []
    known = {"CONNECT", "CREATE", "DELETE", "UPDATE", "*"}
    sound = {*operations} <= known and ("*" not in operations or len(operations) == 1)
    for name in ("apiGroups", "apiVersions", "resources"):
        values = rule.get(name) or []
        plain = values and all("/" not in each and ("*" not in each) for each in values)
        sound = sound and bool(plain or values == ["*"])
    sound = sound and "" not in (*(rule.get("apiVersions") or ()), *(rule.get("resources") or ()))
    require_model(sound and rule["scope"] in ("*", "Cluster", "Namespaced"), "this rule")


def _check_client(path: str, client: Object) -> Iterator[Cause]:
    if ("url" in client) == ("service" in client):
        yield required(path, "exactly one of url or service is required")
        return
    if "url" in client:
        plain = re.fullmatch(r"https://[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9./-]*)?", client["url"])
        require_model(plain, "this url of a webhook")
        return
    service = client["service"]
    for name, shown in (("namespace", "name"), ("name", "namespace")):
        if not service[name]:
            # The real server takes the one for the other.
            yield required(f"{path}.service.{shown}")
    plain = re.fullmatch(r"(/[a-z0-9-]+)*", service.get("path", ""))
    require_model(plain and 0 < service["port"] < 65536, "this service of a webhook")
