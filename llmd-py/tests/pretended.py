"""An engine's HTTP API, pretended: it answers what a test says, and counts as the connector would."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = {"model": "org/model", "dtype": "bfloat16", "block_size": "16"}
METRICS = """# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
vllm:cache_config_info{{block_size="{block}",enable_prefix_caching="True",engine="0",prefix_caching_hash_algo="{algorithm}"}} 1.0
"""

Answer = tuple[int, str]


@dataclass
class Pretended:
    """What the engine says. A test changes what it wants to be otherwise."""

    block: int = 16
    algorithm: str = "sha256"
    version: str = "0.32.0"
    content: dict[str, str] = field(default_factory=lambda: dict(CONTENT))
    lends: bool = True
    connector: str = "llmd"
    counts: dict[str, int] = field(default_factory=lambda: {"requests_loaded": 1, "fetched_bytes": 4096})
    """What it counts when a request comes that another engine prefilled."""
    answers: dict[str, Answer] = field(default_factory=dict)
    """What is answered at a path in place of what would be."""
    hang: threading.Event | None = None
    """When it is there, no completion is answered until it is set."""

    counted: dict[str, int] = field(default_factory=dict)
    prompts: list[list[int]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    url: str = ""

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """Say what an engine would."""
        if path in self.answers:
            return self.answers[path]
        said: dict[str, Callable[[], str]] = {
            "/health": lambda: "",
            "/version": lambda: json.dumps({"version": self.version}),
            "/v1/models": lambda: json.dumps({"data": [{"id": "tiny", "parent": None}]}),
            "/kv_event_sources": lambda: "{}",
            "/metrics": self.metrics,
            "/v1/completions": lambda: json.dumps(self.complete(body)),
        }
        return (200, said[path]()) if path in said else (404, json.dumps({"detail": "Not Found"}))

    def metrics(self) -> str:
        """Say what was counted."""
        counted = "".join(f'vllm:llmd_{name}_total{{engine="0"}} {count}\n' for name, count in self.counted.items())
        return METRICS.format(block=self.block, algorithm=self.algorithm) + counted

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Complete a prompt, and lend or fetch it."""
        if self.hang is not None:
            self.hang.wait(60)
        self.prompts.append(body["prompt"])
        params = body.get("kv_transfer_params") or {}
        if params.get("do_remote_prefill"):
            self.counted = {name: self.counted.get(name, 0) + count for name, count in {**dict.fromkeys(self.counted, 0), **self.counts}.items()}
        answered: dict[str, Any] = {"choices": [{"text": "a"}], "kv_transfer_params": None}
        if params.get("do_remote_decode") and self.lends:
            answered["kv_transfer_params"] = {
                "connector": self.connector, "do_remote_prefill": True, "grant": "AA", "content": self.content, "tp_size": 1,
            }  # fmt: skip
        return answered


@contextmanager
def serving(engine: Pretended) -> Iterator[str]:
    """Serve it at a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply({})

        def do_POST(self) -> None:
            self.reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def reply(self, body: dict[str, Any]) -> None:
            engine.keys.add(self.headers.get("authorization"))
            status, text = engine.answer(self.path, body)
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            try:
                self.wfile.write(text.encode())
            except OSError:
                pass

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    engine.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield engine.url
    finally:
        if engine.hang is not None:
            engine.hang.set()
        server.shutdown()
        server.server_close()


def closed_port() -> int:
    """Give a port at which nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
