"""What operators of engines get wrong, found by asking the engines: `python -m llmd_py.doctor URL [URL]`.

One URL is an engine, two are one that prefills and one that decodes. Each check says what it found and what to change.
"""

from llmd_py.doctor.checkup import check_up
from llmd_py.doctor.engine import Engine
from llmd_py.doctor.finding import Finding, Level

__all__ = ["Engine", "Finding", "Level", "check_up"]
