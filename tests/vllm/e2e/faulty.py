"""llmd's connector, which goes wrong on command. The file that `LLMD_E2E_FAULT` names says how: `hook:NAME` has what a hook is for
raise, once in each process, and `corrupt` changes what is lent. Engines load it in place of the real one."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

from llmd_py.vllm import LlmdConnector

__all__ = ["FaultyConnector"]

FILE = Path(os.environ.get("LLMD_E2E_FAULT", "/nonexistent"))
#: What hooks are for, of the scheduler's side and of a worker's.
OF_SCHEDULER = ("connect", "arrived", "matched", "allocated", "finished")
OF_WORKER = ("register", "came")


def fault() -> str:
    """Say what is to go wrong: a kind, and a number that tells one time from the next."""
    try:
        return FILE.read_text()
    except OSError:
        return ""


class FaultyConnector(LlmdConnector):
    """What vLLM loads: what it is made of raises or lies, and it must not."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self._corrupted = ""
        for side, names in ((self._scheduler, OF_SCHEDULER), (self._worker, OF_WORKER)):
            for name in names if side is not None else ():
                setattr(side, name, Raising(name, getattr(side, name)))

    def register_kv_caches(self, kv_caches: dict[str, Any]) -> None:
        self._caches = kv_caches
        super().register_kv_caches(kv_caches)

    def get_transfer_results(self, finished_req_ids: set[str]) -> Any:
        said = fault()
        if said.startswith("corrupt") and finished_req_ids and self._corrupted != said:
            self._corrupted = said
            for cache in self._caches.values():
                cache[1:].add_(1.0)
        return super().get_transfer_results(finished_req_ids)


class Panic(BaseException):
    """What Python sees of a panic: no exception as others are."""


class Raising:
    """What raises when it is called while the file says so, once: an exception, and the next time a panic."""

    def __init__(self, name: str, called: Any) -> None:
        self.name = name
        self.called = called
        self.done = ""
        self.kinds = itertools.cycle((RuntimeError, Panic))

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        said = fault()
        if said.startswith(f"hook:{self.name} ") and said != self.done:
            self.done = said
            raise next(self.kinds)(f"a fault on command in {self.name}")
        return self.called(*arguments, **named)
