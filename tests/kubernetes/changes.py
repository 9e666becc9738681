"""Changes as a cache announces them, from whole objects."""

from captep_core import ObjectRef
from captep_kubernetes._store import CacheChange, Object, Store

__all__ = ["change"]


def change(ref: ObjectRef, old: Object | None, new: Object | None) -> CacheChange:
    """Return what is announced when `old` gives way to `new`, nothing of them left out."""
    before, after = (None if each is None else Store(dict).known(each) for each in (old, new))
    return CacheChange(ref, before, after)
