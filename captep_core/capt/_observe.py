"""Read the three arguments of `reconcile` through the port `Read`.

Rules of this module:

1. Objects are looked up by name, the Cluster of an ownerless control plane in a list, and nothing
   is decided. The objects that were asked for are those that the control plane depends on: a change
   of one of them wakes it.
2. An object is unreadable when the object that names it is unreadable.
"""

from attrs import frozen

from captep_core._actions import ObjectRef
from captep_core._observation import ABSENT, Observed, ReconcileState, Unreadable
from captep_core.capt._model import (
    CAPTControlPlane,
    Cluster,
    Secret,
    Workspace,
    WorkspaceTemplate,
    WorkspaceTemplateApply,
)
from captep_core.capt._names import (
    CLUSTER_API,
    CLUSTER_NAME_LABEL,
    INFRASTRUCTURE_GROUP,
    Names,
    apply_ref,
    cluster_ref,
    names_of,
    secret_ref,
    template_ref,
    with_vpc,
    workspace_ref,
)
from captep_core.capt._observed import (
    AppliedTemplate,
    ControlPlane,
    ForeignSecret,
    ObservedSecret,
    Secrets,
)
from captep_core.capt._outputs import Endpoint, Missing, parse_endpoint
from captep_core.capt._ownership import (
    cluster_reference,
    is_assigned,
    names_another,
    names_control_plane,
)
from captep_core.capt.wire import Parsed, T
from captep_core.ports import NOT_LISTED, Read

__all__ = ["observe"]

_NO_STATE = ReconcileState()
# Where the Go controller had all kubeconfigs written.
_GO_NAMESPACE = "default"


@frozen
class _View:
    read: Read
    parsed: Parsed

    def get(self, ref: ObjectRef, kind: type[T]) -> Observed[T]:
        return self.parsed.observed(self.read(ref), kind)


def observe(
    key: ObjectRef,
    read: Read,
    state: ReconcileState = _NO_STATE,
    *,
    parsed: Parsed | None = None,
) -> tuple[ControlPlane, Secrets, Endpoint]:
    """Read every object that the control plane `key` depends on; the result is what `reconcile`
    takes.

    `parsed` keeps what it parses; with the same one, a later pass parses only what has changed.
    """
    view = _View(read, parsed or Parsed(most=0))
    control_plane = view.get(key, CAPTControlPlane)
    if not isinstance(control_plane, CAPTControlPlane):
        return ControlPlane(key, control_plane), Secrets(), Missing()
    namespace = key.namespace or ""
    spec = control_plane.spec
    cluster_name, cluster = _cluster(view, control_plane, namespace)
    names = names_of(key, cluster_name, spec.workspace_template_apply_name)
    vpc_ref, vpc = _vpc(view, names, cluster)
    names = with_vpc(names, vpc_ref)
    template = template_ref(
        spec.workspace_template_ref.namespace or namespace, spec.workspace_template_ref.name
    )
    main = _applied(view, names.main)
    kubeconfig = _applied(view, names.kubeconfig_apply)
    secrets = Secrets(
        connection=_connection(view, main, names.connection),
        outputs=_outputs(view, kubeconfig, names.outputs),
        ca=view.get(names.ca, Secret),
        kubeconfig=view.get(names.kubeconfig, Secret),
    )
    observed = ControlPlane(
        key=key,
        object=control_plane,
        names=names,
        cluster=cluster,
        template=view.get(template, WorkspaceTemplate),
        vpc=vpc,
        main=main,
        kubeconfig=kubeconfig,
        spot_check=_applied(view, names.spot_check),
        spot_create=_applied(view, names.spot_create),
        state=state,
    )
    return observed, secrets, _endpoint(main, secrets.connection)


def _cluster(
    view: _View, control_plane: CAPTControlPlane, namespace: str
) -> tuple[str, Observed[Cluster]]:
    """Look the Cluster up by the owner reference; without one, among all of the namespace.

    The list is dear in a large namespace, and a control plane has its owner reference for all of
    its life but moments.
    """
    owner = cluster_reference(control_plane)
    if owner is not None:
        return owner.name, view.get(cluster_ref(namespace, owner.name), Cluster)
    name = control_plane.metadata.name
    label = control_plane.metadata.labels.get(CLUSTER_NAME_LABEL)
    listed = view.read.list(CLUSTER_API, "Cluster", namespace)
    if not isinstance(listed, Unreadable):
        # Parsing each Cluster of a namespace would take longer than the rest of the pass.
        found = [
            view.parsed.observed(obj, Cluster) for obj in listed if not names_another(obj, name)
        ]
    elif listed.reason == NOT_LISTED:
        names = dict.fromkeys((label or name, name))
        found = [view.get(cluster_ref(namespace, each), Cluster) for each in names]
    else:
        return name, listed
    clusters = [each for each in found if isinstance(each, Cluster)]
    claiming = [each for each in clusters if names_control_plane(each, control_plane)]
    pointing = [each for each in claiming if is_assigned(each)]
    chosen = [each for each in pointing if each.metadata.name == label] or pointing or claiming
    if len(chosen) == 1:
        return chosen[0].metadata.name, chosen[0]
    # One that is malformed may name this control plane as well.
    malformed = [each for each in found if isinstance(each, Unreadable)]
    return name, malformed[0] if malformed else ABSENT


def _vpc(
    view: _View, names: Names, cluster: Observed[Cluster]
) -> tuple[ObjectRef, Observed[WorkspaceTemplateApply]]:
    """Look up the apply of the VPC: by infrastructure, else by Cluster, else by our name."""
    usual = names.vpc
    infrastructure = _infrastructure(cluster)
    if infrastructure:
        ref = apply_ref(usual.namespace, f"{infrastructure}-vpc")
        vpc = view.get(ref, WorkspaceTemplateApply)
        if isinstance(vpc, Unreadable) or _is_owned_by(vpc, infrastructure):
            return ref, vpc
    if names.cluster.name != names.control_plane:
        ref = apply_ref(usual.namespace, f"{names.cluster.name}-vpc")
        vpc = view.get(ref, WorkspaceTemplateApply)
        if vpc is not ABSENT:
            return ref, vpc
    return usual, view.get(usual, WorkspaceTemplateApply)


def _infrastructure(cluster: Observed[Cluster]) -> str:
    """Return the name of the CAPTCluster, which makes the VPC; "" for any other infrastructure."""
    reference = cluster.spec.infrastructure_ref if isinstance(cluster, Cluster) else None
    if reference is None or reference.kind != "CAPTCluster":
        return ""
    return reference.name if reference.group == INFRASTRUCTURE_GROUP else ""


def _is_owned_by(vpc: Observed[WorkspaceTemplateApply], infrastructure: str) -> bool:
    if not isinstance(vpc, WorkspaceTemplateApply):
        return False
    return any(
        owner.kind == "CAPTCluster"
        and owner.name == infrastructure
        and owner.api_version.partition("/")[0] == INFRASTRUCTURE_GROUP
        for owner in vpc.metadata.owner_references
    )


def _applied(view: _View, ref: ObjectRef) -> AppliedTemplate:
    apply = view.get(ref, WorkspaceTemplateApply)
    if isinstance(apply, Unreadable):
        return AppliedTemplate(apply, apply)
    if not isinstance(apply, WorkspaceTemplateApply) or not apply.status.workspace_name:
        return AppliedTemplate(apply)
    return AppliedTemplate(apply, view.get(workspace_ref(apply.status.workspace_name), Workspace))


def _connection(view: _View, main: AppliedTemplate, usual: ObjectRef) -> ObservedSecret:
    """Read the connection Secret where the Workspace writes it, else where its apply says."""
    if isinstance(main.apply, Unreadable):
        return main.apply
    ref = _written_to(main, usual)
    if ref.namespace != usual.namespace:
        return ForeignSecret(ref)
    return view.get(ref, Secret)


def _outputs(view: _View, kubeconfig: AppliedTemplate, usual: ObjectRef) -> ObservedSecret:
    """Read the Secret with the kubeconfig where its Workspace writes it, else where its apply says.

    The Go controller put it into the namespace `default`. There it counts only while the Workspace
    of this apply owns it: another tenant's Cluster may have the same name.
    """
    if isinstance(kubeconfig.apply, Unreadable):
        return kubeconfig.apply
    ref = _written_to(kubeconfig, usual)
    if ref.namespace == usual.namespace:
        return view.get(ref, Secret)
    if (ref.namespace, ref.name) != (_GO_NAMESPACE, usual.name):
        return ForeignSecret(ref)
    secret = view.get(ref, Secret)
    if isinstance(kubeconfig.workspace, Unreadable):
        return kubeconfig.workspace
    if not isinstance(secret, Secret) or _owns(kubeconfig.workspace, secret):
        return secret
    return ForeignSecret(ref)


def _owns(workspace: Observed[Workspace], secret: Secret) -> bool:
    if not isinstance(workspace, Workspace):
        return False
    uid = workspace.metadata.uid
    return any(owner.uid == uid for owner in secret.metadata.owner_references)


def _written_to(applied: AppliedTemplate, usual: ObjectRef) -> ObjectRef:
    """Return where the outputs go: an apply that changes afterwards does not move them."""
    place = None
    if isinstance(applied.workspace, Workspace):
        place = applied.workspace.spec.write_connection_secret_to_ref
    if place is None and isinstance(applied.apply, WorkspaceTemplateApply):
        place = applied.apply.spec.write_connection_secret_to_ref
    return usual if place is None else secret_ref(place.namespace, place.name)


def _endpoint(main: AppliedTemplate, connection: ObservedSecret) -> Endpoint:
    """Find the endpoint in the outputs of the main Workspace, else in its connection Secret."""
    workspace = main.workspace
    if isinstance(workspace, Unreadable):
        return workspace
    if isinstance(workspace, Workspace) and workspace.status.at_provider:
        output = workspace.status.at_provider.outputs.get("cluster_endpoint")
        if isinstance(output, str):
            endpoint = parse_endpoint(output)
            if not isinstance(endpoint, Missing):
                return endpoint
    if isinstance(connection, Unreadable):
        return connection
    if isinstance(connection, Secret):
        written = connection.data.get("cluster_endpoint", b"")
        return parse_endpoint(written.decode(errors="replace"))
    return Missing()
