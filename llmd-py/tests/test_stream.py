"""A stream follows engines on real sockets: through gaps, restarts and absence, and lets go of them at its end."""

from __future__ import annotations

import gc
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batches import batch
from programs import Run
from llmd_py import KvEventStream, PrefixIndex
from llmd_py.errors import InvalidError
from processes import Engine, Process, get, wait_until

BLOCK_SIZE = 16
NOWHERE = "tcp://127.0.0.1:9"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine("e0", tmp_path)
    try:
        yield engine
    finally:
        engine.kill()


def source(engine: Process) -> tuple[str, str]:
    return engine.ready["kv_events"], engine.ready["replay"]


def post(address: str, path: str, body: dict[str, Any]) -> Any:
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())


def ask(engine: Engine, tokens: list[int]) -> int:
    """Asks the engine for one token more: how many of the prompt it took from its cache."""
    answer = post(engine.http, "/v1/completions", {"model": "tiny", "prompt": tokens, "max_tokens": 1})
    return (answer["usage"].get("prompt_tokens_details") or {}).get("cached_tokens") or 0


def caught_up(stream: KvEventStream, engine: Engine) -> Callable[[], bool]:
    """Whether the index has taken everything that the engine published, and it has nothing left to publish."""

    def is_so() -> bool:
        cache = json.loads(get(f"http://{engine.http}/debug/cache"))
        status = stream.status()[engine.name]
        taken = -1 if status.last_seq is None else status.last_seq
        return bool(status.state == "exact" and cache["events_pending"] == 0 and cache["next_seq"] == taken + 1)

    return is_so


def prompt(number: int) -> list[int]:
    """A prompt of five blocks and a rest that shares no block with another."""
    return [number * 7 % 100 + 1] * BLOCK_SIZE + list(range(1, 4 * BLOCK_SIZE + 8))


def test_what_an_engine_holds_is_known_and_foretold(engine: Engine) -> None:
    index = PrefixIndex(BLOCK_SIZE)
    with KvEventStream(index, {"e0": source(engine)}, topic="kv@") as stream:
        assert stream.wait_exact(30)
        assert ask(engine, prompt(1)) == 0
        wait_until("the index has caught up", caught_up(stream, engine))

        overlap = index.query(prompt(1))
        assert overlap == {"e0": 5}
        assert ask(engine, prompt(1)) == overlap.hit_tokens("e0") == 5 * BLOCK_SIZE

        status = stream.status()["e0"]
        assert (status.state, status.gaps, status.restarts, status.event_errors) == ("exact", 0, 0, 0)
        assert status.applied_batches >= 1 and status.last_seq is not None
        assert status.quiet_for is not None and status.quiet_for < 60
        assert [state for _, state in status.timeline][-1] == "exact"
        assert repr(status).startswith("<WorkerStatus: exact, up to ")
    assert index.query(prompt(1)) == {}, "the index forgets what it is told no more of"


def test_what_was_published_before_is_replayed(engine: Engine) -> None:
    for number in range(3):
        ask(engine, prompt(number))
    index = PrefixIndex(BLOCK_SIZE)
    with KvEventStream(index, {"e0": source(engine)}) as stream:
        wait_until("the index has caught up", caught_up(stream, engine))
        assert all(index.query(prompt(number)) == {"e0": 5} for number in range(3))


def test_batches_that_are_lost_are_asked_for_again(engine: Engine) -> None:
    index = PrefixIndex(BLOCK_SIZE)
    with KvEventStream(index, {"e0": source(engine)}) as stream:
        assert stream.wait_exact(30)
        post(engine.http, "/debug/faults", {"drop_events": 0.5, "seed": 3})
        for number in range(12):
            ask(engine, prompt(number))
        dropped = post(engine.http, "/debug/faults", {"drop_events": 0.0})["dropped"]
        ask(engine, prompt(12))
        wait_until("the index has caught up", caught_up(stream, engine))

        assert dropped > 0 and stream.status()["e0"].gaps > 0
        assert all(index.query(prompt(number)) == {"e0": 5} for number in range(13))


def test_an_engine_that_was_started_anew_holds_nothing_of_before(tmp_path: Path) -> None:
    first = Engine("e0", tmp_path)
    ports = [url.rsplit(":", 1)[1] for url in source(first)]
    index = PrefixIndex(BLOCK_SIZE)
    try:
        with KvEventStream(index, {"e0": source(first)}) as stream:
            ask(first, prompt(1))
            wait_until("the index has caught up", caught_up(stream, first))
            first.stop()
            second = Restarted("e0", tmp_path, ports)
            try:
                ask(second, prompt(2))
                wait_until("the restart is noticed", lambda: stream.status()["e0"].restarts == 1)
                wait_until("the index has caught up", caught_up(stream, second))

                assert index.query(prompt(1)) == {} and index.query(prompt(2)) == {"e0": 5}
            finally:
                second.kill()
    finally:
        first.kill()


class Restarted(Engine):
    """The engine again, where its events were before."""

    def __init__(self, name: str, folder: Path, ports: list[str]) -> None:
        from processes import TOKENIZER

        args = ["--name", name, "--tokenizer", str(TOKENIZER), "--kv-events-port", ports[0], "--replay-port", ports[1]]
        Process.__init__(self, "llmd-engine", args, folder / f"{name}-again.log")
        self.name = name
        self.http = self.ready["http"].removeprefix("http://")


def test_workers_come_and_go(engine: Engine) -> None:
    index = PrefixIndex(BLOCK_SIZE)
    with KvEventStream(index) as stream:
        assert stream.wait_exact() and stream.status() == {} and stream.index is index
        stream.watch("e0", source(engine))
        ask(engine, prompt(1))
        wait_until("the index has caught up", caught_up(stream, engine))
        stream.watch("absent", NOWHERE)
        assert not stream.wait_exact(0.1) and sorted(stream.status()) == ["absent", "e0"]

        stream.unwatch("absent")
        stream.unwatch("e0")
        assert stream.status() == {} and index.query(prompt(1)) == {}
        stream.watch("e0", source(engine))
        wait_until("the index has caught up again", caught_up(stream, engine))
        assert index.query(prompt(1)) == {"e0": 5}
        assert repr(stream) == "<KvEventStream of 1 workers>"


def test_a_worker_is_fed_by_one_stream_and_nobody_else() -> None:
    index = PrefixIndex(BLOCK_SIZE)
    with KvEventStream(index, {"w": NOWHERE}):
        for call in (lambda: index.apply("w", batch(), seq=0), lambda: index.clear("w"), lambda: index.give_up("w")):
            with pytest.raises(InvalidError, match='worker "w" is followed by a live stream'):
                call()
        with pytest.raises(InvalidError, match='worker "w" is followed by a live stream'):
            KvEventStream(index, {"v": NOWHERE, "w": NOWHERE})
        index.apply("v", batch(), seq=0)
    index.apply("w", batch(), seq=0)


def test_a_stream_that_is_garbage_lets_go_of_its_workers() -> None:
    index = PrefixIndex(BLOCK_SIZE)
    stream = KvEventStream(index, {"w": NOWHERE})
    del stream
    gc.collect()

    assert index.apply("w", batch(), seq=0).state == "exact"


def test_after_its_end_a_stream_refuses_everything_but_to_end() -> None:
    stream = KvEventStream(PrefixIndex(), {"w": NOWHERE})
    stream.close()
    stream.close()

    calls: list[Callable[[], object]] = [
        stream.status,
        stream.wait_exact,
        lambda: stream.watch("v", NOWHERE),
        lambda: stream.unwatch("w"),
    ]
    for call in calls:
        with pytest.raises(InvalidError, match="the event stream is closed"):
            call()
    assert repr(stream) == "<KvEventStream: the event stream is closed>"


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:5557", "tcp:/x", "udp://127.0.0.1:5557", "tcp://127.0.0.1"])
def test_an_endpoint_that_is_none_is_refused_by_name(endpoint: str) -> None:
    index = PrefixIndex()
    for workers in ({"w": (endpoint, None)}, {"w": (NOWHERE, endpoint)}):
        with pytest.raises(InvalidError, match=f'event endpoint "{endpoint}" is not one'):
            KvEventStream(index, workers)
    assert index.apply("w", batch(), seq=0).state == "exact"


def test_wrong_arguments_are_refused() -> None:
    with KvEventStream(PrefixIndex(), {"w": NOWHERE}) as stream:
        with pytest.raises(InvalidError, match="timeout is -1, expected seconds"):
            stream.wait_exact(-1)
        with pytest.raises(InvalidError, match=r'worker "x" is not followed, expected one of \["w"\]'):
            stream.unwatch("x")
        with pytest.raises(TypeError):
            stream.watch("x", 3)  # type: ignore[arg-type]


def test_whoever_waits_can_be_interrupted(run: Run) -> None:
    ended = run(f"""
import os, signal, threading, time
from llmd_py import KvEventStream, PrefixIndex
stream = KvEventStream(PrefixIndex(), {{"w": "{NOWHERE}"}})
main = threading.main_thread().ident
begun = threading.Event()

def interrupt():
    begun.wait()
    signal.pthread_kill(main, signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    begun.set()
    stream.wait_exact()
except KeyboardInterrupt:
    print("interrupted")
""")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("interrupted\n", "", 0)


def test_waiting_lets_other_threads_close_what_is_waited_for() -> None:
    stream, ended = KvEventStream(PrefixIndex(), {"w": NOWHERE}), []

    def wait() -> None:
        with pytest.raises(InvalidError, match="the event stream is closed"):
            stream.wait_exact()
        ended.append(True)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    stream.close()
    waiting.join(30)
    assert ended == [True]


def test_many_streams_are_made_and_closed_by_many_threads() -> None:
    index = PrefixIndex()

    def work(number: int) -> None:
        for _ in range(10):
            with KvEventStream(index, {f"w{number}": NOWHERE}) as stream:
                stream.status()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(index.workers()) == sorted(f"w{number}" for number in range(8))
