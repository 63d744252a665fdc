"""What TensorRT-LLM says of its cache goes into an index as other engines' messages do."""

from __future__ import annotations

import json

import pytest
from batches import batch
from llmd_py import BlockRemoved, BlockStored, PrefixIndex, TrtllmDecoder, decode_batch
from llmd_py.errors import CorruptError, InvalidError


def block(name: int, tokens: list[int], level: int = 0) -> dict[str, object]:
    return {"block_hash": name, "tokens": [{"token_id": token} for token in tokens], "cache_level": level}


def said(number: int, **data: object) -> dict[str, object]:
    return {"event_id": number, "data": data}


CREATED = said(0, type="created", num_blocks_per_cache_level=[9, 9])
STORED = said(1, type="stored", parent_hash=None, blocks=[block(7, [1, 2]), block(8, [3, 4])])
REMOVED = said(2, type="removed", block_hashes=[8])


def test_its_events_are_batches_with_numbers() -> None:
    events = TrtllmDecoder(2).decode(json.dumps([CREATED, STORED, REMOVED]).encode())

    assert [batch.seq for batch in events.batches] == [0, 1, 2] and len(events) == 3
    assert (events.errors, events.errors_dropped) == ([], 0)
    [stored] = events.batches[1].events
    assert isinstance(stored, BlockStored) and stored.block_hashes == [7, 8] and stored.token_ids == [1, 2, 3, 4]
    assert stored.full_attention
    [removed] = events.batches[2].events
    assert isinstance(removed, BlockRemoved) and removed.block_hashes == [8]
    assert repr(events) == "<TrtllmEvents: 3 batches, 0 errors>"


def test_an_index_takes_them_in_order() -> None:
    index, decoder = PrefixIndex(2), TrtllmDecoder(2)
    for answer in ([CREATED, STORED], [REMOVED]):
        for said in decoder.decode(json.dumps(answer).encode()).batches:
            fed = index.apply_batch("trt-0", said)
            assert fed.state == "exact" and not fed.duplicate
    assert index.query([1, 2, 3, 4]) == {"trt-0": 1}
    assert index.residents("trt-0") == [(0, "GPU", 7, 1)]
    [again] = decoder.decode(json.dumps(REMOVED).encode()).batches
    assert index.apply_batch("trt-0", again).duplicate


def test_what_is_missing_of_an_engine_that_replays_nothing_is_given_up_at_once() -> None:
    index, decoder = PrefixIndex(2, recover_within=0), TrtllmDecoder(2)
    created, removed = decoder.decode(json.dumps([CREATED, REMOVED]).encode()).batches
    index.apply_batch("trt-0", created)

    assert index.apply_batch("trt-0", removed).state == "approximate"


def test_where_a_block_lies_is_remembered_for_its_removal() -> None:
    decoder = TrtllmDecoder(2, max_places=1)
    decoder.decode(json.dumps(said(0, type="stored", parent_hash=None, blocks=[block(7, [1, 2], 1)])).encode())
    assert (decoder.places, decoder.places_dropped) == (1, 0)
    [gone] = decoder.decode(json.dumps(said(1, type="removed", block_hashes=[7])).encode()).batches

    assert [event.medium for event in gone.events if isinstance(event, BlockRemoved)] == ["CPU"]
    assert repr(decoder) == "<TrtllmDecoder: 0 blocks beyond GPU memory>"


def test_what_cannot_be_read_costs_itself() -> None:
    events = TrtllmDecoder(2).decode(json.dumps([said(0, type="moved"), {"data": {}}, STORED]).encode())

    bad, good = events.batches
    assert (bad.seq, len(bad), len(bad.errors)) == (0, 0, 1) and good.seq == 1 and good.errors == []
    [error] = events.errors
    assert error.event == 1 and error.field == "type"
    with pytest.raises(CorruptError, match="no list of events"):
        TrtllmDecoder(2).decode(b"7")


def test_a_batch_without_a_number_has_no_place_in_an_order() -> None:
    decoded = decode_batch(batch())

    assert decoded.seq is None
    with pytest.raises(InvalidError, match="the batch has no number"):
        PrefixIndex().apply_batch("w", decoded)
