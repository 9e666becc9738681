"""Where a pod may run: affinities and the spread over a topology, as k8s.io/kubernetes words them.

Label keys that a constraint takes from the pod (`matchLabelKeys`) have no model.
"""

from collections.abc import Iterator, Sequence

from captep_memory._checks import (
    check_dns_label,
    check_label_name,
    check_one_of,
    check_selector,
    check_values,
    require_model,
)
from captep_memory._json import Object
from captep_memory._names import label_value
from captep_memory._status import Cause, duplicate, invalid_value, required

__all__ = ["check_affinity", "check_spread"]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"
_POSITIVE = "must be greater than zero"
_POLICIES = ("Honor", "Ignore")


def check_affinity(path: str, affinity: Object) -> Iterator[Cause]:
    """Yield the errors of the affinity of a pod."""
    if "nodeAffinity" in affinity:
        yield from _check_node_affinity(f"{path}.nodeAffinity", affinity["nodeAffinity"])
    for name in ("podAffinity", "podAntiAffinity"):
        given = affinity.get(name, {})
        for index, term in enumerate(given.get(_REQUIRED, ())):
            yield from _check_pod_term(f"{path}.{name}.{_REQUIRED}[{index}]", term)
        for index, each in enumerate(given.get(_PREFERRED, ())):
            at = f"{path}.{name}.{_PREFERRED}[{index}]"
            yield from _check_weight(at, each)
            yield from _check_pod_term(f"{at}.podAffinityTerm", each["podAffinityTerm"])


def _check_node_affinity(path: str, affinity: Object) -> Iterator[Cause]:
    if _REQUIRED in affinity:
        at = f"{path}.{_REQUIRED}.nodeSelectorTerms"
        terms = affinity[_REQUIRED].get("nodeSelectorTerms") or ()
        if not terms:
            yield required(at, "must have at least one node selector term")
        for index, term in enumerate(terms):
            yield from _check_node_term(f"{at}[{index}]", term)
    for index, each in enumerate(affinity.get(_PREFERRED, ())):
        at = f"{path}.{_PREFERRED}[{index}]"
        yield from _check_weight(at, each)
        yield from _check_node_term(f"{at}.preference", each["preference"])


def _check_weight(path: str, each: Object) -> Iterator[Cause]:
    if not 1 <= each["weight"] <= 100:
        yield invalid_value(f"{path}.weight", each["weight"], _WEIGHT)


def _check_node_term(path: str, term: Object) -> Iterator[Cause]:
    require_model(not term.get("matchFields"), "the matchFields of a node")
    for index, each in enumerate(term.get("matchExpressions", ())):
        yield from _check_node_requirement(f"{path}.matchExpressions[{index}]", each)


def _check_node_requirement(path: str, requirement: Object) -> Iterator[Cause]:
    values: Sequence[str] = requirement.get("values") or ()
    require_model(not any(map(label_value, values)), "a malformed label in a nodeAffinity")
    yield from check_values(path, requirement, "Gt", "Lt")
    if requirement["operator"] in ("Gt", "Lt") and len(values) != 1:
        detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        yield required(f"{path}.values", detail)
    yield from check_label_name(f"{path}.key", requirement["key"])


def _check_pod_term(path: str, term: Object) -> Iterator[Cause]:
    keys = term.keys() & {"matchLabelKeys", "mismatchLabelKeys"}
    require_model(not keys, f"the {', '.join(sorted(keys))} of an affinity")
    for name in ("labelSelector", "namespaceSelector"):
        yield from check_selector(f"{path}.{name}", term.get(name))
    for name in term.get("namespaces", ()):
        yield from check_dns_label(f"{path}.namespace", name)
    yield from _require_topology(path, term)
    yield from check_label_name(f"{path}.topologyKey", term["topologyKey"])


def _require_topology(path: str, term: Object) -> Iterator[Cause]:
    if not term["topologyKey"]:
        yield required(f"{path}.topologyKey", "can not be empty")


def check_spread(path: str, constraints: Sequence[Object]) -> Iterator[Cause]:
    """Yield the errors of topologySpreadConstraints."""
    pairs = [(each["topologyKey"], each["whenUnsatisfiable"]) for each in constraints]
    for index, each in enumerate(constraints):
        at, unsatisfiable = f"{path}[{index}]", each["whenUnsatisfiable"]
        require_model("matchLabelKeys" not in each, "the matchLabelKeys of a spread")
        if each["maxSkew"] <= 0:
            yield invalid_value(f"{at}.maxSkew", each["maxSkew"], _POSITIVE)
        yield from _require_topology(at, each)
        yield from check_one_of(
            f"{at}.whenUnsatisfiable", unsatisfiable, ("DoNotSchedule", "ScheduleAnyway")
        )
        if pairs[index] in pairs[index + 1 :]:
            place = f"{at}.{{topologyKey, whenUnsatisfiable}}"
            yield duplicate(place, f"{{{', '.join(pairs[index])}}}")
        yield from _check_domains(at, each)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if name in each:
                yield from check_one_of(f"{at}.{name}", each[name], _POLICIES)
        yield from check_selector(f"{at}.labelSelector", each.get("labelSelector"))


def _check_domains(path: str, constraint: Object) -> Iterator[Cause]:
    least = constraint.get("minDomains")
    if least is None:
        return
    if least <= 0:
        yield invalid_value(f"{path}.minDomains", least, _POSITIVE)
    if constraint["whenUnsatisfiable"] != "DoNotSchedule":
        detail = (
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, "
            f"not {constraint['whenUnsatisfiable']}"
        )
        yield invalid_value(f"{path}.minDomains", least, detail)
