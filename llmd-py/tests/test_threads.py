"""One index, many threads: whoever asks gets an answer that was true at some moment, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from batches import batch, cleared, stored
from llmd_py import Fed, PrefixIndex

THREADS = 8
ROUNDS = 60


def together(work: Callable[[int], None]) -> None:
    """Does `work` in all threads at once, and raises what any of them raised."""
    barrier = threading.Barrier(THREADS)

    def begin(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(begin, range(THREADS)))


def test_every_thread_feeds_a_worker_of_its_own_while_all_of_them_ask() -> None:
    index, tokens = PrefixIndex(4), np.arange(4 * ROUNDS, dtype=np.uint32)

    def work(number: int) -> None:
        name = f"w{number}"
        for block in range(ROUNDS):
            parent = block - 1 if block else None
            payload = batch(stored([block], range(4 * block, 4 * block + 4), parent))
            assert index.apply(name, payload, seq=block).state == "exact"
            overlap = index.query(tokens)
            assert overlap[name] == block + 1
            assert all(1 <= blocks <= ROUNDS for blocks in overlap.values())

    together(work)
    assert index.query(tokens) == {f"w{number}": ROUNDS for number in range(THREADS)}
    assert index.stats().residents == THREADS * ROUNDS


def test_one_worker_is_fed_by_all_threads_in_any_order() -> None:
    index = PrefixIndex(4)
    batches = [batch(stored([n], range(4 * n, 4 * n + 4), n - 1 if n else None)) for n in range(THREADS * ROUNDS)]
    taken: list[Fed] = []

    def work(number: int) -> None:
        taken.extend(index.apply("w", batches[seq], seq=seq) for seq in range(number, len(batches), THREADS))

    # Who asks for what is missing, feeds it again: until nothing is.
    together(work)
    for seq, payload in enumerate(batches):
        taken.append(index.apply("w", payload, seq=seq))

    assert index.state("w") == "exact"
    assert index.query(range(4 * len(batches))) == {"w": len(batches)}


def test_long_work_is_done_side_by_side() -> None:
    index = PrefixIndex(4)
    tokens = np.arange(50_000, dtype=np.int32)
    payload = batch(stored(range(1_000), range(4_000)))

    def work(number: int) -> None:
        for seq in range(2):
            index.apply(f"w{number}", payload, seq=2 * seq)
            assert index.query(tokens)[f"w{number}"] == 1_000
            index.apply(f"w{number}", batch(cleared()), seq=2 * seq + 1)
            assert f"w{number}" not in index.query(tokens)

    together(work)
    assert index.query(tokens) == {}


def test_a_buffer_that_is_written_to_meanwhile_gives_an_answer_or_an_error() -> None:
    index, tokens, over = PrefixIndex(4), np.arange(20_000, dtype=np.uint32), threading.Event()
    index.apply("w", batch(stored([0], range(4))), seq=0)

    def scribble() -> None:
        while not over.is_set():
            tokens[:] = 7
            tokens[:] = np.arange(20_000, dtype=np.uint32)

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        for _ in range(20):
            assert index.query(tokens) in ({}, {"w": 1})
    finally:
        over.set()
        writer.join()
