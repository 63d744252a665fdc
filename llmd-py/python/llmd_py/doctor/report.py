"""Findings as people read them, and as programs do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from llmd_py.doctor.finding import Finding, Level

__all__ = ["line", "summary", "to_json"]


def line(finding: Finding) -> str:
    """Give a finding as one line."""
    change = f"  →  {finding.change}" if finding.change else ""
    return " ".join(f"{finding.level:8} {finding.engine:8} {finding.check:15} {finding.found}{change}".splitlines())


def summary(findings: Iterable[Finding]) -> str:
    """Give how many there are of each kind."""
    levels = [finding.level for finding in findings]
    return f"{levels.count(Level.OK)} ok, {levels.count(Level.WARNING)} warnings, {levels.count(Level.WRONG)} wrong"


def to_json(findings: Iterable[Finding]) -> str:
    """Give all as one object."""
    said = list(findings)
    return json.dumps({"ok": not any(finding.level is Level.WRONG for finding in said), "findings": [asdict(finding) for finding in said]}, indent=2)
