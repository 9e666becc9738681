"""Credential plugins (KEP-541): run the command, read the ExecCredential that it prints.

A plugin's standard error is never repeated: some print the token there. Its standard input is
closed: a plugin that asks a person fails instead of waiting for one.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from attrs import field, frozen

from captep_core._objects import instant
from captep_core.errors import GatewayError
from captep_kubernetes._settings import ClusterEntry, Plugin, is_token, is_unicode

__all__ = ["PluginCredentials", "run_plugin"]

# A plugin that opens a browser or waits for a network must not keep all requests waiting for ever.
_PLUGIN_SECONDS: Final = 60.0


@frozen
class PluginCredentials:
    """The credentials that a plugin printed; `expires` is None when it did not say."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    expires: datetime | None = None


def run_plugin(plugin: Plugin, cluster: ClusterEntry) -> PluginCredentials:
    """Run `plugin` once.

    Raises:
        GatewayError: it gave no usable credentials; one line without a word of the plugin's.
    """
    file = plugin.where.rpartition(": ")[0]
    name = os.path.basename(plugin.command)
    if shutil.which(plugin.command) is None:
        problem = "is not on PATH" if "/" not in plugin.command else "is not there"
        raise GatewayError(
            f"{file}: the credential plugin {name!r} {problem}: "
            "install it or choose another --context"
        )
    failed = GatewayError(
        f"{file}: the credential plugin {name!r} gave no credentials: run it by hand to see why"
    )
    environment = {**os.environ, **dict(plugin.env)}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(_request(plugin, cluster))
    try:
        done = subprocess.run(  # noqa: S603 - the kubeconfig names the command
            [plugin.command, *plugin.args],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PLUGIN_SECONDS,
            check=True,
        )
        printed = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise GatewayError(
            f"{file}: the credential plugin {name!r} did not end within {_PLUGIN_SECONDS:.0f} s"
        ) from None
    except (subprocess.SubprocessError, OSError, ValueError, RecursionError):
        raise failed from None
    return _credentials(printed, plugin, name, file, failed)


def _credentials(
    printed: object, plugin: Plugin, name: str, file: str, failed: GatewayError
) -> PluginCredentials:
    if not isinstance(printed, dict) or printed.get("kind") != "ExecCredential":
        raise failed
    if printed.get("apiVersion") != plugin.api_version:
        raise GatewayError(
            f"{file}: the credential plugin {name!r} answers with another apiVersion than "
            f"{plugin.api_version}: correct apiVersion in the kubeconfig"
        )
    status = printed.get("status")
    if not isinstance(status, dict):
        raise failed
    texts = {
        key: status.get(key) or ""
        for key in ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
    }
    if not all(isinstance(text, str) and is_unicode(text) for text in texts.values()):
        raise failed
    expires = instant(texts["expirationTimestamp"])
    token = texts["token"].strip()
    if token and not is_token(token):
        raise failed
    credentials = PluginCredentials(
        token,
        texts["clientCertificateData"].encode(),
        texts["clientKeyData"].encode(),
        expires,
    )
    is_timeless = bool(texts["expirationTimestamp"]) and expires is None
    is_half = bool(credentials.certificate) is not bool(credentials.key)
    if is_timeless or is_half or not (credentials.token or credentials.certificate):
        raise failed
    return credentials


def _request(plugin: Plugin, cluster: ClusterEntry) -> Mapping[str, object]:
    spec: dict[str, object] = {"interactive": False}
    if plugin.provides_cluster_info:
        spec["cluster"] = _cluster_info(cluster)
    return {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}


def _cluster_info(cluster: ClusterEntry) -> Mapping[str, object]:
    authority = cluster.authority.read() if cluster.authority else b""
    info: dict[str, object] = {
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": not cluster.is_verified,
        "certificate-authority-data": base64.b64encode(authority).decode(),
        "proxy-url": cluster.proxy_url,
        "config": cluster.plugin_config,
    }
    return {name: value for name, value in info.items() if value}
