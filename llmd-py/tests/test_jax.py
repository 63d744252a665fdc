"""Arrays of JAX are lent where they lie, and what is fetched becomes one without a copy.

JAX is not among the tests' requirements, for its size: `cargo xtask e2e frameworks` has these run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llmd_py import Agent, KvLayout, Region
from llmd_py.errors import InvalidError

jax = pytest.importorskip("jax", reason='JAX is not installed: pip install "jax[cpu]"')
jnp = jax.numpy

BLOCKS, NUMBERS = 16, 1024
LAYOUT = KvLayout.block_major(blocks=BLOCKS, block_bytes=NUMBERS * 4)


@pytest.fixture
def agents() -> Iterator[tuple[Agent, Agent]]:
    """One that lends and one that fetches."""
    with Agent("prefill", ["shm"]) as prefill, Agent("decode", ["shm"]) as decode:
        yield prefill, decode


def numbers(seed: int) -> Any:
    """An array of blocks, computed."""
    return jax.random.normal(jax.random.key(seed), (BLOCKS, NUMBERS), jnp.float32).block_until_ready()


def test_an_array_is_lent_where_it_lies_and_arrives_as_another() -> None:
    sent = numbers(1)
    lent, cache = Region.from_dlpack(sent), Region.memfd(LAYOUT.end)
    memory = np.asarray(cache).view(np.float32).reshape(BLOCKS, NUMBERS)
    with Agent("prefill", ["shm"]) as prefill, Agent("decode", ["shm"]) as decode:
        grant = prefill.grant(prefill.register(lent, LAYOUT), range(BLOCKS), seconds=30)
        fetched = decode.fetch(grant, decode.register(cache, LAYOUT), range(BLOCKS), timeout=20).wait()
    arrived = jax.dlpack.from_dlpack(memory)

    assert fetched.ok, fetched
    assert np.asarray(lent).ctypes.data == sent.unsafe_buffer_pointer(), "the array was copied to be lent"
    assert arrived.unsafe_buffer_pointer() == memory.ctypes.data, "what was fetched was copied to become an array"
    assert arrived.dtype == sent.dtype
    assert jnp.array_equal(arrived, sent)
    assert float(jnp.dot(arrived[3], arrived[5])) == float(jnp.dot(sent[3], sent[5])), "it can be computed with"


def test_some_blocks_of_an_array_go_to_other_places(agents: tuple[Agent, Agent]) -> None:
    prefill, decode = agents
    sent, cache = numbers(2), Region.memfd(LAYOUT.end)
    grant = prefill.grant(prefill.register(Region.from_dlpack(sent), LAYOUT), [3, 1, 7], seconds=30)

    assert decode.fetch(grant, decode.register(cache, LAYOUT), [9, 4, 2], timeout=20).wait().ok

    arrived = jax.dlpack.from_dlpack(np.asarray(cache).view(np.float32).reshape(BLOCKS, NUMBERS))
    assert jnp.array_equal(arrived[jnp.array([9, 4, 2])], sent[jnp.array([3, 1, 7])])
    assert not arrived[jnp.array([0, 1, 15])].any(), "blocks were touched that nobody named"


def test_the_array_lives_as_long_as_its_region() -> None:
    sent = numbers(3)
    expected = np.array(sent)
    lent = Region.from_dlpack(sent)
    del sent
    others = [numbers(seed) for seed in range(4, 12)]

    assert np.array_equal(np.asarray(lent).view(np.float32).reshape(BLOCKS, NUMBERS), expected)
    assert len(others) == 8


def test_an_array_is_no_buffer_to_fetch_into() -> None:
    with pytest.raises(InvalidError, match="cannot be written to"):
        Region.adopt(np.asarray(numbers(12)))
