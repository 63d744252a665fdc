"""What engines are asked: every kind of prompt that is handed over in another way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from engine import BLOCK_TOKENS

#: Tokens of the tiny model that are words.
WORDS = range(3, 380)

Prompt = dict[str, Any]


def tokens(seed: int, count: int) -> list[int]:
    """Draw so many tokens."""
    drawn = random.Random(seed)
    return [drawn.choice(WORDS) for _ in range(count)]


def all_kinds(loras: Sequence[str]) -> list[tuple[str, Prompt]]:
    """Give prompts by their names: shorter than a block, exact multiples, long, with shared prefixes, chats, adapters, salts."""
    block = BLOCK_TOKENS
    lengths = [5, block - 1, block, block + 1, 2 * block, 3 * block - 7, 4 * block, 100, 101, 333, 8 * block, 777, 1500]
    kinds: list[tuple[str, Prompt]] = [(f"{length} tokens", {"prompt": tokens(length, length)}) for length in lengths]
    shared = tokens(1, 5 * block + 9)
    kinds += [(f"shared prefix {tail}", {"prompt": [*shared, *tokens(100 + tail, tail)]}) for tail in (1, 23, 64)]
    kinds += [(f"chat {turn}", {"messages": chat(turn)}) for turn in (1, 2, 3)]
    kinds += [(f"salt {salt}", {"prompt": shared, "cache_salt": salt}) for salt in ("one", "two")]
    kinds += [(f"adapter {name}", {"prompt": tokens(7, 150), "model": name}) for name in loras]
    return kinds


def that_begin_alike() -> list[Prompt]:
    """Give prompts that share more and more of those before."""
    shared = tokens(2, 7 * BLOCK_TOKENS)
    lengths = [3 * BLOCK_TOKENS, 3 * BLOCK_TOKENS + 5, 5 * BLOCK_TOKENS - 1, 7 * BLOCK_TOKENS]
    prompts = [{"prompt": [*shared[:length], *tokens(200 + length, 17)]} for length in lengths]
    return [*prompts, {"prompt": shared}, {"prompt": prompts[-1]["prompt"]}]


def chat(turns: int) -> list[dict[str, str]]:
    """Give a chat of so many turns, each the beginning of the next."""
    said = []
    for turn in range(turns):
        said += [{"role": "user", "content": f"tell me of the long journey number {turn} by the green river"}]
        if turn + 1 < turns:
            said += [{"role": "assistant", "content": f"the story number {turn} begins where the road ends"}]
    return said
