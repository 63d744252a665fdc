"""Configurations and endpoints that several tests use."""

from __future__ import annotations

from pathlib import Path

import llmd_py as llmd

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"


def config(*plugins: str, weights: dict[str, int] | None = None) -> str:
    """A configuration of these plugins, all of which stand in one profile; with a weight where one is given."""
    weights = weights or {}
    names = [plugin.split("type: ")[1].split(",")[0].rstrip("}") for plugin in plugins]
    refs = [f"{{pluginRef: {name}, weight: {weights.get(name, 1)}}}" for name in names if "producer" not in name]
    lines = ["plugins:", *(f"- {plugin}" for plugin in plugins), "schedulingProfiles:", "- name: default", "  plugins:"]
    return HEAD + "\n".join([*lines, *(f"  - {ref}" for ref in refs)]) + "\n"


LEAST_BUSY = config("{type: active-request-scorer}")
REMEMBERED_PREFIX = config("{type: prefix-cache-scorer}", "{type: active-request-scorer}", weights={"prefix-cache-scorer": 3})
QUEUE = config("{type: queue-scorer}")
SESSIONS = config("{type: session-affinity-scorer}", "{type: active-request-scorer}", weights={"session-affinity-scorer": 9})
BY_LABEL = config("{type: label-selector-filter, parameters: {matchLabels: {zone: a}}}")

DISAGGREGATED = HEAD + """\
plugins:
- {type: decode-filter}
- {type: prefill-filter}
- {type: encode-filter}
- {type: active-request-scorer}
- {type: always-disagg-pd-decider}
- {type: always-disagg-multimodal-decider}
- type: disagg-profile-handler
  parameters:
    deciders: {prefill: always-disagg-pd-decider, encode: always-disagg-multimodal-decider}
    deadlines: {prefill: 1500ms}
schedulingProfiles:
- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: active-request-scorer}]}
- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: active-request-scorer}]}
- {name: encode, plugins: [{pluginRef: encode-filter}, {pluginRef: active-request-scorer}]}
"""


def of_roles(*roles: str) -> list[llmd.Endpoint]:
    """An endpoint for each role, called as it is, with its place."""
    label = "llm-d.ai/role"
    return [llmd.Endpoint(f"{role}-{n}", f"10.0.0.{n}:8000", labels={label: role}) for n, role in enumerate(roles)]


def endpoints(count: int) -> list[llmd.Endpoint]:
    return [llmd.Endpoint(f"engine-{n}", f"10.0.0.{n}:8000") for n in range(count)]


def said(caught: object) -> str:
    """What an exception says, with the argument that it was about."""
    error = caught.value  # type: ignore[attr-defined]
    return "; ".join([str(error), *getattr(error, "__notes__", [])])


PRECISE = config(
    "{type: precise-prefix-cache-producer, parameters: {tokenProcessorConfig: {blockSizeTokens: 32}}}",
    "{type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: precise-prefix-cache-producer}}",
    "{type: active-request-scorer}",
    weights={"prefix-cache-scorer": 3},
)

# What a vLLM with blocks of 32 tokens published first, after a prompt of 200 tokens.
STORED = (Path(__file__).resolve().parents[2] / "examples/data/block_stored.msgpack").read_bytes()
[_stored] = llmd.decode_batch(STORED).events
assert isinstance(_stored, llmd.BlockStored)
PROMPT = [*_stored.token_ids, *[7] * 40]
