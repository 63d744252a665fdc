"""What the workers and the scheduler of one engine prove to each other."""

from __future__ import annotations

import hmac
import os
import secrets
import tempfile
from pathlib import Path

from llmd_py.errors import UnavailableError
from llmd_py.vllm.settings import Settings

__all__ = ["forget", "of_engine"]

#: How long a key is, in bytes.
LENGTH = 32


def of_engine(settings: Settings, engine: str, instance: str) -> bytes:
    """Give the key of an engine, the same to all of its workers.

    With a tenant's key it follows from that. Else the first worker draws it, and leaves it to the others in the folder of the sockets,
    which is nobody else's: so an engine that spans machines needs a tenant's key.

    Raises `UnavailableError` when the folder cannot be written.
    """
    tenant = settings.key()
    if tenant is not None:
        return hmac.digest(tenant, f"llmd engine {engine} {instance}".encode(), "sha256")
    path = _path(settings, engine, instance)
    folder = path.parent
    drawn = secrets.token_bytes(LENGTH)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(drawn)
        try:
            # Whole or not at all, and only if nobody was faster.
            os.link(name, path)
        except FileExistsError:
            drawn = path.read_bytes()
        finally:
            os.unlink(name)
    except OSError as error:
        raise UnavailableError(f"the engine's key in {folder}: {error}") from error
    return drawn


def forget(settings: Settings, engine: str, instance: str) -> None:
    """Take the key away, when the engine ends."""
    try:
        _path(settings, engine, instance).unlink(missing_ok=True)
    except OSError:
        # Whoever cannot remove it is not its owner any more.
        return


def _path(settings: Settings, engine: str, instance: str) -> Path:
    folder = Path(settings.folder) if settings.folder else Path(tempfile.gettempdir()) / f"llmd-{os.getuid()}"
    return folder / f"{engine.replace(os.sep, '-')}-{instance}.key"
