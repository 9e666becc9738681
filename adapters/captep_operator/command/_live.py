"""Read a cluster without watches: one GET for each object or list that a decision reads.

Of a kind with selectors a decision sees the objects that they choose, as under `run`: such an
object is read as a list of one. The object that the command is about shows in any case.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from captep_core._actions import JSON, ObjectRef
from captep_core._observation import ABSENT, Listed, Observed, Selection, Unreadable
from captep_core._resources import Resource
from captep_core.errors import GatewayError
from captep_core.ports import Read, Reads
from captep_kubernetes import (
    RawResponse,
    Transport,
    UnansweredError,
    check_connection,
    list_live,
    load_transport,
    reason_of,
    served_resource,
)
from captep_operator._discovery import discovered
from captep_operator._preflight import identity
from captep_operator.command._errors import InputError, UsageError
from captep_operator.command._program import Target

__all__ = ["connected", "live_reader"]

_SECONDS: Final = 10.0
"""The limit of one request: a person waits for the answer."""


def connected(
    target: Target, place: tuple[str | None, str], kubeconfig: str | None, context: str | None
) -> tuple[ObjectRef, Read]:
    """Return the object at `place` and a `read` of the cluster that the options name.

    Raises:
        UsageError: nobody declared the kinds.
        InputError: the cluster has no such object, or it is malformed.
        GatewayError: no cluster answers, or the read failed; one line says what to do.
    """
    primary = target.primary
    if primary is None:
        raise UsageError(
            "--live needs the kinds of an Operator: --decide MODULE:NAME with an Operator"
        )
    transport = load_transport(Path(kubeconfig) if kubeconfig else None, context)
    key = ObjectRef(primary.api_version, primary.kind, *place)
    read = live_reader(transport, target, key)
    # Here, where its errors are not taken for those of a decision.
    read(key)
    return key, read


def live_reader(transport: Transport, target: Target, key: ObjectRef) -> Read:
    """Return a `read` that sends one GET for each object, and one for each list.

    `read` raises for the object `key` alone:
        InputError: the cluster has no such object, or it is malformed.
        GatewayError: the read failed; one line says what to do.
    """
    check_connection(transport)
    watched = discovered(transport, target.kinds)
    places = [(kind.api_version, kind.kind) for kind in target.kinds]
    served = [served_resource(transport, each) for each in watched]
    reader = _Reader(
        transport,
        dict(zip(places, served, strict=True)),
        {place: each.selectors for place, each in zip(places, watched, strict=True)},
        target.problems,
    )
    seen: dict[ObjectRef, Observed[dict[str, JSON]]] = {}

    def read(ref: ObjectRef) -> Observed[dict[str, JSON]]:
        if ref not in seen:
            seen[ref] = reader.primary(ref) if ref == key else reader.observed(ref)
        return seen[ref]

    return Reads(read, reader.listed)


class _Reader:
    def __init__(
        self,
        transport: Transport,
        resources: Mapping[tuple[str, str], Resource],
        selectors: Mapping[tuple[str, str], tuple[tuple[str, str], ...]],
        problems: Callable[[Mapping[str, JSON]], Sequence[str]],
    ) -> None:
        self._transport = transport
        self._resources = resources
        self._selectors = selectors
        self._problems = problems

    def observed(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        """Ask the server for one object, as far as the selectors of its kind choose it."""
        chosen = dict(self._selectors[ref.api_version, ref.kind])
        if not chosen:
            return self._found(ref)
        fields = ",".join(filter(None, (chosen.get("fieldSelector"), f"metadata.name={ref.name}")))
        found = list_live(
            self._transport,
            self._resources[ref.api_version, ref.kind],
            Selection(ref.api_version, ref.kind, ref.namespace),
            selectors={**chosen, "fieldSelector": fields}.items(),
            timeout=_SECONDS,
        )
        if isinstance(found, Unreadable):
            return found
        return dict(found[0]) if found else ABSENT

    def _found(self, ref: ObjectRef) -> Observed[dict[str, JSON]]:
        try:
            path = self._resources[ref.api_version, ref.kind].path(ref.namespace, ref.name)
            answer = self._transport.request("GET", path, timeout=_SECONDS)
        except UnansweredError as error:
            return Unreadable("Unavailable", str(error))
        except ValueError as error:
            # An object may hold a reference without a namespace to a namespaced kind.
            return Unreadable("Invalid", str(error))
        if answer.status == 200 and answer.body is not None:
            return dict(answer.body)
        return _missing_or_unreadable(ref, answer)

    def listed(self, selection: Selection) -> Listed:
        """Ask the server for the objects of a list."""
        place = selection.api_version, selection.kind
        return list_live(
            self._transport,
            self._resources[place],
            selection,
            selectors=self._selectors[place],
            timeout=_SECONDS,
        )

    def primary(self, ref: ObjectRef) -> dict[str, JSON]:
        """Return the object that the command is about, or raise: without it there is no plan."""
        found = self._found(ref)
        resource = self._resources[ref.api_version, ref.kind]
        if isinstance(found, Unreadable) and found.reason == "Forbidden":
            where = f" in the namespace {ref.namespace}" if ref.namespace else ""
            raise GatewayError(
                f"{identity(self._transport)} may not get {resource}{where}: grant get on it"
            )
        if isinstance(found, Unreadable) and found.reason == "NotServed":
            raise GatewayError(
                f"not installed in the cluster: {resource}:"
                " apply its CustomResourceDefinition, or choose another --context"
            )
        if isinstance(found, Unreadable):
            raise GatewayError(f"{ref} cannot be read: {found}")
        if not isinstance(found, dict):
            raise InputError(self._missing(ref, resource))
        if problems := self._problems(found):
            raise InputError(f"malformed {ref}: {'; '.join(problems)}")
        return found

    def _missing(self, ref: ObjectRef, resource: Resource) -> str:
        listed = f"kubectl get {resource.plural} lists the existing ones"
        if ref.namespace is None:
            return f"no {ref} in the cluster: {listed}"
        path = f"/api/v1/namespaces/{ref.namespace}"
        try:
            namespace = self._transport.request("GET", path, timeout=_SECONDS)
        except UnansweredError:
            return f"no {ref} in the cluster"
        if namespace.status == 404:
            return (
                f"no {ref} in the cluster: there is no namespace {ref.namespace};"
                " is this the right --context?"
            )
        return (
            f"no {ref} in the cluster:"
            f" kubectl get {resource.plural} -n {ref.namespace} lists the existing ones"
        )


def _missing_or_unreadable(ref: ObjectRef, answer: RawResponse) -> Observed[dict[str, JSON]]:
    if answer.status != 404:
        return Unreadable(reason_of(answer), f"{ref}: HTTP {answer.status}")
    if answer.body is None:
        return Unreadable(
            "NotServed", f"{ref}: HTTP 404: is its CustomResourceDefinition installed?"
        )
    return ABSENT
