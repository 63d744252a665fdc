"""llm-d's data plane as a library: who holds which prefix, and where a request should go."""

from llmd_py import errors
from llmd_py._native import (
    AllBlocksCleared,
    BlockHasher,
    BlockRemoved,
    BlockStored,
    EventError,
    Fed,
    IndexStats,
    KvEventBatch,
    KvEventStream,
    Overlap,
    PrefixExplanation,
    PrefixIndex,
    WorkerExplanation,
    WorkerStatus,
    __version__,
    decode_batch,
)

__all__ = [
    "AllBlocksCleared",
    "BlockHasher",
    "BlockRemoved",
    "BlockStored",
    "EventError",
    "Fed",
    "IndexStats",
    "KvEventBatch",
    "KvEventStream",
    "Overlap",
    "PrefixExplanation",
    "PrefixIndex",
    "WorkerExplanation",
    "WorkerStatus",
    "__version__",
    "decode_batch",
    "errors",
]
