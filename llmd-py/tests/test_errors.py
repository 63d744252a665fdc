"""Every kind of error is a class of its own, and one of `LlmdError`."""

from __future__ import annotations

import inspect

import llmd_py as llmd
import pytest
from llmd_py import _native, errors

from routing import BY_LABEL, LEAST_BUSY, REMEMBERED_PREFIX, endpoints

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


def test_a_request_that_goes_nowhere_says_how_to_answer_it() -> None:
    nobody, left_out = llmd.Scheduler.from_yaml(LEAST_BUSY), llmd.Scheduler.from_yaml(BY_LABEL)
    with pytest.raises(errors.UnavailableError) as caught:
        nobody.decide(llmd.Request("m"), [])
    assert (caught.value.status, caught.value.reason) == (503, "rejected-no-endpoints")
    assert str(caught.value) == "no endpoint serves model m", "it says so once"
    with pytest.raises(errors.ExhaustedError) as caught_too:
        left_out.decide(llmd.Request("m"), endpoints(2))
    assert (caught_too.value.status, caught_too.value.reason) == (429, "rejected-saturated")


def test_a_client_that_wants_what_is_cached_is_told_when_nothing_is() -> None:
    scheduler, pool = llmd.Scheduler.from_yaml(REMEMBERED_PREFIX), endpoints(2)
    request = llmd.Request("m", tokens=range(256), headers={"Prefer": "if-available"})
    with pytest.raises(errors.StaleError) as caught:
        scheduler.decide(request, pool)
    assert (caught.value.status, caught.value.reason) == (412, None)
    scheduler.decide(llmd.Request("m", tokens=range(256)), pool).end()
    scheduler.decide(request, pool).end()


def test_other_errors_say_nothing_of_an_answer() -> None:
    with pytest.raises(errors.InvalidError) as caught:
        llmd.PrefixIndex(0)

    assert (caught.value.status, caught.value.reason) == (None, None)
