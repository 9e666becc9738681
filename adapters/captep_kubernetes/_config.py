"""Where the server is and who asks: kubeconfig, context or the Pod's own ServiceAccount.

Every error is one line that names the file and the field and says what to do.
"""

import logging
import os
from pathlib import Path
from typing import Final

import urllib3
from kubernetes import client
from kubernetes.config import incluster_config

from captep_core.errors import GatewayError
from captep_kubernetes._credentials import UserCredentials, impersonation_headers
from captep_kubernetes._kubeconfig import read_settings
from captep_kubernetes._proxy import proxy_for
from captep_kubernetes._settings import ClusterEntry, Material, Settings, UserEntry
from captep_kubernetes._transport import (
    FIELD_MANAGER,
    KubernetesTransport,
    Transport,
    UnansweredError,
)

__all__ = ["check_connection", "load_transport"]

_log = logging.getLogger("captep.kubernetes")
# A healthy server answers /version at once; a command that checks it must not seem to hang.
_CHECK_SECONDS: Final = 10.0


def load_transport(
    kubeconfig: Path | None = None,
    context: str | None = None,
    *,
    connection_pool_maxsize: int = 32,
    field_manager: str = FIELD_MANAGER,
    user_agent: str | None = None,
) -> KubernetesTransport:
    """Return the way to the cluster that the options name.

    The first of these counts: `kubeconfig`, the files in $KUBECONFIG, ~/.kube/config, the Pod's
    ServiceAccount. Nothing is sent yet; a credential plugin runs once.

    Args:
        kubeconfig: a file, None for the usual places.
        context: a context of the kubeconfig, None for its current one.
        connection_pool_maxsize, field_manager, user_agent: see `KubernetesTransport`.

    Raises:
        GatewayError: there is no usable configuration; one line that says what to do.
    """
    files = _files(kubeconfig)
    if not files and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        settings = _incluster()
    else:
        settings = _of_files(files, context)
    credentials = UserCredentials(settings)
    credentials.current()
    headers = impersonation_headers(settings.user.impersonation)
    configuration = _configuration(settings.cluster)
    if configuration.proxy and settings.cluster.server.startswith("http:") and len(headers) > 1:
        # urllib3 joins repeated headers there: two groups would become one of another name.
        raise GatewayError(f"{settings.user.where}.as-groups: not possible over a proxy to http://")
    return KubernetesTransport(
        configuration,
        credentials,
        headers=headers,
        connection_pool_maxsize=connection_pool_maxsize,
        field_manager=field_manager,
        user_agent=user_agent,
    )


def check_connection(transport: Transport) -> None:
    """Ask the server for its version once.

    Raises:
        GatewayError: nobody answers, the credentials are refused, or what answers is no API server;
            one line that says what to do.
    """
    try:
        answer = transport.request("GET", "/version", timeout=_CHECK_SECONDS)
    except UnansweredError as error:
        raise GatewayError(
            f"the API server does not answer: {error}: "
            "check that it runs and that the kubeconfig names it"
        ) from error
    if answer.status == 401:
        raise GatewayError(
            "the API server refuses the credentials (401): they are expired or wrong; "
            "log in again or choose another --context"
        )
    if answer.status not in (200, 403):
        raise GatewayError(
            "what answers at this address is no healthy API server: "
            f"GET /version: HTTP {answer.status}"
        )
    # A sign-in page answers every path with 200 or 403 and HTML.
    is_foreign = answer.status == 200 and answer.body and "gitVersion" not in answer.body
    if answer.body is None or is_foreign:
        raise GatewayError(
            "what answers at this address is no API server: "
            f"GET /version: HTTP {answer.status}, expected JSON with gitVersion: "
            "check the server's address in the kubeconfig, and that no proxy asks to sign in"
        )


def _configuration(cluster: ClusterEntry) -> client.Configuration:
    configuration = client.Configuration(host=cluster.server)
    configuration.verify_ssl = cluster.is_verified
    configuration.tls_server_name = cluster.tls_server_name or None
    proxy = proxy_for(cluster.server, cluster.proxy_url, f"{cluster.where}.proxy-url", os.environ)
    configuration.proxy = proxy.url if proxy else None
    configuration.proxy_headers = dict(proxy.headers) if proxy else None
    # The decision is made: the client must not look at NO_PROXY again.
    configuration.no_proxy = None
    if not cluster.is_verified and cluster.server.startswith("https:"):
        # One line, in place of a warning at each request.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        _log.warning(
            "the server's certificate is not verified: %s.insecure-skip-tls-verify", cluster.where
        )
    return configuration


def _files(kubeconfig: Path | None) -> list[Path]:
    if kubeconfig is not None:
        if not _is_there(kubeconfig):
            raise GatewayError(f"{kubeconfig}: no such file: --kubeconfig wants a kubeconfig")
        return [kubeconfig]
    listed = os.environ.get("KUBECONFIG", "")
    named = [Path(os.path.expanduser(part)) for part in listed.split(os.pathsep) if part]
    # kubectl passes over missing files too, but goes on with no cluster when all are missing.
    there = [file for file in named if _is_there(file)]
    if named and not there:
        raise GatewayError(
            f"{':'.join(map(str, named))}: no such file: $KUBECONFIG wants a kubeconfig"
        )
    # Unlike Path.expanduser, this keeps ~ where the process has no home.
    default = Path(os.path.expanduser("~/.kube/config"))
    return there or ([default] if _is_there(default) else [])


def _is_there(file: Path) -> bool:
    """Say whether `file` can be read; a pipe can, as of `--kubeconfig <(kind get kubeconfig)`."""
    return file.exists() and not file.is_dir()


def _of_files(files: list[Path], context: str | None) -> Settings:
    if not files:
        raise GatewayError(
            "no cluster: give --kubeconfig FILE, set KUBECONFIG, or run inside a Pod"
        )
    return read_settings(files, context)


def _incluster() -> Settings:
    """Return what a Pod has: an address in its environment, a token and authorities in files."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "")
    token = Path(incluster_config.SERVICE_TOKEN_FILENAME)
    authority = Path(incluster_config.SERVICE_CERT_FILENAME)
    missing = [str(file) for file in (token, authority) if not file.is_file()]
    missing += [] if host and port else ["KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"]
    if missing:
        raise GatewayError(
            f"in a Pod, but without a usable ServiceAccount (no {', no '.join(missing)}): "
            "set automountServiceAccountToken or give --kubeconfig"
        )
    where = "the Pod's ServiceAccount"
    address = f"[{host}]" if ":" in host else host
    cluster = ClusterEntry(
        where,
        where,
        f"https://{address}:{port}",
        "",
        is_verified=True,
        authority=Material(f"{where}: ca.crt", authority),
        proxy_url="",
    )
    return Settings(cluster, UserEntry(where, token_file=token))
