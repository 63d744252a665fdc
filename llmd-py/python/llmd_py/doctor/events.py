"""Whether an engine says what its cache holds, whether that arrives here, and how it names blocks."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

from llmd_py import BlockHasher, KvEventStream, PrefixIndex
from llmd_py.errors import LlmdError
from llmd_py.doctor.engine import Engine, Refused
from llmd_py.doctor.finding import Finding, ok, warning, wrong
from llmd_py.doctor.prompt import Prompts

__all__ = ["ENABLE", "events"]

#: What has an engine publish.
ENABLE = (
    """--kv-events-config '{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:5557","""
    """"replay_endpoint":"tcp://*:5558"}'"""
)
#: Seeds that are often set.
SEEDS = ("0", "1", "42", "123", "1234")
#: A subscription needs a moment until it is heard of: a prompt that was stored before is not told.
TRIES = 3
PER_TRY = 2.5
#: On an engine that is busy others' blocks may come first.
AND_THE_REST = 0.5
WORKER = "engine"


def events(engine: Engine, prompts: Prompts) -> Iterator[Finding]:
    """Do its events arrive, and can those that were missed be had again?"""
    source = yield from _source(engine)
    if source is None or engine.block_tokens is None or not engine.model:
        return
    endpoint, replay, topic = source
    try:
        index = PrefixIndex(block_size=engine.block_tokens)
        with KvEventStream(index, {WORKER: endpoint}, topic=topic) as stream:
            held = _heard(engine, prompts, index)
            errors = stream.status()[WORKER].event_errors
    except LlmdError as error:
        yield wrong("events", f"{endpoint}: {error}", "name an endpoint as tcp://*:PORT in --kv-events-config")
        return
    if not held:
        change = f"let this machine connect to {endpoint} (firewall, container's ports), as the router has to"
        yield wrong("events", f"a prompt was computed, and nothing came from {endpoint} in {TRIES * PER_TRY:g} s", change)
        return
    if errors:
        yield warning("events", f"they come from {endpoint}, but {errors} could not be read", "report it, with the engine's version")
    else:
        yield ok("events", f"they come from {endpoint}")
    yield _seed(engine, prompts, held)
    yield _replay(engine, endpoint, replay, topic)


def _source(engine: Engine) -> Generator[Finding, None, tuple[str, str | None, str] | None]:
    """Give where its first rank publishes, as (endpoint, replay's endpoint, topic), and say when it does not."""
    try:
        said = engine.get_object("/kv_event_sources")
    except Refused as refused:
        if refused.status != 404:
            raise
        yield warning("events", "it cannot be asked where it publishes", "use vLLM 0.32 or later to have events checked")
        return None
    ranks = [rank for rank in said.values() if isinstance(rank, dict)]
    on = [rank for rank in ranks if rank.get("enable_kv_cache_events") and rank.get("publisher") == "zmq"]
    if not on:
        yield warning("events", "they are switched off: no router knows what this engine's cache holds", f"start it with {ENABLE}")
        return None
    endpoint = str(on[0].get("endpoint"))
    if "*" not in endpoint and "::" not in endpoint and not endpoint.startswith("ipc://"):
        yield warning("events", f"they are sent to {endpoint}, where the doctor does not listen", "look for the engine at the router")
        return None
    replay = on[0].get("replay_endpoint")
    return _place(engine, endpoint), _place(engine, str(replay)) if replay else None, str(on[0].get("topic") or "")


def _place(engine: Engine, endpoint: str) -> str:
    """Give an endpoint as it is connected to from here."""
    host = f"[{engine.host}]" if ":" in engine.host else engine.host
    return endpoint.replace("*", host).replace("[::]", host)


def _heard(engine: Engine, prompts: Prompts, index: PrefixIndex) -> frozenset[int | bytes]:
    """Have prompts computed until something is told: the names of the blocks. Others' prompts may be among them."""
    for _ in range(TRIES):
        engine.complete(prompts.new(engine.block_tokens or 1), within=PER_TRY * 4)
        end = time.monotonic() + PER_TRY
        while time.monotonic() < end:
            if index.residents(WORKER):
                time.sleep(AND_THE_REST)
                return frozenset(name for _, _, name, _ in index.residents(WORKER))
            time.sleep(0.05)
    return frozenset()


def _seed(engine: Engine, prompts: Prompts, held: frozenset[int | bytes]) -> Finding:
    """Say by which seed it names blocks: that stands nowhere, but its names can be computed."""
    algorithm = engine.cache.get("prefix_caching_hash_algo", "")
    scheme = f"vllm-{algorithm}"
    if scheme not in BlockHasher.SCHEMES:
        return warning("hash seed", f"blocks are named by {algorithm}, which llmd does not know", "start it with --prefix-caching-hash-algo sha256_cbor")
    for seed in (None, *SEEDS):
        try:
            hasher = BlockHasher(scheme, engine.block_tokens or 1, seed=seed)
            names = {name for prompt in prompts.sent for ints in (True, False) for name in hasher.event_names(prompt, ints=ints)}
        except LlmdError:
            continue
        if names & held:
            engine.seed = "the default" if seed is None else f"PYTHONHASHSEED={seed}"
            return ok("hash seed", f"{engine.seed}: names of blocks can be computed")
    change = "unset PYTHONHASHSEED, or set it to the same everywhere; xxhash needs it set"
    return warning("hash seed", "neither the default nor a common one: names of blocks cannot be computed", change)


def _replay(engine: Engine, endpoint: str, replay: str | None, topic: str) -> Finding:
    """Say whether batches that were missed are replayed."""
    if replay is None:
        return warning("replay", "it is switched off: what is missed is lost", 'add "replay_endpoint":"tcp://*:5558" to --kv-events-config')
    index = PrefixIndex(block_size=engine.block_tokens or 1)
    with KvEventStream(index, {WORKER: (endpoint, replay)}, topic=topic) as stream:
        if stream.wait_exact(PER_TRY * 2):
            return ok("replay", f"{replay} answers")
    return wrong("replay", f"{replay} does not answer", f"let this machine connect to {replay}, as the router has to")
