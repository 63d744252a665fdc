"""A scheduler that asks a prefix index: it goes where the events say, and mixes no two indexes up."""

from __future__ import annotations

import llmd_py as llmd
import pytest
from llmd_py.errors import ExhaustedError, InvalidError

from routing import LEAST_BUSY, PRECISE, PROMPT, STORED

HELD = 192


@pytest.fixture
def index() -> llmd.PrefixIndex:
    return llmd.PrefixIndex(block_size=32)


def indexed(index: llmd.PrefixIndex, count: int) -> list[llmd.Endpoint]:
    return [llmd.Endpoint(f"engine-{n}", f"10.0.0.{n}:8000", index=index, worker=f"rank-{n}") for n in range(count)]


def test_a_request_goes_to_whoever_holds_its_prompt(index: llmd.PrefixIndex) -> None:
    pool = indexed(index, 4)
    scheduler = llmd.Scheduler.from_yaml(PRECISE, index=index)
    assert scheduler.needs.events and scheduler.needs.tokens and not scheduler.needs.metrics
    index.apply("rank-2", STORED, seq=0)

    with scheduler.decide(llmd.Request("tiny", tokens=PROMPT), pool) as decision:
        assert decision.endpoint is pool[2]
        assert decision.predicted_hit_tokens == HELD
        assert decision.endpoint.in_flight == (1, len(PROMPT) - HELD)
        prefix = decision.explain().to_dict()["profiles"][0]["endpoints"][0]["prefix"]
        assert (prefix["hit_tokens"], prefix["state"]) == (HELD, "exact")
    with scheduler.decide(llmd.Request("tiny", tokens=PROMPT, lora="poet"), pool) as decision:
        assert decision.predicted_hit_tokens == 0, "another adapter computes other KV"


def test_what_the_index_learns_and_forgets_is_seen_by_the_next_request(index: llmd.PrefixIndex) -> None:
    pool, request = indexed(index, 2), llmd.Request("tiny", tokens=PROMPT)
    scheduler = llmd.Scheduler.from_yaml(PRECISE, index=index)

    def predicted() -> int:
        with scheduler.decide(request, pool) as decision:
            return decision.predicted_hit_tokens

    assert predicted() == 0
    index.apply("rank-1", STORED, seq=0)
    assert predicted() == HELD
    index.clear("rank-1")
    assert predicted() == 0


def test_a_new_configuration_keeps_the_index(index: llmd.PrefixIndex) -> None:
    pool, request = indexed(index, 2), llmd.Request("tiny", tokens=PROMPT)
    index.apply("rank-1", STORED, seq=0)
    scheduler = llmd.Scheduler.from_yaml(LEAST_BUSY, index=index)
    assert scheduler.decide(request, pool).predicted_hit_tokens == 0

    scheduler.reload(PRECISE)
    assert scheduler.decide(request, pool).predicted_hit_tokens == HELD
    with pytest.raises(InvalidError, match="blockSizeTokens is 16, expected 32"):
        scheduler.reload(PRECISE.replace("blockSizeTokens: 32", "blockSizeTokens: 16"))
    assert scheduler.decide(request, pool).predicted_hit_tokens == HELD


def test_blocks_of_another_size_are_refused(index: llmd.PrefixIndex) -> None:
    with pytest.raises(InvalidError, match="blockSizeTokens is 32, expected 64, the block size of the index"):
        llmd.Scheduler.from_yaml(PRECISE, index=llmd.PrefixIndex(block_size=64))


def test_endpoints_of_another_index_are_refused(index: llmd.PrefixIndex) -> None:
    with_index = llmd.Scheduler.from_yaml(PRECISE, index=index)
    without = llmd.Scheduler.from_yaml(LEAST_BUSY)
    own, request = indexed(index, 1), llmd.Request("tiny")
    stranger = llmd.Endpoint("stranger", "h:1", index=llmd.PrefixIndex(block_size=32))
    for other in ([*own, stranger], [*own, llmd.Endpoint("plain", "h:1")]):
        with pytest.raises(InvalidError, match=f'endpoint "{other[-1].name}" was made with another index, expected this'):
            with_index.decide(request, other)
    with pytest.raises(InvalidError, match='endpoint "engine-0" was made with another index, expected none'):
        without.decide(request, llmd.Pool(own))


def test_an_index_without_room_refuses_the_endpoint() -> None:
    index = llmd.PrefixIndex(max_workers=1)
    llmd.Endpoint("a", "h:1", index=index)

    with pytest.raises(ExhaustedError, match='"b"'):
        llmd.Endpoint("b", "h:2", index=index)
