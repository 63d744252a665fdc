"""An interpreter ends quickly and without a word, whatever is alive in it."""

from __future__ import annotations

import pytest
from programs import Run

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
