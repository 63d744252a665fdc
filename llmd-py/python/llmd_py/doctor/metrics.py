"""What Prometheus reads of an engine, read here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Sample", "labels", "parse", "total"]

LINE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\"}


@dataclass(frozen=True)
class Sample:
    """One line."""

    name: str
    labels: dict[str, str]
    value: float


def parse(text: str) -> list[Sample]:
    """Read all lines that can be read."""
    return list(_parse(text))


def total(samples: Iterable[Sample], name: str, **labels: str) -> float:
    """Add up what is counted under a name and these labels: over data-parallel ranks, too."""
    return sum(
        sample.value for sample in samples if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
    )


def labels(samples: Iterable[Sample], name: str) -> dict[str, str]:
    """Give the labels of the first of this name; none when there is none."""
    return next((sample.labels for sample in samples if sample.name == name), {})


def _parse(text: str) -> Iterator[Sample]:
    for line in text.splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        named = {key: re.sub(r"\\.", lambda escape: ESCAPES.get(escape[0], escape[0]), said) for key, said in LABEL.findall(found[2] or "")}
        yield Sample(found[1], named, value)
