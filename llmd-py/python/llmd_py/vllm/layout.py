"""Where vLLM's KV cache lies, as llmd takes it: one memory, and where the pages of each group's layers are in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from llmd_py import KvLayout, Region
from llmd_py.errors import UnsupportedError

if TYPE_CHECKING:
    import torch
    from vllm.config import VllmConfig

__all__ = ["content", "digest", "layout", "memory"]


def memory(caches: Mapping[str, torch.Tensor]) -> tuple[Region, int]:
    """Give all of the memory that the layers' caches lie in, and its address.

    Raises `UnsupportedError` when they do not lie in one piece.
    """
    import torch

    storages = {cache.untyped_storage().data_ptr(): cache.untyped_storage() for cache in caches.values()}
    if len(storages) != 1:
        raise UnsupportedError(
            f"the KV cache of {len(caches)} layers lies in {len(storages)} pieces, expected one that vLLM 0.29 and later allocate"
        )
    ((address, storage),) = storages.items()
    whole = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage, 0, (storage.nbytes(),))
    return Region.adopt(whole), address


def content(config: VllmConfig, caches: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Give what the bytes of a cache are: two engines hand over to each other only when all of it is the same."""
    model, cache = config.model_config, config.cache_config
    first = next(iter(caches.values()))
    return {
        "model": model.model,
        "dtype": str(model.dtype).removeprefix("torch."),
        "cache_dtype": str(cache.cache_dtype),
        "stored_dtype": str(first.dtype).removeprefix("torch."),
        "block_size": str(cache.block_size),
        "packing": _packing(config, first),
    }


def digest(content: Mapping[str, str]) -> str:
    """Give a short name of what the bytes of a cache are: llmd moves nothing between caches whose names differ."""
    written = "\n".join(f"{name}={value}" for name, value in sorted(content.items()))
    return f"vllm-{hashlib.sha256(written.encode()).hexdigest()[:32]}"


def layout(
    group: int,
    layers: Mapping[str, torch.Tensor],
    *,
    address: int,
    blocks: int,
    tokens: int,
    rank: int,
    first_head: int,
    first_layer: int,
    content: str,
    is_packed: bool,
) -> KvLayout:
    """Give where the pages of one group's layers lie in a memory that begins at this address.

    Where the order inside of a page is vLLM's own, heads and tokens are known, and a decoder with other ranks finds its own. Where the
    backend packs it (`is_packed`), a page moves as it is.

    Raises `UnsupportedError` when the pages do not follow each other as vLLM's layouts have it.
    """
    grouped = [_by_block(name, cache, blocks) for name, cache in layers.items()]
    begins = [cache.data_ptr() - address for cache in grouped]
    sizes = {(tuple(cache.shape), cache.stride(), cache.element_size()) for cache in grouped}
    steps = {after - before for before, after in zip(begins, begins[1:], strict=False)}
    if len(sizes) != 1 or len(steps) > 1 or any(step <= 0 for step in steps):
        raise UnsupportedError(
            f"the pages of group {group} lie {sorted(steps)} bytes apart in shapes {sorted(sizes)}, expected all alike"
        )
    cache, layer = grouped[0], next(iter(steps), 0)
    item = cache.element_size()
    page = _page(cache) * item
    inside = _inside(cache, tokens, is_packed)
    if inside is None:
        # All of a page moves as it is, to a decoder with the same ranks.
        inside = Inside(heads=1, tokens=1, strides=(page, page), content=page)
        first_head = rank
    return KvLayout.strided(
        (layer or page * blocks, cache.stride(0) * item, *inside.strides, inside.content),
        layers=len(grouped),
        blocks=blocks,
        heads=inside.heads,
        tokens=inside.tokens,
        parts=1,
        content=inside.content,
        format=content,
        offset=begins[0],
        first_layer=first_layer,
        first_head=first_head,
    )


class Inside(NamedTuple):
    """What a page consists of: so many heads of so many tokens, how far apart each of both is, and how long one is, in bytes."""

    heads: int
    tokens: int
    strides: tuple[int, int]
    content: int


def _inside(cache: torch.Tensor, tokens: int, is_packed: bool) -> Inside | None:
    """Say what a page consists of, as far as that is known."""
    if cache.dim() != 4 or cache.stride(3) != 1:
        return None
    item = cache.element_size()
    heads, states, size = (cache.shape[axis] for axis in (1, 2, 3))
    head, state, content = cache.stride(1) * item, cache.stride(2) * item, size * item
    if not is_packed and states == tokens:
        return Inside(heads, tokens, (head, state), content)
    # Of a head, all that a block has of it moves as it is.
    of_head = states * content
    return Inside(heads, 1, (head, of_head), of_head) if (head, state) == (of_head, content) else None


def _by_block(name: str, cache: torch.Tensor, blocks: int) -> torch.Tensor:
    """View a layer's cache by the engine's blocks, where the backend's are smaller."""
    if cache.shape[0] == blocks:
        return cache
    if cache.shape[0] % blocks != 0:
        raise UnsupportedError(f"the cache of layer {name} has {cache.shape[0]} pages, expected {blocks} or a multiple")
    return cache.unflatten(0, (blocks, -1))


def _page(cache: torch.Tensor) -> int:
    """Count what one block of a layer reaches over, in elements.

    Raises `UnsupportedError` when it has holes.
    """
    shape, stride = cache.shape[1:], cache.stride()[1:]
    reach: int = 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if reach != shape.numel():
        raise UnsupportedError(f"a page of shape {tuple(shape)} with strides {stride}, expected one without holes")
    return reach


def _packing(config: VllmConfig, cache: torch.Tensor) -> str:
    """Name the order inside of a page, where the backend has one of its own."""
    if cache.device.type != "cpu":
        return "none"
    from vllm.v1.attention.backends import cpu_attn

    isa = getattr(cpu_attn, "_get_attn_isa", None)
    if isa is None:
        return "cpu"
    model, size = config.model_config, config.cache_config.block_size
    try:
        return f"cpu-{isa(model.dtype, size, model.get_head_size(), str(config.cache_config.cache_dtype))}"
    except TypeError:
        return f"cpu-{isa(model.dtype, size)}"
