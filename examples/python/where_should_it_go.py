"""Where should this request go? llm-d's configuration, three endpoints, and a decision that says why."""

from pathlib import Path

import llmd_py as llmd

data = Path(__file__).parents[1] / "data"
payload = (data / "block_stored.msgpack").read_bytes()
[stored] = llmd.decode_batch(payload).events
assert isinstance(stored, llmd.BlockStored)
prompt = [*stored.token_ids, *[7] * 40]

index = llmd.PrefixIndex(block_size=32)
index.apply("engine-1", payload, seq=0)
endpoints = [llmd.Endpoint(f"engine-{n}", f"10.0.0.{n}:8000", index=index) for n in range(3)]
scheduler = llmd.Scheduler.from_yaml((data / "epp.yaml").read_text(), index=index)

with scheduler.decide(llmd.Request("tiny", tokens=prompt), endpoints) as decision:  # releases at the end
    print(f"{decision.endpoint.name} at {decision.address} because\n{decision.explain()}")
    print("in flight there, requests and tokens to compute:", decision.endpoint.in_flight)
print("in flight after the end:", decision.endpoint.in_flight)
