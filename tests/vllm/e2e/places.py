"""Engines in namespaces of their own: other processes, another network."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from engine import Place


def may() -> bool:
    """Say whether this machine lets us make namespaces."""
    probe = ["unshare", "--pid", "--ipc", "--net", "--fork", "--kill-child", "--mount-proc", "true"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@contextmanager
def networks(count: int) -> Iterator[list[Place]]:
    """Give so many places, each with a network and processes of its own, that reach each other and are reached from here."""
    bridge = f"llmd{os.getpid() % 10000}"
    names = [f"{bridge}-{place}" for place in range(count)]
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", "10.213.0.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        places = []
        for place, name in enumerate(names):
            near, far, host = f"{bridge}h{place}", f"{bridge}p{place}", f"10.213.0.{place + 2}"
            _ip("netns", "add", name)
            _ip("link", "add", near, "type", "veth", "peer", "name", far)
            _ip("link", "set", near, "master", bridge, "up")
            _ip("link", "set", far, "netns", name)
            _ip("-n", name, "addr", "add", f"{host}/24", "dev", far)
            _ip("-n", name, "link", "set", far, "up")
            _ip("-n", name, "link", "set", "lo", "up")
            places.append(Place(host=host, netns=name, has_own_pids=True))
        yield places
    finally:
        for name in names:
            _ip("netns", "del", name, may_fail=True)
        _ip("link", "del", bridge, may_fail=True)


def cut(place: Place, is_cut: bool) -> None:
    """Take the network from a place, or give it back."""
    if place.netns is None:
        raise ValueError("a place without a network of its own")
    listed = subprocess.run(["ip", "-n", place.netns, "-o", "link"], capture_output=True, text=True, check=True).stdout
    device = next(line.split(": ")[1].split("@")[0] for line in listed.splitlines() if ": lo" not in line)
    _ip("-n", place.netns, "link", "set", device, "down" if is_cut else "up")


def _ip(*words: str, may_fail: bool = False) -> None:
    ran = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if ran.returncode != 0 and not may_fail:
        raise RuntimeError(f"ip {' '.join(words)}: {ran.stderr.strip()}")
