"""What this machine allows, where engines run on it."""

from __future__ import annotations

import re
import resource
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from llmd_py.doctor.finding import Finding, ok, warning

__all__ = ["is_here", "machine"]

MIB = 1 << 20
#: What memory of devices goes through is pinned: a few buffers, and with RDMA all of a cache.
PINNED = 64 * MIB
#: A container has 64 MiB unless it is told otherwise, through which vLLM's workers speak with each other.
SHM = 1024 * MIB


def is_here(host: str) -> bool:
    """Say whether a host is this machine: whether one of its addresses can be listened at."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as listening:
                listening.bind((address[0], 0, *address[2:]))
        except OSError:
            continue
        return True
    return False


def machine(shm: str = "/dev/shm", meminfo: str = "/proc/meminfo") -> Iterator[Finding]:
    """Is there what engines take from a machine?"""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit != resource.RLIM_INFINITY and limit < PINNED:
        change = "ulimit -l unlimited; docker run --ulimit memlock=-1"
        yield warning("memlock", f"{limit // 1024} KiB may be pinned: too little for GPUs' buffers and RDMA, if there are any", change)
    else:
        yield ok("memlock", "unlimited" if limit == resource.RLIM_INFINITY else f"{limit // MIB} MiB may be pinned")
    try:
        usage = shutil.disk_usage(shm)
    except OSError as error:
        yield warning("/dev/shm", str(error), "docker run --ipc=host, or --shm-size=8g")
    else:
        said = f"{usage.free // MIB} of {usage.total // MIB} MiB are free"
        if usage.free < SHM:
            yield warning("/dev/shm", said, "docker run --shm-size=8g, or --ipc=host; on Kubernetes, an emptyDir with medium: Memory")
        else:
            yield ok("/dev/shm", said)
    yield ok("huge pages", _huge_pages(meminfo))


def _huge_pages(meminfo: str) -> str:
    try:
        said = dict(re.findall(r"^(HugePages_\w+):\s+(\d+)", Path(meminfo).read_text(), re.MULTILINE))
    except OSError:
        said = {}
    if not int(said.get("HugePages_Total", "0")):
        return "none are reserved; nothing needs them"
    return f"{said.get('HugePages_Free', '0')} of {said['HugePages_Total']} are free"
