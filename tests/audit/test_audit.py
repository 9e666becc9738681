"""`captep audit`: what each rule finds, what it leaves alone, and which files it reads.

`captep.log.gz` was recorded from a kube-apiserver 1.37.2 while captep made two control planes, and
`bad.log.gz` from an operator with one seeded bug for each rule. Secrets are at the level Metadata.
`python -m tests.cluster.record_audit kopf restless` records the logs of these two operators again
(`tests/cluster/clients`): one made with kopf, and a restless one.
"""

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from captep_audit import Finding, Judge, Log, Verdict, read_events
from captep_cli import main

HERE = Path(__file__).parent
GOOD, BAD = str(HERE / "captep.log.gz"), str(HERE / "bad.log.gz")
START = datetime(2026, 1, 1, tzinfo=UTC)
Event = dict[str, Any]


class Writer:
    """Makes events of one object as an API server logs them."""

    def __init__(self, level: str = "RequestResponse") -> None:
        self.level = level
        self.version = 1
        self.events: list[Event] = []

    def add(
        self,
        seconds: float,
        verb: str,
        body: object = None,
        *,
        user: str = "operator",
        name: str = "x",
        code: int = 200,
        effect: bool = True,
        subresource: str | None = None,
        uri: str = "/api/v1/namespaces/d/configmaps/x",
        resource: str = "configmaps",
    ) -> "Writer":
        """Add an event; `effect` says whether the answer has a new resourceVersion."""
        self.version += effect and verb in ("create", "patch", "update")
        at = (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
        metadata = {"name": name, "resourceVersion": str(self.version)}
        event: Event = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": self.level,
            "stage": "ResponseComplete",
            "requestURI": uri,
            "verb": verb,
            "user": {"username": user},
            "userAgent": f"{user}-program/1.0 (linux)",
            "objectRef": {"resource": resource, "namespace": "d", "name": name},
            "responseStatus": {"code": code},
            "stageTimestamp": at,
        }
        if subresource:
            event["objectRef"]["subresource"] = subresource
        if self.level != "Metadata":
            event["requestObject"] = body
        if self.level == "RequestResponse" and verb != "list":
            event["responseObject"] = {"kind": "ConfigMap", "metadata": metadata}
        self.events.append(event)
        return self


def judged(events: Iterable[Event], user: str | None = "operator") -> Verdict:
    """Return the verdict over events."""
    judge = Judge(user)
    for event in events:
        judge.see(event)
    return judge.verdict()


def rules(events: Iterable[Event], user: str | None = "operator") -> list[str]:
    """Return the rules that found something."""
    return [finding.rule for finding in judged(events, user).findings]


def ended(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Run the command; return its status, output and error."""
    try:
        status = main(["audit", *args])
    except SystemExit as exc:
        status = int(exc.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def test_captep_is_found_without_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """23 writes make two control planes, each with an effect, and the status is 0."""
    status, out, err = ended(capsys, GOOD, "--user", "controller", "-o", "json")
    report = json.loads(out)
    assert (status, err, report["findings"], report["not_judged"]) == (0, "", [], [])
    (actor,) = report["actors"]
    assert (actor["user"], actor["program"]) == ("controller", "captep")
    assert (actor["writes"], actor["effective"], actor["without_effect"]) == (23, 23, 0)
    assert ended(capsys, GOOD, "--user", "controller")[1].endswith("nothing found\n")


def test_each_seeded_bug_of_a_bad_operator_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """The finding names the rule and the object, and the status is 1."""
    status, out, _ = ended(capsys, BAD, "--agent", "bad-operator", "-o", "json")
    found = {(each["rule"], each["object"]) for each in json.loads(out)["findings"]}
    assert status == 1
    assert found == {
        ("blind-delete", "configmaps default/blind"),
        ("conflicts", ""),
        ("fight", "configmaps default/flapping"),
        ("fight", "configmaps default/fought"),
        ("hot-loop", "configmaps default/hot"),
        ("hot-loop", "configmaps default/polled"),
        ("hot-loop", "configmaps default/raced"),
        ("list-storm", "/api/v1/namespaces/default/configmaps"),
        ("no-effect", "configmaps default/same"),
        ("reads-per-change", ""),
        ("repeated-write", "configmaps default/flapping"),
        ("repeated-write", "configmaps default/fought"),
    }
    text = ended(capsys, BAD, "--agent", "bad-operator")[1]
    assert "bad-operator and gitops set data.a in turn" in text


def test_an_operator_of_kopf_is_found_without_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """Nine patches hold, mark and release two objects; each has an effect, and it watches."""
    status, out, err = ended(capsys, str(HERE / "kopf.log.gz"), "--user", "kopf")
    head, *lines = out.splitlines()
    assert (status, err) == (0, "")
    assert head.startswith("28 events of 1 file(s), ")
    assert lines == [
        "",
        "kopf (kopf)",
        "  requests  4 list, 9 patch, 3 watch",
        "  writes    9: 9 with an effect, 0 without, 0 unknown, 0 refused, 0 of them conflicts",
        "  reads     4, 0.31 for each change",
        "",
        "nothing found",
    ]


def test_every_mistake_of_a_restless_operator_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole verdict: each mistake in its docstring is a finding, and there is no other."""
    log = str(HERE / "restless.log.gz")
    status, out, err = ended(capsys, log, "--user", "restless", "-o", "json")
    report = json.loads(out)
    assert (status, err, report["not_judged"]) == (1, "", [])
    found = [(each["rule"], each["object"], each["count"]) for each in report["findings"]]
    assert sorted(found) == [
        ("blind-delete", "configmaps walk/copy", 4),
        ("fight", "configmaps walk/copy", 7),
        ("hot-loop", "configmaps walk/colour", 40),
        ("hot-loop", "configmaps walk/copy", 49),
        ("list-storm", "/api/v1/namespaces/walk/configmaps", 40),
        ("no-effect", "configmaps walk/copy", 40),
        ("repeated-write", "configmaps walk/copy", 5),
        ("unsettled", "configmaps walk/colour", 30),
    ]
    (actor,) = report["actors"]
    figures = ("writes", "effective", "without_effect", "reads", "deletes_without_preconditions")
    assert [actor[name] for name in figures] == [89, 49, 40, 120, 4]


def test_a_fight_names_both_managers_and_the_field() -> None:
    """The fieldManager of the request is the manager; without one it is the program."""
    log = Writer()
    for number in range(4):
        log.add(10 * number, "patch", {"spec": {"a": {"b": 1}}})
        uri = "/x?fieldManager=gitops&force=true"
        log.add(10 * number + 5, "patch", {"spec": {"a": {"b": 2}}}, user="other", uri=uri)
    (fight,) = [each for each in judged(log.events).findings if each.rule == "fight"]
    assert fight.message == "gitops and operator-program set spec.a.b in turn"
    assert [each for each in judged(log.events, "nobody").findings if each.rule == "fight"] == []


def test_a_fight_is_found_from_the_side_of_the_other_manager() -> None:
    """The judged operator is a party, also when the other one writes last."""
    log = Writer()
    for number in range(4):
        log.add(10 * number, "update", {"data": {"a": "1"}})
        log.add(
            10 * number + 1, "patch", [{"op": "replace", "path": "/data/a", "value": "2"}], user="b"
        )
    for user in ("operator", "b"):
        assert "fight" in rules(log.events, user)


@pytest.mark.parametrize("writes", [(0, 10, 20, 30, 40), (0, 1000, 2000, 3000, 4000)])
def test_different_values_of_two_managers_are_no_fight(writes: tuple[int, ...]) -> None:
    """Neither one that counts up while the other does, nor a person who edits now and then."""
    log = Writer()
    for number, seconds in enumerate(writes):
        value = number if writes[1] == 10 else 1
        log.add(seconds, "patch", {"data": {"a": f"a{value}"}})
        log.add(seconds + 5, "patch", {"data": {"a": f"b{value}"}}, user="other")
    assert "fight" not in rules(log.events)


def test_a_hot_loop_is_a_dozen_writes_in_ten_seconds_or_thirty_in_a_minute() -> None:
    """Slower loops are found by their lack of effect."""
    assert rules(burst(12, 0.5)) == ["hot-loop"]
    assert rules(burst(11, 0.5)) == []
    assert rules(burst(30, 2.0)) == ["hot-loop", "unsettled"]
    assert rules(burst(9, 6.0)) == []


def burst(number: int, gap: float) -> list[Event]:
    """Return effective writes of different bodies."""
    log = Writer()
    for each in range(number):
        log.add(each * gap, "patch", {"data": {"a": str(each)}})
    return log.events if gap > 1 else Writer().add(0, "get").events + log.events + later()


def later() -> list[Event]:
    """Return the end of a log that goes on for an hour."""
    return Writer().add(3600, "get", name="other", user="somebody").events


def test_a_write_without_effect_is_one_whose_answer_has_the_known_version() -> None:
    """An update shows its old version itself; one or two without an effect are a lagging cache."""
    log = Writer().add(0, "create", {"data": {}})
    for number in range(3):
        log.add(60 * number, "patch", {"data": {"a": str(number)}}, effect=False)
    assert rules([*log.events, *later()]) == ["no-effect"]
    assert rules([*log.events[:3], *later()]) == []
    updates = Writer()
    for number in range(3):
        body = {"metadata": {"resourceVersion": "1"}, "data": {"a": str(number)}}
        updates.add(60 * number, "update", body, effect=False)
    assert rules([*updates.events, *later()]) == ["no-effect"]


def test_the_same_body_three_times_in_a_quarter_of_an_hour_is_repeated() -> None:
    """Times in the body and its resourceVersion do not count; a refused write does not either."""
    log = Writer()
    for number in range(3):
        body = {
            "metadata": {"resourceVersion": str(number)},
            "status": {"x": 1, "lastTransitionTime": f"2026-01-01T00:0{number}:00Z"},
        }
        log.add(300 * number, "patch", body, subresource="status")
    assert rules([*log.events, *later()]) == ["repeated-write"]
    refused = [{**event, "responseStatus": {"code": 422}} for event in log.events]
    assert rules([*refused, *later()]) == []
    slow = Writer()
    for number in range(5):
        slow.add(600 * number, "patch", {"data": {"a": "1"}})
    assert "repeated-write" not in rules([*slow.events, *later()])


def test_an_object_that_is_still_written_at_the_end_is_unsettled() -> None:
    """One that came to rest is not, and neither is one that follows the writes of others."""
    events = burst(12, 20.0)
    assert rules(events) == ["unsettled"]
    assert rules([*events, *later()]) == []
    log = Writer()
    for number in range(12):
        log.add(20 * number, "patch", {"spec": {"a": number}}, user="person")
        log.add(20 * number + 1, "patch", {"status": {"a": number}}, subresource="status")
    assert rules(log.events) == []


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (None, ["blind-delete"]),
        ({"propagationPolicy": "Background"}, ["blind-delete"]),
        ({"preconditions": {"uid": "u"}}, []),
        ({"preconditions": {"resourceVersion": "7"}}, []),
    ],
)
def test_a_delete_needs_preconditions(options: object, found: list[str]) -> None:
    """A delete that the server refused deleted nothing."""
    assert rules(Writer().add(0, "delete", options).events) == found
    assert rules(Writer().add(0, "delete", options, code=404).events) == []


def test_six_lists_of_one_collection_in_a_minute_are_a_storm() -> None:
    """The further pages of a list are part of it."""
    log = Writer()
    for number in range(6):
        log.add(10 * number, "list", uri="/api/v1/pods?limit=500", name="")
        log.add(10 * number, "list", uri="/api/v1/pods?limit=500&continue=abc", name="")
    assert rules(log.events) == ["list-storm"]
    assert rules(log.events[:10]) == []
    assert rules([each for each in log.events if "continue" in each["requestURI"]]) == []


def test_conflicts_count_against_the_writes() -> None:
    """A create that finds its object lost no race."""
    log = Writer()
    for number in range(40):
        log.add(100 * number, "patch", {"data": {"a": str(number)}}, name=f"n{number}")
        if number < 5:
            log.add(100 * number, "update", {}, code=409, name=f"n{number}")
            log.add(100 * number, "create", {}, code=409, name=f"n{number}")
    assert rules(log.events) == ["conflicts"]
    assert judged(log.events).findings[0].count == 5


@pytest.mark.parametrize("resource", ["leases", "events", "tokenreviews"])
def test_leases_events_and_reviews_are_no_state(resource: str) -> None:
    """A leader renews its Lease every two seconds."""
    log = Writer()
    for number in range(100):
        log.add(number, "update", {"spec": {}}, resource=resource)
    assert rules(log.events) == []


def test_a_dry_run_is_no_write() -> None:
    """The server keeps nothing of it."""
    log = Writer()
    for number in range(40):
        log.add(number / 10, "patch", {"data": {}}, uri="/x?dryRun=All", effect=False)
    assert rules(log.events) == []


def test_the_level_metadata_judges_rates_and_says_what_it_cannot_judge() -> None:
    """Effects, bodies and preconditions are not in such a log."""
    log = Writer("Metadata")
    for number in range(40):
        log.add(number / 10, "patch")
    log.add(5, "delete")
    verdict = judged([*log.events, *later()])
    assert [each.rule for each in verdict.findings] == ["hot-loop"]
    assert [note.partition(":")[0] for note in verdict.not_judged] == [
        "repeated writes, fights and preconditions of deletes",
        "writes without an effect",
    ]


def test_the_memory_does_not_grow_with_the_number_of_objects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The objects that were not touched for the longest time are forgotten."""
    monkeypatch.setattr("captep_audit._judge._OBJECTS", 10)
    judge = Judge()
    for number in range(100):
        for event in Writer().add(number, "patch", {"data": {}}, name=f"n{number}").events:
            judge.see(event)
    assert len(judge._objects) == 10


def lines(events: Iterable[Event]) -> bytes:
    """Return events as the lines of a log."""
    return b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)


def test_rotated_files_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    """Plain or gzip, in whatever order they are named."""
    events = burst(12, 20.0)
    (tmp_path / "audit-1.log.gz").write_bytes(gzip.compress(lines(events[:4])))
    (tmp_path / "audit-2.log").write_bytes(lines(events[4:8]))
    (tmp_path / "audit.log").write_bytes(lines(events[8:]))
    (tmp_path / "empty.log").write_bytes(b"")
    log = Log()
    names = [
        str(tmp_path / name) for name in ("audit.log", "empty.log", "audit-2.log", "audit-1.log.gz")
    ]
    assert list(read_events(names, log)) == events
    assert [Path(name).name for name in log.files] == [
        "empty.log",
        "audit-1.log.gz",
        "audit-2.log",
        "audit.log",
    ]
    assert (log.events, log.broken_lines, log.is_cut) == (12, 0, False)


def test_a_cut_last_line_is_no_error(tmp_path: Path) -> None:
    """A server that writes, and one that crashed, leave half a line; others count as broken."""
    whole = lines(burst(3, 20.0))
    path = tmp_path / "audit.log"
    path.write_bytes(whole + b"no event\n" + whole + whole[:200])
    log = Log()
    assert len(list(read_events([str(path)], log))) == 6
    assert (log.broken_lines, log.is_cut) == (1, True)
    packed = tmp_path / "audit.log.gz"
    packed.write_bytes(gzip.compress(whole * 2000)[:-2000])
    log = Log()
    assert len(list(read_events([str(packed)], log))) > 10
    assert log.is_cut


def test_requests_that_only_arrived_are_skipped(tmp_path: Path) -> None:
    """Only the answer says what became of a request."""
    event = {"stage": "RequestReceived", **burst(1, 20.0)[0]}
    event["stage"] = "RequestReceived"
    path = tmp_path / "audit.log"
    path.write_bytes(lines([event, *burst(1, 20.0)]))
    assert len(list(read_events([str(path)], Log()))) == 1


def test_the_items_of_an_event_list_are_events(tmp_path: Path) -> None:
    """A webhook receives events in lists."""
    batch = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": burst(3, 20.0)}
    path = tmp_path / "audit.log"
    path.write_bytes(lines([batch]))
    assert list(read_events([str(path)], Log())) == burst(3, 20.0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"Jan 1 00:00:00 host kernel: canary\n", "no audit log of a Kubernetes API server"),
        (b'{"kind": "Secret", "data": "canary"}\n', "no audit log of a Kubernetes API server"),
        (b"", "no event; expected an audit log"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_audit_log_ends_with_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, expected: str
) -> None:
    """One line names the file, and quotes nothing of it."""
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    status, out, err = ended(capsys, str(path))
    assert (status, out) == (2, "")
    assert err.startswith(f"captep: {path}: ")
    assert expected in err
    assert "canary" not in err


@pytest.mark.parametrize("args", [(), ("--user",), (GOOD, "-o", "yaml"), (GOOD, "--users", "x")])
def test_wrong_usage_of_audit_ends_with_status_2(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    """Standard output stays empty."""
    status, out, err = ended(capsys, *args)
    assert (status, out, bool(err)) == (2, "", True)


def test_a_finding_is_a_value() -> None:
    """Programs can compare and sort findings."""
    (finding,) = judged(Writer().add(0, "delete").events).findings
    assert isinstance(finding, Finding)
    assert (finding.rule, finding.object, finding.count) == ("blind-delete", "configmaps d/x", 1)
    assert finding.since == finding.until == "2026-01-01T00:00:00Z"
