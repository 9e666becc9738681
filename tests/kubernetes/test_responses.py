"""What an answer says beside its status: the reason, how long to wait, and which fields it complains of."""

from datetime import timedelta

import pytest

from captep_core import JSON
from captep_kubernetes import RawResponse, reason_of
from captep_kubernetes._responses import field_causes, retry_after_of

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    418: "HTTP418",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": None}, {"reason": 5}])
def test_without_a_reason_the_status_is_one(body: dict[str, JSON] | None) -> None:
    """As Kubernetes names it."""
    assert {status: reason_of(RawResponse(status, {}, body)) for status in REASONS} == REASONS


def test_a_reason_of_the_server_counts() -> None:
    """Whatever the status."""
    assert reason_of(RawResponse(409, {}, {"reason": "AlreadyExists"})) == "AlreadyExists"


@pytest.mark.parametrize(
    ("status", "header", "details", "seconds"),
    [
        (429, "7", None, 7),
        (503, "0", None, 0),
        (400, "7", None, 7),
        (399, "7", None, None),
        (429, "3600", None, 3600),
        (429, "86400", None, 3600),
        (429, "-7", None, None),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", None, None),
        (429, "7", {"retryAfterSeconds": 9}, 7),
        (429, None, {"retryAfterSeconds": 9}, 9),
        (429, None, {"retryAfterSeconds": 0}, 0),
        (429, None, {"retryAfterSeconds": -1}, None),
        (429, None, {"retryAfterSeconds": "9"}, None),
        (429, None, [], None),
        (429, None, None, None),
    ],
)
def test_how_long_the_server_asks_to_be_left_alone(
    status: int, header: str | None, details: JSON, seconds: int | None
) -> None:
    """In the header, else in the Status, an hour at most; what is no number of seconds asks for nothing."""
    answer = RawResponse(
        status, {} if header is None else {"retry-after": header}, {"details": details}
    )
    assert retry_after_of(answer) == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("details", "fields"),
    [
        ({"causes": [{"field": "a"}, {"field": "b.c"}]}, ("a", "b.c")),
        ({"causes": [{"field": 5}, {}, None, "a", {"field": "a"}]}, ("a",)),
        ({"causes": {"field": "a"}}, ()),
        ({}, ()),
        (None, ()),
    ],
)
def test_which_fields_are_complained_of(details: JSON, fields: tuple[str, ...]) -> None:
    """Whatever else is among the causes."""
    assert field_causes(RawResponse(422, {}, {"details": details})) == fields
