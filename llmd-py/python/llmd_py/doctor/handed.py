"""What a prefiller's answer says to the decoder, looked into."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmd_py import Grant
from llmd_py.errors import LlmdError

__all__ = ["Handed", "ASKED"]

#: What a prefiller is sent.
ASKED = {
    "connector": "llmd",
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}

#: Its version, tokens, milliseconds of its lease, parts; and for each its group, shard, first token and length.
HEAD = struct.Struct("<BIIH")
PART = struct.Struct("<IIIH")
VERSION = 1


@dataclass(frozen=True)
class Handed:
    """The `kv_transfer_params` of an answer."""

    params: dict[str, Any]

    @property
    def is_llmd(self) -> bool:
        """Whether llmd's connector said it."""
        return self.params.get("connector") == "llmd" and isinstance(self.params.get("grant"), str)

    @property
    def content(self) -> dict[str, str]:
        """What the bytes of the cache are."""
        content = self.params.get("content")
        return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}

    @property
    def shards(self) -> int | None:
        """Over how many ranks the cache is divided."""
        shards = self.params.get("tp_size")
        return shards if isinstance(shards, int) else None

    def addresses(self) -> list[tuple[str, str]]:
        """Give where its agents are found: pairs of a transport's name and a place. Empty when that cannot be read."""
        try:
            return list(dict.fromkeys(address for grant in _grants(str(self.params.get("grant"))) for address in grant.addresses))
        except (ValueError, struct.error, binascii.Error, LlmdError):
            return []


def _grants(text: str) -> Iterator[Grant]:
    """Give the grant of each part."""
    written = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    version, _, _, parts = HEAD.unpack_from(written)
    if version != VERSION:
        raise ValueError(f"version {version}, expected {VERSION}")
    at = HEAD.size
    for _ in range(parts):
        *_, length = PART.unpack_from(written, at)
        at += PART.size
        yield Grant(written[at : at + length])
        at += length
