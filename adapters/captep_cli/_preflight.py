"""What would keep the controller from ever working, found before it starts, each in one line that says what to do."""

from collections.abc import Iterable
from typing import Final

from captep_core import JSON
from captep_core.errors import GatewayError
from captep_kubernetes import (
    LEASES,
    Informer,
    Query,
    Transport,
    UnansweredError,
    check_connection,
)

__all__ = ["check_cluster", "check_lease", "fatal_problem", "identity"]

_SECONDS: Final = 10.0


def check_cluster(transport: Transport, namespaces: Iterable[str]) -> tuple[str, ...]:
    """See that the server answers, that it takes the credentials, and that the namespaces are there.

    Return the namespaces that may not be got, which may be there or not: a list in one that is not is answered with nothing.

    Raises:
        GatewayError: one of these is not so.
    """
    check_connection(transport)
    statuses = {
        name: _status(transport, "GET", f"/api/v1/namespaces/{name}") for name in namespaces
    }
    missing = [name for name, status in statuses.items() if status == 404]
    if missing:
        raise GatewayError(
            f"no namespace {' and no namespace '.join(missing)} in the cluster: create it, or correct --namespace"
        )
    return tuple(name for name, status in statuses.items() if status == 403)


def check_lease(transport: Transport, namespace: str, name: str) -> None:
    """See, by a create that the server does not carry out, that the Lease can be there.

    Raises:
        GatewayError: there is no such namespace, or no permission.
    """
    body: dict[str, JSON] = {"metadata": {"name": name}}
    status = _status(transport, "POST", LEASES.path(namespace), [("dryRun", "All")], body)
    if status == 404:
        raise GatewayError(
            f"no namespace {namespace} for the Lease: create it, or correct --leader-election-namespace"
        )
    if status == 403:
        raise GatewayError(
            f"no permission to create the Lease {namespace}/{name}: grant get, create and patch on leases there"
        )


def fatal_problem(transport: Transport, informers: Iterable[Informer]) -> str | None:
    """Return what a restart would not mend about caches that have not synced, None while there is nothing, or while some have not tried."""
    waiting = [informer for informer in informers if not informer.has_synced]
    if any(informer.problem is None for informer in waiting):
        return None
    missing, forbidden, refused = (
        _listed(waiting, reason) for reason in ("NotFound", "Forbidden", "Unauthorized")
    )
    if refused:
        return "the API server refuses the credentials (401): they are expired or wrong"
    if missing:
        return f"not installed in the cluster: {missing}: apply their CustomResourceDefinitions, or choose another --context"
    if forbidden:
        namespace = next(each.namespace for each in waiting if _waits_for(each, "Forbidden"))
        where = f"the namespace {namespace}" if namespace else "the whole cluster"
        return f"{identity(transport)} may not list {forbidden} in {where}: grant list and watch, or choose with --namespace"
    return None


def identity(transport: Transport) -> str:
    """Say whom the server takes this process for."""
    review: dict[str, JSON] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
    }
    answer = transport.request(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review, timeout=_SECONDS
    )
    status = (answer.body or {}).get("status") if answer.status == 201 else None
    user = status.get("userInfo") if isinstance(status, dict) else None
    if isinstance(user, dict):
        return f"the user {user.get('username')}"
    return "a request without credentials (does the context name a user with some?)"


def _listed(waiting: Iterable[Informer], reason: str) -> str:
    return ", ".join(
        dict.fromkeys(f"{each.resource}" for each in waiting if _waits_for(each, reason))
    )


def _waits_for(informer: Informer, reason: str) -> bool:
    problem = informer.problem
    return problem is not None and problem.reason == reason


def _status(
    transport: Transport,
    method: str,
    path: str,
    query: Query = (),
    body: dict[str, JSON] | None = None,
) -> int:
    """Send one request; a status that says nothing about the question is passed over."""
    try:
        return transport.request(method, path, query=query, body=body, timeout=_SECONDS).status
    except UnansweredError as error:
        raise GatewayError(f"the API server does not answer: {error}") from error
