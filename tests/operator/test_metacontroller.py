"""Hooks of Metacontroller as a decision: what they see, what becomes of their answers, failures."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from captep_core import Decision, ObjectRef, ReconcileState, Refused, Write, write_of
from captep_memory import MemoryGateway, load
from captep_operator import Kind, Operator
from captep_operator.metacontroller import Hook, HookError, Stdio, Verdict, http, metacontroller
from captep_testing import Kit, Report, check, converge, explore
from examples.hooks.greeting_sync import sync
from examples.prove_a_hook import GREETING, HOOK, kit_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ObjectRef("example.com/v1", "Greeting", "default", "first")
TEXT = ObjectRef("v1", "ConfigMap", "default", "first-greeting")
UID = "00000000-0000-4000-a000-000000000001"
OURS = {
    "apiVersion": "example.com/v1",
    "kind": "Greeting",
    "name": "first",
    "uid": UID,
    "controller": True,
    "blockOwnerDeletion": True,
}
KINDS = (("v1", "ConfigMap"), ("v1", "Service"))
PARENT: dict[str, Any] = {**GREETING, "metadata": {**GREETING["metadata"], "uid": UID}}


def config_map(name: str = "first-greeting", **metadata: object) -> dict[str, Any]:
    """Return a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "data": {"text": "hello world"},
    }


def decided(
    hook: Hook,
    *objects: dict[str, Any],
    state: ReconcileState = ReconcileState(),
    finalize: Hook | None = None,
) -> Decision:
    """Return the decision in a world of these objects."""
    decide = metacontroller(hook, children=KINDS, finalize=finalize)
    return decide(KEY, MemoryGateway(load(objects, now=NOW)).read, state, now=NOW)


def writes(decision: Decision) -> list[str]:
    """Name the writes of a decision."""
    return [str(write_of(action)) for action in decision.actions]


def answering(**answer: object) -> Hook:
    """Return a hook with one answer."""
    return lambda _: answer


def test_a_hook_sees_the_parent_and_the_children_that_it_controls() -> None:
    """Children go by kind and name; objects of others are not among them."""
    asked: list[Mapping[str, Any]] = []

    def hook(request: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {}

    decided(hook, PARENT, config_map(ownerReferences=[OURS]), config_map("foreign"))
    (request,) = asked
    assert sorted(request) == ["children", "controller", "finalizing", "parent", "related"]
    assert request["parent"]["spec"] == {"name": "world"}
    assert list(request["children"]["ConfigMap.v1"]) == ["first-greeting"]
    assert (request["related"], request["finalizing"]) == ({}, False)


def test_the_children_of_an_answer_are_created_corrected_and_deleted() -> None:
    """A child that the hook does not name goes; fields that it does not name stay."""
    surplus = config_map("surplus", ownerReferences=[OURS], uid="u2")
    wrong = {**config_map(ownerReferences=[OURS]), "data": {"text": "bye", "more": "1"}}
    wanted = [config_map(), config_map("new")]
    decision = decided(answering(children=wanted, status={}), PARENT, wrong, surplus)
    delete, patch, create = decision.actions
    assert writes(decision) == [
        "delete ConfigMap default/surplus",
        "patch ConfigMap default/first-greeting",
        "create ConfigMap default/new",
    ]
    assert delete.preconditions.uid == "u2"
    assert patch.body == {"data": {"text": "hello world"}}
    assert create.body == config_map("new", ownerReferences=[OURS])
    assert decision.requeue_after is None


def test_the_entries_of_a_list_are_merged_by_the_field_that_names_them() -> None:
    """As by Metacontroller's apply: a default in an entry is no difference."""
    ports = {"ports": [{"name": "sql", "port": 5432}]}
    stored = {"ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]}
    service = {"apiVersion": "v1", "kind": "Service"}
    child = {**service, "metadata": {"name": "db"}, "spec": ports}
    metadata = {"name": "db", "namespace": "default", "ownerReferences": [OURS]}
    found = {**service, "metadata": metadata, "spec": stored}
    assert decided(answering(children=[child]), PARENT, found).actions == ()


def test_the_status_replaces_the_old_one_and_has_the_generation() -> None:
    """It is written once no child needs a write, or when the server refuses those of children."""
    parent = {**PARENT, "status": {"old": 1}}
    parent["metadata"] = {**PARENT["metadata"], "generation": 3}
    hook = answering(children=[config_map()], status={"ready": False}, resyncAfterSeconds=1.5)
    early = decided(hook, parent)
    assert writes(early) == ["create ConfigMap default/first-greeting"]
    assert early.requeue_after == timedelta(seconds=1.5)
    refused = Refused(Write("create", TEXT), 403, "Forbidden")
    late = decided(hook, parent, state=ReconcileState(refusals=(refused,)))
    assert late.actions[1].body == {
        "status": {"old": None, "ready": False, "observedGeneration": 3}
    }
    assert (late.verdict.reason, late.outstanding) == ("WriteRefused", (refused,))


def test_a_name_that_another_has_is_left_alone() -> None:
    """Neither adopted nor counted; the verdict names it."""
    decision = decided(answering(children=[config_map()]), PARENT, config_map())
    assert decision.actions == ()
    reason = "ConfigMap default/first-greeting is not ours"
    assert decision.verdict == Verdict("NameTaken", reason)
    assert decision.requeue_after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("mistake", "judge", "properties"),
    [
        ("echoes a version", converge, {"P14a"}),
        ("creates once", partial(explore, faults=0, events=1), {"P1"}),
        ("drops its child", converge, {"P4a"}),
        ("never rests", check, {"P15"}),
    ],
)
def test_the_kit_finds_the_mistakes_of_a_hook(
    mistake: str, judge: Callable[[Kit], Report], properties: set[str]
) -> None:
    """A hook gets the same judgement as a function."""
    kit = kit_of(lambda request: sync(request, mistake))
    assert judge(kit).properties == properties


def test_an_operator_simulates_a_hook() -> None:
    """The same decision runs in captep's operator."""
    decide = metacontroller(sync, children=[("v1", "ConfigMap")], finalize=sync)
    operator = Operator(
        "greeter",
        decide,
        primary=Kind("example.com/v1", "Greeting"),
        reads=[Kind("v1", "ConfigMap")],
    )
    assert operator.simulate([GREETING], "default", "first", NOW).settled_after == 3


def test_a_process_answers_line_by_line_and_starts_again_after_its_end() -> None:
    """The hook of the example; a request without a parent ends it."""
    request = {"parent": PARENT, "children": {"ConfigMap.v1": {}}, "finalizing": False}
    with Stdio([sys.executable, "-S", str(HOOK)]) as hook:
        assert hook(request) == hook(request) == sync(request)
        with pytest.raises(HookError, match="ended without an answer"):
            hook({"children": {}})
        assert hook(request)["status"] == {"ready": False}


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (["/nowhere/hook"], "hook /nowhere/hook does not start: No such file or directory"),
        ([sys.executable, "-Sc", "input(); print('{')"], "answers no JSON"),
        ([sys.executable, "-Sc", "input(); print('[]')"], "answers a list, expected an object"),
        ([sys.executable, "-Sc", "import time; time.sleep(9)"], "gives no answer in 0.3 s"),
    ],
)
def test_a_process_without_an_answer_is_an_error(program: list[str], problem: str) -> None:
    """The error names the hook and what was wrong."""
    with (
        Stdio(program, timeout=timedelta(seconds=0.3 if "sleep" in program[-1] else 10)) as hook,
        pytest.raises(HookError, match=problem),
    ):
        hook({})


class Handler(BaseHTTPRequestHandler):
    """Answers with the hook of the example at `/sync`, and badly elsewhere."""

    def do_POST(self) -> None:
        """Answer one request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        content = {"/sync": b'{"children": []}', "/text": b"hello"}.get(self.path)
        self.send_response(200 if content else 500)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Write nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a server with hooks."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_url_answers_as_metacontroller_expects(url: str) -> None:
    """Anything but 200 with a JSON object is an error that names the URL."""
    assert http(f"{url}/sync")({}) == {"children": []}
    with pytest.raises(HookError, match=r"/broken answers 500, expected 200"):
        http(f"{url}/broken")({})
    with pytest.raises(HookError, match=r"/text answers no JSON"):
        http(f"{url}/text")({})
    with pytest.raises(HookError, match=r"hook http://127.0.0.1:1/: .*refused"):
        http("http://127.0.0.1:1/")({})
    with pytest.raises(ValueError, match="must begin with http"):
        http("sync.js")


def test_a_hook_that_does_not_read_a_large_request_is_given_up() -> None:
    """A pipe takes 64 KB: the rest waits no longer than an answer would."""
    program = [sys.executable, "-Sc", "import time; time.sleep(9)"]
    with (
        Stdio(program, timeout=timedelta(seconds=0.3)) as hook,
        pytest.raises(HookError, match=r"gives no answer in 0\.3 s"),
    ):
        hook({"parent": "x" * 1_000_000})


def test_a_large_request_arrives_whole() -> None:
    """It is written piece by piece while the hook reads."""
    program = [sys.executable, "-Sc", "import json; print(json.dumps({'n': len(input())}))"]
    with Stdio(program) as hook:
        assert hook({"parent": "x" * 1_000_000}) == {"n": len('{"parent": ""}') + 1_000_000}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"children": {}}, "children of the answer: expected list, found dict"),
        ({"status": []}, "status of the answer: expected dict, found list"),
        ({"resyncAfterSeconds": "5"}, "resyncAfterSeconds .*: expected int or float, found str"),
        ({"finalized": "yes"}, "finalized of the answer: expected bool, found str"),
        ({"children": [5]}, r"children\[0\] of the answer is no object with metadata"),
        ({"children": [None]}, r"children\[0\] of the answer is no object with metadata"),
        ({"children": [{"kind": "ConfigMap"}]}, "is no object with metadata"),
        (
            {"children": [{"kind": "ConfigMap", "metadata": {"name": "a"}}]},
            "expected texts as apiVersion, kind and metadata.name",
        ),
        (
            {"children": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}]},
            "expected texts as apiVersion, kind and metadata.name",
        ),
        (
            {"children": [{"apiVersion": "v1", "kind": 5, "metadata": {"name": "a"}}]},
            "expected texts as apiVersion, kind and metadata.name",
        ),
    ],
)
def test_an_answer_of_another_form_is_one_line(answer: dict[str, Any], problem: str) -> None:
    """The error names the field and what was expected."""
    with pytest.raises(HookError, match=problem):
        decided(answering(**answer), PARENT)
