"""A wire that delays, cuts, refuses and forgets between `captep run` and a real kube-apiserver.

Rules of this module:

1. The writes that arrived show that nothing is repeated: no two accepted writes are the same, and
   no object is created twice.
2. The requests that the wire noted show that the controller does not hurry: on one path, at least a
   second lies between two lists and between two watches.
"""

import itertools
import json
import os
import queue
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import urllib3

from captep_world import Subject
from tests.cluster.apiserver import ApiServer, eventually
from tests.cluster.around import Around, play, requests_by
from tests.cluster.process import Captep
from tests.cluster.tampering import GONE, PASS, Asked, Tamper, Tampering, answered
from tests.cluster.test_faults import (
    INTERVAL,
    PACE,
    SLACK,
    assert_at_rest,
    begin,
    cpu_seconds,
    is_usable,
    writes_of,
)
from tests.cluster.test_run import CREATION, SECRETS, secret_of, settle

pytestmark = pytest.mark.cluster
KINDS = 7
"""Watched paths: with one namespace one for each kind, and that of the Cluster's definition."""
LAG = 1.5
"""Seconds by which a lagging watch is behind."""


class Storm:
    """The creation of one control plane, and the writes for it."""

    def __init__(
        self, apiserver: ApiServer, around: Around, wire: Tampering, subject: Subject
    ) -> None:
        self._apiserver = apiserver
        self._around = around
        self._wire = wire
        self._subject = subject
        self._since = len(apiserver.audit())
        begin(around, subject)

    def ends(self, within: float) -> None:
        """Wait until the control plane is usable."""
        eventually(
            lambda: is_usable(self._around, self._subject),
            what=f"{self._subject.name} is usable",
            within=within,
        )

    def assert_nothing_repeated(self) -> None:
        """Five objects are created, each by one request, with at most twenty writes.

        No accepted write is sent twice in a row. No write is bound to a version that an own
        accepted write has replaced. An undisturbed creation takes thirteen writes; the others
        report states on the way, of which a controller sees more if it sees less at a time.
        """
        whole = f"{self._subject.namespace}/{self._subject.name}"
        requests = [
            each
            for each in requests_by(self._apiserver, "controller", since=self._since)
            if whole in str(each[1])
        ]
        creations = [
            str(ref)
            for verb, ref, _, _ in requests
            if verb == "create" and ref is not None and ref.kind != "Event"
        ]
        assert len(creations) == len(set(creations)) == 5, creations
        written = [
            write
            for write in writes_of(self._apiserver, "controller", self._since)
            if whole in write
        ]
        assert len(written) <= 20, written
        sent = defaultdict(list)
        for asked in self._wire.accepted:
            if asked.method != "GET" and "/events" not in asked.path:
                sent[asked.method, asked.path].append(_lasting(asked.content))
        for path, bodies in sent.items():
            assert all(earlier != later for earlier, later in itertools.pairwise(bodies)), (
                path,
                bodies,
            )
        replaced: dict[str, int] = defaultdict(int)
        for asked in self._wire.asked:
            version = _bound_to(asked)
            where = asked.path.removesuffix("/status")
            if version is not None:
                assert version > replaced[where], (
                    f"{where} at {version}, which an own write has replaced"
                )
                replaced[where] = version if asked in self._wire.accepted else replaced[where]


def _bound_to(asked: Asked) -> int | None:
    """Return the resourceVersion that a write is bound to, if it is bound to one."""
    is_bound = asked.method == "PATCH" and "/events/" not in asked.path
    version = json.loads(asked.content)["metadata"].get("resourceVersion") if is_bound else None
    return None if version is None else int(version)


def _lasting(content: bytes) -> str:
    """Return a body without its resourceVersion: later versions of the same write are equal."""
    body = json.loads(content)
    body.get("metadata", {}).pop("resourceVersion", None)
    return json.dumps(body, sort_keys=True)


def heal(wire: Tampering) -> None:
    """Stop tampering, end the watches and wait until every kind is watched again."""
    wire.tamper = lambda _: PASS
    since = time.monotonic()

    def is_watched() -> bool:
        # A watch that was asked for a moment ago may begin only now.
        wire.end_watches(before=since)
        return len(asked_for(wire, "watch", since)) == KINDS

    eventually(is_watched, what="every kind is watched again", within=PACE + SLACK)


def asked_for(wire: Tampering, verb: str, since: float = 0.0) -> dict[str, list[float]]:
    """Return the times at which each path was listed (first pages alone) or watched.

    The question at the start whether definitions may be read, with one object, is no list.
    """
    times = defaultdict(list)
    for asked in list(wire.asked):
        is_first = "continue" not in asked.query and asked.query.get("limit") != "1"
        if asked.verb == verb and asked.at > since and is_first:
            times[asked.path].append(asked.at)
    return times


def assert_no_hurry(wire: Tampering, *verbs: str, since: float = 0.0) -> None:
    """Between two requests of one verb for one path lies at least a second."""
    for verb in verbs:
        for path, times in asked_for(wire, verb, since).items():
            assert all(later - earlier > 0.99 for earlier, later in itertools.pairwise(times)), (
                verb,
                path,
                times,
            )


def test_a_server_that_expires_every_watch_stays_current(
    apiserver: ApiServer,
    around: Around,
    through: Path,
    wire: Tampering,
    namespace: str,
    tmp_path: Path,
) -> None:
    """While every watch expires, lists suffice; once watches work, nothing is listed."""
    turns: dict[str, Iterator[int]] = defaultdict(itertools.count)

    def expire(asked: Asked) -> Tamper:
        if asked.verb != "watch":
            return PASS
        return (
            Tamper(lines=lambda _: iter([GONE])) if next(turns[asked.path]) % 2 else answered(410)
        )

    wire.tamper = expire
    with Captep(through, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        storm = Storm(apiserver, around, wire, around.subject(namespace, "gifu"))
        storm.ends(within=60)
        assert min(next(turn) for turn in turns.values()) > 1
        heal(wire)
        listed = len(wire.asked)
        assert_at_rest(apiserver, "controller")
        assert [asked for asked in wire.asked[listed:] if asked.verb == "list"] == []
        storm.assert_nothing_repeated()
        assert_no_hurry(wire, "list", "watch")


def test_expired_pages_lose_no_object(
    apiserver: ApiServer,
    around: Around,
    through: Path,
    wire: Tampering,
    namespace: str,
    tmp_path: Path,
) -> None:
    """If every continue token is too old, each kind is listed whole, once, and work goes on."""
    mie = around.subject(namespace, "mie")
    for name in ("one", "two", "three"):
        apiserver.create(SECRETS.path(namespace), {"metadata": {"name": name}})

    def expire(asked: Asked) -> Tamper:
        return (
            answered(410)
            if "continue" in asked.query
            else Tamper(query={"limit": "1"} if "limit" in asked.query else {})
        )

    wire.tamper = expire
    with Captep(through, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        storm = Storm(apiserver, around, wire, mie)
        storm.ends(within=INTERVAL)
        assert_at_rest(apiserver, "controller")
    pages = [
        sorted(asked.query)
        for asked in wire.asked
        if asked.verb == "list" and asked.path == SECRETS.path(namespace)
    ]
    assert pages == [["limit"], ["continue", "limit"], []]
    storm.assert_nothing_repeated()


def test_late_watches_undo_no_own_write(
    apiserver: ApiServer,
    around: Around,
    through: Path,
    wire: Tampering,
    namespace: str,
    tmp_path: Path,
) -> None:
    """With late watches the controller sees its own writes, and no old event undoes them."""
    wire.tamper = lambda _: Tamper(after=0.3, lines=lagging)
    shiga = around.subject(namespace, "shiga")
    with Captep(through, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        storm = Storm(apiserver, around, wire, shiga)
        storm.ends(within=60)
        assert_at_rest(apiserver, "controller")
    storm.assert_nothing_repeated()
    applied = [
        asked.at
        for asked in wire.asked
        if asked.method == "POST" and "workspacetemplateapplies" in asked.path
    ]
    reported = [
        asked.at
        for asked in wire.asked
        if asked.method == "PATCH" and asked.path.endswith("shiga/status")
    ]
    assert min(reported) - applied[1] < LAG / 2


def lagging(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Delay each line by `LAG` seconds."""
    delayed: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        with suppress(urllib3.exceptions.HTTPError):
            for line in lines:
                delayed.put((time.monotonic() + LAG, line))
        delayed.put((0.0, b""))

    threading.Thread(target=read, daemon=True).start()
    while (late := delayed.get())[1]:
        time.sleep(max(0.0, late[0] - time.monotonic()))
        yield late[1]


def test_lost_answers_repeat_no_effect(
    apiserver: ApiServer,
    around: Around,
    through: Path,
    wire: Tampering,
    namespace: str,
    tmp_path: Path,
) -> None:
    """If a create and a patch land unanswered, their effects are seen before the next write."""
    lost: dict[str, Asked] = {}
    applies = f"/namespaces/{namespace}/workspacetemplateapplies"

    def swallow(asked: Asked) -> Tamper:
        for what, is_it in {
            "create": asked.method == "POST"
            and asked.path.endswith(applies)
            and b'"kyoto-kubeconfig-apply"' in asked.content,
            "patch": asked.method == "PATCH"
            and asked.path.endswith("/captcontrolplanes/uji/status"),
        }.items():
            if is_it and what not in lost:
                lost[what] = asked
                return Tamper(after=15.0)
        return PASS

    wire.tamper = swallow
    with Captep(through, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        kyoto = around.subject(namespace, "kyoto")
        uji = around.subject(namespace, "uji")
        storms = [Storm(apiserver, around, wire, subject) for subject in (kyoto, uji)]
        for storm in storms:
            storm.ends(within=10 + SLACK)
        assert_at_rest(apiserver, "controller")
    assert lost.keys() == {"create", "patch"}
    for storm in storms:
        storm.assert_nothing_repeated()


def test_an_absent_server_is_asked_seldom(
    apiserver: ApiServer,
    around: Around,
    through: Path,
    wire: Tampering,
    namespace: str,
    tmp_path: Path,
) -> None:
    """An absent server gets a try a second, at hardly any CPU; nothing leaks, all is repaired."""
    oita = around.subject(namespace, "oita")
    with Captep(through, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        play(around, CREATION, oita)
        settle(apiserver, "controller")
        held = held_by(process)
        spent = cpu_seconds(process)
        began = time.monotonic()
        ways = (answered(503), answered(429, Retry_After="1"), Tamper(drop=True), Tamper(before=60))
        wire.tamper = lambda _: ways[0]
        wire.cut()
        apiserver.call("DELETE", SECRETS.path(namespace, "oita-kubeconfig"))
        for way in ways:
            wire.tamper = lambda _, way=way: way  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            time.sleep(3.5)
        wire.cut()
        assert cpu_seconds(process) - spent < 0.02 * (time.monotonic() - began)
        tries = asked_for(wire, "watch", since=began)
        assert len(tries) == KINDS
        assert all(len(times) >= 4 for times in tries.values())
        healed = time.monotonic()
        heal(wire)
        eventually(
            lambda: secret_of(apiserver, oita),
            what="the deleted Secret is created again",
            within=SLACK,
        )
        assert_at_rest(apiserver, "controller")
        # Two refusals in a row are followed by a list, which fails as well; none follows the
        # repair.
        lists = asked_for(wire, "list", since=began)
        assert all(len(times) <= 2 for times in lists.values())
        assert all(times[-1] < healed for times in lists.values())
        assert_no_hurry(wire, "watch")
        # The pool keeps idle connections: there may be one or two more of them than before.
        assert all(now <= before + 2 for now, before in zip(held_by(process), held, strict=True)), (
            held,
            held_by(process),
        )


def held_by(process: Captep) -> tuple[int, int]:
    """Return the number of threads and the number of open files of a process."""
    threads = os.listdir(f"/proc/{process.process.pid}/task")
    open_files = os.listdir(f"/proc/{process.process.pid}/fd")
    return len(threads), len(open_files)


def test_cut_watches_lose_no_change(
    apiserver: ApiServer,
    around: Around,
    through: Path,
    wire: Tampering,
    namespace: str,
    tmp_path: Path,
) -> None:
    """A watch that ends early, even inside a line, loses no change and causes no list."""
    chance = random.Random(410)

    def cut(lines: Iterator[bytes]) -> Iterator[bytes]:
        yield from itertools.islice(lines, chance.randrange(1, 5))
        if chance.random() < 0.5:
            yield next(lines, b"")[:40]

    with Captep(through, tmp_path, "--namespace", namespace) as process:
        process.wait_until_it_works()
        wire.tamper = lambda _: Tamper(lines=cut)
        wire.cut()
        since = time.monotonic()
        storm = Storm(apiserver, around, wire, around.subject(namespace, "fukui"))
        storm.ends(within=60)
        heal(wire)
        assert_at_rest(apiserver, "controller")
    storm.assert_nothing_repeated()
    assert sum(len(times) for times in asked_for(wire, "watch", since).values()) > 2 * KINDS
    assert asked_for(wire, "list", since) == {}
    assert_no_hurry(wire, "watch")
