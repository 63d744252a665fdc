"""Batches as vLLM 0.24 and later publish them, written by hand: a few bytes of msgpack."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def pack(value: object) -> bytes:
    """One value as msgpack."""
    match value:
        case None:
            return b"\xc0"
        case int():
            return b"\xcf" + struct.pack(">Q", value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            encoded = value.encode()
            return b"\xdb" + struct.pack(">I", len(encoded)) + encoded
        case list():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
        case dict():
            items = (pack(key) + pack(item) for key, item in value.items())
            return b"\xdf" + struct.pack(">I", len(value)) + b"".join(items)
    raise TypeError(f"{value!r} has no form here")


def batch(*events: dict[str, object], timestamp: float = 1000.0) -> bytes:
    """The payload of one message."""
    return pack([timestamp, list(events), 0])


def stored(
    names: Sequence[int],
    tokens: Sequence[int],
    parent: int | None = None,
    *,
    block_size: int = 4,
    medium: str = "GPU",
    **more: object,
) -> dict[str, object]:
    """Consecutive blocks are there now."""
    return {
        "type": "BlockStored",
        "block_hashes": list(names),
        "parent_block_hash": parent,
        "token_ids": [int(token) for token in tokens],
        "block_size": block_size,
        "lora_id": None,
        "medium": medium,
        "lora_name": None,
        **more,
    }


def removed(names: Sequence[int], *, medium: str = "GPU") -> dict[str, object]:
    """One copy of each block is gone."""
    return {"type": "BlockRemoved", "block_hashes": list(names), "medium": medium}


def cleared() -> dict[str, object]:
    """The whole cache is empty."""
    return {"type": "AllBlocksCleared"}
