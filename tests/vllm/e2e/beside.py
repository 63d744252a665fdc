"""Beside NixlConnector: how long the decoder takes until its first token, and what engines cost that have nothing to do."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence

from engine import Engine, prefilled
from prompts import tokens

#: How long a prompt is of which the time is taken.
LENGTH = 1000
#: For how long nothing is asked, in seconds.
IDLE = 10.0


@dataclasses.dataclass
class Taken:
    """What was taken of one pair."""

    #: Seconds until the decoder's first token, of each prompt; as long as it was waited for where none came.
    times: list[float] = dataclasses.field(default_factory=list)
    #: Prompts of which none came.
    hung: int = 0

    def median(self) -> float:
        """Give the median time."""
        return statistics.median(self.times)


def times_to_first_token(pairs: Sequence[tuple[Engine, Engine]], prompts: int, within: float = 60.0) -> list[Taken]:
    """Take the time until the decoder's first token for each pair, of so many prompts each, in turns."""
    taken = [Taken() for _ in pairs]
    for number in range(prompts + WARM):
        prompt = {"prompt": tokens(90_000 + number, LENGTH)}
        for place in (range(len(pairs)) if number % 2 else reversed(range(len(pairs)))):
            prefill, decode = pairs[place]
            try:
                params = prefilled(prefill, prompt, within)
                first = decode.first_token(prompt, params, within)
            except TimeoutError:
                # The other's is to be told of, and no reason to say nothing of ours.
                first = within
                taken[place].hung += 1
            if number >= WARM:
                taken[place].times.append(first)
        if number >= WARM and number % SHOWN == 0:
            medians = " ".join(f"{1e3 * each.median():.1f} ms" for each in taken)
            print(f"{number} of {prompts + WARM} prompts: {medians} until the first token", flush=True)
    return taken


#: Prompts that are not counted, and after how many it is said how it goes.
WARM = 3
SHOWN = 10


def idle(pairs: Sequence[tuple[Engine, Engine]]) -> list[float]:
    """Give what the engines of each pair cost while nothing is asked, in percent of a core."""
    before = [sum(engine.cpu_seconds() for engine in pair) for pair in pairs]
    time.sleep(IDLE)
    after = [sum(engine.cpu_seconds() for engine in pair) for pair in pairs]
    return [100 * (then - now) / IDLE for now, then in zip(before, after, strict=True)]
