"""Read a cluster without watches: one GET for each object that a decision reads, nothing else."""

from typing import Final

from captep_core import ABSENT, JSON, ObjectRef, Observed, Unreadable
from captep_core._resources import Resource
from captep_core.capt import wire
from captep_core.capt._resources import RESOURCES, is_control_plane
from captep_core.errors import GatewayError
from captep_core.ports import Read
from captep_kubernetes import (
    RawResponse,
    Transport,
    UnansweredError,
    check_connection,
    reason_of,
)
from captep_operator import identity
from captep_operator.command._errors import InputError

__all__ = ["live_reader"]

_SECONDS: Final = 10.0
"""The limit of one request: a person waits for the answer."""


def live_reader(transport: Transport) -> Read:
    """Return a `read` that sends one GET for each object.

    `read` raises for the control plane alone:
        InputError: the cluster has no such control plane, or it is malformed.
        GatewayError: the read failed; one line says what to do.
    """
    check_connection(transport)
    seen: dict[ObjectRef, Observed[dict[str, JSON]]] = {}

    def read(ref: ObjectRef) -> Observed[dict[str, JSON]]:
        if ref not in seen:
            answer = _get(transport, ref)
            seen[ref] = (
                _control_plane(transport, ref, answer)
                if is_control_plane(ref)
                else _observed(ref, answer)
            )
        return seen[ref]

    return read


def _resource_of(ref: ObjectRef) -> Resource:
    return RESOURCES[ref.api_version, ref.kind]


def _get(transport: Transport, ref: ObjectRef) -> RawResponse | Unreadable:
    try:
        return transport.request(
            "GET", _resource_of(ref).path(ref.namespace, ref.name), timeout=_SECONDS
        )
    except UnansweredError as error:
        return Unreadable("Unavailable", str(error))
    except ValueError as error:
        # An object may hold a reference without a namespace to a namespaced kind.
        return Unreadable("Invalid", str(error))


def _observed(ref: ObjectRef, answer: RawResponse | Unreadable) -> Observed[dict[str, JSON]]:
    if isinstance(answer, Unreadable):
        return answer
    if answer.status == 200 and answer.body is not None:
        return dict(answer.body)
    if answer.status == 404 and answer.body is not None:
        return ABSENT
    hint = ": is its CustomResourceDefinition installed?" if answer.status == 404 else ""
    return Unreadable(reason_of(answer), f"{ref}: HTTP {answer.status}{hint}")


def _control_plane(
    transport: Transport, ref: ObjectRef, answer: RawResponse | Unreadable
) -> dict[str, JSON]:
    """Return the control plane, or raise: without it there is nothing to plan."""
    found = _observed(ref, answer)
    if isinstance(found, Unreadable) and found.reason == "Forbidden":
        raise GatewayError(
            f"{identity(transport)} may not get {_resource_of(ref)}"
            f" in the namespace {ref.namespace}: grant get on it"
        )
    if isinstance(found, Unreadable) and found.reason == "NotFound":
        raise GatewayError(
            f"not installed in the cluster: {_resource_of(ref)}:"
            " apply its CustomResourceDefinition, or choose another --context"
        )
    if isinstance(found, Unreadable):
        raise GatewayError(f"{ref} cannot be read: {found}")
    if not isinstance(found, dict):
        raise InputError(_missing(transport, ref))
    if problems := wire.problems(found):
        raise InputError(f"malformed {ref}: {'; '.join(problems)}")
    return found


def _missing(transport: Transport, ref: ObjectRef) -> str:
    try:
        namespace = transport.request(
            "GET", f"/api/v1/namespaces/{ref.namespace}", timeout=_SECONDS
        )
    except UnansweredError:
        return f"no {ref} in the cluster"
    if namespace.status == 404:
        return (
            f"no {ref} in the cluster: there is no namespace {ref.namespace};"
            " is this the right --context?"
        )
    return (
        f"no {ref} in the cluster:"
        f" kubectl get captcontrolplanes -n {ref.namespace} lists the existing ones"
    )
