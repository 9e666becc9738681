"""Durations and Terraform outputs, each a function of a seed and a name."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import field, frozen

from captep_core import JSON

__all__ = ["QUICK_PACE", "REAL_PACE", "Pace", "TerraformOutput", "outputs"]


@frozen
class Pace:
    """How fast the neighbours are, in seconds: each a range from which a name draws its own value.

    `apply` and `destroy`: Terraform at work. `look`: a `terraform plan`. `poll`: from one look to
    the next. `retry`: after a failure. `mirror` and `wait`: how often a WorkspaceTemplateApply
    looks at its Workspace, and at those that it waits for. The defaults are those of the real
    controllers.
    """

    seed: int = 0
    apply: tuple[float, float] = (120.0, 240.0)
    small_apply: tuple[float, float] = (15.0, 30.0)
    destroy: tuple[float, float] = (150.0, 300.0)
    look: tuple[float, float] = (4.0, 9.0)
    poll: tuple[float, float] = (540.0, 660.0)
    retry: tuple[float, float] = (1.0, 60.0)
    mirror: float = 10.0
    wait: float = 30.0

    def draw(self, between: tuple[float, float], *names: str) -> timedelta:
        """Return a time in the range, the same for the same names."""
        low, high = between
        return timedelta(seconds=round(low + (high - low) * _fraction(self.seed, *names), 1))

    def backoff(self, tries: int) -> timedelta:
        """Return the wait after so many failures in a row; it doubles each time."""
        low, high = self.retry
        return timedelta(seconds=min(high, low * (1 << min(tries, 30))))


REAL_PACE: Final = Pace()
QUICK_PACE: Final = Pace(
    apply=(2.0, 3.0),
    small_apply=(0.5, 1.0),
    destroy=(1.5, 2.5),
    look=(0.3, 0.6),
    poll=(5.0, 6.0),
    retry=(0.2, 1.0),
    mirror=0.5,
    wait=0.5,
)
"""About a hundred times faster, for a real API server, whose clock nobody can move."""


def _digest(seed: int, *names: str) -> bytes:
    return hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()


def _fraction(seed: int, *names: str) -> float:
    return int.from_bytes(_digest(seed, *names)[:4], "big") / 2**32


_OUTPUT = re.compile(r'^\s*output\s+"([A-Za-z0-9_-]+)"\s*\{(.*?)^\s*\}', re.MULTILINE | re.DOTALL)
_SENSITIVE = re.compile(r"^\s*sensitive\s*=\s*true", re.MULTILINE)


@frozen
class TerraformOutput:
    """One output of a Terraform module; it may be a credential."""

    name: str
    value: JSON = field(repr=False)
    sensitive: bool


def outputs(
    module: str, variables: Mapping[str, str], *, name: str, seed: int, now: datetime
) -> tuple[TerraformOutput, ...]:
    """Return the outputs that the text of a module declares, with values like the real ones.

    A kubeconfig holds a token that is new each time, as from `aws eks get-token`.
    """
    found = [(match[1], bool(_SENSITIVE.search(match[2]))) for match in _OUTPUT.finditer(module)]
    return tuple(
        TerraformOutput(output, _value(output, variables, name, seed, now), sensitive)
        for output, sensitive in found
    )


def _value(output: str, variables: Mapping[str, str], name: str, seed: int, now: datetime) -> JSON:
    cluster = variables.get("cluster_name", name)
    region = variables.get("region") or "ap-northeast-1"
    match output:
        case "cluster_endpoint":
            return _endpoint(cluster, region, seed)
        case "cluster_certificate_authority_data":
            return base64.b64encode(_certificate(cluster, seed).encode()).decode()
        case "kubeconfig":
            return _kubeconfig(cluster, region, variables, seed, now)
        case "role_exists":
            return True
        case _:
            return f"{output}-{_digest(seed, name, output).hex()[:12]}"


def _endpoint(cluster: str, region: str, seed: int) -> str:
    # EKS writes the hexadecimal part of the host in upper case.
    name = _digest(seed, cluster, "endpoint").hex()[:32].upper()
    return f"https://{name}.gr7.{region}.eks.amazonaws.com"


def _certificate(cluster: str, seed: int) -> str:
    body = base64.b64encode(
        b"".join(_digest(seed, cluster, "certificate", str(part)) for part in range(12))
    ).decode()
    lines = (body[start : start + 64] for start in range(0, len(body), 64))
    return (
        "-----BEGIN CERTIFICATE-----\n"
        + "".join(f"{line}\n" for line in lines)
        + "-----END CERTIFICATE-----\n"
    )


def _kubeconfig(
    cluster: str, region: str, variables: Mapping[str, str], seed: int, now: datetime
) -> str:
    token = "k8s-aws-v1." + base64.urlsafe_b64encode(
        _digest(seed, cluster, "token", now.isoformat())
    ).decode().rstrip("=")
    context = f"{cluster}.{region}.eksctl.io"
    authority = (
        variables.get("cluster_certificate_authority_data")
        or base64.b64encode(_certificate(cluster, seed).encode()).decode()
    )
    server = variables.get("cluster_endpoint") or _endpoint(cluster, region, seed)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {"server": server, "certificate-authority-data": authority},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
        "users": [{"name": context, "user": {"token": token}}],
    }
    # JSON is YAML, and the same bytes each time.
    return json.dumps(config, indent=1)
