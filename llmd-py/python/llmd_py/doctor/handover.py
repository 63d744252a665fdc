"""Whether a prompt that one engine prefilled is decoded by another without being computed again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from llmd_py.doctor import metrics
from llmd_py.doctor.engine import Engine, Refused
from llmd_py.doctor.finding import Finding, ok, warning, wrong
from llmd_py.doctor.handed import ASKED, Handed
from llmd_py.doctor.metrics import Sample
from llmd_py.doctor.prompt import Prompts

__all__ = ["CONNECT", "handed_over", "lends"]

#: What has an engine hand over.
CONNECT = (
    """--kv-transfer-config '{"kv_connector":"LlmdConnector","kv_connector_module_path":"llmd_py.vllm","kv_role":"kv_both","""
    """"kv_load_failure_policy":"recompute"}'"""
)
REQUEST = 10.0
#: An engine counts at the end of a step, and its metrics are a moment behind.
COUNTED_WITHIN = 5.0
FETCHED = "vllm:llmd_fetched_bytes_total"
LOADED = "vllm:llmd_requests_loaded_total"
BY_SOURCE = "vllm:prompt_tokens_by_source_total"
FAULTS = "vllm:llmd_hook_faults_total"

#: What a decoder counts when a hand-over fails, and what it comes from, the likeliest first.
FAILURES = {
    "offers_unfitting": ("its cache is not like the other engine's", "make model, dtype and block size of both the same; its log says what differs"),
    "offers_malformed": ("it could not read what the other engine lent", "install the same llmd-py on both"),
    "workers_not_connected": ("its scheduler does not reach its workers", 'name a folder that all of its ranks see: "folder" in kv_connector_extra_config'),
    "fetches_denied": ("the other engine denied it", "give both the same tenant and key_file (or LLMD_KEY)"),
    "fetches_peer_lost": ("the other engine was lost on the way", "let the two reach each other: VLLM_HOST_IP, firewall, a shared folder"),
    "fetches_timeout": ("it took too long", 'raise "fetch_within" in kv_connector_extra_config, or bring the two nearer'),
    "fetches_stale": ("the lease had ended", 'raise "lease_seconds" in kv_connector_extra_config of the engine that prefills'),
    "fetches_corrupt": ("what arrived is not what was computed", "report it, with both logs"),
    "fetches_io": ("its machine failed", "look at its log"),
    "requests_gone": ("nothing was left to be fetched", 'raise "lease_seconds" in kv_connector_extra_config of the engine that prefills'),
    "requests_late": ("it took too long", 'raise "fetch_within" in kv_connector_extra_config, or bring the two nearer'),
    "requests_recomputed": ("no transport brought it", 'set "transports" and "folder" in kv_connector_extra_config, and VLLM_HOST_IP'),
}  # fmt: skip


def lends(engine: Engine, prompts: Prompts) -> Iterator[Finding]:
    """Does it keep what it prefilled for a decoder, and say so?"""
    prompt = prompts.new(engine.block_tokens or 16)
    try:
        answer = engine.complete(prompt, REQUEST, dict(ASKED))
    except Refused as refused:
        yield wrong("connector", str(refused), "look at the engine's log")
        return
    params = answer.get("kv_transfer_params")
    if not isinstance(params, dict):
        yield wrong("connector", "it hands nothing over: no kv_transfer_params in its answer", f"start it with {CONNECT}; if it was, its log says why")
        return
    handed = Handed(params)
    if not handed.is_llmd:
        yield wrong("connector", f"another connector than llmd's is loaded: it says {', '.join(sorted(params)[:4])}, …", f"start it with {CONNECT}")
        return
    engine.handed = handed
    faults = metrics.total(engine.metrics(), FAULTS)
    if faults:
        yield warning("connector", f"LlmdConnector is loaded, and {faults:.0f} of its hooks failed", 'look for "llmd:" in the engine\'s log')
    else:
        of = "" if handed.shards in (None, 1) else f", in {handed.shards} parts"
        yield ok("connector", f"LlmdConnector is loaded, and lends what it prefilled{of}")


def handed_over(prefill: Engine, decode: Engine, prompts: Prompts) -> Iterator[Finding]:
    """Is a prompt prefilled by the one, and fetched by the other?"""
    if prefill.handed is None:
        return
    prompt = prompts.new(prefill.block_tokens or 16)
    before = decode.metrics()
    handed = prefill.complete(prompt, REQUEST, dict(ASKED)).get("kv_transfer_params")
    if not isinstance(handed, dict):
        yield wrong("hand-over", f"{prefill.name} lent one prompt, and not the next", 'look for "llmd:" in its log')
        return
    began = time.monotonic()
    try:
        decode.complete(prompt, REQUEST, handed)
    except Refused as refused:
        change = 'set "kv_load_failure_policy":"recompute" in --kv-transfer-config; its log says why nothing came'
        yield wrong("hand-over", f"{decode.name} failed the request: {refused}", change)
        return
    took = time.monotonic() - began
    yield _judged(decode, before, len(prompt), took)


def _judged(decode: Engine, before: list[Sample], tokens: int, took: float) -> Finding:
    """Say what became of it, by what was counted since."""
    end = time.monotonic() + COUNTED_WITHIN
    while True:
        now = decode.metrics()
        if _grown(before, now, LOADED) or _failed(before, now) or time.monotonic() > end:
            break
        time.sleep(0.2)
    fetched, failed = _grown(before, now, FETCHED), _failed(before, now)
    came = metrics.total(now, BY_SOURCE, source="external_kv_transfer") - metrics.total(before, BY_SOURCE, source="external_kv_transfer")
    if _grown(before, now, LOADED) and fetched:
        return ok("hand-over", f"{came:.0f} of {tokens} tokens, {fetched:.0f} bytes were fetched, and decoded within {took * 1e3:.0f} ms")
    if failed:
        reason, change = FAILURES[failed]
        return wrong("hand-over", f"{decode.name} computed the prompt again: {reason}", change)
    if not any(sample.name.startswith("vllm:llmd_") for sample in now):
        return wrong("hand-over", f"{decode.name} computed the prompt again: it has no connector of llmd's", f"start it with {CONNECT}")
    return wrong("hand-over", f"{decode.name} computed the prompt again", 'look for "llmd:" in its log')


def _failed(before: list[Sample], now: list[Sample]) -> str:
    return next((name for name in FAILURES if _grown(before, now, f"vllm:llmd_{name}_total")), "")


def _grown(before: list[Sample], now: list[Sample], name: str) -> float:
    return metrics.total(now, name) - metrics.total(before, name)
