"""The harness itself: the other tests rely on these facts."""

import json
from contextlib import closing
from typing import Any

import pytest

from tests.cluster.apiserver import ApiServer

pytestmark = pytest.mark.cluster
CONTROL_PLANES = "/apis/controlplane.cluster.x-k8s.io/v1beta1/namespaces/{}/captcontrolplanes"


def control_plane(name: str) -> dict[str, Any]:
    """Return a small valid CAPTControlPlane."""
    spec = {"version": "1.31", "workspaceTemplateRef": {"name": "eks"}}
    return {
        "apiVersion": "controlplane.cluster.x-k8s.io/v1beta1",
        "kind": "CAPTControlPlane",
        "metadata": {"name": name},
        "spec": spec,
    }


def first_events(server: ApiServer, path: str, count: int) -> list[tuple[str, str]]:
    """Read the first `count` (type, resourceVersion) of a watch from the beginning."""
    with closing(server.connection()) as connection:
        connection.request(
            "GET",
            f"{path}?watch=1&resourceVersion=0&timeoutSeconds=10",
            headers=server.credentials(),
        )
        answer = connection.getresponse()
        events = [json.loads(answer.readline()) for _ in range(count)]
    return [(event["type"], event["object"]["metadata"]["resourceVersion"]) for event in events]


def test_a_watch_and_the_audit_log_show_a_status_patch(
    apiserver: ApiServer, namespace: str
) -> None:
    """A status patch keeps secretsReady, and the audit log has user, verb, object and answer."""
    path = CONTROL_PLANES.format(namespace)
    created = apiserver.create(path, control_plane("one"))
    patched = apiserver.merge(
        f"{path}/one/status", {"status": {"phase": "Creating", "secretsReady": True}}
    )
    assert patched["status"] == {"phase": "Creating", "secretsReady": True}
    assert patched["metadata"]["generation"] == created["metadata"]["generation"] == 1
    versions = [one["metadata"]["resourceVersion"] for one in (created, patched)]
    assert first_events(apiserver, path, 1)[0] in [("ADDED", versions[0]), ("ADDED", versions[1])]
    writes = [
        (
            event["verb"],
            event["user"]["username"],
            event["objectRef"].get("subresource"),
            event["responseStatus"]["code"],
        )
        for event in apiserver.audit()
        if event.get("objectRef", {}).get("namespace") == namespace
        and event["verb"] in ("create", "patch")
    ]
    assert writes == [("create", "admin", None, 201), ("patch", "admin", "status", 200)]


def test_a_user_may_do_nothing_until_it_is_granted(apiserver: ApiServer, namespace: str) -> None:
    """RBAC is on: a request gets 403 before the grant and 200 after it."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert apiserver.call("GET", path, user="other")[0] == 403
    apiserver.grant("other", [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}])
    assert apiserver.call("GET", path, user="other")[0] == 200


def test_the_schema_refuses_an_unknown_phase(apiserver: ApiServer, namespace: str) -> None:
    """The definitions validate: a value outside the enum gets 422."""
    path = CONTROL_PLANES.format(namespace)
    apiserver.create(path, control_plane("one"))
    body = {"status": {"phase": "Sleeping"}}
    assert (
        apiserver.call(
            "PATCH", f"{path}/one/status", body, content_type="application/merge-patch+json"
        )[0]
        == 422
    )


def test_the_apiserver_comes_back_with_what_it_had(apiserver: ApiServer, namespace: str) -> None:
    """A crash of kube-apiserver loses nothing, and its address stays."""
    path = CONTROL_PLANES.format(namespace)
    created = apiserver.create(path, control_plane("one"))
    apiserver.kill_apiserver()
    apiserver.start_apiserver()
    assert apiserver.call("GET", f"{path}/one") == (200, created)
