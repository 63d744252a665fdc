"""Requests that one engine prefills and another decodes: what each is told, what happens when one fails, and who is told to stop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llmd_py import Router
from llmd_py.errors import UnavailableError
from llmd_py.router import Engine, Limits

from engines import Asked, Played, fails, playing, says_hello, says_nothing, until
from routing import DISAGGREGATED

LIMITS = Limits(scrape=0.05, ask=0.5, tokenize=0.5)
BODY = {"model": "tiny", "prompt": "once upon a time", "max_tokens": 5, "kv_transfer_params": {"remote_host": "theirs"}}
NIXL = {"do_remote_prefill": True, "do_remote_decode": False, "remote_engine_id": "p", "remote_block_ids": [[1, 2]], "remote_host": "h"}
LLMD = {"connector": "llmd", "do_remote_decode": False, "do_remote_prefill": True, "grant": "Z3JhbnQ=", "remote_num_tokens": 16}


def prefiller(params: dict[str, Any] | None, cached: int = 3) -> Played:
    async def prefill(asked: Asked) -> None:
        usage = {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": cached}}
        await asked.answer({"choices": [], "usage": usage, "kv_transfer_params": params})

    return Played(prefill)


def router_of(prefill: list[Played], decode: list[Played], connector: str = "nixlv2") -> Router:
    engines = [Engine(engine.url, f"prefill-{n}", role="prefill") for n, engine in enumerate(prefill)]
    engines += [Engine(engine.url, f"decode-{n}", role="decode") for n, engine in enumerate(decode)]
    return Router(engines, DISAGGREGATED, connector=connector, limits=LIMITS, seed=3)


@pytest.mark.parametrize(("connector", "params"), [("nixlv2", NIXL), ("llmd", LLMD)])
def test_the_decoder_is_told_what_the_prefiller_said(connector: str, params: dict[str, Any]) -> None:
    async def main() -> None:
        prefill, decode = prefiller(params), Played(says_hello)
        async with playing(prefill, decode), router_of([prefill], [decode], connector) as router:
            async with await router.complete(BODY, headers={"X-Tenant": "t", "Connection": "keep-alive"}) as completion:
                assert (completion.status, completion.kv, completion.cached_tokens) == (200, "handed", 3)
                assert (await completion.json())["choices"] == [{"text": "hello"}]
            [first], [second] = prefill.of("/v1/completions"), decode.of("/v1/completions")
            assert first.body["max_tokens"] == 1 and first.body["kv_transfer_params"]["do_remote_decode"] is True
            assert second.body["max_tokens"] == 5 and second.body["kv_transfer_params"] == params
            assert first.headers["x-request-id"] == second.headers["x-request-id"] and second.headers["x-tenant"] == "t"
            assert "x-prefiller-host-port" not in second.headers, "a sidecar would prefill again"
            assert "theirs" not in str(first.body) and "theirs" not in str(second.body)
            assert completion.pick.decision.released

    asyncio.run(main())


def test_a_prefiller_that_fails_is_followed_by_the_next_and_then_by_none() -> None:
    async def main() -> None:
        broken, other, decode = Played(fails), prefiller(NIXL), Played(says_hello)
        async with playing(broken, other, decode):
            async with router_of([broken, other], [decode]) as router:
                for _ in range(4):
                    async with await router.complete(BODY) as completion:
                        assert completion.kv == "handed" and await completion.read()
            assert broken.of("/v1/completions") and len(other.of("/v1/completions")) == 4
            async with router_of([broken], [decode]) as router:
                async with await router.complete(BODY) as completion:
                    assert completion.kv is None and completion.pick.decision.skipped == ["prefill"]
                    assert (await completion.json())["choices"] == [{"text": "hello"}]
            assert "kv_transfer_params" not in decode.asked[-1].body
            said_nothing = prefiller(None)
        async with playing(said_nothing, decode), router_of([said_nothing], [decode]) as router:
            async with await router.complete(BODY) as completion:
                assert completion.kv == "recomputed"

    asyncio.run(main())


def test_what_a_prefiller_says_is_wrong_with_the_request_is_the_answer() -> None:
    async def refuse(asked: Asked) -> None:
        await asked.answer({"error": "too long"}, 400)

    async def main() -> None:
        prefill, decode = Played(refuse), Played(says_hello)
        async with playing(prefill, decode), router_of([prefill], [decode]) as router:
            async with await router.complete(BODY) as completion:
                assert completion.status == 400 and await completion.json() == {"error": "too long"}
            assert decode.of("/v1/completions") == [] and completion.pick.decision.released

    asyncio.run(main())


def test_a_decoder_that_fails_is_followed_by_one_that_computes_the_prompt_itself() -> None:
    async def main() -> None:
        prefill, broken, decode = prefiller(NIXL), Played(fails), Played(says_hello)
        async with playing(prefill, broken, decode), router_of([prefill], [broken, decode]) as router:
            for _ in range(4):
                async with await router.complete(BODY) as completion:
                    assert completion.status == 200 and await completion.read()
            assert broken.of("/v1/completions")
            for asked in decode.of("/v1/completions")[: len(broken.of("/v1/completions"))]:
                assert asked.body.get("kv_transfer_params") in (None, NIXL)

    asyncio.run(main())


def test_a_prefiller_that_is_silent_is_given_up_at_its_deadline() -> None:
    async def main() -> None:
        silent, decode = Played(says_nothing), Played(says_hello)
        async with playing(silent, decode), router_of([silent], [decode]) as router:
            async with await router.complete(BODY) as completion:  # the configuration says 1.5 s
                assert completion.status == 200 and completion.pick.decision.skipped == ["prefill"]
            assert silent.aborted == 1

    asyncio.run(main())


@pytest.mark.parametrize("connector", ["nixlv2", "sglang"])
def test_cancelling_ends_whatever_has_begun(connector: str) -> None:
    async def main() -> None:
        silent, decode = Played(says_nothing), Played(says_nothing)
        async with playing(silent, decode), router_of([silent], [decode], connector) as router:
            task = asyncio.create_task(router.complete(BODY))
            engines = [silent, decode] if connector == "sglang" else [silent]
            await until("it runs", lambda: all(engine.of("/v1/completions") for engine in engines))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until("they have given it up", lambda: all(engine.aborted == 1 for engine in engines))
            assert not router._picks

    asyncio.run(main())


def test_engines_that_start_at_once_are_both_left_when_the_answer_is() -> None:
    async def stream(asked: Asked) -> None:
        await asked.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n")
        await says_nothing(asked)

    async def main() -> None:
        prefill, decode = Played(says_nothing), Played(stream)
        async with playing(prefill, decode), router_of([prefill], [decode], "sglang") as router:
            async with await router.complete({**BODY, "stream": True}) as completion:
                assert await anext(aiter(completion)) == b"data: {}\n\n"
                rooms = {engine.of("/v1/completions")[0].body["bootstrap_room"] for engine in (prefill, decode)}
                assert len(rooms) == 1
            await until("both have given it up", lambda: prefill.aborted == decode.aborted == 1)

    asyncio.run(main())


def test_a_decoder_is_tried_first_where_the_client_says_how_much_it_must_hold() -> None:
    body = {**BODY, "cache_hit_threshold": 0.8}
    answers = [{"choices": [{"finish_reason": "cache_threshold"}]}, {"choices": [{"text": "hello", "finish_reason": "stop"}]}]

    async def main() -> None:
        for first in range(2):
            left = list(answers[first:])

            async def decode_(asked: Asked, left: list[dict[str, Any]] = left) -> None:
                await asked.answer(left.pop(0))

            prefill, decode = prefiller(None), Played(decode_)
            async with playing(prefill, decode), router_of([prefill], [decode], "shared-storage") as router:
                async with await router.complete(body) as completion:
                    assert (await completion.json()) == answers[1]
                assert len(prefill.of("/v1/completions")) == 1 - first

    asyncio.run(main())


@pytest.mark.parametrize("connector", ["nixlv2", "sglang"])
def test_when_every_decoder_fails_no_other_prefiller_is_asked(connector: str) -> None:
    async def drop(asked: Asked) -> None:
        asked.writer.close()

    async def main() -> None:
        prefill, decode = [prefiller(NIXL), prefiller(NIXL)], Played(drop)
        async with playing(*prefill, decode), router_of(prefill, [decode], connector) as router:
            with pytest.raises(UnavailableError, match="every engine failed") as caught:
                await router.complete(BODY)
            assert caught.value.status == 503 and len(decode.of("/v1/completions")) == 1
            assert sum(len(engine.of("/v1/completions")) for engine in prefill) <= 1
            assert not router._picks

    asyncio.run(main())


def test_whoever_sends_otherwise_gives_a_callable() -> None:
    sent: list[str] = []

    async def nobody(method: str, url: str, headers: object, body: bytes) -> Any:
        sent.append(f"{method} {url}")
        raise ConnectionRefusedError("nobody")

    async def main() -> None:
        async with Router([Engine("h:1", role="decode")], DISAGGREGATED, send=nobody) as router:
            with pytest.raises(UnavailableError, match="every engine failed, the last with: http://h:1/v1/completions: nobody"):
                await router.complete(BODY)
        assert "POST http://h:1/v1/completions" in sent

    asyncio.run(main())
