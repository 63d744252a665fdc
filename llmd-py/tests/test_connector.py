"""Bodies of prefill and decode, as each connector has them: what the crate's own tests compare to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llmd_py as llmd
import pytest
from llmd_py.errors import CorruptError, InvalidError, UnsupportedError

from programs import ROOT

FIXTURES = ROOT / "llmd-routing/tests/fixtures/connector"
CHAT = "/v1/chat/completions"
BODY = b'{"model":"m","messages":[],"stream":true,"max_tokens":64,"kv_transfer_params":{"remote_host":"theirs"}}'
REQUEST = "0190b2d4-8f1e-11ef-9a3c-0242ac120002"


def handover(name: str = "nixlv2", body: bytes = BODY, **arguments: Any) -> llmd.Handover:
    return llmd.Connector(name).handover(CHAT, body, request_id=REQUEST, prefiller="10.0.0.1:8000", **arguments)


def test_both_bodies_are_made_of_what_the_client_sent() -> None:
    connector = llmd.Connector("nixlv2")
    assert (connector.name, connector.prefill_response, repr(connector)) == ("nixlv2", "copied", 'Connector("nixlv2")')
    request = handover()
    assert request.order == "sequential" and request.attempt().kv is None

    prefill = request.prefill()
    sent = json.loads(prefill.body)
    assert isinstance(prefill.body, bytes) and (sent["stream"], sent["max_tokens"]) == (False, 1)
    assert sent["kv_transfer_params"]["do_remote_decode"] is True and "theirs" not in prefill.body.decode()

    answer = b'{"usage":{},"kv_transfer_params":{"remote_host":"10.0.0.1","remote_block_ids":[[4, 5]]}}'
    decode = request.decode(answer)
    kept = b'{"model":"m","messages":[],"stream":true,"max_tokens":64,"kv_transfer_params":'
    assert decode.body == kept + b'{"remote_host":"10.0.0.1","remote_block_ids":[[4, 5]]}}'
    assert (decode.kv, decode.cached_tokens) == ("handed", 0)
    assert decode == request.decode(memoryview(answer)) and decode != prefill
    assert request.decode(b"{}").kv == "recomputed"


def test_what_a_client_must_not_set_stays_where_it_is_trusted() -> None:
    untrusted, trusted = handover(), handover(trusted=True)
    assert b"theirs" not in untrusted.attempt().body and b"theirs" in trusted.attempt().body


def test_engines_that_start_at_once_meet_in_a_room() -> None:
    request = handover("sglang", room=77)
    assert request.order == "concurrent" and llmd.Connector("sglang").prefill_response == "discarded"
    rooms = [json.loads(leg.body)["bootstrap_room"] for leg in (request.prefill(), request.decode())]
    assert rooms == [77, 77]
    with pytest.raises(InvalidError, match="bootstrap room"):
        handover("sglang").prefill()


def test_an_engine_is_drawn_of_those_that_a_bootstrap_server_names() -> None:
    assert llmd.Connector("mooncake").bootstrap_url("10.0.0.1:8000") == "http://10.0.0.1:8998/query"
    assert llmd.Connector("nixlv2").bootstrap_url("10.0.0.1:8000") is None
    answer = json.dumps({str(rank): {"engine_id": f"engine-{rank}"} for rank in range(4)}).encode()
    drawn = set()
    for _ in range(64):
        request = handover("mooncake", bootstrap=answer)
        drawn.add(json.loads(request.decode().body)["kv_transfer_params"]["remote_engine_id"])
        assert f"engine-{request.prefill().headers['x-data-parallel-rank']}" in request.decode().body.decode()
    assert len(drawn) > 1
    with pytest.raises(CorruptError):
        handover("mooncake", bootstrap=b"{}")


def test_a_decoder_may_be_tried_first() -> None:
    body = b'{"model":"m","messages":[],"cache_hit_threshold":0.8}'
    request = handover("shared-storage", body)
    assert request.order == "decode-first" and b"cache_hit_threshold" in request.attempt().body
    assert request.below_threshold(b'{"choices":[{"finish_reason":"cache_threshold"}]}')
    assert not request.below_threshold(b'{"choices":[{"finish_reason":"stop"}]}')


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"path": "/v1/embeddings"}, InvalidError, 'path "/v1/embeddings": expected one of /v1/chat/completions'),
        ({"body": b"[]"}, InvalidError, ""),
        ({"body": "text"}, TypeError, "body"),
        ({"rank": -1}, InvalidError, "rank -1"),
    ],
)
def test_a_request_that_is_none_is_refused(arguments: dict[str, Any], kind: type[Exception], says: str) -> None:
    given = {"path": CHAT, "body": BODY, "request_id": REQUEST, "prefiller": "h:1", **arguments}
    with pytest.raises(kind) as caught:
        llmd.Connector("nixlv2").handover(**given)
    assert says in "; ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_a_connector_that_is_none_and_an_answer_that_is_none_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="connector `nixl`: expected one of kv-nixl"):
        llmd.Connector("nixl")
    with pytest.raises(CorruptError):
        handover().decode(b"no JSON")


APIS = {
    "chat": CHAT,
    "completions": "/v1/completions",
    "generate": "/inference/v1/generate",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}
NAMES = ["kv-nixl", "kv-sglang", "kv-shared-storage", "llmd", "mooncake", "nixlv2", "offloading", "sglang", "shared-storage"]
CASES = sorted(path.parent for name in NAMES for path in FIXTURES.glob(f"{name}/*/stages.json"))


def test_every_connector_has_cases() -> None:
    assert {case.parent.name for case in CASES} == set(NAMES) and len(CASES) >= 3 * len(NAMES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_a_connector_makes_what_was_recorded(case: Path) -> None:
    stages = json.loads((case / "stages.json").read_text())
    request = llmd.Connector(case.parent.name).handover(
        APIS[case.name.split("-")[0]],
        (case / "request.json").read_bytes(),
        request_id=REQUEST,
        prefiller="10.0.0.1:8001",
        decoder="10.0.0.9:8000",
        rank=3,
        room=1_764_169_324_123_456_789,
        kv_source=("10.0.0.2:8003", "0190b2d4-9001-11ef-9a3c-0242ac120002"),
        bootstrap=b'{"1": {"engine_id": "engine-1"}}',
    )
    assert request.order.replace("-", "") == stages["order"].lower()

    prefill = request.prefill()
    assert json.loads(prefill.body) == json.loads((case / "prefill.json").read_bytes())
    assert prefill.headers == stages["prefill_headers"]
    answer = case / "prefill-response.json"
    decode = request.decode(answer.read_bytes() if answer.exists() else None)
    assert json.loads(decode.body) == json.loads((case / "decode.json").read_bytes())
    assert decode.headers == stages["decode_headers"]
    assert (decode.kv, decode.cached_tokens) == (stages["kv"].lower(), stages["cached_tokens"])
