"""A user's terminal, and the commands that a page of the documentation has for it."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

__all__ = ["Started", "Terminal", "commands", "terminal_in"]

_ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """A shell that takes commands; on exit it ends every process that still runs in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=environment,
        )
        self._logs = folder.parent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shell.communicate("kill $(jobs -p); wait\n", timeout=30)

    def type(self, line: str) -> str:
        """Run a command to its end and return its output; it must exit with 0."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{line}\nprintf '\\n[exit status %d]\\n' $?\n")
        self._shell.stdin.flush()
        printed: list[str] = []
        while not (printed and printed[-1].startswith("[exit status ")):
            printed.append(self._shell.stdout.readline())
            assert printed[-1], f"{line}: the shell has ended: {''.join(printed)}"
        assert printed[-1] == "[exit status 0]\n", f"{line}: {''.join(printed)}"
        return "".join(printed[:-1])

    def start(self, line: str) -> "Started":
        """Start a command that does not end by itself."""
        log = self._logs / f"{len(list(self._logs.glob('*.log')))}.log"
        log.touch()
        return Started(self, int(self.type(f"{line} > {log} 2>&1 & echo $!")), log)


class Started:
    """A command that runs in a terminal."""

    def __init__(self, terminal: Terminal, pid: int, log: Path) -> None:
        self._terminal = terminal
        self._pid = pid
        self._log = log

    def says(self, text: str) -> bool:
        """Whether it has printed `text`; fails when it has given up."""
        printed = self._log.read_text()
        assert "captep: " not in printed, printed
        return text in printed

    def interrupt(self) -> None:
        """End it as Ctrl-C does; it must exit with 0."""
        self._terminal.type(f"kill -INT {self._pid} && wait {self._pid}")


def commands(page: str, section: str) -> list[str]:
    """Return the lines of the `sh` blocks in a section of a page in docs, in order."""
    text = (_ROOT / "docs" / page).read_text("utf-8")
    found = re.search(
        rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert found is not None, f"docs/{page} has no section {section}"
    return [
        line
        for block in re.findall(r"```sh\n(.*?)```", found[1], re.DOTALL)
        for line in block.splitlines()
    ]


def terminal_in(folder: Path, kubeconfig: Path) -> Terminal:
    """Open a terminal in a fresh copy of the repository, for a user with only a kubeconfig."""
    path = f"{os.environ['KUBEBUILDER_ASSETS']}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("kubectl", path=path) is None:
        pytest.skip("needs kubectl, in KUBEBUILDER_ASSETS or on PATH")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_ROOT,
        capture_output=True,
        check=True,
    )
    for name in files.stdout.decode().split("\0"):
        if name and (_ROOT / name).is_file():
            (folder / "captep" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_ROOT / name, folder / "captep" / name)
    own = shutil.copy(kubeconfig, folder / "kubeconfig")
    (folder / "home").mkdir()
    loopback = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    ours = {"HOME": str(folder / "home"), "KUBECONFIG": str(own), "PATH": path, **loopback}
    others = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    return Terminal(folder / "captep", others | ours)
