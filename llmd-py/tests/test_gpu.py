"""The connector between two processes with their caches in a real GPU. Where torch sees none, that is said, and nothing is tried."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not there: no cache in a GPU is handed over")
if not torch.cuda.is_available():
    pytest.skip("torch sees no GPU here: no cache in one is handed over", allow_module_level=True)

import gpu_engine  # noqa: E402
from gpu_engine import BLOCK_BYTES, BLOCKS, COUNT, REQUESTS, Engine, computed  # noqa: E402


@pytest.mark.parametrize(
    ("transport", "check"), [("cuda_ipc", "always"), ("cuda_ipc", "remote"), ("shm", "always"), ("tcp://127.0.0.1:0", "always")]
)
@pytest.mark.parametrize(("theirs", "ours"), [("LBNHC", "LBNHC"), ("LBNHC", "LBHNC")])
def test_a_cache_in_a_gpu_is_handed_over_to_another_process(
    transport: str, check: str, theirs: str, ours: str, tmp_path: Path
) -> None:
    command = [sys.executable, gpu_engine.__file__, str(tmp_path), transport, theirs, check]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as prefill:
        assert prefill.stdin is not None and prefill.stdout is not None
        told = json.loads(prefill.stdout.readline())
        engine = Engine("decode", tmp_path, ours, transport, check)
        into = [(53 * place + 7) % BLOCKS for place in range(COUNT)]
        for number in range(REQUESTS):
            took = engine.decode(number, told[number], into)
            torch.cuda.synchronize()
            for layer, cache in enumerate(engine.caches.values()):
                assert torch.equal(cache.view(torch.int16)[into], computed(number, layer)), f"layer {layer}"
            rate = COUNT * BLOCK_BYTES / took / 1e9
            print(f"{transport} check {check}, {theirs} to {ours}, request {number}: {rate:.2f} GB/s, {took * 1e3:.1f} ms")
        assert engine.worker.worker is not None
        assert engine.worker.worker.stats()["fetched_bytes"] == REQUESTS * COUNT * BLOCK_BYTES
        engine.close()
        prefill.stdin.close()
        assert prefill.wait(30) == 0
