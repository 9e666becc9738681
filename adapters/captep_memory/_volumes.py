"""PersistentVolumeClaims and StorageClasses: validation."""

from collections.abc import Iterator

from captep_memory._checks import check_one_of, check_selector, require_model
from captep_memory._json import Object, deep_equal, without
from captep_memory._names import dns_subdomain, qualified_name
from captep_memory._quantities import amount
from captep_memory._status import Cause, forbidden_field, invalid_value, not_supported, required

__all__ = ["check_claim", "check_claim_spec", "check_storage_class"]

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_FIXED = (
    "spec is immutable after creation except resources.requests and "
    "volumeAttributesClassName for bound claims\n<difference omitted>"
)


def check_claim(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a PersistentVolumeClaim."""
    yield from check_claim_spec("spec", obj["spec"])
    if old is not None:
        yield from _check_claim_update(obj, old)


def check_claim_spec(path: str, spec: Object) -> Iterator[Cause]:
    """Yield the errors of the spec of a claim, or of a template of one."""
    modes = spec.get("accessModes") or ()
    if not modes:
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from check_selector(f"{path}.selector", spec.get("selector"))
    for mode in modes:
        if mode not in _MODES:
            yield not_supported(f"{path}.accessModes", mode, _MODES)
    if "ReadWriteOncePod" in modes and set(modes) & {*_MODES[:3]}:
        detail = "may not use ReadWriteOncePod with other access modes"
        yield forbidden_field(f"{path}.accessModes", detail)
    storage = spec["resources"].get("requests", {}).get("storage")
    if storage is None:
        yield required(f"{path}.resources[storage]")
    elif amount(storage) <= 0:
        yield invalid_value(f"{path}.resources[storage]", storage, "must be greater than zero")
    others = [*spec["resources"].get("requests", {}), *spec["resources"].get("limits", {})]
    require_model({*others} <= {"storage"}, "other resources of a claim than its storage")
    require_model(storage is None or amount(storage).denominator == 1, "a fraction of a byte")
    name = spec.get("storageClassName")
    for problem in dns_subdomain(name) if name else ():
        yield invalid_value(f"{path}.storageClassName", name, problem)
    yield from check_one_of(f"{path}.volumeMode", spec["volumeMode"], ("Block", "Filesystem"))
    require_model("volumeAttributesClassName" not in spec, "volumeAttributesClassName")


def _check_claim_update(obj: Object, old: Object) -> Iterator[Cause]:
    new_spec, old_spec = obj["spec"], old["spec"]
    is_bound = obj.get("status", {}).get("phase") == "Bound"
    free = set() if old_spec.get("volumeName") else {"volumeName"}
    if old_spec.get("storageClassName") is None and "storageClassName" in new_spec:
        require_model(condition=False, what="a storageClassName of a claim that had none")
    new_resources, old_resources = new_spec["resources"], old_spec["resources"]
    same = deep_equal(new_resources, old_resources) or (
        is_bound
        and deep_equal(without(new_resources, "requests"), without(old_resources, "requests"))
    )
    rest = (*free, "resources")
    if not same or not deep_equal(without(new_spec, *rest), without(old_spec, *rest)):
        # The real server goes on with the difference of the two Go structs.
        yield forbidden_field("spec", _FIXED)
    new_size = new_resources.get("requests", {}).get("storage", "0")
    old_size = old_resources.get("requests", {}).get("storage", "0")
    capacity = old.get("status", {}).get("capacity", {}).get("storage", "0")
    if amount(new_size) < amount(old_size) and amount(new_size) <= amount(capacity):
        detail = "field can not be less than status.capacity"
        yield forbidden_field("spec.resources.requests.storage", detail)
    if not deep_equal(new_spec["volumeMode"], old_spec["volumeMode"]):
        yield invalid_value("volumeMode", new_spec["volumeMode"], "field is immutable")


def check_storage_class(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a StorageClass."""
    provisioner = obj["provisioner"]
    if not provisioner:
        yield required("provisioner")
    for problem in qualified_name(provisioner.lower()) if provisioner else ():
        yield invalid_value("provisioner", provisioner.lower(), problem)
    require_model("" not in obj.get("parameters", {}), "an empty name of a parameter")
    if obj["reclaimPolicy"]:
        yield from check_one_of("reclaimPolicy", obj["reclaimPolicy"], ("Delete", "Retain"))
    modes = ("Immediate", "WaitForFirstConsumer")
    yield from check_one_of("volumeBindingMode", obj["volumeBindingMode"], modes)
    if old is not None:
        for name in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            if not deep_equal(obj.get(name), old.get(name)):
                # A declared rule, whose error holds no value.
                yield invalid_value(name, None, "field is immutable")
