"""The annotation of `kubectl apply`, which an apply of the manager `kubectl` takes over.

A conflict about a field that the annotation holds with its live value does not count, and it
follows the configuration, so that a client can go from one kind of apply to the other.
"""

import json
from collections.abc import Mapping
from typing import Any

from captep_memory._difference import compare
from captep_memory._field_sets import (
    EMPTY,
    FieldSet,
    difference,
)
from captep_memory._fields import fields_of
from captep_memory._json import Object, text, without
from captep_memory._managers import Manager
from captep_memory._merge_types import MergeType

__all__ = ["KUBECTL", "still_contested", "with_last_applied"]

KUBECTL = "kubectl"
_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
# totalAnnotationSizeLimitB of k8s.io/apimachinery/pkg/api/validation.
_LIMIT = 256 * 1024
_GO_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def still_contested(
    conflicts: Mapping[Manager, FieldSet], live: Object, type_: MergeType
) -> dict[Manager, FieldSet]:
    """Return the conflicts that the annotation of a live object does not settle."""
    allowed = _last_applied_fields(live, type_)
    left = {manager: difference(fields, allowed) for manager, fields in conflicts.items()}
    return {manager: fields for manager, fields in left.items() if fields}


def _last_applied_fields(live: Object, type_: MergeType) -> FieldSet:
    """Return the fields of the annotation that have their live value."""
    last = _parsed(_annotations(live).get(_ANNOTATION))
    problems: list[str] = []
    if last is None or last.get("apiVersion") != live["apiVersion"]:
        return EMPTY
    fields = fields_of(last, type_, problems)
    fields_of(live, type_, problems)
    if problems:
        return EMPTY
    for changed in compare(last, live, type_):
        fields = difference(fields, changed or EMPTY)
    return fields


def _parsed(annotation: Any) -> Object | None:  # noqa: ANN401  # JSON
    try:
        value = json.loads(text(annotation))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _annotations(obj: Object) -> Object:
    annotations = obj.get("metadata", {}).get("annotations")
    return annotations if isinstance(annotations, dict) else {}


def with_last_applied(new: Object, config: Object) -> Object:
    """Return an object whose annotation, if it has one, holds the configuration."""
    annotations = _annotations(new)
    if not annotations.get(_ANNOTATION):
        return new
    metadata = dict(config.get("metadata") or {})
    if isinstance(metadata.get("annotations"), dict):
        metadata["annotations"] = without(metadata["annotations"], _ANNOTATION)
    shown = json.dumps(
        {**config, "metadata": metadata},
        separators=(",", ":"),
        sort_keys=True,
        ensure_ascii=False,
    )
    changed = {**annotations, _ANNOTATION: shown.translate(_GO_ESCAPES) + "\n"}
    if (
        sum(len(part.encode(errors="replace")) for pair in changed.items() for part in pair)
        > _LIMIT
    ):
        del changed[_ANNOTATION]
    return {**new, "metadata": {**new["metadata"], "annotations": changed}}
