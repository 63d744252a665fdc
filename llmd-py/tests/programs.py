"""Where things lie, and programs in interpreters of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures"
DEADLINE = 60.0

FAKE_DRIVER = ROOT / "llmd-kvxfer/tests/fake_driver/fake.c"

Run = Callable[[str], "subprocess.CompletedProcess[str]"]
