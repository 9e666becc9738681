"""Admission as pure functions that `serve` calls on writes: mutating, then validating (row A5)."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from attrs import frozen

from captep_memory._json import Object
from captep_memory._request import Request, Response
from captep_memory._status import RefusedError, failure

__all__ = ["Admission", "Mutate", "Validate", "admit", "denied", "mutate", "webhook_down"]

Mutate: TypeAlias = Callable[[Request, Object, "Object | None"], "Object | Response"]
Validate: TypeAlias = Callable[[Request, Object, "Object | None"], "Response | None"]


@frozen
class Admission:
    """One admission plugin or webhook.

    Both functions get the request, the object as it would be stored, and the stored one (None on
    create). `mutate` returns the object to go on with, or a refusal; `validate` returns None to let
    it pass. They must not change their arguments.
    """

    mutate: Mutate | None = None
    validate: Validate | None = None


class _Admitting(Protocol):
    @property
    def admission(self) -> Iterable[Admission]: ...


def mutate(world: _Admitting, request: Request, obj: Object, old: Object | None) -> Object:
    """Row A5, first half. A webhook may not change what identifies the object."""
    for admission in world.admission:
        if admission.mutate is None:
            continue
        changed = admission.mutate(request, obj, old)
        if isinstance(changed, Response):
            raise RefusedError(changed)
        obj = changed
    return obj


def admit(world: _Admitting, request: Request, obj: Object, old: Object | None) -> None:
    """Row A5, second half: the first refusal ends the request."""
    for admission in world.admission:
        refusal = admission.validate(request, obj, old) if admission.validate is not None else None
        if refusal is not None:
            raise RefusedError(refusal)


def denied(webhook: str, message: str, *, code: int = 403) -> Response:
    """Return the answer to a request that a webhook denied; it chooses the code (400 to 599)."""
    reason = {400: "BadRequest", 403: "Forbidden", 422: "Invalid"}.get(code, "")
    return failure(
        code, reason, f'admission webhook "{webhook}" denied the request: {message}'
    ).response


def webhook_down(webhook: str) -> Response:
    """Return the answer when the server cannot reach a webhook with failurePolicy Fail."""
    why = f'failed calling webhook "{webhook}": connection refused'
    message = f"Internal error occurred: {why}"
    return failure(500, "InternalError", message, {"causes": [{"message": why}]}).response
