"""What the tests of the package share: recorded batches, and processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from programs import DEADLINE, FIXTURES, ROOT, Run

# Whoever starts the tests in the background has interrupts ignored, and every process below would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The engines as processes are those of the other Python tests.
sys.path.insert(0, str(ROOT / "tests/python"))


@pytest.fixture(scope="session")
def fixture() -> Callable[[str], Any]:
    """A recorded file, by its path under `tests/fixtures`."""
    return lambda path: json.loads((FIXTURES / path).read_text())


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a program in an interpreter of its own that forgives nothing: what it prints, and how it ends."""

    def run(program: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-X", "dev", "-X", "faulthandler", "-W", "error", "-c", program]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)

    return run
