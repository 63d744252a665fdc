"""The scheduler's side: which requests are handed over, and what goes into an answer. It tells the workers over their sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmd_py import KvScheduler
from llmd_py.errors import InvalidError, LlmdError, UnsupportedError
from llmd_py.vllm.settings import Settings

if TYPE_CHECKING:
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.request import Request

__all__ = ["SchedulerSide"]

#: In vLLM no request ever holds this block.
NULL_BLOCK = 0
#: How many requests are remembered of which no grant was had.
MAX_UNLENT = 1024


@dataclass(frozen=True)
class Sight:
    """How far back the layers of a group see, in tokens: a window that moves on, or chunks that begin anew."""

    block_tokens: int
    window: int | None = None
    chunk: int | None = None

    def is_cut_at(self, tokens: int) -> bool:
        """Say whether vLLM, told that so many tokens are there, keeps no place for one that the last of them sees."""
        if self.window is not None:
            skipped = tokens - self.window + 1
            return skipped > 0 and skipped % self.block_tokens == 0
        return self.chunk is not None and tokens % self.chunk == 0


def _sight(group: int, spec: Any) -> Sight | None:
    """Say how far back a group's layers see, or `None` where that is to the beginning.

    Raises `UnsupportedError` for layers that keep something else than keys and values of tokens.
    """
    kinds = {kind.__name__ for kind in type(spec).__mro__}
    if "UniformTypeKVCacheSpecs" in kinds:
        return _sight(group, next(iter(spec.kv_cache_specs.values())))
    if "SlidingWindowSpec" in kinds:
        return Sight(spec.block_size, window=spec.sliding_window)
    if "ChunkedLocalAttentionSpec" in kinds:
        return Sight(spec.block_size, chunk=spec.attention_chunk_size)
    if "FullAttentionSpec" in kinds:
        return None
    raise UnsupportedError(
        f"group {group} of the cache is of {type(spec).__name__}, expected attention: what such layers keep at the end of a prompt is not"
        " what they have before its last token, which is always computed again"
    )


class SchedulerSide:
    """What a scheduler knows of the requests that are handed over."""

    def __init__(
        self, settings: Settings, engine: str, shards: int, block_tokens: int, cache: KVCacheConfig, *, may_fetch: bool = True
    ) -> None:
        """Know nothing, until the workers have said where they listen."""
        self.settings = settings
        self.engine = engine
        self.shards = shards
        self.block_tokens = block_tokens
        self.may_fetch = may_fetch
        self.cache = cache
        self.groups = {group: cache.kv_cache_groups[group].kv_cache_spec.block_size for group in _handed_over(cache)}
        self.workers: KvScheduler | None = None
        self.content: dict[str, str] = {}
        self.local_tokens: dict[str, int] = {}
        """Requests that arrived to be decoded here, and how many of their tokens were here when it was last looked."""
        self.sights: list[Sight] = []
        self.unlent: dict[str, None] = {}
        """Requests of which the workers were asked for a grant and none was had: a worker may believe that there is one."""

    def connect(self, workers: list[str], key: bytes, content: dict[str, str]) -> None:
        """Connect to the workers, in the order of their shards. All their caches hold the same kind of bytes.

        Raises `UnsupportedError` for layers of which the cache cannot be handed over.
        """
        self.sights = [sight for group in self.groups if (sight := _sight(group, self.cache.kv_cache_groups[group].kv_cache_spec))]
        self.content = content
        self.workers = KvScheduler(
            workers,
            key=key,
            block_tokens=self.block_tokens,
            min_tokens=self.settings.min_tokens,
            patience=self.settings.patience,
        )

    def arrived(self, request: Request) -> None:
        """Hear of a request. One that another engine prefilled has its blocks kept from now on."""
        params = request.kv_transfer_params
        if self.workers is None or not params or not params.get("do_remote_prefill"):
            return
        grant = params.get("grant")
        if not isinstance(grant, str):
            raise LlmdError(f"kv_transfer_params has {_kind(grant)} as grant, expected a text: the prefiller is not of llmd")
        self._is_like_ours(params.get("content"))
        self.workers.arrive(request.request_id, request.num_prompt_tokens, grant)
        if not self.may_fetch:
            # vLLM gives blocks to others while a step still writes into them, unless an engine is said to fetch.
            self.workers.abort(request.request_id)
            raise LlmdError("a request is to be fetched by an engine with kv_role kv_producer, expected kv_consumer or kv_both")
        self.local_tokens[request.request_id] = 0

    def matched(self, request: Request, local_tokens: int) -> int:
        """Say how many tokens come from outside, behind those that are here."""
        if self.workers is None or request.request_id not in self.local_tokens:
            return 0
        self.local_tokens[request.request_id] = local_tokens
        tokens = self.workers.matched(request.request_id, local_tokens)
        end = local_tokens + tokens
        # The last token of a prompt is computed again, and what it sees must be there: vLLM may have left that out already.
        if end == request.num_prompt_tokens and any(sight.is_cut_at(end) for sight in self.sights):
            return 0
        return tokens

    def allocated(self, request: Request, blocks: KVCacheBlocks, external_tokens: int) -> None:
        """Have tokens fetched into the blocks that were allocated for them."""
        local_tokens = self.local_tokens.pop(request.request_id, None)
        if self.workers is None or local_tokens is None:
            return
        groups = self._into(blocks.get_block_ids(), local_tokens, local_tokens + external_tokens) if external_tokens else []
        self.workers.allocated(request.request_id, local_tokens, external_tokens, groups)

    def finished(self, request: Request, block_ids: tuple[list[int], ...], *, is_whole: bool) -> tuple[bool, dict[str, Any] | None]:
        """End a request: whether its blocks are still read, and what its answer says to the decoder."""
        if self.workers is None:
            return False, None
        if self.local_tokens.pop(request.request_id, None) is not None:
            # It never had its turn: the prefiller may have its blocks back.
            self.workers.abort(request.request_id)
            return False, None
        params = request.kv_transfer_params or {}
        if params.get("do_remote_prefill"):
            # One that is being fetched is waited for by vLLM itself, until it is told that it has arrived.
            self.workers.abort(request.request_id)
        if not is_whole or not params.get("do_remote_decode"):
            return False, None
        tokens = min(request.num_computed_tokens, request.num_prompt_tokens)
        grant = self.workers.computed(request.request_id, tokens, self._from(block_ids, tokens))
        if grant is None:
            self._remember_unlent(request.request_id)
            return False, None
        return True, self._answer(request, tokens, grant)

    def forget(self) -> None:
        """Leave what was offered and is not being fetched yet: it was computed before whatever there is to forget."""
        for request in list(self.local_tokens):
            del self.local_tokens[request]
            if self.workers is not None:
                self.workers.abort(request)

    def not_lent(self, sent: set[str]) -> set[str]:
        """Name those of which a worker says that they were sent, though nobody was told that they could be had."""
        wrong = sent & self.unlent.keys()
        for request in wrong:
            del self.unlent[request]
        return wrong

    def _remember_unlent(self, request: str) -> None:
        self.unlent[request] = None
        if len(self.unlent) > MAX_UNLENT:
            del self.unlent[next(iter(self.unlent))]

    def close(self) -> None:
        """Leave the workers."""
        if self.workers is not None:
            self.workers.close()

    def _is_like_ours(self, content: object) -> None:
        """Make sure that a prefiller's cache holds what ours does, as far as it says so. Its grant says it too, but in a digest.

        Raises `InvalidError` naming what differs.
        """
        if not isinstance(content, dict):
            return
        for name, ours in self.content.items():
            theirs = content.get(name)
            if theirs != ours:
                raise InvalidError(f"the prefiller's {name} is {theirs!r}, expected {ours!r}: both must have the same")

    def _answer(self, request: Request, tokens: int, grant: str) -> dict[str, Any]:
        """Give what goes to the decoder as it is. Routers of NIXL's requests look for more than llmd's decoders do."""
        return {
            "connector": "llmd",
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "grant": grant,
            "content": self.content,
            "remote_num_tokens": tokens,
            "remote_engine_id": self.engine,
            "remote_request_id": request.request_id,
            "remote_block_ids": [],
            "remote_host": "",
            "remote_port": 0,
            "tp_size": self.shards,
        }

    def _from(self, block_ids: tuple[list[int], ...], tokens: int) -> list[tuple[int, int, list[int]]]:
        """Give the blocks that hold these tokens, by group, and the token at which the first of them begins."""
        lent = []
        for group, size in self.groups.items():
            blocks = block_ids[group][: -(-tokens // size)]
            first = _first(blocks)
            lent.append((group, first * size, blocks[first:]))
        return lent

    def _into(self, block_ids: tuple[list[int], ...], start: int, end: int) -> list[tuple[int, int, int, list[int]]]:
        """Give the blocks for the tokens from `start` until `end`, by group."""
        into = []
        for group, size in self.groups.items():
            begin = start // size
            blocks = block_ids[group][begin : -(-end // size)]
            first = _first(blocks)
            into.append((group, size, (begin + first) * size, blocks[first:]))
        return into


def _handed_over(cache: KVCacheConfig) -> tuple[int, ...]:
    """Name the groups that are handed over: all, where vLLM does not say."""
    groups: tuple[int, ...] = getattr(cache, "transfer_group_ids", tuple(range(len(cache.kv_cache_groups))))
    return groups


def _first(blocks: list[int]) -> int:
    """Count the blocks that a group with a window has forgotten: they stand first."""
    return next((place for place, block in enumerate(blocks) if block != NULL_BLOCK), len(blocks))


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
