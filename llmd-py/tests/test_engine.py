"""Two engines, each with a scheduler and its workers, hand over requests: whole, in part, or so that all is computed again."""

from __future__ import annotations

import gc
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from llmd_py import Agent, KvLayout, KvPool, KvScheduler, KvWorker, Region
from llmd_py.errors import DeniedError, InvalidError
from programs import DEADLINE, Run

BLOCKS, BYTES, TOKENS = 32, 8192, 16
KEY = b"engine's own"
FORMAT = "model=tiny;dtype=bfloat16;cache=auto;packing=vec"


class Engine:
    """Workers with a pool each, and who commands them."""

    def __init__(self, folder: Path, name: str, shards: int = 1, format: str = FORMAT, **settings: float) -> None:
        layout = KvLayout.block_major(blocks=BLOCKS, block_bytes=BYTES, format=format)
        self.agents = [Agent(f"{name}-{shard}", ["shm"], folder=folder) for shard in range(shards)]
        self.pools = [agent.register(Region.memfd(layout.end), layout) for agent in self.agents]
        self.workers = [
            KvWorker(agent, [(0, pool)], key=KEY, shard=shard, shards=shards, folder=folder, **settings)  # type: ignore[arg-type]
            for shard, (agent, pool) in enumerate(zip(self.agents, self.pools, strict=True))
        ]
        self.scheduler = KvScheduler([worker.address for worker in self.workers], key=KEY, patience=5.0)

    def fill(self, blocks: list[int]) -> list[list[bytes]]:
        """Random bytes for these blocks of each shard."""
        content = [[os.urandom(BYTES) for _ in blocks] for _ in self.pools]
        for pool, blocks_of in zip(self.pools, content, strict=True):
            for block, block_content in zip(blocks, blocks_of, strict=True):
                pool.write_block(block, block_content)
        return content

    def content(self, blocks: list[int]) -> list[list[bytes]]:
        return [[pool.read_block(block) for block in blocks] for pool in self.pools]

    def close(self) -> None:
        self.scheduler.close()
        for worker in self.workers:
            worker.close()
        for agent in self.agents:
            agent.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(name: str, shards: int = 1, **settings: object) -> Engine:
        made.append(Engine(tmp_path, name, shards, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def heard(worker: KvWorker) -> tuple[list[str], list[str], list[tuple[str, list[tuple[int, int]]]]]:
    """The next that the worker says."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        done = worker.take()
        if any(done):
            return done
        time.sleep(0.001)
    raise AssertionError("the worker said nothing")


@pytest.mark.parametrize("shards", [1, 2])
def test_a_request_is_handed_over_whole_with_a_block_that_is_not_full(
    engine: Callable[..., Engine], shards: int
) -> None:
    prefill, decode = engine("prefill", shards), engine("decode", shards)
    content = prefill.fill([4, 9, 2])
    text = prefill.scheduler.computed("cmpl-7", 40, [(0, 0, [4, 9, 2])])
    assert text is not None
    decode.scheduler.arrive("cmpl-7", 40, text)
    assert decode.scheduler.matched("cmpl-7", 0) == 40
    assert decode.scheduler.matched("cmpl-7", 16) == 24
    decode.scheduler.allocated("cmpl-7", 16, 24, [(0, TOKENS, 16, [5, 6])])

    for worker in decode.workers:
        assert heard(worker) == ([], ["cmpl-7"], [])
    assert decode.content([5, 6]) == [blocks[1:] for blocks in content]
    for worker in prefill.workers:
        assert heard(worker) == (["cmpl-7"], [], [])
        assert worker.stats()["leases_finished"] == 1
    assert not prefill.scheduler.abort("cmpl-7") and not decode.scheduler.abort("cmpl-7")
    assert prefill.scheduler.stats()["answered"] == decode.scheduler.stats()["arrived"] == 1
    assert decode.workers[0].stats()["fetched_bytes"] == 2 * BYTES


def test_blocks_are_in_use_until_every_lease_has_ended(engine: Callable[..., Engine]) -> None:
    prefill = engine("prefill")
    assert prefill.scheduler.computed("cmpl-7", 16, [(0, 0, [1])]) is not None
    assert prefill.workers[0].take() == ([], [], [])
    assert prefill.scheduler.abort("cmpl-7")
    assert heard(prefill.workers[0]) == (["cmpl-7"], [], [])
    assert not prefill.scheduler.abort("cmpl-7")


def test_a_lease_that_lapsed_has_all_of_it_computed_here(engine: Callable[..., Engine]) -> None:
    prefill, decode = engine("prefill", lease_seconds=0.05), engine("decode")
    text = prefill.scheduler.computed("cmpl-7", 32, [(0, 0, [1, 2])])
    assert text is not None
    assert heard(prefill.workers[0]) == (["cmpl-7"], [], [])
    decode.scheduler.arrive("cmpl-7", 32, text)
    decode.scheduler.allocated("cmpl-7", 0, 32, [(0, TOKENS, 0, [5, 6])])
    assert heard(decode.workers[0]) == ([], ["cmpl-7"], [("cmpl-7", [(0, 5), (0, 6)])])
    assert prefill.workers[0].stats()["leases_lapsed"] == 1
    assert decode.workers[0].stats()["recomputed"] == 1


def test_what_does_not_fit_is_refused_by_name(engine: Callable[..., Engine]) -> None:
    prefill, decode = engine("prefill", format=FORMAT.replace("bfloat16", "float16")), engine("decode")
    text = prefill.scheduler.computed("cmpl-7", 16, [(0, 0, [1])])
    assert text is not None
    with pytest.raises(InvalidError, match="dtype is `float16` there, expected `bfloat16`"):
        decode.scheduler.arrive("cmpl-7", 16, text)
    assert decode.scheduler.matched("cmpl-7", 0) == 0
    assert heard(prefill.workers[0]) == (["cmpl-7"], [], []), "its lease is given up"
    for wrong in ["", "what is this", text[:-4]]:
        with pytest.raises(InvalidError):
            decode.scheduler.arrive("cmpl-8", 16, wrong)
    with pytest.raises(InvalidError, match="blocks of groups \\[3\\]: expected \\[0\\]"):
        prefill.scheduler.computed("cmpl-9", 16, [(3, 0, [1])])
    assert decode.scheduler.stats()["unfitting"] == 1 and decode.scheduler.stats()["malformed"] == 3


def test_a_block_that_is_not_there_is_not_lent(engine: Callable[..., Engine]) -> None:
    prefill = engine("prefill")
    assert prefill.scheduler.computed("cmpl-7", 16, [(0, 0, [BLOCKS])]) is None
    assert prefill.scheduler.computed("cmpl-7", 16, [(0, 0, [BLOCKS - 1])]) is not None
    assert prefill.scheduler.stats()["not_granted"] == 1 and prefill.workers[0].take() == ([], [], [])


def test_only_who_has_the_key_commands_and_only_one(engine: Callable[..., Engine], tmp_path: Path) -> None:
    prefill = engine("prefill")
    address = prefill.workers[0].address
    assert stat.S_ISSOCK(os.stat(address.removeprefix("unix://")).st_mode)
    with pytest.raises(DeniedError, match="did not prove that it has the key"):
        KvScheduler([address], key=b"guessed")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(address.removeprefix("unix://"))
        stranger.sendall(b"\x04\x00\x00\x00what")
        assert b"is not llmd's" in stranger.recv(100) and stranger.recv(100) == b"", "it is cut off"
    until = time.monotonic() + DEADLINE
    while prefill.workers[0].stats()["refused_schedulers"] < 2:
        assert time.monotonic() < until
    prefill.scheduler.close()
    with KvScheduler([address], key=KEY) as another:
        assert another.computed("cmpl-7", 16, [(0, 0, [1])]) is not None
    with pytest.raises(InvalidError, match="the scheduler is closed"):
        another.matched("cmpl-7", 0)
    with pytest.raises(InvalidError, match="has shard 0 of 1, expected 0 of 2"):
        KvScheduler([address, address], key=KEY)


def test_a_worker_may_listen_on_a_port(tmp_path: Path) -> None:
    layout = KvLayout.block_major(blocks=BLOCKS, block_bytes=BYTES)
    with Agent("prefill-0", ["shm"], folder=tmp_path) as agent:
        pool = agent.register(Region.memfd(layout.end), layout)
        with KvWorker(agent, [(0, pool)], key=KEY, bind="tcp://127.0.0.1:0") as worker:
            assert worker.address.startswith("tcp://127.0.0.1:") and not worker.address.endswith(":0")
            with KvScheduler([worker.address], key=KEY) as scheduler:
                assert scheduler.computed("cmpl-7", 16, [(0, 0, [1])]) is not None
        with pytest.raises(InvalidError, match="the worker is closed"):
            worker.take()


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    layout = KvLayout.block_major(blocks=BLOCKS, block_bytes=BYTES)
    with Agent("prefill-0", ["shm"], folder=tmp_path) as agent:
        pool = agent.register(Region.memfd(layout.end), layout)

        def refused(match: str, groups: list[tuple[int, KvPool]] | None = None, **settings: object) -> None:
            with pytest.raises(InvalidError, match=match):
                KvWorker(agent, [(0, pool)] if groups is None else groups, **{"key": KEY, "folder": tmp_path, **settings})  # type: ignore[arg-type]

        refused("shard 1, expected less than 1", shard=1)
        refused("an empty key", key=b"")
        refused("0 groups", groups=[])
        refused("group 0 twice", groups=[(0, pool), (0, pool)])
        refused("0 consumers", consumers=0)
        refused("ttl 0ns", lease_seconds=0)
        refused("expected tcp://HOST:PORT", bind="here")
    with pytest.raises(InvalidError, match="loading is 'now'|loading is \"now\""):
        KvScheduler(["/nowhere"], key=KEY, loading="now")
    with pytest.raises(InvalidError, match="0 workers"):
        KvScheduler([], key=KEY)


def test_what_is_garbage_ends_and_takes_its_socket_away(engine: Callable[..., Engine], tmp_path: Path) -> None:
    layout = KvLayout.block_major(blocks=BLOCKS, block_bytes=BYTES)
    before = threading.active_count()
    agent = Agent("prefill-0", ["shm"], folder=tmp_path)
    worker = KvWorker(agent, [(0, agent.register(Region.memfd(layout.end), layout))], key=KEY, folder=tmp_path)
    path = Path(worker.address.removeprefix("unix://"))
    assert path.is_socket()
    scheduler = KvScheduler([worker.address], key=KEY)
    del scheduler, worker, agent
    gc.collect()
    assert not path.exists() and threading.active_count() == before


def test_a_forked_child_is_told_and_its_parent_goes_on(run: Run) -> None:
    ended = run("""
import os, tempfile
from llmd_py import Agent, KvLayout, KvScheduler, KvWorker, Region
from llmd_py.errors import UnavailableError

folder = tempfile.mkdtemp()
layout = KvLayout.block_major(blocks=8, block_bytes=4096)
agent = Agent("prefill-0", ["shm"], folder=folder)
worker = KvWorker(agent, [(0, agent.register(Region.memfd(layout.end), layout))], key=b"k", folder=folder)
scheduler = KvScheduler([worker.address], key=b"k")
pid = os.fork()
if pid == 0:
    for call in (worker.take, worker.stats, scheduler.stats, lambda: scheduler.abort("a"), lambda: scheduler.matched("a", 0)):
        try:
            call()
        except UnavailableError as error:
            assert "in its forked child" in str(error), error
        else:
            os._exit(1)
    worker.close()
    scheduler.close()
    del worker, scheduler, agent
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert scheduler.computed("a", 16, [(0, 0, [1])]) is not None
scheduler.close()
worker.close()
agent.close()
print("done")
""")
    assert (ended.stdout, ended.returncode) == ("done\n", 0), ended.stderr
