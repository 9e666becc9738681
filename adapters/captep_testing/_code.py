"""The hash of the code under test, for certificates."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from captep_core.ports import Decide

__all__ = ["code_hash", "name_of"]

# Sixteen digits distinguish all versions of a project.
_DIGITS = 16


def name_of(decide: Decide) -> str:
    """Return the name under which `decide` can be found."""
    name = getattr(decide, "__qualname__", type(decide).__qualname__)
    return f"{getattr(decide, '__module__', '?')}:{name}"


def code_hash(decide: Decide) -> str:
    """Return the hash of the module of `decide` and of all modules of its package that it uses."""
    found = sys.modules.get(getattr(decide, "__module__", ""))
    if found is None:
        return ""
    files = sorted(_files(found, found.__name__.partition(".")[0], set()))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:_DIGITS]


def _files(module: ModuleType, package: str, seen: set[str]) -> Iterator[Path]:
    if module.__name__ in seen:
        return
    seen.add(module.__name__)
    if module.__file__:
        yield Path(module.__file__)
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        used = sys.modules.get(name) if isinstance(name, str) else None
        if used is not None and (name == package or name.startswith(f"{package}.")):
            yield from _files(used, package, seen)
