"""A forked child asks what the parent knew, feeds its own copy, and never hangs."""

from __future__ import annotations

from programs import ROOT, Run

BEGIN = """
import os, sys, threading, traceback
sys.path.insert(0, {tests!r})
from batches import batch, cleared, stored
from llmd_py import KvEventStream, PrefixIndex
from llmd_py.errors import UnavailableError, InvalidError

NOWHERE = ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9")

def child(work):
    # How the child ends: 0 when it did its work. Nothing of the parent's is run in it.
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def program(text: str) -> str:
    return BEGIN.format(tests=str(ROOT / "llmd-py/tests")) + text


def test_a_child_asks_and_feeds_its_own_copy(run: Run) -> None:
    ended = run(
        program("""
index = PrefixIndex(4)
index.apply("w", batch(stored([0], range(4))), seq=0)

def work():
    assert index.query(range(4)) == {"w": 1} and index.state("w") == "exact"
    assert index.apply("w", batch(stored([1], range(4, 8), 0)), seq=1).state == "exact"
    assert index.query(range(8)) == {"w": 2} and index.stats().residents == 2
    assert PrefixIndex(4).apply("w", batch(), seq=0).state == "exact"

assert child(work) == 0
assert index.query(range(8)) == {"w": 1}
print("done")
""")
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


def test_a_stream_is_left_behind_and_says_so(run: Run) -> None:
    ended = run(
        program("""
index = PrefixIndex(4)
stream = KvEventStream(index, {"w": NOWHERE})
stream.status()

def work():
    assert index.state("w") == "approximate" and index.query(range(4)) == {}
    for call in (stream.status, stream.wait_exact, lambda: stream.watch("v", NOWHERE), lambda: stream.unwatch("w")):
        try:
            call()
        except UnavailableError as error:
            assert "make it anew" in str(error), error
        else:
            raise AssertionError("a stream cannot go on in a child")
    stream.close()
    assert index.apply("w", batch(), seq=0).state == "exact"
    with KvEventStream(index, {"w": NOWHERE}) as anew:
        assert not anew.wait_exact(0.05) and list(anew.status()) == ["w"]

assert child(work) == 0
assert list(stream.status()) == ["w"] and index.state("w") == "recovering"
stream.close()
print("done")
""")
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


def test_children_that_are_forked_while_all_is_busy_never_hang(run: Run) -> None:
    ended = run(
        program("""
index, over = PrefixIndex(4), threading.Event()
large = batch(stored(range(2_000), range(8_000)), cleared())

def feed(name):
    while not over.is_set():
        index.apply(name, large)

def ask():
    while not over.is_set():
        index.query(range(20_000))

threads = [threading.Thread(target=feed, args=(name,)) for name in "ab"] + [threading.Thread(target=ask)]
for thread in threads:
    thread.start()
torn = 0

def work():
    index.query(range(4))
    index.workers()
    try:
        index.apply("c", large)
        index.stats()
    except UnavailableError as error:
        assert str(error) == "the index was being written to when this process was forked; make it anew"
        os._exit(7)
    fresh = PrefixIndex(4)
    fresh.apply("a", large)

for _ in range(60):
    code = child(work)
    assert code in (0, 7), code
    torn += code == 7
over.set()
for thread in threads:
    thread.join()
print("torn" if torn else "whole")
""").replace("-W error", "")
    )
    assert ended.stdout in ("torn\n", "whole\n") and ended.returncode == 0, ended.stderr


def test_a_child_that_ends_as_python_does_ends_cleanly(run: Run) -> None:
    ended = run(
        program("""
index = PrefixIndex(4)
stream = KvEventStream(index, {"w": NOWHERE})
pid = os.fork()
if pid == 0:
    del stream, index
    sys.exit(5)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
print("done")
""")
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


def test_what_changes_goes_on_in_a_child_and_is_its_own(run: Run) -> None:
    ended = run(
        program("""
from llmd_py import BlockHasher, SessionMemo, TrtllmDecoder
index = PrefixIndex(4)
index.apply("w", batch(stored([0, 1], range(8))), seq=0)
chain, memo = index.chain(range(3)), SessionMemo(BlockHasher("vllm-sha256_cbor", 4), max_tokens=1000)
decoder = TrtllmDecoder(4)
memo.hash("chat-7", range(8))

def work():
    chain.extend(range(3, 8))
    assert chain.query() == {"w": 2} and memo.hash("chat-7", range(8))[1] == 2 and len(decoder.decode(b"[]")) == 0

assert child(work) == 0
assert chain.tokens == 3 and chain.query() == {}
print("done")
""")
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)


def test_a_chain_that_was_growing_is_refused_in_the_child_and_nothing_hangs(run: Run) -> None:
    ended = run(
        program("""
from array import array
index = PrefixIndex(4)
chain, more = index.chain(range(8)), array("I", bytes(4 * 4_000_000))

def grow():
    for _ in range(30):
        chain.extend(more)

def work():
    try:
        assert chain.blocks >= 2
    except UnavailableError as error:
        assert "using the chain while this process was forked" in str(error)
        os._exit(7)

threading.Thread(target=grow, daemon=True).start()
ends = {child(work) for _ in range(30)}
assert ends <= {0, 7}, ends
print("done")
""")
    )
    assert (ended.stdout, ended.returncode) == ("done\n", 0)
