"""A gateway over the official Kubernetes client."""

from captep_kubernetes._config import check_connection, load_transport
from captep_kubernetes._election import LeaseTimes
from captep_kubernetes._gateway import WATCHED, DryRun, KubernetesGateway, Watched
from captep_kubernetes._informer import (
    Informer,
    Representation,
    identity_only,
    without_managed_fields,
)
from captep_kubernetes._lease import LeaderElector
from captep_kubernetes._pacing import Pacing
from captep_kubernetes._predicates import Fields, content_changed, keeping
from captep_kubernetes._resources import RESOURCES, Resource, reference, resource_of
from captep_kubernetes._responses import reason_of
from captep_kubernetes._store import Change, Object
from captep_kubernetes._transport import (
    FIELD_MANAGER,
    MERGE_PATCH,
    KubernetesTransport,
    Query,
    RawResponse,
    Stream,
    Transport,
    UnansweredError,
)

__all__ = [
    "FIELD_MANAGER",
    "MERGE_PATCH",
    "RESOURCES",
    "WATCHED",
    "Change",
    "DryRun",
    "Fields",
    "Informer",
    "KubernetesGateway",
    "KubernetesTransport",
    "LeaderElector",
    "LeaseTimes",
    "Object",
    "Pacing",
    "Query",
    "RawResponse",
    "Representation",
    "Resource",
    "Stream",
    "Transport",
    "UnansweredError",
    "Watched",
    "check_connection",
    "content_changed",
    "identity_only",
    "keeping",
    "load_transport",
    "reason_of",
    "reference",
    "resource_of",
    "without_managed_fields",
]
