"""llmd in vLLM: requests that one engine prefilled are handed over to the engine that decodes them.

    vllm serve MODEL --kv-transfer-config '{"kv_connector":"LlmdConnector","kv_connector_module_path":"llmd_py.vllm",
        "kv_role":"kv_both","kv_load_failure_policy":"recompute"}'
"""

from llmd_py.vllm.connector import LlmdConnector

__all__ = ["LlmdConnector"]
