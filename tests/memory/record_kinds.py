"""Record what a real kube-apiserver and its Go types say of built-in kinds.

    KUBEBUILDER_ASSETS=$(tests/apiserver/build) python -m tests.memory.record_kinds

Two files come of it. `openapi-1.37.json` holds the schemas of /openapi/v3 as they are, with every
extension and description; paths are left out, because they follow from the resources.
`kinds-1.37.json` holds the resources of discovery, and of every Go type which fields are pointers
and which are left out when empty: tests/apiserver/types reads it off k8s.io/api. Of the kinds
without a model it holds the names of their resources.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

from captep_memory._openapi import references_of
from tests.cluster.apiserver import ApiServer
from tests.memory.kinds import KINDS

Schema: TypeAlias = dict[str, Any]
_ROOT = Path(__file__).parents[2]
_DATA = _ROOT / "adapters" / "captep_memory"


def main() -> None:
    """Start a server and record it."""
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer(Path(os.environ["KUBEBUILDER_ASSETS"]), Path(folder))
        server.start()
        try:
            schemas, resources = recorded(server)
            served = served_resources(server)
        finally:
            server.stop()
    types = go_types()
    kinds = {name: {"type": types["roots"][name], **found} for name, found in resources.items()}
    _write("openapi", schemas)
    _write("kinds", {"kinds": kinds, "types": types["types"], "served": served})


def _write(name: str, data: Schema) -> None:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    (_DATA / f"{name}-1.37.json").write_text(f"{text}\n", "utf-8")


def go_types() -> Schema:
    """Return the Go types of the recorded kinds and of all below them, and the type of each kind.

    A field has `type`, `ref`, `items` or `map`, and 1 for `pointer`, `omit` (an empty value is
    left out) and `omitzero`.
    """
    kinds = [f"{api_version}/{kind}" for api_version, names in KINDS.items() for kind in names]
    command = ["go", "run", "./types", *kinds, "autoscaling/v1/Scale"]
    run = subprocess.run(
        command, cwd=_ROOT / "tests" / "apiserver", check=True, capture_output=True, timeout=600
    )
    found: Schema = json.loads(run.stdout)
    return found


def recorded(server: ApiServer) -> tuple[Schema, Schema]:
    """Return the schemas of a running server, and the resources of each kind."""
    index = server.call("GET", "/openapi/v3")[1]["paths"]
    kinds: Schema = {}
    schemas: Schema = {}
    roots: Schema = {}
    for api_version, names in KINDS.items():
        group = f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
        known = server.call("GET", index[group]["serverRelativeURL"])[1]["components"]["schemas"]
        resources = server.call("GET", f"/{group}")[1]["resources"]
        for kind in names:
            root = _root(known, api_version, kind)
            found = _resources(kind, resources)
            found["columns"] = _columns(server, f"/{group}/{found['resource']['name']}")
            kinds[f"{api_version}/{kind}"] = found
            roots[f"{api_version}/{kind}"] = {"schema": root}
            for name in (root, f"{root}List"):
                _collect(name, known, schemas)
        for name in known:
            if name.endswith((".autoscaling.v1.Scale", ".meta.v1.Status")):
                _collect(name, known, schemas)
    groups = [each["name"] for each in server.call("GET", "/apis")[1]["groups"]]
    version = server.call("GET", "/version")[1]["gitVersion"]
    return {"version": version, "groups": groups, "kinds": roots, "schemas": schemas}, kinds


def served_resources(server: ApiServer) -> Schema:
    """Return the names of all resources of a running server, by apiVersion."""
    groups = server.call("GET", "/apis")[1]["groups"]
    versions = [each["groupVersion"] for group in groups for each in group["versions"]]
    paths = {"v1": "/api/v1", **{version: f"/apis/{version}" for version in sorted(versions)}}
    return {
        version: sorted(
            each["name"]
            for each in server.call("GET", path)[1]["resources"]
            if "/" not in each["name"]
        )
        for version, path in paths.items()
    }


def _columns(server: ApiServer, path: str) -> list[Schema]:
    """Return the columns of a Table of a kind."""
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    with closing(server.connection()) as connection:
        connection.request("GET", path, headers={**server.credentials(), **accept})
        table = json.loads(connection.getresponse().read())
    columns: list[Schema] = table["columnDefinitions"]
    return columns


def _resources(kind: str, resources: list[Schema]) -> Schema:
    found = next(each for each in resources if each["kind"] == kind and "/" not in each["name"])
    below = [each for each in resources if each["name"].startswith(f"{found['name']}/")]
    return {"resource": found, "subresources": below}


def _root(schemas: Mapping[str, Schema], api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    return next(
        name
        for name, schema in schemas.items()
        if wanted in schema.get("x-kubernetes-group-version-kind", ()) and name.endswith(kind)
    )


def _collect(name: str, known: Mapping[str, Schema], schemas: Schema) -> None:
    """Add a schema and all those that it refers to."""
    if name in schemas:
        # Every group serves the shared types; two forms of one name would need two files.
        assert schemas[name] == known[name], name
        return
    schemas[name] = known[name]
    for below in references_of(known[name]):
        _collect(below, known, schemas)


if __name__ == "__main__":
    main()
