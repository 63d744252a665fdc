"""Who holds this prompt? A KV event of a real engine goes into an index; the index answers, and says why."""

from pathlib import Path

import llmd_py as llmd

payload = (Path(__file__).parents[1] / "data/block_stored.msgpack").read_bytes()
[stored] = llmd.decode_batch(payload).events
assert isinstance(stored, llmd.BlockStored)
prompt = [*stored.token_ids, *[7] * 40]

index = llmd.PrefixIndex(block_size=32)
fed = index.apply("pod-7", payload, seq=0)
print(f"pod-7 stored {fed.stored} blocks and is {index.state('pod-7')}")

overlap = index.query(prompt)
for worker, blocks in overlap.items():
    print(f"{worker} holds {blocks} leading blocks: {overlap.hit_tokens(worker)} of {len(prompt)} tokens")
print(overlap.explain())
