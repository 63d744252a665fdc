"""One engine's side of the connector, with its cache in a real GPU; run as a program it is the one that prefills.

usage: gpu_engine.py FOLDER TRANSPORT ORDER CHECK

It says what the decoder is to be told, as one line of JSON, and holds its blocks until its standard input closes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from llmd_py.vllm.scheduler import SchedulerSide
from llmd_py.vllm.settings import Settings
from llmd_py.vllm.worker import WorkerSide

#: Of a model with the cache of Qwen3-32B, half of its layers: 2 MiB in each block of 16 tokens.
LAYERS, BLOCKS, HEADS, TOKENS, CONTENT = 32, 256, 8, 16, 2 * 128
ORDERS = {"LBNHC": (CONTENT, HEADS * CONTENT), "LBHNC": (TOKENS * CONTENT, CONTENT)}
PAGE = HEADS * TOKENS * CONTENT
BLOCK_BYTES = LAYERS * PAGE * 2
#: What is handed over: the prompt ends within the last of these blocks.
COUNT = 128
PROMPT = COUNT * TOKENS - 5
PATIENCE = 30.0


class FullAttentionSpec:
    """What a group of the cache is of."""

    block_size = TOKENS


class Engine:
    """Both sides of the connector, and the cache of one engine, as vLLM allocates it: one tensor for all layers."""

    def __init__(self, name: str, folder: Path, order: str, transport: str, check: str) -> None:
        self.whole = torch.zeros(LAYERS * BLOCKS * PAGE, dtype=torch.bfloat16, device="cuda:0")
        strides = (PAGE, *ORDERS[order], 1)
        shape = (BLOCKS, HEADS, TOKENS, CONTENT)
        self.caches = {
            f"model.layers.{layer}.attn": self.whole.as_strided(shape, strides, layer * BLOCKS * PAGE) for layer in range(LAYERS)
        }
        group = SimpleNamespace(layer_names=list(self.caches), kv_cache_spec=FullAttentionSpec())
        cache: Any = SimpleNamespace(num_blocks=BLOCKS, kv_cache_groups=[group], transfer_group_ids=(0,))
        config: Any = SimpleNamespace(
            kv_transfer_config=SimpleNamespace(engine_id=name),
            instance_id="1",
            parallel_config=SimpleNamespace(tensor_parallel_size=1),
            model_config=SimpleNamespace(model="half", dtype="torch.bfloat16", get_total_num_kv_heads=lambda: HEADS),
            cache_config=SimpleNamespace(cache_dtype="auto", block_size=TOKENS),
        )
        settings = Settings.read({"transports": [transport], "folder": str(folder), "check": check, "patience": PATIENCE})
        self.worker = WorkerSide(settings, config, cache, 0, 1)
        self.worker.register(self.caches)
        assert self.worker.worker is not None
        self.scheduler = SchedulerSide(settings, name, 1, TOKENS, cache)
        self.scheduler.connect([self.worker.worker.address], self.worker.key, self.worker.content)

    def prefill(self, number: int, blocks: list[int]) -> dict[str, Any]:
        """Lend what was computed, and give what the decoder is to be told."""
        asked: Any = SimpleNamespace(
            request_id=f"cmpl-{number}", kv_transfer_params={"do_remote_decode": True}, num_prompt_tokens=PROMPT,
            num_computed_tokens=PROMPT,
        )  # fmt: skip
        is_kept, params = self.scheduler.finished(asked, (blocks,), is_whole=True)
        assert is_kept and params is not None
        return dict(params)

    def decode(self, number: int, params: dict[str, Any], into: list[int]) -> float:
        """Fetch what was lent, and say how long it took, in seconds."""
        request: Any = SimpleNamespace(request_id=f"cmpl-{number}", kv_transfer_params=params, num_prompt_tokens=PROMPT)
        allocated: Any = SimpleNamespace(get_block_ids=lambda: (into,))
        began = time.monotonic()
        self.scheduler.arrived(request)
        assert self.scheduler.matched(request, 0) == PROMPT
        self.scheduler.allocated(request, allocated, PROMPT)
        came = self.worker.came()
        while not came.received and time.monotonic() < began + PATIENCE:
            time.sleep(0.0002)
            came = self.worker.came()
        assert (came.received, came.failed) == ({f"cmpl-{number}"}, {})
        return time.monotonic() - began

    def close(self) -> None:
        """End both sides."""
        self.scheduler.close()
        self.worker.close()


def computed(number: int, layer: int) -> torch.Tensor:
    """Give what a request's blocks hold of a layer, which nothing else holds."""
    generator = torch.Generator(device="cuda:0").manual_seed(1000 * number + layer)
    bits = torch.randint(-(2**15), 2**15, (COUNT, HEADS, TOKENS, CONTENT), dtype=torch.int16, device="cuda:0", generator=generator)
    return bits


def main() -> None:
    """Prefill for a decoder in another process: each request with blocks of its own."""
    folder, transport, order, check = sys.argv[1:]
    engine = Engine("prefill", Path(folder), order, transport, check)
    told = []
    for number in range(REQUESTS):
        blocks = places(number)
        for layer, cache in enumerate(engine.caches.values()):
            cache.view(torch.int16)[blocks] = computed(number, layer)
        torch.cuda.synchronize()
        told.append(engine.prefill(number, blocks))
    print(json.dumps(told), flush=True)
    sys.stdin.read()
    engine.close()


#: How many requests are handed over: their blocks lie in no order, and no two share any.
REQUESTS = 2


def places(number: int) -> list[int]:
    """Give a request's blocks."""
    return [(37 * (number * COUNT + place) + 11) % BLOCKS for place in range(COUNT)]


if __name__ == "__main__":
    main()
