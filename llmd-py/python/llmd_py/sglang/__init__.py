"""llmd in SGLang: pages that HiCache gives up are kept in host memory, and come back checked.

    python -m sglang.launch_server --model MODEL --enable-hierarchical-cache --hicache-storage-backend dynamic \\
        --hicache-storage-backend-extra-config '{"backend_name":"llmd","module_path":"llmd_py.sglang","class_name":"LlmdStore",
            "interface_v1":1,"bytes":8589934592}'

SGLang is imported with the store, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmd_py.sglang.store import LlmdStore

__all__ = ["LlmdStore"]


def __getattr__(name: str) -> Any:
    """Give the store, as SGLang asks for it."""
    if name != "LlmdStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from llmd_py.sglang.store import LlmdStore

    return LlmdStore
