"""The router: engines that are followed, and a scheduler that chooses among them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from llmd_py._native import (
    BlockHasher,
    Connector,
    Endpoint,
    Explanation,
    KvEventStream,
    Pool,
    PrefixIndex,
    Request,
    Scheduler,
    WorkerStatus,
    check_config,
)
from llmd_py.errors import ExhaustedError, InvalidError, LlmdError, UnavailableError, UnsupportedError
from llmd_py.router import policy, prompt
from llmd_py.router.completion import Completion
from llmd_py.router.engine import Engine, EngineStatus
from llmd_py.router.http import Send, read, send
from llmd_py.router.legs import Legs, to_bytes
from llmd_py.router.limits import Limits
from llmd_py.router.member import Ask, Member, first_block_size
from llmd_py.router.pick import Pick
from llmd_py.router.prompt import Body, Prompt

#: Tokens per block where nothing depends on it.
_ANY_BLOCK_SIZE = 16
#: How many pools of adapters are remembered.
_MAX_POOLS = 1_024
_JSON = {"content-type": "application/json"}


class Router:
    """Says where requests go, among the engines of one model, in the caller's own asyncio program.

    `engines` are URLs (`http://host:port`), `Engine`s, which have names, roles and labels, or `Endpoint`s, of which address,
    name and labels are taken. `config` is llm-d's `EndpointPickerConfig`: a path, or the text; by default `DEFAULT_POLICY`.

    In an `async with` statement it follows the KV events of each engine, looks at its metrics, and learns what it serves. With a
    configuration that asks an index, it waits on entry until the first engine says how many tokens a block has, unless
    `block_size` says it, or `index` is one that is shared with others. After that nothing waits for an engine that is slow or
    gone, except for who must tokenise, and that not for long; see `Limits`.

    `connector` is how prefillers hand over to decoders, as `Connector` has it. `send` is how requests are sent, by default over
    HTTP/1.1, a connection each. `seed` makes every choice repeatable.

    All errors are of `llmd_py.errors`; what means that a request is sent nowhere has the `status` of the answer and, often,
    llm-d's `reason`.

    Raises `InvalidError` and `UnsupportedError` for what is written wrong, on entry too; `UnavailableError`, on entry, when no
    engine has said in time how many tokens a block has. One router belongs to one event loop.
    """

    def __init__(
        self,
        engines: Iterable[str | Engine | Endpoint] = (),
        config: str | Path | None = None,
        *,
        index: PrefixIndex | None = None,
        block_size: int | None = None,
        connector: str = "nixlv2",
        send: Send | None = None,
        limits: Limits | None = None,
        seed: int | None = None,
        allow_experimental: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        """Its limits."""
        self._config = policy.read(config)
        for problem in check_config(self._config, index=True, allow_experimental=allow_experimental):
            raise (UnsupportedError if problem.kind == "unsupported" else InvalidError)(str(problem))
        self._asked: dict[str, Engine] = {}
        for engine in map(Engine.of, engines):
            self._asked[self._new(engine).name] = engine
        self._connector = Connector(connector)
        self._send: Send = send or functools.partial(_default_send, connect=self.limits.connect)
        self._given, self._block_size = index, block_size
        self._seed, self._allow = seed, allow_experimental
        self._members: dict[str, Member] = {}
        self._schemes: dict[str, str] = {}
        self._pools: dict[str | None, Pool] = {}
        self._picks: weakref.WeakSet[Pick] = weakref.WeakSet()
        self._tokenizing = asyncio.Semaphore(self.limits.tokenizing)
        self._turn = 0
        self._is_running = False
        self.untokenized = 0
        """How many requests went without tokens, since no engine tokenised them in time."""

    async def __aenter__(self) -> Router:
        if self._is_running:
            raise InvalidError("the router runs already")
        if self._given is None:
            needs_index = bool(check_config(self._config, index=False, allow_experimental=self._allow))
            size = self._block_size or (await self._ask_block_size() if needs_index else _ANY_BLOCK_SIZE)
            self._index, self._follows = PrefixIndex(size), needs_index or self._block_size is not None
        else:
            self._index, self._follows = self._given, True
        self._scheduler = Scheduler.from_yaml(
            self._config, index=self._index, seed=self._seed, allow_experimental=self._allow
        )
        self._stream = KvEventStream(self._index)
        self._is_running = True
        try:
            for engine in self._asked.values():
                self._join(engine)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None) -> None:
        self._is_running = False
        members, self._members = list(self._members.values()), {}
        self._changed()
        await asyncio.gather(*(member.leave() for member in members))
        self._stream.close()

    @property
    def index(self) -> PrefixIndex:
        """Who holds which prefix."""
        return self._running()._index

    @property
    def scheduler(self) -> Scheduler:
        """What chooses."""
        return self._running()._scheduler

    @property
    def engines(self) -> dict[str, EngineStatus]:
        """What is known of each engine now, by name."""
        return {name: member.status() for name, member in self._running()._members.items()}

    @property
    def events(self) -> dict[str, WorkerStatus]:
        """The event stream of each worker that is followed, in numbers, by the worker's name."""
        return self._running()._stream.status()

    async def add(self, engine: str | Engine | Endpoint) -> str:
        """One more engine, from now on: its name.

        Raises `InvalidError` when there is one of the name, and `ExhaustedError` beyond `Limits.engines`.
        """
        added = self._new(Engine.of(engine))
        self._running()._asked[added.name] = added
        self._join(added)
        return added.name

    async def remove(self, name: str) -> None:
        """No more requests go to this engine, and the index forgets it. Those that run there go on.

        Raises `InvalidError` when there is none of the name.
        """
        member = self._member(name)
        del self._members[name], self._asked[name]
        self._changed()
        await member.leave()

    async def clear(self, name: str) -> None:
        """An engine was told to empty its cache: the index forgets what it held. Engines say so themselves only when they compute
        next; call this between the two, as soon as `/reset_prefix_cache` has answered.

        Raises `InvalidError` when there is none of the name.
        """
        await self._member(name).clear()

    async def reset(self, name: str) -> None:
        """Tell an engine to empty its cache (`POST /reset_prefix_cache`), and forget what it held.

        Raises `UnavailableError` when it does not answer, and `UnsupportedError` when it has no such path.
        """
        member = self._member(name)
        async with _in_time(self.limits.ask, f"{name}: no answer"):
            status, _ = await self._ask(member.engine, "POST", "/reset_prefix_cache", b"")
        if status >= 400:
            raise (UnsupportedError if status < 500 else UnavailableError)(f"{name}: /reset_prefix_cache answers {status}")
        await member.clear()

    def reload(self, config: str | Path) -> None:
        """Put another configuration in the place of this one, as `Scheduler.reload` does, and raise what that raises."""
        self._running()._scheduler.reload(policy.read(config))

    async def ready(self, timeout: float | None = None) -> bool:
        """Wait until every engine has said what it is, and the index is exact about all that publish: whether that is so.

        `timeout` is in seconds.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not all(member.is_exact() for member in self._running()._members.values()):
                    await asyncio.sleep(0.01)
                return True
        return False

    def hasher(self, name: str) -> BlockHasher | None:
        """What names blocks as this engine does; None when it has not said how.

        Raises `InvalidError` when there is none of the name, and for a scheme that is not known.
        """
        status = self._member(name).status()
        if status.hash_scheme is None or status.block_size is None:
            return None
        return BlockHasher(status.hash_scheme, status.block_size)

    async def pick(
        self,
        request: Request | Body | bytes,
        *,
        tokens: Sequence[int] | None = None,
        mm: Sequence[tuple[str, int, int]] | None = None,
        headers: Mapping[str, str] | None = None,
        priority: int | None = None,
        tenant: str | None = None,
    ) -> Pick:
        """Choose where a request goes, and reserve a place there until the pick is done with.

        `request` is the body of an OpenAI request, parsed or as bytes, or a `Request` that has all. Its prompt is tokenised by
        one of the engines, unless it stands there as `tokens` or is given; images and other items are found where an engine has
        `/v1/chat/completions/render`, or given as `mm`, a sequence of (identifier, offset, length) in tokens. The model, if it
        is an adapter, and `cache_salt` are read from the body. `headers` are the client's.

        Raises what `Scheduler.decide` raises, with `status` and `reason`; `InvalidError` (400) for a body that is none;
        `ExhaustedError` (429) when too many picks are held.
        """
        self._running()
        if len(self._picks) >= self.limits.picks:
            raise _with_status(ExhaustedError(f"{len(self._picks)} picks are held"), 429)
        try:
            if isinstance(request, Request):
                return self._decide(request, None, None, None)
            body = _parsed(request)
            asked = Prompt(tokens, mm or ()) if tokens is not None else None
            if asked is None and self._scheduler.needs.tokens:
                asked = await self.tokenize(body)
            model = prompt.model_of(body)
            lora = model if any(model in member.adapters for member in self._members.values()) else None
            salt = body.get("cache_salt")
            wanted = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
            made = Request(
                model,
                tokens=asked.tokens if asked is not None else None,
                headers=_kept(headers, self._scheduler.needs.cookies),
                lora=lora,
                salt=salt,
                mm=asked.mm if asked is not None else None,
                max_output_tokens=wanted,
                priority=priority,
                tenant=tenant,
            )
            return self._decide(made, asked, lora, salt)
        except InvalidError as error:
            raise _with_status(error, error.status or 400) from None
        except TypeError as error:
            raise _with_status(InvalidError(str(error)), 400) from error

    async def explain(self, request: Request | Body | bytes, **arguments: Any) -> Explanation:
        """Say where a request would go now, and why: as text a table, and the same facts by `to_dict`.

        It is decided and given up at once, which plugins that remember what they chose see. Arguments and errors are those of
        `pick`, whose result has an `explanation` of its own.
        """
        pick = await self.pick(request, **arguments)
        pick.abandon()
        return pick.explanation

    async def tokenize(self, body: Body) -> Prompt | None:
        """Give the prompt of an OpenAI body in tokens, as the engines have it; None when none said so within `Limits.tokenize`.

        Who has other means can give `tokens` to `pick`.
        """
        if (given := prompt.given(body)) is not None:
            return given
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.tokenize), self._tokenizing:
                for member in self._in_turn():
                    with contextlib.suppress(LlmdError, ValueError, KeyError, TypeError, AttributeError, TimeoutError):
                        async with asyncio.timeout(self.limits.tokenize / 2):
                            if (found := await self._tokenize(member, body)) is not None:
                                return found
        self.untokenized += 1
        return None

    async def complete(
        self,
        body: Body | bytes,
        *,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Completion:
        """Send an OpenAI request where `pick` says, and give the answer as soon as it has begun.

        With a configuration of roles it is prefilled and decoded by two engines, and the connector says what each is told. What
        fails before the first byte is tried elsewhere. Cancelling this, or closing what it gives, ends whatever has begun.
        `path` is by default that of chats, for bodies with `messages`, or of completions. Fields of the body by which engines
        are told whom to talk to are removed. Further arguments are those of `pick`.

        Raises what `pick` raises, and `UnavailableError` (503) when every engine failed; what engines answer otherwise,
        refusals included, is the answer.
        """
        parsed = _parsed(body)
        pick = await self.pick(parsed, headers=headers, **arguments)
        try:
            legs = Legs(
                pick, path or prompt.path_of(parsed), to_bytes(body), headers or {}, self._send, self._url, self._connector, self.limits
            )
            return Completion(pick, await legs.begin(), self.limits)
        except InvalidError as error:
            pick.abandon()
            raise _with_status(error, error.status or 400) from None
        except BaseException:
            pick.abandon()
            raise

    def _decide(self, request: Request, asked: Prompt | None, lora: str | None, salt: str | None) -> Pick:
        overlap = None
        if asked is not None and self._follows:
            overlap = self._index.query(asked.tokens, lora=lora, salt=salt, mm=asked.mm)
        decision = self._scheduler.decide(request, self._pool(request.model))
        pick = Pick(decision, request.id, overlap, self._url, self._computed, self._picks.discard)
        self._picks.add(pick)
        return pick

    def _pool(self, model: str) -> Pool:
        """Give who serves a model: of an adapter those that have it, else all that are up, else all."""
        adapter = model if any(model in member.adapters for member in self._members.values()) else None
        if adapter not in self._pools:
            if len(self._pools) >= _MAX_POOLS:
                self._pools.clear()
            members = list(self._members.values())
            serving = [member for member in members if adapter is None or adapter in member.adapters]
            up = [member for member in serving if member.is_up] or serving
            self._pools[adapter] = Pool(endpoint for member in up for endpoint in member.endpoints)
        return self._pools[adapter]

    def _in_turn(self) -> list[Member]:
        up = [member for member in self._members.values() if member.is_up]
        self._turn += 1
        first = self._turn % len(up) if up else 0
        return [*up[first:], *up[:first]]

    async def _tokenize(self, member: Member, body: Body) -> Prompt | None:
        if prompt.has_items(body):
            if not member.renders:
                return None
            status, answer = await self._ask(member.engine, "POST", "/v1/chat/completions/render", json.dumps(body).encode())
            member.renders = status not in (403, 404, 405)
            return prompt.rendered(answer) if status == 200 else None
        if (asked := prompt.to_tokenize(body)) is None:
            return None
        status, answer = await self._ask(member.engine, "POST", "/tokenize", asked)
        return prompt.tokenized(answer) if status == 200 else None

    def _computed(self, endpoint: Endpoint) -> None:
        for member in self._members.values():
            if endpoint in member.endpoints:
                member.computed()

    def _new(self, engine: Engine) -> Engine:
        if engine.name in self._asked:
            raise InvalidError(f"two engines are called {engine.name}")
        if len(self._asked) >= self.limits.engines:
            raise ExhaustedError(f"{len(self._asked)} engines: expected no more")
        return engine

    def _join(self, engine: Engine) -> None:
        asks: Ask = functools.partial(self._ask, engine)
        stream = self._stream if self._follows else None
        member = Member(engine, self._index, stream, asks, self.limits, self._changed)
        self._members[engine.name] = member
        self._schemes[engine.address] = engine.url.partition(":")[0]
        self._changed()
        member.follow()

    def _changed(self) -> None:
        self._pools.clear()

    def _member(self, name: str) -> Member:
        if name not in self._running()._members:
            raise InvalidError(f"no engine is called {name}")
        return self._members[name]

    def _running(self) -> Router:
        if not self._is_running:
            raise InvalidError("the router does not run: use it in an `async with` statement")
        return self

    def _url(self, address: str) -> str:
        return f"{self._schemes.get(address, 'http')}://{address}"

    async def _ask_block_size(self) -> int:
        asks: list[Ask] = [functools.partial(self._ask, engine) for engine in self._asked.values()]
        if not asks:
            raise InvalidError("no engine is there to say how many tokens a block has: give block_size")
        return await first_block_size(asks, self.limits)

    async def _ask(self, engine: Engine, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        try:
            answer = await self._send(method, engine.url + path, _JSON, body)
            return answer.status, await read(answer, self.limits.answer_bytes)
        except OSError as error:
            raise UnavailableError(f"{engine.url}{path}: {error}") from error


_default_send = send


@contextlib.asynccontextmanager
async def _in_time(seconds: float, otherwise: str) -> Any:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise UnavailableError(f"{otherwise} within {seconds} s") from error


def _parsed(body: Body | bytes) -> Body:
    try:
        parsed = json.loads(body) if isinstance(body, (bytes, bytearray, memoryview)) else body
    except ValueError as error:
        raise _with_status(InvalidError(f"the body is no JSON: {error}"), 400) from error
    if not isinstance(parsed, Mapping):
        raise _with_status(InvalidError("the body is no JSON object"), 400)
    return parsed


def _kept(headers: Mapping[str, str] | None, cookies: bool) -> dict[str, str]:
    return {name: value for name, value in (headers or {}).items() if cookies or name.lower() != "cookie"}


def _with_status(error: LlmdError, status: int) -> LlmdError:
    error.status = status
    return error
