"""The work in Python: reads `job calls` lines, and answers each with the nanoseconds that a call took."""

import sys
from array import array
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from time import perf_counter_ns

import llmd_py as llmd

WORKERS = 64
ENDPOINTS = 8


def jobs(folder: Path) -> dict[str, Callable[[int], int]]:
    """For each job, what makes so many calls and says how long they took, in nanoseconds."""
    index = llmd.PrefixIndex(block_size=16)
    names = [f"worker-{worker:02}" for worker in range(WORKERS)]
    for name in names:
        index.apply(name, (folder / f"{name}.msgpack").read_bytes(), seq=0)
    prompt = array("I", (folder / "prompt.u32").read_bytes())
    assert len(index.query(prompt)) == WORKERS
    scheduler = llmd.Scheduler.from_yaml((folder / "epp.yaml").read_text(), index=index)
    endpoints = llmd.Pool([llmd.Endpoint(name, "10.0.0.1:8000", index=index) for name in names[-ENDPOINTS:]])
    request = llmd.Request("model", tokens=prompt)
    store, remove = ((folder / f"{name}.msgpack").read_bytes() for name in ("store", "remove"))
    seq = 0

    def apply(calls: int) -> int:
        nonlocal seq
        began = perf_counter_ns()
        for _ in repeat(None, calls // 2):
            index.apply("applied", store, seq=seq)
            index.apply("applied", remove, seq=seq + 1)
            seq += 2
        return perf_counter_ns() - began

    def decide(calls: int) -> int:
        began = perf_counter_ns()
        for _ in repeat(None, calls):
            scheduler.decide(request, endpoints).release()
        return perf_counter_ns() - began

    def query(calls: int) -> int:
        began = perf_counter_ns()
        for _ in repeat(None, calls):
            index.query(prompt)
        return perf_counter_ns() - began

    numbers = array("I", map(index.worker, names))
    leading = array("I", bytes(4 * WORKERS))

    def dense(calls: int) -> int:
        began = perf_counter_ns()
        for _ in repeat(None, calls):
            index.leading_into(leading, numbers, prompt)
        return perf_counter_ns() - began

    return {"apply": apply, "decide": decide, "dense": dense, "query": query}


def main() -> None:
    known = jobs(Path(sys.argv[1]))
    for line in sys.stdin:
        job, calls = line.split()
        print(known[job](int(calls)) / int(calls), flush=True)


if __name__ == "__main__":
    main()
