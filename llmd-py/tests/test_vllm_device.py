"""vLLM's cache on a GPU is taken as it lies there, in whichever order its backend has, and handed over.

The driver is the fake one, over this machine's memory. What is torch's and vLLM's here is a stand-in: torch makes no tensor of a device that it
did not open itself. The connector's own code is all of it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from drivers import Driver
from llmd_py import Agent, KvLayout, Region
from llmd_py.vllm.scheduler import SchedulerSide
from llmd_py.vllm.settings import Settings
from llmd_py.vllm.worker import WorkerSide
from programs import DEADLINE
from test_device import address

BLOCKS, LAYERS, HEADS, TOKENS, CONTENT = 12, 3, 2, 16, 2 * 64
ITEM = 2
PAGE = HEADS * TOKENS * CONTENT
ORDERS = {"LBNHC": (CONTENT, HEADS * CONTENT), "LBHNC": (TOKENS * CONTENT, CONTENT)}


class Shape(tuple[int, ...]):
    """What torch calls a size."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return Shape(part) if isinstance(key, slice) else part

    def numel(self) -> int:
        return math.prod(self)


class Storage:
    """The one allocation that all layers lie in."""

    def __init__(self, region: Region, device: str) -> None:
        self.region = region
        self.device = SimpleNamespace(type=device)

    def data_ptr(self) -> int:
        return address(self.region)

    def nbytes(self) -> int:
        return len(self.region)


class Cache:
    """One layer's view of it: blocks, heads, tokens, and what one token has of one head."""

    dtype = "torch.bfloat16"
    shape = Shape((BLOCKS, HEADS, TOKENS, CONTENT))

    def __init__(self, storage: Storage, layer: int, order: str) -> None:
        self.storage, self.layer, self.order = storage, layer, order
        self.device = storage.device

    def untyped_storage(self) -> Storage:
        return self.storage

    def data_ptr(self) -> int:
        return self.storage.data_ptr() + self.layer * BLOCKS * PAGE * ITEM

    def stride(self, axis: int | None = None) -> Any:
        strides = (PAGE, *ORDERS[self.order], 1)
        return strides if axis is None else strides[axis]

    def dim(self) -> int:
        return len(self.shape)

    def element_size(self) -> int:
        return ITEM


class FullAttentionSpec:
    """What a group of the cache is of."""

    block_size = TOKENS


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of torch as a view of all of an allocation takes."""

    def empty(_count: int, *, dtype: str, device: object) -> SimpleNamespace:
        assert (dtype, device) != ("", None)
        return SimpleNamespace(set_=lambda storage, _offset, _shape: storage.region)

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(empty=empty, uint8="torch.uint8"))


class Engine:
    """Both sides of the connector, and the cache of one engine."""

    def __init__(self, name: str, driver: Driver, folder: Path, order: str, transport: str) -> None:
        self.region = Region.on_device(LAYERS * BLOCKS * PAGE * ITEM, driver.open())
        storage = Storage(self.region, driver.vendor)
        caches: Any = {f"model.layers.{layer}.attn": Cache(storage, layer, order) for layer in range(LAYERS)}
        group = SimpleNamespace(layer_names=list(caches), kv_cache_spec=FullAttentionSpec())
        cache: Any = SimpleNamespace(num_blocks=BLOCKS, kv_cache_groups=[group], transfer_group_ids=(0,))
        config: Any = SimpleNamespace(
            kv_transfer_config=SimpleNamespace(engine_id=name),
            instance_id="1",
            parallel_config=SimpleNamespace(tensor_parallel_size=1),
            model_config=SimpleNamespace(model="tiny", dtype="torch.bfloat16", get_total_num_kv_heads=lambda: HEADS),
            cache_config=SimpleNamespace(cache_dtype="auto", block_size=TOKENS),
        )
        settings = Settings.read({"transports": [transport], "folder": str(folder), "patience": DEADLINE})
        self.worker = WorkerSide(settings, config, cache, 0, 1)
        self.worker.register(caches)
        assert self.worker.worker is not None
        self.scheduler = SchedulerSide(settings, name, 1, TOKENS, cache)
        self.scheduler.connect([self.worker.worker.address], self.worker.key, self.worker.content)
        # Each layer's pages one after the other, as anybody sees them who knows nothing of heads.
        self.pages = Agent(f"{name}-pages", ["local"])
        self.pool = self.pages.register(self.region, KvLayout.block_major(blocks=LAYERS * BLOCKS, block_bytes=PAGE * ITEM))

    def write(self, layer: int, block: int, content: dict[tuple[int, int], bytes], order: str) -> None:
        self.pool.write_block(layer * BLOCKS + block, b"".join(content[place] for place in places(order)))

    def read(self, layer: int, block: int, order: str) -> dict[tuple[int, int], bytes]:
        page, size = self.pool.read_block(layer * BLOCKS + block), CONTENT * ITEM
        return {place: page[number * size : (number + 1) * size] for number, place in enumerate(places(order))}

    def close(self) -> None:
        self.scheduler.close()
        self.worker.close()
        self.pages.close()


def places(order: str) -> Iterator[tuple[int, int]]:
    """Heads and tokens, as they follow each other in a page."""
    if order == "LBNHC":
        return ((head, token) for token in range(TOKENS) for head in range(HEADS))
    return ((head, token) for head in range(HEADS) for token in range(TOKENS))


def content(layer: int, block: int) -> dict[tuple[int, int], bytes]:
    """Bytes that no other head of no other token has."""
    said = {place: f"layer {layer} block {block} head {place[0]} token {place[1]} ".encode() for place in places("LBNHC")}
    return {place: (words * CONTENT)[: CONTENT * ITEM] for place, words in said.items()}


@pytest.mark.parametrize("vendor", ["cuda", "rocm"])
@pytest.mark.parametrize(("ours", "theirs"), [("LBNHC", "LBNHC"), ("LBNHC", "LBHNC"), ("LBHNC", "LBNHC")])
@pytest.mark.parametrize("transport", ["shm", "tcp://127.0.0.1:0"])
def test_a_cache_on_a_gpu_is_handed_over(vendor: str, ours: str, theirs: str, transport: str, tmp_path: Path) -> None:
    driver = Driver.build(vendor, tmp_path / "fake.so")
    prefill = Engine("prefill", driver, tmp_path / "sockets", theirs, transport)
    decode = Engine("decode", driver, tmp_path / "sockets", ours, transport)
    blocks, into = [7, 2, 9], [1, 5, 3]
    for layer in range(LAYERS):
        for block in blocks:
            prefill.write(layer, block, content(layer, block), theirs)

    tokens = 2 * TOKENS + 5
    asked: Any = SimpleNamespace(
        request_id="cmpl-7", kv_transfer_params={"do_remote_decode": True}, num_prompt_tokens=tokens, num_computed_tokens=tokens
    )
    is_kept, params = prefill.scheduler.finished(asked, (blocks,), is_whole=True)
    assert is_kept and params is not None
    fetching: Any = SimpleNamespace(request_id="cmpl-8", kv_transfer_params=params, num_prompt_tokens=tokens)
    decode.scheduler.arrived(fetching)
    assert decode.scheduler.matched(fetching, 0) == tokens
    allocated: Any = SimpleNamespace(get_block_ids=lambda: (into,))
    decode.scheduler.allocated(fetching, allocated, tokens)
    until, came = time.monotonic() + DEADLINE, decode.worker.came()
    while not came.received and time.monotonic() < until:
        time.sleep(0.001)
        came = decode.worker.came()

    assert (came.received, came.failed) == ({"cmpl-8"}, {})
    for layer in range(LAYERS):
        for block, place in zip(blocks, into, strict=True):
            assert decode.read(layer, place, ours) == content(layer, block)
    assert decode.worker.worker is not None
    assert decode.worker.worker.stats()["fetched_bytes"] == LAYERS * len(blocks) * PAGE * ITEM
    decode.close()
    prefill.close()
