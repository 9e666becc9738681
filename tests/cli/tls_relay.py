"""HTTPS before a server of plain HTTP: a relay of bytes with a certificate of its own."""

import asyncio
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import trustme

__all__ = ["TLSRelay"]


class TLSRelay:
    """Accepts TLS on a free port and relays each connection to another port; a context manager."""

    def __init__(self, port: int) -> None:
        self.authority = trustme.CA()
        self.url = ""
        self._port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self._loop = asyncio.new_event_loop()
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_listening.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()

    async def _run(self) -> None:
        self._end = asyncio.Event()
        self._relays = set[asyncio.Task[None]]()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._context)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._is_listening.set()
        await self._end.wait()
        server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        there, to_there = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.wait(
                [
                    asyncio.create_task(_copy(reader, to_there)),
                    asyncio.create_task(_copy(there, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._relays.discard(task)
            writer.transport.abort()
            to_there.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
