"""Label and field selectors (rows R5 and A1)."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from captep_memory._json import Object
from captep_memory._kinds import ServedKind
from captep_memory._request import Request
from captep_memory._status import bad_request

__all__ = ["Selector", "selector_of"]

Selector: TypeAlias = Callable[[Object], bool]

_SET = re.compile(r"\s*(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)\s*")
_EQUAL = re.compile(r"\s*(?P<key>[^\s!=,()]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s!=,()]*)\s*")
_EXISTS = re.compile(r"\s*(?P<absent>!?)\s*(?P<key>[^\s!=,()]+)\s*")
_FIELD = re.compile(r"(?P<key>[^=!]+)(?P<operator>==|=|!=)(?P<value>.*)")
_EVENT_FIELDS = (
    *(
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
    ),
    *(
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
)


def selector_of(request: Request, resource: ServedKind) -> Selector | None:
    """Return the predicate that a request selects with, None when it selects everything.

    Raises:
        RefusedError: 400, a selector has a syntax error or names a field without an index.
    """
    labels = _label_terms(request.label_selector)
    fields = _field_terms(request.field_selector, resource)
    if not labels and not fields:
        return None

    def selects(obj: Object) -> bool:
        found: Mapping[str, str] = obj["metadata"].get("labels", {})
        return all(term(found) for term in labels) and all(term(obj) for term in fields)

    return selects


_Term: TypeAlias = Callable[[Mapping[str, Any]], bool]


def _label_terms(selector: str) -> list[_Term]:
    if not selector.strip():
        return []
    parts = re.findall(r"(?:[^,(]|\([^)]*\))+", selector)
    if ",".join(parts) != selector:
        raise bad_request(f"unable to parse requirement: {selector}")
    return [_label_term(part) for part in parts]


def _label_term(part: str) -> _Term:
    if found := _SET.fullmatch(part):
        key, values = found["key"], {item.strip() for item in found["values"].split(",")}
        if found["operator"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.fullmatch(part):
        key, value = found["key"], found["value"]
        return _compare(lambda labels: labels.get(key), found["operator"], value)
    if found := _EXISTS.fullmatch(part):
        key = found["key"]
        return (
            (lambda labels: key not in labels)
            if found["absent"]
            else (lambda labels: key in labels)
        )
    raise bad_request(f"unable to parse requirement: {part}")


def _compare(get: Callable[[Mapping[str, Any]], object], operator: str, value: str) -> _Term:
    return (
        (lambda target: get(target) != value)
        if operator == "!="
        else (lambda target: get(target) == value)
    )


def _field_terms(selector: str, resource: ServedKind) -> list[_Term]:
    terms: list[_Term] = []
    for part in filter(None, selector.split(",")):
        found = _FIELD.fullmatch(part)
        if found is None:
            raise bad_request(f"invalid field selector: {part}")
        if found["key"] not in _selectable(resource):
            raise bad_request(f"field label not supported: {found['key']}")
        terms.append(_compare(_reader(found["key"]), found["operator"], found["value"]))
    return terms


def _selectable(resource: ServedKind) -> tuple[str, ...]:
    own = (
        {"Secret": ("type",), "Event": _EVENT_FIELDS}.get(resource.kind, ())
        if resource.built_in
        else resource.selectable
    )
    namespaced = () if resource.scope == "Cluster" else ("metadata.namespace",)
    return ("metadata.name", *namespaced, *own)


def _reader(path: str) -> Callable[[Mapping[str, Any]], object]:
    def read(obj: Mapping[str, Any]) -> object:
        value: Any = obj
        for name in path.split("."):
            value = value.get(name, "") if isinstance(value, dict) else ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if not isinstance(value, dict) else value.get("component", "")

    return read
