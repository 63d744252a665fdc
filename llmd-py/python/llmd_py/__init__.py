"""llm-d's data plane as a library: who holds which prefix, and where a request should go."""

from llmd_py import errors
from llmd_py._native import Decision, Endpoint, Explanation, Needs, Pool, Request, Scheduler, __version__

__all__ = ["Decision", "Endpoint", "Explanation", "Needs", "Pool", "Request", "Scheduler", "__version__", "errors"]
