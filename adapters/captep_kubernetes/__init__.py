"""A gateway over the official Kubernetes client."""

from captep_core._projection import keeping, without_managed_fields
from captep_core._request import RawResponse, reason_of
from captep_kubernetes._config import check_connection, load_transport
from captep_kubernetes._discovery import served_resource
from captep_kubernetes._election import LeaseTimes, marks, shards_of
from captep_kubernetes._gateway import DryRun, KubernetesGateway
from captep_kubernetes._informer import NOT_SERVED, Informer, identity_only
from captep_kubernetes._lease import LeaderElector
from captep_kubernetes._lists import list_live
from captep_kubernetes._predicates import content_changed
from captep_kubernetes._resources import EVENTS, LEASES, reference
from captep_kubernetes._store import CacheChange, Object
from captep_kubernetes._transport import (
    FIELD_MANAGER,
    MERGE_PATCH,
    KubernetesTransport,
    Query,
    Stream,
    Transport,
    UnansweredError,
)
from captep_kubernetes._watch_health import WatchHealth

__all__ = [
    "EVENTS",
    "FIELD_MANAGER",
    "LEASES",
    "MERGE_PATCH",
    "NOT_SERVED",
    "CacheChange",
    "DryRun",
    "Informer",
    "KubernetesGateway",
    "KubernetesTransport",
    "LeaderElector",
    "LeaseTimes",
    "Object",
    "Query",
    "RawResponse",
    "Stream",
    "Transport",
    "UnansweredError",
    "WatchHealth",
    "check_connection",
    "content_changed",
    "identity_only",
    "keeping",
    "list_live",
    "load_transport",
    "marks",
    "reason_of",
    "reference",
    "served_resource",
    "shards_of",
    "without_managed_fields",
]
