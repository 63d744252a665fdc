"""A router in front of engines: where it sends, what it knows of their caches, and what it does when they come and go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import llmd_py as llmd
import pytest
from llmd_py import Router
from llmd_py.errors import ExhaustedError, InvalidError, UnavailableError, UnsupportedError
from llmd_py.router import DEFAULT_POLICY, Engine, Limits

from engines import METRICS, Asked, Played, fails, playing, says_hello, until
from fleet import ROOT, wait_until
from fleet import Engine as Process
from routing import BY_LABEL, LEAST_BUSY, PRECISE, config

EXACT = PRECISE.replace("blockSizeTokens: 32", "blockSizeTokens: 16")
QUICK = Limits(scrape=0.05, ask=0.5, tokenize=0.5, start=2, misses=2)
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "tell me a long story of tin " * 30}], "max_tokens": 4}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    folder, started = tmp_path_factory.mktemp("engines"), list[Process]()
    try:
        for name in ("e0", "e1"):
            started.append(Process(name, folder))
        yield started
    finally:
        for process in started:
            process.kill()


@pytest.fixture
def urls(processes: list[Process]) -> list[str]:
    wait_until("what other tests began is over", lambda: sum(process.running() for process in processes) == 0)
    return [process.http for process in processes]


async def completed(router: Router, body: dict[str, object]) -> tuple[int, int]:
    """Sends a request, and gives the hit that was predicted and the one that was reported."""
    async with await router.complete(body) as completion:
        usage = (await completion.json())["usage"]
    return completion.pick.hit_tokens, usage["prompt_tokens_details"]["cached_tokens"]


async def caught_up(router: Router, worker: str) -> None:
    await until("the index knows the prompt", lambda: worker in router.events and router.events[worker].last_seq is not None)
    await asyncio.sleep(0.1)


def test_a_prompt_goes_back_to_where_it_was_computed_and_the_hit_is_known(urls: list[str]) -> None:
    async def main() -> None:
        async with Router([Engine(url, name=f"e{n}") for n, url in enumerate(urls)], EXACT, limits=QUICK) as router:
            assert await router.ready(10)
            assert {name: (e.is_up, e.problem, e.block_size, e.hash_scheme) for name, e in router.engines.items()} == {
                name: (True, None, 16, "vllm-sha256_cbor") for name in ("e0", "e1")
            }
            assert await completed(router, CHAT) == (0, 0)
            async with await router.pick(CHAT) as pick:
                home = pick.endpoint.name
            await until("the index knows the prompt", lambda: bool(router.index.residents(home)) or not router.events[home].last_seq)
            await asyncio.sleep(0.1)

            async with await router.pick(CHAT) as pick:
                home, prompt = pick.endpoint.name, await router.tokenize(CHAT)
                assert prompt is not None and dict(pick.overlap) == {home: len(prompt.tokens) // 16}
                assert pick.url == f"http://{urls[int(home[1])]}" and pick.headers == {} and "x-prefiller-host-port" in pick.remove
                assert pick.endpoint.in_flight[0] == 1 and "exact  chosen" in str(pick.explanation)
            assert pick.endpoint.in_flight == (0, 0) and repr(pick).endswith(", done>")
            predicted, reported = await completed(router, CHAT)
            assert predicted == reported > 100
            hasher = router.hasher(home)
            assert hasher is not None
            held = {name for _, _, name, _ in router.index.residents(home)}
            assert set(hasher.event_names(prompt.tokens)) <= held
            assert (await router.explain(CHAT)).endpoint == home
            assert (await router.pick({"model": "tiny", "prompt": list(prompt.tokens)})).hit_tokens == reported

    asyncio.run(main())


def test_after_a_reset_nothing_is_held_and_what_comes_then_is(urls: list[str]) -> None:
    body = {**CHAT, "cache_salt": "reset"}

    async def main() -> None:
        async with Router(urls[:1], EXACT, limits=QUICK) as router:
            await router.ready(10)
            [name] = router.engines
            await completed(router, body)
            await caught_up(router, name)
            assert (await router.pick(body)).hit_tokens > 100

            await router.reset(name)
            await asyncio.sleep(0.2)  # the engine computes nothing, and says nothing
            assert dict((await router.pick(body)).overlap) == {} and name not in router.events
            assert await completed(router, body) == (0, 0)
            await caught_up(router, name)
            predicted, reported = await completed(router, body)
            assert predicted == reported > 100 and await router.ready(5)

            with pytest.raises(InvalidError, match="no engine is called e9"):
                await router.clear("e9")

    asyncio.run(main())


def test_a_stream_that_is_left_is_given_up_by_the_engine(urls: list[str], processes: list[Process]) -> None:
    body = {**CHAT, "stream": True, "max_tokens": 20_000}

    async def main() -> None:
        async with Router(urls, LEAST_BUSY, limits=QUICK) as router:
            async with await router.complete(body) as completion:
                async for piece in completion:
                    assert piece.startswith(b"data: ")
                    break
                assert completion.pick.endpoint.in_flight[0] == 1
            assert completion.pick.endpoint.in_flight == (0, 0)

    asyncio.run(main())
    wait_until("the engine has let it go", lambda: sum(process.running() for process in processes) == 0)


def test_engines_come_and_go(urls: list[str]) -> None:
    async def main() -> None:
        async with Router([Engine(urls[0], "e0")], EXACT, limits=QUICK) as router:
            assert await router.add(Engine(urls[1], "e1")) == "e1" and await router.ready(10)
            assert router.index.workers() == ["e0", "e1"]
            with pytest.raises(InvalidError, match="two engines are called e1"):
                await router.add(Engine(urls[1], "e1"))
            await router.remove("e0")
            assert router.index.workers() == ["e1"] and list(router.engines) == ["e1"]
            assert (await router.pick(CHAT)).endpoint.name == "e1"
            await router.remove("e1")
            with pytest.raises(UnavailableError, match="no endpoint") as caught:
                await router.pick({"model": "tiny", "prompt": [1, 2, 3]})
            assert (caught.value.status, caught.value.reason) == (503, "rejected-no-endpoints")

    asyncio.run(main())


def test_an_engine_that_dies_is_passed_over_and_taken_back(tmp_path: Path) -> None:
    dead, alive = Played(says_hello), Played(says_hello)

    async def main() -> None:
        async with playing(alive):
            server = await asyncio.start_server(dead.serve, "127.0.0.1", 0)
            host, port = server.sockets[0].getsockname()
            engines = [Engine(f"{host}:{port}", "dead"), Engine(alive.url, "alive")]
            async with Router(engines, LEAST_BUSY, limits=QUICK) as router:
                await router.ready(5)
                server.close()
                for _ in range(4):  # before the router knows, too
                    async with await router.complete({"model": "tiny", "prompt": "hi"}) as completion:
                        assert completion.status == 200 and completion.pick.endpoint.name == "alive"
                        await completion.read()
                await until("it is down", lambda: not router.engines["dead"].is_up)
                assert router.engines["dead"].problem is not None
                assert [e.name for e in (await router.pick({"model": "tiny", "prompt": [1]})).decision.ranked] == ["alive"]

                server = await asyncio.start_server(dead.serve, host, port)
                await until("it is up again", lambda: router.engines["dead"].is_up)
                server.close()

    asyncio.run(main())


def test_who_is_slow_delays_no_pick_for_long() -> None:
    slow, quick = Played(says_hello, delay=3), Played(says_hello)

    async def main() -> None:
        async with playing(slow, quick), Router([slow.url, quick.url], EXACT, limits=QUICK) as router:
            for _ in range(4):
                began = time.monotonic()
                await router.pick({"model": "tiny", "prompt": "text"})
                assert time.monotonic() - began < 1
            began = time.monotonic()
            await router.pick({"model": "tiny", "prompt": [1, 2, 3]})
            assert time.monotonic() - began < 0.05, "tokens are there"

    asyncio.run(main())


def test_what_engines_say_of_themselves_reaches_the_scheduler() -> None:
    page = METRICS.replace('waiting{engine="0",model_name="tiny"} 1.0', "waiting 9")
    busy = Played(says_hello, metrics=page, models=[{"id": "tiny"}, {"id": "poet", "parent": "tiny"}])
    idle = Played(says_hello, models=[{"id": "tiny"}])
    queue = config("{type: queue-scorer}")

    async def main() -> None:
        async with playing(busy, idle), Router([Engine(busy.url, "busy"), Engine(idle.url, "idle")], queue, limits=QUICK) as router:
            await router.ready(5)
            for _ in range(4):
                assert (await router.pick({"model": "tiny", "prompt": [1]})).endpoint.name == "idle"
            assert (await router.pick({"model": "poet", "prompt": [1]})).endpoint.name == "busy", "nobody else has the adapter"
            assert router.engines["busy"].adapters == {"poet"}

    asyncio.run(main())


def test_an_engine_of_other_blocks_is_named_and_not_followed() -> None:
    other = Played(says_hello, metrics=METRICS.replace('block_size="16"', 'block_size="64"'))

    async def main() -> None:
        async with playing(other), Router([other.url], EXACT, block_size=16, limits=QUICK) as router:
            await until("it is named", lambda: any(engine.problem for engine in router.engines.values()))
            [engine] = router.engines.values()
            assert engine.is_up and engine.problem is not None and "blocks of 64 tokens" in engine.problem

    asyncio.run(main())


def test_images_are_found_where_an_engine_renders() -> None:
    async def render(asked: Asked) -> None:
        features = {"mm_hashes": {"image": ["cafe"]}, "mm_placeholders": {"image": [{"offset": 3, "length": 20}]}}
        await asked.answer({"token_ids": list(range(40)), "features": features})

    async def refuse(asked: Asked) -> None:
        await asked.answer({"error": "not enabled"}, 403)

    body = {"model": "tiny", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}

    async def main() -> None:
        renders, refuses = Played(render), Played(refuse)
        async with playing(renders, refuses), Router([refuses.url, renders.url], EXACT, limits=QUICK) as router:
            for _ in range(3):
                found = await router.tokenize(body)
                assert found is not None and list(found.mm) == [("cafe", 3, 20)] and len(found.tokens) == 40
            assert len(refuses.of("/v1/chat/completions/render")) == 1, "who has refused is not asked again"

    asyncio.run(main())


def test_a_request_that_cannot_be_tokenised_goes_without() -> None:
    body = {"model": "tiny", "prompt": ["two", "texts"]}

    async def main() -> None:
        async with playing(engine := Played(says_hello)), Router([engine.url], EXACT, limits=QUICK) as router:
            pick = await router.pick(body)
            assert (pick.overlap, pick.hit_tokens, router.untokenized) == ({}, 0, 1)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"{", "no JSON"), (b"[]", "no JSON object"), ({"prompt": "x"}, "model None"), ({"model": "m", "prompt": [-1]}, "token")],
)
def test_a_request_that_is_none_is_refused_with_its_status(body: dict[str, object] | bytes, says: str) -> None:
    async def main() -> None:
        async with playing(engine := Played(says_hello)), Router([engine.url], EXACT, limits=QUICK) as router:
            with pytest.raises(InvalidError) as caught:
                await router.pick(body)
            notes = getattr(caught.value, "__notes__", [])
            assert says in "; ".join([str(caught.value), *notes]) and caught.value.status == 400

    asyncio.run(main())


def test_a_filter_that_leaves_nobody_has_its_status_and_reason() -> None:
    async def main() -> None:
        async with playing(engine := Played(says_hello)):
            async with Router([Engine(engine.url, labels={"zone": "b"})], BY_LABEL, limits=QUICK) as router:
                with pytest.raises(ExhaustedError) as caught:
                    await router.complete({"model": "tiny", "prompt": "x"})
                assert caught.value.status == 429
                router.reload(LEAST_BUSY)
                async with await router.complete({"model": "tiny", "prompt": "x"}) as completion:
                    assert (await completion.json())["choices"] == [{"text": "hello"}]

    asyncio.run(main())


def test_picks_are_bounded_and_what_is_forgotten_comes_back() -> None:
    async def main() -> None:
        async with playing(engine := Played(says_hello)):
            async with Router([engine.url], LEAST_BUSY, limits=Limits(picks=2)) as router:
                held = [await router.pick(llmd.Request("tiny")) for _ in range(2)]
                with pytest.raises(ExhaustedError, match="2 picks are held") as caught:
                    await router.pick(llmd.Request("tiny"))
                assert caught.value.status == 429 and held[0].endpoint.in_flight[0] == 2
                held.clear()
                done = [await router.pick(llmd.Request("tiny")) for _ in range(2)]
                for pick in done:
                    pick.done(prompt_tokens=1, output_tokens=1)
                    pick.done()
                await router.pick(llmd.Request("tiny"))
                with pytest.raises(InvalidError, match="path") as refused:
                    await router.complete({"model": "tiny", "prompt": "x"}, path="/v1/embeddings")
                assert refused.value.status == 400

    asyncio.run(main())


def test_when_every_engine_fails_it_says_so() -> None:
    async def main() -> None:
        broken = [Played(fails), Played(fails)]
        async with playing(*broken), Router([engine.url for engine in broken], LEAST_BUSY, limits=QUICK) as router:
            async with await router.complete({"model": "tiny", "prompt": "x"}) as completion:
                assert completion.status == 500 and await completion.json() == {"error": "broken"}, "the last one's answer"
            assert [len(engine.of("/v1/completions")) for engine in broken] == [1, 1]
            pick = completion.pick
        async with Router(["127.0.0.1:9"], LEAST_BUSY, limits=QUICK) as router:
            with pytest.raises(UnavailableError, match="every engine failed") as caught:
                await router.complete({"model": "tiny", "prompt": "x"})
            assert caught.value.status == 503 and pick.endpoint.in_flight == (0, 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", UnavailableError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", UnavailableError),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n", None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nshort", None),
    ],
)
def test_an_answer_that_is_cut_short_is_no_answer(answer: bytes, error: type[Exception] | None) -> None:
    async def main() -> None:
        async with playing(engine := Played(lambda asked: asked.raw(answer))), Router([engine.url], LEAST_BUSY) as router:
            completion = await router.complete({"model": "tiny", "prompt": "x"})
            if error is None:
                assert await completion.read() == b"short"
            else:
                with pytest.raises(error, match="went away amid its answer"):
                    await completion.read()
            assert completion.pick.endpoint.in_flight == (0, 0)

    asyncio.run(main())


def test_what_is_no_router_is_refused_when_it_is_made() -> None:
    for config_, error, says in (
        ("kind: Nonsense\n", InvalidError, "apiVersion is missing"),
        (EXACT.replace("active-request-scorer", "no-such-scorer"), InvalidError, "no-such-scorer"),
        ("nowhere.yaml", InvalidError, "nowhere.yaml"),
    ):
        with pytest.raises((error, UnsupportedError), match=says):
            Router(["h:1"], config_)
    for engines, says in ((["ftp://h:1"], "ftp"), (["h:port"], "h:port"), (["h:1", "http://h:1"], "two engines"), ([""], "url")):
        with pytest.raises(InvalidError, match=says):
            Router(engines)
    with pytest.raises(InvalidError, match="ranks 0"):
        Router([Engine("h:1", ranks=0)])
    with pytest.raises(InvalidError, match="scrape 0"):
        Limits(scrape=0)
    with pytest.raises(UnsupportedError, match="connector"):
        Router(["h:1"], connector="nonsense")

    async def main() -> None:
        router = Router(["127.0.0.1:9"], EXACT, limits=Limits(start=0.3))
        with pytest.raises(UnavailableError, match="give block_size"):
            await router.__aenter__()
        router = Router([Engine("127.0.0.1:9", events="nonsense")], EXACT, block_size=16)
        with pytest.raises(InvalidError, match="nonsense"):
            await router.__aenter__()
        with pytest.raises(InvalidError, match="does not run"):
            await router.pick({"model": "m"})

    asyncio.run(main())


def test_engines_are_named_by_urls_and_endpoints() -> None:
    engine = Engine.of(llmd.Endpoint("pod-7", "10.0.0.7:8000", labels={"zone": "a"}))
    assert (engine.url, engine.name, engine.labels) == ("http://10.0.0.7:8000", "pod-7", {"zone": "a"})
    assert Engine.of("https://h").url == "https://h:443" and Engine.of("http://[::1]:5/").address == "[::1]:5"
    assert Engine.of(Engine("h:1", role="prefill")).labels == {"llm-d.ai/role": "prefill"}
    assert Engine("h:1", events=("tcp://h:2", "tcp://h:3")).sources() == [("tcp://h:2", "tcp://h:3")]
    assert Engine("h:1", events="tcp://h:2").sources() == ["tcp://h:2"] and Engine("h:1", events=()).sources() == []


def test_the_default_policy_is_llmds() -> None:
    text = (ROOT / "benches/fleet/policies/llmd-default.yaml").read_text()
    assert [line for line in text.splitlines() if not line.startswith("#")] == DEFAULT_POLICY.splitlines()


def test_importing_the_package_imports_no_asyncio() -> None:
    program = "import sys, llmd_py; assert 'asyncio' not in sys.modules; llmd_py.Router; assert 'asyncio' in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
