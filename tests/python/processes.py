"""Engines and a gateway as processes on this machine, each on free ports."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "benches/fleet/tokenizer/tokenizer.json"
DEADLINE = 30.0


def binary(name: str) -> Path:
    """The program of this name, from the folder that LLMD_BIN_DIR names."""
    folder = os.environ.get("LLMD_BIN_DIR")
    if not folder:
        raise RuntimeError("LLMD_BIN_DIR is not set: run `cargo xtask test`, or name the folder with the binaries")
    path = Path(folder) / name
    if not path.is_file():
        raise RuntimeError(f"{path} is not there: build it with `cargo build -p llmd-fleet -p llmd-gateway --bins`")
    return path


class Process:
    """A program that says in one line of JSON that it is ready."""

    def __init__(self, name: str, args: list[str], log: Path) -> None:
        self.program = name
        self.log = log
        with log.open("wb") as stderr:
            command = [str(binary(name)), *args]
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
        try:
            self.ready = json.loads(self._first_line())
        except BaseException:
            self.kill()
            raise

    def _first_line(self) -> str:
        stdout = self._child.stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], DEADLINE)
        line = stdout.readline().decode() if readable else ""
        if not line:
            raise RuntimeError(f"{self.program} did not come up: {self.log.read_text()[-2000:]}")
        return line

    def stop(self) -> int:
        """Asks it to end, and gives its exit code."""
        self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(DEADLINE)
        finally:
            self.kill()

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()


class Engine(Process):
    """One simulated engine."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__("llmd-engine", ["--name", name, "--tokenizer", str(TOKENIZER)], folder / f"{name}.log")
        self.name = name
        self.http: str = self.ready["http"].removeprefix("http://")

    def running(self) -> float:
        """Requests in its batch or waiting for a place there."""
        page = metrics(self.http)
        return total(page, "vllm:num_requests_running") + total(page, "vllm:num_requests_waiting")

    def entry(self) -> dict[str, object]:
        """Its entry in the gateway's list of endpoints."""
        address, port = self.http.rsplit(":", 1)
        events = {"endpoint": self.ready["kv_events"], "replayEndpoint": self.ready["replay"], "topic": ""}
        return {"name": self.name, "address": address, "port": port, "kvEvents": events}


class Gateway(Process):
    """The gateway, in front of `engines`."""

    def __init__(self, engines: list[Engine], folder: Path) -> None:
        policy = (Path(__file__).parent / "policy.yaml").read_text().replace("${TOKENIZER}", str(TOKENIZER))
        config, endpoints = folder / "policy.yaml", folder / "endpoints.json"
        config.write_text(policy)
        endpoints.write_text(json.dumps({"endpoints": [engine.entry() for engine in engines]}))
        args = ["--listen", "127.0.0.1:0", "--debug", "--config", str(config), "--endpoints", str(endpoints)]
        super().__init__("llmd-gateway", args, folder / "gateway.log")
        self.http: str = self.ready["listening"]

    def reserved(self) -> float:
        """Requests that it counts as under way, by endpoint and by model."""
        page = metrics(self.http)
        return total(page, "llmd_inflight_requests") + total(page, "llmd_request_running")

    def has_caught_up(self, engines: list[Engine]) -> bool:
        """Whether its index has taken everything that the engines published, and they have nothing left to publish."""
        workers = json.loads(get(f"http://{self.http}/debug/index"))["workers"]
        taken = {worker["name"]: worker["last_seq"] for worker in workers}
        caches = {engine.name: json.loads(get(f"http://{engine.http}/debug/cache")) for engine in engines}
        assert taken.keys() == caches.keys()
        return all(
            cache["events_pending"] == 0 and cache["next_seq"] == (0 if taken[name] is None else taken[name] + 1)
            for name, cache in caches.items()
        )

    def is_ready(self) -> bool:
        try:
            return get(f"http://{self.http}/ready") is not None
        except OSError:
            return False


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        page: bytes = response.read()
        return page.decode()


def metrics(address: str) -> str:
    return get(f"http://{address}/metrics")


def total(page: str, name: str) -> float:
    """The sum over all series of a metric, which must be there."""
    values = re.findall(rf"^{re.escape(name)}(?:\{{.*\}})? (\S+)$", page, re.MULTILINE)
    assert values, f"there is no {name}"
    return sum(map(float, values))


def wait_until(what: str, is_so: Callable[[], bool]) -> None:
    """Returns as soon as it is so, and fails when it is not by the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, f"not within {DEADLINE:.0f} s: {what}"
        time.sleep(0.01)
