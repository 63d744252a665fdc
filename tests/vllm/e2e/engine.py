"""A real vLLM engine: started, asked, looked into, stopped or killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: How long an engine may take until it answers: a busy machine takes long.
STARTS = 420.0
#: How long blocks may be held after a request: a lease that nobody ends, and more.
FORGETS = 60.0
BLOCK_TOKENS = 32
#: Of the tiny model, and of each group of the hybrid one: two layers, two heads of 64, key and value, two bytes each unless it is
#: told otherwise.
BLOCK_BYTES = 2 * 2 * 64 * 2 * 2 * BLOCK_TOKENS

Params = dict[str, Any]

#: Ports that are given away: none twice, and none that the system gives to connections by itself meanwhile.
PORTS = iter(random.sample(range(10_000, 32_000), 4_000))


def free_port() -> int:
    """Give a port at which nobody listens."""
    for port in PORTS:
        with socket.socket() as there:
            try:
                there.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


class Refused(Exception):
    """The engine answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:400]}")
        self.status = status


@dataclass
class Answer:
    """What an engine said to a prompt."""

    tokens: list[int]
    params: Params | None
    seconds: float
    cached: int


@dataclass(frozen=True)
class Place:
    """Where an engine runs: here, or in namespaces of its own."""

    host: str = "127.0.0.1"
    netns: str | None = None
    has_own_pids: bool = False

    def wrap(self, command: Sequence[str]) -> list[str]:
        """Give the command that runs this one there."""
        if self.has_own_pids:
            command = ["unshare", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc", *command]
        if self.netns is not None:
            command = ["ip", "netns", "exec", self.netns, *command]
        return list(command)


HERE = Place()


@dataclass
class Engine:
    """One engine, from its start to its end."""

    name: str
    port: int
    folder: Path
    model: Path
    transfer: Mapping[str, Any] | None = None
    blocks: int = 512
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    place: Place = HERE
    events: Mapping[str, Any] | None = None
    loras: Mapping[str, Path] = field(default_factory=dict)
    #: How many tokens the layers of each group see; all of them where it is `None`.
    windows: Sequence[int | None] = (None,)

    @property
    def block_bytes(self) -> int:
        """How long a block is, of each group."""
        return BLOCK_BYTES * (2 if "float32" in self.arguments else 1)

    def start(self) -> Engine:
        """Begin to start; `ready` waits."""
        command = [
            sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(self.model), "--served-model-name", "tiny",
            "--host", self.place.host, "--port", str(self.port), "--enforce-eager", "--dtype", "bfloat16", "--max-model-len", "2048",
            "--max-num-seqs", "8", "--block-size", str(BLOCK_TOKENS), "--kv-cache-memory-bytes", str(self.blocks * self.block_bytes),
            "--enable-prefix-caching", "--enable-prompt-tokens-details",
        ]  # fmt: skip
        if self.loras:
            command += ["--enable-lora", "--max-loras", str(len(self.loras)), "--lora-modules"]
            command += [f"{name}={path}" for name, path in self.loras.items()]
        if self.transfer is not None:
            command += ["--kv-transfer-config", json.dumps(self.transfer)]
        if self.events is not None:
            command += ["--kv-events-config", json.dumps(self.events)]
        command += self.arguments
        environment = dict(
            os.environ,
            VLLM_CPU_OMP_THREADS_BIND="nobind",
            OMP_NUM_THREADS="1",
            HF_HUB_OFFLINE="1",
            VLLM_NO_USAGE_STATS="1",
            VLLM_HOST_IP=self.place.host,
            VLLM_SERVER_DEV_MODE="1",
            **self.environment,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / f"{self.name}.log"
        self.began = time.monotonic()
        with self.log.open("a") as log:
            # In a folder of its own: Python would take our modules for others of the same name.
            self.process = subprocess.Popen(
                self.place.wrap(command),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def ready(self) -> Engine:
        """Wait until it answers."""
        while time.monotonic() - self.began < STARTS:
            if self.process.poll() is not None:
                raise RuntimeError(f"engine {self.name} ended:\n{self.tail()}")
            try:
                self.get("/health", within=2)
            except (OSError, Refused):
                time.sleep(0.2)
                continue
            return self
        raise TimeoutError(f"engine {self.name} did not answer in {STARTS} s:\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        """Give the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def pids(self) -> list[int]:
        """Name its processes."""
        listed = subprocess.run(["ps", "-o", "pid=", "-g", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def cpu_seconds(self) -> float:
        """Count the time that its processes have worked."""
        ticks = 0
        for pid in self.pids():
            try:
                words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks += int(words[11]) + int(words[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def kill(self) -> None:
        """End it without a word."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it in good order."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def url(self, path: str) -> str:
        """Give an address of its API."""
        return f"http://{self.place.host}:{self.port}{path}"

    def get(self, path: str, within: float = 30.0) -> str:
        """Read what stands there."""
        return self.ask(urllib.request.Request(self.url(path)), within)

    def post(self, path: str, body: Mapping[str, Any] | None = None, within: float = 60.0) -> Any:
        """Say something, and give what is answered."""
        data = json.dumps(body).encode() if body is not None else b""
        text = self.ask(urllib.request.Request(self.url(path), data, {"content-type": "application/json"}), within)
        return json.loads(text) if text else None

    def ask(self, request: urllib.request.Request, within: float) -> str:
        """Give what is answered."""
        try:
            with urllib.request.urlopen(request, timeout=within) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")) from error

    def say(self, prompt: Mapping[str, Any], tokens: int, params: Params | None = None, within: float = 60.0) -> Answer:
        """Complete a prompt, greedily."""
        path = "/v1/chat/completions" if "messages" in prompt else "/v1/completions"
        body: dict[str, Any] = {"model": "tiny", **prompt, "max_tokens": tokens, "temperature": 0, "return_token_ids": True, "ignore_eos": True}
        if params is not None:
            body["kv_transfer_params"] = params
        began = time.monotonic()
        answer = self.post(path, body, within)
        took = time.monotonic() - began
        details = (answer.get("usage") or {}).get("prompt_tokens_details") or {}
        return Answer(answer["choices"][0]["token_ids"], answer.get("kv_transfer_params"), took, details.get("cached_tokens") or 0)

    def first_token(self, prompt: Mapping[str, Any], params: Params | None, within: float = 60.0) -> float:
        """Say how long it takes until the first token comes, in seconds."""
        body = {"model": "tiny", **prompt, "max_tokens": 4, "temperature": 0, "stream": True, "ignore_eos": True, "kv_transfer_params": params}
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url("/v1/completions"), data, {"content-type": "application/json"})
        began = time.monotonic()
        with urllib.request.urlopen(request, timeout=within) as answer:
            line = answer.readline()
            took = time.monotonic() - began
            if not line.startswith(b"data: {"):
                raise Refused(200, line.decode(errors="replace"))
            answer.read()
        return took

    def forget(self) -> None:
        """Empty its prefix cache, as soon as nobody holds blocks any more."""
        until = time.monotonic() + FORGETS
        while not self.post("/reset_prefix_cache")["success"]:
            if time.monotonic() > until:
                raise TimeoutError(f"engine {self.name} holds blocks that nobody needs any more, after {FORGETS} s")
            time.sleep(0.02)

    def counted(self, name: str, **labels: str) -> float:
        """Add up what a metric counts, of those with these labels."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            found = re.fullmatch(r"([^{ ]+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name and all(f'{key}="{value}"' in (found[2] or "") for key, value in labels.items()):
                total += float(found[3])
        return total


def hand_over(prefill: Engine, decode: Engine, prompt: Mapping[str, Any], tokens: int, within: float = 60.0) -> Answer:
    """Prefill there, decode here, as a router would have it."""
    return decode.say(prompt, tokens, prefilled(prefill, prompt, within), within)


def prefilled(prefill: Engine, prompt: Mapping[str, Any], within: float = 60.0) -> Params | None:
    """Have a prompt prefilled, and give what the decoder is to be told."""
    asked = {
        "connector": "llmd", "do_remote_decode": True, "do_remote_prefill": False, "remote_engine_id": None, "remote_block_ids": None,
        "remote_host": None, "remote_port": None,
    }  # fmt: skip
    return prefill.say(prompt, 1, asked, within).params
