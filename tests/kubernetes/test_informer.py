"""The informer: current when the server is there, quiet when it is not, and stopped when stream."""

import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captep_core import JSON, Backoff, ObjectRef, Unreadable
from captep_core._resources import Representation
from captep_core.capt._resources import RESOURCES
from captep_kubernetes import (
    CacheChange,
    Informer,
    Object,
    RawResponse,
    Stream,
    UnansweredError,
    identity_only,
    without_managed_fields,
)
from captep_kubernetes._transport import MalformedStreamError
from tests.kubernetes.changes import change
from tests.kubernetes.scripted import (
    Asked,
    Reply,
    Scripted,
    events,
    hang,
    raw,
    refused_port,
    replying,
    reset,
    serving,
    transport_to,
)

SECRETS = RESOURCES["v1", "Secret"]
FAST = Backoff(base=0.01, cap=0.05)
PATH = "/api/v1/secrets"


def ref(name: str) -> ObjectRef:
    """A Secret in ns."""
    return ObjectRef("v1", "Secret", "ns", name)


def secret(name: str, version: int, **more: JSON) -> Object:
    """A Secret as a core LIST and a watch send it: without apiVersion and kind."""
    return {
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
        },
        **more,
    }


def named(obj: Object) -> Object:
    """The same with apiVersion and kind, as it is cached."""
    return {**obj, "apiVersion": "v1", "kind": "Secret"}


def page(version: int, *items: Object, rest: str = "") -> dict[str, Any]:
    """One page of a LIST."""
    return {
        "kind": "SecretList",
        "metadata": {"resourceVersion": str(version), "continue": rest},
        "items": list(items),
    }


def event(kind: str, obj: Object) -> Object:
    """One line of a watch."""
    return {"type": kind, "object": obj}


GONE: Object = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}


def script(**replies: list[Reply]) -> Reply:
    """Answer the n-th LIST and WATCH with the n-th reply of its list; the last one stays."""
    used = dict.fromkeys(replies, 0)

    def reply(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        mine = replies[asked.verb]
        number = min(used[asked.verb], len(mine) - 1)
        used[asked.verb] += 1
        mine[number](asked, handler)

    return reply


def eventually(probe: Callable[[], object]) -> None:
    """Poll for at most five seconds."""
    deadline = time.monotonic() + 5
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def running(server: Scripted | str, **options: Any) -> Iterator[tuple[Informer, list[CacheChange]]]:  # noqa: ANN401  # options of Informer
    """Run an informer of Secrets with what it announced."""
    changes: list[CacheChange] = []
    url = server if isinstance(server, str) else server.url
    informer = Informer(
        transport_to(url), SECRETS, **{"on_change": changes.append, "backoff": FAST, **options}
    )
    informer.start()
    try:
        yield informer, changes
    finally:
        informer.stop()


def test_a_list_and_a_watch_fill_the_cache() -> None:
    """Each change has apiVersion and kind, and is announced once, with the state before."""
    a1, a5, b2, c6 = secret("a", 1), secret("a", 5), secret("b", 2), secret("c", 6)
    b7 = secret("b", 7)
    watch = events(
        event("MODIFIED", a5), event("ADDED", c6), event("DELETED", b7), event("MODIFIED", a5)
    )
    with (
        serving(script(LIST=[replying(200, page(4, a1, b2))], WATCH=[watch])) as server,
        running(server) as (informer, changes),
    ):
        eventually(lambda: len(changes) == 5)
        assert informer.has_synced
        assert (informer.get(ref("a")), informer.get(ref("b")), informer.get(ref("c"))) == (
            named(a5),
            None,
            named(c6),
        )
        assert changes == [
            change(ref("a"), None, named(a1)),
            change(ref("b"), None, named(b2)),
            change(ref("a"), named(a1), named(a5)),
            change(ref("c"), None, named(c6)),
            change(ref("b"), named(b2), None),
        ]
        assert server.verbs() == ["LIST", "WATCH"]


def test_lists_come_in_pages_and_watches_start_at_the_list() -> None:
    """Pages of 250, a watch from the list's version with bookmarks and an end, the selector on
    both.
    """
    selectors = [("fieldSelector", "type=cluster.x-k8s.io/secret")]
    replies = script(
        LIST=[
            replying(200, page(7, secret("a", 1), rest="more")),
            replying(200, page(7, secret("b", 2))),
        ],
        WATCH=[events()],
    )
    with (
        serving(replies) as server,
        running(server, selectors=selectors, namespace="ns", jitter=0.0) as (informer, _),
    ):
        eventually(lambda: len(server.asked) == 3)
        assert set(informer.refs()) == {ref("a"), ref("b")}
        assert {asked.path for asked in server.asked} == {"/api/v1/namespaces/ns/secrets"}
        assert {asked.headers["accept"] for asked in server.asked} == {"application/json"}
        assert [asked.query for asked in server.asked] == [
            (*selectors, ("limit", "250")),
            (*selectors, ("limit", "250"), ("continue", "more")),
            (
                *selectors,
                ("watch", "1"),
                ("resourceVersion", "7"),
                ("allowWatchBookmarks", "true"),
                ("timeoutSeconds", "50"),
            ),
        ]


def versions(server: Scripted) -> list[str]:
    """The resourceVersion of each WATCH so far."""
    return [dict(asked.query)["resourceVersion"] for asked in server.asked if asked.verb == "WATCH"]


def test_a_watch_goes_on_where_the_last_one_ended() -> None:
    """After an event, a bookmark or nothing, no event is asked for twice and nothing is listed
    again.
    """
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
    unversioned = event("UNHEARD-OF", {"metadata": {}})
    watches = [
        events(event("ADDED", secret("a", 12)), unversioned, hold=False),
        events(bookmark, hold=False),
        events(hold=False),
        events(),
    ]
    with serving(script(LIST=[replying(200, page(10))], WATCH=watches)) as server, running(server):
        eventually(lambda: len(server.asked) == 5)
        assert (server.verbs().count("LIST"), versions(server)) == (1, ["10", "12", "20", "20"])


@pytest.mark.parametrize("expired", [events(GONE), replying(410, {"reason": "Expired"})])
def test_an_expired_version_lists_again(expired: Reply) -> None:
    """410 as an event or a status: one LIST, which announces deletions and nothing unchanged."""
    lists = [
        replying(200, page(4, secret("a", 1), secret("b", 2))),
        replying(200, page(9, secret("a", 1))),
    ]
    with (
        serving(script(LIST=lists, WATCH=[expired, events()])) as server,
        running(server) as (informer, changes),
    ):
        eventually(lambda: len(server.asked) == 4)
        assert (server.verbs(), versions(server)) == (
            ["LIST", "WATCH", "LIST", "WATCH"],
            ["4", "9"],
        )
        assert [(change.ref.name, change.new is None) for change in changes] == [
            ("a", False),
            ("b", False),
            ("b", True),
        ]
        assert informer.refs() == (ref("a"),)


def test_where_pages_expire_all_is_listed_at_once() -> None:
    """410 for each continue token: one LIST without pages, and nothing of the first pages."""
    lists = [
        replying(200, page(4, secret("a", 1), rest="more")),
        replying(410, {}),
        replying(200, page(9, secret("b", 2))),
    ]
    slow = Backoff(base=60, cap=60)
    with (
        serving(script(LIST=lists, WATCH=[events()])) as server,
        running(server, backoff=slow) as (informer, changes),
    ):
        assert informer.wait_synced(5)
        eventually(lambda: len(server.asked) == 4)
        assert [dict(asked.query).keys() for asked in server.asked[:3]] == [
            {"limit"},
            {"limit", "continue"},
            set(),
        ]
        assert ([change.ref for change in changes], versions(server)) == ([ref("b")], ["9"])


def test_a_server_whose_every_list_expires_is_given_time() -> None:
    """410 for a whole LIST has the backoff of any refusal, and the next LIST begins with pages
    again.
    """
    some, gone = RawResponse(200, {}, page(4, rest="more")), RawResponse(410)
    answers = iter([some, gone, gone, some, gone, some, gone, gone])
    dead = Dead(4, LIST=lambda: next(answers))
    assert dead.times("LIST") == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 3.0]


@pytest.mark.parametrize(
    "trouble",
    [
        raw(500, b""),
        raw(403, b"<html>"),
        raw(200, b"no json"),
        reset,
        events(b"no json\n", hold=False),
        events(b"[]\n", hold=False),
        events(b'{"type":"ADDED"}\n', hold=False),
        events(b"[" * 100_000 + b"\n", hold=False),
    ],
)
def test_the_cache_is_current_again_after_any_failure(trouble: Reply) -> None:
    """Any answers to LIST and WATCH for a while leave a current cache that says so."""
    replies = script(
        LIST=[trouble, replying(200, page(1))],
        WATCH=[trouble, trouble, events(event("ADDED", secret("a", 2)))],
    )
    with serving(replies) as server, running(server) as (informer, changes):
        eventually(lambda: len(changes) == 1)
        eventually(lambda: informer.problem is None)
        assert informer.is_alive


def test_a_malformed_object_harms_no_other() -> None:
    """A list and a watch skip an item without a name, of another shape, or that is no object."""
    nonsense: list[Any] = [{}, {"metadata": None}, {"metadata": {"name": 5}}, None, 7, []]
    lines = [
        event("ADDED", {"metadata": {"resourceVersion": "5"}}),
        event("UNHEARD-OF", secret("a", 5)),
        event("ADDED", secret("b", 6)),
    ]
    replies = script(
        LIST=[replying(200, page(1, *nonsense, secret("a", 1)))], WATCH=[events(*lines)]
    )
    with serving(replies) as server, running(server) as (informer, changes):
        eventually(lambda: len(changes) == 2)
        assert set(informer.refs()) == {ref("a"), ref("b")}
        assert server.verbs() == ["LIST", "WATCH"]


def test_a_problem_says_what_to_do() -> None:
    """Forbidden with its path; 404 with the likely cause; nobody there."""
    for reply, reason, detail in [
        (raw(403, b""), "Forbidden", f"{PATH}: HTTP 403"),
        (
            replying(403, {"kind": "Status", "reason": "Forbidden"}),
            "Forbidden",
            f"{PATH}: HTTP 403",
        ),
        (
            raw(404, b""),
            "NotServed",
            f"{PATH}: HTTP 404: is its CustomResourceDefinition installed?",
        ),
    ]:
        with serving(reply) as server, running(server) as (informer, _):
            eventually(lambda informer=informer: informer.problem is not None)  # type: ignore[misc]  # a lambda with a default
            assert informer.problem == Unreadable(reason, detail)
            assert not informer.has_synced
            assert not informer.wait_synced(0.001)
            assert informer.version(ref("a")) is None
    with running(refused_port()) as (informer, _):
        eventually(lambda: informer.problem is not None)
        assert informer.problem == Unreadable(
            "Unavailable", f"GET {PATH}: NewConnectionError: Connection refused"
        )


def test_a_problem_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Twenty failures and the recovery are two lines, without a traceback."""
    caplog.set_level(logging.INFO)
    replies = script(LIST=[raw(500, b"")] * 20 + [replying(200, page(1))], WATCH=[events()])
    with serving(replies) as server, running(server) as (informer, _):
        eventually(lambda: informer.has_synced)
        eventually(lambda: len(caplog.messages) == 2)
    ours = [record for record in caplog.records if record.name.startswith("captep")]
    assert [record.getMessage() for record in ours] == [
        f"secrets: not current: InternalError: {PATH}: HTTP 500",
        "secrets: current again",
    ]
    assert [record.exc_info for record in ours] == [None, None]


def test_an_own_write_is_in_the_cache_at_once_and_its_echo_is_no_news() -> None:
    """An older event and the echo of an own write announce nothing and undo nothing."""
    go = threading.Event()

    def watch(asked: Asked, handler: BaseHTTPRequestHandler) -> None:
        go.wait(5)
        echoes = [
            event("MODIFIED", secret("a", 3)),
            event("MODIFIED", secret("a", 6, type="mine")),
            event("ADDED", secret("z", 7)),
        ]
        events(*echoes)(asked, handler)

    with (
        serving(script(LIST=[replying(200, page(2, secret("a", 1)))], WATCH=[watch])) as server,
        running(server) as (informer, changes),
    ):
        assert informer.wait_synced(5)
        informer.observe_write(secret("a", 6, type="mine"))
        assert informer.get(ref("a")) == named(secret("a", 6, type="mine"))
        go.set()
        eventually(lambda: informer.get(ref("z")))
        assert informer.get(ref("a")) == named(secret("a", 6, type="mine"))
        assert [change.ref.name for change in changes] == ["a", "a", "z"]


def test_an_own_delete_is_in_the_cache_at_once() -> None:
    """`observe_delete` of this incarnation, and no other."""
    with (
        serving(script(LIST=[replying(200, page(2, secret("a", 1)))], WATCH=[events()])) as server,
        running(server) as (informer, changes),
    ):
        assert informer.wait_synced(5)
        informer.observe_delete(ref("a"), "another")
        assert informer.identity(ref("a")) == ("uid-a", "1")
        informer.observe_delete(ref("a"), "uid-a")
        assert (informer.get(ref("a")), informer.identity(ref("a"))) == (None, None)
        assert changes[1:] == [change(ref("a"), named(secret("a", 1)), None)]


def test_a_caller_gets_a_copy() -> None:
    """A caller that changes what it got changes nobody else's view."""
    listed = secret("a", 1, data={"k": ["v"]})
    with (
        serving(script(LIST=[replying(200, page(2, listed))], WATCH=[events()])) as server,
        running(server) as (informer, _),
    ):
        assert informer.wait_synced(5)
        mine: Any = informer.get(ref("a"))
        mine["data"]["k"].append("mine")
        assert informer.get(ref("a")) == named(listed)


def test_a_metadata_watch_asks_for_partial_objects() -> None:
    """Payloads of Secrets stay with the server; one without this form sends whole objects."""
    options = {"representation": Representation.METADATA, "project": identity_only}
    partial: Object = {
        **secret("a", 1),
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadata",
    }
    with (
        serving(script(LIST=[replying(200, page(2, partial))], WATCH=[events()])) as server,
        running(server, **options) as (informer, _),
    ):
        eventually(lambda: len(server.asked) == 2)
        assert [asked.headers["accept"] for asked in server.asked] == [
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
        ]
        assert (
            informer.get(ref("a")),
            informer.identity(ref("a")),
            informer.version(ref("a")),
        ) == ({}, ("uid-a", "1"), "1")


def test_managed_fields_are_not_kept() -> None:
    """Nothing else goes; what has none is not copied."""
    bare = secret("a", 1)
    metadata: Any = bare["metadata"]
    assert without_managed_fields({**bare, "metadata": {**metadata, "managedFields": [{}]}}) == bare
    assert without_managed_fields(bare) is bare
    assert without_managed_fields({"metadata": None}) == {"metadata": None}


@pytest.mark.parametrize(
    ("list_reply", "watch_reply"),
    [(hang, hang), (replying(200, page(1)), hang), (replying(200, page(1)), events())],
)
def test_an_informer_stops_within_a_second(list_reply: Reply, watch_reply: Reply) -> None:
    """While LIST or WATCH waits for headers, and in a silent watch; nothing is announced
    afterwards.
    """
    with serving(script(LIST=[list_reply], WATCH=[watch_reply])) as server:
        informer = Informer(transport_to(server.url), SECRETS)
        informer.start()
        eventually(
            lambda: (watch_reply is hang and list_reply is hang) or "WATCH" in server.verbs()
        )
        started = time.monotonic()
        informer.stop()
        assert time.monotonic() - started < 1.2
        if watch_reply is not hang:
            assert not informer.is_alive


def test_a_handler_may_stop_its_own_informer() -> None:
    """`stop` inside `on_change` neither waits for itself nor raises."""
    with serving(
        script(LIST=[replying(200, page(2, secret("a", 1), secret("b", 2)))], WATCH=[events()])
    ) as server:
        seen: list[ObjectRef] = []

        def handle(change: CacheChange) -> None:
            seen.append(change.ref)
            informer.stop()

        informer = Informer(transport_to(server.url), SECRETS, on_change=handle)
        informer.start()
        eventually(lambda: seen and not informer.is_alive)
        assert seen == [ref("a")]


class Once:
    """A watch that sends one line and ends."""

    def __init__(self, line: bytes) -> None:
        self.line = line

    def lines(self) -> Iterator[bytes]:
        """Send it."""
        yield self.line

    def close(self) -> None:
        """Nothing is open."""


def test_unpacked_objects_go_some_seconds_after_the_last_list() -> None:
    """Lists come in storms, and each of them finds the objects that the one before unpacked."""
    dead = Dead(0.0)
    informer = dead.informer
    informer.observe_write(secret("a", 1))
    line = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}
    first = informer.objects(None)
    seen = []
    for dead.now in (9.0, 18.0, 30.0):
        informer._follow(Once(json.dumps(line).encode()))
        seen.append(informer.objects(None)[0] is first[0])
    assert (seen, informer.objects(None)) == ([True, True, False], first)


class Dead:
    """A server in virtual time that answers each verb in one way; `seconds` end the informer."""

    def __init__(
        self,
        seconds: float,
        jitter: float = 0.0,
        **replies: Callable[[], RawResponse | Stream],
    ) -> None:
        self.now, self.until, self.replies = 0.0, seconds, replies
        self.sent: list[tuple[str, float]] = []
        self.options: list[dict[str, Any]] = []
        self.problems: list[Unreadable | None] = []
        self.informer = Informer(
            self, SECRETS, clock=lambda: self.now, wait=self.wait, jitter=jitter
        )

    def wait(self, seconds: float) -> None:
        self.problems.append(self.informer.problem)
        self.now += seconds
        if self.now >= self.until:
            self.informer.stop()

    def request(self, method: str, path: str, **options: Any) -> RawResponse:  # noqa: ANN401  # options of Transport
        self.sent.append(("LIST", self.now))
        self.options.append(options)
        answer = self.replies["LIST"]()
        assert isinstance(answer, RawResponse)
        return answer

    def stream(self, path: str, **options: Any) -> Stream | RawResponse:  # noqa: ANN401  # options of Transport
        self.sent.append(("WATCH", self.now))
        self.options.append(options)
        return self.replies["WATCH"]()

    @property
    def lives(self) -> list[int]:
        """The timeoutSeconds of each WATCH."""
        asked = [dict(options["query"]) for options in self.options]
        return [query["timeoutSeconds"] for query in asked if "timeoutSeconds" in query]

    def verbs(self) -> list[str]:
        """LIST and WATCH in the order of the requests."""
        return [verb for verb, _ in self.sent]

    def times(self, verb: str) -> list[float]:
        """When `verb` was sent, in seconds."""
        self.informer._run()
        return [at for sent, at in self.sent if sent == verb]


class Ended:
    """A watch that ends at once."""

    def lines(self) -> Iterator[bytes]:
        """Nothing."""
        return iter(())

    def close(self) -> None:
        """Nothing."""


class Lines(Ended):
    """A watch that sends these lines and ends; `closed` and `read` say how far its reader came."""

    def __init__(self, *lines: Object | bytes | Callable[[], object]) -> None:
        self._lines, self.closed, self.read = lines, False, 0

    def lines(self) -> Iterator[bytes]:
        """Yield the given lines, and call the given functions between two lines."""
        for line in self._lines:
            if callable(line):
                line()
                continue
            self.read += 1
            yield line if isinstance(line, bytes) else json.dumps(line).encode()

    def close(self) -> None:
        """Say so."""
        self.closed = True


class Lived(Ended):
    """A watch that lives for some seconds of a `Dead` server's time, and ends with or without an
    event.
    """

    def __init__(self, seconds: float, end: Object | None = None) -> None:
        self._seconds, self._end = seconds, end

    def of(self, dead: Dead) -> "Lived":
        """Live in the time of `dead`."""
        self._dead = dead
        return self

    def lines(self) -> Iterator[bytes]:
        """The end, when it has come."""
        self._dead.wait(self._seconds)
        return iter(() if self._end is None else (json.dumps(self._end).encode(),))


def refuse() -> RawResponse:
    """Nobody listens."""
    raise UnansweredError("refused", may_have_landed=False)


def listed() -> RawResponse:
    """An empty list."""
    return RawResponse(200, {}, page(1))


class _AnyLife:
    """Equal to every number of seconds that a watch may be asked to live."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and 50 < other <= 60

    __hash__ = None  # type: ignore[assignment]


ANY_LIFE = _AnyLife()


def test_every_request_has_a_timeout() -> None:
    """A LIST may be silent for a minute, a WATCH for 75 s; the server ends the watch within a
    minute.
    """
    for jitter, lives in ((0.0, 50), (0.2, ANY_LIFE)):
        dead = Dead(2, jitter, LIST=listed, WATCH=Ended)
        dead.informer._run()
        assert [options["timeout"] for options in dead.options] == [60.0, 75.0, 75.0]
        assert dead.lives == [lives, lives]


BOOKMARK = event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})


def test_a_watch_with_bookmarks_lives_for_minutes() -> None:
    """Silence of such a watch is a dead connection; after a failure the next is short again."""
    streams = iter([Lines(BOOKMARK), Lines(cut), Lines(), Lines(BOOKMARK)])
    dead = Dead(13, LIST=listed, WATCH=lambda: next(streams, Ended()))
    dead.informer._run()
    assert dead.lives[:5] == [50, 240, 50, 50, 240]
    assert dead.verbs().count("LIST") == 1


def cut() -> None:
    """The connection breaks, or was silent for too long."""
    raise UnansweredError("GET: ReadTimeoutError: timed out", may_have_landed=False)


def test_a_silent_watch_is_a_problem_and_goes_on_from_its_version(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No LIST: the next watch starts at the last bookmark, and two lines are logged."""
    caplog.set_level(logging.INFO)
    streams = iter([Lines(BOOKMARK, cut)])
    dead = Dead(9, LIST=listed, WATCH=lambda: next(streams, Lived(20).of(dead)))
    dead.informer._run()
    assert dead.verbs() == ["LIST", "WATCH", "WATCH"]
    assert dict(dead.options[2]["query"])["resourceVersion"] == "20"
    assert caplog.messages == [
        "secrets: not current: Unavailable: GET: ReadTimeoutError: timed out",
        "secrets: current again",
    ]


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: RawResponse(500),
        lambda: RawResponse(504),
        lambda: RawResponse(400),
        lambda: Lines({"type": "ERROR", "object": {"code": 500}}),
        lambda: Lines(b"no json"),
        lambda: Lines(too_long),
    ],
)
def test_a_watch_that_is_refused_twice_leads_to_a_list(
    refusal: Callable[[], RawResponse | Stream],
) -> None:
    """The server may never have had its resourceVersion; a list that does not help comes less
    often.
    """
    dead = Dead(100, LIST=listed, WATCH=refusal)
    dead.informer._run()
    watches = [len(list(run)) for verb, run in itertools.groupby(dead.verbs()) if verb == "WATCH"]
    assert watches[:4] == [2, 4, 8, 16]


def test_a_server_that_refuses_everything_for_a_while_is_not_listed_again() -> None:
    """503 to watches and lists alike is not about a resourceVersion: the watch goes on where it
    was.
    """
    ill = {"is": False}

    def watch() -> RawResponse | Stream:
        ill["is"] = dead.now < 30
        return RawResponse(503) if ill["is"] else Lived(20).of(dead)

    dead = Dead(60, LIST=lambda: RawResponse(503) if ill["is"] else listed(), WATCH=watch)
    dead.informer._run()
    assert [at for verb, at in dead.sent if verb == "LIST" and at >= 30] == []
    assert {dict(options["query"]).get("resourceVersion") for options in dead.options} == {
        None,
        "1",
    }
    assert dead.verbs().count("LIST") <= 4


@pytest.mark.parametrize("page", [lambda: Lines(b"<html>"), lambda: Lines(too_long)])
def test_a_sign_in_page_on_every_path_is_one_lasting_problem(
    page: Callable[[], Stream], caplog: pytest.LogCaptureFixture
) -> None:
    """It accepts each watch with 200: that is no good answer, and no end of the problem."""
    caplog.set_level(logging.INFO)

    def is_there() -> bool:
        return 30 <= dead.now < 130

    def watch() -> Stream:
        return page() if is_there() else Lived(20).of(dead)

    dead = Dead(
        160,
        LIST=lambda: RawResponse(200, {}, {"error": "sign in"}) if is_there() else listed(),
        WATCH=watch,
    )
    failing: set[float | None] = set()
    wait = dead.informer._wait

    def look(seconds: float) -> None:
        if 45 < dead.now < 130:
            failing.add(dead.informer.failing_since)
        wait(seconds)

    dead.informer._wait = look
    dead.informer._run()
    (since,) = failing
    assert since is not None
    assert since < 45
    assert [message.partition(": not")[0] for message in caplog.messages] == [
        "secrets",
        "secrets: current again",
    ]


def too_long() -> None:
    """A line without an end."""
    raise MalformedStreamError("GET: a line of more than 16 MB")


@pytest.mark.parametrize(
    "answer", [refuse, lambda: RawResponse(401), lambda: RawResponse(403), lambda: RawResponse(429)]
)
def test_a_watch_that_may_not_be_asked_for_leads_to_no_list(
    answer: Callable[[], RawResponse | Stream],
) -> None:
    """Nobody listens, or who asks may not: that says nothing about the resourceVersion."""
    dead = Dead(100, LIST=listed, WATCH=answer)
    dead.informer._run()
    assert dead.verbs().count("LIST") == 1


@pytest.mark.parametrize("version", ["9" * 5000, "abc", "-1", "", "1e3", "٧"])
def test_a_version_of_another_shape_is_not_stored(version: str) -> None:
    """A bookmark or event with one leaves the watch where it was, and the thread lives."""
    lines = [
        event("BOOKMARK", {"metadata": {"resourceVersion": version}}),
        event("ADDED", {**secret("a", 1), "metadata": {"name": "a", "resourceVersion": version}}),
    ]
    streams = iter([Lines(*lines)])
    dead = Dead(3, LIST=listed, WATCH=lambda: next(streams, Ended()))
    dead.informer._run()
    assert dict(dead.options[2]["query"])["resourceVersion"] == "1"


def test_a_list_without_an_end_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends pages for ever gets a bounded number of requests a try."""
    monkeypatch.setattr("captep_kubernetes._informer._MOST_PAGES", 5)
    dead = Dead(1, LIST=lambda: RawResponse(200, {}, page(4, rest="more")))
    dead.informer._run()
    assert dead.verbs() == ["LIST"] * 5
    assert dead.problems == [Unreadable("Malformed", f"{PATH}: more than 5 pages of a list")]


@pytest.mark.parametrize(
    "body", [{}, {"error": "sign in"}, {"items": None}, {"items": {}}, {"kind": "Status"}]
)
def test_an_answer_without_items_is_no_empty_list(body: dict[str, JSON]) -> None:
    """A proxy that asks to sign in must not make every object absent."""
    answers = iter([RawResponse(200, {}, page(4, secret("a", 1))), RawResponse(200, {}, body)])
    dead = Dead(9, LIST=lambda: next(answers, RawResponse(500)), WATCH=lambda: RawResponse(410))
    dead.informer._run()
    assert dead.informer.refs() == (ref("a"),)
    assert Unreadable("Malformed", f"{PATH}: HTTP 200 without a list of items") in dead.problems


def test_an_empty_list_may_be_null() -> None:
    """Go writes an empty slice so."""
    body: dict[str, JSON] = {
        "kind": "SecretList",
        "metadata": {"resourceVersion": "4"},
        "items": None,
    }
    dead = Dead(1, LIST=lambda: RawResponse(200, {}, body), WATCH=Ended)
    dead.informer._run()
    assert dead.informer.has_synced


def test_the_thread_survives_every_exception(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a transport is one line without its text, and the next try works."""

    def broken() -> RawResponse:
        raise KeyError("hunter2")

    answers = iter([broken, broken])
    dead = Dead(9, LIST=lambda: next(answers, listed)(), WATCH=lambda: Lived(20).of(dead))
    dead.informer._run()
    assert dead.informer.has_synced
    assert caplog.messages == ["secrets: not current: InternalError: KeyError in this process"]


def test_a_failing_handler_hides_no_other_change(caplog: pytest.LogCaptureFixture) -> None:
    """The objects of a list are all announced, and the failure is logged without its text."""
    seen: list[str] = []

    def handle(change: CacheChange) -> None:
        seen.append(change.ref.name)
        if change.ref.name == "a":
            raise ValueError("hunter2")

    dead = Dead(
        1, LIST=lambda: RawResponse(200, {}, page(4, secret("a", 1), secret("b", 2))), WATCH=Ended
    )
    dead.informer._on_change = handle
    dead.informer._run()
    assert seen == ["a", "b"]
    assert caplog.messages == ["Secret ns/a: a handler failed: ValueError"]


def test_a_restored_server_replaces_the_cache() -> None:
    """resourceVersions went back: after the refused watch the list and later events count."""
    lists = iter(
        [
            RawResponse(200, {}, page(100, secret("a", 90), secret("ghost", 95))),
            RawResponse(200, {}, page(40, secret("a", 30))),
        ]
    )
    refused = RawResponse(504)
    streams: Iterator[RawResponse | Stream] = iter(
        [refused, refused, Lines(event("MODIFIED", secret("a", 41)))]
    )
    dead = Dead(
        9, LIST=lambda: next(lists), WATCH=lambda: next(streams, None) or Lived(20).of(dead)
    )
    dead.informer._run()
    assert dead.informer.refs() == (ref("a"),)
    assert dead.informer.version(ref("a")) == "41"


def test_failing_since_is_when_the_cache_stopped_being_current() -> None:
    """From the start until the first list, then from the first failure of a row to its end."""
    streams: Iterator[Any] = iter([Lived(20), RawResponse(429), RawResponse(429), Lived(20)])
    dead = Dead(43, LIST=listed, WATCH=lambda: live(next(streams)))
    since: list[float | None] = [dead.informer.failing_since]

    def live(answer: Any) -> Any:  # noqa: ANN401
        since.append(dead.informer.failing_since)
        return answer.of(dead) if isinstance(answer, Lived) else answer

    dead.informer._run()
    assert since == [0.0, None, None, 20.0, 20.0]
    assert dead.informer.failing_since is None


def test_a_stopped_informer_takes_no_further_line() -> None:
    """Stopped between two lines: the stream is closed, and the cache takes no further line."""
    stream = Lines(
        event("ADDED", secret("a", 2)),
        lambda: dead.informer.stop(),
        event("ADDED", secret("b", 3)),
        event("ADDED", secret("c", 4)),
    )
    dead = Dead(60, LIST=listed, WATCH=lambda: stream)
    dead.informer._run()
    assert (stream.closed, stream.read, dead.informer.refs()) == (True, 2, (ref("a"),))
    assert dead.sent == [("LIST", 0.0), ("WATCH", 0.0)]


def test_a_watch_that_is_accepted_after_the_stop_is_closed() -> None:
    """`stop` came while the request was on its way, and could not close what was not there yet."""
    stream = Lines(event("ADDED", secret("a", 2)))

    def accepted() -> Stream:
        dead.informer.stop()
        return stream

    dead = Dead(60, LIST=listed, WATCH=accepted)
    dead.informer._run()
    assert (stream.closed, dead.informer.refs()) == (True, ())


def test_a_list_that_is_stopped_is_not_taken() -> None:
    """No further page is asked for, and what one page says is not taken for all there is."""

    def first() -> RawResponse:
        dead.informer.stop()
        return RawResponse(200, {}, page(4, secret("a", 1), rest="more"))

    dead = Dead(60, LIST=first)
    dead.informer._run()
    assert (dead.sent, dead.informer.refs(), dead.informer.has_synced) == (
        [("LIST", 0.0)],
        (),
        False,
    )


def test_a_watch_that_ends_while_it_is_stopped_is_closed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`stop` sees a stream, and its thread lets go of it right after: nothing is raised."""
    looks = iter([Ended()])
    informer = Informer(transport_to(refused_port()), SECRETS)
    monkeypatch.setattr(Informer, "_stream", property(lambda _: next(looks, None)), raising=False)
    informer.stop()


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        (b"no json", Unreadable("Malformed", "the watch of secrets sent a line that is no event")),
        (
            {"type": "ERROR", "object": {"code": 504, "reason": "Timeout"}},
            Unreadable("Timeout", f"{PATH}: HTTP 504"),
        ),
        ({"type": "ERROR", "object": {"reason": "Odd"}}, Unreadable("Odd", f"{PATH}: HTTP 500")),
        (
            {"type": "ERROR", "object": {"code": "410"}},
            Unreadable("InternalError", f"{PATH}: HTTP 500"),
        ),
        (GONE, None),
        (event("BOOKMARK", {"metadata": {"resourceVersion": "9"}}), None),
    ],
)
def test_a_watch_that_ends_with_an_error_is_a_problem(
    end: Object | bytes, problem: Unreadable | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad line or an error event is a problem until the next watch; a due end and 410 are no
    problem.
    """
    caplog.set_level(logging.INFO)
    lines = iter([Lines(end)])
    dead = Dead(3, LIST=listed, WATCH=lambda: next(lines, Ended()))
    dead.informer._run()
    assert dead.problems[0] == problem
    assert set(dead.problems[1:]) == {None}
    again = (
        [] if problem is None else [f"secrets: not current: {problem}", "secrets: current again"]
    )
    assert caplog.messages == again


def test_an_error_event_may_name_a_retry_after() -> None:
    """429 as an event, with retryAfterSeconds: not before."""
    busy: Object = {"type": "ERROR", "object": {"code": 429, "details": {"retryAfterSeconds": 7}}}
    assert Dead(20, LIST=listed, WATCH=lambda: Lines(busy)).times("WATCH") == [0.0, 7.0, 14.0]


def test_another_problem_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    """500 again and again is one line, 403 after it another."""
    answers = iter([RawResponse(500), RawResponse(500), RawResponse(403), RawResponse(403)])
    Dead(7, LIST=lambda: next(answers)).times("LIST")
    assert caplog.messages == [
        f"secrets: not current: InternalError: {PATH}: HTTP 500",
        f"secrets: not current: Forbidden: {PATH}: HTTP 403",
    ]


def test_a_list_without_a_version_is_watched_from_the_oldest() -> None:
    """Whatever the server remembers comes as events."""
    dead = Dead(
        1,
        LIST=lambda: RawResponse(200, {}, {"items": [secret("a", 1)], "metadata": None}),
        WATCH=Ended,
    )
    dead.informer._run()
    assert dict(dead.options[1]["query"])["resourceVersion"] == "0"
    assert dead.informer.refs() == (ref("a"),)


def test_a_deletion_is_of_one_incarnation() -> None:
    """A late DELETED of an older incarnation deletes nothing; older news brings nothing back."""
    old, other = secret("a", 3), secret("a", 6)
    old["metadata"]["uid"] = "before"  # type: ignore[index,call-overload]  # the test's own
    other["metadata"]["uid"] = "between"  # type: ignore[index,call-overload]  # the test's own
    seen: list[tuple[ObjectRef, ...]] = []

    def look() -> None:
        seen.append(dead.informer.refs())

    stream = Lines(
        event("DELETED", old),
        look,
        event("DELETED", secret("a", 7)),
        look,
        event("ADDED", other),
        look,
    )
    dead = Dead(1, LIST=lambda: RawResponse(200, {}, page(5, secret("a", 5))), WATCH=lambda: stream)
    dead.informer._run()
    assert seen == [(ref("a"),), (), ()]


BACKOFF = [0.0, 1.0, *range(3, 60, 3)]


@pytest.mark.parametrize(
    "answer", [refuse, lambda: RawResponse(500), lambda: RawResponse(403), lambda: RawResponse(410)]
)
def test_a_server_that_fails_every_list_is_asked_every_three_seconds(
    answer: Callable[[], RawResponse],
) -> None:
    """Refused, 500, 403, 410: at once, then after 1, 2 and then every 3 seconds."""
    assert Dead(60, LIST=answer).times("LIST") == BACKOFF


@pytest.mark.parametrize(
    "answer", [refuse, Ended, lambda: RawResponse(429), lambda: RawResponse(403)]
)
def test_a_server_that_fails_every_watch_is_asked_every_three_seconds(
    answer: Callable[[], RawResponse | Stream],
) -> None:
    """Refused, closed at once, 429, 403: the same, and no second LIST."""
    dead = Dead(60, LIST=listed, WATCH=answer)
    assert dead.times("WATCH") == BACKOFF
    assert [verb for verb, _ in dead.sent].count("LIST") == 1


def test_a_server_that_expires_every_watch_is_asked_every_three_seconds() -> None:
    """LIST works, each WATCH is 410: both are paced together."""
    dead = Dead(60, LIST=listed, WATCH=lambda: RawResponse(410))
    assert dead.times("WATCH") == BACKOFF
    assert [at for verb, at in dead.sent if verb == "LIST"] == BACKOFF


def test_a_pause_counts_from_the_last_answer() -> None:
    """A watch that lived for four seconds reopens at once, and lists at once when it ended with
    410.
    """
    lives = iter([Lived(4), Lived(0.5), Lived(4, GONE), Lived(100)])
    dead = Dead(20, LIST=listed, WATCH=lambda: next(lives).of(dead))
    dead.informer._run()
    assert dead.sent == [
        ("LIST", 0.0),
        ("WATCH", 0.0),
        ("WATCH", 4.0),
        ("WATCH", 6.0),
        ("LIST", 10.0),
        ("WATCH", 10.0),
    ]


ANSWERS = st.sampled_from([0, 200, 403, 410, 429, 500])


@given(
    st.lists(ANSWERS),
    st.lists(st.tuples(ANSWERS, st.floats(0, 20), st.sampled_from([None, GONE]))),
    st.floats(0, 0.999),
)
def test_no_verb_is_sent_twice_in_a_second(
    lists: list[int], watches: list[tuple[int, float, Object | None]], chance: float
) -> None:
    """Watches, refusals and 410 in any order: a second between two of the same verb."""
    statuses, lives = iter(lists), iter(watches)

    def answer(status: int) -> RawResponse:
        return (
            listed()
            if status == 200
            else RawResponse(status, {"retry-after": "1"})
            if status
            else refuse()
        )

    def watch() -> RawResponse | Stream:
        status, seconds, end = next(lives, (500, 0, None))
        return Lived(seconds, end).of(dead) if status == 200 else answer(status)

    dead = Dead(60, chance, LIST=lambda: answer(next(statuses, 200)), WATCH=watch)
    dead.informer._run()
    for verb in ("LIST", "WATCH"):
        times = [at for sent, at in dead.sent if sent == verb]
        assert all(later - earlier > 0.999 for earlier, later in itertools.pairwise(times)), (
            dead.sent
        )


def test_retry_after_is_respected() -> None:
    """429 with Retry-After 7 waits 7 s; an hour is cut to half a minute: the server may be new
    since.
    """
    assert Dead(30, LIST=lambda: RawResponse(429, {"retry-after": "7"})).times("LIST")[:3] == [
        0.0,
        7.0,
        14.0,
    ]
    assert Dead(100, LIST=lambda: RawResponse(503, {"retry-after": "3600"})).times("LIST")[:3] == [
        0.0,
        30.0,
        60.0,
    ]


def test_a_watch_that_lived_long_starts_the_count_again() -> None:
    """After three watches of a minute each, refusals are met as if they were the first."""
    lives = iter([Lived(60), Lived(60), Lived(60)])
    dead = Dead(190, LIST=listed, WATCH=lambda: next(lives, Lived(0)).of(dead))
    assert dead.times("WATCH") == [0.0, 60.0, 120.0, 180.0, 181.0, 183.0, 186.0, 189.0]


def test_a_watch_that_lived_for_ten_seconds_lived_long() -> None:
    """Such a watch resets the count of LIST: expired and refused, it comes after 1, 2 and 3
    seconds.
    """
    answers = iter([RawResponse(500), RawResponse(500), RawResponse(500), listed()])
    dead = Dead(
        30, LIST=lambda: next(answers, RawResponse(500)), WATCH=lambda: Lived(10, GONE).of(dead)
    )
    assert dead.times("LIST") == [0.0, 1.0, 3.0, 6.0, 16.0, 17.0, 19.0, 22.0, 25.0, 28.0]


def test_a_good_list_takes_the_count_of_watch_back() -> None:
    """Four watches refused, the last with 410: after the LIST the next one waits one second."""
    answers = iter([RawResponse(429), RawResponse(429), RawResponse(429), RawResponse(410)])
    dead = Dead(12, LIST=listed, WATCH=lambda: next(answers, RawResponse(429)))
    assert dead.times("WATCH") == [0.0, 1.0, 3.0, 6.0, 7.0, 9.0]
    assert [at for verb, at in dead.sent if verb == "LIST"] == [0.0, 6.0]


def test_jitter_stretches_and_never_shortens() -> None:
    """Delays of the default lie in [d, 1.2 d), and no two informers have the same."""
    times = Dead(60, 0.2, LIST=refuse).times("LIST")
    delays = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(
        expected <= delay < 1.2 * expected
        for delay, expected in zip(delays, [1.0, 2.0, *[3.0] * 100], strict=False)
    )
    assert len(set(delays)) == len(delays) > 10


def test_a_dead_server_costs_next_to_no_cpu() -> None:
    """A virtual minute against a closed port: a try every three seconds, each of under 20 ms."""
    waited: list[float] = []
    is_over, may_end = threading.Event(), threading.Event()

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if sum(waited) > 60.0:
            is_over.set()
            may_end.wait(10)

    informer = Informer(transport_to(refused_port()), SECRETS, clock=lambda: sum(waited), wait=wait)
    before = time.process_time()
    informer.start()
    assert is_over.wait(10)
    spent = time.process_time() - before
    informer.stop(timeout=0.0)
    may_end.set()
    assert 15 < informer._tries["LIST"] <= 22
    assert spent < 0.02 * informer._tries["LIST"]
