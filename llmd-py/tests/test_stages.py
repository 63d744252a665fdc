"""Requests that go through several endpoints, and ranks that stand behind one address."""

from __future__ import annotations

import time

import llmd_py as llmd
import pytest
from llmd_py.errors import InvalidError, StaleError

from routing import DISAGGREGATED, HEAD, LEAST_BUSY, endpoints, of_roles

PROMPT = range(100)
IMAGE = [("cafe", 0, 4)]


def decide(pool: list[llmd.Endpoint], **arguments: object) -> llmd.Decision:
    scheduler = llmd.Scheduler.from_yaml(DISAGGREGATED, seed=1)
    return scheduler.decide(llmd.Request("m", tokens=PROMPT, **arguments), pool)  # type: ignore[arg-type]


def in_flight(pool: list[llmd.Endpoint]) -> list[tuple[int, int]]:
    return [endpoint.in_flight for endpoint in pool]


def test_each_stage_says_who_does_it_and_who_else_could() -> None:
    pool = of_roles("decode", "prefill", "encode", "prefill")
    with decide(pool, mm=IMAGE) as decision:
        stages = decision.stages
        assert [(stage.stage, stage.profile) for stage in stages] == [(name, name) for name in ("encode", "prefill", "decode")]
        encode, prefill, decode = stages
        assert encode.endpoint is pool[2] and decode.endpoint is pool[0] is decision.endpoint
        assert {id(one) for one in prefill.ranked} == {id(pool[1]), id(pool[3])} and prefill.ranked[0] is prefill.endpoint
        assert [stage.deadline for stage in stages] == [None, 1.5, None] and prefill.rank is None
        assert repr(decode) == 'StageRoute("decode", "decode-0")' and decision.skipped == []
        found = decision.stage("prefill")
        assert found is not None and found.endpoint is prefill.endpoint
    with decide(pool) as decision:
        assert decision.stage("encode") is None, "there is nothing to encode"


def test_headers_say_where_the_other_stages_are_done() -> None:
    with decide(of_roles("decode", "prefill", "encode"), mm=IMAGE) as decision:
        changes = decision.request_headers
    assert {"x-prefiller-host-port", "x-encoder-hosts-ports"} <= set(changes.remove)
    assert changes.set == {"x-prefiller-host-port": "10.0.0.1:8000", "x-encoder-hosts-ports": "10.0.0.2:8000"}
    assert changes.destination is None
    assert changes == decision.request_headers and "x-prefiller-host-port" in repr(changes)


def test_a_stage_that_fails_goes_to_the_next_and_then_without() -> None:
    pool = of_roles("decode", "prefill", "prefill")
    with decide(pool) as decision:
        first = decision.stages[0].endpoint
        step = decision.stage_failed("prefill")
        assert step.what == "retry" and step.endpoint is not None and step.endpoint is not first
        assert repr(step) == f'NextStep("retry", "{step.endpoint.name}")'
        assert decision.stages[0].endpoint is step.endpoint
        assert in_flight(pool)[0] == (1, 0) and sorted(in_flight(pool)[1:]) == [(0, 0), (1, 100)]

        step = decision.stage_failed("prefill")
        assert (step.what, step.endpoint, repr(step)) == ("without", None, 'NextStep("without")')
        assert decision.skipped == ["prefill"] and [stage.stage for stage in decision.stages] == ["decode"]
        assert in_flight(pool) == [(1, 100), (0, 0), (0, 0)], "whoever decodes computes the prompt as well"
        assert decision.request_headers.set == {}

        assert decision.stage_failed("decode").what == "fail"
    assert in_flight(pool) == [(0, 0)] * 3


def test_a_stage_that_is_done_gives_its_place_back() -> None:
    pool = of_roles("decode", "prefill")
    with decide(pool) as decision:
        assert in_flight(pool) == [(1, 0), (1, 100)]
        decision.stage_done("prefill")
        assert in_flight(pool) == [(1, 0), (0, 0)]
        decision.stage_done("decode")
        assert in_flight(pool) == [(1, 0), (0, 0)], "the decode is done at the end"


def test_what_is_no_stage_is_named_and_after_the_release_no_stage_moves() -> None:
    with decide(of_roles("decode", "prefill")) as decision:
        for ask in (decision.stage, decision.stage_failed, decision.stage_done):
            with pytest.raises(InvalidError, match='stage "Prefill": expected encode, prefill or decode'):
                ask("Prefill")
    for news in (lambda: decision.stage_failed("prefill"), lambda: decision.stage_done("prefill"), decision.sent, decision.renew):
        with pytest.raises(StaleError, match="released before"):
            news()
    assert [stage.stage for stage in decision.stages] == ["prefill", "decode"], "what was decided can still be read"


def test_ranks_of_one_address_are_endpoints_of_their_own() -> None:
    index = llmd.PrefixIndex(16)
    ranks = llmd.Endpoint.ranks("pod-7", "10.0.0.7:8000", 3, index=index, labels={"zone": "a"})
    assert [(rank.name, rank.rank, rank.worker) for rank in ranks] == [
        (f"pod-7-rank-{n}", n, f"pod-7-rank-{n}") for n in range(3)
    ]
    assert {rank.address for rank in ranks} == {"10.0.0.7:8000"} and all(rank.labels == {"zone": "a"} for rank in ranks)
    assert len({index.worker(rank.worker) for rank in ranks}) == 3
    assert llmd.Endpoint("a", "h:1").rank is None and llmd.Endpoint("a", "h:1", rank=5).rank == 5

    own = llmd.Endpoint.ranks("pod-7", "10.0.0.7:8000", 2, workers=["a", "b"])
    assert [rank.worker for rank in own] == ["a", "b"] and llmd.Endpoint.ranks("pod-7", "h:1", 0) == []
    scheduler = llmd.Scheduler.from_yaml(LEAST_BUSY)
    first, second = scheduler.decide(llmd.Request("m"), own), scheduler.decide(llmd.Request("m"), own)
    assert {first.rank, second.rank} == {0, 1}
    assert first.request_headers.set == {"x-data-parallel-rank": str(first.rank)}
    assert scheduler.decide(llmd.Request("m"), endpoints(1)).rank is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"count": -1}, "count -1"),
        ({"count": 2**16}, r"count 65536: expected 0 to 2\*\*16 - 1"),
        ({"name": ""}, "the name of an endpoint is empty"),
        ({"workers": ["a"]}, "there are 1 workers, expected 2"),
        ({"workers": ["a", ""]}, "the worker of an endpoint is empty"),
    ],
)
def test_ranks_that_are_wrong_are_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        llmd.Endpoint.ranks(**{"name": "a", "address": "h:1", "count": 2, **arguments})  # type: ignore[arg-type]


def test_a_request_may_go_to_another_address_than_its_endpoints() -> None:
    text = HEAD + "plugins:\n- {type: active-request-scorer}\n- {type: data-parallel-profile-handler}\n"
    with llmd.Scheduler.from_yaml(text).decide(llmd.Request("m"), [llmd.Endpoint("rank-3", "10.0.0.7:8003")]) as decision:
        changes = decision.request_headers
    assert (changes.destination, changes.set) == ("10.0.0.7:8000", {"x-data-parallel-host-port": "10.0.0.7:8003"})


def test_a_place_that_is_forgotten_lapses_unless_it_is_renewed() -> None:
    text = HEAD + "plugins:\n- {type: active-request-scorer}\n- {type: inflight-load-producer, parameters: {reservationTTL: 50ms}}\n"
    scheduler, pool = llmd.Scheduler.from_yaml(text), endpoints(1)
    forgotten = scheduler.decide(llmd.Request("m"), pool)
    assert scheduler.lapse() == 0 and pool[0].in_flight[0] == 1

    while scheduler.lapse() == 0:
        time.sleep(0.01)

    assert pool[0].in_flight[0] == 0 and not forgotten.released
    forgotten.renew()
    forgotten.end()
    assert pool[0].in_flight[0] == 0 and scheduler.lapse() == 1


def test_a_request_can_count_from_when_it_is_sent() -> None:
    text = HEAD + "plugins:\n- {type: active-request-scorer}\n- {type: inflight-load-producer, parameters: {reserve: when-sent}}\n"
    pool = endpoints(1)
    with llmd.Scheduler.from_yaml(text).decide(llmd.Request("m"), pool) as decision:
        assert pool[0].in_flight[0] == 0
        decision.sent()
        assert pool[0].in_flight[0] == 1
