"""What is read when no configuration is given."""

from __future__ import annotations

from pathlib import Path

from llmd_py.errors import InvalidError

#: llmd's default: where a request would be complete soonest and delay others least.
DEFAULT_POLICY = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: precise-prefix-cache-producer
  parameters: {speculativeIndexing: true, speculativeTTL: 2s}
- type: approx-prefix-cache-producer
- type: trusted-prefix-cache-producer
- type: inflight-load-producer
  parameters: {prefixMatchInfoProducerName: trusted-prefix-cache-producer}
- type: completion-time-scorer
- type: no-hit-lru-scorer
  parameters: {prefixMatchInfoProducerName: trusted-prefix-cache-producer}
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: completion-time-scorer
  - pluginRef: no-hit-lru-scorer
  - pluginRef: max-score-picker
"""


def read(config: str | Path | None) -> str:
    """Give the text of a configuration: a path's, the text itself (which has more than one line), or the default.

    Raises `InvalidError` when there is no such file.
    """
    if config is None:
        return DEFAULT_POLICY
    if isinstance(config, str) and "\n" in config:
        return config
    try:
        return Path(config).read_text()
    except OSError as error:
        raise InvalidError(f"config {config}: {error}") from error
