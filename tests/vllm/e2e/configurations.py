"""How two engines can stand to each other: by which transport, where, in how many ranks, with which connectors beside llmd's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: A model of which half the layers see a window, and which has two groups of blocks for it.
HYBRID = "hybrid"
#: How many tokens that window has: more than two blocks.
WINDOW = 70


@dataclass(frozen=True)
class Configuration:
    """One of them. What both engines are started with, and what each is besides."""

    name: str
    transports: tuple[str, ...] = ("shm",)
    is_apart: bool = False
    model: str | None = None
    arguments: Sequence[str] = ()
    prefill: Sequence[str] = ()
    decode: Sequence[str] = ()
    consumers: int = 1
    is_beside_another: bool = False

    @property
    def has_replicas(self) -> bool:
        """Whether an engine is several, each with a cache of its own."""
        return "--data-parallel-size" in self.arguments


TP = ("--tensor-parallel-size", "2")
DP = ("--data-parallel-size", "2")
#: Ranks add up in another order than one engine alone: in half the precision that says another token now and then.
EXACT = ("--dtype", "float32")

# Pipelines are not here: vLLM 0.32 for CPUs ends with an assertion of its own when it is told to make one, with or without a connector.

#: What the short form does.
PLAIN = Configuration("shm")
ALL = [
    PLAIN,
    Configuration("tcp", transports=("tcp",)),
    Configuration("shm.chunked", arguments=("--max-num-batched-tokens", "256")),
    Configuration("shm.apart", is_apart=True),
    Configuration("tcp.apart", transports=("tcp",), is_apart=True),
    # ExampleConnector knows nothing of several groups.
    Configuration("beside", is_beside_another=True, arguments=("--disable-hybrid-kv-cache-manager",)),
    Configuration("hybrid", model=HYBRID),
    Configuration("tp", arguments=TP),
    Configuration("tp.split", arguments=EXACT, decode=TP, consumers=2),
    Configuration("tp.join", arguments=EXACT, prefill=TP),
    Configuration("dp", arguments=DP),
]
