"""Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs: validation."""

import re
from collections.abc import Iterator

from captep_memory._checks import (
    check_dns_label,
    check_immutable,
    check_int_or_percent,
    check_non_negative,
    check_one_of,
    check_selector,
    is_none_or_zero,
    require_model,
    selects,
    shown_selector,
)
from captep_memory._json import MISSING, Object, deep_equal
from captep_memory._pods import check_template
from captep_memory._status import (
    Cause,
    forbidden_field,
    invalid_struct,
    invalid_value,
    not_supported,
    required,
)
from captep_memory._volumes import check_claim_spec

__all__ = [
    "check_cron_job",
    "check_daemon_set",
    "check_deployment",
    "check_job",
    "check_replica_set",
    "check_scaled_status",
    "check_stateful_set",
]

_UNMATCHED = "`selector` does not match template `labels`"
# A part of a cron schedule that every parser reads alike.
_CRON = re.compile(r"(\*|\d+(-\d+)?)(/[1-9]\d*)?(,(\*|\d+(-\d+)?)(/[1-9]\d*)?)*")
_CRON_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_DESCRIPTORS = frozenset(
    {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
)
_CRON_JOB_NAME = 52


def check_deployment(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a Deployment."""
    spec = obj["spec"]
    yield from check_non_negative("spec", spec, "replicas", "minReadySeconds")
    yield from _check_owned_template(spec, "deployment", "ReplicaSet", "invalid label selector")
    yield from _check_deployment_strategy(spec["strategy"])
    yield from check_non_negative("spec", spec, "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline = spec["progressDeadlineSeconds"]
    if deadline <= spec.get("minReadySeconds", 0):
        detail = "must be greater than minReadySeconds"
        yield invalid_value("spec.progressDeadlineSeconds", deadline, detail)
    yield from _check_same_selector(spec, old)


def check_replica_set(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a ReplicaSet."""
    spec = obj["spec"]
    yield from check_non_negative("spec", spec, "replicas", "minReadySeconds")
    yield from _check_owned_template(spec, "deployment", "ReplicaSet", "invalid label selector")
    yield from _check_same_selector(spec, old)


def check_stateful_set(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a StatefulSet."""
    spec = obj["spec"]
    policy = spec["podManagementPolicy"]
    if policy not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        yield invalid_value("spec.podManagementPolicy", policy, detail)
    _require_stateful_strategy(spec["updateStrategy"])
    for when, value in spec["persistentVolumeClaimRetentionPolicy"].items():
        path = f"spec.persistentVolumeClaimRetentionPolicy.{when}"
        require_model(value in ("Retain", "Delete"), f"this {path}")
    claims = spec.get("volumeClaimTemplates", ())
    for index, claim in enumerate(claims if old is None else ()):
        path = f"spec.volumeClaimTemplates[{index}]"
        require_model(claim["metadata"].get("name"), "a claim template without a name")
        yield from check_claim_spec(f"{path}.spec", claim["spec"])
    yield from check_non_negative("spec", spec, "replicas", "minReadySeconds")
    yield from check_non_negative("spec.ordinals", spec.get("ordinals", {}), "start")
    if spec["serviceName"] and old is None:
        yield from check_dns_label("spec.serviceName", spec["serviceName"])
    names = {claim["metadata"].get("name", "") for claim in claims}
    pod = spec["template"]["spec"]
    kept = [each for each in pod.get("volumes", ()) if each["name"] not in names]
    added = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
    template = {**spec["template"], "spec": {**pod, "volumes": [*added, *kept]}}
    yield from _check_owned_template({**spec, "template": template}, "statefulset", "StatefulSet")
    if old is not None:
        fields = ("selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy")
        for name in fields:
            yield from check_immutable("spec", name, spec, old["spec"])


def _require_stateful_strategy(strategy: Object) -> None:
    rolling = strategy.get("rollingUpdate", {})
    sound = strategy["type"] == "RollingUpdate" or (
        strategy["type"] == "OnDelete" and "rollingUpdate" not in strategy
    )
    most = rolling.get("maxUnavailable", 1)
    is_counted = isinstance(most, int) and most > 0
    sound = sound and is_counted and rolling.get("partition", 0) >= 0
    require_model(sound, "this updateStrategy of a StatefulSet")


def check_daemon_set(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a DaemonSet."""
    spec = obj["spec"]
    selector = spec.get("selector")
    problems = [*check_selector("spec.selector", selector)]
    yield from problems or _check_match(spec)
    if selector is not None and not any(selector.values()):
        detail = "empty selector is invalid for daemonset"
        yield shown_selector("spec.selector", selector, detail)
    require_model(selector is not None, "a DaemonSet without a selector")
    yield from check_template("spec.template", spec["template"])
    yield from _check_restart(spec["template"]["spec"], "DaemonSet")
    yield from check_non_negative("spec", spec, "minReadySeconds", "revisionHistoryLimit")
    _require_daemon_strategy(spec["updateStrategy"])
    if old is not None:
        yield from check_immutable("spec", "selector", spec, old["spec"])


def _require_daemon_strategy(strategy: Object) -> None:
    require_model(strategy["type"] in ("OnDelete", "RollingUpdate"), "this updateStrategy")
    rolling = strategy.get("rollingUpdate", {})
    counts = [rolling.get("maxUnavailable", 1), rolling.get("maxSurge", 0)]
    problems = [each for count in counts for each in check_int_or_percent("", count)]
    sound = not problems and is_none_or_zero(counts[0]) is not is_none_or_zero(counts[1])
    require_model(sound and not any(_is_over(each) for each in counts), "this rollingUpdate")


def _is_over(count: int | str) -> bool:
    return isinstance(count, str) and int(count[:-1]) > 100


def _check_deployment_strategy(strategy: Object) -> Iterator[Cause]:
    rolling = strategy.get("rollingUpdate")
    match strategy["type"]:
        case "Recreate":
            if rolling is not None:
                detail = "may not be specified when strategy `type` is 'Recreate'"
                yield forbidden_field("spec.strategy.rollingUpdate", detail)
        case "RollingUpdate":
            yield from _check_rolling("spec.strategy.rollingUpdate", rolling or {})
        case _:
            require_model(condition=False, what="an unknown strategy of a Deployment")


def _check_rolling(path: str, rolling: Object) -> Iterator[Cause]:
    most, surge = rolling["maxUnavailable"], rolling["maxSurge"]
    problems = [
        *check_int_or_percent(f"{path}.maxUnavailable", most),
        *check_int_or_percent(f"{path}.maxSurge", surge),
    ]
    yield from problems
    if problems:
        require_model(len(problems) == 1, "these counts of a rolling update")
        return
    if is_none_or_zero(most) and is_none_or_zero(surge):
        yield invalid_value(f"{path}.maxUnavailable", most, "may not be 0 when `maxSurge` is 0")
    if _is_over(most):
        yield invalid_value(f"{path}.maxUnavailable", most, "must not be greater than 100%")


def _check_owned_template(
    spec: Object, kind: str, owner: str, invalid_selector: str = ""
) -> Iterator[Cause]:
    """The selector and the template of a controller of pods."""
    selector = spec.get("selector")
    problems = [*check_selector("spec.selector", selector)]
    yield from problems
    if selector is None:
        yield required("spec.selector")
    elif not any(selector.values()):
        detail = f"empty selector is invalid for {kind}"
        yield shown_selector("spec.selector", selector, detail)
    if problems:
        yield shown_selector("spec.selector", selector, invalid_selector)
    else:
        yield from _check_match(spec)
        yield from check_template("spec.template", spec["template"])
        yield from _check_restart(spec["template"]["spec"], owner)
        return
    if owner == "StatefulSet":
        yield from _check_restart(spec["template"]["spec"], owner)


def _check_match(spec: Object) -> Iterator[Cause]:
    selector = spec.get("selector")
    labels = spec["template"].get("metadata", {}).get("labels", {})
    if selector is None or not selects(selector, labels):
        yield invalid_value("spec.template.metadata.labels", labels or None, _UNMATCHED)


def _check_restart(pod: Object, owner: str) -> Iterator[Cause]:
    if pod["restartPolicy"] != "Always":
        path = "spec.template.spec.restartPolicy"
        yield not_supported(path, pod["restartPolicy"], ("Always",))
    if "activeDeadlineSeconds" in pod:
        detail = f"activeDeadlineSeconds in {owner} is not Supported"
        yield forbidden_field("spec.template.spec.activeDeadlineSeconds", detail)


def _check_same_selector(spec: Object, old: Object | None) -> Iterator[Cause]:
    if old is None or deep_equal(spec.get("selector"), old["spec"].get("selector")):
        return
    if spec.get("selector") is None:
        yield invalid_struct("spec.selector", None, "field is immutable")
    else:
        yield shown_selector("spec.selector", spec["selector"], "field is immutable")


def check_job(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a Job."""
    spec = obj["spec"]
    yield from _check_job_spec("spec", spec)
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
    yield from check_selector("spec.selector", selector)
    yield from _check_match(spec)
    if old is None:
        if not spec["manualSelector"]:
            _require_generated(obj)
        require_model(not _is_indexed(spec) or len(obj["metadata"]["name"]) < 50, "this name")
        return
    before = old["spec"]
    yield from check_immutable("spec", "completions", spec, before)
    require_model(
        not _is_indexed(spec) or spec.get("completions") == before.get("completions"),
        "another number of completions of an indexed Job",
    )
    yield from _check_same_selector(spec, old)
    if not deep_equal(spec["template"], before["template"]):
        require_model(not before.get("suspend"), "a new template of a suspended Job")
        yield invalid_value("spec.template", "<template omitted>", "field is immutable")
    for name in ("completionMode", "backoffLimitPerIndex"):
        yield from check_immutable("spec", name, spec, before)


def _is_indexed(spec: Object) -> bool:
    return bool(spec["completionMode"] == "Indexed")


def _require_generated(obj: Object) -> None:
    """A Job whose labels contradict the generated ones gets errors that are not worded here."""
    metadata = obj["metadata"]
    labels = obj["spec"]["template"].get("metadata", {}).get("labels", {})
    selector = obj["spec"].get("selector") or {}
    sound = (
        labels.get("batch.kubernetes.io/controller-uid") == metadata["uid"]
        and labels.get("controller-uid") == metadata["uid"]
        and labels.get("batch.kubernetes.io/job-name") == metadata["name"]
        and labels.get("job-name") == metadata["name"]
        and selector == {"matchLabels": {"batch.kubernetes.io/controller-uid": metadata["uid"]}}
    )
    require_model(sound, "labels or a selector of a Job that contradict the generated ones")


def _check_job_spec(path: str, spec: Object) -> Iterator[Cause]:
    numbers = (
        *("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit"),
        *("ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"),
    )
    yield from check_non_negative(path, spec, *numbers)
    # The template of a CronJob has none of the defaults of a Job.
    mode = spec.get("completionMode", "NonIndexed")
    require_model(mode in ("NonIndexed", "Indexed"), "an unknown completionMode")
    require_model("maxFailedIndexes" not in spec, "maxFailedIndexes")
    require_model(spec.get("completions", 0) <= 10_000, "more than 10000 completions")
    if mode == "Indexed" and "completions" not in spec:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    if mode == "NonIndexed" and "backoffLimitPerIndex" in spec:
        detail = "requires indexed completion mode"
        yield invalid_value(f"{path}.backoffLimitPerIndex", spec["backoffLimitPerIndex"], detail)
    policy = spec.get("podReplacementPolicy", "TerminatingOrFailed")
    sound = policy in ("Failed", "TerminatingOrFailed")
    require_model(sound, "an unknown podReplacementPolicy")
    yield from check_template(f"{path}.template", spec["template"])
    if spec["template"]["spec"]["restartPolicy"] == "Always":
        detail = 'valid values: "OnFailure", "Never"'
        yield required(f"{path}.template.spec.restartPolicy", detail)


def check_cron_job(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a CronJob."""
    spec = obj["spec"]
    if not spec["schedule"]:
        yield required("spec.schedule")
    else:
        require_model(_is_schedule(spec["schedule"]), f"the schedule {spec['schedule']}")
    same_zone = old is not None and spec.get("timeZone") == old["spec"].get("timeZone")
    require_model(same_zone or spec.get("timeZone", "Etc/UTC") == "Etc/UTC", "this timeZone")
    policies = ("Allow", "Forbid", "Replace")
    yield from check_one_of("spec.concurrencyPolicy", spec["concurrencyPolicy"], policies)
    job = spec["jobTemplate"]["spec"]
    path = "spec.jobTemplate.spec"
    yield from _check_job_spec(path, job)
    if job.get("selector") is not None:
        detail = "`selector` will be auto-generated"
        yield shown_selector(f"{path}.selector", job["selector"], detail)
    if job.get("manualSelector"):
        yield not_supported(f"{path}.manualSelector", MISSING, ("nil", "false"))
    limits = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    yield from check_non_negative("spec", spec, *limits)
    if old is None and len(obj["metadata"]["name"]) > _CRON_JOB_NAME:
        detail = "must be no more than 52 characters"
        yield invalid_value("metadata.name", obj["metadata"]["name"], detail)


def _is_schedule(schedule: str) -> bool:
    if schedule in _DESCRIPTORS:
        return True
    parts = schedule.split()
    if len(parts) != len(_CRON_BOUNDS):
        return False
    return all(map(_is_cron_part, parts, _CRON_BOUNDS))


def _is_cron_part(part: str, bounds: tuple[int, int]) -> bool:
    low, high = bounds
    if not _CRON.fullmatch(part):
        return False
    for each in part.split(","):
        first, _, last = each.partition("/")[0].partition("-")
        numbers = [int(number) for number in (first, last) if number.isdigit()]
        if not all(low <= number <= high for number in numbers) or sorted(numbers) != numbers:
            return False
    return True


_SCALED = {
    "Deployment": ("updatedReplicas", "readyReplicas", "availableReplicas"),
    "ReplicaSet": ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    "StatefulSet": ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
}
_NUMBERS = (
    *("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "currentReplicas"),
    *("availableReplicas", "unavailableReplicas", "terminatingReplicas", "collisionCount"),
    *("fullyLabeledReplicas", "currentNumberScheduled", "numberMisscheduled", "numberReady"),
    *("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberUnavailable"),
)


def check_scaled_status(obj: Object) -> Iterator[Cause]:
    """Yield the errors of the status of a Deployment, ReplicaSet, StatefulSet or DaemonSet."""
    status, kind = obj["status"], obj["kind"]
    yield from check_non_negative("status", status, *_NUMBERS)
    for name in _SCALED.get(kind, ()):
        if status.get(name, 0) > status.get("replicas", 0):
            detail = "cannot be greater than status.replicas"
            yield invalid_value(f"status.{name}", status[name], detail)
    if kind in _SCALED and status.get("availableReplicas", 0) > status.get("readyReplicas", 0):
        name = "status.readyReplicas" if kind == "StatefulSet" else "readyReplicas"
        detail = f"cannot be greater than {name}"
        yield invalid_value("status.availableReplicas", status["availableReplicas"], detail)
