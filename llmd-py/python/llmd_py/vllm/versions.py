"""Which versions of vLLM are known."""

from __future__ import annotations

__all__ = ["remark"]

#: With these, all of it was run.
TESTED = ((0, 32),)
#: From this on, the cache is one allocation, and failed loads are told request by request: what the connector relies on.
OLDEST = (0, 30)


def remark(version: str) -> str | None:
    """Give what is to be said of this version of vLLM, if anything."""
    number = _number(version)
    if number in TESTED:
        return None
    tested = ", ".join(f"{major}.{minor}" for major, minor in TESTED)
    if number is None:
        return f"vLLM `{version}` is of an unknown version; the connector was tested with {tested}"
    if number < OLDEST:
        oldest = f"{OLDEST[0]}.{OLDEST[1]}"
        return f"vLLM {version} is older than {oldest}, from which on its interface has what the connector relies on; it may not work"
    return f"vLLM {version} was not tested with this connector, which was with {tested}; report what does not work"


def _number(version: str) -> tuple[int, int] | None:
    parts = version.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])
