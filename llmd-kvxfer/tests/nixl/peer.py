"""A NIXL agent as Python's users have it: it takes commands from stdin, a line of JSON each, and answers on stdout.

Arguments: its name, how many 64-bit words it has, and the seed of what is in them. Word `i` is `(i + seed) * FACTOR`, modulo 2^64.
"""

import json
import logging
import os
import select
import sys

os.environ.setdefault("NIXL_LOG_LEVEL", "FATAL")
logging.disable(logging.CRITICAL)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import numpy as np  # noqa: E402
from nixl._api import nixl_agent, nixl_agent_config  # noqa: E402

FACTOR = np.uint64(0x9E3779B97F4A7C15)


def words(first: int, count: int, seed: int) -> np.ndarray:
    return (np.arange(first, first + count, dtype=np.uint64) + np.uint64(seed)) * FACTOR


class Peer:
    def __init__(self, name: str, count: int, seed: int) -> None:
        self.memory = words(0, count, seed)
        self.address = self.memory.ctypes.data
        self.agent = nixl_agent(name, nixl_agent_config(enable_prog_thread=False, backends=["UCX"]))
        self.agent.register_memory([(self.address, self.memory.nbytes, 0, "")], "DRAM")
        self.heard: list[list[str]] = []

    def hear(self) -> None:
        for peer, messages in self.agent.get_new_notifs().items():
            self.heard += [[peer, message.decode()] for message in messages]

    def hello(self) -> dict:
        return {"metadata": self.agent.get_agent_metadata().hex(), "address": self.address, "len": self.memory.nbytes}

    def add(self, metadata: str) -> dict:
        name = self.agent.add_remote_agent(bytes.fromhex(metadata))
        return {"name": name.decode() if isinstance(name, bytes) else name}

    def read(self, peer: str, address: int, copies: list[list[int]], notification: str) -> dict:
        theirs = self.agent.get_xfer_descs([(address + start, length, 0) for start, _, length in copies], "DRAM")
        ours = self.agent.get_xfer_descs([(self.address + to, length, 0) for _, to, length in copies], "DRAM")
        transfer = self.agent.initialize_xfer("READ", ours, theirs, peer, notification.encode())
        state = self.agent.transfer(transfer)
        while state == "PROC":
            state = self.agent.check_xfer_state(transfer)
        self.agent.release_xfer_handle(transfer)
        return {"state": state}

    def wrong(self, seed: int, copies: list[list[int]]) -> dict:
        """How many words differ from what the owner of `seed` has at the other end of each copy."""
        wrong = 0
        for start, to, length in copies:
            there = words(start // 8, length // 8, seed)
            wrong += int((self.memory[to // 8 : (to + length) // 8] != there).sum())
        return {"wrong": wrong}

    def notify(self, peer: str, message: str) -> dict:
        self.agent.send_notif(peer, message.encode())
        return {}

    def notifications(self) -> dict:
        self.hear()
        heard, self.heard = self.heard, []
        return {"heard": heard}


def main() -> None:
    peer = Peer(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], 0.0005)
        peer.hear()
        if ready:
            line = sys.stdin.readline()
            if not line:
                return
            command = json.loads(line)
            answer = getattr(peer, command.pop("do"))(**command)
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


main()
