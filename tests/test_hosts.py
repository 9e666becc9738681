"""The same `decide` runs in captep's operator, in kopf and behind Metacontroller's sync hook."""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from captep_memory import Request, load, serve
from captep_memory.http import HTTPFacade
from captep_memory.server import kubeconfig
from examples import metacontroller_webhook
from tests.gateways import eventually
from tests.testing.toy import NOW

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
BUILTIN = (("", "ConfigMap"), ("", "Event"), ("", "Namespace"))
DEFINITION, GREETING = yaml.safe_load_all((EXAMPLES / "greeting.yaml").read_text())
TEXT = {"text": "hello world"}


def objects(server: HTTPFacade, kind: str) -> list[dict[str, Any]]:
    """Return the objects of a kind."""
    return [each for each in server.world.objects() if each["kind"] == kind]


@contextmanager
def kopf_running(server: HTTPFacade, folder: Path) -> Iterator[None]:
    """Run the example under kopf, in a process of its own."""
    path, log = folder / "config", folder / "log"
    path.write_text(kubeconfig(server.url))
    folders = f"{ROOT}{os.pathsep}{ROOT / 'adapters'}"
    words = ["run", "--all-namespaces", "--standalone", str(EXAMPLES / "kopf_host.py")]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "kopf", *words],
            env={"PYTHONPATH": folders, "KUBECONFIG": str(path), "HOME": str(folder)},
            stdout=out,
            stderr=out,
        )
        try:
            yield
            process.terminate()
            assert process.wait(30) == 0, log.read_text()
        finally:
            process.kill()


def test_kopf_hosts_the_decision(tmp_path: Path) -> None:
    """The text appears, is mended when somebody deletes it, and kopf adds nothing of its own."""
    pytest.importorskip("kopf")
    with (
        HTTPFacade(load([DEFINITION, GREETING], now=NOW), kinds=BUILTIN) as server,
        kopf_running(server, tmp_path),
    ):
        eventually(lambda: objects(server, "ConfigMap"), "the text is written", within=30)
        eventually(
            lambda: objects(server, "Greeting")[0].get("status") == {"ready": True}, "it is ready"
        )
        (text,) = objects(server, "ConfigMap")
        assert text["data"] == TEXT
        uid = text["metadata"]["uid"]
        gone = Request("delete", "v1", "ConfigMap", "default", "first-greeting", body={})
        server.apply(lambda world: serve(world, gone)[0])

        def is_mended() -> bool:
            return any(each["metadata"]["uid"] != uid for each in objects(server, "ConfigMap"))

        eventually(is_mended, "the text is written again")
        (greeting,) = objects(server, "Greeting")
        assert "finalizers" not in greeting["metadata"]
        assert "annotations" not in greeting["metadata"]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that posts a request to the hook and returns status and answer."""
    handler = metacontroller_webhook.Handler
    monkeypatch.setattr(handler, "log_message", lambda *_: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def post(body: object) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("POST", "/sync", json.dumps(body))
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    yield post
    server.shutdown()
    server.server_close()
    thread.join()


PARENT = {**GREETING, "metadata": {**GREETING["metadata"], "uid": "u-1", "resourceVersion": "7"}}
CHILD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "first-greeting", "namespace": "default"},
    "data": TEXT,
}


def test_metacontroller_gets_the_children_and_the_status_that_should_be(hook: Any) -> None:  # noqa: ANN401 - the fixture
    """A new parent needs its text; the status is what the decision reports once it is there."""
    request = {"parent": PARENT, "children": {"ConfigMap.v1": {}}, "finalizing": False}
    assert hook(request) == (
        200,
        {"status": {"ready": True}, "children": [CHILD], "resyncAfterSeconds": 300.0},
    )


def test_metacontroller_gets_an_edited_child_as_it_should_be(hook: Any) -> None:  # noqa: ANN401
    """The text of the request differs, the text of the answer does not."""
    owner = {"apiVersion": "example.com/v1", "kind": "Greeting", "name": "first", "uid": "u-1"}
    metadata = {**CHILD["metadata"], "uid": "u-2", "ownerReferences": [owner]}
    edited = {**CHILD, "metadata": metadata, "data": {"text": "edited"}}
    request = {"parent": PARENT, "children": {"ConfigMap.v1": {"first-greeting": edited}}}
    status, answer = hook(request)
    assert (status, answer["children"]) == (200, [CHILD])


@pytest.mark.parametrize("request_", [{}, {"parent": 5}, []])
def test_a_malformed_request_is_one_error(hook: Any, request_: object) -> None:  # noqa: ANN401
    """Metacontroller logs it and tries again."""
    status, answer = hook(request_)
    assert status == 500
    assert set(answer) == {"error"}
