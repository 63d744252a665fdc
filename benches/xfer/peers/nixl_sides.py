"""NIXL, with UCX. Blocks are prepared as one list of descriptors a side, transfers by index, handles before the clock runs.

Forms: `best`, `otherns` and `tcp` have no progress thread and memfd pools, `thp` the same with private memory on huge pages,
`default` is what its Python sets up. What is around the process makes `otherns` and `tcp` differ from `best`.
"""

import base64
import os

import numpy as np
from nixl_cu12 import _bindings as nixl
from nixl_cu12._api import nixl_agent, nixl_agent_config
from sides import Holder, Pool, Puller, Work, run

HOLDER, PULLER = "holder", "puller"

SPINS = {"best": 0.002, "thp": 0.002, "otherns": 0.0, "tcp": 0.0}
"""Seconds between two looks of the holder, where no thread of NIXL's looks. Over TCP it sends what is read: it never rests."""


def _agent(name: str, form: str) -> nixl_agent:
    return nixl_agent(name, nixl_agent_config(enable_prog_thread=form not in SPINS, backends=["UCX"]))


def _descriptors(address: int, length: int, size: int) -> np.ndarray:
    starts = np.arange(length // size, dtype=np.uint64) * np.uint64(size) + np.uint64(address)
    return np.stack([starts, np.full_like(starts, size), np.zeros_like(starts)], axis=1)


class NixlHolder(Holder):
    def __init__(self, form: str, length: int) -> None:
        self._spins = SPINS.get(form)
        self._pool = Pool(length, is_huge=form == "thp", is_filled=True)
        self._agent = _agent(HOLDER, form)
        self._registered = self._agent.register_memory([(self._pool.address, length, 0, "")], "DRAM")

    def offer(self) -> object:
        metadata = base64.b64encode(self._agent.get_agent_metadata()).decode()
        return {"metadata": metadata, "address": self._pool.address}

    def meet(self, offer: object) -> None:
        self._agent.add_remote_agent(base64.b64decode(offer["metadata"]))

    def idle(self) -> float | None:
        if self._spins is not None:
            self._agent.get_new_notifs()
        return self._spins

    def echo(self) -> None:
        for name in self._agent.get_new_notifs():
            self._agent.send_notif(name, b"answer")


class NixlPuller(Puller):
    def __init__(self, form: str, length: int) -> None:
        self.pool = Pool(length, is_huge=form == "thp", is_filled=False)
        self._agent = _agent(PULLER, form)
        self._registered = self._agent.register_memory([(self.pool.address, length, 0, "")], "DRAM")
        self._raw = self._agent.agent
        self._handles, self._lists, self._theirs = [], [], 0

    def offer(self) -> object:
        return {"metadata": base64.b64encode(self._agent.get_agent_metadata()).decode()}

    def meet(self, offer: object) -> None:
        self._agent.add_remote_agent(base64.b64decode(offer["metadata"]))
        self._theirs = offer["address"]

    def prepare(self, work: Work) -> None:
        for handle in [*self._handles, *self._lists]:
            handle.release()
        length = self.pool.length
        mine = self._agent.prep_xfer_dlist("", _descriptors(self.pool.address, length, work.size), "DRAM")
        theirs = self._agent.prep_xfer_dlist(HOLDER, _descriptors(self._theirs, length, work.size), "DRAM")
        self._lists = [mine, theirs]
        self._handles = [
            self._agent.make_prepped_xfer("READ", mine, to.astype(np.int32), theirs, of.astype(np.int32))
            for of, to in work.lists
        ]

    def post(self, pull: int) -> object:
        handle = self._handles[pull % len(self._handles)]._handle
        return handle, self._raw.postXferReq(handle, b"")

    def finish(self, posted: object) -> None:
        handle, state = posted
        status, under_way = self._raw.getXferStatus, nixl.NIXL_IN_PROG
        while state == under_way:
            state = status(handle)
        if state != nixl.NIXL_SUCCESS:
            raise RuntimeError(f"a transfer ended with {state}")

    def notify(self) -> None:
        self._agent.send_notif(HOLDER, b"question")
        while not self._agent.get_new_notifs():
            pass


os.environ.setdefault("NIXL_LOG_LEVEL", "FATAL")
run(NixlHolder, NixlPuller)
