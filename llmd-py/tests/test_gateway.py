"""The gateway in the wheel is the program: the same arguments, exit codes and signals, before real engines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from fleet import Engine, Gateway, Process, wait_until

MODEL = "tiny"
COMMAND = [sys.executable, "-W", "error", "-X", "faulthandler", "-m", "llmd_py.gateway"]


class WheelGateway(Gateway):
    """The gateway in the wheel, in front of `engines`."""

    def __init__(self, engines: list[Engine], folder: Path) -> None:
        endpoints = folder / "endpoints.json"
        endpoints.write_text(json.dumps({"endpoints": [engine.entry() for engine in engines]}))
        args = [*COMMAND[1:], "--listen", "127.0.0.1:0", "--endpoints", str(endpoints)]
        Process.__init__(self, sys.executable, args, folder / "gateway.log")
        self.http = self.ready["listening"]

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def ends(self) -> int:
        return self._child.wait(30)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine("e0", tmp_path_factory.mktemp("engine"))
    try:
        yield engine
    finally:
        engine.kill()


@pytest.fixture
def gateway(engine: Engine, tmp_path: Path) -> Iterator[WheelGateway]:
    gateway = WheelGateway([engine], tmp_path)
    try:
        wait_until("the gateway serves every model", gateway.is_ready)
        yield gateway
    finally:
        gateway.kill()


@pytest.fixture
def client(gateway: WheelGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://{gateway.http}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)


def test_help_is_the_programs() -> None:
    ended = run("--help")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "--endpoints <FILE>" in ended.stdout and "SIGTERM and SIGINT drain it" in ended.stdout
    assert run("--version").stdout.startswith("llmd-gateway ")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "--endpoints <FILE>"),
        (["--endpoint", "x"], 2, "--endpoint"),
        (["--endpoints", "nowhere.json", "--log", "nonsense=="], 2, "--log"),
        (["--endpoints", "nowhere.json"], 1, "nowhere.json"),
    ],
)
def test_what_it_is_told_wrong_is_named_and_coded(arguments: list[str], code: int, says: str) -> None:
    ended = run(*arguments)

    assert ended.returncode == code and says in ended.stderr, ended.stderr
    assert ended.stdout == "" and "Traceback" not in ended.stderr


def test_it_serves_and_ends_in_good_order_on_ctrl_c(client: openai.OpenAI, gateway: WheelGateway) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}], max_tokens=3)
    assert answer.usage is not None and answer.usage.completion_tokens == 3

    gateway.signal(signal.SIGINT)

    assert gateway.ends() == 0
    assert "Traceback" not in gateway.log.read_text()


def test_a_stream_that_has_begun_comes_to_its_end_after_sigterm(client: openai.OpenAI, gateway: WheelGateway) -> None:
    stream = client.completions.create(model=MODEL, prompt="a story", max_tokens=60, stream=True)
    chunks = [next(iter(stream))]
    gateway.signal(signal.SIGTERM)
    chunks.extend(stream)

    assert len(chunks) >= 60 and chunks[-1].choices[0].finish_reason == "length"
    assert gateway.ends() == 0


def test_a_second_signal_ends_it_at_once(client: openai.OpenAI, gateway: WheelGateway, engine: Engine) -> None:
    stream = client.completions.create(model=MODEL, prompt="a very long story", max_tokens=20_000, stream=True)
    next(iter(stream))
    gateway.signal(signal.SIGTERM)
    wait_until("it drains", lambda: "draining" in gateway.log.read_text())
    gateway.signal(signal.SIGTERM)

    assert gateway.ends() == 0
    wait_until("the engine has let it go", lambda: engine.running() == 0)
