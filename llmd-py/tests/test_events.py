"""Recorded messages of real engines decode to what the engines' own decoder reads in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from batches import batch, cleared, removed, stored
from llmd_py import AllBlocksCleared, BlockRemoved, BlockStored, KvEventBatch, decode_batch
from llmd_py.errors import CorruptError

Fixture = Callable[[str], Any]


def test_what_vllm_published_is_what_its_decoder_reads(fixture: Fixture) -> None:
    messages = fixture("vllm-0.32/kvevents_multi.json")
    seen = 0
    for message in messages:
        timestamp, events, rank = message["decoded"]
        decoded = decode_batch(bytes.fromhex(message["payload_hex"]))

        assert decoded.timestamp == pytest.approx(timestamp)
        assert (decoded.data_parallel_rank, decoded.errors, decoded.errors_dropped) == (rank, [], 0)
        assert len(decoded) == len(events)
        for event, expected in zip(decoded.events, events, strict=True):
            agree(event, expected)
            seen += 1
    assert seen > 10


def agree(event: BlockStored | BlockRemoved | AllBlocksCleared, expected: dict[str, Any]) -> None:
    assert type(event).__name__ == expected["type"]
    if isinstance(event, AllBlocksCleared):
        return
    assert event.block_hashes == expected["block_hashes"]
    assert event.medium == (expected.get("medium") or "GPU")
    assert event.group_idx == (expected.get("group_idx") or 0)
    if isinstance(event, BlockStored):
        assert event.token_ids == expected["token_ids"]
        assert event.parent_block_hash == expected["parent_block_hash"]
        assert event.block_size == expected["block_size"]
        assert (event.lora_id, event.lora_name) == (expected.get("lora_id"), expected.get("lora_name"))


def test_every_version_of_vllm_is_read(fixture: Fixture) -> None:
    versions = fixture("vllm-0.32/wire_versions.json")
    cases = [case for version in versions.values() for case in version["cases"].values()]
    assert len(versions) == 24 and len(cases) > 400
    for case in cases:
        decoded = decode_batch(bytes.fromhex(case["hex"]))
        assert decoded.errors == [] and len(decoded) == len(case["decoded"][1])


def test_names_are_integers_or_bytes_as_the_engine_has_them(fixture: Fixture) -> None:
    scenarios = fixture("vllm-0.32/capture-xxhash_cbor-bytes-seed0.json")["scenarios"]
    frames = [message for scenario in scenarios for message in scenario["messages"]]
    names = [
        name
        for frame in frames
        for event in decode_batch(bytes.fromhex(frame["payload_hex"])).events
        if isinstance(event, BlockStored)
        for name in event.block_hashes
    ]
    assert names and all(isinstance(name, bytes) and len(name) == 16 for name in names)


def test_a_bad_event_costs_itself_and_is_named_with_its_byte() -> None:
    payload = batch(removed([1]), {"type": "BlockRemoved", "block_hashes": "x"}, cleared())

    decoded = decode_batch(payload)

    assert [type(event) for event in decoded.events] == [BlockRemoved, AllBlocksCleared]
    [error] = decoded.errors
    assert (error.event, error.field) == (1, "block_hashes")
    assert payload[error.byte] == 0xDB
    assert str(error).startswith(f"event 1 at byte {error.byte}, field block_hashes: ") and error.message in str(error)
    assert repr(error) == f"<EventError: {error}>"


def test_what_is_no_batch_is_corrupt() -> None:
    for payload in (b"", b"\xc1", b"\x90", b"junk", batch()[:5]):
        with pytest.raises(CorruptError, match="no batch of events: at byte"):
            decode_batch(payload)


def test_events_are_equal_when_they_say_the_same() -> None:
    one, two = (decode_batch(batch(stored([1], range(4)), cleared())).events for _ in range(2))
    other = decode_batch(batch(stored([2], range(4)))).events

    assert one == two and one[0] != other[0] and one[0] != one[1]
    assert repr(one[0]) == "<BlockStored: 1 blocks of 4 on GPU>"
    assert repr(decode_batch(batch(removed([1, 2], medium="CPU"))).events) == "[<BlockRemoved: 2 blocks from CPU>]"


def test_events_outlive_their_batch() -> None:
    event = decode_batch(batch(stored([1], range(4)))).events[0]

    assert isinstance(event, BlockStored) and event.token_ids == [0, 1, 2, 3]


def test_nothing_can_be_written_to() -> None:
    decoded: Any = decode_batch(batch(cleared()))
    with pytest.raises(AttributeError):
        decoded.timestamp = 3.0
    with pytest.raises(AttributeError):
        decoded.other = 3
