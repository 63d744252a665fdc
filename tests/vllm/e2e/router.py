"""Whether a router knows what real engines hold: each hit that it predicts, against the one that the engine reports."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zmq
from engine import BLOCK_TOKENS, Engine, free_port
from llmd_py import Router
from llmd_py.router import Engine as At
from prompts import Prompt, all_kinds, tokens

#: How many requests are compared, and how many in the short form.
REQUESTS, FEW = 240, 40
#: So few blocks that prompts evict each other.
BLOCKS = 200
#: Seconds in which an engine that has answered publishes nothing more.
QUIET = 0.08

POLICY = f"""\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {{type: precise-prefix-cache-producer, parameters: {{tokenProcessorConfig: {{blockSizeTokens: {BLOCK_TOKENS}}}}}}}
- {{type: prefix-cache-scorer, parameters: {{prefixMatchInfoProducerName: precise-prefix-cache-producer}}}}
- {{type: active-request-scorer}}
schedulingProfiles:
- name: default
  plugins:
  - {{pluginRef: prefix-cache-scorer, weight: 3}}
  - {{pluginRef: active-request-scorer, weight: 2}}
"""


@dataclass
class Found:
    """What became of so many requests."""

    requests: int = 0
    requests_with_hits: int = 0
    requests_with_adapters: int = 0
    requests_with_salts: int = 0
    hit_tokens: int = 0
    #: Requests of which the engine reported another hit than was predicted.
    hit_prediction_errors: int = 0
    #: Requests of which the scheduler itself predicted another.
    scheduler_prediction_errors: int = 0
    #: The same of a cache that was emptied without a word to the router: 1, since who compares must see it.
    errors_when_not_told: int = 0
    #: Blocks that were predicted and of which the engine's events had another name than is computed.
    name_errors: int = 0
    failed_requests: int = 0
    #: Requests that came when one engine was gone.
    requests_during_restart: int = 0
    resets: int = 0
    restarts: int = 0


class Wire:
    """Hears what the engines publish, beside the router: to know when it has all of it."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.last: dict[str, int] = {}
        self._sockets = {}
        for engine in engines:
            heard = zmq.Context.instance().socket(zmq.SUB)
            heard.subscribe(b"")
            heard.connect(_published(engine))
            self._sockets[engine.name] = heard

    async def drain(self, router: Router) -> None:
        """Wait until nothing more comes, and the router has what came."""
        quiet_since = time.monotonic()
        deadline = quiet_since + 30
        while time.monotonic() < deadline:
            if self._hear():
                quiet_since = time.monotonic()
            taken = {name: status.last_seq for name, status in router.events.items()}
            if time.monotonic() - quiet_since > QUIET and all(taken[name] == last for name, last in self.last.items() if name in taken):
                return
            await asyncio.sleep(0.005)
        raise TimeoutError(f"published {self.last}, taken {router.events}")

    def forget(self, name: str) -> None:
        """An engine has ended: it counts anew."""
        self._hear()
        self.last.pop(name, None)

    def close(self) -> None:
        """Hear no more."""
        for heard in self._sockets.values():
            heard.close(0)

    def _hear(self) -> bool:
        some = False
        for name, heard in self._sockets.items():
            while heard.poll(0):
                _, seq, _ = heard.recv_multipart()
                self.last[name] = int.from_bytes(seq, "big")
                some = True
        return some


def measure(model: Path, folder: Path, short: bool) -> dict[str, float]:
    """Start two engines, send requests through a router, one at a time, and give what was found."""
    loras = {name: model.parent / name for name in ("lora-a", "lora-b")}
    engines = [_engine(name, folder, model, loras) for name in ("router-a", "router-b")]
    try:
        for engine in engines:
            engine.start()
        for engine in engines:
            engine.ready()
        found, seconds = asyncio.run(_measure(engines, loras, FEW if short else REQUESTS))
    finally:
        for engine in engines:
            engine.stop()
    figures = {f"router.{name}": float(count) for name, count in asdict(found).items()}
    return {**figures, "router.pick_us_p50": statistics.median(seconds) * 1e6}


async def _measure(engines: Sequence[Engine], loras: Mapping[str, Path], count: int) -> tuple[Found, list[float]]:
    found, wire = Found(), Wire(engines)
    at = [At(engine.url(""), name=engine.name) for engine in engines]
    try:
        async with Router(at, POLICY, seed=1) as router:
            if not await router.ready(30):
                raise TimeoutError(f"the router is not ready: {router.engines}")
            asked = _prompts(list(loras))
            for number in range(count):
                if number == count // 4:
                    await router.reset(engines[0].name)
                    found.resets += 1
                if number == count // 2:
                    await _restart(router, wire, engines[0], asked, found, loras)
                if number == count * 3 // 4:
                    for engine in engines:  # by somebody else, who tells the router
                        engine.forget()
                        await router.clear(engine.name)
                        found.resets += 1
                await _compare(router, wire, next(asked), found, loras)
            found.errors_when_not_told = await _untold(router, wire, engines, loras)
            seconds = await _picks(router)
    finally:
        wire.close()
    return found, seconds


async def _restart(
    router: Router, wire: Wire, engine: Engine, asked: Iterator[Prompt], found: Found, loras: Mapping[str, Path]
) -> None:
    """Kill an engine, go on without it, and have it back."""
    engine.kill()
    wire.forget(engine.name)
    for prompt in itertools.islice(asked, 4):
        await _compare(router, wire, prompt, found, loras, missing=engine.name)
        found.requests_during_restart += 1
    await asyncio.to_thread(lambda: engine.start().ready())
    deadline = time.monotonic() + 60
    while not (router.engines[engine.name].is_up and await router.ready(5)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the router does not see the engine again: {router.engines}")
        await asyncio.sleep(0.1)
    found.restarts += 1


async def _compare(
    router: Router, wire: Wire, prompt: Prompt, found: Found, loras: Mapping[str, Path], missing: str | None = None
) -> None:
    """Send one request, and hold the hit that was predicted against the one that the engine reports."""
    if missing is None:
        await wire.drain(router)
    body = {"model": "tiny", "temperature": 0, "ignore_eos": True, "max_tokens": 8, **prompt}
    async with await router.complete(body) as completion:
        answer = await completion.json()
    pick, found.requests = completion.pick, found.requests + 1
    found.requests_with_adapters += body["model"] in loras
    found.requests_with_salts += "cache_salt" in body
    if completion.status != 200:
        found.failed_requests += 1
        print(f"{completion}: {answer}", file=sys.stderr)
        return
    reported = (answer["usage"].get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    found.hit_tokens += reported
    found.requests_with_hits += reported > 0
    found.scheduler_prediction_errors += reported != pick.decision.predicted_hit_tokens
    if reported != pick.hit_tokens:
        found.hit_prediction_errors += 1
        what = {**prompt, "prompt": len(prompt.get("prompt", ()))}
        print(f"{pick.url}: predicted {pick.hit_tokens}, reported {reported}: {what}\n{pick.explanation}", file=sys.stderr)
    if missing is None:
        await wire.drain(router)
        found.name_errors += await _misnamed(router, body, pick.endpoint.worker, pick.hit_tokens, loras)


async def _untold(router: Router, wire: Wire, engines: Sequence[Engine], loras: Mapping[str, Path]) -> int:
    """Empty the caches without a word to the router, and count what the comparison sees of it."""
    found, prompt = Found(), {"prompt": tokens(99, 10 * BLOCK_TOKENS + 5)}
    for _ in range(2):
        await _compare(router, wire, prompt, found, loras)
    if found.hit_prediction_errors or found.hit_tokens != 10 * BLOCK_TOKENS:
        raise AssertionError(f"a prompt that was sent twice: {found}")
    for engine in engines:
        engine.forget()
    await _compare(router, wire, prompt, found, loras)
    return found.hit_prediction_errors


async def _misnamed(router: Router, body: Mapping[str, Any], worker: str, hit: int, loras: Mapping[str, Path]) -> int:
    """Count the blocks of a hit that the engine calls otherwise than is computed."""
    asked, hasher = await router.tokenize(body), router.hasher(worker)
    if asked is None or hasher is None or worker not in router.events:
        return 0
    lora = body["model"] if body["model"] in loras else None
    path = str(loras[lora]) if lora is not None else None
    names = hasher.event_names(asked.tokens, lora=lora, lora_path=path, salt=body.get("cache_salt"))[: hit // BLOCK_TOKENS]
    held = {name for _, _, name, _ in router.index.residents(worker)}
    return sum(name not in held for name in names)


async def _picks(router: Router) -> list[float]:
    """Say how long a pick takes of 1,000 tokens that are given, in seconds."""
    seconds, prompt = [], tokens(11, 1000)
    for _ in range(200):
        began = time.perf_counter()
        pick = await router.pick({"model": "tiny"}, tokens=prompt)
        seconds.append(time.perf_counter() - began)
        pick.abandon()
    return seconds


def _prompts(loras: Sequence[str]) -> Iterator[Prompt]:
    """Give prompts for ever: each kind, again and again, and conversations that grow."""
    drawn, kinds = random.Random(5), [prompt for _, prompt in all_kinds(loras)]
    talks = [{"prompt": tokens(200 + talk, 40 + 31 * talk), **under} for talk, under in enumerate(_unders(loras))]
    while True:
        if drawn.random() < 0.3:
            yield {**drawn.choice(kinds), "max_tokens": drawn.choice([1, 2, 33, 70])}
        else:
            talk = drawn.choice(talks)
            yield {**talk, "max_tokens": drawn.choice([1, 8, 40])}
            grown = [*talk["prompt"], *tokens(drawn.randrange(1 << 30), drawn.choice([1, 31, 32, 70]))]
            talk["prompt"] = grown if len(grown) < 1500 else grown[:50]


def _unders(loras: Sequence[str]) -> list[Prompt]:
    return [{}, {}, *({"model": name} for name in loras), {"cache_salt": "one"}, {"cache_salt": "two", "model": loras[0]}]


def _engine(name: str, folder: Path, model: Path, loras: Mapping[str, Path]) -> Engine:
    port, events, replay = (free_port() for _ in range(3))
    published = {"enable_kv_cache_events": True, "publisher": "zmq", "endpoint": f"tcp://*:{events}", "replay_endpoint": f"tcp://*:{replay}"}
    return Engine(name, port, folder, model, blocks=BLOCKS, events=published, loras=loras)


def _published(engine: Engine) -> str:
    assert engine.events is not None
    return str(engine.events["endpoint"]).replace("*", engine.place.host)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), "--short" in sys.argv), indent=1))
