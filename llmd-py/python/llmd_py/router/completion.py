"""What is answered to a request that a router sent on."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

from llmd_py.errors import ExhaustedError, UnavailableError
from llmd_py.router.legs import Begun
from llmd_py.router.limits import Limits
from llmd_py.router.pick import Pick

#: How much of an answer's end is looked through for what the request took.
_TAIL = 16 << 10
_USAGE = re.compile(rb'"(prompt|cached|completion)_tokens":\s?(\d+)')
#: Seconds between two signs of life of a request that goes on.
_RENEW = 5.0


class Completion:
    """An engine's answer. Iterating it gives the body's pieces, in bytes, as they come; `read` and `json` give it whole.

    Leave it by `async with`, or close it: an engine that still answers gives the request up then, and its place is free.
    """

    def __init__(self, pick: Pick, begun: Begun, limits: Limits) -> None:
        self.pick = pick
        """Where the request went, and why."""
        self.kv = begun.leg.kv if begun.leg is not None else None
        """Where the decoder had the prompt's KV from: `"handed"` by a prefiller, `"recomputed"` although there was one, or None."""
        self.cached_tokens = begun.leg.cached_tokens if begun.leg is not None else None
        """How many tokens a prefiller had in its cache: what the client should read as `cached_tokens`; None without one."""
        self._answer, self._prefill, self._limits = begun.answer, begun.prefill, limits
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Completion: {self.status} from {self.pick.url}>"

    async def __aenter__(self) -> Completion:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None) -> None:
        await self.aclose()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, with names in lower case, and what the scheduler adds."""
        return {**self._answer.headers, **self.pick.response_headers}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body's pieces. Raises `UnavailableError` when the engine goes away, or falls silent, amid its answer."""
        tail, pieces, clock = b"", aiter(self._answer), asyncio.get_running_loop().time
        renewed = clock()
        try:
            while True:
                try:
                    async with asyncio.timeout(self._limits.silence):
                        piece = await anext(pieces)
                except StopAsyncIteration:
                    break
                except TimeoutError as error:
                    raise UnavailableError(f"{self.pick.url}: silent for {self._limits.silence} s amid its answer") from error
                if self.status < 400:
                    self.pick.first_token()
                if clock() - renewed > _RENEW and not self.pick.decision.released:
                    self.pick.decision.renew()
                    renewed = clock()
                tail = (tail + piece)[-_TAIL:]
                yield piece
            if self.status < 400:
                took = {kind.decode(): int(count) for kind, count in _USAGE.findall(tail)}
                self.pick.done(
                    prompt_tokens=took.get("prompt"), cached_tokens=took.get("cached"), output_tokens=took.get("completion")
                )
        finally:
            await self.aclose()

    async def read(self) -> bytes:
        """Read the whole body. Raises `ExhaustedError` beyond `Limits.answer_bytes`, and what iterating raises."""
        pieces, size = [], 0
        try:
            async for piece in self:
                pieces.append(piece)
                size += len(piece)
                if size > self._limits.answer_bytes:
                    raise ExhaustedError(f"an answer of more than {self._limits.answer_bytes} bytes")
        finally:
            await self.aclose()
        return b"".join(pieces)

    async def json(self) -> Any:
        """Read the whole body as JSON. Raises `ValueError` when it is none."""
        return json.loads(await self.read())

    async def aclose(self) -> None:
        """End it: both legs, if they still run. Again it does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._prefill is not None:
                self._prefill.cancel()
                await asyncio.gather(self._prefill, return_exceptions=True)
            await self._answer.aclose()
        finally:
            self.pick.abandon()
