"""An API server over HTTP that strikes single writes of a client with faults, and keeps a history.

Rules of this module:

1. A write is a create, update, patch or delete that is no dry run. Leases, Events and reviews are
   no state: the server serves them and strikes none of them.
2. The server counts the writes of a client; the fault of a write depends on its number alone.
3. Whatever happens to a write, the history has the worlds before and after it and the answer that
   the client saw, None when it saw none.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from captep_core._request import RawResponse, reason_of
from captep_memory import Key, Request, Response, World, group_of, plural_of
from captep_memory.http import Disturbance, HTTPFacade
from captep_testing._delivery import touched
from captep_testing._faults import NO_FAULT, WriteFault

__all__ = ["Asked", "Exchange", "StruckServer", "is_state", "shown"]

_WRITES: Final = frozenset({"create", "update", "patch", "delete"})
_STATELESS: Final = frozenset({"Event", "Lease"})
_STATELESS_GROUPS: Final = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
# The API server's own default for 429 and 503, in seconds.
_RETRY_AFTER: Final = {429: "1", 503: "1"}

Asked: TypeAlias = Callable[[int], WriteFault]
"""Return the fault of a write, given the number of writes before it."""


@frozen
class Exchange:
    """One request of the client, with the worlds around it; `status` is None for no answer.

    `answer` is the server's own, which the client did not see when a fault struck. `number` is that
    of a write, from 0.
    """

    request: Request
    before: World = field(repr=False)
    after: World = field(repr=False)
    answer: Response
    status: int | None
    at: datetime
    fault: WriteFault = NO_FAULT
    number: int = -1

    @property
    def is_write(self) -> bool:
        """Whether the request may have changed the state of the server."""
        return self.number >= 0

    @property
    def changed(self) -> bool:
        """Whether the request changed the state of the server."""
        return self.before.resource_version != self.after.resource_version

    @property
    def key(self) -> Key:
        """The object of the request; a create without a name has that of the answer."""
        request = self.request
        name = request.name or _name_in(self.answer.body) or _name_in(request.body)
        return Key(group_of(request.api_version), request.kind, request.namespace, name)


def _name_in(body: Any) -> str:  # noqa: ANN401 - JSON
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""


def is_state(kind: str, api_version: str) -> bool:
    """Whether objects of a kind are state; a leader writes its Lease every two seconds."""
    return kind not in _STATELESS and group_of(api_version) not in _STATELESS_GROUPS


class StruckServer:
    """Serves a world over HTTP while the `with` block of `facade` runs."""

    def __init__(self, world: World, strike: Asked, *, kill: Callable[[], None]) -> None:
        self.facade = HTTPFacade(world)
        self.facade.disturb = self._answer
        self._strike, self._kill = strike, kill
        self._lock = threading.RLock()
        self._history: list[Exchange] = []
        self._writes = 0
        self._asked = 0

    @property
    def history(self) -> tuple[Exchange, ...]:
        """Every request so far that read or wrote state, watches left out."""
        with self._lock:
            return tuple(self._history)

    @property
    def asked(self) -> int:
        """The number of requests so far, of any kind."""
        with self._lock:
            return self._asked

    @property
    def writes(self) -> int:
        """The number of writes so far."""
        with self._lock:
            return self._writes

    def apply(self, change: Callable[[World], World]) -> tuple[World, World]:
        """Change the world as another actor does; return the worlds before and after."""
        with self._lock:
            before = self.facade.world
            after = change(before)
            if after is not before:
                self.facade.apply(lambda _: after)
            return before, after

    def _answer(self, request: Request) -> Disturbance | None:
        """Serve a request here, so that its fault and its place in the history are one step."""
        with self._lock:
            self._asked += 1
            if request.verb == "watch" or not is_state(request.kind, request.api_version):
                return None
            if request.verb in _WRITES and not request.dry_run:
                return self._write(request)
            before = self.facade.world
            response = self.facade.request(request)
            self._note(request, before, response, response.status)
            return Disturbance(response=response)

    def _write(self, request: Request) -> Disturbance:
        number = self._writes
        self._writes += 1
        fault = self._strike(number)
        before = self.facade.world
        if fault.touched:
            key = Key(
                group_of(request.api_version), request.kind, request.namespace, request.name or ""
            )
            before = self.facade.apply(lambda world: touched(world, key))
        # A proxy repeats no request that makes a new name each time.
        most = 1 if request.verb == "create" and not _name_in(request.body) else fault.deliveries
        response = Response(0, {})
        for _ in range(min(most, fault.deliveries)):
            response = self.facade.request(request)
        if fault.crashes:
            self._kill()
        if fault.crashes or fault.drops:
            self._note(request, before, response, None, fault, number)
            return Disturbance(drop_before=True)
        seen = response if fault.status is None else _refusal(fault.status)
        self._note(request, before, response, seen.status, fault, number)
        return Disturbance(response=seen)

    def _note(
        self,
        request: Request,
        before: World,
        answer: Response,
        status: int | None,
        fault: WriteFault = NO_FAULT,
        number: int = -1,
    ) -> None:
        now = datetime.now(UTC)
        after = self.facade.world
        self._history.append(Exchange(request, before, after, answer, status, now, fault, number))


def _refusal(status: int) -> Response:
    reason = reason_of(RawResponse(status))
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"a fault of the test: {reason}",
        "reason": reason,
        "code": status,
    }
    headers = {"Retry-After": _RETRY_AFTER[status]} if status in _RETRY_AFTER else {}
    return Response(status, body, headers)


def shown(exchange: Exchange) -> str:
    """Name a request: verb, object, subresource."""
    request = exchange.request
    key = exchange.key
    named = f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
    if not key.name:
        named = plural_of(key.kind)
    sub = f"/{request.subresource}" if request.subresource else ""
    return f"{request.verb} {named}{sub}"
