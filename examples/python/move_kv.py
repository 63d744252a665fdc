"""Two processes exchange KV: one has computed blocks, the other fetches them into its own cache, by shared memory."""

import subprocess
import sys

import llmd_py as llmd

LAYOUT = llmd.KvLayout.block_major(blocks=1024, block_bytes=65536)


def decode(grant: bytes) -> None:
    with llmd.Agent("decode-0", transports=["shm"]) as agent:
        pool = agent.register(llmd.Region.memfd(LAYOUT.end), LAYOUT)
        fetched = agent.fetch(grant, pool, blocks=[9, 4, 2], timeout=5.0).wait()
        held = [pool.read_block(block)[0] for block in (9, 4, 2)]
        print(f"decode-0 has {fetched.blocks} blocks by {fetched.transport}: {held}, {fetched.outcome}")


def prefill() -> None:
    with llmd.Agent("prefill-0", transports=["shm"]) as agent:
        pool = agent.register(llmd.Region.memfd(LAYOUT.end), LAYOUT)
        for block in (3, 1, 7):
            pool.write_block(block, bytes([block]) * LAYOUT.block_bytes)
        grant = agent.grant(pool, blocks=[3, 1, 7], seconds=30)  # goes with the request
        subprocess.run([sys.executable, __file__, grant.hex()], check=True)
        for ended in agent.poll():
            assert isinstance(ended, llmd.LeaseEnded)
            print(f"prefill-0 may use {len(ended.free)} blocks again: {ended.end}")


decode(bytes.fromhex(sys.argv[1])) if len(sys.argv) > 1 else prefill()
