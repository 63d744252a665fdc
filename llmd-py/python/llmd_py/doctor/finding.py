"""What a check says: how it stands, what was found, and what to change."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Level", "ok", "warning", "wrong"]


class Level(enum.StrEnum):
    """How it stands."""

    OK = "ok"
    WARNING = "warning"
    """It works, or may, and not as well as it could."""
    WRONG = "wrong"
    """It does not work."""


@dataclass(frozen=True)
class Finding:
    """One line of what is said."""

    level: Level
    check: str
    found: str
    change: str = ""
    """What to change, with the flag; empty when nothing is."""
    engine: str = ""
    """Which engine it is of; empty when it is of all, or of this machine."""


def ok(check: str, found: str) -> Finding:
    """Say that it is as it should be."""
    return Finding(Level.OK, check, found)


def warning(check: str, found: str, change: str) -> Finding:
    """Say that it could be better."""
    return Finding(Level.WARNING, check, found, change)


def wrong(check: str, found: str, change: str) -> Finding:
    """Say that it does not work."""
    return Finding(Level.WRONG, check, found, change)
