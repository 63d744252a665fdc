"""What speaks against a stream without gaps is told to the index, which says so."""

from __future__ import annotations

import time

import pytest
from batches import batch, cleared, removed, stored
from llmd_py import KvEventStream, PrefixIndex
from llmd_py.errors import InvalidError

NOWHERE = ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9")


def test_an_engine_that_stores_unheard_is_approximate_until_it_speaks() -> None:
    index = PrefixIndex(4, silence_blocks=2, silence_patience=0)
    index.apply("w", batch(), seq=0)
    index.stored("w", 1)
    index.stored("w", 1)
    assert index.state("w") == "exact", "the first may be of what the batch said, and one is not enough"
    index.stored("w", 2)
    assert index.state("w") == "approximate"
    assert index.apply("w", batch(), seq=1).state == "exact"


def test_an_engine_has_its_time_to_speak() -> None:
    index = PrefixIndex(4, silence_patience=3600)
    index.apply("w", batch(), seq=0)
    for _ in range(9):
        index.stored("w", 1000)

    assert index.state("w") == "exact"


def test_more_copies_than_blocks_are_hits_that_were_announced() -> None:
    index = PrefixIndex(4)
    index.apply("w", batch(stored([0], range(4)), stored([0], range(4))), seq=0)
    index.set_gpu_blocks("w", 2)
    assert index.state("w") == "exact"

    assert index.apply("w", batch(stored([0], range(4))), seq=1).state == "approximate"
    assert index.apply("w", batch(cleared()), seq=2).state == "approximate"


def test_an_engine_that_is_asked_to_announce_hits_is_never_exact() -> None:
    index = PrefixIndex(4)
    index.apply("w", batch(), seq=0)
    index.set_announces_hits("w")

    assert index.state("w") == "approximate" and index.apply("w", batch(cleared()), seq=1).state == "approximate"


def test_the_lag_is_the_age_of_the_newest_batch() -> None:
    index = PrefixIndex(4)
    index.worker("w")
    assert index.lag("w") is None
    index.apply("w", batch(timestamp=time.time() - 50), seq=0)
    lag = index.lag("w")

    assert lag is not None and 50 <= lag < 1000
    index.apply("v", batch(timestamp=1000.0), seq=0)
    assert index.lag("v", now=1002.5) == 2.5 and index.lag("v", now=999.0) == -1.0


def test_who_is_not_known_is_refused() -> None:
    index = PrefixIndex()
    for call in (
        lambda: index.stored("x", 1),
        lambda: index.set_gpu_blocks("x", 1),
        lambda: index.set_announces_hits("x"),
        lambda: index.lag("x"),
        lambda: index.residents("x"),
    ):
        with pytest.raises(InvalidError, match='worker "x" is not known'):
            call()
    index.worker("w")
    with pytest.raises(InvalidError, match="blocks -1: expected 0 to"):
        index.stored("w", -1)


def test_storage_that_all_share_is_told_apart() -> None:
    index = PrefixIndex(4)
    offloaded = stored([0, 1, 2], [], block_size=0, medium="STORAGE", locality="REMOTE")
    index.apply("w", batch(stored([0, 1, 2, 3], range(16)), offloaded, removed([1, 2])), seq=0)
    index.apply("v", batch(stored([7], range(4))), seq=0)
    overlap = index.query(range(16))

    assert overlap.shared == 3 and overlap == {"w": 4, "v": 3}
    assert overlap.by_medium("v") == {"GPU": 1, "CPU": 0, "STORAGE": 0}
    explained = {worker.name: worker for worker in overlap.explain().workers}
    assert explained["v"].shared == 3 and explained["v"].limited_by is None


def test_an_explanation_says_which_group_allows_no_more() -> None:
    index = PrefixIndex(4)
    full = stored([0, 1, 2, 3], range(16), group_idx=0, kv_cache_spec_kind="full_attention")
    window = stored(
        [0, 1], range(8), group_idx=1, kv_cache_spec_kind="sliding_window", kv_cache_spec_sliding_window=8
    )
    index.apply("w", batch(full, window), seq=0)
    [worker] = index.explain(range(16)).workers

    assert (worker.leading, worker.limited_by, worker.ends) == (2, 1, 2)


def test_a_stream_is_told_what_engines_say() -> None:
    index = PrefixIndex(4)
    with KvEventStream(index, {"w": NOWHERE}) as stream:
        stream.engine_said("w", stored=3, gpu_blocks=100)
        status = stream.status()["w"]
        assert (status.silent, status.announces_hits, status.lag) == (False, False, None)
        with pytest.raises(InvalidError, match="is not followed"):
            stream.engine_said("x", stored=3)
        with pytest.raises(InvalidError, match="followed by a live stream"):
            index.stored("w", 1)
