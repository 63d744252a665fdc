"""Nothing of ours goes wrong in a hook: an engine whose hook raises is over, and a request that is computed twice is not."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["Contained", "contained"]

P = ParamSpec("P")
R = TypeVar("R")


class Contained(Protocol):
    """What has hooks, and counts what went wrong in them."""

    faults: Counter[str]

    def say(self, message: str, error: BaseException) -> None:
        """Say what went wrong, once for each hook."""


S = TypeVar("S", bound=Contained)


def contained(instead: Callable[[], Any]) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Have a hook answer this instead of raising: the fault is counted, and said the first time."""

    def contain(hook: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        name = hook.__name__

        @functools.wraps(hook)
        def answer(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return hook(self, *args, **kwargs)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, a panic too, the engine goes on
                self.faults[name] += 1
                if self.faults[name] == 1:
                    self.say(f"{name} failed, and what it was for is computed instead; it is said once", error)
                given: R = instead()
                return given

        return answer

    return contain
