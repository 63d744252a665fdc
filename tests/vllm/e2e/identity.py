"""Whether a decoder that fetches says what one engine alone says, token for token, and whether the bytes were moved that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine import BLOCK_BYTES, BLOCK_TOKENS, Engine, hand_over
from prompts import Prompt

#: How many tokens are said to each prompt.
TOKENS = 24


@dataclass
class Identity:
    """What became of so many prompts."""

    prompts: int = 0
    identical: int = 0
    bytes_moved: int = 0
    bytes_expected: int = 0

    def add(self, other: Identity) -> None:
        """Add what became of others."""
        self.prompts += other.prompts
        self.identical += other.identical
        self.bytes_moved += other.bytes_moved
        self.bytes_expected += other.bytes_expected


def alone(engine: Engine, prompts: Sequence[tuple[str, Prompt]]) -> list[list[int]]:
    """Give what one engine alone says to each, which then forgets it."""
    said = [engine.say(prompt, TOKENS).tokens for _, prompt in prompts]
    engine.forget()
    return said


def compare(prefill: Engine, decode: Engine, prompts: Sequence[tuple[str, Prompt]], expected: Sequence[Sequence[int]]) -> Identity:
    """Hand each prompt over, one after the other, and hold what is said against what one engine alone said."""
    found = Identity()
    for (name, prompt), right in zip(prompts, expected, strict=True):
        prefill.forget()
        decode.forget()
        before = moved(decode)
        answer = hand_over(prefill, decode, prompt, TOKENS)
        found.prompts += 1
        found.identical += answer.tokens == list(right)
        if answer.tokens != list(right):
            print(f"{name}: {answer.tokens}, expected {list(right)}")
        came, due = moved(decode) - before, blocks(decode, prompt) * BLOCK_BYTES
        found.bytes_moved += came
        found.bytes_expected += due
        if came != due:
            print(f"{name}: {came} bytes moved, expected {due}")
    return found


def moved(decode: Engine) -> int:
    """Count the bytes that an engine has fetched."""
    return round(decode.counted("vllm:llmd_fetched_bytes_total"))


def blocks(engine: Engine, prompt: Prompt) -> int:
    """Count the blocks of a prompt, its last one included if it is not full."""
    if "messages" in prompt:
        asked = {"model": "tiny", "messages": prompt["messages"], "add_generation_prompt": True}
    else:
        asked = {"model": "tiny", "prompt": "x"}
    count = len(prompt["prompt"]) if "prompt" in prompt else engine.post("/tokenize", asked)["count"]
    return -(-count // BLOCK_TOKENS)
