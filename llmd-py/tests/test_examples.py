"""The examples run as they stand, and say what is so."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from fleet import ROOT, Engine, Process, get, wait_until

EXAMPLES = ROOT / "examples/python"
MODEL, BLOCK_SIZE = "tiny", 16
MAX_LINES = 80

POLICY = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: precise-prefix-cache-producer, parameters: {tokenProcessorConfig: {blockSizeTokens: 16}}}
- {type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}}
- {type: active-request-scorer}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: prefix-cache-scorer, weight: 3}
  - {pluginRef: active-request-scorer, weight: 2}
"""

BY_MEMORY = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: prefix-cache-scorer}
- {type: active-request-scorer}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: prefix-cache-scorer, weight: 3}
  - {pluginRef: active-request-scorer, weight: 2}
"""


def run(example: str) -> str:
    command = [sys.executable, str(EXAMPLES / example)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_example_of_an_index_says_who_holds_the_prompt() -> None:
    lines = run("who_holds_this_prompt.py").splitlines()

    assert lines[0] == "pod-7 stored 6 blocks and is exact"
    assert lines[1] == "pod-7 holds 6 leading blocks: 192 of 232 tokens"
    assert "block 6 was never stored" in lines[3]
    assert lines[-1] == "of 100 tokens pod-8 and pod-7 hold [0, 3], of all [0, 6]"


def test_the_example_of_a_decision_goes_where_the_prompt_is() -> None:
    said = run("where_should_it_go.py")

    assert said.startswith("engine-1 at 10.0.0.1:8000 because\nprofile default: max-score-picker chose engine-1")
    assert "in flight there, requests and tokens to compute: (1, 40)" in said
    assert said.endswith("in flight after the end: (0, 0)\n")


def test_the_example_of_two_agents_moves_blocks_between_processes() -> None:
    lines = run("move_kv.py").splitlines()

    assert lines == ["decode-0 has 3 blocks by shm: [3, 1, 7], done", "prefill-0 may use 3 blocks again: finished"]


@pytest.mark.parametrize("example", ["gateway.py", "scheduler_gateway.py"])
def test_a_gateway_is_as_short_as_it_says(example: str) -> None:
    lines = (EXAMPLES / example).read_text().splitlines()

    assert 40 < len(lines) <= MAX_LINES
    assert max(map(len, lines)) <= 130, "lines are no way around the limit"


class ExampleGateway(Process):
    """The example, in front of `engines`; without an index, the smaller one."""

    def __init__(self, engines: list[Engine], folder: Path, index: bool = True) -> None:
        config = folder / "epp.yaml"
        config.write_text(POLICY if index else BY_MEMORY)
        addresses = [engine.http for engine in engines]
        program = [str(EXAMPLES / ("gateway.py" if index else "scheduler_gateway.py")), str(config)]
        args = [*program, *([str(BLOCK_SIZE)] if index else []), "0", *addresses]
        super().__init__(sys.executable, args, folder / "gateway.log")
        self.http: str = self.ready["listening"]

    def explain(self, request: str) -> str:
        return "\n".join(json.loads(get(f"http://{self.http}/debug/explain/{request}")))

    def interrupt(self) -> int:
        self._child.send_signal(signal.SIGINT)
        return self._child.wait(30)


@contextmanager
def fleet(folder: Path, index: bool = True) -> Iterator[tuple[list[Engine], ExampleGateway]]:
    """Two engines and the gateway before them."""
    started: list[Process] = []
    try:
        engines = []
        for name in ("e0", "e1"):
            engines.append(Engine(name, folder))
            started.append(engines[-1])
        gateway = ExampleGateway(engines, folder, index)
        started.append(gateway)
        yield engines, gateway
        assert gateway.interrupt() == 0, gateway.log.read_text()
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="module")
def engines_and_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Engine], ExampleGateway]]:
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture
def engines(engines_and_gateway: tuple[list[Engine], ExampleGateway]) -> list[Engine]:
    engines = engines_and_gateway[0]
    wait_until("what other tests began is over", lambda: sum(engine.running() for engine in engines) == 0)
    return engines


@pytest.fixture
def gateway(engines_and_gateway: tuple[list[Engine], ExampleGateway]) -> ExampleGateway:
    return engines_and_gateway[1]


def client_of(gateway: ExampleGateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://{gateway.http}/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture
def client(gateway: ExampleGateway) -> Iterator[openai.OpenAI]:
    with client_of(gateway) as client:
        yield client


def conversation(subject: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": f"Tell me everything about {subject}. " * 40}]


def test_the_gateway_sends_a_prompt_back_to_where_it_was_computed(
    client: openai.OpenAI, gateway: ExampleGateway, engines: list[Engine]
) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    ask = client.chat.completions.with_raw_response.create
    first = ask(model=MODEL, messages=conversation("tin"), max_tokens=2)
    usage = first.parse().usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 0
    expected = (usage.prompt_tokens - 1) // BLOCK_SIZE * BLOCK_SIZE
    assert expected > 4 * BLOCK_SIZE

    def found() -> bool:
        again = ask(model=MODEL, messages=conversation("tin"), max_tokens=2)
        return f"  {expected}  " in gateway.explain(again.headers["x-llmd-request"]).splitlines()[2]

    wait_until("the index knows the prompt", found)
    again = ask(model=MODEL, messages=conversation("tin"), max_tokens=2)
    usage = again.parse().usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == expected
    assert "exact  chosen" in gateway.explain(again.headers["x-llmd-request"])


def test_the_gateway_streams_token_by_token(client: openai.OpenAI, engines: list[Engine]) -> None:
    stream = client.completions.create(model=MODEL, prompt="a very long story", max_tokens=20_000, stream=True)
    pieces = [next(iter(stream)).choices[0].text for _ in range(3)]
    assert all(pieces), "it has begun while minutes of it are still to come"
    wait_until("it runs on one engine", lambda: sum(engine.running() for engine in engines) == 1)

    stream.close()

    wait_until("the engine has let it go", lambda: sum(engine.running() for engine in engines) == 0)


def test_the_gateway_spreads_what_comes_at_once(client: openai.OpenAI, engines: list[Engine]) -> None:
    streams = [
        client.completions.create(model=MODEL, prompt=f"story {n}", max_tokens=20_000, stream=True) for n in range(6)
    ]
    wait_until("each has its half", lambda: [engine.running() for engine in engines] == [3, 3])
    for stream in streams:
        stream.close()


def test_the_gateway_goes_on_when_an_engine_is_gone(tmp_path: Path) -> None:
    with fleet(tmp_path) as (engines, gateway), client_of(gateway) as client:
        engines[0].kill()

        with ThreadPoolExecutor(8) as pool:
            ask = lambda n: client.completions.create(model=MODEL, prompt=f"question {n}", max_tokens=2)  # noqa: E731
            answers = list(pool.map(ask, range(16)))
        assert all(answer.choices[0].text for answer in answers)

        engines[1].kill()
        with pytest.raises(openai.InternalServerError, match="every engine failed"):
            client.completions.create(model=MODEL, prompt="anybody", max_tokens=2)


def test_the_gateway_passes_on_what_an_engine_refuses_and_refuses_what_is_no_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.completions.create(model=MODEL, prompt="x", max_tokens=-1)
    with pytest.raises(openai.BadRequestError, match="model"):
        client.post("/completions", body={"prompt": "a request without its model"}, cast_to=object)
    with pytest.raises(openai.NotFoundError):
        client.models.with_raw_response.retrieve("../debug/explain/nobody")


def test_the_gateway_around_a_scheduler_streams_spreads_a_burst_and_explains(tmp_path: Path) -> None:
    with fleet(tmp_path, index=False) as (engines, gateway), client_of(gateway) as client:
        begin = lambda n: client.completions.create(model=MODEL, prompt=f"story {n}", max_tokens=20_000, stream=True)  # noqa: E731
        with ThreadPoolExecutor(8) as pool:
            streams = list(pool.map(begin, range(8)))
        assert all(next(iter(stream)).choices[0].text for stream in streams), "minutes of them are still to come"
        wait_until("each has its half", lambda: [engine.running() for engine in engines] == [4, 4])
        explained = json.loads(get(f"http://{gateway.http}/explain"))
        ids = {stream.response.headers["x-llmd-request"] for stream in streams}
        assert {explanation["id"] for explanation in explained} == ids and len(ids) == 8
        assert all(len(explanation["profiles"][0]["endpoints"]) == 2 for explanation in explained)
        for stream in streams:
            stream.close()
        wait_until("the engines have let them go", lambda: sum(engine.running() for engine in engines) == 0)

        ask = client.chat.completions.with_raw_response.create
        for _ in range(3):
            answer = ask(model=MODEL, messages=conversation("zinc"), max_tokens=2)
            assert answer.parse().choices[0].message.content
        chosen = {explanation["endpoint"] for explanation in json.loads(get(f"http://{gateway.http}/explain"))[-3:]}
        assert len(chosen) == 1, "it goes back to where its prompt was computed"


def test_the_gateway_around_a_scheduler_goes_on_without_an_engine_and_says_when_none_is_left(tmp_path: Path) -> None:
    with fleet(tmp_path, index=False) as (engines, gateway), client_of(gateway) as client:
        with pytest.raises(openai.BadRequestError, match="max_tokens"):
            client.completions.create(model=MODEL, prompt="x", max_tokens=-1)
        with pytest.raises(openai.BadRequestError, match="model"):
            client.post("/completions", body={"prompt": "a request without its model"}, cast_to=object)
        with pytest.raises(openai.NotFoundError):
            client.models.list()
        stream = client.completions.create(model=MODEL, prompt="a very long story", max_tokens=20_000, stream=True)
        assert next(iter(stream)).choices[0].text
        wait_until("it runs", lambda: sum(engine.running() for engine in engines) == 1)
        killed = engines.pop([engine.running() for engine in engines].index(1))
        killed.kill()
        with pytest.raises(openai.APIConnectionError):
            list(stream)

        with ThreadPoolExecutor(8) as pool:
            ask = lambda n: client.completions.create(model=MODEL, prompt=f"question {n}", max_tokens=2)  # noqa: E731
            answers = list(pool.map(ask, range(16)))
        assert all(answer.choices[0].text for answer in answers)
        explained = json.loads(get(f"http://{gateway.http}/explain"))
        turns = [endpoint["turn"] for explanation in explained for endpoint in explanation["profiles"][0]["endpoints"]]
        assert "failed" in turns, "an explanation says who failed"

        engines[0].kill()
        with pytest.raises(openai.InternalServerError, match="every engine failed") as caught:
            client.completions.create(model=MODEL, prompt="anybody", max_tokens=2)
        assert caught.value.status_code == 503


def test_the_router_before_engines_sends_a_prompt_back_and_explains(tmp_path: Path) -> None:
    config = tmp_path / "epp.yaml"
    config.write_text(POLICY)
    engines: list[Engine] = []
    started: list[Process] = []
    try:
        for name in ("e0", "e1"):
            engines.append(Engine(name, tmp_path))
            started.append(engines[-1])
        args = [str(EXAMPLES / "router.py"), "0", *(engine.http for engine in engines), str(config)]
        router = Process(sys.executable, args, tmp_path / "router.log")
        started.append(router)
        base = f"http://{router.ready['listening']}"
        with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0, timeout=60) as client:
            ask = client.chat.completions.with_raw_response.create

            def is_found() -> bool:
                answer = ask(model=MODEL, messages=conversation("tin"), max_tokens=2)
                usage = answer.parse().usage
                assert usage is not None and usage.prompt_tokens_details is not None
                predicted = int(answer.headers["x-llmd-predicted-hit-tokens"])
                return predicted == usage.prompt_tokens_details.cached_tokens == (usage.prompt_tokens - 1) // BLOCK_SIZE * BLOCK_SIZE

            wait_until("the index knows the prompt", is_found)
            stream = client.completions.create(model=MODEL, prompt="a very long story", max_tokens=20_000, stream=True)
            assert next(iter(stream)).choices[0].text
            stream.close()
            wait_until("the engine has let it go", lambda: sum(engine.running() for engine in engines) == 0)
            with pytest.raises(openai.BadRequestError, match="no JSON"):
                client.post("/completions", content=b"{", cast_to=object, options={"headers": {"content-type": "text/plain"}})
            for engine in engines:
                engine.kill()
            with pytest.raises(openai.InternalServerError, match="every engine failed"):
                client.completions.create(model=MODEL, prompt="anybody", max_tokens=2)
        assert "Traceback" not in router.log.read_text()
    finally:
        for process in started:
            process.kill()
