"""The defaults of built-in kinds, by Go type, as SetDefaults_X of k8s.io/kubernetes fills them.

Each function changes the struct that the decoder has just made, after everything below it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from captep_memory._json import Object

__all__ = ["DEFAULTS", "Default"]

Default: TypeAlias = Callable[[Object], None]
_RBAC = "rbac.authorization.k8s.io"
_CLIENT_IP_SECONDS = 10800
_INT32_MAX = (1 << 31) - 1
_ALL = {"type": "Pods", "value": 4, "periodSeconds": 15}
_DOUBLE = {"type": "Percent", "value": 100, "periodSeconds": 15}
# A reference as github.com/distribution/reference reads it: a domain, a path, a tag, a digest.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])"
_IMAGE = re.compile(
    rf"(?![0-9a-f]{{64}}$)(?:{_DOMAIN}(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def _filled(**values: Any) -> Default:  # noqa: ANN401  # JSON
    """Return the defaults of a type that has plain values only; an empty string is no value."""

    def fill(struct: Object) -> None:
        for name, value in values.items():
            if struct.get(name) in (None, ""):
                struct[name] = value

    return fill


def _deployment(obj: Object) -> None:
    spec = obj["spec"]
    strategy = spec["strategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def _stateful_set(obj: Object) -> None:
    spec = obj["spec"]
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    strategy = spec["updateStrategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
        strategy["rollingUpdate"].setdefault("maxUnavailable", 1)
    policy = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for when in ("whenDeleted", "whenScaled"):
        if not policy.get(when):
            policy[when] = "Retain"
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)


def _claim(obj: Object) -> None:
    # A claim template of a StatefulSet shows its type; a root has it anyway.
    obj |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}


def _daemon_set(obj: Object) -> None:
    spec = obj["spec"]
    strategy = spec["updateStrategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)


def _replica_set(obj: Object) -> None:
    obj["spec"].setdefault("replicas", 1)


def _job(obj: Object) -> None:
    spec = obj["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    per_index = "backoffLimitPerIndex" in spec
    spec.setdefault("backoffLimit", _INT32_MAX if per_index else 6)
    labels = spec["template"].get("metadata", {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"] = {**obj["metadata"], "labels": dict(labels)}
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    replaced = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", replaced)
    spec.setdefault("manualSelector", False)


def _cron_job(obj: Object) -> None:
    spec = obj["spec"]
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)


def _pod(obj: Object) -> None:
    spec = obj["spec"]
    seconds = spec.get("terminationGracePeriodSeconds", 0)
    if seconds < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for container in (*(spec.get("containers") or ()), *spec.get("initContainers", ())):
        resources = container["resources"]
        if "limits" in resources:
            resources["requests"] = {**resources["limits"], **resources.get("requests", {})}
        for port in container.get("ports", ()) if spec.get("hostNetwork") else ():
            port.setdefault("hostPort", port["containerPort"])
    spec.setdefault("enableServiceLinks", True)


def _pod_status(status: Object) -> None:
    address, addresses = status.get("podIP"), status.get("podIPs")
    if address and (not addresses or addresses[0]["ip"] != address):
        status["podIPs"] = [{"ip": address}]
    elif addresses and not address:
        status["podIP"] = addresses[0]["ip"]


def _pod_spec(spec: Object) -> None:
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    spec.pop("serviceAccount", None)
    if account:
        # The old name mirrors the new one.
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)


def _container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        found = _IMAGE.fullmatch(container.get("image", ""))
        # A malformed reference has no tag at all.
        tag = found and (found["tag"] or ("" if found["digest"] else "latest"))
        latest = tag == "latest"
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"


def _probe(probe: Object) -> None:
    for name, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(name):
            probe[name] = value
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _volume(volume: Object) -> None:
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}


def _service(obj: Object) -> None:
    spec = obj["spec"]
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        seconds = spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds")
        if seconds is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _CLIENT_IP_SECONDS}}
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    _service_ports(spec)
    _service_reach(obj)


def _service_ports(spec: Object) -> None:
    for port in spec.get("ports", ()):
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]


def _service_reach(obj: Object) -> None:
    spec = obj["spec"]
    is_open = spec["type"] in ("NodePort", "LoadBalancer")
    is_outside = is_open or (spec["type"] == "ClusterIP" and bool(spec.get("externalIPs")))
    if is_outside and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if is_open or spec["type"] == "ClusterIP":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        for ingress in obj.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")


def _slice_port(port: Object) -> None:
    port.setdefault("name", "")
    port.setdefault("protocol", "TCP")


def _namespace(obj: Object) -> None:
    name = obj["metadata"].get("name")
    if name:
        labels = {**obj["metadata"].get("labels", {}), "kubernetes.io/metadata.name": name}
        obj["metadata"] = {**obj["metadata"], "labels": labels}


def _limit_range_item(item: Object) -> None:
    if item["type"] != "Container":
        return
    default = {**item.get("max", {}), **item.get("default", {})}
    requested = {**item.get("min", {}), **default, **item.get("defaultRequest", {})}
    for name, values in (("default", default), ("defaultRequest", requested)):
        if values:
            item[name] = values


def _network_policy(obj: Object) -> None:
    spec = obj.get("spec", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _autoscaler(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if "behavior" in spec:
        up = {"stabilizationWindowSeconds": 0, "policies": [_ALL, _DOUBLE]}
        down = {"policies": [_DOUBLE]}
        for name, rules in (("scaleUp", up), ("scaleDown", down)):
            given = spec["behavior"].get(name, {})
            spec["behavior"][name] = {"selectPolicy": "Max", **rules, **given}


def _subject(subject: Object) -> None:
    if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
        subject["apiGroup"] = _RBAC


def _binding(obj: Object) -> None:
    if not obj["roleRef"].get("apiGroup"):
        obj["roleRef"]["apiGroup"] = _RBAC


_WEBHOOK = {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10}


def _webhook(webhook: Object) -> None:
    for name, value in _WEBHOOK.items():
        webhook.setdefault(name, value)
    for name in ("namespaceSelector", "objectSelector"):
        webhook.setdefault(name, {})


def _mutating_webhook(webhook: Object) -> None:
    _webhook(webhook)
    webhook.setdefault("reinvocationPolicy", "Never")


_CORE, _APPS, _BATCH = "api.core.v1", "api.apps.v1", "api.batch.v1"
_HOOKS = "api.admissionregistration.v1"
DEFAULTS: Mapping[str, Default] = {
    f"{_APPS}.Deployment": _deployment,
    f"{_APPS}.StatefulSet": _stateful_set,
    f"{_APPS}.DaemonSet": _daemon_set,
    f"{_APPS}.ReplicaSet": _replica_set,
    f"{_BATCH}.Job": _job,
    f"{_BATCH}.CronJob": _cron_job,
    f"{_BATCH}.PodFailurePolicyOnPodConditionsPattern": _filled(status="True"),
    f"{_CORE}.Pod": _pod,
    f"{_CORE}.PodSpec": _pod_spec,
    f"{_CORE}.PodStatus": _pod_status,
    f"{_CORE}.Container": _container,
    f"{_CORE}.ContainerPort": _filled(protocol="TCP"),
    f"{_CORE}.Probe": _probe,
    f"{_CORE}.HTTPGetAction": _filled(path="/", scheme="HTTP"),
    f"{_CORE}.ObjectFieldSelector": _filled(apiVersion="v1"),
    f"{_CORE}.Volume": _volume,
    f"{_CORE}.SecretVolumeSource": _filled(defaultMode=420),
    f"{_CORE}.ConfigMapVolumeSource": _filled(defaultMode=420),
    f"{_CORE}.DownwardAPIVolumeSource": _filled(defaultMode=420),
    f"{_CORE}.ProjectedVolumeSource": _filled(defaultMode=420),
    f"{_CORE}.ServiceAccountTokenProjection": _filled(expirationSeconds=3600),
    f"{_CORE}.Service": _service,
    f"{_CORE}.PersistentVolumeClaim": _claim,
    f"{_CORE}.PersistentVolumeClaimSpec": _filled(volumeMode="Filesystem"),
    f"{_CORE}.PersistentVolumeClaimStatus": _filled(phase="Pending"),
    f"{_CORE}.EndpointPort": _filled(protocol="TCP"),
    f"{_CORE}.Namespace": _namespace,
    f"{_CORE}.NamespaceStatus": _filled(phase="Active"),
    f"{_CORE}.LimitRangeItem": _limit_range_item,
    "api.networking.v1.NetworkPolicy": _network_policy,
    "api.networking.v1.NetworkPolicyPort": _filled(protocol="TCP"),
    "api.autoscaling.v2.HorizontalPodAutoscaler": _autoscaler,
    "api.discovery.v1.EndpointPort": _slice_port,
    "api.scheduling.v1.PriorityClass": _filled(preemptionPolicy="PreemptLowerPriority"),
    "api.storage.v1.StorageClass": _filled(reclaimPolicy="Delete", volumeBindingMode="Immediate"),
    f"{_HOOKS}.ValidatingWebhook": _webhook,
    f"{_HOOKS}.MutatingWebhook": _mutating_webhook,
    f"{_HOOKS}.RuleWithOperations": _filled(scope="*"),
    f"{_HOOKS}.ServiceReference": _filled(port=443),
    "api.rbac.v1.RoleBinding": _binding,
    "api.rbac.v1.ClusterRoleBinding": _binding,
    "api.rbac.v1.Subject": _subject,
}
"""What fills the defaults of a type, by its name."""
