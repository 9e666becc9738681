"""The objects and the permissions of the example manifests."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.apiserver import ApiServer

__all__ = ["FOLDER", "bind", "granted", "objects"]

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "manifests"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
Permission = tuple[str, str, str]


def objects(folder: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a folder, without those of the folders it builds on."""
    for file in sorted((FOLDER / folder).glob("*.yaml")):
        yield from (
            each
            for each in yaml.safe_load_all(file.read_text("utf-8"))
            if each["kind"] not in ("Kustomization", "Component")
        )


def granted(folder: str) -> list[Permission]:
    """Return (API group, resource with subresource, verb) of each permission of a folder."""
    return [
        (group, resource, verb)
        for each in objects(folder)
        for rule in each.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def bind(
    server: ApiServer,
    folder: str,
    user: str,
    *,
    namespace: str | None = None,
    lease_namespace: str = "kube-system",
) -> None:
    """Create the roles of a folder and bind them to `user`.

    `namespace` replaces the namespace of each Role; the Role of the Lease is in `lease_namespace`.
    """
    suffix = secrets.token_hex(4)
    for role in (each for each in objects(folder) if each["kind"] in ("Role", "ClusterRole")):
        is_lease = role["metadata"]["name"].endswith("leader-election")
        where = None
        if role["kind"] == "Role":
            where = lease_namespace if is_lease else namespace or role["metadata"]["namespace"]
        _create(
            server,
            role["kind"],
            where,
            {"metadata": {"name": f"{role['metadata']['name']}-{suffix}"}, "rules": role["rules"]},
            user,
        )


def _create(
    server: ApiServer, kind: str, namespace: str | None, role: dict[str, Any], user: str
) -> None:
    root = f"{_RBAC}/namespaces/{namespace}" if namespace else _RBAC
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role["metadata"]["name"]}
    server.create(f"{root}/{kind.lower()}s", role)
    server.create(
        f"{root}/{kind.lower()}bindings",
        {"metadata": role["metadata"], "roleRef": to, "subjects": [subject]},
    )
