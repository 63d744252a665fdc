"""
The compiled half of `llmd_py`; its names are re-exported there.
"""

from _typeshed import SupportsGetItem, SupportsKeysAndGetItem, SupportsLenAndGetItem
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Final, SupportsFloat, SupportsIndex, final
from typing_extensions import Buffer

__all__ = ["__version__", "Agent", "AgentStats", "AllBlocksCleared", "BlockHasher", "BlockRemoved", "BlockStored", "Chain", "Connector", "Considered", "Decision", "Device", "Endpoint", "EventError", "Explanation", "Fed", "FetchOp", "Fetched", "Grant", "Handover", "HeaderChanges", "IndexStats", "Kept", "KvEventBatch", "KvEventStream", "KvLayout", "KvPool", "KvScheduler", "KvWorker", "LeaseEnded", "Leg", "Needs", "NextStep", "Overlap", "Pool", "PrefixExplanation", "PrefixIndex", "Problem", "Region", "Request", "Scheduler", "SessionMemo", "StageRoute", "TrtllmDecoder", "TrtllmEvents", "WorkerExplanation", "WorkerStatus", "_raise", "_run_gateway", "check_config", "decode_batch"]

__version__: Final[str]

@final
class Agent:
    """
    Lends blocks of its pools to other agents, and fetches theirs.

    `transports` are tried in the order of what they are expected to cost: `"shm"` between processes of one machine, with its socket
    in `folder` (by default a folder of the user's own), `"cuda_ipc"` between their devices, with its socket there too, by the first
    device of CUDA or else of ROCm, or by the one that `"cuda_ipc://cuda:1"` names, `"tcp://HOST:PORT"` between machines, listening
    there, and `"local"` between the agents of one process. Agents of a `tenant` prove it
    by its `key`; without one nothing is proven, and who may connect is the matter of the folder's permissions. `serve` has the keys of
    other tenants who are let in. `check` says when what arrives is held against what was granted: `"always"`, `"remote"` or `"off"`.

    An agent has one thread, which serves others while the caller computes, and a few that copy; none of them needs the GIL. It ends
    by `close`, at the end of `with`, or when it is garbage. A forked child has none of its threads: there it raises
    `UnavailableError`, and another can be made.

    Raises `InvalidError` for a transport of another name and for settings that make no sense, and what a transport says that cannot
    begin.
    """
    def __enter__(self, /) -> Agent: ...
    def __exit__(self, /, _exc_type: type | None, _exc_value: Any | None, _traceback: Any | None) -> None: ...
    def __new__(cls, /, name: str, transports: SupportsGetItem[int, str] | None = None, *, tenant: str | None = None, key: SupportsGetItem[int, SupportsIndex] | None = None, serve: Mapping[str, SupportsGetItem[int, SupportsIndex]] | None = None, check: str = "always", folder: str | PathLike[str] | None = None, copy_threads: SupportsIndex | None = None, spin: SupportsFloat | SupportsIndex | None = None, max_leases: SupportsIndex | None = None, max_operations: SupportsIndex | None = None) -> Agent: ...
    def __repr__(self, /) -> str: ...
    def close(self, /) -> None:
        """
        Ends the agent: what is under way is left, and its leases can be read no more. Closing again does nothing.
        """
    def consider(self, /, grant: Grant | Buffer | SupportsLenAndGetItem[int], pool: KvPool) -> list[Considered]:
        """
        What each transport would cost for this grant, or why it would not do; the first that can is the one that would be taken.
        """
    def fetch(self, /, grant: Grant | Buffer | SupportsLenAndGetItem[int], pool: KvPool, blocks: SupportsLenAndGetItem[int] | Buffer, *, timeout: SupportsFloat | SupportsIndex = 30.0, transports: SupportsGetItem[int, str] | None = None, hold: bool = False, priority: SupportsIndex | None = None) -> FetchOp:
        """
        Begins to bring all blocks of a grant into these blocks of a pool of ours, within `timeout` seconds, by one of `transports` or
        by whichever is fastest. With `hold`, whoever granted is told only by `finish` that nothing more is needed. Those of a higher
        `priority` go first.

        Raises, and then nothing was begun, `InvalidError` and `UnsupportedError` for blocks and layouts that do not fit;
        `UnavailableError` when no transport reaches the agent, with why for each; `ExhaustedError` when too many operations are under
        way.
        """
    def fileno(self, /) -> int:
        """
        A descriptor that is readable when `poll` has something to say, for loops: it is the agent's, and not to be read or closed.
        """
    def finish(self, /, grant: Grant | Buffer | SupportsLenAndGetItem[int]) -> None:
        """
        Says that this agent needs nothing more of a grant: of one that was never fetched, or fetched with `hold`.

        Raises `UnavailableError` when the agent that granted cannot be reached: then the lease ends by itself.
        """
    def grant(self, /, pool: KvPool, blocks: SupportsLenAndGetItem[int] | Buffer, *, seconds: SupportsFloat | SupportsIndex, consumers: SupportsIndex | None = None, at_most: SupportsFloat | SupportsIndex | None = None) -> bytes:
        """
        Lends blocks of a pool for so many seconds without a heartbeat, at most ten times that or `at_most` with them, to so many
        `consumers`, and gives the bytes that name them to others. Nobody may write them until `poll` says that they are free.

        Raises `InvalidError` for blocks that the pool does not have, and `ExhaustedError` when as many leases hold as may.
        """
    @property
    def id(self, /) -> str:
        """
        Which agent this is: another after each start.
        """
    def keep(self, /, grant: Grant | Buffer | SupportsLenAndGetItem[int]) -> Kept:
        """
        Has a grant's lease prolonged until what this gives is closed: for one that waits to be fetched.

        Raises `ExhaustedError` when too many are kept.
        """
    def poll(self, /) -> list[Fetched | LeaseEnded]:
        """
        What happened since: a `Fetched` for each operation that ended, unless somebody waited for it, and a `LeaseEnded` for each lease
        of ours that did. Some thousand at a time; does not wait.
        """
    def register(self, /, memory: Any, layout: KvLayout, *, tenant: str | None = None) -> KvPool:
        """
        Takes memory in, laid out like this: from now on its blocks can be granted, and blocks fetched into it. `memory` is a `Region`,
        or what one can be made of: a writable buffer, a DLPack tensor (on a device too), a path, a file descriptor. With `tenant`, it
        is for peers of that tenant alone.

        Raises `InvalidError` when the memory is shorter than its layout; `UnsupportedError` when no transport of the agent can move
        such memory; `DeniedError` when it is another tenant's already.
        """
    def release(self, /, grant: Grant | Buffer | SupportsLenAndGetItem[int]) -> bool:
        """
        Takes a lease back, whoever reads: they are told that it is stale. Says whether it still held.

        Raises `InvalidError` for a grant of another agent.
        """
    def stats(self, /) -> AgentStats:
        """
        What it has now, and what it counted since it was built.
        """
    def unregister(self, /, pool: KvPool) -> None:
        """
        Forgets a pool: leases of its blocks are released, and no grant names it again. Its memory stays as long as somebody has it.
        """

@final
class AgentStats:
    """
    What an agent has now, and what it counted since it was built.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def cma_bytes(self, /) -> int:
        """
        Bytes that were fetched by `shm` out of a peer's memory by its address.
        """
    @property
    def denied_reads(self, /) -> int:
        """
        Reads that were denied.
        """
    @property
    def ended(self, /) -> dict[str, int]:
        """
        Operations that ended, by their outcomes' names.
        """
    @property
    def fallbacks(self, /) -> int:
        """
        Operations that were begun again on another transport.
        """
    @property
    def fetched_bytes(self, /) -> int:
        """
        Bytes that were fetched.
        """
    @property
    def ipc_bytes(self, /) -> int:
        """
        Bytes that were fetched by `cuda_ipc` out of memory that another process's device exported.
        """
    @property
    def leases(self, /) -> int:
        """
        Leases that hold.
        """
    @property
    def lost_notes(self, /) -> int:
        """
        Notes of leases that had ended, or of none.
        """
    @property
    def malformed_messages(self, /) -> int:
        """
        Messages that were none.
        """
    @property
    def mapped_bytes(self, /) -> int:
        """
        Bytes that were fetched by `shm` out of memory of a peer that this process mapped.
        """
    @property
    def operations(self, /) -> int:
        """
        Operations under way.
        """
    @property
    def peers(self, /) -> int:
        """
        Peers that it is connected with.
        """
    @property
    def refused_peers(self, /) -> int:
        """
        Peers that were not let in.
        """
    @property
    def served_bytes(self, /) -> int:
        """
        Bytes that were sent to others; not those that others copied by themselves.
        """
    @property
    def staged_bytes(self, /) -> int:
        """
        Bytes that were fetched by `shm` and copied there by the peer.
        """
    @property
    def stale_reads(self, /) -> int:
        """
        Reads with a lease that had ended.
        """

@final
class AllBlocksCleared:
    """
    Every block in GPU memory is gone.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...

@final
class BlockHasher:
    """
    Names the blocks of a prompt as an engine does, bit for bit.

    `scheme` is one of `SCHEMES`: vLLM's `--prefix-caching-hash-algo` behind `vllm-`, or `sglang`. `block_size` is in tokens
    (SGLang: page). vLLM's are taken for those of the newest version, started without `PYTHONHASHSEED`: `seed` says what it
    was set to, and `engine_version` which version it is, such as `"0.30"`.

    Raises `InvalidError` for a scheme, block size, seed or version that is none, and `UnsupportedError` for `"llmd"`: the
    names that an index makes for itself do not leave it.
    """
    SCHEMES: Final[tuple[str, str, str, str, str]]
    """
    The names of every scheme.
    """
    def __new__(cls, /, scheme: str, block_size: SupportsIndex = 16, *, seed: str | None = None, engine_version: str | None = None) -> BlockHasher: ...
    def __repr__(self, /) -> str: ...
    @property
    def block_size(self, /) -> int:
        """
        Tokens per block.
        """
    @property
    def digest_len(self, /) -> int:
        """
        Bytes per name: 32 or 16.
        """
    def event_int(self, /, name: bytes) -> int:
        """
        The integer that events say in place of this name. vLLM's is without a sign, SGLang's with one.

        Raises `InvalidError` when it is no name of `digest_len` bytes.
        """
    def event_names(self, /, tokens: SupportsLenAndGetItem[int] | Buffer, *, ints: bool = True, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, lora_path: str | None = None) -> list[int | bytes]:
        """
        The names of all full blocks as the engine's events have them, for queries: integers, or the whole names as bytes where
        the engine publishes those. The other arguments, and errors, are those of `hash`.
        """
    def hash(self, /, tokens: SupportsLenAndGetItem[int] | Buffer, *, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, lora_path: str | None = None) -> list[bytes]:
        """
        The names of all full blocks, first block first. A rest that fills no block has no name.

        `tokens` is a buffer of integers in one dimension or a sequence of `int`. `lora` is the adapter's name and
        `lora_path` where the engine loaded it from, `salt` the tenant's salt, `mm` the images and other items: for each its
        identifier, its first placeholder token and how many there are.

        Raises `InvalidError` for a token that is none, by value and position; when the engine draws its seed by chance and
        none was given; and when vLLM hashes the adapter's path and it is not given. `UnsupportedError` for adapters and
        items of SGLang.
        """
    def hash_into(self, /, out: Buffer | SupportsLenAndGetItem[int], tokens: SupportsLenAndGetItem[int] | Buffer, *, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, lora_path: str | None = None) -> int:
        """
        Write the names of all full blocks to `out`, first block first and nothing between them: a writable buffer of as many
        bytes, `digest_len` for each block. Returns how many names there are. The other arguments are those of `hash`.

        Raises `InvalidError` for an `out` of another length, and otherwise what `hash` raises.
        """
    @property
    def scheme(self, /) -> str:
        """
        The scheme.
        """

@final
class BlockRemoved:
    """
    One copy of each of these blocks is gone.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def block_hashes(self, /) -> list[int | bytes]:
        """
        The engine's names: integers, or bytes.
        """
    @property
    def group_idx(self, /) -> int:
        """
        The KV-cache group.
        """
    @property
    def locality(self, /) -> str:
        """
        Whether others read the tier too: `"LOCAL"` or `"REMOTE"`.
        """
    @property
    def medium(self, /) -> str:
        """
        What they lay on: `"GPU"`, `"CPU"` or `"STORAGE"`.
        """
    @property
    def ownership(self, /) -> str | None:
        """
        The tier that held them, where there is more than one.
        """

@final
class BlockStored:
    """
    One copy of each of these blocks is there now: consecutive blocks, first block first.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def block_hashes(self, /) -> list[int | bytes]:
        """
        The engine's names: integers, or bytes. May be fewer than `token_ids` has blocks.
        """
    @property
    def block_size(self, /) -> int:
        """
        Tokens per block; 0 in hash-only events.
        """
    @property
    def cache_salt(self, /) -> str | None:
        """
        The tenant's salt, from engines that say it here and not among the extra keys.
        """
    @property
    def extra_keys(self, /) -> list[list[str | bytes | tuple[str, int]]]:
        """
        What besides tokens entered each block's hash: one list per name in `block_hashes`, or none at all. A multimodal
        item is a tuple of its identifier and where it begins, counted from the block's first token.
        """
    @property
    def full_attention(self, /) -> bool:
        """
        Whether a hit in the group is a run of blocks from the start of a prompt.
        """
    @property
    def group_idx(self, /) -> int:
        """
        The KV-cache group.
        """
    @property
    def locality(self, /) -> str:
        """
        Whether others read the tier too: `"LOCAL"` or `"REMOTE"`.
        """
    @property
    def lora_id(self, /) -> int | None:
        """
        The number of the adapter, from engines that say no name.
        """
    @property
    def lora_name(self, /) -> str | None:
        """
        The name of the adapter.
        """
    @property
    def medium(self, /) -> str:
        """
        What the blocks lie on: `"GPU"`, `"CPU"` or `"STORAGE"`.
        """
    @property
    def ownership(self, /) -> str | None:
        """
        The tier that holds them, where there is more than one.
        """
    @property
    def parent_block_hash(self, /) -> int | bytes | None:
        """
        The name of the block before the first; `None` at the start of a prompt, and in hash-only events.
        """
    @property
    def session_id(self, /) -> str | None:
        """
        The session of the request that stored them.
        """
    @property
    def sliding_window(self, /) -> int | None:
        """
        How far a sliding window reaches, in tokens.
        """
    @property
    def token_ids(self, /) -> list[int]:
        """
        The tokens of the blocks; empty in hash-only events of offload tiers.
        """

@final
class Chain:
    """
    A prompt as an index sees it: it can be asked for again without being hashed again, and goes on as tokens are made.

    Made by `PrefixIndex.chain`, and asks that index.
    """
    def __repr__(self, /) -> str: ...
    @property
    def block_size(self, /) -> int:
        """
        Tokens per block.
        """
    @property
    def blocks(self, /) -> int:
        """
        How many full blocks the prompt has.
        """
    def explain(self, /) -> PrefixExplanation:
        """
        Where each worker's prefix ends, and why.
        """
    def extend(self, /, tokens: SupportsLenAndGetItem[int] | Buffer) -> None:
        """
        Go on with more tokens, as they are made; what fills no block yet is kept.

        Raises `InvalidError` for a token that is none, by value and position.
        """
    def leading_into(self, /, out: Buffer | SupportsLenAndGetItem[int], workers: SupportsLenAndGetItem[int] | Buffer) -> None:
        """
        Write how many leading blocks each of `workers` holds to `out`, as `PrefixIndex.leading_into` does.
        """
    def query(self, /) -> Overlap:
        """
        How many leading blocks of the prompt each worker holds.
        """
    def set_names(self, /, names: Sequence[int | bytes]) -> None:
        """
        Say what the engines call the full blocks, first block first, in place of what was said before: integers or bytes, as
        their events have them. `BlockHasher.event_names` makes them. They find blocks of hybrid models of which events say no
        more than the name.
        """
    @property
    def tokens(self, /) -> int:
        """
        How many tokens the prompt has, those that fill no block included.
        """

@final
class Connector:
    """
    A way in which two engines hand over KV, as seen in the request: from body to body, without any sending.

    A request that one engine prefills and another decodes goes out twice, with two bodies. `handover` reads what the client
    sent, and makes both of it.
    """
    def __new__(cls, /, name: str) -> Connector:
        """
        The connector that llm-d calls so, with its defaults: `nixlv2`, `sglang`, `shared-storage`, `offloading`, …

        Raises `UnsupportedError` when there is none; it names those that there are.
        """
    def __repr__(self, /) -> str: ...
    def bootstrap_url(self, /, prefiller: str) -> str | None:
        """
        What the prefiller's machine is asked before, as an URL, whose answer `handover` takes as `bootstrap`; None when nothing.
        """
    def handover(self, /, path: str, body: Buffer | SupportsLenAndGetItem[int], *, request_id: str, prefiller: str, decoder: str | None = None, rank: SupportsIndex | None = None, room: SupportsIndex | None = None, kv_source: tuple[str, str] | None = None, bootstrap: Buffer | SupportsLenAndGetItem[int] | None = None, trusted: bool = False) -> Handover:
        """
        One request: the `body` that a client sent to `path`, as JSON.

        `request_id` is the id under which both engines know it, a UUID that is used once, and `prefiller` and `decoder`
        where they are (`host:port`). `rank` is the data-parallel rank that both are to use, `room` where SGLang's engines meet,
        and `kv_source`, the address of an engine and a UUID, from whom the beginning of the prompt is pulled. `bootstrap` is
        what `bootstrap_url` answered: one of its engines is drawn. A client that is not `trusted` has the fields removed by
        which engines are told whom to talk to.

        Raises `InvalidError` when `path` is of no API that has stages, or the body is no JSON object, and `CorruptError` when
        `bootstrap` names no engine.
        """
    @property
    def name(self, /) -> str:
        """
        What llm-d calls it.
        """
    @property
    def prefill_response(self, /) -> str:
        """
        What the response of prefill is for: `"copied"` when what it says of KV goes into decode's body, or `"discarded"`.
        """

@final
class Considered:
    """
    A transport that was considered for a grant: the first of a list that can would be taken.
    """
    def __repr__(self, /) -> str: ...
    @property
    def latency(self, /) -> float | None:
        """
        What it is expected to take before the first byte, in seconds; `None` when it cannot be taken.
        """
    @property
    def rate(self, /) -> float | None:
        """
        From then on, in bytes a second; `None` when it cannot be taken.
        """
    @property
    def transport(self, /) -> str:
        """
        Which.
        """
    @property
    def why(self, /) -> str | None:
        """
        Why it cannot be taken; `None` when it can.
        """

@final
class Decision:
    """
    Where a request goes. The request counts as in flight there until this is released.

    Use it in a `with` statement, for as long as the request runs: leaving it releases the place, as the end of a response or,
    with an exception, as a request that was given up. So does `end`, which can say what the request took, `release`, and
    dropping the object.
    """
    def __enter__(self, /) -> Decision: ...
    def __exit__(self, /, kind: type | None, _value: Any | None, _traceback: Any | None) -> None: ...
    def __repr__(self, /) -> str: ...
    @property
    def address(self, /) -> str:
        """
        Its address: `host:port`.
        """
    def advance(self, /) -> Endpoint | None:
        """
        The endpoint failed before its first byte: the place moves to the next ranked one, which is returned. None when all
        were tried; the place then stays where it is.

        Raises `StaleError` after the release.
        """
    def attribute(self, /, name: str) -> str | None:
        """
        What the configured plugins said about the request under this name, such as `agent-identity`; None when nobody did.
        """
    def end(self, /, *, prompt_tokens: SupportsIndex | None = None, cached_tokens: SupportsIndex | None = None, output_tokens: SupportsIndex | None = None) -> None:
        """
        The response is complete, and took this many tokens, where the engine says so: of the prompt, of the prompt from the
        cache, of output. Releases the place.

        Raises `StaleError` when it was released before, and `InvalidError` for numbers out of range, named.
        """
    @property
    def endpoint(self, /) -> Endpoint:
        """
        Where the request goes now: one of the objects that were given to `decide`.
        """
    def explain(self, /) -> Explanation:
        """
        Why this endpoint. Can be asked after the release, too.
        """
    def first_token(self, /) -> None:
        """
        The first token came back: the prompt has been computed, and its tokens are in flight no more. Later ones are not
        heard.

        Raises `StaleError` after the release.
        """
    @property
    def headers(self, /) -> dict[str, str]:
        """
        Headers to add to the response.
        """
    @property
    def predicted_hit_tokens(self, /) -> int:
        """
        How many tokens of the prompt the endpoint is expected to take from its cache; 0 when no plugin looks at caches.
        """
    @property
    def rank(self, /) -> int | None:
        """
        The data-parallel rank that the request is for; None when the engine there has one, or chooses itself.
        """
    @property
    def ranked(self, /) -> list[Endpoint]:
        """
        Every candidate, best first: those that the picker picked, then the others by score. Those that were tried stay.
        """
    def release(self, /) -> None:
        """
        The request is given up: gives the place back. Does nothing when it was given back before.
        """
    @property
    def released(self, /) -> bool:
        """
        Whether the place was given back.
        """
    def renew(self, /) -> None:
        """
        The request goes on: its place lapses as long after now as after a decision.

        Raises `StaleError` after the release.
        """
    def report(self, /, *, prompt_tokens: SupportsIndex | None = None, cached_tokens: SupportsIndex | None = None, output_tokens: SupportsIndex | None = None) -> dict[str, dict[str, int]]:
        """
        What plugins report of a complete response that took this many tokens: values by name, by namespace, as Envoy's
        dynamic metadata has them. Can be asked after the release, too.

        Raises `InvalidError` for numbers out of range, named.
        """
    @property
    def request_headers(self, /) -> HeaderChanges:
        """
        Changes to the headers of the request that goes to the endpoints: where its other stages are done, and for which
        rank it is.
        """
    def sent(self, /) -> None:
        """
        Counts the request in, where the configuration says that it counts from when it is sent; else it does already.

        Raises `StaleError` after the release.
        """
    @property
    def skipped(self, /) -> list[str]:
        """
        Stages that were wanted, and for which nobody was left: the endpoint of the next one does them as well.
        """
    def stage(self, /, stage: str) -> StageRoute | None:
        """
        Where a stage (`"encode"`, `"prefill"` or `"decode"`) goes; None when it has no endpoint of its own.

        Raises `InvalidError` for another name.
        """
    def stage_done(self, /, stage: str) -> None:
        """
        A stage before the decode is done: gives its place back.

        Raises `StaleError` after the release, and `InvalidError` for what is no stage.
        """
    def stage_failed(self, /, stage: str) -> NextStep:
        """
        The endpoint of a stage failed at it: says how the request goes on, and holds a place there. An endpoint that does not
        fit those of the other stages is passed over.

        Raises `StaleError` after the release, and `InvalidError` for what is no stage.
        """
    @property
    def stages(self, /) -> list[StageRoute]:
        """
        The stages that have an endpoint of their own, in the order in which they are done. The last is the decode, which
        answers.
        """

@final
class Device:
    """
    An accelerator, by its driver, which is loaded when it is wanted: nothing of it is needed before.

    As long as somebody has it (this object, a region on it, a transport that imports by it) it is the same for all of the process
    who name it, `"cuda:0"` or `"rocm:1"`. A driver that lies where nobody looks for it is named by `library`: open the device so
    before tensors and transports ask for it, and hold it.
    """
    def __repr__(self, /) -> str: ...
    @staticmethod
    def cuda(ordinal: SupportsIndex, *, library: str | PathLike[str] | None = None) -> Device:
        """
        NVIDIA's device of this number, among those that the process sees, by the CUDA driver: the one of the system, or `library`.

        Raises `UnsupportedError`, naming what was looked for, where there is no driver, and `InvalidError` for a device that there is
        not and for one that is open by another library.
        """
    @property
    def name(self, /) -> str:
        """
        What it is called: `"cuda:0"`.
        """
    @staticmethod
    def rocm(ordinal: SupportsIndex, *, library: str | PathLike[str] | None = None) -> Device:
        """
        AMD's device of this number, among those that the process sees, by the HIP runtime: the one of the system, or `library`.

        Raises what `cuda` does.
        """

@final
class Endpoint:
    """
    An address that requests can go to, with what is known about it now.

    Make each endpoint once and keep it: its requests in flight, its metrics and what a scheduler remembers about it hang on
    the object, not on the name.
    """
    def __new__(cls, /, name: str, address: str, *, index: PrefixIndex | None = None, worker: str | None = None, labels: Mapping[str, str] | None = None, rank: SupportsIndex | None = None) -> Endpoint:
        """
        An endpoint of this name at `address` (`host:port`).

        `index` is the scheduler's, if it has one, and `worker` the name under which its KV events go in there; by default the
        endpoint's own. A worker that is removed from the index and comes back is another one: make its endpoint anew then.
        `labels` are what filters look at. `rank` is the data-parallel rank that requests are for, where the engine there has
        several.

        Raises `InvalidError` for an empty name or address, `ExhaustedError` when the index has no room for the worker.
        """
    def __repr__(self, /) -> str: ...
    @property
    def address(self, /) -> str:
        """
        Where requests go: `host:port`.
        """
    def attribute(self, /, name: str) -> float | None:
        """
        What others than the engine measure of it under this name; None when nobody did.
        """
    @property
    def in_flight(self, /) -> tuple[int, int]:
        """
        What was sent there by this process and has not ended: requests, and tokens of their prompts that were not in its
        cache.
        """
    @property
    def labels(self, /) -> dict[str, str]:
        """
        Its labels, copied.
        """
    @property
    def name(self, /) -> str:
        """
        The name that people know it by.
        """
    @property
    def rank(self, /) -> int | None:
        """
        The data-parallel rank that requests are for; None when the engine at the address has one, or chooses itself.
        """
    @staticmethod
    def ranks(name: str, address: str, count: SupportsIndex, *, index: PrefixIndex | None = None, workers: SupportsGetItem[int, str] | None = None, labels: Mapping[str, str] | None = None) -> list[Endpoint]:
        """
        The data-parallel ranks behind one address, an endpoint each, called `<name>-rank-<n>` as in llm-d: each is scored by
        itself, and a decision names the rank.

        `count` is how many there are, and `workers` the names under which their KV events go into `index`, in the order of
        the ranks; by default the endpoints' own. `labels` are those of each.

        Raises `InvalidError` for an empty name or address, and when there are not as many workers as ranks;
        `ExhaustedError` when the index has no room for a worker.
        """
    def set_attribute(self, /, name: str, value: SupportsFloat | SupportsIndex) -> None:
        """
        Takes what others than the engine measure of it under a name, such as `GPUUtilization`.

        A scheduler whose `needs.attributes` is true reads it.
        """
    def set_metrics(self, /, *, waiting_requests: SupportsIndex | None = None, running_requests: SupportsIndex | None = None, kv_cache_usage: SupportsFloat | SupportsIndex | None = None, block_size: SupportsIndex | None = None, num_blocks: SupportsIndex | None = None, max_lora: SupportsIndex | None = None, running_lora_adapters: SupportsGetItem[int, str] | None = None, waiting_lora_adapters: SupportsGetItem[int, str] | None = None, load_s_per_token: Mapping[str, SupportsFloat | SupportsIndex] | None = None, prefill_s_per_token: SupportsFloat | SupportsIndex | None = None) -> None:
        """
        Takes what the engine says about itself now: requests that wait and that run, how much of its KV cache running
        requests hold (0 to 1), tokens per block, blocks. What is left out counts as not said.

        Of its adapters it says how many fit into its memory at once, `max_lora`, and the names of those that requests in the
        batch, and those that wait, use. `load_s_per_token`, by medium (`"GPU"`, `"CPU"`, `"STORAGE"`), and
        `prefill_s_per_token` are the seconds that it takes to load a cached token, and to compute one.

        A scheduler whose `needs.metrics` is true reads it. Raises `InvalidError` for what is out of range.
        """
    @property
    def worker(self, /) -> str:
        """
        The name under which its KV events go into an index.
        """

@final
class EventError:
    """
    One event of a batch that could not be read. `str()` says it in one line.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    def __str__(self, /) -> str: ...
    @property
    def byte(self, /) -> int:
        """
        The first byte of the payload that could not be read.
        """
    @property
    def event(self, /) -> int:
        """
        Which event of the batch it is, counted from 0; how many events there are, when it is something behind them.
        """
    @property
    def field(self, /) -> str:
        """
        The field it stands in, as the engine names it; empty when no field had begun.
        """
    @property
    def line(self, /) -> str:
        """
        All of it in one line.
        """
    @property
    def message(self, /) -> str:
        """
        What was found and what was expected.
        """

@final
class Explanation:
    """
    Why a request went where it went: what each profile made of each endpoint. As text it is a table per profile.
    """
    def __repr__(self, /) -> str: ...
    def __str__(self, /) -> str: ...
    @property
    def endpoint(self, /) -> str:
        """
        The name of the endpoint that the request goes to.
        """
    @property
    def profile(self, /) -> str:
        """
        The name of the profile that decided.
        """
    def to_dict(self, /) -> dict[str, Any]:
        """
        What `to_json` says, as dicts and lists.
        """
    def to_json(self, /) -> str:
        """
        The facts of the table as JSON: `endpoint`, `profile`, and of each of `profiles` its `name`, `picker`, `reason`, `scorers`
        with their weights, and `endpoints`, ranked ones first. Of each endpoint that is its name, its `fate` (`"ranked"` or
        `"dropped"`), `by` whom it was dropped, or its `scores`, `total`, whether it was `picked`, and its `turn` (`"chosen"`,
        `"failed"` or `"waiting"`); and of its `prefix`, unless that is null, `hit_tokens`, `state` and counts of blocks.
        """

@final
class Fed:
    """
    What became of a batch that an index was fed.
    """
    def __bool__(self, /) -> bool:
        """
        True, also when no event was taken.
        """
    def __len__(self, /) -> int:
        """
        How many events were taken.
        """
    def __repr__(self, /) -> str: ...
    @property
    def dropped(self, /) -> int:
        """
        Blocks that were dropped because a limit was reached.
        """
    @property
    def duplicate(self, /) -> bool:
        """
        Whether the batch came before, and was skipped.
        """
    @property
    def errors(self, /) -> list[EventError]:
        """
        What of this batch could not be read, each with its place in it: the first 64.
        """
    @property
    def errors_dropped(self, /) -> int:
        """
        How many more errors there were.
        """
    @property
    def events(self, /) -> list[BlockStored | BlockRemoved | AllBlocksCleared]:
        """
        The events that were taken into the index, in order: none while the batch waits for others, and those of all that
        waited when it was the one that was missing.
        """
    @property
    def missing_from(self, /) -> int | None:
        """
        From which number on the engine should replay, inclusive; `None` when nothing is missing.
        """
    @property
    def orphaned(self, /) -> int:
        """
        Blocks that wait for their parent, counted in `stored` too.
        """
    @property
    def removed(self, /) -> int:
        """
        Copies of blocks that were taken away.
        """
    @property
    def state(self, /) -> str:
        """
        How far the answers about the worker can be trusted now: `"exact"`, `"recovering"` or `"approximate"`.
        """
    @property
    def stored(self, /) -> int:
        """
        Copies of blocks that were added.
        """
    @property
    def unknown_removals(self, /) -> int:
        """
        Removals of blocks that were not held: a sign that events were lost.
        """

@final
class FetchOp:
    """
    Blocks that are being fetched: `wait()`, `await`, or `Agent.poll()` say how that ended.

    Until then nobody may read or write the blocks that are fetched into.
    """
    def __await__(self, /) -> Generator[Any, Any, Fetched]:
        """
        Awaits its end on the running loop of asyncio, which looks when the agent has something to say. One loop at a time may await
        operations of an agent.
        """
    def __repr__(self, /) -> str: ...
    def cancel(self, /) -> None:
        """
        Ends it, as `"cancelled"` unless it was faster. That end still comes, and not before nothing is written to its blocks any more.

        Raises `UnavailableError` in a forked child, and `InvalidError` when the agent is closed.
        """
    @property
    def ended(self, /) -> Fetched | None:
        """
        How it ended, once somebody has heard of it; `None` until then. Does not look.
        """
    @property
    def id(self, /) -> int:
        """
        The operation's number in its agent.
        """
    def wait(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> Fetched:
        """
        Waits until it ends, for at most `timeout` seconds, and copies meanwhile. It ends by itself when the time is over that it was
        given. The GIL is given up, and Ctrl-C is answered.

        Raises `UnavailableError` when it takes longer, and in a forked child, and `InvalidError` when the agent is closed.
        """

@final
class Fetched:
    """
    How an operation ended.
    """
    def __repr__(self, /) -> str: ...
    @property
    def blocks(self, /) -> int:
        """
        How many blocks were to be fetched into.
        """
    @property
    def bytes(self, /) -> int:
        """
        How many bytes were brought.
        """
    @property
    def failed_blocks(self, /) -> list[int]:
        """
        The places, in the list of blocks, of those that hold nothing that can be relied on.
        """
    @property
    def ok(self, /) -> bool:
        """
        Whether every block is where it was to go, as it was sent.
        """
    @property
    def op(self, /) -> int:
        """
        The operation's number.
        """
    @property
    def outcome(self, /) -> str:
        """
        `"done"`, or why not all is here: `"cancelled"`, `"corrupt"`, `"denied"`, `"io"`, `"peer_lost"`, `"stale"` or `"timeout"`.
        """
    @property
    def seconds(self, /) -> float:
        """
        How long it took.
        """
    @property
    def transport(self, /) -> str:
        """
        By which transport.
        """
    @property
    def why(self, /) -> str | None:
        """
        What happened, where the outcome alone does not say it.
        """

@final
class Grant:
    """
    What names blocks of another agent and lets whoever has it read them, looked into. `Agent.grant` gives it as bytes, and so it goes
    from engine to engine; whoever sees them may read the blocks as long as the lease holds.

    Raises `CorruptError` for bytes that are none, and `UnsupportedError` for one of another version.
    """
    def __bool__(self, /) -> bool:
        """
        True, also of no blocks.
        """
    def __bytes__(self, /) -> bytes:
        """
        All of it, whichever part this is.
        """
    def __len__(self, /) -> int: ...
    def __new__(cls, /, grant: Grant | Buffer | SupportsLenAndGetItem[int]) -> Grant: ...
    def __repr__(self, /) -> str:
        """
        Shows what is no secret.
        """
    @property
    def addresses(self, /) -> list[tuple[str, str]]:
        """
        Where that agent is found: pairs of a transport's name and a place.
        """
    @property
    def agent(self, /) -> str:
        """
        Which agent granted it.
        """
    @property
    def blocks(self, /) -> list[int]:
        """
        The blocks, in the order in which they were named.
        """
    @property
    def layout(self, /) -> KvLayout:
        """
        How that pool is laid out.
        """
    @property
    def lease(self, /) -> tuple[int, int]:
        """
        Which lease holds the blocks: its slot, and how often that was used.
        """
    def part(self, /, start: SupportsIndex, stop: SupportsIndex) -> Grant:
        """
        Some of the blocks, by their places in the list, `stop` excluded: what a decoder has already need not be fetched.

        Raises `InvalidError` when there are not as many.
        """
    @property
    def pool(self, /) -> int:
        """
        The number of the pool that the blocks are of.
        """
    @property
    def seconds(self, /) -> float:
        """
        For how many seconds it was granted, when it was.
        """

@final
class Handover:
    """
    One request that one engine prefills and another decodes.
    """
    def __repr__(self, /) -> str: ...
    def attempt(self, /) -> Leg:
        """
        What the decoder is sent when it may do without prefill.
        """
    @staticmethod
    def below_threshold(response: Buffer | SupportsLenAndGetItem[int]) -> bool:
        """
        Whether a decoder that was tried first holds too little of the prompt, by its response, or the first piece of one that
        streams. Otherwise the response is the client's.
        """
    def decode(self, /, response: Buffer | SupportsLenAndGetItem[int] | None = None) -> Leg:
        """
        What the decoder is sent. `response` is the body of prefill's response; None when it is not there yet.

        Raises `CorruptError` when the response is not what a prefiller answers, and `InvalidError` when it is not there and
        this connector needs it, or something else is missing.
        """
    @property
    def order(self, /) -> str:
        """
        In which order the stages run: `"sequential"`; `"concurrent"`, where the prefill's response is discarded;
        `"concurrent-held"`, where nothing of decode's response goes to the client before prefill has succeeded; or
        `"decode-first"`, where the decoder is sent `attempt` first, and both follow when its response is `below_threshold`.
        """
    def prefill(self, /) -> Leg:
        """
        What the prefiller is sent.

        Raises `InvalidError` when a field of the body that must change has the wrong type, or something is missing that this
        connector needs, which is named.
        """

@final
class HeaderChanges:
    """
    Changes to the headers of a request on its way to the endpoints: first what is removed, then what is set.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def destination(self, /) -> str | None:
        """
        Where the request is sent (`host:port`) in the place of its endpoint's address; None where it is sent there.
        """
    @property
    def remove(self, /) -> list[str]:
        """
        Names, in lower case, of headers that the client may have sent and that go no further.
        """
    @property
    def set(self, /) -> dict[str, str]:
        """
        Headers in the place of those of the same name.
        """

@final
class IndexStats:
    """
    How much an index holds now, and what it could not take since it was made.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def blocks(self, /) -> int:
        """
        Different blocks that somebody holds and whose place is known.
        """
    @property
    def bytes(self, /) -> int:
        """
        Bytes that the tables take, about, free places included; 0 where they are not counted.
        """
    @property
    def dropped(self, /) -> int:
        """
        Blocks dropped because a limit was reached.
        """
    @property
    def orphans(self, /) -> int:
        """
        Residents that wait for their parent.
        """
    @property
    def remembered(self, /) -> int:
        """
        Blocks of removed copies that are remembered.
        """
    @property
    def residents(self, /) -> int:
        """
        What all workers hold, a block once for each worker, cache group and medium.
        """
    @property
    def unknown_removals(self, /) -> int:
        """
        Removals of blocks that were not held.
        """
    @property
    def unplaceable(self, /) -> int:
        """
        Blocks that came in events which cannot be placed: another block size, or a cache group that is not full attention.
        """
    @property
    def unplaced(self, /) -> int:
        """
        Residents of which no event has said the tokens in a way that places them.
        """
    @property
    def workers(self, /) -> int:
        """
        Workers that are known.
        """

@final
class Kept:
    """
    Has a lease prolonged until `close()`, the end of `with`, or until this is garbage.
    """
    def __enter__(self, /) -> Kept: ...
    def __exit__(self, /, _exc_type: type | None, _exc_value: Any | None, _traceback: Any | None) -> None: ...
    def __repr__(self, /) -> str: ...
    def close(self, /) -> None:
        """
        The lease is no longer prolonged. Closing again does nothing.
        """

@final
class KvEventBatch:
    """
    One message of an engine's event stream, or one event of TensorRT-LLM.
    """
    def __len__(self, /) -> int:
        """
        How many events there are.
        """
    def __repr__(self, /) -> str: ...
    @property
    def data_parallel_rank(self, /) -> int | None:
        """
        The data-parallel rank that speaks, where the engine says so.
        """
    @property
    def errors(self, /) -> list[EventError]:
        """
        What could not be read, each with its place: the first 64.
        """
    @property
    def errors_dropped(self, /) -> int:
        """
        How many more errors there were.
        """
    @property
    def events(self, /) -> list[BlockStored | BlockRemoved | AllBlocksCleared]:
        """
        What happened, in order, without what could not be read.
        """
    @property
    def seq(self, /) -> int | None:
        """
        The number that the engine gave it, where the batch itself says so: TensorRT-LLM's do, and no others.
        """
    @property
    def timestamp(self, /) -> float:
        """
        When the engine made it, in seconds of the engine's clock.
        """

@final
class KvEventStream:
    """
    Follows the event streams of running engines and feeds them into an index, asking for replay when something is missing.

    `workers` says for each worker's name where its engine publishes: the PUB socket and the ROUTER socket that answers for
    what was missed, as `tcp://host:port` or `ipc://path`. Without the second, a gap costs all that is known of the worker.
    Engines need not be up: they are tried until they are. `topic` is what the topics of all of them begin with.

    While a stream follows a worker, nobody else feeds it. When the stream is closed, by `close`, at the end of `with`, or
    when it is garbage, the index forgets the blocks of its workers. The work is done by two threads per process, which
    never need the GIL. A forked child has none of them: there, the stream raises `UnavailableError`, its workers are
    approximate, and a new stream can be made once this one is closed.

    Raises `InvalidError` for an endpoint that is none and for a worker that is followed already.
    """
    def __enter__(self, /) -> KvEventStream: ...
    def __exit__(self, /, _exc_type: type | None, _exc_value: Any | None, _traceback: Any | None) -> None: ...
    def __new__(cls, /, index: PrefixIndex, workers: Mapping[str, tuple[str, str | None] | str] | None = None, *, topic: str = "") -> KvEventStream: ...
    def __repr__(self, /) -> str: ...
    def close(self, /) -> None:
        """
        Follow nobody any longer. The index forgets the blocks of those that were followed. Closing again does nothing.
        """
    def engine_said(self, /, worker: str, *, stored: SupportsIndex | None = None, gpu_blocks: SupportsIndex | None = None) -> None:
        """
        A worker's engine says this of itself elsewhere than on its stream: at least how many blocks it stored since this was last
        told (its counters, or requests that completed), and how many blocks its GPU memory has. Where the stream says nothing of
        what was stored, or counts more than there is room for, the worker is approximate.

        Raises `InvalidError` when the worker is not followed, and when the stream is closed.
        """
    @property
    def index(self, /) -> PrefixIndex:
        """
        The index that is fed.
        """
    def status(self, /) -> dict[str, WorkerStatus]:
        """
        Each worker's stream in numbers, by the worker's name.

        Raises `InvalidError` when the stream is closed.
        """
    def unwatch(self, /, worker: str) -> None:
        """
        Follow a worker no longer. The index forgets its blocks.

        Raises `InvalidError` when it is not followed, and when the stream is closed.
        """
    def wait_exact(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> bool:
        """
        Wait until all workers are exact, for at most `timeout` seconds: whether they are. A stream without workers is.

        Raises `InvalidError` when the stream is closed.
        """
    def watch(self, /, worker: str, source: tuple[str, str | None] | str) -> None:
        """
        Follow one more worker, which publishes at `source`. What the index knew of it is forgotten.

        Raises `InvalidError` for an endpoint that is none, for a worker that is followed already, and when the stream is
        closed.
        """

@final
class KvLayout:
    """
    Where each part of a KV cache lies in memory, as one engine has it: `offset + Σ index · stride` over layers, blocks, heads, tokens
    and parts, and there `content` bytes that follow each other.

    Made by `named`, `strided` or `block_major`. Nothing is moved between layouts whose contents differ in size or `format`, which is
    compared and means nothing else; `first_layer` and `first_head` say which of the model's these are, in shards.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self, /) -> int: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def block_bytes(self, /) -> int:
        """
        How many bytes of content a block has.
        """
    @staticmethod
    def block_major(*, blocks: SupportsIndex, block_bytes: SupportsIndex, format: str = "", offset: SupportsIndex | None = None) -> KvLayout:
        """
        Blocks of `block_bytes` each, one after the other, of whose inside nothing is known: they are moved whole, and only to blocks
        of the same format and size.

        Raises `InvalidError` when there are no blocks, or blocks of no bytes.
        """
    @property
    def blocks(self, /) -> int:
        """
        How many blocks.
        """
    @property
    def content(self, /) -> int:
        """
        Bytes of one token's key, or value, or latent, of one head and layer.
        """
    @property
    def end(self, /) -> int:
        """
        How many bytes the memory must have: where the last byte ends.
        """
    @property
    def first_head(self, /) -> int:
        """
        The first of its heads, of the model's.
        """
    @property
    def first_layer(self, /) -> int:
        """
        The first of its layers, of the model's.
        """
    @property
    def format(self, /) -> str:
        """
        What the content is.
        """
    @property
    def heads(self, /) -> int:
        """
        How many KV heads.
        """
    @property
    def layers(self, /) -> int:
        """
        How many layers.
        """
    @staticmethod
    def named(name: str, *, layers: SupportsIndex, blocks: SupportsIndex, heads: SupportsIndex, tokens: SupportsIndex, parts: SupportsIndex, content: SupportsIndex, format: str = "", offset: SupportsIndex | None = None, first_layer: SupportsIndex | None = None, first_head: SupportsIndex | None = None) -> KvLayout:
        """
        The layout that vLLM calls by this name: an order of L (layers), B (blocks), H (heads), N (tokens of a block) that ends with C,
        outermost first, such as `"LBNHC"` (NHD) or `"LBHNC"` (HND). Parts (keys and values) stand inside C unless the name says where
        else, as P: `"LPBNHC"`. `content` is the bytes of one token's key, or value, or latent, of one head and layer.

        Raises `InvalidError` for another name, and an axis of which there is nothing.
        """
    @property
    def offset(self, /) -> int:
        """
        Where the first byte is.
        """
    @property
    def opaque(self, /) -> bool:
        """
        Whether nothing is known of the inside of its blocks.
        """
    @property
    def parts(self, /) -> int:
        """
        2 where keys and values are kept, 1 for a latent.
        """
    @staticmethod
    def strided(strides: tuple[SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex, SupportsIndex], *, layers: SupportsIndex, blocks: SupportsIndex, heads: SupportsIndex, tokens: SupportsIndex, parts: SupportsIndex, content: SupportsIndex, format: str = "", offset: SupportsIndex | None = None, first_layer: SupportsIndex | None = None, first_head: SupportsIndex | None = None) -> KvLayout:
        """
        The layout with these strides, in bytes, of layers, blocks, heads, tokens and parts.

        Raises `InvalidError` for an axis of which there is nothing, and strides by which two parts would lie on the same byte.
        """
    @property
    def strides(self, /) -> tuple[int, int, int, int, int]:
        """
        How many bytes further on the next layer, block, head, token and part lies.
        """
    @property
    def tokens(self, /) -> int:
        """
        How many tokens a block has.
        """

@final
class KvPool:
    """
    A region that an agent knows, with its layout: what blocks are granted of and fetched into. `Agent.register` makes it.
    """
    def __repr__(self, /) -> str: ...
    @property
    def id(self, /) -> int:
        """
        Its number in its agent, never used twice; a lease that ended names it.
        """
    @property
    def layout(self, /) -> KvLayout:
        """
        How it is laid out.
        """
    def read_block(self, /, block: SupportsIndex) -> bytes:
        """
        A copy of a block's content, in the order in which it lies.

        Raises `InvalidError` for a block that is not there.
        """
    @property
    def region(self, /) -> Region:
        """
        The memory.
        """
    @property
    def tenant(self, /) -> str:
        """
        Whose it is: nobody of another tenant is served of it.
        """
    def write_block(self, /, block: SupportsIndex, content: Buffer | SupportsLenAndGetItem[int]) -> None:
        """
        Copies a block's content into the pool, in the order in which it lies there.

        Raises `InvalidError` for a block that is not there and for content of another length.
        """

@final
class KvScheduler:
    """
    Tells the workers of an engine what the engine decided, and knows what it asks.

    `workers` are the addresses of all `KvWorker`s, in the order of their shards, with the same `key`; it waits until all are there. No
    call waits for them but `computed`, which has so many seconds of `patience`. A worker that is lost is connected with anew.

    `loading` says how the engine takes tokens from outside: `"background"` between its steps, up to the whole prompt, or within a
    `"step"`, as full blocks that leave a token to compute. Fewer than `min_tokens` are computed here.

    It ends by `close`, at the end of `with`, or when it is garbage. In a forked child it raises `UnavailableError`.

    Raises `InvalidError` for settings that make no sense and for workers that are not these shards, `DeniedError` when one has another
    key, and `UnavailableError` when one is not there, or has another scheduler.
    """
    def __enter__(self, /) -> KvScheduler: ...
    def __exit__(self, /, _exc_type: type | None, _exc_value: Any | None, _traceback: Any | None) -> None: ...
    def __new__(cls, /, workers: SupportsGetItem[int, str], *, key: SupportsGetItem[int, SupportsIndex], block_tokens: SupportsIndex | None = None, min_tokens: SupportsIndex | None = None, loading: str = "background", patience: SupportsFloat | SupportsIndex = 0.1) -> KvScheduler: ...
    def __repr__(self, /) -> str: ...
    def abort(self, /, request: str) -> bool:
        """
        The engine does not want the request any more. True when its blocks are still in use: they may be reused when every worker says
        that it was sent, or received, whichever is due.
        """
    def allocated(self, /, request: str, local_tokens: SupportsIndex, external_tokens: SupportsIndex, groups: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsIndex, SupportsLenAndGetItem[int] | Buffer]]) -> None:
        """
        The engine allocated blocks for so many tokens from outside, behind those that are here: by group, how many tokens a block has,
        the token at which the first begins, and the blocks without those of local hits. Every worker says once that it was received.

        Raises `InvalidError`, and nothing changes, for more tokens than match, and for blocks that are not those of these tokens.
        """
    def arrive(self, /, request: str, prompt_tokens: SupportsIndex, grant: str) -> None:
        """
        A request arrived with this text, whose prompt has so many tokens. Its leases are kept while it waits.

        Raises `InvalidError`, and then it is computed here, for a text that cannot be read, for what does not fit here, with what
        differs, and for a request that is known already.
        """
    def close(self, /) -> None:
        """
        Ends it: its workers give up what waits. Closing again does nothing.
        """
    def computed(self, /, request: str, tokens: SupportsIndex, groups: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsLenAndGetItem[int] | Buffer]]) -> str | None:
        """
        A request was computed: its first `tokens` tokens are in these blocks, by group, each with the token at which the first block
        begins; the last may be partly filled. Gives what goes into the answer as `kv_transfer_params["grant"]`; then the engine keeps
        the blocks until every worker says that it was sent. `None` when it cannot be fetched: the blocks are the engine's as before.

        Raises `InvalidError` for no tokens, other groups than the workers have, and a request that is lent already.
        """
    def matched(self, /, request: str, local_tokens: SupportsIndex) -> int:
        """
        How many tokens can come from outside, behind `local_tokens` that are here. Changes nothing, and asks nobody.
        """
    def preempted(self, /, request: str) -> bool:
        """
        The engine takes the request's blocks back, and may ask for it again. True as for `abort`.
        """
    def stats(self, /) -> dict[str, int]:
        """
        What was counted since it was made, by name.
        """

@final
class KvWorker:
    """
    Runs hand-overs for one shard of an engine's KV cache, where its memory is: one thread, which needs no GIL, does for `agent` and its
    pools, by cache group, whatever the engine's `KvScheduler` tells it. Nobody else polls that agent from then on.

    It listens at a socket in `folder` (by default one of the user's own), or at `bind`, such as `"tcp://10.0.0.1:0"`, for one
    scheduler at a time, which has the same `key`. Leases last `lease_seconds` unless they are kept, and no longer than `hold_at_most`
    altogether; `consumers` is how many workers of the other engine need a block of this shard. What others computed waits at most
    `wait_at_most` seconds and is fetched within `fetch_within`, and again `retries` times when a peer is lost.

    It ends by `close`, at the end of `with`, or when it is garbage. In a forked child it raises `UnavailableError`.

    Raises `InvalidError` for settings that make no sense, and `UnavailableError` when it cannot listen.
    """
    def __enter__(self, /) -> KvWorker: ...
    def __exit__(self, /, _exc_type: type | None, _exc_value: Any | None, _traceback: Any | None) -> None: ...
    def __new__(cls, /, agent: Agent, groups: SupportsGetItem[int, tuple[SupportsIndex, KvPool]], *, key: SupportsGetItem[int, SupportsIndex], shard: SupportsIndex | None = None, shards: SupportsIndex | None = None, folder: str | PathLike[str] | None = None, bind: str | None = None, lease_seconds: SupportsFloat | SupportsIndex = 30.0, hold_at_most: SupportsFloat | SupportsIndex = 480.0, fetch_within: SupportsFloat | SupportsIndex = 20.0, wait_at_most: SupportsFloat | SupportsIndex = 480.0, retries: SupportsIndex | None = None, consumers: SupportsIndex | None = None, block_tokens: SupportsIndex | None = None) -> KvWorker: ...
    def __repr__(self, /) -> str: ...
    @property
    def address(self, /) -> str:
        """
        Where its scheduler finds it.
        """
    def close(self, /) -> None:
        """
        Ends it. What the agent has begun goes on, and nobody hears of it. Closing again does nothing.
        """
    def stats(self, /) -> dict[str, int]:
        """
        What was counted since it was made, by name.
        """
    def take(self, /) -> tuple[list[str], list[str], list[tuple[str, list[tuple[int, int]]]]]:
        """
        What became of requests since this was last asked for, without waiting: those that were sent, whose blocks nobody reads any
        more; those that were received, into whose blocks nothing is written any more; and of the latter, those with blocks that are not
        here, as pairs of a group and a block. A request that was lent is sent once, and one for which blocks were allocated is received
        once, however it ended.
        """

@final
class LeaseEnded:
    """
    A lease that ended: from now on the engine may use its blocks again.
    """
    def __repr__(self, /) -> str: ...
    @property
    def end(self, /) -> str:
        """
        How: `"finished"` when all consumers have what they need, `"lapsed"` when its time was over, `"released"` when it was taken back.
        """
    @property
    def free(self, /) -> list[int]:
        """
        Those of its blocks that no other lease holds.
        """
    @property
    def lease(self, /) -> tuple[int, int]:
        """
        Which, as `Grant.lease` says it.
        """
    @property
    def pool(self, /) -> int:
        """
        The number of the pool that its blocks are of.
        """

@final
class Leg:
    """
    What one engine is sent.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def body(self, /) -> bytes:
        """
        The body, as JSON. What the connector does not name stays as it was written, to the byte.
        """
    @property
    def cached_tokens(self, /) -> int | None:
        """
        What a decoder's response says of cached tokens is to be this; None when the response stays as it is.
        """
    @property
    def headers(self, /) -> dict[str, str]:
        """
        What is set beside the headers that the client sent.
        """
    @property
    def kv(self, /) -> str | None:
        """
        Where a decoder has the prompt's KV from: `"handed"` by the prefiller, or `"recomputed"` by itself, since the prefiller
        has said nothing of KV. None of what else is sent.
        """

@final
class Needs:
    """
    What the configured plugins read. Give a scheduler this much and no more.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def attributes(self, /) -> bool:
        """
        What others than the engines measure of endpoints: `Endpoint.set_attribute`.
        """
    @property
    def body(self, /) -> bool:
        """
        Anything in the body of a request besides the model's name.
        """
    @property
    def cookies(self, /) -> bool:
        """
        The cookies of a request, which say who somebody is: leave the header `cookie` out else.
        """
    @property
    def events(self, /) -> bool:
        """
        KV events, in the index.
        """
    @property
    def metrics(self, /) -> bool:
        """
        What engines say about themselves: `Endpoint.set_metrics`.
        """
    @property
    def response(self, /) -> bool:
        """
        When the first token of a response passed: `Decision.first_token`.
        """
    @property
    def tokens(self, /) -> bool:
        """
        The prompt as tokens.
        """
    @property
    def usage(self, /) -> bool:
        """
        What the engine says at the end of a response that it took: `Decision.end`.
        """

@final
class NextStep:
    """
    How a request goes on after an endpoint failed at one of its stages.
    """
    def __repr__(self, /) -> str: ...
    @property
    def endpoint(self, /) -> Endpoint | None:
        """
        Who does the stage now; None unless it is retried.
        """
    @property
    def what(self, /) -> str:
        """
        `"retry"`: another endpoint does the stage. `"without"`: the endpoint of the next stage does it as well. `"fail"`: the
        request does not go on.
        """

@final
class Overlap(Mapping[str, int]):
    """
    How many leading blocks of a prompt each worker holds: a read-only mapping from a worker's name to a number of blocks.

    Workers that hold not even the first block are not in it. It is an answer of one moment and does not change.
    """
    def __eq__(self, other: object, /) -> bool: ...
    def __getitem__(self, worker: str, /) -> int: ...
    def __iter__(self, /) -> Iterator[str]: ...
    def __len__(self, /) -> int: ...
    def __repr__(self, /) -> str: ...
    def best(self, /) -> str | None:
        """
        The worker that holds the most leading blocks, the one that is known longest among equals; `None` when nobody
        holds the first.
        """
    @property
    def block_size(self, /) -> int:
        """
        Tokens per block.
        """
    @property
    def blocks(self, /) -> int:
        """
        How many full blocks the prompt has.
        """
    def by_medium(self, /, worker: str) -> dict[str, int]:
        """
        How many leading blocks lie on each medium: `"GPU"`, `"CPU"`, `"STORAGE"`. Of a worker that holds none, 0.

        Raises `InvalidError` when nobody has heard of the worker.
        """
    def explain(self, /) -> PrefixExplanation:
        """
        Where each worker's prefix ends, and why: as of now, which may be later than this answer.
        """
    def hit_tokens(self, /, worker: str) -> int:
        """
        How many tokens of the prompt the worker would take from its cache: whole blocks, and never the last token, which
        is always computed.

        Raises `InvalidError` when nobody has heard of the worker.
        """
    def leading_into(self, /, out: Buffer | SupportsLenAndGetItem[int], workers: SupportsLenAndGetItem[int] | Buffer) -> None:
        """
        Write how many leading blocks each of `workers` holds to `out`, as `PrefixIndex.leading_into` does.
        """
    @property
    def shared(self, /) -> int:
        """
        How many leading blocks lie on the storage that all workers share, whoever holds what besides.
        """

@final
class Pool:
    """
    The endpoints of one model, as they are at one moment: a sequence that `Scheduler.decide` takes as it is.

    Any iterable of endpoints will do there; a pool saves looking at each endpoint for each request.
    """
    def __contains__(self, endpoint: Any, /) -> bool: ...
    def __getitem__(self, place: SupportsIndex, /) -> Endpoint: ...
    def __iter__(self, /) -> Iterator[Endpoint]: ...
    def __len__(self, /) -> int: ...
    def __new__(cls, /, endpoints: Iterable[Endpoint]) -> Pool:
        """
        A pool of these endpoints, in this order.

        Raises `InvalidError` when two have one name, and `TypeError` for what is no Endpoint.
        """
    def __repr__(self, /) -> str: ...

@final
class PrefixExplanation:
    """
    Where each worker's prefix of a prompt ends, and why. `str()` is one line per worker.
    """
    def __repr__(self, /) -> str: ...
    def __str__(self, /) -> str: ...
    @property
    def block_size(self, /) -> int:
        """
        Tokens per block.
        """
    @property
    def blocks(self, /) -> int:
        """
        How many full blocks the prompt has.
        """
    @property
    def workers(self, /) -> list[WorkerExplanation]:
        """
        Every worker that the index knows.
        """

@final
class PrefixIndex:
    """
    Who holds which prefix: an exact index that is fed with the KV events of engines, under names that you choose.

    One worker is one owner of a cache: one data-parallel rank of one engine. Any thread may feed it and any thread may
    ask; who asks waits for nobody. `block_size` is in tokens and is the engines' own. All limits are bounds on memory;
    what goes beyond is dropped and counted in `stats()`:

    - `max_workers`: workers, 4,096 by default; beyond, `ExhaustedError`.
    - `max_blocks`: blocks of one worker, 4,194,304 by default.
    - `max_orphans`: blocks of one worker that wait for their parent, 16,384 by default.
    - `max_remembered`: blocks of one worker that are gone and are remembered for `explain`, 4,096 by default.
    - `max_waiting`: batches of one worker that wait for those before them, 4,096 by default.
    - `max_payload`: bytes of one batch, 64 MiB by default; beyond, `InvalidError`.
    - `recover_within`: seconds that missing batches are waited for, 10 by default; 0 when nobody can replay.
    - `silence_blocks` and `silence_patience`: how many blocks an engine must have `stored`, and for how many seconds its stream
      may say nothing of them, until the worker is approximate; 64 and 5 by default.

    Raises `InvalidError` when `block_size` is 0.
    """
    def __new__(cls, /, block_size: SupportsIndex = 16, *, max_workers: SupportsIndex | None = None, max_blocks: SupportsIndex | None = None, max_orphans: SupportsIndex | None = None, max_remembered: SupportsIndex | None = None, max_waiting: SupportsIndex | None = None, max_payload: SupportsIndex | None = None, recover_within: SupportsFloat | SupportsIndex | None = None, silence_blocks: SupportsIndex | None = None, silence_patience: SupportsFloat | SupportsIndex | None = None) -> PrefixIndex: ...
    def __repr__(self, /) -> str: ...
    def apply(self, /, worker: str, payload: Buffer | SupportsLenAndGetItem[int], *, seq: SupportsIndex | None = None) -> Fed:
        """
        Take one batch as it came from the engine; a worker that is new is made.

        `payload` is the message's bytes: `bytes` or a contiguous buffer of them. With `seq`, the number that the engine
        gave it, the batch is put in order: one that came before is skipped, and batches after a gap wait while
        `missing_from` of the answer says from where the engine should replay. Feed what it replays by this call too,
        beginning with that number; or call `give_up`. Without `seq` nobody can know what is missing: the worker is
        approximate.

        Raises `CorruptError` when nothing of the payload can be read; `InvalidError`, with nothing changed, when the
        worker is followed by a `KvEventStream` or when the payload is larger than `max_payload`; `ExhaustedError` beyond
        `max_workers`.
        """
    def apply_batch(self, /, worker: str, batch: KvEventBatch) -> Fed:
        """
        The same for a batch that was decoded before and has a number, such as those of a `TrtllmDecoder`.

        Raises `InvalidError` for a batch without a number, and otherwise what `apply` raises.
        """
    @property
    def block_size(self, /) -> int:
        """
        Tokens per block.
        """
    def chain(self, /, tokens: SupportsLenAndGetItem[int] | Buffer, *, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, names: Sequence[int | bytes] | None = None) -> Chain:
        """
        A prompt to be asked for again and again, and to go on with tokens as they are made. Arguments and errors are those of
        `query`.
        """
    def clear(self, /, worker: str) -> None:
        """
        Forget the blocks of a worker whose engine was told to empty its cache. It is exact again when its stream says
        that all blocks are gone, as engines do then, or when it begins anew.

        Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
        """
    def explain(self, /, tokens: SupportsLenAndGetItem[int] | Buffer, *, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, names: Sequence[int | bytes] | None = None) -> PrefixExplanation:
        """
        Where each worker's prefix of a prompt ends, and why. Arguments and errors are those of `query`.
        """
    def give_up(self, /, worker: str) -> Fed:
        """
        What is missing of a worker will not come: what waits is applied, and the worker is approximate. Nothing happens
        when nothing is missing.

        Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
        """
    def lag(self, /, worker: str, *, now: SupportsFloat | SupportsIndex | None = None) -> float | None:
        """
        How many seconds old the newest batch of a worker is that entered the index; `None` when there is none. `now` is what
        the engine's clock says, by default this machine's seconds since 1970, as vLLM's; less than nothing, when the two differ.

        Raises `InvalidError` when nobody has heard of the worker.
        """
    def leading_into(self, /, out: Buffer | SupportsLenAndGetItem[int], workers: SupportsLenAndGetItem[int] | Buffer, tokens: SupportsLenAndGetItem[int] | Buffer, *, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, names: Sequence[int | bytes] | None = None) -> None:
        """
        Write how many leading blocks of a prompt each of `workers` holds to `out`, in their order.

        `workers` are numbers that `worker` gave, in a buffer or a sequence as tokens are; one that nobody knows holds nothing.
        `out` is a writable buffer of as many unsigned integers of 32 bits (`np.uint32`, `array("I")`). The other arguments are
        those of `query`.

        Raises `InvalidError` for an `out` of another length or format, and for a token that is none.
        """
    def missing_from(self, /, worker: str) -> int | None:
        """
        From which number on the engine should replay, inclusive; `None` when nothing of the worker is missing.

        Raises `InvalidError` when nobody has heard of the worker.
        """
    def query(self, /, tokens: SupportsLenAndGetItem[int] | Buffer, *, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, names: Sequence[int | bytes] | None = None) -> Overlap:
        """
        How many leading blocks of a prompt each worker holds.

        `tokens` is a buffer of integers in one dimension (a NumPy array, an `array`, a `memoryview`; 32-bit ones are read
        where they lie) or a sequence of `int`. What else decides whether two prompts share their KV: the name of the
        adapter (`lora`), the tenant's salt (`salt`), and the images and other items (`mm`): for each its identifier, its
        first placeholder token and how many there are. `names` is what the engines call the full blocks, where that can be
        computed (`BlockHasher.event_names`): it finds blocks of hybrid models of which events say no more than the name.

        Raises `InvalidError` for a token that is none, by value and position.
        """
    def remove_worker(self, /, worker: str) -> None:
        """
        Forget a worker and its name.

        Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
        """
    def residents(self, /, worker: str) -> list[tuple[int, str, int | bytes, int]]:
        """
        What a worker holds, in no particular order, as its engine names it: for each block its KV-cache group, what it lies on
        (`"GPU"`, `"CPU"` or `"STORAGE"`), its name, and how many copies there are. Whoever feeds the index waits meanwhile.

        Raises `InvalidError` when nobody has heard of the worker.
        """
    @staticmethod
    def restore(path: str | PathLike[str], *, max_workers: SupportsIndex | None = None, max_blocks: SupportsIndex | None = None, max_orphans: SupportsIndex | None = None, max_remembered: SupportsIndex | None = None, max_waiting: SupportsIndex | None = None, max_payload: SupportsIndex | None = None, recover_within: SupportsFloat | SupportsIndex | None = None, silence_blocks: SupportsIndex | None = None, silence_patience: SupportsFloat | SupportsIndex | None = None) -> PrefixIndex:
        """
        The index that `snapshot` wrote to `path`. The bounds are those of the class, and may differ from before.

        Every worker is recovering, and `missing_from` is the last batch that was applied. When the engine's replay from
        there on is fed, or its stream goes on with that very batch, the worker is exact again if it was before.

        Raises `CorruptError` when the file is no snapshot or damaged, `UnsupportedError` when a newer version wrote it,
        `ExhaustedError` when it holds more than the bounds allow, and `UnavailableError` when it cannot be read.
        """
    def set_announces_hits(self, /, worker: str) -> None:
        """
        The worker's engine announces hits as if it had stored the blocks, since requests ask it to (vLLM's
        `kv_cache_report_mode: full`): it is never exact from now on.

        Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
        """
    def set_gpu_blocks(self, /, worker: str, blocks: SupportsIndex) -> None:
        """
        GPU memory of the worker's engine has so many blocks. An engine of which more copies are counted announces hits too;
        it is never exact.

        Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
        """
    def snapshot(self, /, path: str | PathLike[str]) -> None:
        """
        Write everything that is known to a file, for `restore`, in place of what was there: whole, or not at all.

        Workers that a `KvEventStream` follows are left out, and so are batches that wait for others. The file holds the
        secret that the index names blocks with, and only its owner can read it.

        Raises `UnavailableError` when the file cannot be written.
        """
    def state(self, /, worker: str) -> str:
        """
        How far the answers about a worker can be trusted: `"exact"`, as of its last batch; `"recovering"`, while something
        is missing and has been asked for; or `"approximate"`.

        Raises `InvalidError` when nobody has heard of the worker.
        """
    def stats(self, /) -> IndexStats:
        """
        How much is held, and what was dropped.
        """
    def stored(self, /, worker: str, blocks: SupportsIndex) -> None:
        """
        The engine of a worker stored at least `blocks` more blocks since this was last told, as something else than its stream
        says: its counters, or requests that completed. When the stream says nothing of `silence_blocks` of them within
        `silence_patience`, the worker is approximate from the next telling on, and until a batch comes.

        Raises `InvalidError` when nobody has heard of the worker, or when it is followed by a `KvEventStream`.
        """
    def worker(self, /, name: str) -> int:
        """
        The number of the worker of this name; a new one, when there is none yet. No other worker of the index ever has it.

        Raises `InvalidError` for a name that is empty or longer than 1,024 bytes, and `ExhaustedError` beyond `max_workers`.
        """
    def workers(self, /) -> list[str]:
        """
        The names of the workers, the one that is known longest first.
        """

@final
class Problem:
    """
    One thing that is wrong with a configuration. As text it is the line that `Scheduler.from_yaml` would say of it.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    def __str__(self, /) -> str: ...
    @property
    def column(self, /) -> int | None:
        """
        The column, counted from 1; None when it has no place in the text.
        """
    @property
    def kind(self, /) -> str:
        """
        `"invalid"`, or `"unsupported"` for what llm-d has and llmd has not.
        """
    @property
    def line(self, /) -> int | None:
        """
        The line, counted from 1; None when it has no place in the text.
        """
    @property
    def message(self, /) -> str:
        """
        What is wrong, and what was expected.
        """
    @property
    def path(self, /) -> str:
        """
        The way there: `plugins[0].parameters.threshold`; empty for the document as a whole.
        """

@final
class Region:
    """
    Memory that blocks are moved from and to, registered once for a whole pool.

    It is a buffer and a DLPack tensor of bytes: `numpy.asarray(region)`, `memoryview(region)` and `torch.from_dlpack(region)` are the
    memory itself. It is given back when nobody has it any more, views of it included.

    It may lie on a device: then nothing reads it by an address but that device, and it is no buffer. Copies there wait for no stream
    of anybody's: whoever lends blocks has seen to it that they are computed (`torch.cuda.synchronize()`, or an event's), and nobody
    writes or reads those that are fetched into before the fetch has ended.
    """
    def __buffer__(self, flags: SupportsIndex, /) -> memoryview:
        """
        A view of the memory.
        """
    def __dlpack__(self, /, *, stream: Any | None = None, max_version: tuple[SupportsIndex, SupportsIndex] | None = None, dl_device: tuple[SupportsIndex, SupportsIndex] | None = None, copy: bool | None = None) -> Any:
        """
        The memory as a tensor of bytes, in a capsule, for libraries that take DLPack.

        Raises `BufferError` where they want a copy, or another device.
        """
    def __dlpack_device__(self, /) -> tuple[int, int]:
        """
        Which device the memory is on, in DLPack's numbers: its kind, 1 for this machine, and which of them.
        """
    def __len__(self, /) -> int: ...
    def __repr__(self, /) -> str: ...
    @staticmethod
    def adopt(buffer: Any) -> Region:
        """
        The memory of `buffer`: of anything that lends a writable buffer in one piece, such as a NumPy array, a `bytearray` or an
        `mmap`, or a DLPack tensor, as `from_dlpack` has it. It stays there until nobody has the region. Peers cannot map it.

        Raises `InvalidError` for a buffer that cannot be written to or does not lie in one piece, and what `from_dlpack` does.
        """
    @staticmethod
    def adopt_fd(fd: SupportsIndex) -> Region:
        """
        All of the file that `fd` is open for, mapped, for writing if it was opened so: a memfd of another library, for example. The
        descriptor stays the caller's.

        Raises `InvalidError` when it is empty or no file, and `OSError` for what is no descriptor.
        """
    @staticmethod
    def adopt_path(path: str | PathLike[str]) -> Region:
        """
        All of the file at `path`, mapped, for writing where that is allowed.

        Raises `UnavailableError` when it cannot be opened, and `InvalidError` when it is empty or no file.
        """
    @property
    def device(self, /) -> str | None:
        """
        What the device is called that it lies on, `"cuda:0"`; `None` for this machine's memory.
        """
    def fileno(self, /) -> int:
        """
        The descriptor that peers map; it lives as long as the region.

        Raises `UnsupportedError` when there is none.
        """
    @staticmethod
    def from_device_pointer(address: SupportsIndex, len: SupportsIndex, device: Device | str, keep: Any | None = None) -> Region:
        """
        `len` bytes from `address` on in the memory of a `device`, a `Device` or its name, which somebody else allocated: such as
        `tensor.data_ptr()`. They stay there as long as `keep` does, which is kept until nobody has the region.

        Raises `InvalidError` for no bytes, and what the device says when it is opened.
        """
    @staticmethod
    def from_dlpack(tensor: Any) -> Region:
        """
        The memory of a tensor of another library, or of its capsule: in this machine's memory, or on a device of CUDA or ROCm, which
        is opened by its number. It stays there until nobody has the region.

        The tensor is asked for without a stream to wait for it: what is in it now does not matter, and what `Region` says of streams
        holds from then on.

        Raises `InvalidError` for a tensor that is only for reading or does not lie in one piece; `UnsupportedError` for one on another
        kind of device, and, naming what was looked for, where there is no driver.
        """
    @staticmethod
    def memfd(len: SupportsIndex, *, huge_pages: bool = False, node: SupportsIndex | None = None, lazy: bool = False) -> Region:
        """
        `len` bytes of this machine's memory, zero, that peers on it can map to read: on pages of 2 MiB with `huge_pages`, on the NUMA
        node of this number with `node`, and each page taken only when it is first touched with `lazy`.

        Raises `ExhaustedError` when there is not as much, and `UnsupportedError` when there are no huge pages or no such node.
        """
    @staticmethod
    def on_device(len: SupportsIndex, device: Device | str) -> Region:
        """
        `len` bytes of the memory of a `device`, a `Device` or its name. What is in them is not said.

        Raises `ExhaustedError` when there is no room, and what the device says when it is opened.
        """
    @property
    def shareable(self, /) -> bool:
        """
        Whether peers on this machine can map it.
        """
    @property
    def writable(self, /) -> bool:
        """
        Whether blocks may be fetched into it.
        """

@final
class Request:
    """
    One request, as a scheduler sees it. Fill in what `Scheduler.needs` asks for, and nothing else.
    """
    def __new__(cls, /, model: str, *, id: str | None = None, tokens: SupportsLenAndGetItem[int] | Buffer | None = None, headers: SupportsKeysAndGetItem[str, str] | SupportsKeysAndGetItem[bytes, bytes] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]] | None = None, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, max_output_tokens: SupportsIndex | None = None, priority: SupportsIndex | None = None, tenant: str | None = None) -> Request:
        """
        A request for `model`.

        `id` is the name that logs know it by; one is drawn when none is given. `tokens` is the prompt, copied: a buffer of
        integers (NumPy, array, memoryview) or a sequence of int. `headers` are a mapping or pairs, of str or (as ASGI has
        them) bytes; upper and lower case are the same. `lora`, `salt` and `mm`, a sequence of (identifier, offset, length)
        in tokens, are what the prompt is computed under besides its tokens. `max_output_tokens` is what the client asks for
        at most. A `priority` below 0 is one that may be refused when there is too much to do, and `tenant` whose the request
        is: what is remembered under names that clients choose is remembered for each tenant by itself.

        Raises `InvalidError` for numbers out of range, named.
        """
    def __repr__(self, /) -> str: ...
    @property
    def headers(self, /) -> dict[str, str]:
        """
        Its headers, with names in lower case, copied. Of several by one name, the first, which is the one that counts.
        """
    @property
    def id(self, /) -> str:
        """
        The name that logs know it by.
        """
    @property
    def max_output_tokens(self, /) -> int | None:
        """
        At most how many tokens the client wants back.
        """
    @property
    def model(self, /) -> str:
        """
        The model that the client asks for.
        """
    @property
    def priority(self, /) -> int:
        """
        How important it is: what is below 0 may be refused when there is too much to do.
        """
    @property
    def prompt_tokens(self, /) -> int | None:
        """
        How many tokens the prompt has; None when it was given none.
        """
    @property
    def tenant(self, /) -> str | None:
        """
        Whose it is.
        """

@final
class Scheduler:
    """
    Chooses endpoints for the requests of one pool, by llm-d's `EndpointPickerConfig`.

    May be used from any number of threads: choosing an endpoint reserves a place there in the same step, so that of two
    requests that arrive at once the second sees the first.
    """
    def __repr__(self, /) -> str: ...
    def decide(self, /, request: Request, endpoints: Iterable[Endpoint]) -> Decision:
        """
        Chooses an endpoint, and reserves a place there until the decision is released.

        `endpoints` is a Pool, or any iterable of Endpoint.

        What means that the request is sent nowhere is raised with the HTTP `status` of the answer, and llm-d's `reason`:
        `UnavailableError` (503) when there is no endpoint, `ExhaustedError` (429) when a filter, which is named, left nobody,
        `StaleError` (412) when the request prefers `if-available` and nothing of its prompt is cached, and what an admitter
        says. `InvalidError` when two endpoints have one name, or one was made with another index than the scheduler.
        """
    def describe(self, /) -> str:
        """
        What it is made of, what was added by default included, as text for people.
        """
    def dropped(self, /) -> dict[str, int]:
        """
        How many things each plugin has dropped so far because a limit of its own was reached, by the plugin's name.
        """
    @staticmethod
    def from_yaml(text: str, *, index: PrefixIndex | None = None, seed: SupportsIndex | None = None, allow_experimental: bool = False) -> Scheduler:
        """
        A scheduler of the configuration `text`, in llm-d's YAML.

        `index` is what `precise-prefix-cache-producer` asks; its block size must be the configuration's, where that says one.
        `seed` makes every random choice repeatable; without one they come from the operating system. `allow_experimental`
        allows plugins that are experimental in llm-d.

        Raises `InvalidError` for what is written wrong, with line, column and what was expected, for plugins that do not fit
        together, and for an index that is missing or has other blocks; `UnsupportedError` for what llm-d has and llmd has not.
        """
    def lapse(self, /) -> int:
        """
        Gives back the places whose time is over, and says how many ever were: decisions that somebody forgot. Each decision
        does so first; this is for a scheduler that has none to make.
        """
    @property
    def needs(self, /) -> Needs:
        """
        What a request and its endpoints must come with.
        """
    def reload(self, /, text: str) -> None:
        """
        Puts another configuration in the place of this one, between two requests.

        The index stays, and so do the requests in flight and the decisions already made, which go on as they began. A plugin
        whose name, type and parameters are the same keeps what it remembers. What `needs` says may change.

        Raises what `from_yaml` raises; the old configuration then stays.
        """

@final
class SessionMemo:
    """
    Remembers the names of each session's last prompt: of the next one that begins as that did, only what follows is hashed.

    `max_tokens` is how many tokens it keeps together, where each session counts as 64 more; sessions that were asked for longest
    ago make room. What is taken from memory was compared, token by token.
    """
    def __bool__(self, /) -> bool:
        """
        True, also when no session is remembered.
        """
    def __len__(self, /) -> int:
        """
        How many sessions are remembered.
        """
    def __new__(cls, /, hasher: BlockHasher, *, max_tokens: SupportsIndex) -> SessionMemo: ...
    def __repr__(self, /) -> str: ...
    @property
    def dropped(self, /) -> int:
        """
        How many sessions had to make room for others, or were too long by themselves.
        """
    def forget(self, /, session: str) -> None:
        """
        Forget what was hashed for a session.
        """
    def hash(self, /, session: str, tokens: SupportsLenAndGetItem[int] | Buffer, *, lora: str | None = None, salt: str | None = None, mm: SupportsGetItem[int, tuple[str, SupportsIndex, SupportsIndex]] | None = None, lora_path: str | None = None) -> tuple[list[bytes], int]:
        """
        The names of all full blocks, and how many of them were remembered of `session`. The other arguments, and errors, are
        those of `BlockHasher.hash`.
        """
    @property
    def tokens(self, /) -> int:
        """
        How many tokens are remembered, and 64 more for each session.
        """

@final
class StageRoute:
    """
    One stage of a request, and the endpoint that does it.
    """
    def __repr__(self, /) -> str: ...
    @property
    def deadline(self, /) -> float | None:
        """
        How many seconds the stage may take, from when it is begun; None is as long as the whole request.
        """
    @property
    def endpoint(self, /) -> Endpoint:
        """
        The endpoint that does it now: one of the objects that were given to `decide`.
        """
    @property
    def profile(self, /) -> str:
        """
        The profile that chose.
        """
    @property
    def rank(self, /) -> int | None:
        """
        The data-parallel rank that it is for, where the engine has several.
        """
    @property
    def ranked(self, /) -> list[Endpoint]:
        """
        Every candidate, best first. Those that were tried stay.
        """
    @property
    def stage(self, /) -> str:
        """
        The stage: `"encode"`, `"prefill"` or `"decode"`.
        """

@final
class TrtllmDecoder:
    """
    Reads what one TensorRT-LLM engine says of its cache: the answer of `trtllm-serve` to `POST /kv_cache_events`, or what the
    `LLM` class gives by `get_kv_cache_events()`, as JSON.

    What its events leave unsaid the decoder remembers: one of them reads all that an engine says, in order. `block_size` is the
    engine's `tokens_per_block`. Blocks that do not lie in GPU memory are remembered up to `max_places`, 1,048,576 by default;
    those beyond are errors of their batches.
    """
    def __new__(cls, /, block_size: SupportsIndex, *, max_places: SupportsIndex | None = None) -> TrtllmDecoder: ...
    def __repr__(self, /) -> str: ...
    def decode(self, /, answer: Buffer | SupportsLenAndGetItem[int]) -> TrtllmEvents:
        """
        Read what the engine says next: `bytes` or a contiguous buffer of them, a list of events or one event.

        An event that cannot be read keeps its number, with its errors, and nothing else is lost.

        Raises `CorruptError` when the bytes are neither a list nor an event.
        """
    @property
    def places(self, /) -> int:
        """
        How many blocks are remembered that do not lie in GPU memory.
        """
    @property
    def places_dropped(self, /) -> int:
        """
        How many blocks were not remembered, since there was no room.
        """

@final
class TrtllmEvents:
    """
    What a TensorRT-LLM engine said, event by event.
    """
    def __len__(self, /) -> int: ...
    def __repr__(self, /) -> str: ...
    @property
    def batches(self, /) -> list[KvEventBatch]:
        """
        Each event that has a number, as a batch by itself, in the order in which they came: `PrefixIndex.apply_batch` takes
        them, each under the worker of its `data_parallel_rank`.
        """
    @property
    def errors(self, /) -> list[EventError]:
        """
        What could not be read of events whose number or rank is not known: the first 64. Nothing else is lost.
        """
    @property
    def errors_dropped(self, /) -> int:
        """
        How many more errors there were.
        """

@final
class WorkerExplanation:
    """
    Where one worker's prefix of a prompt ends, and why.
    """
    def __repr__(self, /) -> str: ...
    @property
    def by_medium(self, /) -> dict[str, int]:
        """
        How many leading blocks lie on each medium: `"GPU"`, `"CPU"`, `"STORAGE"`.
        """
    @property
    def ends(self, /) -> int:
        """
        Which block `next` tells of, counted from 0.
        """
    @property
    def held_behind(self, /) -> int:
        """
        How many blocks behind the end of the prefix are held all the same, and are of no use.
        """
    @property
    def leading(self, /) -> int:
        """
        How many leading blocks it holds.
        """
    @property
    def limited_by(self, /) -> int | None:
        """
        Of a hybrid model, the first KV-cache group that did not allow a longer hit; `None` when the prompt ends there, and for
        every other model.
        """
    @property
    def name(self, /) -> str:
        """
        The worker's name.
        """
    @property
    def next(self, /) -> str | None:
        """
        What became of the first block that is not held, in words; `None` when all are held.
        """
    @property
    def shared(self, /) -> int:
        """
        How many leading blocks lie on the storage that all workers share.
        """
    @property
    def state(self, /) -> str:
        """
        How far what follows can be trusted: `"exact"`, `"recovering"` or `"approximate"`.
        """
    @property
    def unplaced(self, /) -> int:
        """
        How many blocks the worker holds of which the index does not know where in which prompt they stand.
        """

@final
class WorkerStatus:
    """
    One worker's event stream, as of when it was asked for.
    """
    def __repr__(self, /) -> str: ...
    @property
    def announces_hits(self, /) -> bool:
        """
        Whether the engine announces hits as if it had stored the blocks.
        """
    @property
    def applied_batches(self, /) -> int:
        """
        Batches that entered the index.
        """
    @property
    def dropped_batches(self, /) -> int:
        """
        Batches and messages that could not be read at all, and batches beyond a limit, which are asked for later.
        """
    @property
    def event_errors(self, /) -> int:
        """
        Events that could not be read, in batches that could.
        """
    @property
    def gaps(self, /) -> int:
        """
        How often batches were found missing.
        """
    @property
    def lag(self, /) -> float | None:
        """
        How many seconds old the last batch was when it entered the index, by the clocks of the engine and this machine.
        """
    @property
    def last_seq(self, /) -> int | None:
        """
        The number of the last batch that entered the index.
        """
    @property
    def quiet_for(self, /) -> float | None:
        """
        Seconds since the last batch entered the index; `None` when there was none.
        """
    @property
    def replays(self, /) -> int:
        """
        How often the engine was asked for replay, probes of a quiet stream included.
        """
    @property
    def restarts(self, /) -> int:
        """
        How often the engine was found to have been started anew.
        """
    @property
    def silent(self, /) -> bool:
        """
        Whether the engine stores blocks while its stream says nothing of it.
        """
    @property
    def state(self, /) -> str:
        """
        How far the index can be trusted about it: `"exact"`, `"recovering"` or `"approximate"`.
        """
    @property
    def timeline(self, /) -> list[tuple[float, str]]:
        """
        Changes of state, oldest first, each with how many seconds ago it was: the newest 256.
        """

def _raise(kind: str, message: str) -> None:
    """
    Raises the exception for the kind of error of this name: so that a test can see that every kind has a class.
    """

def _run_gateway(argv: SupportsGetItem[int, str]) -> int:
    """
    Runs the program `llmd-gateway` until it is told to stop, and returns its exit code. `argv` begins with the program's
    name.

    What `llmd_py.gateway` calls. Never needs the GIL while it runs.
    """

def check_config(text: str, *, index: bool = True, allow_experimental: bool = False) -> list[Problem]:
    """
    Everything that is wrong with the configuration `text`, in the order of the text: empty when a scheduler can be made of it.

    What is wrong only since something else is, is left out. `index` says whether the scheduler will have an index, and
    `allow_experimental` is what `Scheduler.from_yaml` will be told. At most 256 problems are told.
    """

def decode_batch(payload: Buffer | SupportsLenAndGetItem[int]) -> KvEventBatch:
    """
    Read the payload of one message of an engine's event stream: vLLM's of any version, or SGLang's.

    `payload` is `bytes` or a contiguous buffer of them. An event that cannot be read becomes one of `errors`; nothing
    else in the batch is lost.

    Raises `CorruptError` when the payload is no batch at all.
    """
