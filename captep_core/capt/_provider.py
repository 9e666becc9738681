"""What Terraform and Crossplane say of a WorkspaceTemplateApply and its Workspace.

Rules of this module:

1. The Workspace's own conditions are the truth when it has any; the apply's mirror of them, which freezes at Ready, otherwise.
2. A failure shows as Synced=False, with Ready as it was (provider-terraform), or as Ready=False with a message.
3. A source Secret without its key is not there yet while Crossplane still works on it, and damaged after that.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from captep_core._actions import JSON
from captep_core._observation import Absent, Observed, Unreadable
from captep_core.capt._model import Condition, Secret, Workspace, WorkspaceTemplateApply
from captep_core.capt._observe import AppliedTemplate, Secrets
from captep_core.capt._outputs import Invalid, Missing, Output, Present, parse_certificate

__all__ = [
    "certificate",
    "condition",
    "conditions",
    "failure",
    "is_lost",
    "is_ready",
    "kubeconfig",
    "outputs",
]


def condition(entries: Iterable[Condition], kind: str) -> Condition | None:
    """Find the condition of a type."""
    for entry in entries:
        if entry.type == kind:
            return entry
    return None


def conditions(applied: AppliedTemplate) -> tuple[Condition, ...]:
    """The conditions that count."""
    if isinstance(applied.workspace, Workspace) and applied.workspace.status.conditions:
        return applied.workspace.status.conditions
    return (
        applied.apply.status.conditions if isinstance(applied.apply, WorkspaceTemplateApply) else ()
    )


def is_ready(applied: AppliedTemplate) -> bool:
    """Whether the Workspace is there and Ready."""
    return isinstance(applied.workspace, Workspace) and _was_ready(applied)


def is_lost(applied: AppliedTemplate) -> bool:
    """Whether the apply names a Workspace that is not there."""
    return bool(applied.workspace_name) and isinstance(applied.workspace, Absent)


def failure(applied: AppliedTemplate) -> str:
    """What the provider says is wrong, "" when it says nothing of the kind."""
    entries = conditions(applied)
    synced, ready = condition(entries, "Synced"), condition(entries, "Ready")
    if synced and synced.status == "False":
        return synced.message or synced.reason or "the Workspace is not synced"
    return ready.message if ready and ready.status == "False" else ""


def outputs(applied: AppliedTemplate) -> Mapping[str, JSON]:
    """The non-sensitive outputs of the Workspace, empty when it shows none."""
    workspace = applied.workspace
    return (
        workspace.status.at_provider.outputs
        if isinstance(workspace, Workspace) and workspace.status.at_provider
        else {}
    )


def certificate(secrets: Secrets) -> Output[bytes]:
    """The certificate authority, as PEM, from the connection Secret of the main Workspace."""
    held = _key(secrets.connection, "cluster_certificate_authority_data")
    if not isinstance(held, Present):
        return held
    found = parse_certificate(held.value)
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
    """The kubeconfig from the outputs Secret of the kubeconfig Workspace."""
    held = _key(secrets.outputs, "kubeconfig")
    if isinstance(held, Present) and not held.value.strip():
        return Invalid("kubeconfig not found in secret") if _was_ready(applied) else Missing()
    return held


def _was_ready(applied: AppliedTemplate) -> bool:
    """Whether a Workspace is Ready, or was when its apply looked last."""
    ready = condition(conditions(applied), "Ready")
    return ready is not None and ready.status == "True"


def _key(secret: Observed[Secret], key: str) -> Present[bytes] | Missing | Unreadable:
    """What a Secret holds under a key, empty when the key is missing; Missing when the Secret is."""
    match secret:
        case Secret(data=data):
            return Present(data.get(key, b""))
        case Unreadable():
            return secret
        case _:
            return Missing()
