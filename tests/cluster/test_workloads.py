"""What `captep_memory.workloads` writes is what a real kube-apiserver accepts."""

import pytest

from captep_memory import Key, Object, Request, World, group_of, load, serve
from tests.cluster.apiserver import ApiServer
from tests.memory.kinds import manifest_of, path_of
from tests.memory.support import NOW
from tests.memory.test_workloads import STEPS

pytestmark = pytest.mark.cluster
NAMESPACE = "workloads"


@pytest.fixture(scope="module")
def server(apiserver: ApiServer) -> ApiServer:
    """The real server with the namespace and its default account."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    assert apiserver.call("POST", "/api/v1/namespaces", namespace)[0] in (201, 409)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    assert apiserver.call("POST", path, account)[0] in (201, 409)
    return apiserver


def moved(manifest: Object, name: str) -> Object:
    """Return the object after its move, in the in-memory server."""
    api_version, kind = manifest["apiVersion"], manifest["kind"]
    request = Request("create", api_version, kind, NAMESPACE, body=manifest)
    world, response = serve(load([], now=NOW), request)
    assert response.status == 201, response.body
    after: World | None = STEPS[kind](NAMESPACE, name)(world)
    assert after is not None
    found = after.get(Key(group_of(api_version), kind, NAMESPACE, name))
    assert found is not None
    return found


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_the_real_server_accepts_what_a_move_writes(server: ApiServer, kind: str) -> None:
    """The status comes back as it was sent."""
    name = f"moved-{kind.lower()}"
    manifest = {**manifest_of(kind), "metadata": {"name": name}}
    path = path_of(manifest).replace("{}", NAMESPACE)
    created = server.call("POST", path, manifest)
    assert created[0] == 201, created
    after = moved(manifest, name)
    merge = "application/merge-patch+json"
    if kind == "PersistentVolumeClaim":
        spec = {"spec": {"volumeName": after["spec"]["volumeName"]}}
        assert server.call("PATCH", f"{path}/{name}", spec, content_type=merge)[0] == 200
    status = {"status": after["status"]}
    answer = server.call("PATCH", f"{path}/{name}/status", status, content_type=merge)
    assert answer[0] == 200, answer
    assert answer[1]["status"] == after["status"]
