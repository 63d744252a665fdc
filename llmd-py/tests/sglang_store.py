"""Drives `LlmdStore` as SGLang's cache controller does, by SGLang's own base class and configuration, with a pool of torch's.

Run by `test_sglang.py`, or by hand, where `sglang.srt.mem_cache.hicache_storage` and torch can be imported.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from sglang.srt.mem_cache.hicache_storage import HiCacheStorage, HiCacheStorageConfig

PAGES, TOKENS, LAYERS, HEADS, SIZE = 8, 4, 3, 2, 16


class Pool:
    """A pool of the host's in SGLang's `page_first` order: of each page one run of keys, and one of values."""

    def __init__(self) -> None:
        self.kv_buffer = torch.randn(2, PAGES * TOKENS, LAYERS, HEADS, SIZE)

    def get_page_buffer_meta(self, indices: torch.Tensor) -> tuple[list[int], list[int]]:
        token = LAYERS * HEADS * SIZE * self.kv_buffer.element_size()
        values = PAGES * TOKENS * token
        addresses: list[int] = []
        for first in indices.tolist()[::TOKENS]:
            keys = self.kv_buffer.data_ptr() + first * token
            addresses += [keys, keys + values]
        return addresses, [TOKENS * token] * len(addresses)

    def page(self, place: int) -> torch.Tensor:
        return self.kv_buffer[:, place * TOKENS : (place + 1) * TOKENS]


def config(**extra: Any) -> HiCacheStorageConfig:
    return HiCacheStorageConfig(
        tp_rank=0, tp_size=1, pp_rank=0, pp_size=1, attn_cp_rank=0, attn_cp_size=1, is_mla_model=False, enable_storage_metrics=False,
        is_page_first_layout=True, model_name="tiny", extra_config=extra,
    )  # fmt: skip


def indices(*places: int) -> torch.Tensor:
    return torch.cat([torch.arange(place * TOKENS, (place + 1) * TOKENS) for place in places])


def main() -> None:
    # As `StorageBackendFactory` finds it.
    loaded = getattr(importlib.import_module("llmd_py.sglang"), "LlmdStore")
    assert issubclass(loaded, HiCacheStorage)
    pool = Pool()
    store = loaded(config(bytes=5 * pool.page(0).nbytes, interface_v1=1), {})
    store.register_mem_pool_host(pool)
    store.on_host_pools_registered()

    sent = [pool.page(place).clone() for place in range(3)]
    assert store.batch_set_v1(["a", "b", "c"], indices(0, 1, 2)) == [True] * 3
    assert store.batch_exists(["a", "b", "x", "c"]) == 2
    assert store.batch_get_v1(["c", "a"], indices(6, 7)) == [True, True]
    assert torch.equal(pool.page(6), sent[2]) and torch.equal(pool.page(7), sent[0])
    before = pool.page(5).clone()
    assert store.batch_get_v1(["a", "x", "b"], indices(3, 4, 5)) == [True, False, False]
    assert torch.equal(pool.page(5), before), "a page behind a missing one was copied"

    flat = sent[1].flatten()
    assert store.batch_set(["d", "e"], [flat, flat + 1])
    got = store.batch_get(["d", "e", "x"], [torch.zeros_like(flat) for _ in range(3)])
    assert torch.equal(got[0], flat) and torch.equal(got[1], flat + 1) and got[2] is None
    assert store.set("f", flat) and not store.exists("b"), "the page that was used longest ago is still there"
    assert store.get("f", torch.zeros(3)) is None, "a page was given to a tensor of another size"
    store.clear()
    assert not store.exists("f") and store.get_stats() is None


if __name__ == "__main__":
    main()
