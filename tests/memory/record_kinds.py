"""Record the types of built-in kinds from a real kube-apiserver.

    KUBEBUILDER_ASSETS=$(tests/apiserver/build) python -m tests.memory.record_kinds

The fields come from /openapi/v3. What a Go type does with a zero value (a pointer keeps it,
omitempty drops it) is not in there: the script measures it, field by field, with dry runs of the
manifests below.
"""

import copy
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.cluster.apiserver import ApiServer

__all__ = ["MANIFESTS", "path_of"]

Schema: TypeAlias = dict[str, Any]
_DATA = Path(__file__).parents[2] / "adapters" / "captep_memory" / "kinds-1.37.json"
_PREFIX = "#/components/schemas/"
_ROOT = ("apiVersion", "kind", "metadata")
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_POD = {
    "containers": [
        {
            "name": "c",
            "image": "i",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "value": "b"}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "readinessProbe": {"httpGet": {"port": 80}},
            "resources": {"requests": {"cpu": "1"}},
            "securityContext": {},
        }
    ],
    "volumes": [
        {"name": "v", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "s"}},
        {"name": "m", "configMap": {"name": "m"}},
    ],
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "securityContext": {},
}
_SELECTOR = {"matchLabels": {"a": "b"}}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _POD}
_RBAC = "rbac.authorization.k8s.io/v1"
_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
_RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
_SUBJECT = {"kind": "ServiceAccount", "name": "s", "namespace": "default"}

MANIFESTS: tuple[Schema, ...] = (
    {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "secrets": [{"name": "s"}],
        "imagePullSecrets": [{"name": "s"}],
    },
    {"apiVersion": _RBAC, "kind": "Role", "rules": [_RULE]},
    {"apiVersion": _RBAC, "kind": "ClusterRole", "rules": [_RULE]},
    {"apiVersion": _RBAC, "kind": "RoleBinding", "roleRef": _REF, "subjects": [_SUBJECT]},
    {"apiVersion": _RBAC, "kind": "ClusterRoleBinding", "roleRef": _REF, "subjects": [_SUBJECT]},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"selector": _SELECTOR, "template": _TEMPLATE, "strategy": {}},
    },
)
"""A manifest of each recorded kind, with an item in each list that the measurement enters."""


def path_of(manifest: Schema) -> str:
    """Return the path of the objects of a manifest's kind; `{}` stands for the namespace."""
    api_version = manifest["apiVersion"]
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    plural = f"{manifest['kind'].lower()}s"
    is_cluster_scoped = manifest["kind"].startswith("Cluster")
    return f"{root}/{plural}" if is_cluster_scoped else f"{root}/namespaces/{{}}/{plural}"


def main() -> None:
    """Record the types of every manifest's kind."""
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer(Path(os.environ["KUBEBUILDER_ASSETS"]), Path(folder))
        server.start()
        try:
            record(server)
        finally:
            server.stop()


def record(server: ApiServer) -> None:
    """Write the data file from a running server."""
    index = server.call("GET", "/openapi/v3")[1]["paths"]
    types: Schema = {}
    kinds: Schema = {}
    for manifest in MANIFESTS:
        api_version, kind = manifest["apiVersion"], manifest["kind"]
        group = f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
        document = server.call("GET", index[group]["serverRelativeURL"])[1]
        resources = server.call("GET", f"/{group}")[1]["resources"]
        found = [each for each in resources if each["kind"] == kind and "/" not in each["name"]]
        schemas = document["components"]["schemas"]
        root = _root(schemas, api_version, kind)
        kinds[f"{api_version}/{kind}"] = {
            "type": root,
            "plural": found[0]["name"],
            "namespaced": found[0]["namespaced"],
        }
        _collect(root, schemas, types)
        path = f"/{group}/namespaces/default" if found[0]["namespaced"] else f"/{group}"
        _measure(server, f"{path}/{found[0]['name']}?dryRun=All", manifest, root, types)
    _DATA.write_text(json.dumps({"kinds": kinds, "types": types}, separators=(",", ":")) + "\n")


def _root(schemas: Mapping[str, Schema], api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    return next(
        name
        for name, schema in schemas.items()
        if wanted in schema.get("x-kubernetes-group-version-kind", ()) and name.endswith(kind)
    )


def _collect(name: str, schemas: Mapping[str, Schema], types: Schema) -> None:
    if name in types or name == _METADATA:
        return
    schema = schemas[name]
    if "properties" not in schema:
        types[name] = {"scalar": name.rpartition(".")[2]}
        return
    types[name] = {}
    for field, property_ in schema["properties"].items():
        if "x-kubernetes-group-version-kind" not in schema or field not in _ROOT:
            types[name][field] = _field(property_, schemas, types)


def _field(schema: Schema, schemas: Mapping[str, Schema], types: Schema) -> Schema:
    """Return a field in the form of the data file."""
    always = {"always": schema["default"]} if "default" in schema else {}
    reference = schema.get("$ref") or (schema.get("allOf") or [{}])[0].get("$ref")
    if reference:
        name = reference.removeprefix(_PREFIX)
        _collect(name, schemas, types)
        return {"ref": name, **always}
    if schema.get("type") == "array":
        return {"items": _field(schema["items"], schemas, types), **always}
    if "additionalProperties" in schema:
        return {"map": _field(schema["additionalProperties"], schemas, types), **always}
    return {"type": schema.get("type", "object"), **always}


def _measure(server: ApiServer, path: str, manifest: Schema, root: str, types: Schema) -> None:
    """Mark each field that the manifest reaches: `zero` is whether the server keeps a zero value."""
    base = {**manifest, "metadata": {"name": "probe"}}
    for place, field in list(_places(base, root, types)):
        if "zero" in field or "measured" in field:
            continue
        field["measured"] = True
        zero = _zero(field, types)
        status, answer = server.call("POST", path, _with(base, place, zero))
        if status == 201 and _is_null(answer, place):
            field["always"] = None
        elif status == 201:
            field["zero"] = _at(answer, place) == zero
            if not field["zero"] and "ref" not in field:
                # A default in OpenAPI does not mean that the type writes the field always.
                field.pop("always", None)
        else:
            # The API refuses the value; a pointer and omitempty make no difference then.
            field["refused"] = True


def _zero(field: Schema, types: Schema) -> Any:  # noqa: ANN401  # JSON
    if "items" in field:
        return []
    if "map" in field:
        return {}
    if "ref" in field:
        scalar = types.get(field["ref"], {}).get("scalar")
        return {None: {}, "IntOrString": 0}.get(scalar, "")
    return {"string": "", "integer": 0, "number": 0, "boolean": False}.get(field["type"], {})


def _places(value: Any, name: str, types: Schema) -> Iterator[tuple[tuple[Any, ...], Schema]]:  # noqa: ANN401
    """Yield the path and the description of each field of an object, and of those below it."""
    for field_name, field in types.get(name, {}).items():
        if "scalar" in types[name] or (field_name == "status" and "spec" in types[name]):
            continue
        yield (field_name,), field
        below = value.get(field_name)
        if "ref" in field and isinstance(below, dict):
            inner = _places(below, field["ref"], types)
            yield from (((field_name, *path), each) for path, each in inner)
        elif "items" in field and "ref" in field["items"] and below:
            for index, item in enumerate(below):
                inner = _places(item, field["items"]["ref"], types)
                yield from (((field_name, index, *path), each) for path, each in inner)


def _with(base: Schema, place: tuple[Any, ...], value: Any) -> Schema:  # noqa: ANN401  # JSON
    changed = copy.deepcopy(base)
    target: Any = changed
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    return changed


def _is_null(answer: Schema, place: tuple[Any, ...]) -> bool:
    """Whether the answer writes null: a slice without omitempty."""
    holder = _at(answer, place[:-1])
    return isinstance(holder, dict) and place[-1] in holder and holder[place[-1]] is None


def _at(value: Any, place: tuple[Any, ...]) -> Any:  # noqa: ANN401  # JSON
    for step in place:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


if __name__ == "__main__":
    main()
