"""Every kind of error is a class of its own, and one of `LlmdError`."""

from __future__ import annotations

import inspect

import llmd_py as llmd
import pytest
from llmd_py import _native, errors

KINDS = ["Corrupt", "Denied", "Exhausted", "Internal", "Invalid", "Stale", "Unavailable", "Unsupported"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_raised_as_the_class_of_its_name(kind: str) -> None:
    with pytest.raises(errors.LlmdError) as caught:
        _native._raise(kind, "it broke")

    assert type(caught.value) is getattr(errors, f"{kind}Error")
    assert str(caught.value) == "it broke"


def test_there_is_no_other_kind_and_no_other_class() -> None:
    with pytest.raises(errors.InvalidError) as caught:
        _native._raise("Odd", "it broke")

    assert str(caught.value) == f'no kind of error is "Odd", expected one of [{", ".join(KINDS)}]'
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes == {"LlmdError", *(f"{kind}Error" for kind in KINDS)}


def test_a_wrong_call_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="block_size is 0"):
        llmd.PrefixIndex(0)
