"""All checks in their order. Each has a deadline, and none raises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from llmd_py.doctor import events, handover, known, machine, pair, transports
from llmd_py.doctor.engine import Engine, Refused, Unreachable
from llmd_py.doctor.finding import Finding, Level, wrong
from llmd_py.doctor.prompt import Prompts

__all__ = ["WITHIN", "check_up"]

#: How long a check may take, in seconds.
WITHIN = 40.0

Check = Callable[[], Iterator[Finding]]


def check_up(engines: list[Engine], within: float = WITHIN) -> Iterator[Finding]:
    """Check one engine, or one that prefills and one that decodes: what is found, as it is found.

    Each check ends after so many seconds.
    """
    prompts = Prompts()
    well: list[Engine] = []
    for engine in engines:
        found = list(_checked(engine.name, [("health", partial(known.health, engine))], within))
        yield from found
        if any(finding.level is Level.WRONG for finding in found):
            continue
        well.append(engine)
        yield from _checked(engine.name, _of_one(engine, prompts), within)
    if len(well) == len(engines) == 2:
        yield from _checked("", _of_two(well[0], well[1], prompts), within)
    elif well:
        yield from _checked("", [("transports", partial(transports.transports, well))], within)
    if any(machine.is_here(engine.host) for engine in engines):
        yield from _checked("", [("machine", machine.machine)], within)


def _of_one(engine: Engine, prompts: Prompts) -> list[tuple[str, Check]]:
    return [
        ("version", partial(known.version, engine)),
        ("model", partial(known.model, engine)),
        ("cache", partial(known.cache, engine)),
        ("events", partial(events.events, engine, prompts)),
        ("connector", partial(handover.lends, engine, prompts)),
    ]


def _of_two(prefill: Engine, decode: Engine, prompts: Prompts) -> list[tuple[str, Check]]:
    return [
        ("block size", partial(pair.alike, prefill, decode)),
        ("content", partial(pair.content, prefill, decode)),
        ("transports", partial(transports.transports, [prefill, decode])),
        ("hand-over", partial(handover.handed_over, prefill, decode, prompts)),
    ]


def _checked(engine: str, checks: list[tuple[str, Check]], within: float) -> Iterator[Finding]:
    for name, check in checks:
        for finding in _bounded(name, check, within):
            yield replace(finding, engine=engine)


def _bounded(name: str, check: Check, within: float) -> list[Finding]:
    """Run a check on a thread of its own: one that hangs is left behind, and what it found is said."""
    found: list[Finding] = []

    def run() -> None:
        try:
            found.extend(check())
        except Unreachable as error:
            found.append(wrong(name, f"no answer: {error}", "start the engine, or name the URL at which it listens (--host, --port)"))
        except Refused as error:
            found.append(wrong(name, str(error), "look at the engine's log; is it vLLM that answers there?"))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other checks go on
            found.append(wrong(name, f"the check failed: {type(error).__name__}: {error}", "report it, with what the engine answers"))

    thread = threading.Thread(target=run, name=f"check {name}", daemon=True)
    thread.start()
    thread.join(within)
    said = list(found)
    if thread.is_alive():
        said.append(wrong(name, f"it had not ended after {within:g} s", "look whether the engine still answers; --timeout gives it longer"))
    return said
