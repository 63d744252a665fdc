"""An index answers as the engines would, says how far it can be trusted, and refuses what is wrong by name."""

from __future__ import annotations

import copy
import pickle
import random
from typing import Any

import pytest
from batches import batch, cleared, removed, stored
from llmd_py import BlockRemoved, BlockStored, Fed, PrefixIndex
from llmd_py.errors import CorruptError, ExhaustedError, InvalidError

class Model:
    """One engine's cache: a prompt's blocks are named by the tokens up to their ends."""

    def __init__(self) -> None:
        self.names: dict[tuple[int, ...], int] = {}
        self.held: dict[tuple[int, ...], int] = {}

    def name(self, prefix: tuple[int, ...]) -> int:
        return self.names.setdefault(prefix, len(self.names))

    def leading(self, tokens: list[int], size: int) -> int:
        ends = range(size, len(tokens) + 1, size)
        for block, end in enumerate(ends):
            if not self.held.get(tuple(tokens[:end])):
                return block
        return len(ends)


@pytest.mark.parametrize("seed", range(8))
def test_answers_are_those_of_a_dictionary(seed: int) -> None:
    rng = random.Random(seed)
    size, workers = 4, [f"w{number}" for number in range(5)]
    index, models, numbers = PrefixIndex(size), {name: Model() for name in workers}, dict.fromkeys(workers, 0)

    def prompt() -> list[int]:
        return [rng.randrange(2) for _ in range(size)] * 2 + [rng.randrange(3) for _ in range(rng.randrange(20))]

    for _ in range(300):
        name = rng.choice(workers)
        model, tokens = models[name], prompt()
        prefixes = [tuple(tokens[:end]) for end in range(size, len(tokens) + 1, size)]
        if rng.random() < 0.02:
            model.held.clear()
            event = cleared()
        elif rng.random() < 0.6:
            start = rng.randrange(len(prefixes))
            for prefix in prefixes[start:]:
                model.held[prefix] = model.held.get(prefix, 0) + 1
            parent = model.name(prefixes[start - 1]) if start else None
            names = [model.name(prefix) for prefix in prefixes[start:]]
            event = stored(names, tokens[start * size : len(prefixes) * size], parent)
        else:
            gone = [prefix for prefix in model.held if model.held[prefix] and rng.random() < 0.3]
            for prefix in gone:
                model.held[prefix] -= 1
            event = removed([model.name(prefix) for prefix in gone])
        index.apply(name, batch(event), seq=numbers[name])
        numbers[name] += 1
        asked = prompt()
        expected = {name: model.leading(asked, size) for name, model in models.items()}
        assert index.query(asked) == {name: blocks for name, blocks in expected.items() if blocks}


def test_a_batch_says_what_became_of_it() -> None:
    index = PrefixIndex(4)
    fed = index.apply("w", batch(stored([1, 2], range(8)), removed([2, 9]), {"type": "Odd"}), seq=0)

    assert [type(event) for event in fed.events] == [BlockStored, BlockRemoved] and len(fed) == 2
    assert (fed.stored, fed.removed, fed.unknown_removals, fed.orphaned, fed.dropped) == (2, 1, 1, 0, 0)
    assert [error.event for error in fed.errors] == [2] and fed.errors_dropped == 0
    assert (fed.state, fed.duplicate, fed.missing_from) == ("approximate", False, None)
    assert repr(fed) == "<Fed: 2 events, 2 stored, 1 removed, approximate>"


def test_a_batch_without_events_is_no_falsehood() -> None:
    fed = PrefixIndex().apply("w", batch(), seq=0)

    assert len(fed) == 0 and bool(fed)


def test_a_gap_is_filled_by_what_the_engine_replays() -> None:
    index = PrefixIndex(4)
    batches = [batch(stored([n], range(4 * n, 4 * n + 4), n - 1 if n else None)) for n in range(5)]
    tokens = range(20)

    assert index.apply("w", batches[0], seq=0).state == "exact"
    fed = index.apply("w", batches[3], seq=3)
    assert (fed.state, fed.events, index.state("w")) == ("recovering", [], "recovering")
    assert fed.missing_from is not None
    assert index.query(tokens) == {"w": 1}
    for number in range(fed.missing_from, 3):
        fed = index.apply("w", batches[number], seq=number)

    assert (fed.state, fed.missing_from) == ("exact", None) and index.query(tokens) == {"w": 4}
    assert index.apply("w", batches[2], seq=2).duplicate
    assert index.apply("w", batches[4], seq=4).state == "exact" and index.query(tokens) == {"w": 5}


def test_what_does_not_come_can_be_given_up() -> None:
    index = PrefixIndex(4)
    index.apply("w", batch(stored([0], range(4))), seq=0)
    index.apply("w", batch(stored([7], range(4))), seq=2)

    fed = index.give_up("w")

    assert isinstance(fed, Fed) and fed.state == "approximate" and index.query(range(4)) == {"w": 1}


def test_without_numbers_nothing_is_exact() -> None:
    index = PrefixIndex(4)

    assert index.apply("w", batch(stored([0], range(4)))).state == "approximate"
    assert index.query(range(4)) == {"w": 1}


def test_an_engine_that_was_started_anew_holds_nothing_of_before() -> None:
    index = PrefixIndex(4)
    index.apply("w", batch(stored([0], range(4))), seq=0)
    index.apply("w", batch(stored([1], range(4, 8))), seq=1)

    fed = index.apply("w", batch(stored([5], range(50, 54)), timestamp=2000.0), seq=0)

    assert fed.state == "exact" and index.query(range(4)) == {} and index.query(range(50, 54)) == {"w": 1}


def test_a_prompt_has_a_name_of_its_own_under_each_salt_adapter_and_image() -> None:
    index = PrefixIndex(4)
    index.apply("w", batch({**stored([0], range(4)), "extra_keys": [["tenant-7"]]}), seq=0)
    index.apply("w", batch({**stored([1], range(4)), "lora_name": "poet", "extra_keys": [["poet"]]}), seq=1)
    index.apply("w", batch({**stored([2], range(4)), "extra_keys": [[["cafe", 1]]]}), seq=2)

    assert index.query(range(4)) == {}
    assert index.query(range(4), salt="tenant-7") == {"w": 1}
    assert index.query(range(4), lora="poet") == {"w": 1}
    assert index.query(range(4), mm=[("cafe", 1, 2)]) == {"w": 1}
    assert index.query(range(4), salt="tenant-8") == index.query(range(4), mm=[("cafe", 2, 2)]) == {}


def test_workers_are_listed_cleared_and_forgotten() -> None:
    index = PrefixIndex(4)
    for name in ("b", "a"):
        index.apply(name, batch(stored([0], range(4))), seq=0)
    assert index.workers() == ["b", "a"] and index.block_size == 4
    overlap = index.query(range(4))

    index.clear("a")
    assert index.query(range(4)) == {"b": 1}
    index.remove_worker("b")

    assert index.workers() == ["a"] and index.query(range(4)) == {}
    assert overlap == {"a": 1}, "an answer names those who are still known"
    with pytest.raises(InvalidError, match='worker "b" is not known; known: "a"'):
        index.state("b")
    assert repr(index) == "<PrefixIndex: blocks of 4 tokens, 1 workers>"


def test_stats_count_what_is_held_and_what_was_not_taken() -> None:
    index = PrefixIndex(4, max_blocks=2)
    index.apply("w", batch(stored([0, 1, 2], range(12)), removed([77]), stored([9], range(8), block_size=8)), seq=0)
    stats = index.stats()

    assert (stats.workers, stats.blocks, stats.residents, stats.dropped) == (1, 2, 2, 2)
    assert stats.unknown_removals == 1
    assert stats == index.stats() and repr(stats).startswith("<IndexStats: 2 blocks, 2 residents of 1 workers")


def test_bounds_hold() -> None:
    index = PrefixIndex(4, max_workers=1, max_payload=100)
    index.apply("w", batch(), seq=0)

    with pytest.raises(ExhaustedError, match="there are 1"):
        index.apply("v", batch())
    with pytest.raises(InvalidError, match="expected at most 100"):
        index.apply("w", bytes(101), seq=1)
    assert index.workers() == ["w"] and index.state("w") == "exact"


def test_bytes_that_are_no_batch_are_corrupt_and_cost_the_workers_exactness() -> None:
    index = PrefixIndex(4)
    index.apply("w", batch(), seq=0)

    with pytest.raises(CorruptError, match="no batch of events"):
        index.apply("w", b"\xc1", seq=1)
    assert index.state("w") == "approximate"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block_size": 0}, "block_size is 0"),
        ({"block_size": -4}, "block_size is -4, expected 0 to"),
        ({"max_workers": -1}, "max_workers -1: expected 0 to"),
        ({"max_blocks": -1}, "max_blocks -1: expected 0 to"),
        ({"max_orphans": -1}, "max_orphans -1: expected 0 to"),
        ({"max_remembered": -1}, "max_remembered -1: expected 0 to"),
        ({"max_waiting": -1}, "max_waiting -1: expected 0 to"),
        ({"max_payload": -1}, "max_payload -1: expected 0 to"),
        ({"recover_within": -1.0}, "recover_within is -1, expected seconds"),
        ({"recover_within": float("nan")}, "recover_within is NaN, expected seconds"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        PrefixIndex(**arguments)


def test_wrong_arguments_of_calls_are_refused_by_value() -> None:
    index = PrefixIndex()
    with pytest.raises(InvalidError, match=r"seq -1: expected 0 to 2\*\*64 - 1"):
        index.apply("w", batch(), seq=-1)
    with pytest.raises(InvalidError, match="18446744073709551615 ends a replay"):
        index.apply("w", batch(), seq=2**64 - 1)
    with pytest.raises(InvalidError, match="name of 0 bytes"):
        index.apply("", batch())
    with pytest.raises(TypeError, match="unexpected keyword argument 'tenant'"):
        index.query([1], tenant="x")  # type: ignore[call-arg]
    with pytest.raises(InvalidError, match='worker "x" is not known'):
        index.give_up("x")


def test_an_index_is_neither_copied_nor_pickled() -> None:
    index = PrefixIndex()
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot pickle"):
            copied(index)
        with pytest.raises(TypeError, match="cannot pickle"):
            copied(index.query([]))
