"""Blocks go from agent to agent, by every way there is, and each operation ends once."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llmd_py import Agent, Fetched, Grant, KvLayout, KvPool, LeaseEnded, Region
from llmd_py.errors import (
    CorruptError,
    DeniedError,
    ExhaustedError,
    InvalidError,
    UnavailableError,
    UnsupportedError,
)
from programs import DEADLINE, Run

BLOCKS, BYTES = 64, 65536
LAYOUT = KvLayout.block_major(blocks=BLOCKS, block_bytes=BYTES)
SHAPE = {"layers": 2, "blocks": 8, "heads": 4, "tokens": 16, "parts": 2, "content": 256}


def filled(agent: Agent, seed: int, layout: KvLayout = LAYOUT) -> tuple[KvPool, np.ndarray]:
    """A pool whose blocks tell which they are, and its memory."""
    region = Region.memfd(layout.end)
    memory = np.asarray(region).reshape(layout.blocks, -1)
    memory[:] = np.random.default_rng(seed).integers(0, 256, memory.shape, np.uint8)
    return agent.register(region, layout), memory


class Pair:
    """An agent that lends and one that fetches."""

    def __init__(self, transport: str, **settings: object) -> None:
        self.prefill = Agent("prefill-0", [transport], **settings)  # type: ignore[arg-type]
        self.decode = Agent("decode-0", [transport], **settings)  # type: ignore[arg-type]
        self.computed, self.source = filled(self.prefill, 1)
        self.cache, self.target = filled(self.decode, 2)


@pytest.fixture(params=["shm", "local"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(request.param)
    yield pair
    pair.decode.close()
    pair.prefill.close()


def heard(agent: Agent) -> Fetched | LeaseEnded:
    """The next thing that the agent says."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        select.select([agent], [], [], 0.05)
        events = agent.poll()
        if events:
            [event] = events
            return event
    raise AssertionError("the agent said nothing")


def test_blocks_arrive_and_the_lease_ends(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, blocks=[3, 1, 7], seconds=30)
    op = pair.decode.fetch(grant, pair.cache, blocks=[9, 4, 2], timeout=5.0)
    before = pair.target.copy()
    fetched = op.wait()

    assert fetched.ok and fetched.outcome == "done" and fetched.failed_blocks == [] and fetched.why is None
    assert (fetched.blocks, fetched.bytes, fetched.op) == (3, 3 * BYTES, op.id)
    assert fetched.transport in ("shm", "local") and 0 < fetched.seconds < 5
    for source, target in zip([3, 1, 7], [9, 4, 2]):
        assert (pair.target[target] == pair.source[source]).all()
    assert (pair.target[10:] == before[10:]).all()
    assert op.wait().bytes == fetched.bytes and op.ended is not None, "it can be asked again"

    ended = heard(pair.prefill)
    assert isinstance(ended, LeaseEnded)
    assert (ended.end, ended.lease, sorted(ended.free)) == ("finished", Grant(grant).lease, [1, 3, 7])
    assert ended.pool == pair.computed.id
    assert pair.decode.poll() == [], "who waited was told"
    stats = pair.decode.stats()
    assert (stats.ended["done"], stats.fetched_bytes, stats.operations) == (1, 3 * BYTES, 0)
    assert pair.prefill.stats().leases == 0


def test_what_nobody_waited_for_is_polled_once(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, [5], seconds=30)
    op = pair.decode.fetch(grant, pair.cache, np.array([6]), timeout=5.0)
    fetched = heard(pair.decode)

    assert isinstance(fetched, Fetched) and fetched.ok and fetched.op == op.id
    assert pair.decode.poll() == []
    assert op.wait(timeout=0).ok
    assert pair.cache.read_block(6) == pair.source[5].tobytes()


def test_two_layouts_meet(pair: Pair) -> None:
    ours, theirs = KvLayout.named("LBNHC", **SHAPE), KvLayout.named("LBHNC", **SHAPE)  # type: ignore[arg-type]
    (computed, _), (cache, _) = filled(pair.prefill, 3, ours), filled(pair.decode, 4, theirs)
    grant = pair.prefill.grant(computed, range(8), seconds=30)
    assert pair.decode.fetch(grant, cache, range(8)).wait().ok

    # (parts inside content) tokens × heads there, heads × tokens here, once for each layer.
    there = np.frombuffer(computed.read_block(3), np.uint8).reshape(2, 16, 4, 512)
    here = np.frombuffer(cache.read_block(3), np.uint8).reshape(2, 4, 16, 512)
    assert (there.transpose(0, 2, 1, 3) == here).all()


def test_a_part_of_a_grant_is_fetched_and_the_rest_later(pair: Pair) -> None:
    grant = Grant(pair.prefill.grant(pair.computed, range(10), seconds=30, consumers=1))
    assert len(grant) == 10 and grant.part(4, 6).blocks == [4, 5] and bytes(grant.part(4, 6)) == bytes(grant)
    assert pair.decode.fetch(grant.part(0, 4), pair.cache, range(4), hold=True).wait().ok
    assert pair.prefill.stats().leases == 1
    assert pair.decode.fetch(grant.part(4, 10), pair.cache, range(4, 10), hold=True).wait().ok
    assert (pair.target[:10] == pair.source[:10]).all()

    pair.decode.finish(grant)
    ended = heard(pair.prefill)
    assert isinstance(ended, LeaseEnded) and ended.end == "finished"


def test_a_lease_that_was_taken_back_is_stale(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, [5, 6], seconds=30)
    assert pair.prefill.release(grant) and not pair.prefill.release(grant)
    fetched = pair.decode.fetch(grant, pair.cache, [0, 1]).wait()

    assert (fetched.ok, fetched.outcome, fetched.failed_blocks, fetched.bytes) == (False, "stale", [0, 1], 0)
    assert fetched.why is not None
    with pytest.raises(InvalidError, match="a grant of agent"):
        pair.decode.release(grant)


def test_what_was_changed_since_it_was_granted_is_corrupt(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, [4, 5, 6], seconds=30)
    assert pair.decode.fetch(grant, pair.cache, [0, 1, 2], hold=True).wait().ok
    pair.source[5, 777] ^= 4
    fetched = pair.decode.fetch(grant, pair.cache, [3, 4, 5]).wait()

    assert (fetched.outcome, fetched.failed_blocks) == ("corrupt", [1])


def test_a_lease_lapses_unless_it_is_kept(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, [1], seconds=0.15, at_most=60)
    with pair.decode.keep(grant) as kept:
        time.sleep(0.6)
        assert pair.prefill.stats().leases == 1
        kept.close()
    ended = heard(pair.prefill)
    assert isinstance(ended, LeaseEnded) and ended.end == "lapsed"


def test_memory_that_is_no_file_goes_within_the_process() -> None:
    source, target = np.arange(BLOCKS * BYTES, dtype=np.uint8), bytearray(BLOCKS * BYTES)
    with Agent("prefill-0", ["local"]) as prefill, Agent("decode-0", ["local"]) as decode:
        computed, cache = prefill.register(source, LAYOUT), decode.register(target, LAYOUT)
        grant = prefill.grant(computed, [63], seconds=1)
        assert decode.fetch(grant, cache, [0]).wait().ok
    assert bytes(target[:BYTES]) == source[63 * BYTES :].tobytes()


CHILD = """
import sys
from llmd_py import Agent, KvLayout, Region
layout = KvLayout.block_major(blocks=64, block_bytes=65536)
agent = Agent("decode-0", ["shm"], folder=sys.argv[1])
pool = agent.register(Region.memfd(layout.end), layout)
for line in sys.stdin:
    fetched = agent.fetch(bytes.fromhex(line), pool, [2, 0], timeout=5).wait()
    print(fetched.outcome, pool.read_block(2)[:8].hex(), flush=True)
"""


def test_two_processes_exchange_blocks(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", CHILD, str(tmp_path / "sockets")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None
    with Agent("prefill-0", ["shm"], folder=tmp_path / "sockets") as prefill:
        computed, source = filled(prefill, 1)
        for first in range(0, 20, 2):
            grant = prefill.grant(computed, [first, first + 1], seconds=30)
            print(grant.hex(), file=child.stdin, flush=True)
            assert child.stdout.readline() == f"done {source[first, :8].tobytes().hex()}\n"
            ended = heard(prefill)
            assert isinstance(ended, LeaseEnded) and ended.end == "finished"
        grant = prefill.grant(computed, [1, 2], seconds=30)
        assert [str(tmp_path) in place for _, place in Grant(grant).addresses] == [True]
    child.stdin.close()
    assert child.wait(DEADLINE) == 0
    child.stdout.close()


def test_tenants_are_known_by_their_keys(tmp_path: Path) -> None:
    settings = {"folder": tmp_path / "sockets"}
    with Agent("prefill-0", tenant="acme", key=b"secret", serve={"other": b"key"}, **settings) as prefill:  # type: ignore[arg-type]
        computed, _ = filled(prefill, 1)
        shared = prefill.register(Region.memfd(LAYOUT.end), LAYOUT, tenant="other")
        assert (computed.tenant, shared.tenant) == ("acme", "other")
        with pytest.raises(DeniedError):
            prefill.register(computed.region, LAYOUT, tenant="nobody")
        for tenant, key, outcome in [("acme", b"secret", "done"), ("acme", b"wrong", "denied"), ("evil", b"", "denied")]:
            with Agent("decode-0", tenant=tenant, key=key, **settings) as decode:  # type: ignore[arg-type]
                cache, _ = filled(decode, 2)
                grant = prefill.grant(computed, [4], seconds=30)
                assert decode.fetch(grant, cache, [0]).wait().outcome == outcome
    for wrong in ({"tenant": "acme"}, {"key": b"secret"}):
        with pytest.raises(InvalidError, match="expected both"):
            Agent("prefill-0", **wrong)


def test_what_a_transport_would_cost_is_said(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, [4], seconds=30)
    [can] = pair.decode.consider(grant, pair.cache)
    assert can.why is None and can.latency is not None and can.latency < 1 and can.rate is not None and can.rate > 1e6
    pair.prefill.close()
    [cannot] = pair.decode.consider(grant, pair.cache)
    assert cannot.why is not None and cannot.latency is None and cannot.rate is None
    with pytest.raises(UnavailableError, match="no transport reaches agent"):
        pair.decode.fetch(grant, pair.cache, [0])


def test_a_pool_that_was_forgotten_is_lent_no_more(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, [4], seconds=30)
    pair.prefill.unregister(pair.computed)
    assert not pair.decode.fetch(grant, pair.cache, [0]).wait().ok
    assert pair.computed.read_block(4) == pair.source[4].tobytes()
    with pytest.raises(InvalidError):
        pair.prefill.grant(pair.computed, [4], seconds=30)


def test_what_makes_no_sense_is_refused_by_name(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, [4, 5], seconds=30)
    with pytest.raises(InvalidError, match="block 64 to be lent, expected one below 64"):
        pair.prefill.grant(pair.computed, [64], seconds=30)
    with pytest.raises(InvalidError, match="block 1 is -1"):
        pair.prefill.grant(pair.computed, [1, -1], seconds=30)
    with pytest.raises(InvalidError, match="seconds is -1"):
        pair.prefill.grant(pair.computed, [1], seconds=-1)
    with pytest.raises(InvalidError, match="consumers 65536"):
        pair.prefill.grant(pair.computed, [1], seconds=1, consumers=65536)
    with pytest.raises(InvalidError, match="2 blocks"):
        pair.decode.fetch(grant, pair.cache, [0])
    with pytest.raises(InvalidError, match="block 64 to be written"):
        pair.decode.fetch(grant, pair.cache, [0, 64])
    with pytest.raises(InvalidError, match="transport `rdma`, expected one of the agent's"):
        pair.decode.fetch(grant, pair.cache, [0, 1], transports=["rdma"])
    with pytest.raises(InvalidError, match="timeout is NaN"):
        pair.decode.fetch(grant, pair.cache, [0, 1], timeout=float("nan"))
    with pytest.raises(CorruptError, match="grant"):
        pair.decode.fetch(grant[:-1], pair.cache, [0, 1])
    with pytest.raises(UnsupportedError, match="version 9"):
        Grant(grant[:4] + b"\x09" + grant[5:])
    with pytest.raises(InvalidError, match="5 bytes for block 4, expected 65536"):
        pair.computed.write_block(4, b"short")
    with pytest.raises(InvalidError, match="blocks 0 to 3 of a grant of 2"):
        Grant(grant).part(0, 3)


def test_transports_and_checks_have_names() -> None:
    with pytest.raises(InvalidError, match="transport `carrier pigeon`, expected `shm`"):
        Agent("prefill-0", ["carrier pigeon"])
    with pytest.raises(InvalidError, match="0 transports"):
        Agent("prefill-0", [])
    with pytest.raises(InvalidError, match="check is 'sometimes'|check is \"sometimes\""):
        Agent("prefill-0", check="sometimes")
    with pytest.raises(InvalidError, match="0 threads that copy"):
        Agent("prefill-0", copy_threads=0)
    for check in ("always", "remote", "off"):
        with Agent("prefill-0", ["local"], check=check, copy_threads=1, spin=0):
            pass


def test_bounds_are_kept() -> None:
    with Agent("prefill-0", ["local"], max_leases=2, max_operations=2) as agent:
        pool, _ = filled(agent, 1)
        grants = [agent.grant(pool, [number], seconds=30) for number in range(2)]
        with pytest.raises(ExhaustedError, match="max_leases 2"):
            agent.grant(pool, [2], seconds=30)
        ops = [agent.fetch(grant, pool, [10 + number], hold=True) for number, grant in enumerate(grants)]
        with pytest.raises(ExhaustedError, match="max_operations 2"):
            agent.fetch(grants[0], pool, [12])
        assert all(op.wait().ok for op in ops)


def test_a_closed_agent_says_so(pair: Pair) -> None:
    grant = pair.prefill.grant(pair.computed, [4], seconds=30)
    pair.decode.close()
    pair.decode.close()
    with pytest.raises(InvalidError, match="the agent is closed"):
        pair.decode.fetch(grant, pair.cache, [0])
    with pytest.raises(InvalidError, match="the agent is closed"):
        pair.decode.poll()
    assert repr(pair.decode) == "<Agent: the agent is closed>"
    assert len(pair.cache.read_block(0)) == BYTES, "its pools are still there"


def test_layouts_say_what_they_are() -> None:
    layout = KvLayout.named("LBNHC", **SHAPE, format="bfloat16", offset=64, first_layer=2, first_head=4)
    assert (layout.layers, layout.blocks, layout.heads, layout.tokens, layout.parts, layout.content) == (2, 8, 4, 16, 2, 256)
    assert (layout.format, layout.offset, layout.first_layer, layout.first_head) == ("bfloat16", 64, 2, 4)
    assert layout.block_bytes == 2 * 4 * 16 * 2 * 256 and layout.end == 64 + 8 * layout.block_bytes
    assert layout.strides == (8 * 32768, 32768, 512, 2048, 256) and not layout.opaque
    plain = KvLayout.named("NHD", **SHAPE)  # type: ignore[arg-type]
    strided = KvLayout.strided(plain.strides, **SHAPE)  # type: ignore[arg-type]
    assert strided == plain and hash(strided) == hash(plain) and strided != layout
    assert LAYOUT.opaque and LAYOUT.block_bytes == BYTES and repr(LAYOUT) == "<KvLayout of 64 blocks of 65536 bytes>"

    with pytest.raises(InvalidError, match="layout `LBN`"):
        KvLayout.named("LBN", **SHAPE)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="0 blocks"):
        KvLayout.block_major(blocks=0, block_bytes=1)
    with pytest.raises(InvalidError, match="blocks -1"):
        KvLayout.block_major(blocks=-1, block_bytes=1)
    with pytest.raises(InvalidError, match="bytes apart"):
        KvLayout.strided((0, 0, 0, 0, 0), **SHAPE)  # type: ignore[arg-type]


def silent(tmp_path: Path) -> bytes:
    """A grant of an agent that accepts whoever comes and then says nothing."""
    program = f"""
import sys, time, signal, os
from llmd_py import Agent, KvLayout, Region
layout = KvLayout.block_major(blocks=64, block_bytes=65536)
agent = Agent("prefill-0", ["shm"], folder={str(tmp_path / "sockets")!r})
pool = agent.register(Region.memfd(layout.end), layout)
print(agent.grant(pool, [1], seconds=30).hex(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    STOPPED.append(child)
    grant = bytes.fromhex(child.stdout.readline())
    assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
    return grant


STOPPED: list[subprocess.Popen[str]] = []


@pytest.fixture
def stopped() -> Iterator[None]:
    """Ends what `silent` left."""
    yield
    while STOPPED:
        child = STOPPED.pop()
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


@pytest.fixture
def waiting(tmp_path: Path, stopped: None) -> Iterator[tuple[Agent, KvPool, bytes]]:
    """An agent, its pool, and a grant of one who never answers."""
    grant = silent(tmp_path)
    with Agent("decode-0", ["shm"], folder=tmp_path / "sockets") as agent:
        yield agent, filled(agent, 2)[0], grant


def test_an_operation_ends_when_its_time_is_over(waiting: tuple[Agent, KvPool, bytes]) -> None:
    agent, pool, grant = waiting
    op = agent.fetch(grant, pool, [0], timeout=0.2)
    with pytest.raises(UnavailableError, match=r"operation \d+ did not end in 10ms"):
        op.wait(timeout=0.01)
    assert op.ended is None and repr(op) == f"<FetchOp {op.id}>"
    fetched = op.wait()
    assert (fetched.outcome, fetched.failed_blocks) == ("timeout", [0]) and 0.2 <= fetched.seconds < 5


def test_an_operation_is_taken_back(waiting: tuple[Agent, KvPool, bytes]) -> None:
    agent, pool, grant = waiting
    op = agent.fetch(grant, pool, [0])
    op.cancel()
    assert op.wait(5).outcome == "cancelled"
    op.cancel()
    assert repr(op) == f"<FetchOp {op.id}: cancelled>"


def test_waiting_gives_up_the_gil_and_answers_signals(waiting: tuple[Agent, KvPool, bytes]) -> None:
    agent, pool, grant = waiting
    op = agent.fetch(grant, pool, [0])
    began = time.monotonic()
    threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()
    with pytest.raises(KeyboardInterrupt):
        op.wait()
    assert time.monotonic() - began < 5
    op.cancel()
    assert op.wait().outcome == "cancelled"


def test_an_operation_whose_agent_is_closed_ends_no_more(waiting: tuple[Agent, KvPool, bytes]) -> None:
    agent, pool, grant = waiting
    op = agent.fetch(grant, pool, [0])
    threading.Timer(0.1, agent.close).start()
    with pytest.raises(InvalidError, match="the agent is closed"):
        op.wait()


def test_coroutines_await_many_at_once(pair: Pair) -> None:
    async def fetch(number: int) -> Fetched:
        grant = pair.prefill.grant(pair.computed, [number], seconds=30)
        return await pair.decode.fetch(grant, pair.cache, [number])

    async def all_of_them() -> list[Fetched]:
        return await asyncio.gather(*(fetch(number) for number in range(BLOCKS)))

    for _ in range(3):
        pair.target[:] = 0
        fetched = asyncio.run(all_of_them())
        assert all(each.ok for each in fetched) and len({each.op for each in fetched}) == BLOCKS
        assert (pair.target == pair.source).all()
    assert pair.decode.poll() == [], "who awaited was told"


def test_what_else_happens_while_one_awaits_is_polled(waiting: tuple[Agent, KvPool, bytes]) -> None:
    agent, pool, grant = waiting
    own = agent.grant(pool, [9], seconds=0.05)

    async def patient() -> list[Fetched]:
        one, two = agent.fetch(grant, pool, [0], timeout=0.3), agent.fetch(grant, pool, [1], timeout=30)

        async def first() -> Fetched:
            return await one

        again, taken_back = asyncio.create_task(first()), asyncio.create_task(first())
        await asyncio.sleep(0.1)
        taken_back.cancel()
        two.cancel()
        return [await one, await again, await two, await two]

    assert [each.outcome for each in asyncio.run(patient())] == ["timeout", "timeout", "cancelled", "cancelled"]
    [ended] = [event for event in agent.poll() if isinstance(event, LeaseEnded)]
    assert ended.lease == Grant(own).lease


def test_an_agent_that_nobody_has_but_by_awaiting_goes_on(tmp_path: Path, stopped: None) -> None:
    grant = silent(tmp_path)

    async def fetch() -> Fetched:
        agent = Agent("decode-0", ["shm"], folder=tmp_path / "sockets")
        op = agent.fetch(grant, filled(agent, 2)[0], [0], timeout=0.2)
        del agent
        awaited = asyncio.ensure_future(op)
        del op
        return await awaited

    assert asyncio.run(fetch()).outcome == "timeout"


def test_a_coroutine_is_told_that_the_agent_is_closed(waiting: tuple[Agent, KvPool, bytes]) -> None:
    agent, pool, grant = waiting

    async def patient() -> Fetched:
        op = agent.fetch(grant, pool, [0])
        asyncio.get_running_loop().call_later(0.05, agent.close)
        return await op

    with pytest.raises(InvalidError, match="the agent is closed"):
        asyncio.run(patient())


def test_another_loop_waits_its_turn(waiting: tuple[Agent, KvPool, bytes]) -> None:
    agent, pool, grant = waiting
    op = agent.fetch(grant, pool, [0], timeout=1)

    async def patient() -> Fetched:
        return await op

    async def impatient() -> None:
        task = asyncio.create_task(patient())
        await asyncio.sleep(0.05)
        with pytest.raises(InvalidError, match="awaited by another loop"):
            await asyncio.to_thread(asyncio.run, patient())
        task.cancel()

    asyncio.run(impatient())
    assert asyncio.run(patient()).outcome == "timeout", "a loop that is closed is in nobody's way"


def test_threads_share_an_agent(pair: Pair) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(40):
                grant = pair.prefill.grant(pair.computed, [number], seconds=30)
                op = pair.decode.fetch(grant, pair.cache, [number])
                pair.decode.poll()
                assert op.wait().ok
                assert (pair.target[number] == pair.source[number]).all()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


FORKED = """
import os, sys, gc, traceback
from llmd_py import Agent, KvLayout, Region
from llmd_py.errors import UnavailableError
layout = KvLayout.block_major(blocks=64, block_bytes=65536)
one, two = Agent("one", {transport!r}), Agent("two", {transport!r})
pool, cache = one.register(Region.memfd(layout.end), layout), two.register(Region.memfd(layout.end), layout)
grant = one.grant(pool, [1], seconds=30)
op, kept = two.fetch(grant, cache, [0], hold=True), two.keep(grant)
assert op.wait().ok
child = os.fork()
if child == 0:
    try:
        calls = [
            lambda: one.grant(pool, [1], seconds=1), lambda: two.fetch(grant, cache, [0]), lambda: two.poll(),
            lambda: two.stats(), lambda: two.consider(grant, cache), lambda: op.cancel(), lambda: one.release(grant),
            lambda: two.finish(grant), lambda: two.keep(grant), lambda: one.register(Region.memfd(layout.end), layout),
            lambda: one.unregister(pool), lambda: one.fileno(),
        ]
        for call in calls:
            try:
                call()
            except UnavailableError as error:
                assert "in its forked child" in str(error), error
            else:
                raise AssertionError(call)
        del calls, call, op, kept, one, two, pool, cache
        gc.collect()
        with Agent("one", {transport!r}) as one, Agent("two", {transport!r}) as two:
            pool, cache = one.register(Region.memfd(layout.end), layout), two.register(Region.memfd(layout.end), layout)
            assert two.fetch(one.grant(pool, [1], seconds=30), cache, [0]).wait().ok
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert two.fetch(grant, cache, [5]).wait().ok, "the parent goes on"
print("done")
"""


@pytest.mark.parametrize("transport", ["shm", "local"])
def test_a_forked_child_is_refused_and_makes_its_own(run: Run, transport: str) -> None:
    ended = run(FORKED.format(transport=[transport]))
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)
