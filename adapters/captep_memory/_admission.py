"""Admission as pure functions that `serve` calls on writes: mutating ones first, then validating ones (row A5)."""

from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from captep_memory._json import Object
from captep_memory._request import Request, Response

__all__ = ["Admission", "Mutate", "Validate", "denied", "webhook_down"]

Mutate: TypeAlias = Callable[[Request, Object, "Object | None"], "Object | Response"]
Validate: TypeAlias = Callable[[Request, Object, "Object | None"], "Response | None"]


@frozen
class Admission:
    """One admission plugin or webhook.

    Both functions get the request, the object as it would be stored, and the stored one (None on create). `mutate` returns the
    object to go on with, or a refusal; `validate` returns None to let it pass. They must not change their arguments.
    """

    mutate: Mutate | None = None
    validate: Validate | None = None


def denied(webhook: str, message: str, *, code: int = 403) -> Response:
    """Return the answer to a request that a webhook denied; the webhook chooses the code (400 to 599)."""
    reason = {400: "BadRequest", 403: "Forbidden", 422: "Invalid"}.get(code, "")
    told = f'admission webhook "{webhook}" denied the request: {message}'
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": told,
        "reason": reason,
        "code": code,
    }
    return Response(code, {key: value for key, value in body.items() if value != ""})


def webhook_down(webhook: str) -> Response:
    """Return the answer when a webhook with failurePolicy Fail cannot be reached."""
    why = f'failed calling webhook "{webhook}": connection refused'
    details = {"causes": [{"message": why}]}
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {why}",
    }
    return Response(500, {**body, "reason": "InternalError", "details": details, "code": 500})
