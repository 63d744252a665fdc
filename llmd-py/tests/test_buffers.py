"""Tokens and bytes come in every form that Python has for them, and are let go of again."""

from __future__ import annotations

import array
import ctypes
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from batches import batch, stored
from llmd_py import PrefixIndex, decode_batch
from llmd_py.errors import InvalidError

TOKENS = list(range(7, 7 + 64))


@pytest.fixture(scope="module")
def index() -> PrefixIndex:
    """An index in which one worker holds `TOKENS`."""
    index = PrefixIndex(4)
    index.apply("w", batch(stored(range(16), TOKENS)), seq=0)
    return index


def foreign(code: str) -> np.dtype[Any]:
    """The type with its bytes the other way round."""
    return np.dtype(code).newbyteorder()


FORMS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "range": lambda tokens: range(tokens[0], tokens[-1] + 1),
    "list of NumPy integers": lambda tokens: [np.int64(token) for token in tokens],
    "array I": lambda tokens: array.array("I", tokens),
    "array i": lambda tokens: array.array("i", tokens),
    "array Q": lambda tokens: array.array("Q", tokens),
    "array q": lambda tokens: array.array("q", tokens),
    "array H": lambda tokens: array.array("H", tokens),
    "NumPy uint32": lambda tokens: np.array(tokens, np.uint32),
    "NumPy int32": lambda tokens: np.array(tokens, np.int32),
    "NumPy int64": lambda tokens: np.array(tokens, np.int64),
    "NumPy uint64": lambda tokens: np.array(tokens, np.uint64),
    "NumPy uint16": lambda tokens: np.array(tokens, np.uint16),
    "every second": lambda tokens: np.repeat(np.array(tokens, np.uint32), 2)[::2],
    "backwards": lambda tokens: np.array(tokens[::-1], np.int32)[::-1],
    "not on an address of its own": lambda tokens: np.frombuffer(
        b"\0" + np.array(tokens, np.uint32).tobytes(), np.uint8
    )[1:].view(np.uint32),
    "read-only": lambda tokens: np.frombuffer(np.array(tokens, np.uint32).tobytes(), np.uint32),
    "memoryview": lambda tokens: memoryview(array.array("I", tokens)),
    "ctypes": lambda tokens: (ctypes.c_uint32 * len(tokens))(*tokens),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_tokens_are_taken_in_this_form(index: PrefixIndex, form: Callable[[list[int]], Any]) -> None:
    assert index.query(form(TOKENS)) == {"w": 16}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_form_is_let_go_of(index: PrefixIndex, form: Callable[[list[int]], Any]) -> None:
    tokens = form(TOKENS)
    before = sys.getrefcount(tokens)
    for _ in range(50):
        index.query(tokens)

    assert sys.getrefcount(tokens) == before


def test_a_buffer_can_be_resized_after_every_way_a_call_can_end(index: PrefixIndex) -> None:
    tokens = array.array("i", [1, -1])
    with pytest.raises(InvalidError):
        index.query(tokens)
    tokens.append(2)  # BufferError while somebody holds the buffer

    payload = bytearray(b"no batch")
    with pytest.raises(Exception, match="no batch"):
        decode_batch(payload)
    payload += b"!"

    long = array.array("I", TOKENS * 1000)
    assert index.query(long) == {"w": 16}
    long.append(2)


REFUSED: dict[str, tuple[Any, str]] = {
    "a negative int": ([1, 2, -3], r"token 2 is -3, expected 0 to 4294967295"),
    "an int that is too large": ([1 << 32], r"token 0 is 4294967296, expected 0 to 4294967295"),
    "a negative int32": (np.array([5, -1], np.int32), r"token 1 is -1, expected 0 to 4294967295"),
    "a negative int64": (np.array([5, 6, -7], np.int64), r"token 2 is -7, expected 0 to 4294967295"),
    "a large uint64": (np.array([1 << 40], np.uint64), r"token 0 is 1099511627776, expected"),
    "a negative one out of line": (np.array([5, 9, -7, 9], np.int32)[::2], r"token 1 is -7, expected"),
    "a float": ([1, 2.0], r"token 1 is float, expected int"),
    "a text": ([1, "2"], r"token 1 is str, expected int"),
    "an array of floats": (np.zeros(3), r"tokens have the format 'd', expected native integers of 16, 32 or 64 bits"),
    "an array of bytes": (np.zeros(3, np.uint8), r"tokens have the format 'B'"),
    "an array of truths": (np.zeros(3, np.bool_), r"tokens have the format '\?'"),
    "another byte order": (np.zeros(3, foreign("u4")), r"tokens have the format '[<>]I'"),
    "a matrix": (np.zeros((2, 2), np.int32), r"tokens have 2 dimensions, expected one"),
    "far too many": (range(10**12), r"there are 1000000000000 tokens, expected at most 16777216"),
}


@pytest.mark.parametrize(("tokens", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_token_is_named_with_its_place(index: PrefixIndex, tokens: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        index.query(tokens)


@pytest.mark.parametrize("tokens", ["text", b"bytes", bytearray(4), {1: 2}, {1, 2}, None, 3, np.array(3)], ids=repr)
def test_what_holds_no_tokens_is_a_type_error(index: PrefixIndex, tokens: Any) -> None:
    with pytest.raises((TypeError, InvalidError), match="tokens"):
        index.query(tokens)


def test_an_error_of_the_sequence_is_the_callers_own(index: PrefixIndex) -> None:
    class Odd:
        def __index__(self) -> int:
            raise LookupError("no number today")

    with pytest.raises(LookupError, match="no number today"):
        tokens: list[Any] = [1, Odd()]
        index.query(tokens)


def test_a_list_that_shrinks_while_it_is_read_is_read_as_far_as_it_goes(index: PrefixIndex) -> None:
    tokens: list[Any] = list(TOKENS)

    class Shrinks:
        def __index__(self) -> int:
            del tokens[32:]
            return TOKENS[3]

    tokens[3] = Shrinks()
    assert index.query(tokens) == {"w": 8}


PAYLOADS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "memoryview of a bytearray": lambda payload: memoryview(bytearray(b"x" + payload))[1:],
    "NumPy": lambda payload: np.frombuffer(payload, np.uint8),
    "array": lambda payload: array.array("B", payload),
    "signed": lambda payload: memoryview(payload).cast("b"),
    "characters": lambda payload: memoryview(payload).cast("c"),
}


@pytest.mark.parametrize("blocks", [1, 2_000], ids=["short", "long"])
@pytest.mark.parametrize("form", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_payload_is_taken_in_this_form_and_let_go_of(form: Callable[[bytes], Any], blocks: int) -> None:
    payload = form(batch(stored(range(blocks), range(4 * blocks))))
    before = sys.getrefcount(payload)
    for _ in range(20):
        assert len(decode_batch(payload).events[0].block_hashes) == blocks  # type: ignore[union-attr]

    assert sys.getrefcount(payload) == before


def test_a_payload_of_something_else_is_refused_by_its_format() -> None:
    with pytest.raises(InvalidError, match=r"the payload has the format 'I', expected bytes \('B'\)"):
        decode_batch(array.array("I", [1]))
    with pytest.raises(InvalidError, match="the payload does not lie in one piece"):
        decode_batch(memoryview(b"abcdef")[::2])
    with pytest.raises(TypeError, match="the payload is str, expected bytes or a buffer of them"):
        decode_batch("text")  # type: ignore[arg-type]
