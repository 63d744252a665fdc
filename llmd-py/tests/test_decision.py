"""What a decision holds, and that it gives its place back however its request ends."""

from __future__ import annotations

import gc
import json
import re
from typing import Any

import llmd_py as llmd
import pytest
from llmd_py.errors import InvalidError, StaleError

from routing import LEAST_BUSY, REMEMBERED_PREFIX, SESSIONS, endpoints, said

PROMPT = range(256)


@pytest.fixture
def pool() -> list[llmd.Endpoint]:
    return endpoints(3)


@pytest.fixture
def scheduler() -> llmd.Scheduler:
    return llmd.Scheduler.from_yaml(REMEMBERED_PREFIX, seed=7)


def decide(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint], **arguments: Any) -> llmd.Decision:
    return scheduler.decide(llmd.Request("m", tokens=PROMPT, **arguments), pool)


def in_flight(pool: list[llmd.Endpoint]) -> int:
    return sum(endpoint.in_flight[0] for endpoint in pool)


def test_a_decision_names_one_of_the_objects_it_was_given(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]) -> None:
    with decide(scheduler, pool) as decision:
        assert any(decision.endpoint is endpoint for endpoint in pool)
        assert decision.address == decision.endpoint.address
        assert decision.ranked[0] is decision.endpoint and sorted(map(id, decision.ranked)) == sorted(map(id, pool))
        assert repr(decision) == f'Decision("{decision.endpoint.name}")'
    assert repr(decision) == f'Decision("{decision.endpoint.name}", released)'


def test_leaving_the_block_gives_the_place_back(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]) -> None:
    with decide(scheduler, pool) as decision:
        assert decision.endpoint.in_flight == (1, 256) and not decision.released
        decision.first_token()
        assert decision.endpoint.in_flight == (1, 0)

    assert in_flight(pool) == 0 and decision.released


def test_an_exception_gives_the_place_back_and_goes_on(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]) -> None:
    with pytest.raises(RuntimeError, match="the client went away"), decide(scheduler, pool):
        assert in_flight(pool) == 1
        raise RuntimeError("the client went away")

    assert in_flight(pool) == 0


def test_dropping_gives_the_place_back(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]) -> None:
    decision = decide(scheduler, pool)
    assert in_flight(pool) == 1
    del decision
    assert in_flight(pool) == 0

    cycle: list[object] = [decide(scheduler, pool)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert in_flight(pool) == 0


def test_an_end_says_what_the_request_took_and_is_heard_once(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]) -> None:
    with decide(scheduler, pool) as decision:
        decision.end(prompt_tokens=256, cached_tokens=0, output_tokens=12)
        assert in_flight(pool) == 0
        with pytest.raises(StaleError, match="released before"):
            decision.end()


def test_what_is_released_takes_no_news_and_still_answers(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]) -> None:
    decision = decide(scheduler, pool)
    endpoint, table = decision.endpoint, str(decision.explain())
    decision.release()
    decision.release()

    for news in (decision.advance, decision.first_token, decision.end):
        with pytest.raises(StaleError, match="the decision was released before"):
            news()
    assert decision.endpoint is endpoint and str(decision.explain()) == table
    assert in_flight(pool) == 0


@pytest.mark.parametrize("name", ["prompt_tokens", "cached_tokens", "output_tokens"])
def test_usage_is_refused_by_name_and_releases_nothing(
    scheduler: llmd.Scheduler, pool: list[llmd.Endpoint], name: str
) -> None:
    with decide(scheduler, pool) as decision:
        with pytest.raises(InvalidError, match=f"{name} -1"):
            decision.end(**{name: -1})
        with pytest.raises(TypeError) as caught:
            decision.end(**dict[str, Any]({name: "many"}))
        assert name in said(caught)
        assert in_flight(pool) == 1


def test_a_failed_endpoint_is_left_for_the_next_until_all_were_tried(
    scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]
) -> None:
    with decide(scheduler, pool) as decision:
        ranked = decision.ranked
        for endpoint in ranked[1:]:
            assert decision.advance() is endpoint and decision.endpoint is endpoint
            assert endpoint.in_flight[0] == in_flight(pool) == 1
        assert decision.advance() is None and decision.endpoint is ranked[-1]
        assert decision.ranked == ranked


def test_the_same_prompt_is_expected_in_the_cache_where_it_went(
    scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]
) -> None:
    with decide(scheduler, pool) as first:
        assert first.predicted_hit_tokens == 0
    with decide(scheduler, pool) as again:
        assert again.endpoint is first.endpoint
        assert again.predicted_hit_tokens == 192, "whole blocks of 64 tokens, and never the last token"
        assert again.endpoint.in_flight == (1, 64)
    with decide(scheduler, pool, salt="another tenant") as salted:
        assert salted.predicted_hit_tokens == 0


def test_a_session_comes_back_by_the_header_that_its_response_carried(pool: list[llmd.Endpoint]) -> None:
    scheduler = llmd.Scheduler.from_yaml(SESSIONS, allow_experimental=True)
    with scheduler.decide(llmd.Request("m"), pool) as first:
        headers = first.headers
        assert list(headers) == ["x-session-token"]
        with scheduler.decide(llmd.Request("m", headers=headers), pool) as again:
            assert again.endpoint is first.endpoint


def test_an_explanation_says_the_same_as_text_and_as_json(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]) -> None:
    decide(scheduler, pool).release()
    with decide(scheduler, pool) as decision:
        failed = decision.endpoint
        decision.advance()
        explanation = decision.explain()

    facts = explanation.to_dict()
    assert facts == json.loads(explanation.to_json())
    assert facts["endpoint"] == explanation.endpoint == decision.endpoint.name
    assert facts["profile"] == explanation.profile == "default"
    table = str(explanation)
    assert f"profile default: {decision.endpoint.name} of 3 candidates is next after 1 failure" in table
    profile = facts["profiles"][0]
    rows = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[2:]]
    assert len(rows) == len(profile["endpoints"]) == 3
    for row, endpoint in zip(rows, profile["endpoints"]):
        assert row[1] == endpoint["endpoint"]
        assert row[2:4] == [f"{score:.3f}" for score in endpoint["scores"]]
        assert row[4] == f"{endpoint['total']:.3f}"
        assert row[5:7] == [str(endpoint["prefix"]["hit_tokens"]), endpoint["prefix"]["state"]]
        assert row[7:] == {"failed": ["failed"], "chosen": ["chosen"], "waiting": []}[endpoint["turn"]]
    assert [row[1] for row in rows if row[-1] == "failed"] == [failed.name]


def test_decisions_cannot_be_made_or_changed_by_hand(scheduler: llmd.Scheduler, pool: list[llmd.Endpoint]) -> None:
    with pytest.raises(TypeError):
        llmd.Decision()
    with decide(scheduler, pool) as decision, pytest.raises(AttributeError):
        decision.endpoint = pool[0]  # type: ignore[misc]


def test_a_busy_endpoint_is_left_alone() -> None:
    scheduler, pool = llmd.Scheduler.from_yaml(LEAST_BUSY), endpoints(4)
    decisions = [scheduler.decide(llmd.Request("m"), pool) for _ in range(40)]

    assert [endpoint.in_flight[0] for endpoint in pool] == [10] * 4, "a herd spreads"
    del decisions
    assert in_flight(pool) == 0
