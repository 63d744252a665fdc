"""Prompts that no cache holds."""

from __future__ import annotations

import random

__all__ = ["Prompts"]

#: Tokens that every vocabulary has.
TOKENS = range(10, 250)
#: Blocks of a prompt, and tokens beyond, so that its last block is not full.
BLOCKS = 3
BEYOND = 4


class Prompts:
    """Prompts of random tokens, remembered."""

    def __init__(self, seed: int | None = None) -> None:
        """Take chance from the operating system, unless a seed is given."""
        self.sent: list[list[int]] = []
        self._random = random.Random(seed)

    def new(self, block_tokens: int) -> list[int]:
        """Make one of a few blocks."""
        prompt = self._random.choices(TOKENS, k=BLOCKS * block_tokens + BEYOND)
        self.sent.append(prompt)
        return prompt
