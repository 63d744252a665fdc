"""Blocks have the names that the engines give them, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llmd_py import BlockHasher, PrefixIndex, SessionMemo
from llmd_py.errors import InvalidError, UnsupportedError

Fixture = Callable[[str], Any]


def test_names_are_those_of_vllm(fixture: Fixture) -> None:
    compared = 0
    for run in fixture("vllm-0.32/hash_vectors.json")["runs"]:
        for algorithm, vectors in run["algos"].items():
            for case in vectors["cases"]:
                # Embeddings stand for tokens there; the other has a name for an adapter that no engine gives.
                if case["prompt_embeds"] or "name_eq_path" in case["name"]:
                    continue
                hasher = BlockHasher(f"vllm-{algorithm}", case["block_size"], seed=run["PYTHONHASHSEED"])
                if run["PYTHONHASHSEED"] is None and algorithm.startswith("xxhash"):
                    continue
                lora = case["lora"] or {}
                items = [(item["identifier"], item["offset"], item["length"]) for item in case["mm"] or []]
                names = hasher.hash(
                    case["token_ids"],
                    lora=lora.get("name"),
                    lora_path=lora.get("path"),
                    salt=case["cache_salt"],
                    mm=items,
                )
                assert [name.hex() for name in names] == [block["hash"] for block in case["blocks"]], case["name"]
                assert [hasher.event_int(name) for name in names] == [block["u64"] for block in case["blocks"]]
                compared += len(names)
    assert compared > 100


def test_a_rest_has_no_name_and_the_form_of_the_tokens_does_not_matter() -> None:
    hasher = BlockHasher("vllm-sha256_cbor", 4)
    names = hasher.hash(np.arange(11, dtype=np.uint32))

    assert len(names) == 2 and all(len(name) == hasher.digest_len == 32 for name in names)
    assert hasher.hash(list(range(8))) == names
    assert hasher.hash([]) == []
    assert hasher.hash(range(8), salt="tenant-7") != names
    assert hasher.hash(range(8), salt="") == names


def test_a_long_prompt_has_the_names_of_its_beginning() -> None:
    hasher = BlockHasher("sglang", 64)
    tokens = np.arange(100_000, dtype=np.int64)

    assert hasher.hash(tokens)[:10] == hasher.hash(tokens[:640])


def test_events_of_sglang_carry_a_signed_number() -> None:
    hasher = BlockHasher("sglang", 1)
    numbers = [hasher.event_int(name) for name in hasher.hash(range(64))]

    assert min(numbers) < 0 < max(numbers) and all(-(2**63) <= number < 2**63 for number in numbers)


def test_schemes_are_listed_and_others_refused() -> None:
    for scheme in BlockHasher.SCHEMES:
        assert BlockHasher(scheme, 32).scheme == scheme
    with pytest.raises(InvalidError, match='scheme "md5" is not known: expected one of vllm-sha256, '):
        BlockHasher("md5")
    with pytest.raises(UnsupportedError, match="never leave the index"):
        BlockHasher("llmd")
    assert repr(BlockHasher("sglang", 64)) == "<BlockHasher: sglang, blocks of 64 tokens>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block_size": 0}, "block size 0 is too small"),
        ({"block_size": -1}, "block_size is -1, expected 0 to"),
        ({"engine_version": "new"}, 'version "new" is none'),
        ({"scheme": "sglang", "seed": "0"}, 'seed "0" has no place'),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        BlockHasher(**{"scheme": "vllm-sha256", **arguments})


def test_what_the_names_depend_on_must_be_said() -> None:
    with pytest.raises(InvalidError, match="needs the engine's PYTHONHASHSEED"):
        BlockHasher("vllm-xxhash").hash(range(16))
    with pytest.raises(InvalidError, match='adapter "poet" needs its path'):
        BlockHasher("vllm-sha256").hash(range(16), lora="poet")
    assert BlockHasher("vllm-sha256", engine_version="0.30").hash(range(16), lora="poet")
    with pytest.raises(InvalidError, match='lora_path is "/poet" without lora'):
        BlockHasher("vllm-sha256").hash(range(16), lora_path="/poet")
    with pytest.raises(InvalidError, match="mm offset -1: expected 0 to"):
        BlockHasher("vllm-sha256").hash(range(16), mm=[("image", -1, 3)])


def test_a_name_of_another_length_is_none() -> None:
    with pytest.raises(InvalidError, match="a name of 3 bytes is none: expected 32"):
        BlockHasher("vllm-sha256").event_int(b"abc")


def test_names_are_written_where_they_are_wanted() -> None:
    hasher = BlockHasher("vllm-sha256_cbor", 4)
    names, out = hasher.hash(range(11), salt="tenant-7"), bytearray(64)

    assert hasher.hash_into(out, range(11), salt="tenant-7") == 2
    assert out == b"".join(names)
    array = np.zeros(64, np.uint8)
    hasher.hash_into(array, range(11), salt="tenant-7")
    assert array.tobytes() == bytes(out)
    with pytest.raises(InvalidError, match="out has room for 63, expected 64"):
        hasher.hash_into(bytearray(63), range(11))
    with pytest.raises(InvalidError, match="out cannot be written to"):
        hasher.hash_into(bytes(64), range(11))


def test_names_are_told_as_events_have_them_and_found_by_queries() -> None:
    hasher = BlockHasher("sglang", 4)
    names = hasher.event_names(range(8))
    assert [int(name) % 2**64 for name in names] == [hasher.event_int(name) % 2**64 for name in hasher.hash(range(8))]
    assert hasher.event_names(range(8), ints=False) == hasher.hash(range(8))
    index = PrefixIndex(4)
    signed = [hasher.event_int(name) for name in hasher.hash(range(8))]
    for form in (names, signed, hasher.hash(range(8)), []):
        assert index.query(range(8), names=form) == {}
    index.chain(range(8)).set_names(names)
    with pytest.raises(InvalidError, match="name 1 is 'x', expected an int of 64 bits or bytes"):
        index.query(range(8), names=[1, "x"])  # type: ignore[list-item]


def test_a_session_hashes_only_what_follows() -> None:
    hasher = BlockHasher("vllm-sha256_cbor", 4)
    memo = SessionMemo(hasher, max_tokens=1000)
    tokens = list(range(40))

    assert memo.hash("chat-7", tokens[:21]) == (hasher.hash(tokens[:21]), 0)
    assert memo.hash("chat-7", tokens) == (hasher.hash(tokens), 5)
    assert memo.hash("chat-8", tokens) == (hasher.hash(tokens), 0)
    assert memo.hash("chat-7", tokens, salt="tenant-7") == (hasher.hash(tokens, salt="tenant-7"), 0)
    assert (len(memo), memo.dropped) == (2, 0) and memo.tokens >= 2 * (40 + 64)
    memo.forget("chat-8")
    assert memo.hash("chat-8", tokens)[1] == 0 and repr(memo).startswith("<SessionMemo: 2 sessions, ")


def test_sessions_make_room_for_others() -> None:
    memo = SessionMemo(BlockHasher("vllm-sha256_cbor", 4), max_tokens=200)
    for session in ("a", "b", "c"):
        memo.hash(session, range(8))

    assert (len(memo), memo.dropped) == (2, 1) and memo.tokens <= 200
    assert memo.hash("a", range(8))[1] == 0 and memo.hash("c", range(8))[1] == 2
    assert bool(SessionMemo(BlockHasher("sglang", 4), max_tokens=0))
    with pytest.raises(InvalidError, match="needs the engine's PYTHONHASHSEED"):
        SessionMemo(BlockHasher("vllm-xxhash", 4), max_tokens=9).hash("a", range(8))
