"""What holds for the package as a whole: what it exports, what its classes are, what they say about themselves."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from pathlib import Path

import llmd_py
import pytest
from llmd_py import _native, errors

SOURCES = Path(__file__).parents[1] / "src"

# `#[pyclass]` or `#[pyclass(…)]`, and the item below it.
PYCLASS = re.compile(r"^#\[pyclass(?:\((?P<options>[^]]*)\))?\]\n(?:.*\n)*?pub\S* (?:struct|enum) (?P<name>\w+)", re.MULTILINE)


def classes() -> Iterator[tuple[str, str]]:
    """Every class that is declared in Rust: its name there, and its options."""
    for path in sorted(SOURCES.rglob("*.rs")):
        text = path.read_text()
        found = [(match["name"], match["options"] or "") for match in PYCLASS.finditer(text)]
        assert len(found) == text.count("\n#[pyclass"), f"{path.name} declares a class in a way that is not understood here"
        yield from found


def exported() -> dict[str, object]:
    return {name: getattr(_native, name) for name in _native.__all__}


def test_every_class_is_frozen_and_says_where_it_is_found() -> None:
    declared = list(classes())

    assert len(declared) >= 20
    for name, options in declared:
        assert re.search(r"\bfrozen\b", options), f"{name} is not frozen"
        assert 'module = "llmd_py"' in options, f"{name} does not say that it is of llmd_py"


def test_every_name_of_the_extension_is_reexported_or_private() -> None:
    names = {name for name in exported() if not re.match(r"_[a-z]", name)}

    assert len(names) >= 20
    assert names <= set(llmd_py.__all__), "the package lacks names of the extension"
    assert set(llmd_py.__all__) <= names | {"Router", "errors"}, "the package exports what the extension lacks"
    assert all(getattr(llmd_py, name) is getattr(_native, name) for name in names)


def test_the_lists_of_names_are_sorted() -> None:
    assert llmd_py.__all__ == sorted(llmd_py.__all__)


@pytest.mark.parametrize("item", [thing for name, thing in exported().items() if not name.startswith("_")], ids=str)
def test_everything_public_says_what_it_is(item: object) -> None:
    assert inspect.getdoc(item), f"{item} has no docstring"
    if isinstance(item, type):
        assert item.__module__ == "llmd_py"
        members = [member for name, member in vars(item).items() if not name.startswith("_")]
        described = (types.MethodDescriptorType, types.GetSetDescriptorType, staticmethod, classmethod)
        undocumented = [str(member) for member in members if isinstance(member, described) and not inspect.getdoc(member)]
        assert not undocumented


def test_every_error_says_what_to_do() -> None:
    found = [item for item in vars(errors).values() if isinstance(item, type)]

    assert len(found) == 9
    assert all(issubclass(item, errors.LlmdError) and item.__doc__ for item in found)
