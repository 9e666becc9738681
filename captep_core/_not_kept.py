"""Fields that a server does not keep from a write that it accepted, and how a later pass stops
wanting them.

Rules of this module:

1. The answer of a write shows what the server made of it. A definition without the field prunes it,
   a webhook or a type that cannot change alters it.
2. Such a field is not wanted again while the object, its generation, the wanted value and the
   value that the server made of it stay the same. Somebody who changes the field later is another
   matter: then the write is worth a try.
3. A create names the object by its name alone, because the next incarnation has another uid.
4. Records hold digests and never values: the fields of a Secret are compared too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from captep_core._actions import JSON, Create, ObjectRef, Patch
from captep_core._diff import same_json
from captep_core._objects import instant
from captep_core._observation import NotKept

__all__ = ["NotKept", "digest_of", "leaves", "not_kept", "without_not_kept"]

Path: TypeAlias = tuple[str, ...]

_Node: TypeAlias = "JSON | Mapping[str, JSON]"

# RFC 3339 as a whole JSON string: a text that merely contains a time is content.
_TIME: Final = re.compile(r'(?<=")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)(?=")')

_ABSENT: Final = ""
"""The digest of a field that is not there; JSON has another one."""

# The API server sets the first four itself, and it moves stringData of a Secret to data.
_NOT_COMPARED: Final = frozenset(
    {
        ("apiVersion",),
        ("kind",),
        ("metadata", "name"),
        ("metadata", "namespace"),
        ("metadata", "generateName"),
        ("stringData",),
    }
)


def not_kept(action: Create | Patch, answer: Mapping[str, JSON]) -> tuple[NotKept, ...]:
    """List the fields of an accepted write that its `answer`, the object on the server, lacks."""
    uid = ""
    if isinstance(action, Patch):
        uid = _text(_metadata(answer).get("uid"))
    generation = _generation(answer)
    return tuple(
        NotKept(
            action.target,
            action.subresource,
            path,
            digest_of(wanted),
            _digest_at(answer, path),
            uid,
            generation,
        )
        for path, wanted in leaves(action.body)
        if path[:1] not in _NOT_COMPARED
        and path[:2] not in _NOT_COMPARED
        and not _is_kept(wanted, _at(answer, path))
    )


def without_not_kept(
    body: Mapping[str, JSON],
    observed: Mapping[str, JSON],
    known: Iterable[NotKept],
    *,
    target: ObjectRef,
    uid: str,
    generation: int,
    subresource: str | None = None,
) -> dict[str, JSON]:
    """Return the merge patch `body` without the fields that are known not to be kept.

    `observed` holds the same fields as they are now; `uid` and `generation` are those of the
    observed object.
    """
    dropped = {
        record.path: record
        for record in known
        if record.target == target
        and record.subresource == subresource
        and record.uid in ("", uid)
        and record.generation in (0, generation)
    }
    if not dropped:
        return dict(body)
    result: dict[str, JSON] = {}
    for path, wanted in leaves(body):
        record = dropped.get(path)
        is_known = (
            record is not None
            and record.wanted == digest_of(wanted)
            and _is_still(record.kept, observed, path)
        )
        if not is_known:
            _set(result, path, wanted)
    return result


def leaves(body: Mapping[str, JSON]) -> Iterator[tuple[Path, JSON]]:
    """List the fields of a body with their paths; a list and an empty object are one value."""
    for key, value in body.items():
        if isinstance(value, dict) and value:
            for path, leaf in leaves(value):
                yield (key, *path), leaf
        else:
            yield (key,), value


def digest_of(value: JSON) -> str:
    """Digest JSON: the order of keys makes no difference, and neither do times.

    Times are left out because a condition that is set again has another lastTransitionTime.
    """
    import hashlib  # noqa: PLC0415 - OpenSSL takes as long to load as the whole kit

    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.blake2b(_TIME.sub("", text).encode(), digest_size=16).hexdigest()


class _Nothing:
    """A field that is not there; null is a value."""


_NOTHING: Final = _Nothing()


def _at(obj: _Node, path: Path) -> "JSON | _Nothing":
    found: _Node = obj
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return _NOTHING
        found = found[key]
    return dict(found) if isinstance(found, Mapping) else found


def _digest_at(obj: Mapping[str, JSON], path: Path) -> str:
    found = _at(obj, path)
    return _ABSENT if isinstance(found, _Nothing) or found is None else digest_of(found)


def _is_still(kept: str, observed: Mapping[str, JSON], path: Path) -> bool:
    """Whether a field is as the server made it; to a typed model, an empty value equals an absent
    one.
    """
    if kept == _digest_at(observed, path):
        return True
    found = _at(observed, path)
    return kept == _ABSENT and not isinstance(found, _Nothing) and not found


def _is_kept(wanted: JSON, found: "JSON | _Nothing") -> bool:
    """Whether a server that has `found` has kept `wanted`: it may add defaults."""
    if not wanted:
        # A server may leave out an empty value, and null asks for the field to go.
        return isinstance(found, _Nothing) or not found
    if isinstance(found, _Nothing):
        return False
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_is_kept(value, found.get(key, _NOTHING)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_is_kept, wanted, found))
    if isinstance(wanted, str) and isinstance(found, str) and wanted != found:
        return instant(wanted) == instant(found) is not None
    return same_json(wanted, found)


def _set(body: dict[str, JSON], path: Path, value: JSON) -> None:
    inner = body
    for key in path[:-1]:
        following = inner.setdefault(key, {})
        assert isinstance(following, dict)  # noqa: S101 - the paths come from one tree of objects
        inner = following
    inner[path[-1]] = value


def _metadata(obj: Mapping[str, JSON]) -> Mapping[str, JSON]:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _generation(obj: Mapping[str, JSON]) -> int:
    found = _metadata(obj).get("generation")
    return found if isinstance(found, int) else 0


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""
