"""Facts that follow from an observation, derived once per pass."""

from collections.abc import Mapping

from attrs import frozen

from captep_core._actions import JSON
from captep_core._objects import Owner, controller_of, is_controlled_by, is_foreign
from captep_core._observation import ABSENT, NotKept, Observed, Unreadable
from captep_core.capt._credentials import Authority
from captep_core.capt._model import (
    CAPTControlPlane,
    Cluster,
    Secret,
    WorkspaceTemplate,
    WorkspaceTemplateApply,
)
from captep_core.capt._names import (
    CLUSTER_NAME_LABEL,
    CONTROL_PLANE_API,
    CONTROL_PLANE_KIND,
    REGION_ANNOTATION,
    SECRET_TYPE,
    Names,
)
from captep_core.capt._observed import AppliedTemplate, ControlPlane, Secrets
from captep_core.capt._outputs import Endpoint, Missing, Output, Present, parse_endpoint, public_url
from captep_core.capt._ownership import ClusterOfAnother, ForeignController, owner_of
from captep_core.capt._provider import certificate, is_ready, kubeconfig, outputs

__all__ = ["Facts", "facts_of"]


@frozen
class Facts:
    """One observation and its meaning.

    - `uid` and `namespace` are those of the control plane, and `as_owner` is the control plane as
      the controller of its dependents. `not_kept` are the fields that the server does not keep.
    - `initialized`: it has been Ready before.
    - `main_is_foreign`: another controller has the main apply, or its name is that of another apply
      of ours.
    - `publishes`: endpoint and Secrets are kept up to date, because the main apply is ours, and its
      Workspace is Ready or the control plane has been.
    - `secrets_ready`: both Secrets are there and agree with a valid source; while one of the four
      Secrets is unreadable, the value that was reported last.
    - `spot_role_is_missing`: the check has found that the AWS account has no role for spot
      instances.
    """

    observed: ControlPlane
    control_plane: CAPTControlPlane
    secrets: Secrets
    endpoint: Endpoint
    names: Names
    not_kept: tuple[NotKept, ...]
    owner: Observed[Cluster] | ForeignController | ClusterOfAnother
    uid: str
    namespace: str
    as_owner: Owner
    initialized: bool
    main_is_foreign: bool
    main_ready: bool
    publishes: bool
    certificate: Output[Authority]
    kubeconfig: Output[bytes]
    secrets_ready: bool
    spot_role_is_missing: bool

    def has_wrong_type(self, kubeconfig: Secret) -> bool:
        """Whether the kubeconfig Secret is ours and has another type than Cluster API reads."""
        return kubeconfig.type != SECRET_TYPE and is_controlled_by(kubeconfig.metadata, self.uid)

    def type_is_replaceable(self, kubeconfig: Secret) -> bool:
        """Whether deleting the Secret and creating it again can correct its type.

        A policy that sets the type undoes that each time, so one deletion per process is enough,
        and none where the answer to the creation showed another type.
        """
        if not self.has_wrong_type(kubeconfig):
            return False
        target = self.names.kubeconfig
        is_altered = any(each.target == target and each.path == ("type",) for each in self.not_kept)
        return not is_altered and target not in self.observed.state.deleted

    @property
    def region(self) -> str:
        """The AWS region from the spec, else from the Cluster's annotation; "" when neither gives
        one.
        """
        config = self.control_plane.spec.control_plane_config
        if config and config.region:
            return config.region
        if isinstance(self.owner, Cluster):
            return self.owner.metadata.annotations.get(REGION_ANNOTATION, "")
        return ""

    @property
    def secret_labels(self) -> Mapping[str, str]:
        """The labels that our Secrets carry: Cluster API caches only Secrets with this label."""
        return {CLUSTER_NAME_LABEL: self.names.cluster.name}

    @property
    def unwritten_secret(self) -> tuple[str, str] | None:
        """The Secret that the template reads of the VPC, and the one that the VPC's apply writes.

        None unless they differ and the main apply is still to be created: Terraform would wait for
        the first one for ever. Upstream's template derives its name from ours.
        """
        vpc = self.observed.vpc
        if self.observed.main.apply is not ABSENT:
            return None
        if not isinstance(vpc, WorkspaceTemplateApply) or not _reads_vpc(self.observed.template):
            return None
        written = vpc.spec.write_connection_secret_to_ref
        wanted = f"{self.observed.key.name}-vpc-vpc-connection"
        if written is None or written.name == wanted:
            return None
        return wanted, written.name

    @property
    def raw_endpoint(self) -> str:
        """The endpoint as the provider wrote it: the kubeconfig template wants it with its scheme.

        It is the text in the connection Secret where that agrees with the published endpoint, else
        the output.
        """
        connection = self.secrets.connection
        held = connection.data if isinstance(connection, Secret) else {}
        written = held.get("cluster_endpoint", b"").decode(errors="replace")
        output = outputs(self.observed.main).get("cluster_endpoint")
        if isinstance(output, str) and output != written:
            is_published = parse_endpoint(written) == self.endpoint
            written = written if is_published else output
        return public_url(written)


def facts_of(
    observed: ControlPlane, control_plane: CAPTControlPlane, secrets: Secrets, endpoint: Endpoint
) -> Facts:
    """Derive the facts of an observation."""
    uid = control_plane.metadata.uid
    status = control_plane.status
    main_ready = is_ready(observed.main)
    main_is_foreign = observed.names.is_ambiguous or _is_foreign(observed.main, uid)
    main_is_ours = not main_is_foreign and not _is_orphan(observed.main)
    initialized = bool(status.initialized)
    ca = certificate(secrets)
    token = _kubeconfig(observed.kubeconfig, secrets, uid)
    return Facts(
        observed=observed,
        control_plane=control_plane,
        secrets=secrets,
        endpoint=endpoint,
        names=observed.names,
        not_kept=observed.state.not_kept,
        owner=owner_of(observed.cluster, control_plane),
        uid=uid,
        namespace=observed.key.namespace or "",
        as_owner=Owner(CONTROL_PLANE_API, CONTROL_PLANE_KIND, control_plane.metadata),
        initialized=initialized,
        main_is_foreign=main_is_foreign,
        main_ready=main_ready,
        publishes=(main_ready or initialized) and main_is_ours,
        certificate=ca,
        kubeconfig=token,
        secrets_ready=_secrets_ready(secrets, ca, token, bool(status.secrets_ready)),
        spot_role_is_missing=_spot_role_is_missing(observed.spot_check),
    )


_VPC_SECRET = "${cluster_name}-vpc-vpc-connection"  # noqa: S105 - a name, not a password


def _reads_vpc(template: Observed[WorkspaceTemplate]) -> bool:
    """Whether a template reads the Secret of the VPC under the name that upstream gives it."""
    if not isinstance(template, WorkspaceTemplate):
        return False
    found: JSON = template.spec
    for name in ("template", "spec", "forProvider", "varFiles"):
        found = found.get(name) if isinstance(found, dict) else None
    files = found if isinstance(found, list) else []
    references = [each.get("secretKeyRef") for each in files if isinstance(each, dict)]
    return any(isinstance(each, dict) and each.get("name") == _VPC_SECRET for each in references)


def _spot_role_is_missing(check: AppliedTemplate) -> bool:
    shown = outputs(check)
    return bool(shown) and is_ready(check) and shown.get("role_exists") is not True


def _is_foreign(applied: AppliedTemplate, uid: str) -> bool:
    apply = applied.apply
    return isinstance(apply, WorkspaceTemplateApply) and is_foreign(apply.metadata, uid)


def _is_orphan(applied: AppliedTemplate) -> bool:
    """Whether an apply is still to be adopted: until then its Workspace may be anybody's."""
    apply = applied.apply
    return isinstance(apply, WorkspaceTemplateApply) and controller_of(apply.metadata) is None


def _kubeconfig(applied: AppliedTemplate, secrets: Secrets, uid: str) -> Output[bytes]:
    """The kubeconfig, Missing where another controller has the apply that makes it."""
    return Missing() if _is_foreign(applied, uid) else kubeconfig(secrets, applied)


def _secrets_ready(
    secrets: Secrets,
    ca: Output[Authority],
    token: Output[bytes],
    reported: bool,  # noqa: FBT001 - a value, not a choice
) -> bool:
    if _any_is_unreadable(secrets):
        return reported
    if not (isinstance(ca, Present) and isinstance(token, Present)):
        return False
    if not (isinstance(secrets.ca, Secret) and isinstance(secrets.kubeconfig, Secret)):
        return False
    authority = secrets.ca.data
    return (
        authority.get("tls.crt") == ca.value.pem
        and authority.get("ca.crt") == ca.value.pem
        and secrets.kubeconfig.data.get("value") == token.value
    )


def _any_is_unreadable(secrets: Secrets) -> bool:
    return (
        isinstance(secrets.connection, Unreadable)
        or isinstance(secrets.outputs, Unreadable)
        or isinstance(secrets.ca, Unreadable)
        or isinstance(secrets.kubeconfig, Unreadable)
    )
