"""HorizontalPodAutoscalers: validation, as far as it is worded here; the rest is 501."""

import re
from collections.abc import Callable, Iterator, Mapping

from captep_memory._checks import check_one_of, require_model
from captep_memory._json import Object
from captep_memory._quantities import amount
from captep_memory._status import Cause, invalid_value, required

__all__ = ["check_autoscaler"]

_LONGEST_WINDOW = 3600
_LONGEST_PERIOD = 1800
_TARGETS = frozenset({"averageUtilization", "averageValue", "value"})


def check_autoscaler(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a HorizontalPodAutoscaler."""
    spec = obj["spec"]
    least, most = spec["minReplicas"], spec["maxReplicas"]
    require_model(least > 0, "scaling to zero")
    if most == 0:
        yield required("spec.maxReplicas")
    elif most < 0:
        yield invalid_value("spec.maxReplicas", most, "must be greater than or equal to 1")
    if most < least:
        detail = "must be greater than or equal to `minReplicas`"
        yield invalid_value("spec.maxReplicas", most, detail)
    target = spec["scaleTargetRef"]
    for name in ("kind", "name"):
        if not target[name]:
            yield required(f"spec.scaleTargetRef.{name}")
        require_model("/" not in target[name] and "%" not in target[name], "this target")
    version = target.get("apiVersion", "")
    if re.fullmatch("(v[a-z0-9]+)?", version):
        same = old is not None and old["spec"]["scaleTargetRef"].get("apiVersion", "") == version
        require_model(not same, "an apiVersion without a group that stays")
        detail = "apiVersion must specify API group"
        yield invalid_value("spec.scaleTargetRef.apiVersion", version, detail)
    else:
        require_model(re.fullmatch(r"[a-z.0-9]+/v[a-z0-9]+", version), "this apiVersion")
    for index, metric in enumerate(spec["metrics"]):
        yield from _check_metric(f"spec.metrics[{index}]", metric)
    for name in ("scaleUp", "scaleDown"):
        rules = spec.get("behavior", {}).get(name)
        if rules is not None:
            yield from _check_rules(f"spec.behavior.{name}", rules)


def _check_metric(path: str, metric: Object) -> Iterator[Cause]:
    kind = metric["type"]
    source = f"{kind[:1].lower()}{kind[1:]}"
    known = source in _SOURCES and metric.keys() == {"type", source}
    require_model(known, f"a metric of the type {kind} without exactly this source")
    yield from _SOURCES[source](f"{path}.{source}", metric[source])


def _check_resource(path: str, source: Object) -> Iterator[Cause]:
    if not source["name"]:
        yield required(f"{path}.name", "must specify a resource name")
    require_model("value" not in source["target"], "a target value of a resource")
    yield from _check_target(f"{path}.target", source["target"])


def _check_container_resource(path: str, source: Object) -> Iterator[Cause]:
    require_model(source["container"] and source["name"], "this metric of a container")
    yield from _check_resource(path, source)


def _check_pods(path: str, source: Object) -> Iterator[Cause]:
    yield from _check_identifier(f"{path}.metric", source["metric"])
    yield from _check_target(f"{path}.target", source["target"])
    if "averageValue" not in source["target"]:
        detail = "must specify a positive target averageValue"
        yield required(f"{path}.target.averageValue", detail)


def _check_external(path: str, source: Object) -> Iterator[Cause]:
    detail = "must set either a target value for metric or a per-pod target"
    yield from _check_outside(path, source, detail)


def _check_object(path: str, source: Object) -> Iterator[Cause]:
    described = source["describedObject"]
    sound = all(re.fullmatch("[A-Za-z0-9.-]+", described[name]) for name in ("kind", "name"))
    require_model(sound, "this describedObject of a metric")
    yield from _check_outside(path, source, "must set either a target value or averageValue")


def _check_outside(path: str, source: Object, detail: str) -> Iterator[Cause]:
    """A metric that no pod reports has a value, or one for each pod."""
    yield from _check_identifier(f"{path}.metric", source["metric"])
    yield from _check_target(f"{path}.target", source["target"])
    if "averageUtilization" in source["target"]:
        yield required(f"{path}.target.averageValue", detail)


_SOURCES: Mapping[str, Callable[[str, Object], Iterator[Cause]]] = {
    "resource": _check_resource,
    "containerResource": _check_container_resource,
    "pods": _check_pods,
    "external": _check_external,
    "object": _check_object,
}


def _check_identifier(path: str, metric: Object) -> Iterator[Cause]:
    if not metric["name"]:
        yield required(f"{path}.name", "must specify a metric name")
    require_model("/" not in metric["name"] and "%" not in metric["name"], "this name of a metric")


def _check_target(path: str, target: Object) -> Iterator[Cause]:
    kinds = ("Utilization", "Value", "AverageValue")
    sound = target["type"] in kinds and len(target.keys() & _TARGETS) == 1
    require_model(sound, "this target of a metric")
    if target.get("averageUtilization", 1) < 1:
        value = target["averageUtilization"]
        yield invalid_value(f"{path}.averageUtilization", value, "must be greater than 0")
    for name in ("averageValue", "value"):
        if name in target and amount(target[name]) <= 0:
            yield invalid_value(f"{path}.{name}", target[name], "must be positive")


def _check_rules(path: str, rules: Object) -> Iterator[Cause]:
    require_model("tolerance" not in rules, "the tolerance of a scaling rule")
    window = rules.get("stabilizationWindowSeconds", 0)
    at = f"{path}.stabilizationWindowSeconds"
    if window < 0:
        yield invalid_value(at, window, "must be greater than or equal to zero")
    if window > _LONGEST_WINDOW:
        yield invalid_value(at, window, f"must be less than or equal to {_LONGEST_WINDOW}")
    yield from check_one_of(
        f"{path}.selectPolicy", rules["selectPolicy"], ("Disabled", "Max", "Min")
    )
    if not rules.get("policies"):
        yield required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies", ())):
        yield from _check_policy(f"{path}.policies[{index}]", policy)


def _check_policy(path: str, policy: Object) -> Iterator[Cause]:
    yield from check_one_of(f"{path}.type", policy["type"], ("Percent", "Pods"))
    for name in ("value", "periodSeconds"):
        if policy[name] <= 0:
            yield invalid_value(f"{path}.{name}", policy[name], "must be greater than zero")
    if policy["periodSeconds"] > _LONGEST_PERIOD:
        detail = f"must be less than or equal to {_LONGEST_PERIOD}"
        yield invalid_value(f"{path}.periodSeconds", policy["periodSeconds"], detail)
