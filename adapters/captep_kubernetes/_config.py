"""Where the server is and who asks: kubeconfig, context or the Pod's own ServiceAccount, with errors that say what to do."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml
from attrs import evolve, field, frozen
from kubernetes import client, config
from kubernetes.config import ConfigException

from captep_core.errors import GatewayError
from captep_kubernetes._transport import KubernetesTransport, Transport, UnansweredError

__all__ = ["check_connection", "load_transport"]

_CHECK_SECONDS = 10.0


def load_transport(
    kubeconfig: Path | None = None, context: str | None = None, *, connection_pool_maxsize: int = 32
) -> KubernetesTransport:
    """Return the way to the cluster that the options name.

    Looked at in this order: `kubeconfig`, the files in $KUBECONFIG, ~/.kube/config, the Pod's ServiceAccount. Nothing is sent yet.

    Args:
        kubeconfig: a file, None for the usual places.
        context: a context of the kubeconfig, None for its current one.
        connection_pool_maxsize: see `KubernetesTransport`.

    Raises:
        GatewayError: there is no usable configuration; one line that says what to do.
    """
    configuration = client.Configuration()
    files = _files(kubeconfig)
    if not files and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        _load_incluster(configuration)
    else:
        _load_kubeconfig(configuration, files, context)
    try:
        return KubernetesTransport(configuration, connection_pool_maxsize=connection_pool_maxsize)
    except (AssertionError, AttributeError, ImportError, ValueError):
        # All that urllib3 raises for a proxy that it cannot use; its text may hold the proxy's password.
        raise GatewayError(
            "the proxy cannot be used: expected an http:// address in the kubeconfig's proxy-url, or in $HTTPS_PROXY"
        ) from None


def check_connection(transport: Transport) -> None:
    """Ask the server for its version once.

    Raises:
        GatewayError: nobody answers, or the credentials are refused; one line that says what to do.
    """
    try:
        answer = transport.request("GET", "/version", timeout=_CHECK_SECONDS)
    except UnansweredError as error:
        raise GatewayError(
            f"the API server does not answer: {error}: check that it runs and that the kubeconfig names it"
        ) from error
    if answer.status == 401:
        raise GatewayError(
            "the API server refuses the credentials (401): they are expired or wrong; log in again or choose another --context"
        )
    if answer.status != 200 and answer.status != 403:
        raise GatewayError(
            f"what answers at this address is no healthy API server: GET /version: HTTP {answer.status}"
        )


def _files(kubeconfig: Path | None) -> list[Path]:
    if kubeconfig is not None:
        if not kubeconfig.is_file():
            raise GatewayError(f"{kubeconfig}: no such file: --kubeconfig wants a kubeconfig")
        return [kubeconfig]
    named = [
        Path(part).expanduser()
        for part in os.environ.get("KUBECONFIG", "").split(os.pathsep)
        if part
    ]
    return [file for file in named or [Path("~/.kube/config").expanduser()] if file.is_file()]


def _load_incluster(configuration: client.Configuration) -> None:
    try:
        config.load_incluster_config(client_configuration=configuration)
    except (ConfigException, OSError) as error:
        problem = str(error).rstrip(".")
        raise GatewayError(
            f"in a Pod, but without a usable ServiceAccount ({problem}): set automountServiceAccountToken or give --kubeconfig"
        ) from error


def _load_kubeconfig(
    configuration: client.Configuration, files: list[Path], context: str | None
) -> None:
    if not files:
        raise GatewayError(
            "no cluster: give --kubeconfig FILE, set KUBECONFIG, or run inside a Pod"
        )
    names = os.pathsep.join(map(str, files))
    merged = _merged(files)
    # Of several current contexts the loader would take the last one; kubectl takes the first.
    wanted = context or merged.current
    chosen = _user_of(names, merged, wanted)
    _check_plugin(names, chosen)
    try:
        config.load_kube_config(
            config_file=names,
            context=wanted,
            client_configuration=configuration,
            persist_config=False,
        )
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        # The loader trusts the shape of the file, so a wrong one shows as any of these; their text may hold a token, so it is not kept.
        raise GatewayError(f"{names}: not a usable kubeconfig: {_problem(error)}") from None
    if (
        isinstance(chosen.get("exec"), dict)
        and not configuration.api_key
        and not configuration.cert_file
    ):
        raise GatewayError(
            f"{names}: the credential plugin {_command(chosen)!r} gave no credentials: run it by hand to see why"
        )


@frozen
class _Merged:
    """What the loader reads of all files, the first one wins, to say precisely what is wrong with it."""

    contexts: dict[str, dict[str, object]] = field(factory=dict)
    users: dict[str, dict[str, object]] = field(factory=dict, repr=False)
    clusters: dict[str, dict[str, object]] = field(factory=dict)
    current: str = ""


def _merged(files: list[Path]) -> _Merged:
    merged = _Merged()
    for file in files:
        document = _document(file)
        merged = evolve(
            merged, current=merged.current or str(document.get("current-context") or "")
        )
        for section, known in (
            ("contexts", merged.contexts),
            ("users", merged.users),
            ("clusters", merged.clusters),
        ):
            for name, inner in _entries(document, section):
                known.setdefault(name, inner)
    return merged


def _entries(document: dict[str, object], section: str) -> Iterator[tuple[str, dict[str, object]]]:
    entries = document.get(section)
    for entry in entries if isinstance(entries, list) else ():
        inner = entry.get(section[:-1]) if isinstance(entry, dict) else None
        if isinstance(inner, dict):
            yield str(entry.get("name")), inner


def _document(file: Path) -> dict[str, object]:
    try:
        document = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
        raise GatewayError(
            f"{where}: not YAML: {getattr(error, 'problem', None) or 'not UTF-8 text'}"
        ) from None
    except OSError as error:
        raise GatewayError(f"{file}: cannot be read: {error.strerror}") from error
    if not isinstance(document, dict):
        raise GatewayError(
            f"{file}: not a kubeconfig: the whole file is {type(document).__name__}, expected a mapping"
        )
    return document


def _user_of(names: str, merged: _Merged, wanted: str) -> dict[str, object]:
    known = ", ".join(sorted(merged.contexts)) or "none"
    if not wanted:
        raise GatewayError(f"{names}: no current-context: give --context, one of {known}")
    if wanted not in merged.contexts:
        raise GatewayError(f"{names}: no context {wanted!r}: expected one of {known}")
    cluster = str(merged.contexts[wanted].get("cluster"))
    if cluster not in merged.clusters:
        raise GatewayError(
            f"{names}: context {wanted!r} names the cluster {cluster!r}, which the file does not have"
        )
    if not str(merged.clusters[cluster].get("server", "")).startswith(("https://", "http://")):
        # The client would fall back to localhost without a word.
        raise GatewayError(
            f"{names}: the cluster {cluster!r} has no server: expected an https:// address"
        )
    return merged.users.get(str(merged.contexts[wanted].get("user")), {})


def _check_plugin(names: str, user: dict[str, object]) -> None:
    """The loader only logs a plugin that cannot be run, and goes on without credentials."""
    command = _command(user)
    if command and os.sep not in command and shutil.which(command) is None:
        raise GatewayError(
            f"{names}: the credential plugin {command!r} is not on PATH: install it or choose another --context"
        )


def _command(user: dict[str, object]) -> str:
    plugin = user.get("exec")
    return str(plugin.get("command") or "") if isinstance(plugin, dict) else ""


def _problem(error: Exception) -> str:
    """What the loader found; it quotes whole entries after " in ", tokens and all, so only what comes before is repeated."""
    return (
        str(error).partition(" in ")[0]
        if isinstance(error, ConfigException)
        else type(error).__name__
    )
