"""Pages of bytes in one memory, under keys: bounded, the one that was used longest ago makes room, and sums are checked."""

from __future__ import annotations

import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from llmd_py import Region
from llmd_py.errors import InvalidError

__all__ = ["Pages"]

Buffer = memoryview


@dataclass(frozen=True)
class Kept:
    """Where a page is, and what it adds up to."""

    slot: int
    sum: int


class Pages:
    """Pages of one size. The first that is kept says which; any number of threads may ask.

    The memory is one memfd, taken when that size is known. A page that is copied in or out holds the lock: nobody sees half of one.
    """

    def __init__(self, limit: int) -> None:
        """Keep so many bytes at most.

        Raises `InvalidError` when that is nothing.
        """
        if limit < 1:
            raise InvalidError(f"{limit} bytes of pages, expected 1 or more")
        self.limit = limit
        self.counts: Counter[str] = Counter()
        """How many pages were `set`, `got`, `missed`, `dropped` for others, `refused`, and `corrupt`."""
        self.page_bytes = 0
        self._memory: Buffer = memoryview(b"")
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._free: list[int] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Count the pages."""
        with self._lock:
            return len(self._kept)

    def __contains__(self, key: str) -> bool:
        """Say whether there is a page under a key."""
        with self._lock:
            return key in self._kept

    def leading(self, keys: Sequence[str]) -> int:
        """Count the keys from the first on under which there are pages."""
        with self._lock:
            return next((place for place, key in enumerate(keys) if key not in self._kept), len(keys))

    def set(self, key: str, runs: Sequence[Buffer]) -> bool:
        """Keep a page, which lies in these runs of bytes. A key that is there keeps what it has.

        It is refused, and counted, when it has another size than the first, or than all there is room for.
        """
        size = sum(run.nbytes for run in runs)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return True
            if not self._fits(size):
                self.counts["refused"] += 1
                return False
            slot = self._slot()
            added, at = 0, slot * size
            for run in runs:
                self._memory[at : at + run.nbytes] = run
                added, at = zlib.crc32(run, added), at + run.nbytes
            self._kept[key] = Kept(slot, added)
            self.counts["set"] += 1
            return True

    def get(self, key: str, runs: Sequence[Buffer]) -> bool:
        """Copy a page into these runs of bytes. What they hold when it is not there, or not what was kept, is not said."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or sum(run.nbytes for run in runs) != self.page_bytes:
                self.counts["missed" if kept is None else "refused"] += 1
                return False
            added, at = 0, kept.slot * self.page_bytes
            for run in runs:
                run[:] = self._memory[at : at + run.nbytes]
                added, at = zlib.crc32(run, added), at + run.nbytes
            if added != kept.sum:
                self.counts["corrupt"] += 1
                self._free.append(self._kept.pop(key).slot)
                return False
            self._kept.move_to_end(key)
            self.counts["got"] += 1
            return True

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._free.extend(kept.slot for kept in self._kept.values())
            self._kept.clear()

    def _fits(self, size: int) -> bool:
        """Say whether pages of this size are kept; the first decides, and has the memory taken."""
        if self.page_bytes == 0 and 0 < size <= self.limit:
            slots = self.limit // size
            # Pages of memory are taken as they are first touched.
            self._memory = memoryview(Region.memfd(slots * size, lazy=True)).cast("B")
            self._free = list(range(slots))[::-1]
            self.page_bytes = size
        return size == self.page_bytes and size > 0

    def _slot(self) -> int:
        if self._free:
            return self._free.pop()
        _, dropped = self._kept.popitem(last=False)
        self.counts["dropped"] += 1
        return dropped.slot
