"""Fed with what real engines published, an index holds what they held after each step, and foretells every hit.

What is compared, and when, is as in `tests/tests/truth/replay.rs`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llmd_py import BlockHasher, PrefixIndex
from programs import FIXTURES

CAPTURES = sorted((FIXTURES / "vllm-0.32-truth").glob("*.json.gz"))

# The engine names parts of blocks too, in events whose parents are parts that it never names: they are found by its names.
PARTS = "d9-hybrid-shortconv-partial-blocks.json.gz"

# One lookup: the request, its tokens, and how many of them the engine took from its cache.
Lookup = tuple[dict[str, Any], list[int], int]


class Replay:
    """One engine, and an index beside it."""

    def __init__(self, recorded: dict[str, Any], by_name: bool) -> None:
        config = recorded["config"]
        self.size, self.ints = config["hash_block_size"], config["int_hashes"]
        self.index = PrefixIndex(self.size)
        self.index.worker("engine")
        self.hasher = BlockHasher(
            f"vllm-{config['algo']}", self.size, seed=config["PYTHONHASHSEED"], engine_version=recorded["vllm"]
        )
        self.by_name = by_name
        self.asked: dict[str, dict[str, Any]] = {}
        self.steps = self.lookups = self.hits = 0
        self.wrong: list[str] = []
        self.short: list[str] = []

    def look_up(self, step: str, lookup: Lookup) -> None:
        request, ids, hit = lookup
        lora, salt, tokens = request["lora"] or {}, request["salt"], np.array(ids, np.uint32)
        names = None
        if self.by_name:
            names = self.hasher.event_names(
                tokens, ints=self.ints, lora=lora.get("name"), lora_path=lora.get("path"), salt=salt
            )
        overlap = self.index.query(tokens, lora=lora.get("name"), salt=salt, names=names)
        foretold = 0 if request.get("skip_reading_prefix_cache") else overlap.hit_tokens("engine")
        self.lookups += 1
        self.hits += hit > 0
        if foretold != hit:
            inexact = foretold < hit and self.index.state("engine") != "exact"
            differs = self.short if inexact else self.wrong
            differs.append(f"{step}, {request['id']}: {foretold} tokens foretold, {hit} hit")

    def feed(self, step: dict[str, Any]) -> None:
        for _, number, payload in step["frames"]:
            fed = self.index.apply("engine", bytes.fromhex(payload), seq=int(number, 16))
            if fed.errors or fed.unknown_removals or fed.dropped or fed.missing_from is not None:
                self.wrong.append(f"{step['name']}: {fed}")

    def compare_cache(self, step: dict[str, Any]) -> None:
        ints = self.ints
        truth = {
            (cached["group"], "GPU", cached["int"] if ints else bytes.fromhex(cached["hash"])): cached["copies"]
            for cached in step["cached"]
        }
        held = {(group, medium, name): copies for group, medium, name, copies in self.index.residents("engine")}
        self.steps += 1
        if held != truth:
            self.wrong.append(f"{step['name']}: {len(held)} blocks held, {len(truth)} in truth")


def lookups(step: dict[str, Any], asked: dict[str, dict[str, Any]]) -> Iterator[Lookup]:
    """Those of a step before which nothing came that the engine had not published."""
    for request in step["requests"]:
        if request["exact_before"]:
            yield request, request["prompt_token_ids"], request["lookup_hit"]
    for resumed in step.get("resumed", ()):
        if resumed["exact_before"]:
            request = asked[resumed["id"]]
            tokens = request["prompt_token_ids"] + request["output_token_ids"]
            yield request, tokens[: resumed["num_tokens"]], resumed["hit_tokens"]


def test_there_are_ten_engines() -> None:
    assert len(CAPTURES) == 10 and PARTS in [path.name for path in CAPTURES]


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: str(path.name).split("-")[0])
def test_an_index_holds_what_the_engine_held_and_foretells_every_hit(capture: Any) -> None:
    recorded = json.loads(gzip.decompress(capture.read_bytes()))
    replay = Replay(recorded, by_name=capture.name == PARTS)
    is_current = True
    for step in recorded["steps"]:
        replay.asked |= {request["id"]: request for request in step["requests"]}
        if is_current:
            for lookup in lookups(step, replay.asked):
                replay.look_up(step["name"], lookup)
        replay.feed(step)
        is_current = not step.get("events_pending") and step.get("expect_exact", True)
        if is_current:
            replay.compare_cache(step)
    assert replay.wrong == []
    assert replay.short == [], "too short where nothing claims to be exact"
    assert replay.steps > 340 and replay.lookups > 150 and replay.hits > 40
