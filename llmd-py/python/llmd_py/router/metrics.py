"""What an engine's `/metrics` says of itself: vLLM's names, and SGLang's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')

_WAITING = ("vllm:num_requests_waiting", "sglang:num_queue_reqs")
_RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs")
_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")
_CACHE = ("vllm:cache_config_info", "sglang:cache_config_info")
_QUERIES = "vllm:prefix_cache_queries_total"
_HITS = "vllm:prefix_cache_hits_total"
#: What was taken in, what was put back and taken in again included.
_REQUESTS = ("vllm:num_requests_running", "vllm:num_preemptions_total", "vllm:request_success_total")


@dataclass(frozen=True, slots=True)
class Metrics:
    """One page, of one data-parallel rank or of all of them. None is what it does not say."""

    waiting: int | None = None
    running: int | None = None
    #: 0 to 1, the mean of the ranks.
    usage: float | None = None
    #: Tokens per block.
    block_size: int | None = None
    #: Blocks in GPU memory.
    num_blocks: int | None = None
    #: The engine's `--prefix-caching-hash-algo`.
    hash_algo: str | None = None
    max_lora: int | None = None
    running_loras: tuple[str, ...] = ()
    waiting_loras: tuple[str, ...] = ()
    #: Tokens that were looked up and not found, ever; and requests that were taken in.
    missed: int | None = None
    requests: int = 0


@dataclass
class _Sums:
    values: dict[str, list[float]] = field(default_factory=dict)
    cache: dict[str, str] = field(default_factory=dict)
    loras: dict[str, str] = field(default_factory=dict)
    loras_at: float = -1.0

    def first(self, names: tuple[str, ...]) -> list[float]:
        return next((self.values[name] for name in names if name in self.values), [])


def read(text: str, rank: int | None = None) -> Metrics:
    """Read a page; with `rank`, of an engine of several, only what is said of that one."""
    sums = _Sums()
    for name, labels, value in _samples(text):
        if rank is not None and labels.get("engine", str(rank)) != str(rank):
            continue
        if name in _CACHE:
            sums.cache = labels
        elif name == "vllm:lora_requests_info":
            if value >= sums.loras_at:  # the value is when it was so
                sums.loras, sums.loras_at = labels, value
        else:
            sums.values.setdefault(name, []).append(value)
    usage = sums.first(_USAGE)
    queries, hits = sums.first((_QUERIES,)), sums.first((_HITS,))
    return Metrics(
        waiting=_total(sums.first(_WAITING)),
        running=_total(sums.first(_RUNNING)),
        usage=min(1.0, max(0.0, sum(usage) / len(usage))) if usage else None,
        block_size=_number(sums.cache.get("block_size") or sums.cache.get("page_size")),
        num_blocks=_number(sums.cache.get("num_gpu_blocks") or sums.cache.get("num_pages")),
        hash_algo=sums.cache.get("prefix_caching_hash_algo"),
        max_lora=_number(sums.loras.get("max_lora")),
        running_loras=_names(sums.loras.get("running_lora_adapters")),
        waiting_loras=_names(sums.loras.get("waiting_lora_adapters")),
        missed=max(0, int(sum(queries) - sum(hits))) if queries else None,
        requests=int(sum(sum(sums.values.get(name, ())) for name in _REQUESTS)),
    )


def stored_since(now: Metrics, before: Metrics | None) -> int:
    """Give how many blocks the engine must have stored between two pages, at least: what its requests did not find, but for
    a rest of each that fills no block. None of them, when the engine was started anew meanwhile."""
    if before is None or now.missed is None or before.missed is None or not now.block_size:
        return 0
    requests, missed = max(0, now.requests - before.requests), max(0, now.missed - before.missed)
    return max(0, missed - requests * now.block_size) // now.block_size


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if line.startswith(("vllm:", "sglang:")) and "_bucket" not in line and (found := _SAMPLE.match(line)):
            try:
                value = float(found[3])
            except ValueError:
                continue
            if value == value:  # not NaN
                yield found[1], dict(_LABEL.findall(found[2] or "")), value


def _total(values: list[float]) -> int | None:
    return max(0, int(sum(values))) if values else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and int(text) > 0 else None


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
