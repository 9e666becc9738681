"""`captep run --metrics-secure` against a real kube-apiserver, which reviews every token."""

import http.client
import re
import ssl
from pathlib import Path

import pytest
import trustme

from tests.cluster.apiserver import ApiServer
from tests.cluster.manifests import bind, objects
from tests.cluster.process import Captep

pytestmark = pytest.mark.cluster
COMPONENT = "metrics-secure"


def certify(authority: trustme.CA, folder: Path) -> None:
    """Write the files of --metrics-cert-dir."""
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(folder / "tls.crt"))
    issued.private_key_pem.write_to_path(str(folder / "tls.key"))


def permit(server: ApiServer, user: str, role: str) -> None:
    """Grant a user the rules of one ClusterRole of the component."""
    for each in objects(COMPONENT):
        if each["kind"] == "ClusterRole" and each["metadata"]["name"] == role:
            server.grant(user, each["rules"])


def service_account_token(server: ApiServer, namespace: str, *, may_read: bool) -> str:
    """Return a token of a new ServiceAccount, which may read the metrics or may not."""
    name = "scraper" if may_read else "stranger"
    server.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
    if may_read:
        permit(server, f"system:serviceaccount:{namespace}:{name}", "captep-metrics-reader")
    asked = server.create(
        f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
        {"spec": {"expirationSeconds": 600}},
    )
    return str(asked["status"]["token"])


def get(port: int, context: ssl.SSLContext, token: str | None) -> tuple[int, str]:
    """Ask for the metrics; returns status and text."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_api_server_decides_who_reads_the_metrics(
    apiserver: ApiServer, namespace: str, tmp_path: Path
) -> None:
    """With the component's roles, a ServiceAccount's token opens /metrics where a role allows it.

    A token without permission gets 403, an invented or missing one 401, and plain HTTP nothing.
    """
    bind(apiserver, "base", "measured")
    permit(apiserver, "measured", "captep-metrics-auth")
    authority = trustme.CA()
    certify(authority, tmp_path)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    allowed = service_account_token(apiserver, namespace, may_read=True)
    refused = service_account_token(apiserver, namespace, may_read=False)
    options = ("--metrics-secure", "--metrics-cert-dir", str(tmp_path))
    with Captep(
        apiserver.kubeconfig("measured"), tmp_path, "--namespace", namespace, *options
    ) as process:
        process.wait_until_it_works()
        [port] = [
            int(found[1])
            for line in process.log()
            if (found := re.search(r"/metrics.* on port (\d+)", line["message"]))
        ]
        status, text = get(port, context, allowed)
        assert (status, "workqueue_depth{" in text) == (200, True)
        assert get(port, context, refused)[0] == 403
        assert get(port, context, "invented")[0] == 401
        assert get(port, context, None)[0] == 401
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        plain.request("GET", "/metrics", headers={"Authorization": f"Bearer {allowed}"})
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()
        plain.close()
        log = "\n".join(str(line) for line in process.log())
    assert allowed not in log
    assert refused not in log
