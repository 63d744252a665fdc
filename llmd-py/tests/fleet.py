"""Engines as processes, as the tests of the whole workspace start them."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/python"))

from processes import Engine, Gateway, Process, get, wait_until  # noqa: E402

__all__ = ["ROOT", "Engine", "Gateway", "Process", "get", "wait_until"]
