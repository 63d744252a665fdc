"""Whatever goes wrong, a request is answered, and rightly; and both engines go on."""

from __future__ import annotations

import base64
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import BLOCK_TOKENS, Answer, Engine, Params, Refused, hand_over, prefilled
from prompts import Prompt, tokens

#: How many tokens are said to each prompt, and how long an answer may take: longer than a decoder waits for what does not come.
TOKENS = 12
WITHIN = 40.0
#: How many ask at once, with prompts of how many tokens, and for how many. A decoder's blocks hold them when they begin, not when they
#: end.
CROWD = 8
CROWD_PROMPT = 900
CROWD_SAYS = 200
DECODER_BLOCKS = CROWD * (-(-CROWD_PROMPT // BLOCK_TOKENS) + 3)
#: What hooks are for, of which one after the other fails.
HOOKS = ("arrived", "matched", "allocated", "finished", "came")


@dataclass
class Tally:
    """What was tried, and what came of it."""

    tried: list[str] = field(default_factory=list)
    survived: list[str] = field(default_factory=list)
    wrong_tokens: int = 0
    hung: int = 0
    said: list[str] = field(default_factory=list)


class Pair:
    """Two engines, and what one alone says."""

    def __init__(self, prefill: Engine, decode: Engine) -> None:
        self.prefill = prefill
        self.decode = decode
        self.drawn = 0
        self.tally = Tally()

    def prompt(self, length: int = 1100) -> Prompt:
        """Give a prompt that nobody has seen."""
        self.drawn += 1
        return {"prompt": tokens(50_000 + self.drawn, length)}

    def right(self, engine: Engine, prompt: Prompt) -> list[int]:
        """Say what an engine alone says to it, which then forgets it."""
        said = engine.say(prompt, TOKENS, within=WITHIN).tokens
        engine.forget()
        return said

    def hook_faults(self) -> float:
        """Count the hooks that failed in both, once each has said so: engines count in steps."""
        for engine in (self.prefill, self.decode):
            engine.say(self.prompt(40), 2, within=WITHIN)
        return sum(engine.counted("vllm:llmd_hook_faults_total") for engine in (self.prefill, self.decode))

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Try one: it is survived when what is tried in it does not raise, and requests are handed over rightly afterwards."""
        self.tally.tried.append(name)
        began = time.monotonic()
        try:
            yield
            self.goes_on()
        except TimeoutError as error:
            self.tally.hung += 1
            self.tally.said.append(f"{name}: {error}")
        except (OSError, Refused, AssertionError, RuntimeError) as error:
            self.tally.said.append(f"{name}: {type(error).__name__}: {error}")
        else:
            self.tally.survived.append(name)
        print(f"fault {name}: {time.monotonic() - began:.1f} s {self.tally.said[-1:] if name not in self.tally.survived else ''}", flush=True)

    def expect(self, answer: Answer, right: list[int]) -> None:
        """Hold what was said against what is right."""
        if answer.tokens != right:
            self.tally.wrong_tokens += sum(said != due for said, due in zip(answer.tokens, right, strict=False))
            raise AssertionError(f"said {answer.tokens}, expected {right}")

    def goes_on(self) -> None:
        """Hand a request over, as if nothing had been."""
        prompt = self.prompt(200)
        right = self.right(self.decode, prompt)
        before = self.decode.counted("vllm:llmd_requests_loaded_total")
        deadline = time.monotonic() + WITHIN
        while True:
            # A peer that was lost is left alone for a while.
            self.expect(hand_over(self.prefill, self.decode, prompt, TOKENS, WITHIN), right)
            self.decode.forget()
            if self.decode.counted("vllm:llmd_requests_loaded_total") > before:
                return
            if time.monotonic() > deadline:
                raise AssertionError("requests are answered, but nothing is handed over any more")
            time.sleep(0.5)


def all_faults(pair: Pair, again: Callable[[Engine], Engine], faults: Path, short: bool) -> Tally:
    """Try all of them; `again` starts an engine once more, and `faults` is the file that says what goes wrong in engines."""
    _params(pair)
    _aborts(pair)
    _crowd(pair)
    _lapses(pair)
    _sockets(pair, again, short)
    _hooks(pair, again, faults, short)
    _corrupted(pair, again, faults)
    if not short:
        _killed(pair, again)
    return pair.tally


def _params(pair: Pair) -> None:
    """Give a decoder what no prefiller said."""
    def changed(change: Callable[[Params], Any]) -> Callable[[Params], Params | None]:
        def make(params: Params) -> Params | None:
            made = change(dict(params))
            return made if made is not None else None

        return make

    def flipped(params: Params) -> Params:
        raw = bytearray(base64.urlsafe_b64decode(params["grant"] + "=" * (-len(params["grant"]) % 4)))
        for place in range(len(raw) - 60, len(raw), 7):
            raw[place] ^= 0x41
        return {**params, "grant": base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")}

    kinds: dict[str, Callable[[Params], Params | None]] = {
        "malformed params: no grant": lambda params: {"do_remote_prefill": True},
        "malformed params: a number": lambda params: {**params, "grant": 7},
        "malformed params: noise": lambda params: {**params, "grant": "AAAA" * 40},
        "malformed params: cut off": lambda params: {**params, "grant": params["grant"][: len(params["grant"]) // 2]},
        "malformed params: another connector's": lambda params: {
            "do_remote_prefill": True, "remote_engine_id": "x", "remote_block_ids": [[1, 2]], "remote_host": "127.0.0.1", "remote_port": 9,
            "remote_request_id": "y", "tp_size": 1,
        },
        "forged params": flipped,
        "params of another model": lambda params: {**params, "content": {**params["content"], "model": "another"}},
    }  # fmt: skip
    for name, make in kinds.items():
        with pair.fault(name):
            prompt = pair.prompt()
            right = pair.right(pair.decode, prompt)
            params = prefilled(pair.prefill, prompt, WITHIN)
            assert params is not None, "nothing was granted"
            pair.expect(pair.decode.say(prompt, TOKENS, make(params), WITHIN), right)
    with pair.fault("replayed params"):
        prompt = pair.prompt()
        right = pair.right(pair.decode, prompt)
        params = prefilled(pair.prefill, prompt, WITHIN)
        for _ in range(2):
            pair.expect(pair.decode.say(prompt, TOKENS, params, WITHIN), right)
            pair.decode.forget()


def _aborts(pair: Pair) -> None:
    """Have the client go away at each stage."""
    for name, engine, after in [
        ("prefilling", "prefill", 0.0), ("decoding", "decode", 0.0), ("decoding", "decode", 0.02), ("decoding", "decode", 0.3),
    ]:  # fmt: skip
        with pair.fault(f"client gone while {name}, after {after} s"):
            prompt = pair.prompt()
            if engine == "prefill":
                _leave(pair.prefill, prompt, {"do_remote_decode": True}, after, 1)
            else:
                params = prefilled(pair.prefill, prompt, WITHIN)
                _leave(pair.decode, prompt, params, after, 400)
    with pair.fault("client gone while fetching"):
        prompt = pair.prompt()
        params = prefilled(pair.prefill, prompt, WITHIN)
        pair.prefill.signal(signal.SIGSTOP)
        try:
            _leave(pair.decode, prompt, params, 0.5, TOKENS)
        finally:
            pair.prefill.signal(signal.SIGCONT)
    with pair.fault("client gone between prefill and decode"):
        prefilled(pair.prefill, pair.prompt(), WITHIN)


def _crowd(pair: Pair) -> None:
    """Hand more over at once than the decoder has room for: what it has begun to decode is preempted, and computed again."""
    with pair.fault("decoder preempts what it fetched"):
        prompts = [pair.prompt(CROWD_PROMPT) for _ in range(CROWD)]
        before = pair.decode.counted("vllm:num_preemptions_total")
        offers = [prefilled(pair.prefill, prompt, WITHIN) for prompt in prompts]
        with ThreadPoolExecutor(CROWD) as threads:
            asked = zip(prompts, offers, strict=True)
            answers = list(threads.map(lambda ask: pair.decode.say(ask[0], CROWD_SAYS, ask[1], 3 * WITHIN), asked))
        assert all(len(answer.tokens) == CROWD_SAYS for answer in answers), "some said too little"
        assert pair.decode.counted("vllm:num_preemptions_total") > before, "nothing was preempted"


def _leave(engine: Engine, prompt: Prompt, params: Params | None, after: float, count: int) -> None:
    """Ask, and hang up."""
    import http.client
    import json

    connection = http.client.HTTPConnection(engine.place.host, engine.port, timeout=WITHIN)
    body = {"model": "tiny", **prompt, "max_tokens": count, "temperature": 0, "ignore_eos": True, "kv_transfer_params": params}
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    time.sleep(after)
    connection.close()
    time.sleep(0.2)


def _lapses(pair: Pair) -> None:
    """Let a lease lapse before it is read, and while it is: the prefiller stands still."""
    with pair.fault("lease lapsed before the read"):
        prompt = pair.prompt()
        right = pair.right(pair.decode, prompt)
        params = prefilled(pair.prefill, prompt, WITHIN)
        time.sleep(LEASE + 1.5)
        pair.expect(pair.decode.say(prompt, TOKENS, params, WITHIN), right)
    with pair.fault("prefiller stands still while it is read"):
        prompt = pair.prompt()
        right = pair.right(pair.decode, prompt)
        params = prefilled(pair.prefill, prompt, WITHIN)
        pair.prefill.signal(signal.SIGSTOP)
        try:
            pair.expect(pair.decode.say(prompt, TOKENS, params, WITHIN), right)
        finally:
            pair.prefill.signal(signal.SIGCONT)
        time.sleep(LEASE)


#: How long leases are in these engines, in seconds: short, so that they can lapse.
LEASE = 2.0


def _sockets(pair: Pair, again: Callable[[Engine], Engine], short: bool) -> None:
    """Take sockets away, of engines that know each other and of a decoder that does not know the prefiller yet."""
    with pair.fault("sockets of both agents removed"), _hidden(pair):
        _fetch(pair)
    if not short:
        with pair.fault("sockets of the prefiller removed before it is known"):
            with _hidden(pair):
                pair.decode = again(pair.decode)
                _fetch(pair)
                assert pair.decode.counted("vllm:llmd_requests_loaded_total") == 0, "it was reached all the same"


def _fetch(pair: Pair) -> None:
    prompt = pair.prompt()
    right = pair.right(pair.decode, prompt)
    params = prefilled(pair.prefill, prompt, WITHIN)
    pair.expect(pair.decode.say(prompt, TOKENS, params, WITHIN), right)


@contextmanager
def _hidden(pair: Pair) -> Iterator[None]:
    """Have all sockets that are there now go by other names."""
    folder = Path(pair.prefill.transfer["kv_connector_extra_config"]["folder"])  # type: ignore[index]
    hidden = [(path, path.with_suffix(".gone")) for path in folder.glob("*.sock")]
    for path, away in hidden:
        path.rename(away)
    try:
        yield
    finally:
        for path, away in hidden:
            away.rename(path)


@contextmanager
def _said(faults: Path, kind: str) -> Iterator[None]:
    """Have engines go wrong in this way, once more."""
    faults.write_text(f"{kind} {time.monotonic_ns()}")
    try:
        yield
    finally:
        faults.unlink()


def _corrupted(pair: Pair, again: Callable[[Engine], Engine], faults: Path) -> None:
    """Change blocks while they are lent."""
    with pair.fault("blocks corrupted in flight"):
        prompt = pair.prompt()
        right = pair.right(pair.decode, prompt)
        before = pair.decode.counted("vllm:llmd_fetches_corrupt_total")
        params = prefilled(pair.prefill, prompt, WITHIN)
        # Not before they are summed: what is wrong already when it is lent is what was computed.
        time.sleep(0.5)
        with _said(faults, "corrupt"):
            # It is in the step after this that they are changed.
            pair.prefill.say(pair.prompt(40), 1, within=WITHIN)
            time.sleep(0.3)
        pair.expect(pair.decode.say(prompt, TOKENS, params, WITHIN), right)
        assert pair.decode.counted("vllm:llmd_fetches_corrupt_total") > before, "nobody saw it"
        # All that it remembers is corrupt.
        pair.prefill = again(pair.prefill)


def _killed(pair: Pair, again: Callable[[Engine], Engine]) -> None:
    """Kill an engine before, during and after the transfer."""
    for when, after in [("before", None), ("about the time of", 0.01), ("after", 1.0)]:
        with pair.fault(f"prefiller killed {when} the transfer"):
            prompt = pair.prompt()
            right = pair.right(pair.decode, prompt)
            params = prefilled(pair.prefill, prompt, WITHIN)
            if after is None:
                pair.prefill.kill()
            else:
                threading.Timer(after, pair.prefill.kill).start()
            pair.expect(pair.decode.say(prompt, TOKENS, params, WITHIN), right)
            time.sleep((after or 0.0) + 0.2)
            pair.prefill = again(pair.prefill)
    with pair.fault("decoder killed about the time of the transfer"):
        prompt = pair.prompt()
        params = prefilled(pair.prefill, prompt, WITHIN)
        threading.Timer(0.02, pair.decode.kill).start()
        try:
            pair.decode.say(prompt, TOKENS, params, WITHIN)
        except OSError:
            pass
        time.sleep(0.3)
        pair.decode = again(pair.decode)


def _hooks(pair: Pair, again: Callable[[Engine], Engine], faults: Path, short: bool) -> None:
    """Have what each hook is for raise, in turn, in whichever engine calls it first, and in both."""
    for hook in HOOKS:
        with pair.fault(f"hook {hook} fails"):
            before = pair.hook_faults()
            for _ in range(2):
                prompt = pair.prompt()
                right = pair.right(pair.decode, prompt)
                with _said(faults, f"hook:{hook}"):
                    pair.expect(hand_over(pair.prefill, pair.decode, prompt, TOKENS, WITHIN), right)
            assert pair.hook_faults() > before, "nothing failed"
    for hook in () if short else ("register", "connect"):
        with pair.fault(f"hook {hook} fails when engines start"):
            with _said(faults, f"hook:{hook}"):
                pair.decode = again(pair.decode)
            prompt = pair.prompt()
            right = pair.right(pair.decode, prompt)
            pair.expect(hand_over(pair.prefill, pair.decode, prompt, TOKENS, WITHIN), right)
            pair.decode = again(pair.decode)
