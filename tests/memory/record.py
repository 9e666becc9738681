"""The record of kube-apiserver's answers.

The first line is a world; each other line is a request with the status and body of its answer.

uids, resourceVersions and times differ between servers; the record numbers them by their first
appearance. Causes are a set. The comparison leaves out: the message of a failure with several
causes or of a body that the server cannot decode or parse; the resourceVersion of a list, which
rises with every write in the store, the server's own included; the uid in the answer to a dry run.
In a request, `$uid:name` and `$rv:name` stand for the last value of the object of that name,
`$uid-before:name` and `$rv-before:name` for the value before, `$continue` for the last token of a
page.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from attrs import define, field

from captep_memory import Object, Request, Response, World, serve
from tests.memory.support import Free

__all__ = ["RECORD", "VERSION", "Conversation", "Fake", "lines", "objects", "replay"]

VERSION = "1.37.2"
RECORD = Path(__file__).parent / "golden" / f"kube-apiserver-{VERSION}.jsonl"
_UNREADABLE = re.compile(
    "cannot be handled|unrecognized|decoding patch|patch: Invalid value|unable to parse requirement"
)
_UID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The volume of a token: a server names it at random.
_VOLUME = re.compile("kube-api-access-[a-z0-9]{5}")
# A moment or an age, as a Table shows it.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\d{1,2}s")
_ADDRESS = re.compile(r"10\.(0|96)\.\d+\.\d+")
Ask: TypeAlias = Callable[[Request], Response]


def objects() -> list[Object]:
    """Return the objects before the first request; `kube-system` makes a whole cluster of them."""
    found: list[Object] = _parsed()[0]["objects"]
    system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    return found if system in found else [*found, system]


def lines() -> list[Object]:
    """Return the requests, each with its answer."""
    return _parsed()[1:]


def _parsed() -> list[Object]:
    return [json.loads(line) for line in RECORD.read_text("utf-8").splitlines()]


@define
class Fake:
    """Asks the in-memory server, which goes on from `world`."""

    world: World

    def __call__(self, request: Request) -> Response:
        """Serve one request."""
        self.world, response = serve(self.world, request)
        return response


@define
class Numbered:
    """Replaces the values that a server chooses by the order of their first appearance."""

    seen: dict[str, str] = field(factory=dict)

    def __call__(self, value: Free, name: str = "") -> Free:
        """Return `value` with every such value replaced."""
        if isinstance(value, dict):
            return {
                key: self(item, key)
                for key, item in sorted(value.items())
                if key != "managedFields"
            }
        if isinstance(value, list):
            return [self(item, "clusterIP" if name == "clusterIPs" else "") for item in value]
        if name in ("nodePort", "healthCheckNodePort"):
            return f"<{name}>"
        return self._text(value, name) if isinstance(value, str) else value

    def _text(self, value: str, name: str) -> str:
        if name in ("creationTimestamp", "deletionTimestamp"):
            return "<time>"
        if name == "continue" and value:
            return "<token>"
        value = _VOLUME.sub("kube-api-access-<random>", value)
        if not name and _MOMENT.fullmatch(value):
            # A cell of a Table.
            return "<time>"
        if not name and _ADDRESS.fullmatch(value):
            return "<address>"
        if name == "clusterIP" and value not in ("", "None"):
            return "<address>"
        if name.endswith("controller-uid"):
            name = "uid"
        if name in ("uid", "resourceVersion"):
            given = value in ("", "*", "other", "uuu") or len(value) < 3
            return (
                value
                if given
                else self.seen.setdefault(
                    value, f"<{name} {sum(name in known for known in self.seen.values())}>"
                )
            )
        if name == "message":
            # A number at the beginning is a status: 415 may be a resourceVersion too.
            return re.sub(
                r"[0-9a-f-]{36}|(?<!^)\b\d+\b",
                lambda match: self.seen.get(match[0], match[0]),
                value,
            )
        return _UID.sub(lambda match: self.seen.get(match[0], match[0]), value)


def answer(number: Numbered, request: Request, response: Response) -> Free:
    """Return the compared part of an answer."""
    body = response.body
    if "items" in body:
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": "*"}}
    if request.verb == "create" and request.dry_run and response.ok:
        body = {**body, "metadata": {**body["metadata"], "uid": "*"}}
    shown = number(body)
    causes = shown.get("details", {}).get("causes", [])
    if causes:
        # The real server repeats some causes, in an order that changes.
        causes = sorted({json.dumps(_discreet(cause), sort_keys=True) for cause in causes})
        shown["details"]["causes"] = causes
    if len(causes) > 1 or _UNREADABLE.search(str(shown.get("message", ""))):
        shown["message"] = "*"
    return {"status": response.status, "body": shown}


def _discreet(cause: Free) -> Free:
    """The real server repeats the whole object that it cannot decode after a patch."""
    return {**cause, "message": "*"} if cause.get("field") == "patch" else cause


@define
class Conversation:
    """One server's side of a sequence of requests; its answers fill the stand-ins of later ones."""

    _ask: Ask
    number: Numbered = field(factory=Numbered, init=False)
    _known: dict[str, str] = field(factory=dict, init=False)

    def __call__(self, template: Object) -> tuple[Response, Free]:
        """Send a request; return the answer, and its compared part."""
        request = Request(**_filled(template, self._known))
        response = self._ask(request)
        self._remember(request, response)
        return response, answer(self.number, request, response)

    def _remember(self, request: Request, response: Response) -> None:
        """Keep uid and resourceVersion of an object, those before, and the token of a page."""
        metadata = response.body.get("metadata", {})
        if response.body.get("kind") != "Status" and "name" in metadata and not request.dry_run:
            for word, now in (
                ("uid", metadata["uid"]),
                ("rv", metadata.get("resourceVersion", "")),
            ):
                place, before = f"${word}:{metadata['name']}", f"${word}-before:{metadata['name']}"
                if self._known.get(place, now) != now:
                    self._known[before] = self._known[place]
                self._known[place] = now
        if metadata.get("continue"):
            self._known["$continue"] = metadata["continue"]


def replay(recorded: Iterable[Object], ask: Ask) -> Iterator[tuple[Object, Free]]:
    """Send each recorded request in turn; yield the line and the present answer."""
    conversation = Conversation(ask)
    for line in recorded:
        _, now = conversation(line["request"])
        yield line, now


def _filled(template: Free, known: dict[str, str]) -> Free:
    if isinstance(template, dict):
        return {key: _filled(value, known) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, known) for value in template]
    return known.get(template, template) if isinstance(template, str) else template
