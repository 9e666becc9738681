"""Action to request and response to answer: the one translation that both gateways use."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from attrs import evolve

from captep_core import (
    JSON,
    Action,
    Apply,
    Create,
    Delete,
    ObjectRef,
    Patch,
    Preconditions,
    RecordEvent,
    Refused,
    Write,
    refusal_of,
)
from captep_core._objects import rfc3339
from captep_core._request import (
    RawResponse,
    RecordedEvent,
    WriteRequest,
    answer_of,
    event_name,
    event_request,
    reason_of,
    request_of,
    retry_after_of,
)
from captep_core.ports import Answer
from tests.objects import manifest

NOW = datetime(2026, 1, 1, 9, 0, 0, 5, tzinfo=timezone(timedelta(hours=9)))
ONE = ObjectRef("example.com/v1", "Toy", "ns", "one")
LOCKED = Preconditions("uid-1", "5")
RECORD = RecordEvent(ONE, "Normal", "Ready", "it is ready", "uid-1")
OPTIONS: dict[str, JSON] = {"apiVersion": "v1", "kind": "DeleteOptions"}


@pytest.mark.parametrize(
    ("action", "request_"),
    [
        (
            Create(ONE, manifest(ONE, spec={"a": 1}), "why"),
            WriteRequest("create", ONE, manifest(ONE, spec={"a": 1})),
        ),
        (
            Patch(ONE, {"spec": None}, Preconditions(), "why"),
            WriteRequest("patch", ONE, {"spec": None}),
        ),
        (
            Patch(ONE, {"status": {"a": 1}}, Preconditions("uid-1"), "why", "status"),
            WriteRequest(
                "patch", ONE, {"status": {"a": 1}, "metadata": {"uid": "uid-1"}}, "status"
            ),
        ),
        (
            Patch(ONE, {"metadata": {"finalizers": ["f"]}}, LOCKED, "why"),
            WriteRequest(
                "patch",
                ONE,
                {"metadata": {"finalizers": ["f"], "uid": "uid-1", "resourceVersion": "5"}},
            ),
        ),
        (
            Patch(ONE, {"metadata": None}, LOCKED, "why"),
            WriteRequest("patch", ONE, {"metadata": {"uid": "uid-1", "resourceVersion": "5"}}),
        ),
        (
            Apply(ONE, manifest(ONE, spec={"a": 1}), "why"),
            WriteRequest("apply", ONE, manifest(ONE, spec={"a": 1})),
        ),
        (
            Apply(ONE, manifest(ONE), "why", "me", force=True, subresource="status"),
            WriteRequest("apply", ONE, manifest(ONE), "status", "me", force=True),
        ),
        (
            Apply(ONE, {**manifest(ONE), "metadata": {"name": "one"}}, "w", preconditions=LOCKED),
            WriteRequest(
                "apply",
                ONE,
                {
                    **manifest(ONE),
                    "metadata": {"name": "one", "uid": "uid-1", "resourceVersion": "5"},
                },
            ),
        ),
        (Delete(ONE, Preconditions(), "why"), WriteRequest("delete", ONE, OPTIONS)),
        (
            Delete(ONE, LOCKED, "why"),
            WriteRequest(
                "delete",
                ONE,
                {**OPTIONS, "preconditions": {"uid": "uid-1", "resourceVersion": "5"}},
            ),
        ),
        (
            Delete(ONE, Preconditions(""), "why"),
            WriteRequest("delete", ONE, {**OPTIONS, "preconditions": {"uid": ""}}),
        ),
    ],
)
def test_an_action_is_one_request_with_its_preconditions(
    action: Action, request_: WriteRequest
) -> None:
    """A create, patch or delete keeps verb, object and body; None leaves a precondition out."""
    assert request_of(action, now=NOW, component="captep") == request_


def test_a_translated_patch_leaves_the_action_as_it_was() -> None:
    """The preconditions go into a copy of the body."""
    body: dict[str, JSON] = {"metadata": {"finalizers": []}}
    request_of(Patch(ONE, body, LOCKED, "why"), now=NOW, component="captep")
    assert body == {"metadata": {"finalizers": []}}


def test_the_first_event_is_a_create_of_a_whole_event() -> None:
    """Times are whole seconds in UTC; source and reportingComponent name the component."""
    name = event_name(RECORD)
    assert request_of(RECORD, now=NOW, component="toyctl") == WriteRequest(
        "create",
        ObjectRef("v1", "Event", "ns", name),
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "ns"},
            "involvedObject": {
                "apiVersion": "example.com/v1",
                "kind": "Toy",
                "namespace": "ns",
                "name": "one",
                "uid": "uid-1",
            },
            "type": "Normal",
            "reason": "Ready",
            "message": "it is ready",
            "source": {"component": "toyctl"},
            "reportingComponent": "toyctl",
            "reportingInstance": "toyctl",
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:00Z",
            "count": 1,
        },
    )


def test_a_repeated_event_is_a_patch_of_count_and_last_time() -> None:
    """The second record of the same Event raises the count of the first and creates nothing."""
    again = event_request(RECORD, RecordedEvent("one.1", 2), now=NOW, component="toyctl")
    assert again == WriteRequest(
        "patch",
        ObjectRef("v1", "Event", "ns", "one.1"),
        {"count": 2, "lastTimestamp": "2026-01-01T00:00:00Z"},
    )


def test_an_event_about_a_cluster_scoped_object_is_in_default() -> None:
    """Its involvedObject has no namespace, and no uid when none is known."""
    record = RecordEvent(ObjectRef("v1", "Node", None, "n"), "Warning", "Failed", "m" * 5000)
    first = request_of(record, now=NOW, component="toyctl")
    assert (first.target.namespace, first.body["involvedObject"], first.body["message"]) == (
        "default",
        {"apiVersion": "v1", "kind": "Node", "name": "n"},
        "m" * 1024,
    )


def test_an_event_name_differs_with_every_part_of_the_record() -> None:
    """Object, uid, type, reason, message and series: each makes another Event."""
    others = [
        evolve(RECORD, target=evolve(ONE, namespace="elsewhere")),
        evolve(RECORD, target=evolve(ONE, name="two")),
        evolve(RECORD, target=evolve(ONE, kind="Game")),
        evolve(RECORD, target=evolve(ONE, api_version="example.com/v2")),
        evolve(RECORD, uid=None),
        evolve(RECORD, type="Warning"),
        evolve(RECORD, reason="Failed"),
        evolve(RECORD, message="another"),
    ]
    names = [event_name(RECORD), event_name(RECORD, "later"), *map(event_name, others)]
    assert len(set(names)) == 10
    assert event_name(RECORD) == event_name(evolve(RECORD))


def test_an_event_name_is_a_subdomain_of_at_most_253_characters() -> None:
    """A dot or hyphen where a long name is cut goes; a lone surrogate in a message is hashed."""
    long = evolve(ONE, name="a" * 229 + "." + "b" * 23)
    name = event_name(evolve(RECORD, target=long, message="\ud800"))
    assert (name[:230], len(name)) == ("a" * 229 + ".", 246)


def _uid_refused(*fields: JSON) -> RawResponse:
    causes: list[JSON] = [{"field": field} for field in fields]
    return RawResponse(422, {}, {"details": {"causes": causes}})


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (RawResponse(200), 200),
        (RawResponse(409), 409),
        (_uid_refused("metadata.uid"), 409),
        (_uid_refused("metadata.uid", "metadata.uid"), 409),
        (_uid_refused("metadata.uid", "spec"), 422),
        (_uid_refused(), 422),
        (RawResponse(422, {}, {"details": {"causes": ["metadata.uid"]}}), 422),
        (RawResponse(422, {}, {"details": {"causes": "metadata.uid"}}), 422),
        (RawResponse(422, {}, {"details": "metadata.uid"}), 422),
        (RawResponse(422), 422),
        (RawResponse(400, {}, {"details": {"causes": [{"field": "metadata.uid"}]}}), 400),
    ],
)
def test_a_replaced_object_is_a_conflict(response: RawResponse, status: int) -> None:
    """A 422 whose only cause is metadata.uid becomes 409; every other status stays."""
    assert answer_of(response, ONE, changed=False) == Answer(status, changed=False)


@pytest.mark.parametrize(
    ("status", "changed"), [(200, True), (299, True), (300, False), (409, False), (500, False)]
)
def test_a_refusal_changes_nothing(status: int, changed: bool) -> None:
    """`changed` counts for a success only."""
    assert answer_of(RawResponse(status), ONE, changed=True) == Answer(status, changed=changed)
    assert answer_of(RawResponse(status), ONE, changed=False) == Answer(status, changed=False)


def _refused(message: JSON, reason: JSON = "Invalid") -> RawResponse:
    return RawResponse(422, {}, {"kind": "Status", "reason": reason, "message": message})


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("team quota: only 3 databases per team", "team quota: only 3 databases per team"),
        ("two\nlines\x1b[31m,\ta tab \u202e", "two lines [31m, a tab"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("url https://me:hunter2@example.com/", "url https://[redacted]@example.com/"),
        ("x" * 1025, "x" * 1024),
        ("é" * 600, "é" * 512),
        ("x" * 1000 + " password=" + "y" * 90, "x" * 1000 + " password=[redacted]"),
        (["no", "text"], ""),
        (None, ""),
    ],
)
def test_a_refusal_carries_the_words_of_the_server(sent: JSON, shown: str) -> None:
    """One line of 1,024 bytes at most, without control characters and credentials."""
    answer = answer_of(_refused(sent), ONE, changed=False)
    assert answer == Answer(422, changed=False, reason="Invalid")
    assert answer.message == shown


@pytest.mark.parametrize(
    ("response", "target", "reason"),
    [
        (_refused("it says hunter2"), ObjectRef("v1", "Secret", "ns", "one"), ""),
        (RawResponse(422, {}, {"reason": "Invalid", "message": "of a proxy"}), ONE, ""),
        (RawResponse(502), ONE, ""),
        (RawResponse(200, {}, {"kind": "Status", "reason": "x", "message": "y"}), ONE, ""),
    ],
)
def test_an_answer_has_no_words(response: RawResponse, target: ObjectRef, reason: str) -> None:
    """The refusal of a Secret may quote it, a proxy is no API server, and success needs none."""
    answer = answer_of(response, target, changed=False)
    assert (answer.reason, answer.message) == (reason, "")


@pytest.mark.parametrize("target", [ONE, ObjectRef("v1", "Secret", "ns", "one")], ids=str)
def test_a_conflict_of_managers_names_them_and_no_value(target: ObjectRef) -> None:
    """It is a refusal to report, unlike the conflict that a newer object is."""
    causes: list[JSON] = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}" using v1',
            "field": field,
        }
        for manager, field in (("kubectl", ".data.a"), ("helm", ".data.b"))
    ]
    message = 'Apply failed with 2 conflicts: "hunter2"'
    body: dict[str, JSON] = {"kind": "Status", "reason": "Conflict", "message": message}
    response = RawResponse(409, {}, {**body, "details": {"causes": [*causes, "odd"]}})
    answer = answer_of(response, target, changed=False)
    refusal = refusal_of(Write("apply", target), answer.status, answer.reason, answer.message)
    assert isinstance(refusal, Refused)
    assert str(refusal) == (
        f"apply {target} is refused: HTTP 409 FieldManagerConflict: "
        'conflict with "kubectl" using v1: .data.a; conflict with "helm" using v1: .data.b'
    )


def test_a_replaced_object_has_the_reason_of_a_conflict() -> None:
    """Reason and status say the same, so that a decision may look at either."""
    causes: list[JSON] = [{"field": "metadata.uid"}]
    body: dict[str, JSON] = {"kind": "Status", "reason": "Invalid", "message": "other uid"}
    answer = answer_of(
        RawResponse(422, {}, {**body, "details": {"causes": causes}}), ONE, changed=False
    )
    assert answer == Answer(409, changed=False, reason="Conflict")
    assert answer.message == "other uid"


@pytest.mark.parametrize(
    ("status", "header", "details", "seconds"),
    [
        (429, "7", None, 7),
        (429, "7", {"retryAfterSeconds": 9}, 7),
        (503, "", {"retryAfterSeconds": 9}, 9),
        (429, "Fri, 31 Dec 1999 23:59:59 GMT", {"retryAfterSeconds": 9}, 9),
        (429, "0", None, 0),
        (429, "99999", None, 3600),
        (429, "9" * 5000, None, 3600),
        (429, "", {"retryAfterSeconds": 10**30}, 3600),
        (429, "-7", None, None),
        (429, "٧", None, None),
        (429, "7.5", None, None),
        (429, "", {"retryAfterSeconds": -1}, None),
        (429, "", {"retryAfterSeconds": "9"}, None),
        (429, "", {"retryAfterSeconds": True}, None),
        (400, "7", None, 7),
        (399, "7", None, None),
        (200, "7", None, None),
        (429, "", None, None),
    ],
)
def test_a_server_names_the_seconds_to_wait(
    status: int, header: str, details: JSON, seconds: int | None
) -> None:
    """From the header or the Status of a refusal, at most an hour, whatever the server sends."""
    headers = {"retry-after": header} if header else {}
    response = RawResponse(status, headers, {"details": details})
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_after_of(response) == expected
    assert answer_of(response, ONE, changed=False).retry_after == expected


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (RawResponse(404, {}, {"reason": "Expired"}), "Expired"),
        (RawResponse(404, {}, {"reason": ""}), "NotFound"),
        (RawResponse(404, {}, {"reason": 4}), "NotFound"),
        (RawResponse(403), "Forbidden"),
        (RawResponse(418), "HTTP418"),
    ],
)
def test_the_reason_is_the_server_s_own_where_it_has_one(
    response: RawResponse, reason: str
) -> None:
    """Without a Status, as from a proxy, the HTTP status gives the reason."""
    assert reason_of(response) == reason


def test_no_request_and_no_response_shows_a_body() -> None:
    """A body may hold the content of a Secret."""
    secret: dict[str, JSON] = {"data": {"value": "canary"}}
    sent = request_of(Create(ONE, {**manifest(ONE), **secret}, "why"), now=NOW, component="toyctl")
    assert "canary" not in repr((sent, RawResponse(200, {"cookie": "canary"}, secret)))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (rfc3339(NOW), "2026-01-01T00:00:00Z"),
        (rfc3339(NOW, "microseconds"), "2026-01-01T00:00:00.000005Z"),
        (rfc3339(datetime(1, 1, 1, tzinfo=UTC)), "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc(written: str, text: str) -> None:
    """`Time` has whole seconds, `MicroTime` six decimals, and a year always has four digits."""
    assert written == text
