"""One engine among a router's, followed for as long as it is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from llmd_py._native import Endpoint, KvEventStream, PrefixIndex
from llmd_py.errors import LlmdError, UnavailableError
from llmd_py.router import metrics
from llmd_py.router.engine import Engine, EngineStatus, Source
from llmd_py.router.limits import Limits

#: Asks an engine: method, path, body; gives the status and the answer's body.
Ask = Callable[[str, str, bytes], Awaitable[tuple[int, bytes]]]

_WILDCARD = re.compile(r"^tcp://(\*|0\.0\.0\.0|\[::\]):")


class Member:
    """An engine, its endpoints, and what it said of itself."""

    def __init__(
        self, engine: Engine, index: PrefixIndex, stream: KvEventStream | None, ask: Ask, limits: Limits, changed: Callable[[], None]
    ) -> None:
        self.engine = engine
        self.endpoints = _endpoints(engine, index)
        self.is_up = True
        self.problem: str | None = None
        self.hash_algo: str | None = None
        self.block_size: int | None = None
        self.models: frozenset[str] = frozenset()
        self.adapters: frozenset[str] = frozenset()
        self.renders = True
        self._index, self._stream, self._ask = index, stream, ask
        self._limits, self._changed = limits, changed
        self._pages: dict[str, metrics.Metrics] = {}
        self._watched: dict[str, Source] = {}
        self._sources: list[Source] | None = engine.sources()
        self._is_cleared = False
        self._missed: int | None = None
        self._misses = 0
        self.is_learnt = False
        self._task: asyncio.Task[None] | None = None

    def follow(self) -> None:
        """Begin to follow it."""
        self._watch()
        self._task = asyncio.create_task(self._follow(), name=f"llmd router: {self.engine.name}")

    async def leave(self) -> None:
        """Follow it no longer; the index forgets it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._unwatch()
        for endpoint in self.endpoints:
            if endpoint.worker in self._index.workers():
                self._index.remove_worker(endpoint.worker)

    async def clear(self) -> None:
        """The engine was told to empty its cache, of which its stream says nothing until it computes again: until then it is not
        followed, since what it would replay is gone."""
        self._unwatch()
        self._is_cleared, self._missed = True, None
        with contextlib.suppress(LlmdError, TimeoutError):
            async with asyncio.timeout(self._limits.ask):
                status, page = await self._ask("GET", "/metrics", b"")
            if status == 200:
                self._missed = metrics.read(page.decode(errors="replace")).missed

    def computed(self) -> None:
        """The engine has computed: what it says of its cache from now on begins with that it was emptied, if it was."""
        if self._is_cleared:
            self._is_cleared = False
            self._watch()

    def is_exact(self) -> bool:
        """Whether it said where it publishes, and the index has all of it."""
        return self.is_learnt and all(self._index.state(worker) == "exact" for worker in self._watched)

    def status(self) -> EngineStatus:
        """Give what is known of it."""
        scheme = f"vllm-{self.hash_algo}" if self.hash_algo else None
        known = self._index.workers()
        states = {end.worker: self._index.state(end.worker) for end in self.endpoints if end.worker in known}
        return EngineStatus(self.engine, self.is_up, self.problem, self.block_size, scheme, self.adapters, states)

    async def _follow(self) -> None:
        learnt = -self._limits.learn
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout(self._limits.ask):
                    was_down = not self.is_up
                    status, page = await self._ask("GET", "/metrics", b"")
                    if status == 200:
                        self._take(page.decode(errors="replace"))
                    if was_down or clock() - learnt >= self._limits.learn:
                        await self._learn()
                        learnt, self.is_learnt = clock(), True
                self._answered(None)
            except TimeoutError:
                self._answered(f"no answer within {self._limits.ask} s")
            except Exception as error:  # noqa: BLE001: whatever an engine says of itself, it is followed on
                self._answered(str(error) or type(error).__name__)
            await asyncio.sleep(self._limits.scrape)

    def _answered(self, problem: str | None) -> None:
        self._misses = self._misses + 1 if problem else 0
        is_up = self._misses < self._limits.misses
        if problem is None and self.block_size not in (None, self._index.block_size):
            problem = f"has blocks of {self.block_size} tokens, the router of {self._index.block_size}: its events are not followed"
        self.problem = problem
        if is_up != self.is_up:
            self.is_up = is_up
            self._changed()

    def _take(self, text: str) -> None:
        for endpoint in self.endpoints:
            page = metrics.read(text, endpoint.rank)
            before = self._pages.get(endpoint.name)
            self._pages[endpoint.name] = page
            endpoint.set_metrics(
                waiting_requests=page.waiting,
                running_requests=page.running,
                kv_cache_usage=page.usage,
                block_size=page.block_size,
                num_blocks=page.num_blocks,
                max_lora=page.max_lora,
                running_lora_adapters=page.running_loras if page.max_lora is not None else None,
                waiting_lora_adapters=page.waiting_loras if page.max_lora is not None else None,
            )
            self.block_size, self.hash_algo = page.block_size or self.block_size, page.hash_algo or self.hash_algo
            if self._stream is not None and endpoint.worker in self._watched:
                stored = metrics.stored_since(page, before)
                self._stream.engine_said(endpoint.worker, stored=stored, gpu_blocks=page.num_blocks)
        if self._is_cleared and self._missed not in (None, metrics.read(text).missed):
            self.computed()
        if self.block_size not in (None, self._index.block_size):
            self._unwatch()

    async def _learn(self) -> None:
        status, body = await self._ask("GET", "/v1/models", b"")
        if status == 200:
            listed: list[dict[str, Any]] = json.loads(body)["data"]
            models = frozenset(str(model["id"]) for model in listed)
            adapters = frozenset(str(model["id"]) for model in listed if model.get("parent"))
            if (models, adapters) != (self.models, self.adapters):
                self.models, self.adapters = models, adapters
                self._changed()
        if self.engine.events is None and self._stream is not None:
            status, body = await self._ask("GET", "/kv_event_sources", b"")
            if status == 200:
                sources = _sources(json.loads(body), self.engine)
                if sources != self._sources:
                    self._unwatch()
                    self._sources = sources
        if not self._is_cleared:
            self._watch()

    def _watch(self) -> None:
        if self._stream is None or self.block_size not in (None, self._index.block_size):
            return
        for endpoint, source in zip(self.endpoints, self._sources or (), strict=False):
            if endpoint.worker not in self._watched:
                self._stream.watch(endpoint.worker, source)
                self._watched[endpoint.worker] = source

    def _unwatch(self) -> None:
        if self._stream is not None:
            for worker in self._watched:
                self._stream.unwatch(worker)
        self._watched.clear()


def _endpoints(engine: Engine, index: PrefixIndex) -> list[Endpoint]:
    labels = dict(engine.labels)
    if engine.ranks == 1:
        return [Endpoint(engine.name, engine.address, index=index, labels=labels)]
    return Endpoint.ranks(engine.name, engine.address, engine.ranks, index=index, labels=labels)


def _sources(said: dict[str, dict[str, Any]], engine: Engine) -> list[Source]:
    """Read vLLM's `GET /kv_event_sources`: one entry per data-parallel rank. Where it binds to every address of its machine,
    the engine's own address is where it is reached."""
    host = engine.address.rpartition(":")[0]
    found: list[Source] = []
    for _, rank in sorted(said.items(), key=lambda item: int(item[0])):
        if rank.get("enable_kv_cache_events", True) and rank.get("endpoint"):
            replay = rank.get("replay_endpoint")
            found.append((_WILDCARD.sub(f"tcp://{host}:", rank["endpoint"]), replay and _WILDCARD.sub(f"tcp://{host}:", replay)))
    return found[: engine.ranks]


async def first_block_size(asks: list[Ask], limits: Limits) -> int:
    """Ask engines until one says how many tokens its blocks have.

    Raises `UnavailableError` when none has said so in time.
    """

    async def one(ask: Ask) -> int:
        while True:
            try:
                async with asyncio.timeout(limits.ask):
                    status, page = await ask("GET", "/metrics", b"")
                if status == 200 and (size := metrics.read(page.decode(errors="replace")).block_size):
                    return size
            except (LlmdError, TimeoutError):
                pass
            await asyncio.sleep(min(0.25, limits.scrape))

    tasks = [asyncio.create_task(one(ask)) for ask in asks]
    try:
        done, _ = await asyncio.wait(tasks, timeout=limits.start, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not done:
        raise UnavailableError(f"no engine said in {limits.start} s how many tokens a block has: give block_size")
    return done.pop().result()
