"""A gateway over the official Kubernetes client."""

from captep_kubernetes._config import check_connection, load_transport
from captep_kubernetes._resources import RESOURCES, Resource, reference, resource_of
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
    "KubernetesTransport",
    "Query",
    "RawResponse",
    "Resource",
    "Stream",
    "Transport",
    "UnansweredError",
    "check_connection",
    "load_transport",
    "reference",
    "resource_of",
]
