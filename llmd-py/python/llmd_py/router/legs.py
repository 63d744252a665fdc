"""A request on its way through the engines that a decision names: one leg, or a prefiller's and a decoder's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from llmd_py._native import Connector, Handover, Leg, StageRoute
from llmd_py.errors import CorruptError, LlmdError, UnavailableError
from llmd_py.router.http import GONE, Answer, Send, read
from llmd_py.router.limits import Limits
from llmd_py.router.pick import Pick

#: Headers that are anew on each connection.
_HOP = {"host", "content-length", "connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
#: Headers that tell a sidecar to do what is done here.
_OURS = {"x-prefiller-host-port", "x-encoder-hosts-ports"}


@dataclass(slots=True)
class Begun:
    """An answer that has begun."""

    answer: Answer
    leg: Leg | None = None
    #: The prefiller's leg, where it still runs.
    prefill: asyncio.Task[bytes] | None = None


class _Refused(Exception):
    """A prefiller says that the request is wrong: its answer is the client's."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _NobodyDecodes(Exception):
    """Every decoder failed, which no other prefiller helps."""


class _Resumed:
    """An answer whose first pieces were read already."""

    def __init__(self, answer: Answer, first: bytes, rest: AsyncIterator[bytes] | None) -> None:
        self.status, self.headers = answer.status, answer.headers
        self.first = first
        self._answer, self._rest = answer, rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.first
        if self._rest is not None:
            async for piece in self._rest:
                yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


@dataclass(frozen=True, slots=True)
class Legs:
    """Sends one request to where a pick says."""

    pick: Pick
    path: str
    body: bytes
    headers: Mapping[str, str]
    send: Send
    url: Callable[[str], str]
    connector: Connector
    limits: Limits

    async def begin(self) -> Begun:
        """Send it on, and give the decoder's answer as soon as it has begun.

        What fails before is tried elsewhere: the next prefiller, then none; the next decoder. An answer that says that the
        request itself is wrong is the answer. Cancelling ends whatever has begun.

        Raises `UnavailableError` when every engine failed.
        """
        decision = self.pick.decision
        if decision.stage("encode") is not None:
            decision.stage_done("encode")  # whoever computes the prompt encodes it, too
        while (stage := decision.stage("prefill")) is not None:
            try:
                return await self._through(stage)
            except _Refused as refused:
                return Begun(refused.answer)
            except _NobodyDecodes as nobody:
                raise _unavailable(nobody) from nobody.__cause__
            except (UnavailableError, CorruptError):
                if decision.stage_failed("prefill").what == "fail":
                    raise
        handover = await self._handover(decision.address)
        try:
            return await self._decode(handover, handover.attempt())
        except _NobodyDecodes as nobody:
            raise _unavailable(nobody) from nobody.__cause__

    async def _through(self, stage: StageRoute) -> Begun:
        handover = await self._handover(stage.endpoint.address, stage, self.connector)
        if handover.order.startswith("concurrent"):
            return await self._at_once(stage, handover)
        if handover.order == "decode-first":
            begun = await self._decode(handover, handover.attempt())
            tried = await self._first(begun.answer)
            if not handover.below_threshold(tried.first):
                return Begun(tried, begun.leg)
            await tried.aclose()
        said = await self._prefill(stage, handover.prefill())
        leg = handover.decode(said)
        self.pick.decision.stage_done("prefill")
        return await self._decode(handover, leg)

    async def _at_once(self, stage: StageRoute, handover: Handover) -> Begun:
        is_held = handover.order == "concurrent-held"
        prefill = asyncio.create_task((self._prefill if is_held else self._prefill_aside)(stage, handover.prefill()))
        decode = asyncio.create_task(self._decode(handover, handover.decode()))
        try:
            if is_held:
                await prefill
            begun = await decode
        except BaseException:
            for task in (prefill, decode):
                task.cancel()
            _, left = await asyncio.gather(prefill, decode, return_exceptions=True)
            if isinstance(left, Begun):
                await left.answer.aclose()
            raise
        begun.prefill = prefill
        prefill.add_done_callback(self._prefilled)
        return begun

    def _prefilled(self, prefill: asyncio.Task[bytes]) -> None:
        if not prefill.cancelled() and prefill.exception() is None and not self.pick.decision.released:
            self.pick.decision.stage_done("prefill")

    async def _handover(self, prefiller: str, stage: StageRoute | None = None, asked: Connector | None = None) -> Handover:
        bootstrap = None
        if asked is not None and (url := asked.bootstrap_url(prefiller)) is not None:
            async with self._within(self.limits.ask, url):
                bootstrap = await read(await self.send("GET", url, {}, b""), self.limits.answer_bytes)
        return self.connector.handover(
            self.path,
            self.body,
            request_id=str(uuid.uuid4()),
            prefiller=prefiller,
            decoder=self.pick.decision.address,
            rank=stage.rank if stage is not None else None,
            room=random.getrandbits(63),
            bootstrap=bootstrap,
        )

    async def _prefill(self, stage: StageRoute, leg: Leg) -> bytes:
        url = self.url(stage.endpoint.address) + self.path
        headers = self._headers(leg)
        if stage.rank is not None:
            headers["x-data-parallel-rank"] = str(stage.rank)
        async with self._within(stage.deadline or self.limits.prefill, url):
            answer = await self.send("POST", url, headers, leg.body)
            if answer.status == 429 or answer.status >= 500:
                await answer.aclose()
                raise UnavailableError(f"{url}: the prefiller answers {answer.status}")
            if answer.status >= 400:
                raise _Refused(answer)
            return await read(answer, self.limits.answer_bytes)

    async def _prefill_aside(self, stage: StageRoute, leg: Leg) -> bytes:
        try:
            return await self._prefill(stage, leg)
        except _Refused as refused:  # the decoder says so, too
            await refused.answer.aclose()
            raise UnavailableError(f"the prefiller answers {refused.answer.status}") from refused

    async def _decode(self, handover: Handover, leg: Leg) -> Begun:
        while True:
            url = self.pick.url + self.path
            answer, failed = None, None
            try:
                async with self._within(self.limits.silence, url):
                    answer = await self.send("POST", url, {**self._headers(leg), **self._ranked()}, leg.body)
            except (UnavailableError, CorruptError) as error:
                failed = error
            if answer is not None and answer.status < 500:
                return Begun(answer, leg)
            if self.pick.advance() is None:
                if answer is not None:
                    return Begun(answer, leg)
                raise _NobodyDecodes(f"every engine failed, the last with: {failed}") from failed
            if answer is not None:
                await answer.aclose()
            leg = handover.attempt()  # what was handed over may be gone with who failed: the next one computes the prompt itself

    async def _first(self, answer: Answer) -> _Resumed:
        try:
            if "event-stream" not in answer.headers.get("content-type", ""):
                return _Resumed(answer, await read(answer, self.limits.answer_bytes), None)
            rest = aiter(answer)
            return _Resumed(answer, await anext(rest, b""), rest)
        except BaseException:
            await answer.aclose()
            raise

    def _headers(self, leg: Leg) -> dict[str, str]:
        dropped = _HOP.union(self.pick.remove)
        sent = {name.lower(): value for name, value in self.headers.items()}
        return {**{n: v for n, v in sent.items() if n not in dropped}, "content-type": "application/json", **leg.headers}

    def _ranked(self) -> dict[str, str]:
        return {name: value for name, value in self.pick.headers.items() if name.lower() not in _OURS}

    @contextlib.asynccontextmanager
    async def _within(self, seconds: float, url: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except LlmdError:
            raise
        except TimeoutError as error:
            raise UnavailableError(f"{url}: no answer within {seconds} s") from error
        except GONE as error:
            raise UnavailableError(f"{url}: {error}") from error


def _unavailable(nobody: _NobodyDecodes) -> UnavailableError:
    error = UnavailableError(str(nobody))
    error.status = 503
    return error


def to_bytes(body: Mapping[str, object] | bytes) -> bytes:
    """Give a body as JSON."""
    return bytes(body) if isinstance(body, bytes) else json.dumps(body).encode()
