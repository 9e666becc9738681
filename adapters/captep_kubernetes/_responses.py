"""What an answer of the API server says, beside its status."""

from collections.abc import Mapping
from datetime import timedelta

from captep_core import JSON
from captep_kubernetes._transport import RawResponse

__all__ = ["field_causes", "reason_of", "retry_after_of"]

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def reason_of(answer: RawResponse) -> str:
    """Return the Kubernetes reason, the server's own when it gives one."""
    reason = (answer.body or {}).get("reason")
    return (
        reason
        if isinstance(reason, str) and reason
        else _REASONS.get(answer.status, f"HTTP{answer.status}")
    )


def retry_after_of(answer: RawResponse) -> timedelta | None:
    """Return how long the server asks to be left alone, from the header or the Status; None when it does not."""
    header = answer.headers.get("retry-after", "")
    seconds: JSON = int(header) if header.isdecimal() else _details(answer).get("retryAfterSeconds")
    if answer.status < 400 or not isinstance(seconds, int) or seconds < 0:
        return None
    return timedelta(seconds=min(seconds, 3600))


def field_causes(answer: RawResponse) -> tuple[str, ...]:
    """Return the fields that a 422 complains of."""
    causes = _details(answer).get("causes")
    fields = (
        (cause.get("field") for cause in causes if isinstance(cause, dict))
        if isinstance(causes, list)
        else ()
    )
    return tuple(field for field in fields if isinstance(field, str))


def _details(answer: RawResponse) -> Mapping[str, JSON]:
    details = (answer.body or {}).get("details")
    return details if isinstance(details, dict) else {}
