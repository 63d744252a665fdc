"""The two processes of a subject that is driven from Python: the same questions, in the same lines, as llmd-xfer's own.

The questions are written down in src/line.rs, the workload in src/work.rs.
"""

import argparse
import ctypes
import json
import mmap
import os
import select
import signal
import time

import numpy as np

LEAST = 3
"""Transfers that are timed at least, however long they take."""

WIPED = np.uint64(2**64 - 1)
"""What wiped memory holds: no word of a pool."""

_PR_SET_PDEATHSIG = 1
_MADV_HUGEPAGE = 14
_HUGE = 2 << 20

_LIBC = ctypes.CDLL(None, use_errno=True)


def words(first: int, count: int) -> np.ndarray:
    """What `count` places from `first` on hold in a pool that is filled."""
    return np.arange(first, first + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)


class Pool:
    """Memory of this process: a memfd, or private memory on huge pages."""

    def __init__(self, length: int, *, is_huge: bool, is_filled: bool) -> None:
        self.length = length
        if is_huge:
            self._map = mmap.mmap(-1, length + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            file = os.memfd_create("llmd-xfer")
            os.ftruncate(file, length)
            self._map = mmap.mmap(file, length)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.address = start + -start % _HUGE if is_huge else start
        if is_huge:
            advised = _LIBC.madvise(ctypes.c_void_p(self.address), ctypes.c_size_t(length), _MADV_HUGEPAGE)
            if advised != 0:
                raise OSError(ctypes.get_errno(), "no huge pages")
        self.words = np.ctypeslib.as_array((ctypes.c_uint64 * (length // 8)).from_address(self.address))
        step = 1 << 20
        for place in range(0, len(self.words), step):
            count = min(step, len(self.words) - place)
            self.words[place : place + count] = words(place, count) if is_filled else 0


class Work:
    """A point with its lists."""

    def __init__(self, said: dict) -> None:
        point = said["point"]
        self.size, self.blocks, self.pulls = point["size"], point["blocks"], point["pulls"]
        lists = np.fromfile(said["lists"], dtype="<u4")
        self.lists = lists.reshape(-1, 2, self.blocks)

    def list(self, pull: int) -> np.ndarray:
        """What is theirs and what is mine, of one transfer."""
        return self.lists[pull % len(self.lists)]


class Holder:
    """The side that has the blocks. Subclasses say how others reach them."""

    def offer(self) -> object:
        return None

    def meet(self, offer: object) -> None:
        pass

    def prepare(self, work: Work) -> object:
        return None

    def idle(self) -> float | None:
        """Does what must be done now and then; gives after how many seconds again."""
        return None

    def echo(self) -> None:
        """Answers the notifications that have come."""
        raise NotImplementedError("no notifications")


class Puller:
    """The side that pulls into `pool`."""

    pool: Pool

    def offer(self) -> object:
        return None

    def meet(self, offer: object) -> None:
        raise NotImplementedError

    def prepare(self, work: Work) -> None:
        raise NotImplementedError

    def post(self, pull: int) -> object:
        """Posts a transfer; gives what `finish` waits for."""
        raise NotImplementedError

    def finish(self, posted: object) -> None:
        raise NotImplementedError

    def notify(self) -> None:
        """Sends a notification and waits for the answer."""
        raise NotImplementedError("no notifications")


def _say(answer: dict) -> None:
    # The libraries may write to standard output too; nothing they say begins a line of ours.
    _OUT.write(json.dumps(answer) + "\n")
    _OUT.flush()


def _share(values: list[float], share: float) -> float:
    values = sorted(values)
    return values[round((len(values) - 1) * share)]


def _timed(puller: Puller, work: Work, seconds: float) -> dict:
    post, finish, clock = puller.post, puller.finish, time.perf_counter
    finish(post(0))
    began, worked = clock(), time.process_time()
    posted, took = [], []
    for number in range(1, work.pulls + 1):
        if len(took) >= LEAST and clock() - began >= seconds:
            break
        start = clock()
        handle = post(number)
        middle = clock()
        finish(handle)
        took.append((clock() - start) * 1e6)
        posted.append((middle - start) * 1e6)
    worked = time.process_time() - worked
    return {
        "p50_us": _share(took, 0.5),
        "p99_us": _share(took, 0.99),
        "post_p50_us": _share(posted, 0.5),
        "count": len(took),
        "cpu_s": worked,
    }


def _checked(puller: Puller, work: Work, number: int) -> dict:
    theirs, mine = work.list(number)
    pool = puller.pool.words.reshape(-1, work.size // 8)
    pool[mine] = WIPED
    puller.finish(puller.post(number))
    count = work.size // 8
    wrong = sum(
        int(np.count_nonzero(pool[to] != words(int(of) * count, count))) for of, to in zip(theirs, mine, strict=True)
    )
    return {"wrong": wrong, "words": count * work.blocks}


def _notified(puller: Puller, count: int, seconds: float) -> dict:
    began, took = time.perf_counter(), []
    while len(took) < LEAST or (len(took) < count and time.perf_counter() - began < seconds):
        start = time.perf_counter()
        puller.notify()
        took.append((time.perf_counter() - start) * 1e6)
    return {"p50_us": _share(took, 0.5), "p99_us": _share(took, 0.99), "count": len(took)}


class _Asks:
    """The questions, as they come. Read without a buffer of Python's, so that `select` knows of each."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, wait: float | None) -> dict | None:
        """The next one within `wait` seconds, or however long it takes. Ends the process when there are no more."""
        while b"\n" not in self._rest:
            if not select.select([0], [], [], wait)[0]:
                return None
            read = os.read(0, 1 << 20)
            if not read:
                # The libraries' own threads are not waited for.
                os._exit(0)
            self._rest += read
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)


def _held(holder: Holder, said: dict) -> dict:
    match said["ask"]:
        case "cpu":
            return {"cpu_s": time.process_time()}
        case "meet":
            holder.meet(said["offer"])
            return {}
        case "prepare":
            return {"tickets": holder.prepare(Work(said))}
        case "echo" | "quiet":
            return {}
        case ask:
            raise ValueError(f"{ask} is no question for this side")


def _pulled(puller: Puller, said: dict, works: list[Work]) -> dict:
    match said["ask"]:
        case "check":
            return _checked(puller, works[-1], said["number"])
        case "cpu":
            return {"cpu_s": time.process_time()}
        case "meet":
            puller.meet(said["offer"])
            return {}
        case "notify":
            return _notified(puller, said["count"], said["seconds"])
        case "prepare":
            works[:] = [Work(said)]
            puller.prepare(works[-1])
            return {}
        case "pull":
            return _timed(puller, works[-1], said["seconds"])
        case ask:
            raise ValueError(f"{ask} is no question for this side")


_LOOKS = 2000
"""Looks for a notification between two for a question."""

_OUT = os.fdopen(os.dup(1), "w")


def run(holder: object, puller: object) -> None:
    """Answers questions for ever; the arguments say for which side. `holder` and `puller` make it, of a form and a pool."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["serve", "pull"])
    parser.add_argument("name")
    parser.add_argument("--pool", type=int, required=True)
    args = parser.parse_args()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(2, 1)

    form = args.name.partition(".")[2]
    is_holder = args.side == "serve"
    try:
        side = (holder if is_holder else puller)(form, args.pool)
        _say({"offer": side.offer()})
    except Exception as error:  # whatever a library raises is an answer
        _say({"error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    asks, works, is_echoing = _Asks(), [], False
    while True:
        if is_echoing:
            for _ in range(_LOOKS):
                side.echo()
        said = asks.take(0 if is_echoing else side.idle() if is_holder else None)
        if said is None:
            continue
        is_echoing = said["ask"] == "echo"
        try:
            _say(_held(side, said) if is_holder else _pulled(side, said, works))
        except Exception as error:  # whatever a library raises is an answer
            _say({"error": f"{type(error).__name__}: {error}"})
