"""Services: validation, and the allocation of cluster IPs and node ports.

A real server allocates at random from its ranges; this one takes the lowest free value, so that a
world is a function of its requests.
"""

import ipaddress
from collections.abc import Iterable, Iterator

from captep_memory._checks import (
    PROTOCOLS,
    check_dns_label,
    check_ip,
    check_labels,
    check_one_of,
    check_port,
    check_port_number,
    require_model,
)
from captep_memory._json import Object
from captep_memory._names import dns_subdomain, qualified_name
from captep_memory._status import (
    Cause,
    duplicate,
    forbidden_field,
    invalid,
    invalid_struct,
    invalid_value,
    required,
)

__all__ = ["allocate", "check_service", "keep_allocated"]

# The range that kubeadm gives a cluster.
_NETWORK = ipaddress.ip_network("10.96.0.0/12")
_NODE_PORTS = range(30000, 32768)
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_OPEN = ("NodePort", "LoadBalancer")


def keep_allocated(new: Object, old: Object) -> Object:
    """Return a Service that keeps what `old` was given and `new` leaves out."""
    spec, before = dict(new["spec"]), old["spec"]
    changed = (spec["type"], before["type"])
    known = spec["type"] == before["type"] or changed in (
        ("NodePort", "ClusterIP"),
        ("LoadBalancer", "ClusterIP"),
        ("LoadBalancer", "NodePort"),
    )
    require_model(known, "this change of the type of a Service")
    if spec["type"] != "ExternalName":
        if not spec.get("clusterIP"):
            spec["clusterIP"] = before.get("clusterIP", "")
        if not spec.get("clusterIPs") and spec["clusterIP"] == before.get("clusterIP"):
            spec["clusterIPs"] = before.get("clusterIPs", [])
    for name in ("ipFamilies", "ipFamilyPolicy"):
        if name not in spec and name in before:
            spec[name] = before[name]
    if spec["type"] in _OPEN and before["type"] in _OPEN:
        spec["ports"] = _with_known_ports(spec.get("ports", []), before.get("ports", []))
    kept = {name: value for name, value in spec.items() if value not in ("", [])}
    return {**new, "spec": kept}


def _with_known_ports(ports: list[Object], before: list[Object]) -> list[Object]:
    old_numbers = {each.get("nodePort") for each in before}
    used = old_numbers & {each.get("nodePort") for each in ports}
    known = {each.get("name", ""): each.get("nodePort") for each in before}
    kept = []
    for port in ports:
        number = known.get(port.get("name", ""))
        is_free = "nodePort" not in port and number is not None and number not in used
        kept.append({**port, "nodePort": number} if is_free else port)
    return kept


def allocate(obj: Object, others: Iterable[Object]) -> Object:
    """Return a Service with a cluster IP and node ports, different from those of `others`.

    Raises:
        RefusedError: 422, a chosen value is taken or outside of its range.
    """
    spec = dict(obj["spec"])
    if spec["type"] == "ExternalName":
        return obj
    taken = [each["spec"] for each in others]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    is_headless = spec.get("clusterIP") == "None"
    without_selector = is_headless and not spec.get("selector")
    spec.setdefault("ipFamilyPolicy", "RequireDualStack" if without_selector else "SingleStack")
    single = spec["ipFamilyPolicy"] in ("SingleStack", "PreferDualStack")
    if without_selector and spec["ipFamilyPolicy"] == "RequireDualStack":
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"])
        single = spec["ipFamilies"] == ["IPv4", "IPv6"]
    spec.setdefault("ipFamilies", ["IPv4"])
    sound = single and spec["ipFamilies"][0] == "IPv4" and len(spec.get("clusterIPs", ())) <= 1
    require_model(sound, "Services with two IP families")
    if not is_headless:
        address = _address(obj, spec.get("clusterIP", ""), taken)
        spec |= {"clusterIP": address, "clusterIPs": [address]}
    wants_ports = spec.get("allocateLoadBalancerNodePorts", True)
    if spec["type"] in _OPEN:
        spec["ports"] = _with_ports(obj, spec["ports"], taken, wanted=wants_ports)
    return {**obj, "spec": spec}


def _address(obj: Object, wanted: str, taken: list[Object]) -> str:
    used = {each.get("clusterIP") for each in taken}
    if not wanted:
        return next(str(each) for each in _NETWORK.hosts() if str(each) not in used)
    require_model(ipaddress.ip_address(wanted) in _NETWORK, "a clusterIP outside of 10.96.0.0/12")
    if wanted in used:
        detail = f"failed to allocate IP {wanted}: provided IP is already allocated"
        raise _refused(obj, invalid_struct("spec.clusterIPs", [wanted], detail))
    return wanted


def _with_ports(
    obj: Object, ports: list[Object], taken: list[Object], *, wanted: bool
) -> list[Object]:
    used = {port.get("nodePort") for each in taken for port in each.get("ports", ())}
    filled = []
    for index, port in enumerate(ports):
        number = port.get("nodePort")
        path = f"spec.ports[{index}].nodePort"
        if number is None and not wanted:
            filled.append(port)
            continue
        if number is None:
            mine = {each.get("nodePort") for each in ports}
            number = next(each for each in _NODE_PORTS if each not in used | mine)
        elif number not in _NODE_PORTS:
            detail = (
                "provided port is not in the valid range. The range of valid ports is 30000-32767"
            )
            raise _refused(obj, invalid_value(path, number, detail))
        elif number in used:
            detail = "provided port is already allocated"
            raise _refused(obj, invalid_value(path, number, detail))
        used.add(number)
        filled.append({**port, "nodePort": number})
    return filled


def _refused(obj: Object, cause: Cause) -> Exception:
    return invalid("Service", "", obj["metadata"]["name"], [cause])


def check_service(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a Service."""
    spec = obj["spec"]
    kind, ports = spec["type"], spec.get("ports", [])
    is_headless = spec.get("clusterIP") == "None"
    if old is not None and kind != "ExternalName":
        yield from _check_addresses(spec, old["spec"])
    if not ports and not is_headless and kind != "ExternalName":
        yield required("spec.ports")
    if kind in _OPEN and is_headless:
        detail = f"may not be set to 'None' for {kind} services"
        yield invalid_value("spec.clusterIPs[0]", "None", detail)
    if kind == "ExternalName":
        yield from _check_external_name(spec)
    names: set[str] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        yield from _check_port(at, port, names, needs_name=len(ports) > 1)
        if kind == "ClusterIP" and "nodePort" in port:
            detail = "may not be used when `type` is 'ClusterIP'"
            yield forbidden_field(f"{at}.nodePort", detail)
    yield from check_labels("spec.selector", spec.get("selector", {}))
    affinities = ("ClientIP", "None")
    yield from check_one_of("spec.sessionAffinity", spec["sessionAffinity"], affinities)
    if kind != "ExternalName" and spec.get("clusterIP") not in (None, "", "None"):
        yield from check_ip("spec.clusterIPs[0]", spec["clusterIP"])
    for index, address in enumerate(spec.get("externalIPs", ())):
        yield from check_ip(f"spec.externalIPs[{index}]", address)
    yield from check_one_of("spec.type", kind, _TYPES)
    _require_distinct(ports)
    _require_rest(spec)


def _check_addresses(spec: Object, before: Object) -> Iterator[Cause]:
    if before["type"] == "ExternalName":
        return
    new, old = spec.get("clusterIPs", []), before.get("clusterIPs", [])
    if new != old and new and old:
        require_model(len(new) == len(old) == 1, "Services with two IP families")
        yield invalid_struct("spec.clusterIPs[0]", new, "may not change once set")
    require_model(bool(new) == bool(old), "a Service that loses its clusterIP")


def _check_external_name(spec: Object) -> Iterator[Cause]:
    require_model(not spec.get("clusterIP"), "the clusterIP of an ExternalName Service")
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        yield required("spec.externalName")
    for problem in dns_subdomain(name) if name else ():
        yield invalid_value("spec.externalName", name, problem)


def _check_port(path: str, port: Object, names: set[str], *, needs_name: bool) -> Iterator[Cause]:
    name = port.get("name", "")
    if needs_name and not name:
        yield required(f"{path}.name")
    if name:
        yield from check_dns_label(f"{path}.name", name)
        if name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
    yield from check_port_number(f"{path}.port", port["port"])
    yield from check_one_of(f"{path}.protocol", port["protocol"], PROTOCOLS)
    yield from check_port(f"{path}.targetPort", port["targetPort"])
    protocol = port.get("appProtocol")
    require_model(protocol is None or not qualified_name(protocol), "this appProtocol")


def _require_distinct(ports: list[Object]) -> None:
    pairs = [(each["protocol"], each["port"]) for each in ports]
    opened = [(each["protocol"], each["nodePort"]) for each in ports if "nodePort" in each]
    distinct = len(set(pairs)) == len(pairs) and len(set(opened)) == len(opened)
    require_model(distinct, "two ports of a Service with one number")


def _require_rest(spec: Object) -> None:
    balanced = spec["type"] == "LoadBalancer"
    seconds = spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds", 1)
    require_model(0 < seconds <= 86400, "this timeout of the session affinity")
    only_balanced = (
        *("loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"),
        *("loadBalancerIP", "healthCheckNodePort"),
    )
    stray = [name for name in only_balanced if name in spec and not balanced]
    require_model(not stray, f"{', '.join(stray)} of a Service of another type")
    require_model("loadBalancerSourceRanges" not in spec, "loadBalancerSourceRanges")
    require_model("loadBalancerClass" not in spec, "loadBalancerClass")
    require_model(spec.get("externalTrafficPolicy", "Cluster") == "Cluster", "this policy")
    is_open = spec["type"] in _OPEN or bool(spec.get("externalIPs"))
    require_model("externalTrafficPolicy" not in spec or is_open, "this externalTrafficPolicy")
    local = spec.get("internalTrafficPolicy", "Cluster") in ("Cluster", "Local")
    require_model(local, "this internalTrafficPolicy")
    require_model("trafficDistribution" not in spec, "trafficDistribution")
    families = spec.get("ipFamilies", ["IPv4"])
    require_model(set(families) <= {"IPv4", "IPv6"}, "these ipFamilies")
