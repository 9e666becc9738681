"""Stories about a control plane as data: what its users do and when, and the sign of a good end.

A story knows objects, requests and time, nothing else: the same stories run on a world in memory
and on a real API server. An act is due once its condition holds and `after` has passed since the
act before; a story is over once `ends` holds after all acts.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from attrs import evolve, frozen

from captep_core import ObjectRef, control_plane_ref
from captep_memory._json import Object
from captep_memory._request import Request
from captep_world._neighbour import Objects, creation, deletion, is_true, patch
from captep_world._terraform import FAILURE_ANNOTATION

__all__ = [
    "Act",
    "Story",
    "StoryCondition",
    "Subject",
    "creation_to_ready",
    "deletion_of_all",
    "failure_and_recovery",
    "hastened",
    "life",
    "repair",
    "rotation",
    "templates",
]

_INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io/v1beta1"
_CLUSTER = "cluster.x-k8s.io/v1beta1"


@frozen
class Subject:
    """The control plane of a story.

    `kubeconfig` is the name pattern of the Secret that users read; the Go controller once had
    another.
    """

    namespace: str
    name: str
    kubeconfig: str = "{}-kubeconfig"

    @property
    def control_plane(self) -> ObjectRef:
        """The control plane."""
        return control_plane_ref(self.namespace, self.name)

    @property
    def cluster(self) -> ObjectRef:
        """Its Cluster."""
        return ObjectRef(_CLUSTER, "Cluster", self.namespace, self.name)

    @property
    def workspace(self) -> ObjectRef:
        """Its main Workspace."""
        return ObjectRef(
            "tf.upbound.io/v1beta1", "Workspace", None, f"{self.name}-eks-controlplane"
        )

    @property
    def kubeconfig_secret(self) -> ObjectRef:
        """The Secret with its kubeconfig."""
        return ObjectRef("v1", "Secret", self.namespace, self.kubeconfig.format(self.name))


StoryCondition: TypeAlias = Callable[[Objects, Subject], bool]


def always(_objects: Objects, _subject: Subject) -> bool:
    """Hold."""
    return True


def is_usable(objects: Objects, subject: Subject) -> bool:
    """Whether the control plane is Ready and its kubeconfig exists."""
    found = objects.get(subject.control_plane)
    return is_true(found, "Ready") and has_kubeconfig(objects, subject)


def has_kubeconfig(objects: Objects, subject: Subject) -> bool:
    """Whether the Secret with the kubeconfig exists and holds one."""
    secret = objects.get(subject.kubeconfig_secret)
    return bool(secret and secret.get("data", {}).get("value"))


def is_gone(objects: Objects, subject: Subject) -> bool:
    """Whether the Cluster, the control plane and the Workspace are gone."""
    return all(
        objects.get(ref) is None
        for ref in (subject.control_plane, subject.cluster, subject.workspace)
    )


def is_failing(objects: Objects, subject: Subject) -> bool:
    """Whether the main Workspace shows a failure."""
    synced = [
        each
        for each in (objects.get(subject.workspace) or {}).get("status", {}).get("conditions", ())
        if each["type"] == "Synced"
    ]
    return bool(synced) and synced[0]["status"] == "False"


def is_synced(objects: Objects, subject: Subject) -> bool:
    """Whether the main Workspace shows no failure."""
    return is_true(objects.get(subject.workspace), "Synced")


@frozen
class Act:
    """One act of a user: `requests`, once `once` holds and `after` has passed since the last."""

    title: str
    requests: Callable[[Subject], tuple[Request, ...]]
    once: StoryCondition = always
    after: timedelta = timedelta(0)


@frozen
class Story:
    """Acts in order, and the condition of the end, which `ending` names."""

    title: str
    acts: tuple[Act, ...]
    ends: StoryCondition
    ending: str


_MAIN_MODULE = """\
output "cluster_endpoint" {
  value = module.eks.cluster_endpoint
}
output "cluster_certificate_authority_data" {
  value     = module.eks.cluster_certificate_authority_data
  sensitive = true
}
output "oidc_provider" {
  value = module.eks.oidc_provider
}
output "kubeconfig" {
  value     = local.kubeconfig
  sensitive = true
}
"""
_KUBECONFIG_MODULE = """\
output "kubeconfig" {
  value     = local.kubeconfig
  sensitive = true
}
"""
_SPOT_MODULE = """\
output "role_exists" {
  value = length(data.aws_iam_roles.spot.arns) > 0
}
"""


def templates(namespace: str) -> tuple[Object, ...]:
    """Return the WorkspaceTemplates that control planes in a namespace need, the kubeconfig's in
    `default`.

        The main one has a kubeconfig output too: it was the source before CAPTEP-0012.
    """
    clusters = ("cluster_name", "region")
    return (
        _template(namespace, "eks", _MAIN_MODULE, (*clusters, "kubernetes_version")),
        _template(namespace, "spot-role-check", _SPOT_MODULE, ()),
        _template(
            "default",
            "eks-kubeconfig-template",
            _KUBECONFIG_MODULE,
            (*clusters, "cluster_endpoint", "cluster_certificate_authority_data"),
        ),
    )


def _template(namespace: str, name: str, module: str, variables: tuple[str, ...]) -> Object:
    provided: Object = {"source": "Inline", "module": module}
    if variables:
        provided["vars"] = [{"key": key, "value": "${" + key + "}"} for key in variables]
    spec = {"template": {"spec": {"forProvider": provided}}}
    return {
        "apiVersion": _INFRASTRUCTURE,
        "kind": "WorkspaceTemplate",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _create(subject: Subject) -> tuple[Request, ...]:
    place = {"name": subject.name, "namespace": subject.namespace}
    ref = subject.control_plane
    cluster: Object = {"apiVersion": _CLUSTER, "kind": "Cluster", "metadata": place}
    cluster["spec"] = {
        "controlPlaneRef": {"apiVersion": ref.api_version, "kind": ref.kind, **place}
    }
    control_plane: Object = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": place}
    control_plane["spec"] = {
        "version": "1.33",
        "workspaceTemplateRef": {"name": "eks", "namespace": subject.namespace},
        "controlPlaneConfig": {
            "region": "ap-northeast-1",
            "endpointAccess": {"public": True, "private": True},
        },
        "additionalTags": {"Team": "platform"},
    }
    return creation(cluster), creation(control_plane)


def _delete_kubeconfig(subject: Subject) -> tuple[Request, ...]:
    return (deletion(subject.kubeconfig_secret),)


def _fail_with(message: str | None) -> Callable[[Subject], tuple[Request, ...]]:
    return lambda subject: (
        patch(subject.workspace, {"metadata": {"annotations": {FAILURE_ANNOTATION: message}}}),
    )


def _retag(subject: Subject) -> tuple[Request, ...]:
    return (patch(subject.control_plane, {"spec": {"additionalTags": {"Stage": "production"}}}),)


def _delete_cluster(subject: Subject) -> tuple[Request, ...]:
    return (deletion(subject.cluster),)


_CREATED = Act("created", _create)
_SECRET_DELETED = Act("kubeconfig Secret deleted", _delete_kubeconfig, once=is_usable)
_FAILS = Act(
    "Terraform fails",
    _fail_with("operation error EKS: DescribeCluster, ExpiredToken"),
    once=is_usable,
)
_RECOVERS = Act(
    "Terraform works again", _fail_with(None), once=is_failing, after=timedelta(minutes=4)
)
_DELETED = Act("deleted", _delete_cluster, once=is_usable)


def _usable_and_synced(objects: Objects, subject: Subject) -> bool:
    return is_usable(objects, subject) and is_synced(objects, subject)


creation_to_ready = Story("from creation to Ready", (_CREATED,), is_usable, "Ready")
repair = Story(
    "a deleted kubeconfig Secret comes back",
    (_CREATED, _SECRET_DELETED),
    has_kubeconfig,
    "mended",
)
failure_and_recovery = Story(
    "Terraform fails and recovers", (_CREATED, _FAILS, _RECOVERS), _usable_and_synced, "Ready again"
)
deletion_of_all = Story("deletion", (_CREATED, _DELETED), is_gone, "gone")


def rotation(length: timedelta = timedelta(hours=1)) -> Story:
    """Return the story of a control plane left alone while its token changes, then edited."""
    return Story(
        "tokens rotate",
        (_CREATED, Act("a tag edited", _retag, once=is_usable, after=length)),
        is_usable,
        "still Ready",
    )


def life(length: timedelta = timedelta(hours=1)) -> Story:
    """Return a whole life: creation, rotations, a deleted Secret, a failure, deletion."""
    part = length / 4
    return Story(
        "a control plane's life",
        (
            _CREATED,
            evolve(_SECRET_DELETED, after=part),
            evolve(_FAILS, after=part),
            _RECOVERS,
            evolve(_DELETED, after=2 * part),
        ),
        is_gone,
        "gone",
    )


def hastened(story: Story, factor: float) -> Story:
    """Return the story with every wait divided by `factor`, for a clock that nobody can move."""
    return evolve(story, acts=tuple(evolve(act, after=act.after / factor) for act in story.acts))
