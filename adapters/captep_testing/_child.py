"""The operator under test as a process: started, killed, and started again as a kubelet does."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Child"]

_PATIENCE_SECONDS = 10
_SHOWN = 300


class Child:
    """One process and those that it starts, with its output in a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = tuple(command)
        self._environment = {**os.environ, **environment}
        self._log = log
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._was_killed = False

    def start(self) -> None:
        """Start it.

        Raises:
            OSError: the program is missing or cannot run.
        """
        with self._lock, self._log.open("ab") as log:
            self._was_killed = False
            self._process = subprocess.Popen(  # noqa: S603 - the command is the author's own
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it as a crash does."""
        with self._lock:
            process = self._process
            self._was_killed = True
            if process is not None and process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(_PATIENCE_SECONDS)

    @property
    def has_ended(self) -> bool:
        """Whether it runs no longer."""
        with self._lock:
            return self._process is None or self._process.poll() is not None

    @property
    def ended_by_itself(self) -> int | None:
        """The exit status of a process that nobody killed; None while it runs."""
        with self._lock:
            if self._process is None or self._was_killed:
                return None
            return self._process.poll()

    def last_words(self) -> str:
        """The last line of its output."""
        lines = self._log.read_text("utf-8", "replace").split("\n") if self._log.exists() else []
        return next((line.strip()[:_SHOWN] for line in reversed(lines) if line.strip()), "")
