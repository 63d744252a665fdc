"""Which engines there are, and what a router knows of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from llmd_py._native import Endpoint
from llmd_py.errors import InvalidError

#: The label that llm-d's filters read roles from.
ROLE = "llm-d.ai/role"

#: Where an engine publishes its KV events: the PUB socket and the ROUTER socket that replays, or the first alone.
Source = tuple[str, str | None] | str


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine that requests can go to, as a router is told of it.

    `url` is `http://host:port`, `https://…` or `host:port`. `name` is what people know it by, by default `host:port`. `role`
    (`"prefill"`, `"decode"`, `"encode"`, …) is short for the label `llm-d.ai/role`. `events` says where its KV events are; by
    default the engine is asked, and `()` follows none. Of an engine with several data-parallel `ranks` it is one for each.
    """

    url: str
    name: str = ""
    role: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    events: Source | tuple[Source, ...] | None = None
    ranks: int = 1

    @classmethod
    def of(cls, given: str | Engine | Endpoint) -> Engine:
        """Give the engine of an URL, or of an endpoint: its address, name and labels.

        Raises `InvalidError` for what is no URL of a host and a port.
        """
        if isinstance(given, Endpoint):
            return cls(given.address, given.name, None, given.labels).checked()
        return (cls(given) if isinstance(given, str) else given).checked()

    def checked(self) -> Engine:
        """Give the same with a whole URL and a name."""
        url = self.url if "://" in self.url else f"http://{self.url}"
        parts = urlsplit(url)
        try:
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        except ValueError:
            port = None
        if not parts.hostname or port is None or parts.scheme not in ("http", "https") or parts.path.strip("/"):
            raise InvalidError(f"url {self.url}: expected http://host:port")
        if self.ranks < 1:
            raise InvalidError(f"ranks {self.ranks}: expected 1 or more")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        labels = {**self.labels, **({ROLE: self.role} if self.role else {})}
        address = f"{host}:{port}"
        return Engine(f"{parts.scheme}://{address}", self.name or address, None, labels, self.events, self.ranks)

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.url.partition("://")[2]

    def sources(self) -> list[Source] | None:
        """Where each rank publishes; None when the engine is to be asked."""
        if self.events is None:
            return None
        events = self.events
        if isinstance(events, str) or (len(events) == 2 and self.ranks == 1 and isinstance(events[0], str)):
            return [events]  # type: ignore[list-item]
        return list(events)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What a router knows of one engine now."""

    engine: Engine
    #: Whether requests go there: it answered lately, or was not asked yet.
    is_up: bool
    #: What is wrong with it, in words; None when nothing is.
    problem: str | None
    #: Tokens per block, as it says; None when it has not said so.
    block_size: int | None
    #: How it names blocks, as `BlockHasher` knows it: `"vllm-sha256_cbor"`; None when it has not said so.
    hash_scheme: str | None
    #: The adapters that it serves.
    adapters: frozenset[str]
    #: How far the index can be trusted, by worker: `"exact"`, `"recovering"`, `"approximate"`.
    states: Mapping[str, str]
