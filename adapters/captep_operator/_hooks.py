"""Hooks of Metacontroller in other processes: JSON lines over stdio, and JSON over HTTP."""

import json
import os
import selectors
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import IO, Any, Final, Self, TypeAlias

__all__ = ["Hook", "HookError", "Stdio", "http"]

Hook: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Answers one request of Metacontroller."""
# Metacontroller's own limit for a webhook.
_TIMEOUT: Final = timedelta(seconds=10)
_READ_BYTES: Final = 65536
_SHOWN: Final = 200


class HookError(Exception):
    """A hook gave no answer that Metacontroller would take; the message names the hook."""


class Stdio:
    """A hook that is a process: one request a line on its input, one answer a line on its output.

    It starts with the first request, and again after it has ended. `close` ends it, as does the
    end of the `with` block.
    """

    def __init__(self, command: Sequence[str], *, timeout: timedelta = _TIMEOUT) -> None:
        self._command = tuple(command)
        self._timeout = timeout.total_seconds()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __call__(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask the process.

        Raises:
            HookError: it does not start, ends, answers too late, or answers no JSON object.
        """
        with self._lock:
            process = self._started()
            try:
                line = self._asked(process, json.dumps(request).encode() + b"\n")
            except (OSError, HookError) as error:
                self._end()
                if isinstance(error, HookError):
                    raise
                raise HookError(f"hook {self._command[0]}: {error.strerror}") from error
        return _answer(line, self._command[0])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._rest = b""
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the command is the author's own
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
                )
            except OSError as error:
                name = self._command[0]
                raise HookError(f"hook {name} does not start: {error.strerror}") from error
        return self._process

    def _asked(self, process: subprocess.Popen[bytes], question: bytes) -> bytes:
        if process.stdin is None or process.stdout is None:
            raise HookError(f"hook {self._command[0]} has no pipes")
        deadline = time.monotonic() + self._timeout
        unsent = memoryview(question)
        # A hook that does not read must not stop the loop: a pipe takes 64 KB.
        os.set_blocking(process.stdin.fileno(), False)
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            ready.register(process.stdin, selectors.EVENT_WRITE)
            while b"\n" not in self._rest:
                found = ready.select(max(0.0, deadline - time.monotonic()))
                if not found:
                    raise HookError(f"hook {self._command[0]} gives no answer in {self._timeout} s")
                for each, _ in found:
                    if each.fileobj is process.stdout:
                        self._rest += self._more(process.stdout)
                        continue
                    unsent = unsent[os.write(each.fd, unsent) :]
                    if not unsent:
                        ready.unregister(process.stdin)
        if unsent:
            raise HookError(f"hook {self._command[0]} answered before it read the request")
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _more(self, pipe: IO[bytes]) -> bytes:
        more = os.read(pipe.fileno(), _READ_BYTES)
        if not more:
            raise HookError(f"hook {self._command[0]} ended without an answer")
        return more

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def http(url: str, *, timeout: timedelta = _TIMEOUT) -> Hook:
    """Return the hook behind a URL, as Metacontroller posts to it.

    The hook raises HookError when the server answers anything but 200 with a JSON object.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"the URL of a hook must begin with http:// or https://, got {url!r}")

    def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
        content = json.dumps(request).encode()
        headers = {"Content-Type": "application/json"}
        posted = urllib.request.Request(url, content, headers, method="POST")  # noqa: S310 - checked
        try:
            with urllib.request.urlopen(posted, timeout=timeout.total_seconds()) as answer:  # noqa: S310
                if answer.status != 200:
                    raise HookError(f"hook {url} answers {answer.status}, expected 200")
                return _answer(answer.read(), url)
        except urllib.error.HTTPError as error:
            with error:
                raise HookError(f"hook {url} answers {error.code}, expected 200") from error
        except OSError as error:
            raise HookError(f"hook {url}: {error}") from error

    return ask


def _answer(text: bytes, name: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise HookError(f"hook {name} answers no JSON: {str(error)[:_SHOWN]}") from error
    if not isinstance(answer, dict):
        raise HookError(f"hook {name} answers a {type(answer).__name__}, expected an object")
    return answer
