"""As much HTTP/1.1 as engines need: one request, one connection, and an answer that is read as it comes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from llmd_py.errors import CorruptError, ExhaustedError, UnavailableError

#: Bytes of an answer's head, and of one line between chunks.
HEAD_BYTES = 64 << 10
#: Bytes that are read at once.
PIECE_BYTES = 64 << 10

#: What a connection says when the other side is not there, or goes away amid its answer.
GONE = (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError)


class Answer(Protocol):
    """What an engine answers. Iterating gives the body's pieces, in bytes, as they come.

    Raises `UnavailableError` when the engine goes away amid its answer.
    """

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, with names in lower case."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """Ends the connection: an engine that still answers gives the request up. Closing again does nothing."""


#: Sends a request (method, URL, headers, body) and gives the answer as soon as its head is there.
#: Raises `UnavailableError` when nobody answers. What is cancelled leaves no connection.
Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Answer]]


class _HttpAnswer:
    """An answer that is read from a connection of its own."""

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._url, self._reader, self._writer = url, reader, writer

    async def head(self) -> None:
        status = 100
        while 100 <= status < 200:
            try:
                text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except asyncio.LimitOverrunError as error:
                raise CorruptError(f"{self._url}: the head of the answer is longer than {HEAD_BYTES} bytes") from error
            first, *lines = text.splitlines()[:-1]
            words = first.split(maxsplit=2)
            if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
                raise CorruptError(f"{self._url}: the answer begins with {first[:80]!r}, expected HTTP/1.1 and a status")
            status = int(words[1])
            pairs = (line.partition(":") for line in lines)
            self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.status = status

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            if "chunked" in self.headers.get("transfer-encoding", "").lower():
                async for piece in self._chunks():
                    yield piece
            elif (length := self.headers.get("content-length")) is not None:
                left = int(length)
                while left > 0:
                    piece = await self._some(left)
                    left -= len(piece)
                    yield piece
            else:
                while piece := await self._reader.read(PIECE_BYTES):
                    yield piece
        except (*GONE, asyncio.LimitOverrunError) as error:
            raise UnavailableError(f"{self._url}: the engine went away amid its answer") from error
        except ValueError as error:
            raise CorruptError(f"{self._url}: the answer's length is no number") from error
        finally:
            await self.aclose()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while left := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            while left > 0:
                piece = await self._some(left)
                left -= len(piece)
                yield piece
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass

    async def _some(self, most: int) -> bytes:
        piece = await self._reader.read(min(most, PIECE_BYTES))
        if not piece:
            raise EOFError
        return piece

    async def aclose(self) -> None:
        self._writer.close()


async def send(method: str, url: str, headers: Mapping[str, str], body: bytes, *, connect: float = 5.0) -> Answer:
    """Send one request over a connection of its own: what a `Router` does unless it is given something else.

    `http` and `https`, the latter by the system's certificates. `connect` is in seconds.

    Raises `UnavailableError` when nobody answers, and `CorruptError` when the answer is not HTTP.
    """
    parts = urlsplit(url)
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(connect):
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure, limit=HEAD_BYTES)
    except GONE as error:
        raise UnavailableError(f"{url}: {error or 'no answer'}") from error
    answer = _HttpAnswer(url, reader, writer)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"host": parts.netloc, **headers, "content-length": str(len(body)), "connection": "close"}
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        await writer.drain()
        await answer.head()
    except GONE as error:
        await answer.aclose()
        raise UnavailableError(f"{url}: {error or 'no answer'}") from error
    except BaseException:
        await answer.aclose()
        raise
    return answer


async def read(answer: Answer, most: int) -> bytes:
    """Read an answer whole and end its connection.

    Raises `ExhaustedError` when it has more than so many bytes.
    """
    pieces, size = [], 0
    try:
        async for piece in answer:
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise ExhaustedError(f"an answer of more than {most} bytes")
    finally:
        await answer.aclose()
    return b"".join(pieces)
