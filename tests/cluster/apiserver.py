"""etcd and kube-apiserver on loopback, for tests that need a real API server."""

import base64
import http.client
import json
import os
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ADMIN", "ApiServer", "eventually"]

ADMIN = "admin"
_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0


def _audit_policy(level: str) -> dict[str, Any]:
    """Return a policy of one level; the contents of Secrets are never logged."""
    secrets_only = {"group": "", "resources": ["secrets"]}
    rules = [{"level": "Metadata", "resources": [secrets_only]}, {"level": level}]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": rules,
    }


def eventually(probe: Callable[[], object], *, what: str, within: float = 10.0) -> None:
    """Poll until `probe` returns something true; fail with `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while not probe():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.02)


class ApiServer:
    """One etcd and one kube-apiserver, with a token for `ADMIN` and for each of `users`.

    The users may do nothing until `grant`.

    Args:
        assets: the folder that holds the two binaries.
        folder: a folder of its own for data, certificates and logs.
        users: names of further users.
        audit_level: what the audit log has of each request.
    """

    def __init__(
        self,
        assets: Path,
        folder: Path,
        *,
        users: Iterable[str] = (),
        audit_level: str = "Metadata",
    ) -> None:
        self._assets = assets
        self._folder = folder
        self._audit_level = audit_level
        self._tokens = {name: secrets.token_hex(16) for name in (ADMIN, *users)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd_port, self._peer_port, self.port = _free_ports(3)

    @property
    def url(self) -> str:
        """Where kube-apiserver listens."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The certificate that signed the server's."""
        return self._folder / "certificates" / "apiserver.crt"

    def pid(self, name: str) -> int:
        """Return the process id of "etcd" or "kube-apiserver"."""
        return self._processes[name].pid

    def start(self) -> None:
        """Start both and wait until /readyz says ok.

        Raises:
            RuntimeError: one of them ended or was not ready in time; the message has the end of
                the logs.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_inputs()
        self._spawn("etcd", self._etcd_flags())
        self.start_apiserver()

    def stop(self) -> None:
        """Stop both."""
        for name in ("kube-apiserver", "etcd"):
            self._end(name, subprocess.Popen.terminate)

    def start_apiserver(self) -> None:
        """Start kube-apiserver, on the same port and etcd as before; return when it is ready."""
        self._spawn("kube-apiserver", self._apiserver_flags())
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            ended = [
                name for name, process in self._processes.items() if process.poll() is not None
            ]
            if ended or time.monotonic() > deadline:
                problem = (
                    f"{' and '.join(ended)} ended"
                    if ended
                    else f"kube-apiserver was not ready within {_READY_SECONDS:g} s"
                )
                logs = self.log_tail()
                self.stop()
                raise RuntimeError(f"{problem}\n{logs}")
            time.sleep(0.05)

    def kill_apiserver(self) -> None:
        """Stop kube-apiserver at once, as a crash does; etcd keeps what was written."""
        self._end("kube-apiserver", subprocess.Popen.kill)

    def log_tail(self, lines: int = 15) -> str:
        """Return the end of both logs."""
        parts = []
        for name in ("etcd", "kube-apiserver"):
            log = self._folder / f"{name}.log"
            text = log.read_text("utf-8", "replace") if log.exists() else ""
            parts.append("\n".join([f"--- end of {name}.log", *text.splitlines()[-lines:]]))
        return "\n".join(parts)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = ADMIN,
        content_type: str = "application/json",
    ) -> tuple[int, Any]:
        """Send one request as `user`, without the code under test.

        Returns the status and the JSON of the answer.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.credentials(user), "Content-Type": content_type}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20, context=self._trust()) as answer:
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, _parsed(refused.read())

    def connection(self) -> http.client.HTTPSConnection:
        """Return a connection for many requests, which does not use the code under test either."""
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=20, context=self._trust()
        )

    def credentials(self, user: str = ADMIN) -> dict[str, str]:
        """Return the headers that identify a user."""
        return {"Authorization": f"Bearer {self._tokens[user]}", "User-Agent": "captep-tests"}

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def create(self, path: str, body: object) -> dict[str, Any]:
        """Create an object as administrator; returns it as stored."""
        status, stored = self.call("POST", path, body)
        assert status == 201, (status, stored)
        return dict(stored)

    def merge(self, path: str, body: object) -> dict[str, Any]:
        """Merge-patch an object as administrator; returns it as stored."""
        status, stored = self.call("PATCH", path, body, content_type="application/merge-patch+json")
        assert status == 200, (status, stored)
        return dict(stored)

    def grant(self, user: str, rules: Sequence[Mapping[str, list[str]]]) -> None:
        """Grant `user` the `rules` of a ClusterRole, in every namespace."""
        name = f"{user}-{secrets.token_hex(4)}"
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        self.create(f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
        self.create(
            f"{rbac}/clusterrolebindings",
            {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]},
        )

    def install(self, definitions: Iterable[dict[str, Any]]) -> None:
        """Create CustomResourceDefinitions and wait until their kinds are served."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in definitions:
            self.create(path, definition)
            spec = definition["spec"]
            for version in (v["name"] for v in spec["versions"] if v["served"]):
                kind = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
                eventually(
                    lambda kind=kind: self.call("GET", kind)[0] == 200,  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                    what=f"{kind} is served",
                    within=30,
                )

    def kubeconfig(self, user: str = ADMIN, *, server: str | None = None) -> Path:
        """Write a kubeconfig for `user`; `server` replaces the address, for a proxy in between."""
        cluster = {"server": server or self.url, "certificate-authority": str(self.ca_file)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }
        path = self._folder / f"{user}-{secrets.token_hex(4)}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def audit(self) -> list[dict[str, Any]]:
        """Return the audit events so far, one for each request."""
        return self.audit_from(0)[0]

    def audit_from(self, position: int) -> tuple[list[dict[str, Any]], int]:
        """Return the audit events since `position`, and the next position; 0 is the beginning."""
        with (self._folder / "audit.log").open("rb") as log:
            log.seek(position)
            complete, newline, _ = log.read().rpartition(b"\n")
        events = [json.loads(line) for line in complete.splitlines()]
        return events, position + len(complete) + len(newline)

    def compact(self) -> None:
        """Compact all history of etcd.

        A server without older resourceVersions in its cache then no longer has them.
        """
        revision = json.loads(self._etcd("/v3/kv/range", {"key": base64.b64encode(b"x").decode()}))[
            "header"
        ]["revision"]
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})

    def _etcd(self, path: str, body: object) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._etcd_port}{path}", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            content: bytes = answer.read()
        return content

    def _is_ready(self) -> bool:
        if not self.ca_file.exists():
            return False
        try:
            return self.call("GET", "/readyz")[0] == 200
        except (OSError, ValueError):
            return False

    def _write_inputs(self) -> None:
        (self._folder / "service-account.pem").write_text(_ec_key())
        (self._folder / "audit-policy.json").write_text(
            json.dumps(_audit_policy(self._audit_level))
        )
        groups = {ADMIN: ',"system:masters"'}
        lines = [
            f"{token},{name},uid-{name}{groups.get(name, '')}\n"
            for name, token in self._tokens.items()
        ]
        (self._folder / "tokens.csv").write_text("".join(lines))

    def _etcd_flags(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        return [
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_flags(self) -> list[str]:
        key = self._folder / "service-account.pem"
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-account-issuer=https://127.0.0.1",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            f"--audit-policy-file={self._folder / 'audit-policy.json'}",
            f"--audit-log-path={self._folder / 'audit.log'}",
            "--watch-cache=true",
            # Room for the Services of thousands of sequences.
            "--service-cluster-ip-range=10.0.0.0/16",
        ]

    def _spawn(self, name: str, flags: list[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [self._assets / name, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_quiet_env(),
            )

    def _end(self, name: str, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        how(process)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _quiet_env() -> dict[str, str]:
    """Return the environment without proxies, because loopback must not go through one."""
    return {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _ec_key() -> str:
    """Return a new P-256 key in SEC 1 form (RFC 5915).

    RFC 5915 makes the public half optional, so this needs no library.
    """
    scalar = secrets.token_bytes(32)
    der = bytes.fromhex("30310201010420") + scalar + bytes.fromhex("a00a06082a8648ce3d030107")
    key = base64.b64encode(der).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{key}\n-----END EC PRIVATE KEY-----\n"


def _parsed(content: bytes) -> object:
    try:
        parsed: object = json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")
    return parsed
