"""Engines that a test plays itself: HTTP servers in its own event loop, which say and do what it wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

METRICS = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:cache_config_info{block_size="16",num_gpu_blocks="100",prefix_caching_hash_algo="sha256_cbor"} 1.0
"""


@dataclass
class Asked:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: Any
    writer: asyncio.StreamWriter

    async def answer(self, facts: object, status: int = 200, kind: str = "application/json") -> None:
        """Answers at once."""
        body = facts.encode() if isinstance(facts, str) else json.dumps(facts).encode()
        head = f"HTTP/1.1 {status} so\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        await self.raw(head.encode() + body)

    async def raw(self, text: bytes) -> None:
        """Says these bytes, whatever they are."""
        self.writer.write(text)
        await self.writer.drain()


@dataclass
class Played:
    """An engine that answers questions about itself, and has `generate` answer prompts."""

    generate: Callable[[Asked], Awaitable[None]]
    metrics: str = METRICS
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "tiny"}])
    asked: list[Asked] = field(default_factory=list)
    #: Requests whose client went away before they were answered.
    aborted: int = 0
    #: Seconds until it does anything.
    delay: float = 0
    url: str = ""
    handlers: set[asyncio.Task[None]] = field(default_factory=set)

    def of(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.handlers.add(task)
        task.add_done_callback(self.handlers.discard)
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                await asyncio.sleep(self.delay)
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[:-1]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = first.split()[1]
                asked = Asked(path, headers, json.loads(body) if body else None, writer)
                self.asked.append(asked)
                if path == "/metrics":
                    await asked.answer(self.metrics, kind="text/plain")
                elif path == "/v1/models":
                    await asked.answer({"data": self.models})
                elif path == "/tokenize":
                    await asked.answer({"tokens": list(json.dumps(asked.body.get("messages", asked.body.get("prompt"))).encode())})
                elif path.startswith("/v1/"):
                    await self._generate(asked, reader)
                else:
                    await asked.answer({"detail": "Not Found"}, 404)
            finally:
                writer.close()
                await writer.wait_closed()

    async def _generate(self, asked: Asked, reader: asyncio.StreamReader) -> None:
        answers, gone = asyncio.ensure_future(self.generate(asked)), asyncio.ensure_future(reader.read(1))
        await asyncio.wait([answers, gone], return_when=asyncio.FIRST_COMPLETED)
        if not answers.done():
            self.aborted += 1
        for task in (answers, gone):
            task.cancel()
        await asyncio.gather(answers, gone, return_exceptions=True)


@asynccontextmanager
async def playing(*engines: Played) -> AsyncIterator[None]:
    """Has these engines serve."""
    servers = []
    for engine in engines:
        server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
        engine.url = "http://{}:{}".format(*server.sockets[0].getsockname())
        servers.append(server)
    try:
        yield
    finally:
        for server in servers:
            server.close()
        handlers = [task for engine in engines for task in engine.handlers]
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


async def says_hello(asked: Asked) -> None:
    """Answers like an engine."""
    await asked.answer({"choices": [{"text": "hello"}], "usage": {"prompt_tokens": 7, "completion_tokens": 1}})


async def says_nothing(_: Asked) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def fails(asked: Asked) -> None:
    """Is broken."""
    await asked.answer({"error": "broken"}, 500)


async def until(what: str, is_so: Callable[[], bool]) -> None:
    """Returns as soon as it is so, and fails when it is not within ten seconds."""
    try:
        async with asyncio.timeout(10):
            while not is_so():
                await asyncio.sleep(0.005)
    except TimeoutError as error:
        raise AssertionError(f"not within 10 s: {what}") from error
