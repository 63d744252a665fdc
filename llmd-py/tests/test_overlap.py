"""An overlap is a mapping like any other, which knows more when it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from batches import batch, removed, stored
from llmd_py import Overlap, PrefixIndex
from llmd_py.errors import InvalidError

TOKENS = list(range(13))


@pytest.fixture
def index() -> PrefixIndex:
    index = PrefixIndex(4)
    index.apply("two", batch(stored([0, 1], TOKENS[:8])), seq=0)
    index.apply("three", batch(stored([0, 1, 2], TOKENS[:12]), stored([0], TOKENS[:4], medium="CPU")), seq=0)
    index.apply("none", batch(stored([7], [99] * 4)), seq=0)
    return index


@pytest.fixture
def overlap(index: PrefixIndex) -> Overlap:
    return index.query(TOKENS)


def test_it_is_a_mapping(overlap: Overlap) -> None:
    mapping: Mapping[str, int] = overlap
    assert isinstance(mapping, Mapping)
    assert dict(mapping) == {**mapping} == {"two": 2, "three": 3}
    assert mapping["two"] == 2 and mapping.get("three") == 3
    assert mapping.get("none") is None and mapping.get("none", 0) == 0
    number: Any = 3
    assert "two" in mapping and "none" not in mapping and number not in mapping
    assert list(mapping) == ["two", "three"] and len(mapping) == 2
    assert list(mapping.items()) == [("two", 2), ("three", 3)] and list(mapping.values()) == [2, 3]
    assert mapping.keys() & {"two", "x"} == {"two"} and max(mapping, key=lambda name: mapping[name]) == "three"
    match mapping:
        case {"two": blocks}:
            assert blocks == 2
        case _:
            pytest.fail("it is matched as a mapping")


def test_who_is_not_in_it_is_a_key_error(overlap: Overlap) -> None:
    with pytest.raises(KeyError, match="none"):
        overlap["none"]
    with pytest.raises(TypeError):
        overlap[3]  # type: ignore[index]


def test_it_equals_what_says_the_same(index: PrefixIndex, overlap: Overlap) -> None:
    assert overlap == {"two": 2, "three": 3} == overlap
    assert overlap == index.query(TOKENS + [1, 2, 3]) and overlap != index.query(TOKENS[:4]) and overlap != 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(overlap)


def test_it_is_of_one_moment(index: PrefixIndex, overlap: Overlap) -> None:
    index.apply("two", batch(removed([0, 1])), seq=1)

    assert overlap["two"] == 2 and "two" not in index.query(TOKENS)


def test_the_best_holds_most_and_is_known_longest(index: PrefixIndex, overlap: Overlap) -> None:
    assert overlap.best() == "three"
    assert index.query(TOKENS[:8]).best() == "two"
    assert index.query([5]).best() is None


def test_blocks_are_told_by_medium(overlap: Overlap) -> None:
    assert overlap.by_medium("three") == {"GPU": 3, "CPU": 1, "STORAGE": 0}
    assert overlap.by_medium("none") == {"GPU": 0, "CPU": 0, "STORAGE": 0}
    with pytest.raises(InvalidError, match='worker "x" is not known; known: "two", "three", "none"'):
        overlap.by_medium("x")


def test_the_last_token_is_always_computed(index: PrefixIndex, overlap: Overlap) -> None:
    assert (overlap.hit_tokens("three"), overlap.hit_tokens("none")) == (12, 0)
    assert index.query(TOKENS[:12]).hit_tokens("three") == 8
    assert (overlap.blocks, overlap.block_size) == (3, 4)


def test_it_explains_itself_under_the_workers_names(index: PrefixIndex, overlap: Overlap) -> None:
    index.apply("two", batch(removed([0], medium="GPU"), timestamp=1234.5), seq=1)
    explanation = overlap.explain()

    assert str(explanation).splitlines() == [
        "3 full blocks of 4 tokens",
        "two (exact): holds 0 leading; block 0 was evicted at 1234.500 s of the engine's clock; "
        "1 behind it are held but cannot be reached",
        "three (exact): holds 3 leading (3 on GPU, 1 on CPU, 0 on STORAGE)",
        "none (exact): holds 0 leading; block 0 was never stored, or long ago",
    ]
    assert str(index.explain(TOKENS)) == str(explanation)
    two, three, none = explanation.workers
    assert (two.name, two.state, two.leading, two.held_behind, two.unplaced) == ("two", "exact", 0, 1, 0)
    assert two.next == "evicted at 1234.500 s of the engine's clock" and three.next is None
    assert three.by_medium == {"GPU": 3, "CPU": 1, "STORAGE": 0} and none.leading == 0
    assert repr(two) == "<WorkerExplanation: two holds 0 leading, exact>"


def test_it_is_shown_as_what_it_is(overlap: Overlap) -> None:
    assert repr(overlap) == "<Overlap of 3 blocks: {'two': 2, 'three': 3}>"
