"""`captep run`, or an operator of another author, as a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.apiserver import eventually

__all__ = ["Captep", "captep"]

_ROOT = Path(__file__).resolve().parents[2]


def _environment() -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    return {**kept, "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'adapters'}"}


def captep(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "captep_cli", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=_environment(), check=False
    )


class Captep:
    """`captep run` with a log in a file of its own; a context manager that ends it.

    `program`: the arguments of Python that start another operator.
    """

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        *words: str,
        program: Sequence[str] = ("-m", "captep_cli"),
    ) -> None:
        number = len(list(folder.glob("captep-*.log")))
        self._log = folder / f"captep-{number}.log"
        ports = [
            "--metrics-bind-address",
            "127.0.0.1:0",
            "--health-probe-bind-address",
            "127.0.0.1:00",
        ]
        command = [
            sys.executable,
            *program,
            "run",
            "--kubeconfig",
            str(kubeconfig),
            "--log-format",
            "json",
            *ports,
            *words,
        ]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment()
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def log(self) -> list[dict[str, Any]]:
        """Return the lines of the log; a line that is not JSON has the key `raw`."""
        return [_line(line) for line in self._log.read_text("utf-8", "replace").splitlines()]

    def says(self, text: str) -> bool:
        """Whether a message of the log holds `text`."""
        return any(text in str(line.get("message", line.get("raw"))) for line in self.log())

    def works(self) -> bool:
        """Whether it reconciles; fails if it has ended."""
        assert self.process.poll() is None, self.log()
        return self.says("working with")

    def wait_until_it_works(self) -> None:
        """Wait until it reconciles."""
        eventually(self.works, what="captep run works", within=20)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of one of its own pages."""
        ports = [
            re.search(r"on port (\d+)", line["message"])
            for line in self.log()
            if path in str(line.get("message"))
        ]
        assert ports, f"{path} is not served: {self.log()}"
        assert ports[0] is not None
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{ports[0][1]}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit status and the seconds until the end."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(30), time.monotonic() - began

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


def _line(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        return {"raw": text}
    return line if isinstance(line, dict) else {"raw": text}
