"""Who holds this prompt? A KV event of a real engine goes into an index; the index answers, and says why."""

from array import array
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

# As numbers, for whoever scores many workers; and while the prompt is being made.
numbers, leading = array("I", map(index.worker, ("pod-8", "pod-7"))), array("I", [0, 0])
chain = index.chain(prompt[:100])
chain.leading_into(leading, numbers)
print(f"of 100 tokens pod-8 and pod-7 hold {leading.tolist()}", end=", ")
chain.extend(prompt[100:])
chain.leading_into(leading, numbers)
print(f"of all {leading.tolist()}")
