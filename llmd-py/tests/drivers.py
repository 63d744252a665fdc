"""The fake driver of a device, over this machine's memory: built by the system's C compiler, and loaded as a driver is."""

from __future__ import annotations

import ctypes
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from llmd_py import Device
from programs import FAKE_DRIVER

FLAGS = {"cuda": "-DFAKE_CUDA", "rocm": "-DFAKE_HIP"}


@dataclass(frozen=True)
class Driver:
    """A driver of its own: two of them know nothing of each other."""

    vendor: str
    path: Path
    control: ctypes.CDLL

    @classmethod
    def build(cls, vendor: str, path: Path) -> Driver:
        """Builds one that pretends to be this vendor's."""
        command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O1", "-fPIC", "-shared", FLAGS[vendor]]
        subprocess.run([*command, str(FAKE_DRIVER), "-o", str(path), "-lpthread", "-lrt"], check=True)
        return cls(vendor, path, ctypes.CDLL(str(path)))

    def open(self, ordinal: int = 0) -> Device:
        """One of its devices."""
        return (Device.cuda if self.vendor == "cuda" else Device.rocm)(ordinal, library=self.path)

    def left(self) -> list[int]:
        """What was not given back: memory, imports, registrations, events, streams, modules, contexts; and misuses."""
        left = (ctypes.c_size_t * 8)()
        self.control.llmd_fake_left(left)
        return list(left)

    def hold(self, held: bool) -> None:
        """Has nothing done while it is held."""
        self.control.llmd_fake_hold(int(held))
