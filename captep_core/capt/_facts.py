"""An observation with what follows from it, worked out once: the common ground of findings, writes and report."""

from collections.abc import Mapping

from attrs import frozen

from captep_core._actions import JSON
from captep_core._observation import Observed, Unreadable
from captep_core.capt._model import CAPTControlPlane, Cluster, Secret, WorkspaceTemplateApply
from captep_core.capt._names import CLUSTER_NAME_LABEL, REGION_ANNOTATION, Names, names_of
from captep_core.capt._observe import AppliedTemplate, ControlPlane, Secrets, cluster_reference
from captep_core.capt._outputs import Endpoint, Missing, Output, Present, parse_endpoint
from captep_core.capt._ownership import ForeignController, is_foreign, owner_of
from captep_core.capt._provider import certificate, is_ready, kubeconfig, outputs

__all__ = ["Facts", "facts_of"]


@frozen
class Facts:
    """What was observed and what it means.

    `uid` and `namespace` are those of the control plane, `initialized` says whether it has been Ready before.
    `main_is_foreign`: the main apply is somebody else's, or its name is that of another one of ours.
    `publishes`: whether endpoint and Secrets are to be kept up to date: the main Workspace is ours, and it is Ready or the control plane
    has been.
    `secrets_ready`: whether both Secrets are there and agree with a valid source; as it was reported while one of the four is unreadable.
    """

    observed: ControlPlane
    control_plane: CAPTControlPlane
    secrets: Secrets
    endpoint: Endpoint
    owner: Observed[Cluster] | ForeignController
    uid: str
    namespace: str
    cluster_name: str
    names: Names
    initialized: bool
    main_is_foreign: bool
    main_ready: bool
    publishes: bool
    certificate: Output[bytes]
    kubeconfig: Output[bytes]
    secrets_ready: bool

    @property
    def region(self) -> str:
        """The AWS region from the spec, else from the Cluster's annotation; "" when neither gives one."""
        config = self.control_plane.spec.control_plane_config
        if config and config.region:
            return config.region
        return (
            self.owner.metadata.annotations.get(REGION_ANNOTATION, "")
            if isinstance(self.owner, Cluster)
            else ""
        )

    @property
    def labels(self) -> Mapping[str, JSON]:
        """The labels that our Secrets carry (Cluster API's cache needs them)."""
        return {CLUSTER_NAME_LABEL: self.cluster_name}

    @property
    def raw_endpoint(self) -> str:
        """The endpoint as the provider wrote it (the kubeconfig template wants it with its scheme), from the Secret where that agrees."""
        connection, output = (
            self.secrets.connection,
            outputs(self.observed.main).get("cluster_endpoint"),
        )
        written = (
            connection.data.get("cluster_endpoint", b"").decode(errors="replace")
            if isinstance(connection, Secret)
            else ""
        )
        if written == output or not isinstance(output, str):
            return written
        return written if parse_endpoint(written) == self.endpoint else output

    @property
    def raw_certificate(self) -> str:
        """The certificate authority as the provider wrote it, in base64; "" unless it is a good one."""
        connection = self.secrets.connection
        if not (isinstance(connection, Secret) and isinstance(self.certificate, Present)):
            return ""
        return connection.data["cluster_certificate_authority_data"].decode()


def _secrets_ready(
    held: Secrets,
    ca: Output[bytes],
    token: Output[bytes],
    reported: bool | None,  # noqa: FBT001 - a value, not a choice
) -> bool:
    if Unreadable in map(type, (held.connection, held.outputs, held.ca, held.kubeconfig)):
        return bool(reported)
    return _agrees(held.ca, ca, "tls.crt", "ca.crt") and _agrees(held.kubeconfig, token, "value")


def _agrees(secret: Observed[Secret], source: Output[bytes], *keys: str) -> bool:
    return (
        isinstance(secret, Secret)
        and isinstance(source, Present)
        and dict.fromkeys(keys, source.value).items() <= secret.data.items()
    )


def _is_foreign(applied: AppliedTemplate, uid: str) -> bool:
    return isinstance(applied.apply, WorkspaceTemplateApply) and is_foreign(
        applied.apply.metadata, uid
    )


def facts_of(
    observed: ControlPlane, control_plane: CAPTControlPlane, secrets: Secrets, endpoint: Endpoint
) -> Facts:
    """Work out what an observation means."""
    main, reference = observed.main, cluster_reference(control_plane)
    main_ready = is_ready(main)
    cluster_name = reference.name if reference else observed.key.name
    names = names_of(
        observed.key.name, cluster_name, control_plane.spec.workspace_template_apply_name
    )
    uid = control_plane.metadata.uid
    main_is_foreign = names.is_ambiguous or _is_foreign(main, uid)
    ca, token = (
        certificate(secrets),
        Missing()
        if _is_foreign(observed.kubeconfig, uid)
        else kubeconfig(secrets, observed.kubeconfig),
    )
    return Facts(
        observed=observed,
        control_plane=control_plane,
        secrets=secrets,
        endpoint=endpoint,
        owner=owner_of(observed, control_plane),
        uid=uid,
        namespace=observed.key.namespace or "",
        initialized=bool(control_plane.status.initialized),
        cluster_name=cluster_name,
        names=names,
        main_is_foreign=main_is_foreign,
        main_ready=main_ready,
        publishes=(main_ready or bool(control_plane.status.initialized)) and not main_is_foreign,
        certificate=ca,
        kubeconfig=token,
        secrets_ready=_secrets_ready(secrets, ca, token, control_plane.status.secrets_ready),
    )
