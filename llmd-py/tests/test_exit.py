"""An interpreter ends quickly and without a word, whatever is alive in it."""

from __future__ import annotations

import pytest
from programs import Run

MOVING = """
import llmd_py, threading
layout = llmd_py.KvLayout.block_major(blocks=64, block_bytes=65536)
one, two = llmd_py.Agent("one", ["shm", "local"]), llmd_py.Agent("two", ["shm", "local"])
pool, cache = one.register(bytearray(layout.end), layout), two.register(llmd_py.Region.memfd(layout.end), layout)
kept = two.keep(one.grant(pool, [1], seconds=30))
def fetch(**words):
    return two.fetch(one.grant(pool, range(32), seconds=30), cache, range(32), **words)
"""

PROGRAMS = {
    "nothing": "import llmd_py",
    "an index": "import llmd_py; index = llmd_py.PrefixIndex(); overlap = index.query([1])",
    "a stream": """
import llmd_py
index = llmd_py.PrefixIndex()
stream = llmd_py.KvEventStream(index, {"w": ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9")})
stream.status()
""",
    "a stream in a cycle": """
import llmd_py
class Node: pass
node = Node()
node.stream = llmd_py.KvEventStream(llmd_py.PrefixIndex(), {"w": "tcp://127.0.0.1:9"})
node.itself = node
""",
    "a stream that somebody waits for": """
import llmd_py, threading, time
stream = llmd_py.KvEventStream(llmd_py.PrefixIndex(), {"w": "tcp://127.0.0.1:9"})
threading.Thread(target=stream.wait_exact, daemon=True).start()
""",
    "agents": MOVING + "fetch().wait()",
    "agents in a cycle": MOVING + """
class Node: pass
node = Node()
node.agents, node.op, node.pools, node.itself = (one, two), fetch(), (pool, cache), node
del one, two, pool, cache
""",
    "an operation that nobody waits for": MOVING + "ops = [fetch() for _ in range(64)]",
    "operations that a thread waits for": MOVING + """
def work():
    while True:
        fetch().wait()
threading.Thread(target=work, daemon=True).start()
fetch().wait()
""",
    "memory of an agent that is gone": MOVING + """
import gc, numpy
view = numpy.asarray(cache.region)
del one, two, pool, cache
gc.collect()
view[:] = 1
""",
    "a thread that asks": """
import llmd_py, threading
index = llmd_py.PrefixIndex()
def ask():
    while True:
        index.query(range(20_000))
threading.Thread(target=ask, daemon=True).start()
""",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_it_ends_without_a_word(run: Run, program: str) -> None:
    ended = run(program)

    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)
