"""The program llmd-gateway, as it comes with the wheel: `python -m llmd_py.gateway --help`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from llmd_py._native import _run_gateway

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway with these arguments, by default the command line's, until it is told to stop: its exit code.

    It takes SIGINT and SIGTERM of the process for good, so it wants a process of its own, and the main thread of it.
    """
    # The gateway hears SIGINT itself. Python's own handler, left in place, would be called too and raise KeyboardInterrupt
    # once the gateway has ended in good order.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _run_gateway(["llmd-gateway", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
