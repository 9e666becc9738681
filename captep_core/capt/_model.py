"""The objects around a control plane, restricted to the fields that the loop reads: frozen,
validated, without behaviour.

Rules of this module:

1. One class per kind, named as in Kubernetes. Fields that are not modelled are never touched: we
   send patches of owned fields only, and list entries that go back carry all that they came with
   (`wire`).
2. Absent and null are the same: the default.
3. No repr shows a value that comes from a Secret.
"""

from collections.abc import Mapping

from attrs import Factory, field, frozen

from captep_core._actions import JSON
from captep_core._objects import Condition, ObjectMeta
from captep_core._typed_json import exact_json
from captep_core.capt._names import CLUSTER_API, NEWER_CLUSTER_API

__all__ = [
    "CAPTControlPlane",
    "CAPTControlPlaneSpec",
    "CAPTControlPlaneStatus",
    "Cluster",
    "ClusterInitialization",
    "ClusterSpec",
    "ClusterStatus",
    "ControlPlaneConfig",
    "DeprecatedClusterState",
    "DeprecatedClusterStatus",
    "EndpointAccess",
    "HostPort",
    "ObjectReference",
    "ProviderState",
    "Secret",
    "TypedReference",
    "Workspace",
    "WorkspaceSpec",
    "WorkspaceState",
    "WorkspaceStatus",
    "WorkspaceTemplate",
    "WorkspaceTemplateApply",
    "WorkspaceTemplateApplySpec",
    "WorkspaceTemplateApplyStatus",
    "WorkspaceTemplateState",
]

_EMPTY: Mapping[str, JSON] = {}


@frozen
class ObjectReference:
    """A reference by name; an empty namespace leaves it to the reader."""

    name: str
    namespace: str = ""


@frozen
class HostPort:
    """spec.controlPlaneEndpoint as it stands on an object; the Go controller wrote `("", 0)` for
    none.
    """

    host: str = ""
    port: int = 0


@frozen
class EndpointAccess:
    """Whether the EKS endpoint can be reached from the internet and from inside the VPC."""

    public: bool = False
    private: bool = False


@frozen
class ControlPlaneConfig:
    """spec.controlPlaneConfig."""

    region: str = ""
    endpoint_access: EndpointAccess | None = None


@frozen
class CAPTControlPlaneSpec:
    """The user's wishes, and the two fields that the loop writes: the name of the main apply and
    the endpoint.
    """

    version: str
    workspace_template_ref: ObjectReference
    control_plane_config: ControlPlaneConfig | None = None
    additional_tags: Mapping[str, str] = Factory(dict)
    workspace_template_apply_name: str = ""
    control_plane_endpoint: HostPort = HostPort()


@frozen
class WorkspaceTemplateState:
    """status.workspaceTemplateStatus, the fields that the Go controller writes."""

    ready: bool | None = None
    last_applied_revision: str = ""
    last_failure_message: str = ""


@frozen
class WorkspaceState:
    """status.workspaceStatus, the mirror of the main Workspace; `at_provider` is None when it was
    never mirrored.
    """

    ready: bool = False
    state: str = ""
    at_provider: JSON = exact_json()  # noqa: RUF009 - an attrs field


@frozen
class CAPTControlPlaneStatus:
    """The status that was reported last. A boolean is None when it is absent: never written, or not
    kept by the server.
    """

    ready: bool | None = None
    initialized: bool | None = None
    secrets_ready: bool | None = None
    phase: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    version: str = ""
    workspace_template_status: WorkspaceTemplateState = WorkspaceTemplateState()
    workspace_status: WorkspaceState = WorkspaceState()
    conditions: tuple[Condition, ...] = ()


@frozen
class CAPTControlPlane:
    """controlplane.cluster.x-k8s.io/v1beta1 CAPTControlPlane."""

    metadata: ObjectMeta
    spec: CAPTControlPlaneSpec
    status: CAPTControlPlaneStatus = CAPTControlPlaneStatus()


@frozen
class TypedReference:
    """A reference of a Cluster: `api_version` in v1beta1, `api_group` in v1beta2."""

    kind: str = ""
    name: str = ""
    namespace: str = ""
    api_version: str = ""
    api_group: str = ""

    @property
    def group(self) -> str:
        """The API group of the kind."""
        return self.api_group or self.api_version.partition("/")[0]


@frozen
class ClusterSpec:
    """spec of a Cluster."""

    paused: bool = False
    infrastructure_ref: TypedReference | None = None
    control_plane_ref: TypedReference | None = None
    control_plane_endpoint: HostPort = HostPort()


@frozen
class ClusterInitialization:
    """status.initialization of v1beta2, which goes one way: nobody takes it back."""

    control_plane_initialized: bool | None = None


@frozen
class DeprecatedClusterState:
    """status.deprecated.v1beta1 of v1beta2: the reports of v1beta1."""

    failure_reason: str = ""
    failure_message: str = ""
    conditions: tuple[Condition, ...] = ()


@frozen
class DeprecatedClusterStatus:
    """status.deprecated of v1beta2."""

    v1beta1: DeprecatedClusterState | None = None


@frozen
class ClusterStatus:
    """status of a Cluster: `initialization` and `deprecated` stand in v1beta2 alone, the readiness,
    the failures and `v1beta2` in v1beta1; of `v1beta2` only the presence counts.
    """

    control_plane_ready: bool = False
    failure_reason: str = ""
    failure_message: str = ""
    conditions: tuple[Condition, ...] = ()
    initialization: ClusterInitialization | None = None
    deprecated: DeprecatedClusterStatus | None = None
    v1beta2: JSON = field(default=None, eq=False)


@frozen
class Cluster:
    """cluster.x-k8s.io Cluster in v1beta1 or v1beta2; `api_version` says in which."""

    metadata: ObjectMeta
    spec: ClusterSpec = ClusterSpec()
    status: ClusterStatus = ClusterStatus()
    api_version: str = CLUSTER_API

    @property
    def is_newer(self) -> bool:
        """Whether the server sent it in v1beta2."""
        return self.api_version == NEWER_CLUSTER_API


@frozen
class WorkspaceTemplate:
    """infrastructure.cluster.x-k8s.io/v1beta1 WorkspaceTemplate; of its spec only one Secret's name
    counts.
    """

    metadata: ObjectMeta
    spec: JSON = field(default=None, eq=False)


@frozen
class WorkspaceTemplateApplySpec:
    """spec of a WorkspaceTemplateApply: our fields, and whether the Workspace outlives it."""

    template_ref: ObjectReference = ObjectReference("")
    variables: Mapping[str, str] = Factory(dict)
    write_connection_secret_to_ref: ObjectReference | None = None
    wait_for_workspaces: tuple[ObjectReference, ...] = ()
    retain_workspace_on_delete: bool | None = None


@frozen
class WorkspaceTemplateApplyStatus:
    """status of a WorkspaceTemplateApply; `conditions` mirror its Workspace and freeze once that
    was Ready.
    """

    applied: bool = False
    workspace_name: str = ""
    last_applied_time: str = ""
    conditions: tuple[Condition, ...] = ()


@frozen
class WorkspaceTemplateApply:
    """infrastructure.cluster.x-k8s.io/v1beta1 WorkspaceTemplateApply."""

    metadata: ObjectMeta
    spec: WorkspaceTemplateApplySpec = WorkspaceTemplateApplySpec()
    status: WorkspaceTemplateApplyStatus = WorkspaceTemplateApplyStatus()


@frozen
class WorkspaceSpec:
    """spec of a Workspace."""

    write_connection_secret_to_ref: ObjectReference | None = None


@frozen
class ProviderState:
    """status.atProvider of a Workspace: its outputs, and all of it as it came (`wire`)."""

    outputs: Mapping[str, JSON] = field(factory=dict, repr=False)
    wire: Mapping[str, JSON] = field(default=_EMPTY, eq=False, repr=False)


@frozen
class WorkspaceStatus:
    """status of a Workspace; without conditions while its first apply runs."""

    conditions: tuple[Condition, ...] = ()
    at_provider: ProviderState | None = None


@frozen
class Workspace:
    """tf.upbound.io/v1beta1 Workspace, cluster-scoped."""

    metadata: ObjectMeta
    spec: WorkspaceSpec = WorkspaceSpec()
    status: WorkspaceStatus = WorkspaceStatus()


def _count_of_keys(data: Mapping[str, bytes]) -> str:
    return f"<{len(data)} keys>"


@frozen
class Secret:
    """v1 Secret; `data` is decoded once from the wire's base64."""

    metadata: ObjectMeta
    type: str = "Opaque"
    data: Mapping[str, bytes] = field(factory=dict, repr=_count_of_keys)
