"""One life of a process: import, an index and a live stream, a fork, their use on both sides, and the end of both.

Nothing is closed by hand: the end of the interpreter must do. `clean_environment.py` runs it many times.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import llmd_py as llmd

PAYLOAD = Path(__file__).parents[2] / "examples/data/block_stored.msgpack"

# The discard port: nobody publishes there, and the stream tries again as long as it lives.
NOBODY = "tcp://127.0.0.1:9"


def follow(payload: bytes) -> tuple[llmd.PrefixIndex, llmd.KvEventStream]:
    """An index that has taken a recorded batch, and follows an engine that is not there."""
    index = llmd.PrefixIndex(block_size=32)
    index.apply("recorded", payload, seq=0)
    return index, llmd.KvEventStream(index, {"absent": (NOBODY, None)})


def held(index: llmd.PrefixIndex, prompt: list[int]) -> int:
    return index.query(prompt)["recorded"]


def main() -> int:
    payload = PAYLOAD.read_bytes()
    [stored] = llmd.decode_batch(payload).events
    assert isinstance(stored, llmd.BlockStored)
    prompt = list(stored.token_ids)
    index, stream = follow(payload)
    blocks = held(index, prompt)
    assert blocks > 0 and "absent" in stream.status()

    with warnings.catch_warnings():
        # From 3.12 on Python warns of any fork beside threads; that it works is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        assert held(index, prompt) == blocks
        another, following = follow(payload)
        assert held(another, prompt) == blocks and "absent" in following.status()
        return 0
    _, status = os.waitpid(child, 0)
    assert held(index, prompt) == blocks
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
