"""The admission plugins that a server runs by default, as far as they change what is stored.

NamespaceLifecycle is in `_create`; these are StorageObjectInUseProtection, DefaultStorageClass,
Priority, DefaultTolerationSeconds and ServiceAccount. LimitRanger has no model, and ResourceQuota
one as far as a real server without controllers enforces it: a quota whose status is empty allows
everything.
"""

import hashlib

from captep_memory._checks import require_model
from captep_memory._json import Object
from captep_memory._kinds import ServedKind
from captep_memory._quantities import amount
from captep_memory._request import Request
from captep_memory._status import failure
from captep_memory._world import World

__all__ = ["admit_change", "plug_in", "plug_in_again", "require_no_quota"]

_PROTECTION = "kubernetes.io/pvc-protection"
_DEFAULT_CLASSES = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a path
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
# Kinds whose creation a LimitRange may refuse or change.
_LIMITED = frozenset({"Pod", "PersistentVolumeClaim"})
# Kinds of which a quota counts more than the objects, and the names of quotas that count no more.
_MEASURED = frozenset({"Pod", "PersistentVolumeClaim", "Service"})
_COUNTED = frozenset(
    {
        *("configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers"),
        *("resourcequotas", "secrets", "services"),
    }
)


def plug_in(world: World, request: Request, obj: Object) -> Object:
    """Return a new object as the default plugins leave it.

    Raises:
        RefusedError: 403, a Pod names what does not exist; 501, the namespace has limits.
    """
    _require_unlimited(world, request, obj)
    match obj["kind"]:
        case "PersistentVolumeClaim":
            return _with_storage_class(world, _protected(obj))
        case "Pod":
            return _with_account(world, request, _tolerant(_prioritised(world, obj)))
        case _:
            return obj


def plug_in_again(world: World, obj: Object, old: Object) -> Object:
    """Return a changed object as the default plugins leave it.

    A loaded Pod may lack a priority, and then it goes on without.
    """
    if obj["kind"] != "Pod":
        return obj
    return _tolerant(_prioritised(world, obj) if "priority" in old["spec"] else obj)


def admit_change(world: World, obj: Object, old: Object) -> None:
    """Let the validating plugins judge a changed object: PersistentVolumeClaimResize.

    Raises:
        RefusedError: 403, a claim may not grow.
    """
    if obj["kind"] != "PersistentVolumeClaim":
        return
    new_size, old_size = (
        amount(each["spec"]["resources"].get("requests", {}).get("storage", "0"))
        for each in (obj, old)
    )
    if new_size <= old_size:
        return
    if old["status"].get("phase") != "Bound":
        raise _forbidden(obj, "Only bound persistent volume claims can be expanded")
    name = obj["spec"].get("storageClassName", "")
    found = world.shelf("storage.k8s.io", "StorageClass", None).get(name, {})
    if not found.get("allowVolumeExpansion"):
        why = (
            "only dynamically provisioned pvc can be resized and the storageclass that provisions "
            "the pvc must support resize"
        )
        raise _forbidden(obj, why)


def _require_unlimited(world: World, request: Request, obj: Object) -> None:
    namespace = request.namespace
    if namespace is None:
        return
    if obj["kind"] in _LIMITED:
        limits = world.shelf("", "LimitRange", namespace)
        require_model(not limits, f"a new {obj['kind']} in a namespace with a LimitRange")


def require_no_quota(world: World, request: Request, resource: ServedKind) -> None:
    """Refuse a creation that a ResourceQuota may count.

    A controller copies `spec.hard` into the status, and the server enforces the status alone.

    Raises:
        RefusedError: 501, the status of a quota in this namespace limits the kind.
    """
    for quota in world.shelf("", "ResourceQuota", request.namespace).values():
        for name in quota.get("status", {}).get("hard", {}):
            require_model(not _counts(name, resource), f"the quota of {name} in a creation")


def _counts(name: str, resource: ServedKind) -> bool:
    """Return whether a quota of this name may count a new object of a kind."""
    plural = resource.plural
    of_group = f"count/{plural}.{resource.group}" if resource.group else f"count/{plural}"
    if name == of_group or (name == plural and not resource.group):
        return True
    is_plain = name.startswith("count/") or name in _COUNTED
    return not is_plain and not resource.group and resource.kind in _MEASURED


def _protected(obj: Object) -> Object:
    finalizers = obj["metadata"].get("finalizers", [])
    if _PROTECTION in finalizers:
        return obj
    return {**obj, "metadata": {**obj["metadata"], "finalizers": [*finalizers, _PROTECTION]}}


def _with_storage_class(world: World, obj: Object) -> Object:
    if "storageClassName" in obj["spec"]:
        return obj
    classes = world.shelf("storage.k8s.io", "StorageClass", None)
    chosen = [name for name, each in classes.items() if _is_default(each)]
    require_model(len(chosen) <= 1, "several default StorageClasses")
    if not chosen:
        return obj
    return {**obj, "spec": {**obj["spec"], "storageClassName": chosen[0]}}


def _is_default(storage_class: Object) -> bool:
    annotations = storage_class["metadata"].get("annotations", {})
    return any(annotations.get(name) == "true" for name in _DEFAULT_CLASSES)


def _prioritised(world: World, obj: Object) -> Object:
    spec = obj["spec"]
    name = spec.get("priorityClassName", "")
    priority, policy = _SYSTEM.get(name, 0), "PreemptLowerPriority"
    if name and name not in _SYSTEM:
        found = world.shelf("scheduling.k8s.io", "PriorityClass", None).get(name)
        if found is None:
            raise _forbidden(obj, f"no PriorityClass with name {name} was found")
        priority, policy = found["value"], found["preemptionPolicy"]
    require_model(spec.get("priority", priority) == priority, "the priority of a Pod")
    return {**obj, "spec": {**spec, "priority": priority, "preemptionPolicy": policy}}


def _tolerant(obj: Object) -> Object:
    given = obj["spec"].get("tolerations", [])
    tolerations = list(given)
    for taint in _TAINTS:
        if not any(_tolerates(each, taint) for each in given):
            toleration = {"key": taint, "operator": "Exists", "effect": "NoExecute"}
            tolerations.append({**toleration, "tolerationSeconds": 300})
    return {**obj, "spec": {**obj["spec"], "tolerations": tolerations}}


def _tolerates(toleration: Object, taint: str) -> bool:
    key = toleration.get("key", "")
    return key in ("", taint) and toleration.get("effect", "") in ("", "NoExecute")


def _with_account(world: World, request: Request, obj: Object) -> Object:
    """Every Pod runs as a ServiceAccount and mounts its token.

    The account `default` counts as existing, because a controller makes it in every namespace; in
    a part of a cluster every account does.
    """
    spec = obj["spec"]
    name = spec.get("serviceAccountName") or "default"
    account = world.shelf("", "ServiceAccount", request.namespace).get(name)
    if account is None and name != "default" and world.is_whole:
        place = f"{request.namespace}/{name}"
        why = f'error looking up service account {place}: serviceaccount "{name}" not found'
        raise _forbidden(obj, why)
    found = account or {}
    spec = {**spec, "serviceAccountName": name, "serviceAccount": name}
    if not spec.get("imagePullSecrets") and found.get("imagePullSecrets"):
        spec["imagePullSecrets"] = found["imagePullSecrets"]
    automatic = found.get("automountServiceAccountToken", True)
    if spec.get("automountServiceAccountToken", automatic):
        spec = _with_token(spec, f"{request.namespace}/{obj['metadata'].get('name', '')}")
    return {**obj, "spec": spec}


def _with_token(spec: Object, seed: str) -> Object:
    """A server names the volume at random; here it follows from the name of the Pod."""
    digest = hashlib.sha256(seed.encode(errors="surrogatepass")).digest()[:5]
    suffix = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest)
    name = f"kube-api-access-{suffix}"
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]
    volume = {"name": name, "projected": {"sources": sources, "defaultMode": 420}}
    mount = {"name": name, "readOnly": True, "mountPath": _TOKEN_PATH}
    filled = {**spec, "volumes": [*spec.get("volumes", ()), volume]}
    for place in ("containers", "initContainers"):
        if spec.get(place):
            filled[place] = [_mounting(each, mount) for each in spec[place]]
    return filled


def _mounting(container: Object, mount: Object) -> Object:
    mounts = container.get("volumeMounts", [])
    if any(each["mountPath"] == mount["mountPath"] for each in mounts):
        return container
    return {**container, "volumeMounts": [*mounts, mount]}


def _forbidden(obj: Object, why: str) -> Exception:
    name = obj["metadata"].get("name", "")
    plural = f"{obj['kind'].lower()}s"
    details = {"name": name, "kind": plural}
    return failure(403, "Forbidden", f'{plural} "{name}" is forbidden: {why}', details)
