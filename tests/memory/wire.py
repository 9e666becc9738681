"""The record of kube-apiserver's answers to requests as bytes: odd media types, queries and bodies.

Each line is a request (method, target, headers, body) with status, media type and body of its
answer. All requests go to the namespace `wire` of a server with the kinds of
tests/memory/record.py.

The comparison leaves out what that of the record leaves out, the wording of a decoding error, and
the body of an answer that is no JSON object.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from attrs import define, field

from captep_memory import Object, World
from captep_memory._exchange import HTTPAnswer, HTTPRequest, exchange
from captep_memory._routes import plurals_of
from tests.memory.record import VERSION, Numbered
from tests.memory.record import objects as recorded_objects

__all__ = [
    "APPLIES",
    "KINDS",
    "NAMESPACE",
    "WIRE",
    "Compared",
    "FakeWire",
    "http_of",
    "lines",
    "objects",
    "replay",
]

_GOLDEN = Path(__file__).parent / "golden"
WIRE = _GOLDEN / f"http-{VERSION}.jsonl"
KINDS = _GOLDEN / f"kinds-{VERSION}.jsonl"
"""The record of built-in kinds."""
APPLIES = _GOLDEN / f"http-apply-{VERSION}.jsonl"
"""The record of applies and strategic merge patches as bytes."""
NAMESPACE = "wire"
Send: TypeAlias = Callable[[HTTPRequest], HTTPAnswer]
_WORDING = re.compile(
    "coding patch: (yaml|error)|spec.template: Invalid value|volumeClaimTemplates: Invalid value"
    "|spec is immutable after|pod updates may not change|json parse error|cannot be handled"
    "|unrecognized|unable to parse requirement"
    "|continue key|registered for|patch: Invalid value"
)


def objects() -> list[Object]:
    """Return the objects before the first request."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    return [*recorded_objects(), namespace]


def lines(record: Path = WIRE) -> list[Object]:
    """Return the requests of a record, each with its answer."""
    return [json.loads(line) for line in record.read_text("utf-8").splitlines()]


def http_of(line: Object) -> HTTPRequest:
    """Return the request of a line; each character of its body is a byte."""
    headers = {name.lower(): value for name, value in line.get("headers", {}).items()}
    return HTTPRequest(line["method"], line["target"], headers, line["body"].encode("latin-1"))


@define
class FakeWire:
    """Sends to the in-memory server, which goes on from `world`."""

    world: World

    def __call__(self, http: HTTPRequest) -> HTTPAnswer:
        """Exchange one request."""
        self.world, answer = exchange(self.world, plurals_of(self.world, ()), http)
        return answer


@define
class Compared:
    """The compared part of answers; numbers what a server chooses."""

    number: Numbered = field(factory=Numbered)

    def __call__(self, http: HTTPRequest, answer: HTTPAnswer) -> Object:
        """Return the compared part of an answer."""
        media_type = answer.headers["Content-Type"]
        shown: Object = {"status": answer.status, "type": media_type}
        if http.method == "HEAD":
            # The facade sends no body then; `exchange` returns one.
            return shown
        if media_type != "application/json":
            return (
                shown if media_type.startswith("application") else {**shown, "body": _text(answer)}
            )
        if "watch=" in http.target:
            return shown
        return {**shown, "body": self._body(http, json.loads(answer.body))}

    def _body(self, http: HTTPRequest, body: Any) -> Any:  # noqa: ANN401  # JSON
        if "items" in body or "rows" in body:
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": "*"}}
        if "dryRun" in http.target and "uid" in body.get("metadata", {}):
            body = {**body, "metadata": {**body["metadata"], "uid": "*"}}
        shown = self.number(body)
        causes = shown.get("details", {}).get("causes")
        if causes:
            discreet = (_discreet(cause) for cause in causes)
            shown["details"]["causes"] = sorted(discreet, key=json.dumps)
        if len(causes or ()) > 1 or _WORDING.search(str(shown.get("message", ""))):
            shown["message"] = "*"
        elif "message" in shown:
            shown["message"] = _emptied(shown["message"])
        return shown


def _emptied(message: str) -> str:
    """Go keeps an empty list or map apart from none until the store has it."""
    return re.sub(r"value: (\[\]|{}):", "value: null:", message)


def _discreet(cause: Object) -> Object:
    """The real server repeats whole objects and Go structs, and their differences."""
    cause = {**cause, "message": _emptied(cause.get("message", ""))}
    omitted = ("patch", "spec.template", "spec.volumeClaimTemplates")
    is_long = "\n" in cause.get("message", "") or cause.get("field") in omitted
    return {**cause, "message": "*"} if is_long else cause


def _text(answer: HTTPAnswer) -> str:
    return answer.body.decode()


def replay(recorded: Iterable[Object], send: Send) -> Iterator[tuple[Object, Object]]:
    """Send each recorded request in turn; yield the line and the present answer."""
    compared = Compared()
    for line in recorded:
        http = http_of(line)
        yield line, compared(http, send(http))
