"""SGLang's interface of a store, each call mapped to what it is for. Pages of one process stay in that process."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sglang.srt.mem_cache.hicache_storage import HiCacheStorage

from llmd_py.errors import InvalidError
from llmd_py.sglang.pages import Pages

if TYPE_CHECKING:
    import torch
    from sglang.srt.mem_cache.hicache_storage import HiCacheStorageConfig, HiCacheStorageExtraInfo

__all__ = ["LlmdStore"]

#: How much is kept unless `bytes` of the extra config says otherwise.
BYTES = 4 << 30


class LlmdStore(HiCacheStorage):
    """Pages of a model's cache in host memory: bounded, by their keys, and checked when they come back.

    Each rank is a process with a store of its own, so keys need not name the rank. Models whose caches have several pools are asked
    for by `batch_…_v2`, which is not there: SGLang's own `NotImplementedError` says so.
    """

    def __init__(self, storage_config: HiCacheStorageConfig, kwargs: dict[str, Any] | None = None) -> None:
        """Take the settings: `bytes` of `--hicache-storage-backend-extra-config`.

        Raises `InvalidError` when it is no number of bytes.
        """
        limit = (storage_config.extra_config or {}).get("bytes", BYTES)
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise InvalidError(f"bytes {limit!r} in the extra config, expected a whole number")
        self.pages = Pages(limit)

    def get(self, key: str, target_location: Any | None = None, target_sizes: Any | None = None) -> torch.Tensor | None:
        """Fill a tensor with a page, and give it; `None` when there is none."""
        if target_location is None or not target_location.is_contiguous():
            return None
        tensor: torch.Tensor = target_location
        return tensor if self.pages.get(key, [_bytes_of(tensor)]) else None

    def batch_get(self, keys: list[str], target_locations: Any | None = None, target_sizes: Any | None = None) -> list[torch.Tensor | None] | int:
        """Fill several."""
        targets = target_locations if target_locations is not None else [None] * len(keys)
        return [self.get(key, target) for key, target in zip(keys, targets, strict=True)]

    def set(self, key: str, value: Any | None = None, target_location: Any | None = None, target_sizes: Any | None = None) -> bool:
        """Keep what a tensor holds."""
        return value is not None and self.pages.set(key, [_bytes_of(value.contiguous())])

    def batch_set(self, keys: list[str], values: Any | None = None, target_locations: Any | None = None, target_sizes: Any | None = None) -> bool:
        """Keep several: whether all are."""
        return values is not None and all([self.set(key, value) for key, value in zip(keys, values, strict=True)])

    def exists(self, key: str) -> bool:
        """Say whether there is a page."""
        return key in self.pages

    def batch_exists(self, keys: list[str], extra_info: HiCacheStorageExtraInfo | None = None) -> int:
        """Count the pages that are there, from the first key on."""
        return self.pages.leading(keys)

    def batch_get_v1(self, keys: list[str], host_indices: torch.Tensor, extra_info: HiCacheStorageExtraInfo | None = None) -> list[bool]:
        """Copy pages to where the host's pool has them, without a tensor in between. Behind one that is missing nothing is copied."""
        got: list[bool] = []
        for key, runs in zip(keys, self._runs(len(keys), host_indices), strict=True):
            got.append(all(got) and self.pages.get(key, runs))
        return got

    def batch_set_v1(self, keys: list[str], host_indices: torch.Tensor, extra_info: HiCacheStorageExtraInfo | None = None) -> list[bool]:
        """Keep pages from where the host's pool has them."""
        return [self.pages.set(key, runs) for key, runs in zip(keys, self._runs(len(keys), host_indices), strict=True)]

    def clear(self) -> None:
        """Forget all."""
        self.pages.clear()

    def _runs(self, pages: int, host_indices: torch.Tensor) -> Iterable[Sequence[memoryview]]:
        """Give the bytes of each page: one run of the pool, or one of keys and one of values, or more."""
        addresses, sizes = self.mem_pool_host.get_page_buffer_meta(host_indices)
        if pages == 0 or len(addresses) % pages != 0:
            return [[]] * pages
        each = len(addresses) // pages
        runs = [_bytes_at(address, size) for address, size in zip(addresses, sizes, strict=True)]
        return [runs[first : first + each] for first in range(0, len(runs), each)]


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """Give the bytes of a tensor that lies in one piece in this machine's memory.

    Raises `InvalidError` for one on a device.
    """
    if tensor.device.type != "cpu":
        raise InvalidError(f"a tensor on {tensor.device}, expected one in this machine's memory")
    return _bytes_at(tensor.data_ptr(), tensor.numel() * tensor.element_size())


def _bytes_at(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
