"""Endpoints, pools and requests: what goes in comes out, and what is wrong is refused by name."""

from __future__ import annotations

from array import array
from collections import UserDict
from email import message_from_string
from typing import Any

import llmd_py as llmd
import numpy as np
import pytest
from llmd_py.errors import InvalidError

from routing import QUEUE, endpoints, said


def test_an_endpoint_is_what_it_was_made_with() -> None:
    endpoint = llmd.Endpoint("pod-7", "10.0.0.7:8000", worker="pod-7/rank-0", labels={"zone": "a"})

    assert (endpoint.name, endpoint.address, endpoint.worker) == ("pod-7", "10.0.0.7:8000", "pod-7/rank-0")
    assert endpoint.labels == {"zone": "a"}
    assert endpoint.in_flight == (0, 0)
    assert repr(endpoint) == 'Endpoint("pod-7", "10.0.0.7:8000")'
    assert llmd.Endpoint("pod-7", "10.0.0.7:8000").worker == "pod-7"


def test_the_labels_that_are_given_out_are_a_copy() -> None:
    endpoint = llmd.Endpoint("pod-7", "10.0.0.7:8000", labels={"zone": "a"})
    endpoint.labels["zone"] = "b"

    assert endpoint.labels == {"zone": "a"}


def test_endpoints_are_themselves_and_nothing_else() -> None:
    one, other = llmd.Endpoint("a", "h:1"), llmd.Endpoint("a", "h:1")

    assert one == one and one != other and len({one, other}) == 2
    with pytest.raises(AttributeError):
        one.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize("what", ["name", "address", "worker"])
def test_an_endpoint_without_a_name_is_refused(what: str) -> None:
    with pytest.raises(InvalidError, match=f"the {what} of an endpoint is empty"):
        arguments: dict[str, Any] = {"name": "a", "address": "h:1", what: ""}
        llmd.Endpoint(**arguments)


def test_metrics_decide_where_a_queue_is_short() -> None:
    pool = endpoints(3)
    for waiting, endpoint in zip([4, 0, 9], pool):
        endpoint.set_metrics(waiting_requests=waiting)
    scheduler = llmd.Scheduler.from_yaml(QUEUE, seed=1)
    assert scheduler.needs.metrics

    with scheduler.decide(llmd.Request("m"), pool) as decision:
        assert decision.endpoint is pool[1]
    pool[1].set_metrics(waiting_requests=np.uint32(40), kv_cache_usage=0.5, block_size=16, num_blocks=1000)
    with scheduler.decide(llmd.Request("m"), pool) as decision:
        assert decision.endpoint is pool[0]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("waiting_requests", -1, "0 to 2**64 - 1"),
        ("running_requests", 2**64, "0 to 2**64 - 1"),
        ("kv_cache_usage", 1.01, "0 to 1"),
        ("kv_cache_usage", float("nan"), "0 to 1"),
        ("block_size", 2**32, "0 to 2**32 - 1"),
        ("num_blocks", -(10**30), "0 to 2**64 - 1"),
        ("max_lora", 2**32, "0 to 2**32 - 1"),
        ("load_s_per_token", {"GPU": -1.0}, '["GPU"] -1: expected seconds, 0 or more'),
        ("prefill_s_per_token", float("inf"), "expected seconds, 0 or more"),
    ],
)
def test_a_metric_out_of_range_is_refused_by_name(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InvalidError) as caught:
        llmd.Endpoint("a", "h:1").set_metrics(**{name: value})

    assert str(caught.value).startswith(name) and expected in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "waiting_requests",
        "running_requests",
        "kv_cache_usage",
        "block_size",
        "num_blocks",
        "max_lora",
        "load_s_per_token",
        "prefill_s_per_token",
    ],
)
def test_a_metric_of_another_type_is_refused_by_name(name: str) -> None:
    with pytest.raises(TypeError) as caught:
        arguments: dict[str, Any] = {name: "many"}
        llmd.Endpoint("a", "h:1").set_metrics(**arguments)

    assert name in said(caught)


def test_a_medium_that_nobody_has_and_adapters_without_room_are_refused() -> None:
    endpoint = llmd.Endpoint("a", "h:1")
    with pytest.raises(InvalidError, match='medium "TAPE": expected GPU, CPU or STORAGE'):
        endpoint.set_metrics(load_s_per_token={"TAPE": 1.0})
    with pytest.raises(InvalidError, match=r'max_lora is None, expected a number beside \["poet"\]'):
        endpoint.set_metrics(running_lora_adapters=["poet"])
    endpoint.set_metrics(max_lora=4, running_lora_adapters=("poet",), waiting_lora_adapters=[])
    endpoint.set_metrics(load_s_per_token={"GPU": 0.0, "CPU": 1e-6}, prefill_s_per_token=2e-5)


def test_what_others_measure_is_kept_by_its_name() -> None:
    endpoint = llmd.Endpoint("a", "h:1")
    endpoint.set_attribute("GPUUtilization", 40)
    endpoint.set_attribute("GPUUtilization", 62.5)

    assert endpoint.attribute("GPUUtilization") == 62.5 and endpoint.attribute("power") is None


def test_a_pool_is_a_sequence_of_the_same_objects() -> None:
    members = endpoints(3)
    pool = llmd.Pool(iter(members))

    assert len(pool) == 3 and list(pool) == members and pool[0] is members[0] and pool[-1] is members[2]
    assert members[1] in pool and llmd.Endpoint("engine-1", "h:1") not in pool and "engine-1" not in pool
    assert repr(pool) == 'Pool(["engine-0", "engine-1", "engine-2"])'
    with pytest.raises(IndexError):
        pool[3]


def test_a_pool_of_something_else_is_refused_by_place() -> None:
    with pytest.raises(TypeError, match=r"endpoints\[1\] is str, expected Endpoint"):
        others: list[Any] = [*endpoints(1), "engine-1"]
        llmd.Pool(others)
    with pytest.raises(InvalidError, match='two endpoints are called "engine-0"'):
        llmd.Pool(endpoints(1) + endpoints(1))


def test_a_request_gets_an_id_that_nobody_has_had() -> None:
    ids = {llmd.Request("m").id for _ in range(100)}

    assert len(ids) == 100 and all(len(name) == 32 and int(name, 16) >= 0 for name in ids)
    assert llmd.Request("m", id="mine").id == "mine"


@pytest.mark.parametrize(
    "tokens", [[1, 2, 3], (1, 2, 3), range(1, 4), array("I", [1, 2, 3]), np.arange(1, 4), memoryview(array("i", [1, 2, 3]))]
)
def test_a_request_takes_any_integers_for_tokens(tokens: Any) -> None:
    request = llmd.Request("m", tokens=tokens, max_output_tokens=7)

    assert (request.prompt_tokens, request.max_output_tokens, request.model) == (3, 7, "m")
    assert llmd.Request("m").prompt_tokens is None
    assert repr(llmd.Request("m", id="1", tokens=tokens)) == 'Request("m", id="1", 3 tokens)'


def test_a_request_has_a_priority_and_a_tenant() -> None:
    request = llmd.Request("m", priority=-(2**31), tenant="acme")

    assert (request.priority, request.tenant) == (-(2**31), "acme")
    assert (llmd.Request("m").priority, llmd.Request("m").tenant) == (0, None)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Session-Id": "7"},
        UserDict({"x-session-id": "7"}),
        [("X-SESSION-ID", "7")],
        iter([(b"x-session-id", b"7")]),
        message_from_string("X-Session-Id: 7\n\n"),
    ],
)
def test_headers_come_in_every_shape_that_servers_have_them_in(headers: Any) -> None:
    assert llmd.Request("m", headers=headers).headers == {"x-session-id": "7"}


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"model": 5}, TypeError, "model"),
        ({"id": 5}, TypeError, "id"),
        ({"tokens": [1, -1]}, InvalidError, "token 1 is -1"),
        ({"tokens": "text"}, TypeError, "tokens"),
        ({"headers": {"a": 1}}, TypeError, "headers"),
        ({"headers": 5}, TypeError, "headers"),
        ({"lora": 5}, TypeError, "lora"),
        ({"salt": 5}, TypeError, "salt"),
        ({"mm": 5}, TypeError, "mm"),
        ({"mm": [("image", -1, 4)]}, InvalidError, "-1"),
        ({"max_output_tokens": 2**32}, InvalidError, "max_output_tokens 4294967296"),
        ({"max_output_tokens": "x"}, TypeError, "max_output_tokens"),
        ({"priority": 2**31}, InvalidError, "priority 2147483648: expected -2**31 to 2**31 - 1"),
        ({"priority": -(10**30)}, InvalidError, "priority -1000"),
        ({"priority": "high"}, TypeError, "priority"),
        ({"tenant": 5}, TypeError, "tenant"),
        ({"temperature": 1}, TypeError, "temperature"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(arguments: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        llmd.Request(**{"model": "m", **arguments})

    assert says in said(caught)
