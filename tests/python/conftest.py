"""One fleet for all tests: two engines and the gateway in front of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from processes import Engine, Gateway, wait_until

# Whoever starts the tests in the background has interrupts ignored, and every process below would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Engine]]:
    folder = tmp_path_factory.mktemp("engines")
    started: list[Engine] = []
    try:
        started.extend(Engine(name, folder) for name in ("e0", "e1"))
        yield started
        assert [engine.stop() for engine in started] == [0, 0], "an engine that is asked to end exits with 0"
    finally:
        for engine in started:
            engine.kill()


@pytest.fixture(scope="session")
def gateway(engines: list[Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(engines, tmp_path_factory.mktemp("gateway"))
    try:
        wait_until("the gateway serves every model", gateway.is_ready)
        yield gateway
        assert gateway.stop() == 0, "a gateway that is asked to end exits with 0"
    finally:
        gateway.kill()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    """The real client. It does not retry: what it sees is what the gateway did."""
    with openai.OpenAI(base_url=f"http://{gateway.http}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client
