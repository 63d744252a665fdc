"""Blocks have the names that the engines give them, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llmd_py import BlockHasher
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
    with pytest.raises(InvalidError, match="-1 is no count, expected 0 to"):
        BlockHasher("vllm-sha256").hash(range(16), mm=[("image", -1, 3)])


def test_a_name_of_another_length_is_none() -> None:
    with pytest.raises(InvalidError, match="a name of 3 bytes is none: expected 32"):
        BlockHasher("vllm-sha256").event_int(b"abc")
