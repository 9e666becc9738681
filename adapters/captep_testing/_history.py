"""Judges the requests of a client that shows nothing but its requests.

- P2a: no write that the server refuses as malformed or forbidden, nor many that change nothing.
- P8: an update and a patch that replaces a list carry the resourceVersion that they were decided
  on, and a delete carries a precondition.
- P9, P9a, P9b, P9c, P13, P14, P14a: as for a pure function; see `captep_testing._delivery`.
- P2, P4a, P20: the rules of `captep audit` about writes, over the same requests.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from captep_audit import Judge
from captep_core._actions import Action, Create, Delete, ObjectRef, Patch, Preconditions
from captep_core._diff import merge_patch
from captep_memory import Object, Request, plural_of
from captep_testing._decision import replaces_list
from captep_testing._delivery import judge
from captep_testing._faults import NO_FAULT
from captep_testing._kit import Kit
from captep_testing._report import TraceStep, Violation, kept
from captep_testing._struck import Exchange, shown

__all__ = ["judge_history", "steps_of"]

_RULES: Final[Mapping[str, str]] = {
    "hot-loop": "P2",
    "unsettled": "P2",
    "no-effect": "P2a",
    "repeated-write": "P4a",
    "fight": "P20",
}
"""The property that a rule of the audit breaks.

Rules about reads and conflicts are left out: a test makes an operator look more often than it does
on a cluster.
"""
# Refusals that no newer view avoids; 404 and 409 come from views that are a moment old.
_MISTAKES: Final = frozenset({400, 403, 405, 413, 415, 422})


def judge_history(kit: Kit, history: Iterable[Exchange]) -> Iterator[Violation]:
    """Yield the violations of the requests between two moments of rest."""
    found = [exchange for exchange in history if exchange.is_write]
    for exchange in found:
        yield from kept(kit.waive, _judge_write(kit, exchange))
    audit = Judge()
    for exchange in found:
        audit.see(_event(exchange))
    for finding in audit.verdict().findings:
        name = _RULES.get(finding.rule)
        if name is not None:
            where = f"{finding.object}: " if finding.object else ""
            yield from kept(kit.waive, [Violation(name, f"{where}{finding.message}")])


def _judge_write(kit: Kit, exchange: Exchange) -> Iterator[Violation]:
    if exchange.fault is NO_FAULT and exchange.answer.status in _MISTAKES:
        reason = f"{exchange.answer.status} {exchange.answer.reason}"
        yield Violation("P2a", f"{shown(exchange)} is refused: {reason}")
    for lack in _unlocked(exchange):
        yield Violation("P8", f"{shown(exchange)} {lack}")
    action = _action(exchange)
    if action is not None:
        yield from judge(kit, action, exchange.before, exchange.after)


def _unlocked(exchange: Exchange) -> Iterator[str]:
    request = exchange.request
    found = exchange.before.get(exchange.key)
    body: Any = request.body
    if found is None:
        return
    if request.verb == "delete":
        if not isinstance(body, dict) or not body.get("preconditions"):
            yield "carries no uid"
        return
    given = body.get("metadata") if isinstance(body, dict) else None
    if isinstance(given, dict) and given.get("resourceVersion"):
        return
    if request.verb == "update":
        yield "carries no resourceVersion"
    elif request.content_type == "application/merge-patch+json" and replaces_list(body, found):
        yield "replaces a list and carries no resourceVersion"


def _action(exchange: Exchange) -> Action | None:
    """Return a write as the action that has the same effect, None when it had none."""
    key = exchange.key
    before = exchange.before.get(key)
    after = exchange.after.get(key)
    request = exchange.request
    ref = ObjectRef(request.api_version, key.kind, key.namespace, key.name)
    if not exchange.changed:
        return None
    if request.verb == "delete":
        return Delete(ref, _lock(before), "")
    if after is None:
        # The last finalizer went, and the object with it.
        return Patch(ref, {"metadata": {"finalizers": None}}, _lock(before), "")
    if before is None:
        return Create(ref, {**after, "apiVersion": request.api_version}, "")
    body = merge_patch(_owned(before), _owned(after))
    return Patch(ref, body, _lock(before), "", request.subresource)


def _lock(obj: Object | None) -> Preconditions:
    return Preconditions(None if obj is None else obj["metadata"]["uid"])


def _owned(obj: Object) -> Object:
    """Return an object without what the server counts and stamps."""
    stamped = ("resourceVersion", "managedFields", "generation")
    metadata = {name: value for name, value in obj["metadata"].items() if name not in stamped}
    return {**obj, "metadata": metadata}


def _event(exchange: Exchange) -> dict[str, Any]:
    """Return a request as the event of an audit log."""
    request = exchange.request
    key = exchange.key
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "stage": "ResponseComplete",
        "requestURI": _uri(request),
        "verb": request.verb,
        "user": {"username": "client"},
        "userAgent": request.user_agent,
        "objectRef": {
            "resource": plural_of(key.kind),
            "namespace": key.namespace,
            "name": key.name,
            "apiGroup": key.api_group,
            "subresource": request.subresource,
        },
        "requestObject": request.body,
        "responseObject": exchange.answer.body,
        # A client that got no answer knows as much as one that was refused.
        "responseStatus": {"code": exchange.status or 504},
        "stageTimestamp": exchange.at.isoformat(),
    }


def _uri(request: Request) -> str:
    query = f"fieldManager={request.field_manager}"
    more = f"&continue={request.continue_token}" if request.continue_token else ""
    return f"/{request.namespace or ''}/{plural_of(request.kind)}?{query}{more}"


def steps_of(history: Iterable[Exchange]) -> Iterator[TraceStep]:
    """Yield the writes as lines of a trace."""
    for exchange in history:
        if exchange.is_write:
            fault = f" ({exchange.fault.name})" if exchange.fault.name else ""
            label = f"{shown(exchange)}{fault}"
            yield TraceStep(label, exchange.before, exchange.after, exchange.status)
