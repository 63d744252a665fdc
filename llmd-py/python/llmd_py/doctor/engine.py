"""An engine as it is asked over HTTP, and what it said of itself so far."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from llmd_py.doctor import metrics
from llmd_py.doctor.handed import Handed
from llmd_py.doctor.metrics import Sample

__all__ = ["Engine", "Refused", "Unreachable"]

#: At most so much of an answer is read.
MAX_BYTES = 16 << 20
PIECE = 1 << 16

#: An engine is asked directly, whatever proxy the environment names.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Unreachable(Exception):
    """Nobody answered."""


class Refused(Exception):
    """The answer was an error, or not what it was asked for."""

    def __init__(self, status: int, text: str) -> None:
        """Keep the status, and what it says."""
        super().__init__(f"HTTP {status}: {' '.join(text.split())[:200]}")
        self.status = status


@dataclass
class Engine:
    """One engine, under a name that findings say."""

    name: str
    url: str
    key: str | None = None
    """The key of its API, where it wants one."""

    model: str = ""
    cache: dict[str, str] = field(default_factory=dict)
    """What `vllm:cache_config_info` says."""
    seed: str = ""
    """By which seed it names blocks, in words; empty when that is not known."""
    handed: Handed | None = None
    """What it says to a decoder."""

    @property
    def host(self) -> str:
        """Where it listens, without the port."""
        return urllib.parse.urlsplit(self.url).hostname or ""

    @property
    def block_tokens(self) -> int | None:
        """How many tokens its blocks have, where it says so."""
        text = self.cache.get("block_size", "")
        return int(text) if text.isdigit() and int(text) > 0 else None

    def get(self, path: str, within: float = 5.0) -> str:
        """Read what stands there.

        Raises `Unreachable` and `Refused`.
        """
        return self._ask(urllib.request.Request(self.url + path), within)

    def get_object(self, path: str, within: float = 5.0) -> dict[str, Any]:
        """Read an object of JSON."""
        return _object(self.get(path, within))

    def complete(self, prompt: list[int], within: float, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Have a prompt of tokens completed by one token."""
        body: dict[str, Any] = {"model": self.model, "prompt": prompt, "max_tokens": 1, "temperature": 0}
        if params is not None:
            body["kv_transfer_params"] = params
        head = {"content-type": "application/json"}
        return _object(self._ask(urllib.request.Request(self.url + "/v1/completions", json.dumps(body).encode(), head), within))

    def metrics(self) -> list[Sample]:
        """Read what it counts."""
        return metrics.parse(self.get("/metrics"))

    def _ask(self, request: urllib.request.Request, within: float) -> str:
        end = time.monotonic() + within
        if self.key is not None:
            request.add_header("authorization", f"Bearer {self.key}")
        try:
            with DIRECT.open(request, timeout=within) as answer:
                return _read(answer, end)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read(1000).decode(errors="replace")) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise Unreachable(str(reason) or type(error).__name__) from error


def _read(answer: Any, end: float) -> str:
    """Read an answer, however slowly it comes, until its time is over."""
    pieces: list[bytes] = []
    while piece := answer.read1(PIECE):
        pieces.append(piece)
        if sum(map(len, pieces)) > MAX_BYTES:
            raise Refused(200, f"an answer of more than {MAX_BYTES} bytes")
        if time.monotonic() > end:
            raise Unreachable("the answer was not complete in time")
    return b"".join(pieces).decode(errors="replace")


def _object(text: str) -> dict[str, Any]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise Refused(200, f"expected an object of JSON, it is {text[:80]!r}")
    return read
