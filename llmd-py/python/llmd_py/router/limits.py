"""Every limit of a router, by name."""

from __future__ import annotations

from dataclasses import dataclass, fields

from llmd_py.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a router waits, in seconds, and how much it keeps.

    Raises `InvalidError` for what is not more than nothing.
    """

    #: Until some engine says how many tokens a block has, when the router starts and was not told.
    start: float = 30.0
    #: Until an engine accepts a connection.
    connect: float = 5.0
    #: Until an engine has said what it is asked about itself.
    ask: float = 5.0
    #: Between two looks at an engine's metrics.
    scrape: float = 0.5
    #: Between two looks at what an engine serves, and where it publishes.
    learn: float = 30.0
    #: How many looks in a row an engine must miss until requests go elsewhere.
    misses: int = 3
    #: Until a prompt is tokenised; after that the request goes without tokens.
    tokenize: float = 2.0
    #: How many prompts are tokenised at once.
    tokenizing: int = 64
    #: Until a prefiller has answered, where the configuration has no deadline.
    prefill: float = 120.0
    #: Until an engine begins to answer, and from one piece of its answer to the next.
    silence: float = 600.0
    #: How many picks may be held at once.
    picks: int = 65_536
    #: Bytes of an answer that is read whole.
    answer_bytes: int = 256 << 20
    #: How many engines there may be.
    engines: int = 4_096

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not getattr(self, limit.name) > 0:
                raise InvalidError(f"{limit.name} {getattr(self, limit.name)}: expected more than 0")
