"""Roles and their bindings: validation."""

from collections.abc import Iterator

from captep_memory._json import Object, identical
from captep_memory._names import dns_subdomain
from captep_memory._status import (
    Cause,
    invalid_struct,
    invalid_value,
    not_modelled,
    not_supported,
    required,
)

__all__ = ["check_binding", "check_role"]

_RBAC = "rbac.authorization.k8s.io"


def check_role(obj: Object, old: Object | None) -> Iterator[Cause]:  # noqa: ARG001
    """Yield the errors of a Role or a ClusterRole."""
    for index, rule in enumerate(obj.get("rules") or ()):
        yield from _validate_rule(f"rules[{index}]", rule, obj["kind"])


def _validate_rule(path: str, rule: Object, kind: str) -> Iterator[Cause]:
    if not rule.get("verbs"):
        yield required(f"{path}.verbs")
    if rule.get("nonResourceURLs"):
        urls = rule["nonResourceURLs"]
        if kind == "Role":
            detail = "namespaced rules cannot apply to non-resource URLs"
            yield invalid_value(f"{path}.nonResourceURLs", urls, detail)
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid_value(f"{path}.nonResourceURLs", urls, detail)
        return
    if not rule.get("apiGroups"):
        yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield required(f"{path}.resources", "resource rules must supply at least one resource")


def check_binding(obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield the errors of a RoleBinding or a ClusterRoleBinding."""
    reference = obj["roleRef"]
    kinds = ("Role", "ClusterRole") if obj["kind"] == "RoleBinding" else ("ClusterRole",)
    if reference.get("apiGroup") != _RBAC:
        yield not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), (_RBAC,))
    if reference.get("kind", "") not in kinds:
        yield not_supported("roleRef.kind", reference.get("kind", ""), kinds)
    if not reference.get("name"):
        yield required("roleRef.name")
    elif "/" in reference["name"] or "%" in reference["name"] or reference["name"] in (".", ".."):
        raise not_modelled("a roleRef whose name is no path segment")
    if old is not None and not identical(reference, old["roleRef"]):
        # The internal type has no JSON names.
        names = {"apiGroup": "APIGroup", "kind": "Kind", "name": "Name"}
        shown = {go_name: reference.get(name, "") for name, go_name in names.items()}
        yield invalid_struct("roleRef", shown, "field is immutable")
    for index, subject in enumerate(obj.get("subjects") or ()):
        yield from _validate_subject(f"subjects[{index}]", subject, obj["kind"])


def _validate_subject(path: str, subject: Object, kind: str) -> Iterator[Cause]:
    name, shown = subject.get("name", ""), subject.get("kind", "")
    if not name:
        yield required(f"{path}.name")
    group = subject.get("apiGroup", "")
    if shown == "ServiceAccount":
        for problem in dns_subdomain(name) if name else ():
            yield invalid_value(f"{path}.name", name, problem)
        if group:
            yield not_supported(f"{path}.apiGroup", group, ("",))
        if not subject.get("namespace") and kind == "ClusterRoleBinding":
            yield required(f"{path}.namespace")
    elif shown in ("User", "Group"):
        if group != _RBAC:
            yield not_supported(f"{path}.apiGroup", group, (_RBAC,))
    else:
        yield not_supported(f"{path}.kind", shown, ("ServiceAccount", "User", "Group"))
