"""llmd in vLLM: requests that one engine prefilled are handed over to the engine that decodes them.

    vllm serve MODEL --kv-transfer-config '{"kv_connector":"LlmdConnector","kv_connector_module_path":"llmd_py.vllm",
        "kv_role":"kv_both","kv_load_failure_policy":"recompute"}'

vLLM is imported with the connector, and not before: what else is here can be asked without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmd_py.vllm.connector import LlmdConnector

__all__ = ["LlmdConnector"]


def __getattr__(name: str) -> Any:
    """Give the connector, as vLLM asks for it."""
    if name != "LlmdConnector":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from llmd_py.vllm.connector import LlmdConnector

    return LlmdConnector
