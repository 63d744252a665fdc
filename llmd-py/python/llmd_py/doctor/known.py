"""What one engine says of itself: whether it is there, which version it is, how its cache is divided."""

from __future__ import annotations

from collections.abc import Iterator

from llmd_py.doctor import metrics
from llmd_py.doctor.engine import Engine, Refused
from llmd_py.doctor.finding import Finding, ok, warning, wrong
from llmd_py.vllm.versions import remark

__all__ = ["cache", "health", "model", "version"]


def health(engine: Engine) -> Iterator[Finding]:
    """Is it reachable, and does it think that it is well?"""
    try:
        engine.get("/health")
    except Refused as refused:
        yield wrong("health", str(refused), "look at the engine's log: it is up, and says that it is not well")
        return
    yield ok("health", engine.url)


def version(engine: Engine) -> Iterator[Finding]:
    """Is it a version that the connector was tested with?"""
    said = str(engine.get_object("/version").get("version", "unknown"))
    unlike = remark(said)
    if unlike is None:
        yield ok("version", f"vLLM {said}, which the connector was tested with")
    else:
        yield warning("version", unlike, "install a version that the connector was tested with")


def model(engine: Engine) -> Iterator[Finding]:
    """What does it serve?"""
    try:
        listed = engine.get_object("/v1/models").get("data")
    except Refused as refused:
        change = "give the doctor the engine's key: --api-key-file FILE" if refused.status == 401 else "look at the engine's log"
        yield wrong("model", str(refused), change)
        return
    served = [card for card in listed if isinstance(card, dict)] if isinstance(listed, list) else []
    bases = [str(card.get("id")) for card in served if not card.get("parent")]
    if not bases:
        yield wrong("model", "it serves no model", "look at the engine's log")
        return
    engine.model = bases[0]
    yield ok("model", engine.model)


def cache(engine: Engine) -> Iterator[Finding]:
    """How is its cache divided, and how are blocks named?"""
    engine.cache = metrics.labels(engine.metrics(), "vllm:cache_config_info")
    if engine.block_tokens is None:
        yield warning("cache", "it says no block size", "leave its metrics on: no --disable-log-stats")
        return
    algorithm = engine.cache.get("prefix_caching_hash_algo", "unknown")
    found = f"blocks of {engine.block_tokens} tokens, named by {algorithm}"
    if engine.cache.get("enable_prefix_caching") == "False":
        yield warning("cache", f"{found}; nothing is cached", "start it with --enable-prefix-caching")
    else:
        yield ok("cache", found)
