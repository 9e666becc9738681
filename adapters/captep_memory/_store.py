"""A world on disk: one file, written whole, so that a crash leaves the old or the new one."""

import json
import os
from pathlib import Path
from typing import Any

from captep_memory._world import World

__all__ = ["read_store", "write_store"]

_FILE = "objects.json"


def read_store(folder: Path) -> list[dict[str, Any]] | None:
    """Return the stored objects, None when the folder has none.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not one that `write_store` wrote.
    """
    path = folder / _FILE
    if not path.exists():
        return None
    document = json.loads(path.read_text("utf-8"))
    objects = document.get("items") if isinstance(document, dict) else None
    if not isinstance(objects, list):
        message = f"{path}: found no list of objects, expected a file of this server"
        raise ValueError(message)  # noqa: TRY004 - the content is wrong, not an argument
    return objects


def write_store(folder: Path, world: World) -> None:
    """Write all objects of a world; readable for its owner alone, as there are Secrets in it.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{_FILE}.partial"
    document = {"apiVersion": "v1", "kind": "List", "items": list(world.objects())}
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / _FILE)
