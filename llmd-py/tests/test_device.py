"""Memory of devices is registered, lent and fetched into, by drivers that are loaded when they are wanted."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drivers import Driver
from llmd_py import Agent, Device, KvLayout, Region
from llmd_py.errors import InvalidError, LlmdError, UnsupportedError
from programs import Run

LAYOUT = KvLayout.block_major(blocks=16, block_bytes=65536)
NOTHING = [0] * 8


@pytest.fixture(params=["cuda", "rocm"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    """The fake driver of a vendor, of which nothing is left behind."""
    driver = Driver.build(request.param, tmp_path / "fake.so")
    yield driver
    assert eventually(lambda: driver.left() == NOTHING), driver.left()


def eventually(is_so: Callable[[], bool]) -> bool:
    """Whether it comes true, at the latest when the threads of agents that ended are through."""
    for _ in range(2000):
        gc.collect()
        if is_so():
            return True
        time.sleep(0.005)
    return False


def content(block: int) -> bytes:
    return bytes((block * 31 + np.arange(65536)).astype(np.uint8))


class Tensor:
    """A tensor as engines have them, which says how it was asked for."""

    def __init__(self, of: Region, *, new: bool = True) -> None:
        self.of, self.new = of, new
        self.asked: list[dict[str, Any]] = []

    def __dlpack__(self, **words: Any) -> Any:
        self.asked.append(words)
        if not self.new and "max_version" in words:
            raise TypeError("unexpected max_version")
        return self.of.__dlpack__(**words)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.of.__dlpack_device__()


def address(region: Region) -> int:
    """Where a region begins: the first field of its tensor."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = region.__dlpack__()
    return ctypes.c_size_t.from_address(pointer(capsule, b"dltensor")).value


def test_a_device_has_a_name(driver: Driver) -> None:
    device = driver.open(1)
    assert device.name == f"{driver.vendor}:1" and repr(device) == f"<Device {device.name}>"
    with pytest.raises(InvalidError, match="expected one of 2 devices"):
        driver.open(2)
    with pytest.raises(InvalidError, match="by which it is open"):
        (Device.cuda if driver.vendor == "cuda" else Device.rocm)(1, library="/other.so")


@pytest.mark.parametrize(("which", "name"), [(Device.cuda, "libcuda.so"), (Device.rocm, "libamdhip64.so")])
def test_without_a_driver_it_is_said_what_was_looked_for(which: Any, name: str) -> None:
    with pytest.raises(UnsupportedError, match="looked for /nowhere/driver.so"):
        which(0, library="/nowhere/driver.so")
    # A machine that has the driver has devices too, or says that there are none.
    try:
        which(0)
    except LlmdError as error:
        assert not isinstance(error, UnsupportedError) or name in str(error) or "driver" in str(error)
    with pytest.raises(InvalidError, match=r"device \"tpu:0\", expected one such as"):
        Region.on_device(4096, "tpu:0")
    with pytest.raises(InvalidError, match="ordinal -1"):
        which(-1)


def test_blocks_go_from_a_device_to_this_machine_and_back(driver: Driver) -> None:
    device = driver.open()
    with Agent("prefill-0", ["local"]) as prefill, Agent("decode-0", ["local"]) as decode:
        region = Region.on_device(LAYOUT.end, device)
        assert (region.device, len(region), region.shareable, region.writable) == (device.name, LAYOUT.end, False, True)
        assert repr(region) == f"<Region of {LAYOUT.end} bytes, on {device.name}>"
        computed, cache = prefill.register(region, LAYOUT), decode.register(Region.memfd(LAYOUT.end), LAYOUT)
        again = prefill.register(Region.on_device(LAYOUT.end, device.name), LAYOUT)
        for block in range(16):
            computed.write_block(block, content(block))
        grant = prefill.grant(computed, [1, 2, 15], seconds=30)
        assert decode.fetch(grant, cache, [7, 3, 11]).wait().outcome == "done"
        back = decode.grant(cache, [7, 3, 11], seconds=30)
        assert prefill.fetch(back, again, [0, 4, 8]).wait().outcome == "done"
        assert [again.read_block(block) for block in (0, 4, 8)] == [content(block) for block in (1, 2, 15)]
    with pytest.raises(BufferError, match="in a device"):
        memoryview(region)


@pytest.mark.parametrize("new", [True, False])
def test_a_tensor_on_a_device_is_taken_without_a_stream_and_kept(driver: Driver, new: bool) -> None:
    device = driver.open(1)
    tensor = Tensor(Region.on_device(LAYOUT.end, device), new=new)
    with Agent("here", ["local"]) as agent:
        pool = agent.register(tensor, LAYOUT)
        assert tensor.asked[-1]["stream"] == -1 and ("max_version" in tensor.asked[-1]) == new
        assert tensor.__dlpack_device__() == ({"cuda": 2, "rocm": 10}[driver.vendor], 1)
        for region in (Region.adopt(tensor), Region.from_dlpack(tensor), pool.region):
            assert region.device == device.name
        other = agent.register(Region.from_dlpack(tensor), LAYOUT)
        del tensor, device, region
        pool.write_block(5, content(9))
        assert other.read_block(5) == content(9)


def test_a_capsule_is_taken_once(driver: Driver) -> None:
    device = driver.open()
    for version in (None, (1, 0)):
        capsule = Region.on_device(4096, device).__dlpack__(max_version=version)
        region = Region.from_dlpack(capsule)
        with pytest.raises(TypeError, match="nobody has taken"):
            Region.from_dlpack(capsule)
        del capsule
        gc.collect()
        assert len(region) == 4096 and driver.left()[0] > 0
    array = np.arange(10, dtype=np.uint8)
    assert bytes(Region.from_dlpack(array.__dlpack__())) == bytes(array)
    for wrong in (3, "tensor", bytearray(4)):
        with pytest.raises(TypeError, match="expected a DLPack tensor"):
            Region.from_dlpack(wrong)


def test_memory_at_an_address_stays_as_long_as_what_is_kept(driver: Driver) -> None:
    device = driver.open()
    memory = Region.on_device(LAYOUT.end, device)
    start, keep = address(memory), [memory]
    region = Region.from_device_pointer(start, LAYOUT.end, device=device.name, keep=keep)
    half = Region.from_device_pointer(start + LAYOUT.end // 2, LAYOUT.end // 2, device, keep)
    del memory, keep
    with Agent("here", ["local"]) as agent:
        whole = agent.register(region, LAYOUT)
        part = agent.register(half, KvLayout.block_major(blocks=8, block_bytes=65536))
        whole.write_block(9, content(9))
        assert part.read_block(1) == content(9)
    for wrong in (0, 2**64 - 1):
        with pytest.raises(InvalidError, match="expected some that fit"):
            Region.from_device_pointer(wrong, 4096, device)
    with pytest.raises(InvalidError, match="0 bytes"):
        Region.from_device_pointer(start, 0, device)


FETCHES = """
import sys
from llmd_py import Agent, Device, KvLayout, Region
vendor, library, folder, grant = {vendor!r}, {library!r}, {folder!r}, bytes.fromhex({grant!r})
device = getattr(Device, vendor)(0, library=library)
layout = KvLayout.block_major(blocks=16, block_bytes=65536)
with Agent("decode-0", [f"cuda_ipc://{{vendor}}:0"], folder=folder) as agent:
    pool = agent.register(Region.on_device(layout.end, device), layout)
    fetched = agent.fetch(grant, pool, [7, 3, 11]).wait()
    assert (fetched.outcome, fetched.transport) == ("done", "cuda_ipc"), fetched
    assert agent.stats().ipc_bytes == agent.stats().fetched_bytes == 3 * 65536
    print([pool.read_block(block)[0] for block in (7, 3, 11)])
"""


def test_another_process_fetches_what_a_device_exports(driver: Driver, tmp_path: Path, run: Run) -> None:
    device = driver.open()
    folder = str(tmp_path / "sockets")
    with Agent("prefill-0", [f"cuda_ipc://{device.name}"], folder=folder) as agent:
        pool = agent.register(Region.on_device(LAYOUT.end, device), LAYOUT)
        for block in range(16):
            pool.write_block(block, content(block))
        grant = agent.grant(pool, [1, 2, 15], seconds=30)
        words = {"vendor": driver.vendor, "library": str(driver.path), "folder": folder, "grant": grant.hex()}
        done = run(FETCHES.format(**words))
        assert (done.returncode, done.stdout) == (0, f"{[content(block)[0] for block in (1, 2, 15)]}\n"), done.stderr
        with pytest.raises(UnsupportedError):
            agent.register(Region.memfd(LAYOUT.end), LAYOUT)


def test_the_first_device_imports_unless_another_is_named(driver: Driver, tmp_path: Path) -> None:
    device = driver.open()
    if driver.vendor == "cuda":
        with Agent("here", ["cuda_ipc"], folder=str(tmp_path)) as agent:
            agent.register(Region.on_device(LAYOUT.end, device), LAYOUT)
    with pytest.raises(InvalidError, match=r"device \"tpu\""):
        Agent("here", ["cuda_ipc://tpu"])
