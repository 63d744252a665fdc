"""A prompt that grows is asked for again and again, and answers about many workers come as numbers."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from batches import batch, removed, stored
from llmd_py import Chain, PrefixIndex
from llmd_py.errors import InvalidError

TOKENS = list(range(24))
WORKERS = ["none", "two", "six"]


@pytest.fixture
def index() -> PrefixIndex:
    index = PrefixIndex(4)
    index.apply("none", batch(stored([9], [99] * 4)), seq=0)
    index.apply("two", batch(stored([0, 1], TOKENS[:8])), seq=0)
    index.apply("six", batch(stored(range(6), TOKENS)), seq=0)
    return index


def numbers(index: PrefixIndex) -> list[int]:
    return [index.worker(name) for name in WORKERS]


@pytest.mark.parametrize("step", [1, 3, 4, 7, 24])
def test_a_prompt_that_grows_is_the_prompt_that_it_has_become(index: PrefixIndex, step: int) -> None:
    chain = index.chain(TOKENS[:step])
    for start in range(step, len(TOKENS), step):
        assert chain.query() == index.query(TOKENS[:start])
        chain.extend(TOKENS[start : start + step])
    assert (chain.tokens, chain.blocks, chain.block_size) == (24, 6, 4)
    assert chain.query() == index.query(TOKENS) == {"two": 2, "six": 6}
    assert str(chain.explain()) == str(index.explain(TOKENS))
    assert repr(chain) == "<Chain of 6 blocks, 24 tokens>"


def test_a_prompt_grows_under_its_own_namespace() -> None:
    index = PrefixIndex(4)
    index.apply("w", batch(stored([0, 1], range(8), extra_keys=[["tenant-7"], []])), seq=0)
    chain = index.chain(range(3), salt="tenant-7")
    chain.extend(range(3, 8))

    assert chain.query() == index.query(range(8), salt="tenant-7") == {"w": 2}
    assert index.chain(range(8)).query() == {}


def test_a_chain_asks_as_of_now_and_its_answers_stay(index: PrefixIndex) -> None:
    chain = index.chain(TOKENS)
    before = chain.query()
    index.apply("six", batch(removed([0])), seq=1)
    chain.extend([1])

    assert before == {"two": 2, "six": 6} and before.blocks == 6
    assert chain.query() == {"two": 2}


@pytest.mark.parametrize(
    "out", [array("I", [7] * 3), np.full(3, 7, np.uint32), np.full(6, 7, np.uint32)[::2]], ids=["array", "NumPy", "gaps"]
)
def test_answers_are_written_in_the_order_of_the_workers(index: PrefixIndex, out: Any) -> None:
    order = numbers(index)
    ways: list[Callable[[Any], None]] = [
        lambda workers: index.leading_into(out, workers, TOKENS),
        lambda workers: index.chain(TOKENS).leading_into(out, workers),
        lambda workers: index.query(TOKENS).leading_into(out, workers),
    ]
    for leading_into in ways:
        leading_into(order)
        assert list(out) == [0, 2, 6]
        leading_into(np.array(order[::-1], np.uint32))
        assert list(out) == [6, 2, 0]
        leading_into([order[1], 12345, order[1]])
        assert list(out) == [2, 0, 2]


@pytest.mark.parametrize("seed", range(4))
def test_numbers_are_what_the_mapping_says(seed: int) -> None:
    rng = random.Random(seed)
    index = PrefixIndex(4)
    names = [f"w{number}" for number in range(70)]
    for name in names:
        held = rng.randrange(7)
        index.apply(name, batch(stored(range(held), TOKENS[: 4 * held])), seq=0)
    order = [index.worker(name) for name in names]
    out = np.zeros(len(names), np.uint32)
    for end in range(0, 25, 3):
        index.leading_into(out, order, TOKENS[:end])
        overlap = index.query(TOKENS[:end])
        assert out.tolist() == [overlap.get(name, 0) for name in names]


def test_a_long_prompt_is_answered_too() -> None:
    index, tokens = PrefixIndex(16), np.arange(100_000, dtype=np.uint32)
    index.apply("w", batch(stored(range(100), tokens[:1600].tolist(), block_size=16)), seq=0)
    out = array("I", [0])
    index.leading_into(out, [index.worker("w")], tokens)

    assert out[0] == 100
    chain = index.chain(tokens[:5])
    chain.extend(tokens[5:])
    assert chain.query() == {"w": 100} and chain.blocks == 6250


def test_a_number_stays_its_workers_own(index: PrefixIndex) -> None:
    two, six = index.worker("two"), index.worker("six")
    index.remove_worker("two")
    out = array("I", [9, 9])
    index.leading_into(out, [two, six], TOKENS)

    assert out.tolist() == [0, 6]
    assert index.worker("two") not in (two, six) and index.workers() == ["none", "six", "two"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (array("I", [7] * 2), "out has room for 2, expected 3"),
        (array("i", [7] * 3), "out has the format 'i', expected unsigned integers of 32 bits"),
        (array("Q", [7] * 3), "out has the format 'Q', expected unsigned integers of 32 bits"),
        (np.zeros((3, 1), np.uint32), "out has 2 dimensions, expected one"),
        (memoryview(bytes(12)).cast("I"), "out cannot be written to"),
    ],
    ids=["short", "signed", "wide", "square", "read-only"],
)
def test_an_array_that_does_not_fit_is_refused_and_left_alone(index: PrefixIndex, out: Any, message: str) -> None:
    before = bytes(out)
    ways: list[Callable[[], None]] = [
        lambda: index.leading_into(out, numbers(index), TOKENS),
        lambda: index.chain(TOKENS).leading_into(out, numbers(index)),
    ]
    for leading_into in ways:
        with pytest.raises(InvalidError, match=message):
            leading_into()
    assert bytes(out) == before


def test_an_array_is_free_again_when_it_was_refused(index: PrefixIndex) -> None:
    out = array("I", [0] * 2)
    with pytest.raises(InvalidError):
        index.leading_into(out, numbers(index), TOKENS)
    out.append(0)
    index.leading_into(out, numbers(index), TOKENS)
    out.append(0)


def test_numbers_that_are_none_are_named(index: PrefixIndex) -> None:
    out = array("I", [0])
    with pytest.raises(InvalidError, match="worker 0 is -1, expected 0 to"):
        index.leading_into(out, [-1], TOKENS)
    with pytest.raises(InvalidError, match="token 1 is -2, expected 0 to"):
        index.leading_into(out, [0], [1, -2])
    with pytest.raises(TypeError, match="out is list, expected a writable buffer"):
        index.leading_into([0], [0], TOKENS)
    with pytest.raises(TypeError, match="workers are str"):
        index.leading_into(out, "two", TOKENS)  # type: ignore[arg-type]


def test_a_chain_is_made_by_an_index_alone() -> None:
    with pytest.raises(TypeError, match="cannot create|No constructor"):
        Chain()
