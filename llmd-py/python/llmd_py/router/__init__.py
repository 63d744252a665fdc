"""llm-d's routing in the caller's own asyncio program: which engine a request goes to, and why.

    async with Router(["http://10.0.0.7:8000", "http://10.0.0.8:8000"]) as router:
        async with await router.pick({"model": "llama", "prompt": "Once upon a time"}) as pick:
            print(pick.url, pick.headers, dict(pick.overlap), pick.explanation)
"""

from llmd_py.router.completion import Completion
from llmd_py.router.engine import Engine, EngineStatus
from llmd_py.router.http import Answer, Send, send
from llmd_py.router.limits import Limits
from llmd_py.router.pick import Pick
from llmd_py.router.policy import DEFAULT_POLICY
from llmd_py.router.router import Router

__all__ = ["DEFAULT_POLICY", "Answer", "Completion", "Engine", "EngineStatus", "Limits", "Pick", "Router", "Send", "send"]
