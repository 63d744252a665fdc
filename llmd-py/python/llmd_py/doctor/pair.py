"""Whether two engines are alike where they have to be."""

from __future__ import annotations

from collections.abc import Iterator

from llmd_py.doctor.engine import Engine
from llmd_py.doctor.finding import Finding, ok, warning, wrong

__all__ = ["alike", "content"]

#: By what an operator makes them the same.
FLAGS = {
    "model": "--model, by the same name or path",
    "dtype": "--dtype",
    "cache_dtype": "--kv-cache-dtype",
    "stored_dtype": "--kv-cache-dtype",
    "block_size": "--block-size",
    "packing": "the same kind of processor, since each packs its cache in its own way",
}


def alike(one: Engine, other: Engine) -> Iterator[Finding]:
    """Do both divide their caches and name their blocks in the same way?"""
    if one.block_tokens is None or other.block_tokens is None:
        return
    if one.block_tokens != other.block_tokens:
        found = f"{one.name} has blocks of {one.block_tokens} tokens, {other.name} of {other.block_tokens}"
        yield wrong("block size", found, "start both with the same --block-size")
    else:
        yield ok("block size", f"{one.block_tokens} tokens on both")
    algorithms = [engine.cache.get("prefix_caching_hash_algo", "") for engine in (one, other)]
    if algorithms[0] != algorithms[1]:
        yield warning("hash algorithm", " and ".join(algorithms), "start both with the same --prefix-caching-hash-algo")
    elif one.seed and other.seed and one.seed != other.seed:
        yield warning("hash algorithm", f"seeds differ: {one.seed} and {other.seed}", "set PYTHONHASHSEED to the same on both, or on neither")
    else:
        yield ok("hash algorithm", f"{algorithms[0]} on both")


def content(one: Engine, other: Engine) -> Iterator[Finding]:
    """Do the bytes of both caches mean the same?"""
    if one.handed is None or other.handed is None:
        return
    ours, theirs = one.handed.content, other.handed.content
    unlike = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    for name in unlike:
        found = f"{one.name} has {ours.get(name, 'nothing')}, {other.name} {theirs.get(name, 'nothing')}"
        yield wrong(name.replace("_", " "), found, f"start both with the same {FLAGS.get(name, name)}")
    if not unlike:
        yield ok("content", "model, types and packing of both caches are the same" if ours else "neither says what its cache holds")
