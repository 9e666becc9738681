"""The other writers of a field: the managers that `metadata.managedFields` of an object names."""

from collections.abc import Iterable, Iterator, Mapping

from captep_core._actions import JSON
from captep_core._observation import Observed

__all__ = ["managers_of"]


def managers_of(observed: Observed[dict[str, JSON]], paths: Iterable[tuple[str, ...]]) -> str:
    """Name the managers that own one of the fields, or anything at all when there are no `paths`.

    The format is that of KEP-555 (`fieldsV1`): a field `x` is the key `f:x`. Return "" when the
    object is absent or unreadable, or when no entry owns a field: removing a field leaves no trace.
    """
    if not isinstance(observed, dict):
        return ""
    wanted = tuple(paths)
    names = [
        str(entry.get("manager") or "")
        for entry in _entries(observed)
        if not wanted or any(_owns(entry.get("fieldsV1"), path) for path in wanted)
    ]
    return ", ".join(sorted({name for name in names if name}))


def _entries(obj: Mapping[str, JSON]) -> Iterator[Mapping[str, JSON]]:
    metadata = obj.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield entry


def _owns(fields: JSON, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(fields, dict) or f"f:{key}" not in fields:
            return False
        fields = fields[f"f:{key}"]
    return True
