"""Mooncake's transfer engine over TCP, whose batched read returns when all has come."""

import os

from mooncake.engine import TransferEngine
from sides import Holder, Pool, Puller, Work, run

MOST = 2048
"""Blocks that it takes at once over TCP as it comes: more are refused without a reason."""


def _engine(pool: Pool) -> TransferEngine:
    engine = TransferEngine()
    for what, failed in [
        ("start", engine.initialize("127.0.0.1", "P2PHANDSHAKE", "tcp", "")),
        ("register its pool", engine.register_memory(pool.address, pool.length)),
    ]:
        if failed != 0:
            raise RuntimeError(f"the engine does not {what}: {failed}")
    return engine


class MooncakeHolder(Holder):
    def __init__(self, form: str, length: int) -> None:
        self._pool = Pool(length, is_huge=False, is_filled=True)
        self._engine = _engine(self._pool)

    def offer(self) -> object:
        return {"session": f"127.0.0.1:{self._engine.get_rpc_port()}", "address": self._pool.address}


class MooncakePuller(Puller):
    def __init__(self, form: str, length: int) -> None:
        self.pool = Pool(length, is_huge=False, is_filled=False)
        self._engine = _engine(self.pool)
        self._session, self._theirs, self._batches = "", 0, []

    def meet(self, offer: object) -> None:
        self._session, self._theirs = offer["session"], offer["address"]

    def prepare(self, work: Work) -> None:
        def addresses(base: int, blocks: object) -> list[int]:
            return [base + int(block) * work.size for block in blocks]

        def batch(theirs: object, mine: object) -> list[tuple]:
            of, to = addresses(self._theirs, theirs), addresses(self.pool.address, mine)
            cuts = range(0, work.blocks, MOST)
            return [(to[cut : cut + MOST], of[cut : cut + MOST], [work.size] * len(to[cut : cut + MOST])) for cut in cuts]

        self._batches = [batch(theirs, mine) for theirs, mine in work.lists]

    def post(self, pull: int) -> object:
        for mine, theirs, sizes in self._batches[pull % len(self._batches)]:
            failed = self._engine.batch_transfer_sync_read(self._session, mine, theirs, sizes)
            if failed != 0:
                raise RuntimeError(f"a batch of {len(sizes)} blocks failed: {failed}")
        return None

    def finish(self, posted: object) -> None:
        pass


# It warns of its own beginnings before it can be told not to. What goes wrong later, it says in return values.
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
run(MooncakeHolder, MooncakePuller)
