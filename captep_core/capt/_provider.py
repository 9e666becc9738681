"""What Terraform and Crossplane report of a WorkspaceTemplateApply and its Workspace.

Rules of this module:

1. The Workspace's own conditions count when it has any. The apply mirrors them, but the mirror
   freezes at Ready.
2. A failure shows as Synced=False, with Ready as it was (provider-terraform), or as Ready=False
   with a message.
3. A source Secret without its key is missing while Crossplane still works on it, and invalid after
   that.
"""

from collections.abc import Mapping
from typing import assert_never

from captep_core._actions import JSON
from captep_core._objects import Condition, find_condition
from captep_core._observation import ABSENT, Absent, Unreadable
from captep_core._redact import redacted
from captep_core.capt._credentials import Authority, parse_authority, parse_kubeconfig
from captep_core.capt._model import Secret, Workspace, WorkspaceTemplateApply
from captep_core.capt._observed import AppliedTemplate, ForeignSecret, ObservedSecret, Secrets
from captep_core.capt._outputs import Invalid, Missing, Output, Present

__all__ = [
    "certificate",
    "conditions",
    "failure",
    "is_lost",
    "is_ready",
    "kubeconfig",
    "outputs",
]


def conditions(applied: AppliedTemplate) -> tuple[Condition, ...]:
    """Return the conditions of the Workspace, else those that its apply mirrors."""
    if isinstance(applied.workspace, Workspace) and applied.workspace.status.conditions:
        return applied.workspace.status.conditions
    if isinstance(applied.apply, WorkspaceTemplateApply):
        return applied.apply.status.conditions
    return ()


def is_ready(applied: AppliedTemplate) -> bool:
    """Whether the Workspace exists and is Ready."""
    return isinstance(applied.workspace, Workspace) and _was_ready(applied)


def is_lost(applied: AppliedTemplate) -> bool:
    """Whether the apply names a Workspace that does not exist."""
    return bool(applied.workspace_name) and applied.workspace is ABSENT


def failure(applied: AppliedTemplate) -> str:
    """Return the provider's message of a failure without credentials, "" when it reports none."""
    message = _message(applied)
    return redacted(message) if message else ""


def _message(applied: AppliedTemplate) -> str:
    entries = conditions(applied)
    synced = find_condition(entries, "Synced")
    if synced is not None and synced.status == "False":
        return synced.message or synced.reason or "the Workspace is not synced"
    ready = find_condition(entries, "Ready")
    if ready is not None and ready.status == "False":
        return ready.message
    return ""


def outputs(applied: AppliedTemplate) -> Mapping[str, JSON]:
    """Return the non-sensitive outputs of the Workspace, empty when it shows none."""
    workspace = applied.workspace
    if isinstance(workspace, Workspace) and workspace.status.at_provider:
        return workspace.status.at_provider.outputs
    return {}


def certificate(secrets: Secrets) -> Output[Authority]:
    """Return the certificate authority as PEM, from the connection Secret."""
    held = _key(secrets.connection, "cluster_certificate_authority_data")
    if not isinstance(held, bytes):
        return held
    found = parse_authority(held)
    match found:
        case Present():
            return found
        case Missing():
            has_data = isinstance(secrets.connection, Secret) and secrets.connection.data
            problem = "cluster_certificate_authority_data not found in secret"
            return Invalid(problem if has_data else "secret or secret data is nil")
        case Invalid():
            return Invalid("cluster_certificate_authority_data is not a PEM certificate")
        case _:
            assert_never(found)


def kubeconfig(secrets: Secrets, applied: AppliedTemplate) -> Output[bytes]:
    """Return the kubeconfig from the outputs Secret of the kubeconfig Workspace."""
    held = _key(secrets.outputs, "kubeconfig")
    if not isinstance(held, bytes):
        return held
    found = parse_kubeconfig(held)
    if isinstance(found, Missing) and _was_ready(applied):
        return Invalid("kubeconfig not found in secret")
    return found


def _was_ready(applied: AppliedTemplate) -> bool:
    """Whether a Workspace is Ready, or was Ready when its apply mirrored it last."""
    ready = find_condition(conditions(applied), "Ready")
    return ready is not None and ready.status == "True"


def _key(secret: ObservedSecret, key: str) -> bytes | Missing | Invalid | Unreadable:
    """Return the bytes under a key: empty without the key, Missing without the Secret."""
    match secret:
        case Secret(data=data):
            return data.get(key, b"")
        case Unreadable():
            return secret
        case ForeignSecret(ref=ref):
            return Invalid(f"{ref} is of another namespace, and it is not read")
        case Absent():
            return Missing()
        case _:
            assert_never(secret)
