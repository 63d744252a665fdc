"""What `kv_connector_extra_config` may say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from llmd_py.errors import InvalidError

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How KV is handed over. Every field is a key of `kv_connector_extra_config`."""

    transports: tuple[str, ...] = ("shm", "tcp")
    """By what KV is moved: `shm`, `tcp`, `tcp://HOST:PORT`, `cuda_ipc`. `tcp` listens at vLLM's own address, at a free port."""
    folder: str | None = None
    """Where `shm` has its sockets: in containers, a volume that the engines share."""
    tenant: str = ""
    """Whose KV it is: engines of another tenant read nothing of it."""
    key_file: str | None = None
    """The tenant's key, the same for all engines of a tenant. Without one, `LLMD_KEY` of the environment, else nothing is proven."""
    check: str = "always"
    """When what arrives is held against what was computed: `always`, `remote`, `off`."""
    copy_threads: int = 2
    """How many threads copy."""
    lease_seconds: float = 30.0
    """For how long what was prefilled is kept without a word from the decoder."""
    hold_at_most: float = 480.0
    """And for how long with one, in seconds."""
    fetch_within: float = 20.0
    """After how many seconds a decoder gives up what has not arrived, and computes it."""
    wait_at_most: float = 480.0
    """For how many seconds a decoder keeps what waits for its turn."""
    retries: int = 1
    """How often a decoder asks again a peer that was lost."""
    min_tokens: int = 1
    """Fewer tokens than these are computed rather than fetched."""
    consumers: int = 1
    """How many ranks of a decoder read from each rank of a prefiller: 2 where it has twice as many."""
    bind: str | None = None
    """Where a worker listens for its own scheduler, as `tcp://HOST:PORT`, when an engine spans machines. Else a socket in `folder`."""
    patience: float = 1.0
    """For how many seconds at most the scheduler waits for its workers to grant what was computed."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """Read them from `kv_connector_extra_config`.

        Raises `InvalidError` for a key that means nothing, and a value of another kind.
        """
        known = {field.name: field for field in fields(cls)}
        for name in config:
            if name not in known:
                raise InvalidError(f"kv_connector_extra_config has `{name}`, expected one of {', '.join(sorted(known))}")
        read: dict[str, Any] = {name: _value(name, config[name], getattr(cls, name)) for name in config}
        return cls(**read)

    def key(self) -> bytes | None:
        """Give the tenant's key, if there is one.

        Raises `InvalidError` when its file cannot be read, or is empty.
        """
        if self.key_file is None:
            key = os.environ.get("LLMD_KEY", "")
            return key.encode() or None
        try:
            key = Path(self.key_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidError(f"key_file `{self.key_file}`: {error}") from error
        if not key:
            raise InvalidError(f"key_file `{self.key_file}` is empty, expected a key")
        return key.encode()


def _value(name: str, value: object, default: object) -> object:
    """Give what a key says, as the kind that it is by default."""
    if name == "transports":
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list | tuple) and texts and all(isinstance(text, str) for text in texts):
            return tuple(texts)
        raise _wrong(name, value, "a list of transports")
    if isinstance(default, str) or default is None:
        if isinstance(value, str):
            return value
        raise _wrong(name, value, "a text")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, value, "a number")
    if not isinstance(default, int):
        return float(value)
    if value != int(value):
        raise _wrong(name, value, "a whole number")
    return int(value)


def _wrong(name: str, value: object, expected: str) -> InvalidError:
    return InvalidError(f"kv_connector_extra_config: {name} {value!r}, expected {expected}")
