"""Files that are whole or not there."""

import os
import tempfile
from pathlib import Path

__all__ = ["write_file"]


def write_file(path: Path, text: str) -> None:
    """Write a text file so that a crash leaves the earlier one, or the new one.

    Raises:
        OSError: the folder does not exist, or may not be written.
    """
    if path.exists() and not path.is_file():
        # A pipe or a terminal cannot be replaced, and a folder fails here.
        path.write_text(text, "utf-8")
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    made = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # A temporary file is the owner's alone; this one is as any other that the user makes.
        made.chmod(0o666 & ~_umask())
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
