"""Checks before the start: each problem that would keep the controller from ever working.

Every problem is one line that says what to do.
"""

from collections.abc import Iterable
from typing import Final

from captep_core._actions import JSON
from captep_core._resources import Resource
from captep_core.errors import GatewayError
from captep_kubernetes import (
    LEASES,
    NOT_SERVED,
    Informer,
    Query,
    Transport,
    UnansweredError,
    check_connection,
    marks,
    shards_of,
)
from captep_operator._leadership import Lease
from captep_operator._shard import Shard

__all__ = [
    "check_cluster",
    "check_lease",
    "check_shards",
    "fatal_problem",
    "identity",
    "lacks_label",
]

_SECONDS: Final = 10.0
"""The limit of one request, as for every other request of the controller."""
_GRANT: Final = "grant get, create and patch on leases there"


def check_cluster(transport: Transport, namespaces: Iterable[str]) -> tuple[str, ...]:
    """Check that the server answers, accepts the credentials, and has the namespaces.

    Return the namespaces that this identity may not get. Each of them may or may not exist, and a
    list in a missing namespace is empty, not an error.

    Raises:
        GatewayError: a check failed.
    """
    check_connection(transport)
    statuses = {
        name: _status(transport, "GET", f"/api/v1/namespaces/{name}") for name in namespaces
    }
    missing = [name for name, status in statuses.items() if status == 404]
    if missing:
        raise GatewayError(
            f"no namespace {' and no namespace '.join(missing)} in the cluster:"
            " create it, or correct --namespace"
        )
    return tuple(name for name, status in statuses.items() if status == 403)


def lacks_label(transport: Transport, definition: str, label: str) -> bool:
    """Whether a CustomResourceDefinition lacks a label; False where this identity may not read it.

    Raises:
        GatewayError: the server does not answer.
    """
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition}"
    try:
        answer = transport.request("GET", path, timeout=_SECONDS)
    except UnansweredError as error:
        raise GatewayError(f"the API server does not answer: {error}") from error
    if answer.status != 200 or answer.body is None:
        return False
    metadata = answer.body.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return label not in (labels if isinstance(labels, dict) else {})


def check_lease(transport: Transport, namespace: str, name: str) -> None:
    """Check with a dry-run create that the Lease is possible.

    Raises:
        GatewayError: the namespace does not exist, or the permission is missing.
    """
    body: dict[str, JSON] = {"metadata": {"name": name}}
    status = _status(transport, "POST", LEASES.path(namespace), [("dryRun", "All")], body)
    if status == 404:
        raise GatewayError(
            f"no namespace {namespace} for the Lease:"
            " create it, or correct --leader-election-namespace"
        )
    if status == 403:
        raise GatewayError(f"no permission to create the Lease {namespace}/{name}: {_GRANT}")


def check_shards(transport: Transport, fleet: Lease, shard: Shard) -> None:
    """Check that the fleet has as many shards as `shard` says; agree on the number if it is new.

    The Lease of the fleet says the number; nobody holds it while there are shards. It is created
    with the number, so that of several first processes one decides. The number stays, also while
    no process runs: nothing but a person can know that all processes of the old number have ended.

    Raises:
        GatewayError: the fleet has another number; one line says how to change it.
    """
    if shard.count > 1:
        body: dict[str, JSON] = {"metadata": {**marks(shard.count), "name": fleet.name}}
        status = _status(transport, "POST", LEASES.path(fleet.namespace), [], body)
        if status not in (201, 409):
            raise GatewayError(f"cannot create the Lease {fleet}: HTTP {status}: {_GRANT}")
    for lease in dict.fromkeys((fleet, fleet.of(shard))):
        _check_number(transport, lease, fleet, shard)


def _check_number(transport: Transport, lease: Lease, fleet: Lease, shard: Shard) -> None:
    path = LEASES.path(lease.namespace, lease.name)
    try:
        answer = transport.request("GET", path, timeout=_SECONDS)
    except UnansweredError as error:
        raise GatewayError(f"the API server does not answer: {error}") from error
    if answer.status not in (200, 404):
        raise GatewayError(f"cannot read the Lease {lease}: HTTP {answer.status}: {_GRANT}")
    if answer.status == 404 or answer.body is None:
        return
    found = shards_of(answer.body)
    if found != shard.count:
        raise GatewayError(
            f"the Lease {lease} is of a fleet with {_counted(found)}, and this process is of one"
            f" with {_counted(shard.count)}: start it with the number of the others, or end all of"
            f" them, then kubectl delete lease --namespace {lease.namespace}"
            f" {lease.name if lease != fleet else _names(fleet, found)}"
        )


def _counted(shards: int) -> str:
    return f"{shards} shard{'' if shards == 1 else 's'}"


def _names(fleet: Lease, shards: int) -> str:
    """Return the names of all Leases of a fleet, as a shell expands them."""
    return f"{fleet.name} {fleet.name}-shard-{{1..{shards}}}" if shards > 1 else fleet.name


def fatal_problem(
    transport: Transport, informers: Iterable[Informer], primary: Resource
) -> str | None:
    """Return the problem of unsynced caches that no retry solves, or None.

    The answer is None until every unsynced cache has tried once: a list that succeeds late is not
    a problem, and one line should name all that are missing. Without the `primary` kind there is
    nothing to do; without another one, which may be granted later, the rest goes on.
    """
    waiting = [informer for informer in informers if not informer.has_synced]
    if any(informer.problem is None for informer in waiting):
        return None
    missing, forbidden, refused = (
        _listed(waiting, reason) for reason in (NOT_SERVED, "Forbidden", "Unauthorized")
    )
    of_primary = [informer for informer in waiting if informer.resource == primary]
    if refused:
        return "the API server refuses the credentials (401): they are expired or wrong"
    if any(_waits_for(each, NOT_SERVED) for each in of_primary):
        return (
            f"not installed in the cluster: {missing}:"
            " apply their CustomResourceDefinitions, or choose another --context"
        )
    denied = [each.namespace for each in of_primary if _waits_for(each, "Forbidden")]
    if denied:
        where = f"the namespace {denied[0]}" if denied[0] else "the whole cluster"
        return (
            f"{identity(transport)} may not list {forbidden} in {where}:"
            " grant list and watch, or choose with --namespace"
        )
    return None


def identity(transport: Transport) -> str:
    """Name the user that the server sees in this process's credentials."""
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
    """Send one request and return its HTTP status."""
    try:
        return transport.request(method, path, query=query, body=body, timeout=_SECONDS).status
    except UnansweredError as error:
        raise GatewayError(f"the API server does not answer: {error}") from error
