"""Whether a decoder that fetches says what one engine alone says, token for token, and whether the bytes were moved that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine import BLOCK_TOKENS, Engine, hand_over
from prompts import Prompt, tokens

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
        came, due = moved(decode) - before, blocks(decode, prompt, 0) * decode.block_bytes
        found.bytes_moved += came
        found.bytes_expected += due
        if came != due:
            print(f"{name}: {came} bytes moved, expected {due}; {_counts(prefill)}; {_counts(decode)}")
    return found


def _counts(engine: Engine) -> str:
    """Say what an engine's connector has counted so far: why something was not handed over."""
    lines = [line for line in engine.get("/metrics").splitlines() if line.startswith("vllm:llmd_") and "_total" in line]
    counts = {name.removeprefix("vllm:llmd_").split("_total")[0]: float(count) for name, _, count in (line.rpartition(" ") for line in lines)}
    return f"{engine.name}: " + ", ".join(f"{name} {count:g}" for name, count in counts.items() if count)


def compare_hits(prefill: Engine, decode: Engine, prompts: Sequence[Prompt], expected: Sequence[Sequence[int]]) -> Identity:
    """Hand prompts over that begin alike, each to a decoder that remembers those before: what it has is not fetched again."""
    found = Identity()
    prefill.forget()
    decode.forget()
    known: list[list[int]] = []
    for prompt, right in zip(prompts, expected, strict=True):
        before, hits, said = moved(decode), local_hits(decode), prompt["prompt"]
        # The last token is always computed, so that a block which ends with it is no hit.
        hit = max((_alike(said, other) for other in known), default=0)
        hit = min(hit, len(said) - 1) // BLOCK_TOKENS
        answer = hand_over(prefill, decode, prompt, TOKENS)
        if len(decode.windows) > 1:
            # What is out of a window's sight was not fetched, and is no hit of another prompt's: how much is, the engine says.
            hit = (local_hits(decode) - hits) // BLOCK_TOKENS
        known.append([*said, *answer.tokens])
        found.prompts += 1
        found.identical += answer.tokens == list(right)
        came, due = moved(decode) - before, blocks(decode, prompt, hit) * decode.block_bytes
        found.bytes_moved += came
        found.bytes_expected += due
        if came != due or answer.tokens != list(right):
            print(f"{len(said)} tokens, {hit} blocks of them here: {came} bytes moved, expected {due}; {answer.tokens}, expected {right}")
            print(f"{_counts(prefill)}; {_counts(decode)}")
    return found


def from_another(engine: Engine) -> Identity:
    """Ask what another connector has stored by now: it has it read, though llmd's is asked before."""
    prompt = {"prompt": tokens(31, 10 * BLOCK_TOKENS + 3)}
    right = engine.say(prompt, TOKENS).tokens
    engine.forget()
    before = moved(engine)
    answer = engine.say(prompt, TOKENS)
    if answer.cached < 10 * BLOCK_TOKENS:
        print(f"the other connector: {answer.cached} tokens cached, expected {10 * BLOCK_TOKENS}")
    return Identity(1, int(answer.tokens == right and answer.cached >= 10 * BLOCK_TOKENS and moved(engine) == before))


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens with which both begin."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def moved(decode: Engine) -> int:
    """Count the bytes that an engine has fetched."""
    return round(decode.counted("vllm:llmd_fetched_bytes_total"))


def local_hits(engine: Engine) -> int:
    """Count the tokens that an engine found in its own cache."""
    return round(engine.counted("vllm:prefix_cache_hits_total"))


def blocks(engine: Engine, prompt: Prompt, hit: int) -> int:
    """Count the blocks of a prompt behind the first `hit`, its last one included if it is not full, of all groups."""
    if "messages" in prompt:
        asked = {"model": "tiny", "messages": prompt["messages"], "add_generation_prompt": True}
    else:
        asked = {"model": "tiny", "prompt": "x"}
    count = len(prompt["prompt"]) if "prompt" in prompt else engine.post("/tokenize", asked)["count"]
    whole = -(-count // BLOCK_TOKENS)
    # A layer with a window needs nothing that is out of sight of the next token.
    skipped = [count - window + 1 for window in engine.windows if window]
    if any(there > 0 and there % BLOCK_TOKENS == 0 for there in skipped):
        # And then vLLM has no place for what the last token sees, so that nothing is fetched.
        return 0
    first = [max(count - window + 1, 0) // BLOCK_TOKENS if window else 0 for window in engine.windows]
    return sum(whole - max(hit, begin) for begin in first)
