"""Memory comes from whatever lends it, stays as long as it is wanted, and is lent on."""

from __future__ import annotations

import array
import ctypes
import gc
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmd_py import Agent, KvLayout, Region
from llmd_py.errors import InvalidError, UnavailableError, UnsupportedError

LEN = 4 * 4096
LAYOUT = KvLayout.block_major(blocks=4, block_bytes=4096)


class Tensor:
    """What has a tensor's memory and is no buffer, as torch's tensors are; of before version 1 unless it is `new`."""

    def __init__(self, of: Any, *, new: bool = True) -> None:
        self.of, self.new = of, new

    def __dlpack__(self, **words: Any) -> Any:
        if not self.new and words:
            raise TypeError(f"unexpected {words}")
        return self.of.__dlpack__(**words)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self.of.__dlpack_device__()
        return device


FORMS: dict[str, Callable[[], Any]] = {
    "bytearray": lambda: bytearray(LEN),
    "memoryview": lambda: memoryview(bytearray(LEN)),
    "array": lambda: array.array("Q", bytes(LEN)),
    "mmap": lambda: mmap.mmap(-1, LEN),
    "ctypes": lambda: (ctypes.c_uint16 * (LEN // 2))(),
    "NumPy": lambda: np.zeros((4, 4096), np.uint8),
    "NumPy of Fortran": lambda: np.zeros((64, 64), np.float32, order="F"),
    "NumPy float16": lambda: np.zeros(LEN // 2, np.float16),
    "a tensor": lambda: Tensor(np.zeros((2, LEN // 4), np.int16)),
    "an old tensor": lambda: Tensor(np.zeros(LEN, np.int8), new=False),
    "a permuted tensor": lambda: Tensor(np.zeros((64, 1, 64), np.float32).transpose(2, 1, 0)),
    "a region": lambda: Region.memfd(LEN),
    "a region's tensor": lambda: Tensor(Region.memfd(LEN)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_pool_writes_to_the_memory_itself(form: Callable[[], Any]) -> None:
    memory = form()
    with Agent("here", ["local"]) as agent:
        pool = agent.register(memory, LAYOUT)
        pool.write_block(2, b"\x07" * 4096)
        assert pool.region.writable and len(pool.region) == LEN
    lent = np.from_dlpack(memory) if isinstance(memory, Tensor) else np.asarray(memory)
    content = lent.tobytes(order="A") if "permuted" not in str(form) else lent.tobytes()
    assert content.count(7) == 4096


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_memory_is_let_go_of_when_nobody_has_the_region(form: Callable[[], Any]) -> None:
    memory = form()
    owner = memory.of if isinstance(memory, Tensor) else memory
    before = sys.getrefcount(owner)
    region = memory if isinstance(memory, Region) else Region.adopt(memory)
    agent = Agent("here", ["local"])
    pool = agent.register(region, LAYOUT)
    agent.close()
    del region, pool, agent
    gc.collect()
    assert sys.getrefcount(owner) == before


def test_a_buffer_is_pinned_meanwhile() -> None:
    memory = bytearray(LEN)
    region = Region.adopt(memory)
    with pytest.raises(BufferError):
        memory.append(1)
    del region
    memory.append(1)


def test_a_region_is_a_buffer_and_a_tensor() -> None:
    region = Region.memfd(LEN)
    array, tensor, view = np.asarray(region), np.from_dlpack(region), memoryview(region)
    array[5], tensor[6], view[7] = 50, 60, 70

    assert bytes(view[5:8]) == bytes([50, 60, 70]) and array[7] == 70
    assert (view.nbytes, view.format, view.readonly) == (LEN, "B", False)
    assert region.__dlpack_device__() == (1, 0)
    del region
    gc.collect()
    assert array[6] == 60 and view[7] == 70, "views keep the memory"


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (2, 1)])
def test_a_tensor_that_nobody_takes_is_deleted(version: tuple[int, int] | None) -> None:
    memory = bytearray(LEN)
    region = Region.adopt(memory)
    capsule = region.__dlpack__(max_version=version)
    name = "dltensor_versioned" if version and version[0] >= 1 else "dltensor"
    assert f'"{name}"' in repr(capsule)
    del region
    with pytest.raises(BufferError):
        memory.append(1)
    del capsule
    memory.append(1)


def test_a_copy_and_another_device_are_refused() -> None:
    region = Region.memfd(LEN)
    for words in ({"copy": True}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError, match="lent where it lies"):
            region.__dlpack__(**words)
    assert np.from_dlpack(region, copy=False).nbytes == LEN


def test_files_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "kv"
    path.write_bytes(bytes(LEN))
    with Agent("here", ["local"]) as agent:
        agent.register(path, LAYOUT).write_block(0, b"\x01" * 4096)
        agent.register(str(path), LAYOUT).write_block(1, b"\x02" * 4096)
        fd = os.open(path, os.O_RDWR)
        agent.register(fd, LAYOUT).write_block(2, b"\x03" * 4096)
        os.close(fd)
    assert path.read_bytes() == b"".join(bytes([number]) * 4096 for number in (1, 2, 3, 0))

    fd = os.open(path, os.O_RDONLY)
    region = Region.adopt_fd(fd)
    os.close(fd)
    assert region.shareable and not region.writable and os.fstat(region.fileno()).st_size == LEN
    assert memoryview(region).readonly and memoryview(region)[0] == 1
    assert not np.from_dlpack(region).flags.writeable
    with pytest.raises(UnsupportedError, match="only for reading"):
        region.__dlpack__()
    with pytest.raises(TypeError):
        (ctypes.c_char * LEN).from_buffer(region)


def test_pages_are_said_how() -> None:
    assert Region.memfd(LEN, lazy=True).shareable
    with pytest.raises(InvalidError, match="multiple of the huge page"):
        Region.memfd(LEN, huge_pages=True)
    with pytest.raises(UnsupportedError, match="NUMA node 1000000"):
        Region.memfd(LEN, node=1_000_000)
    with pytest.raises(InvalidError, match="0 bytes"):
        Region.memfd(0)


class Elsewhere:
    """A tensor in the memory of a device."""

    def __init__(self, kind: int) -> None:
        # What numpy makes, said to be elsewhere: the device stands behind the data's address.
        self.array = np.zeros(LEN, np.uint8)
        self.kind = kind

    def __dlpack__(self, **_: Any) -> Any:
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        ctypes.c_int32.from_address(pointer(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p)).value = self.kind
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0


@pytest.mark.parametrize(
    ("memory", "error", "words"),
    [
        (bytes(LEN), InvalidError, "cannot be written to"),
        (np.frombuffer(bytes(LEN), np.uint8), InvalidError, "cannot be written to"),
        (np.zeros((4, 8192), np.uint8)[:, ::2], InvalidError, "does not lie in one piece"),
        (Tensor(np.zeros((4, 8192), np.uint8)[:, ::2]), InvalidError, "does not lie in one piece"),
        (bytearray(), InvalidError, "0 bytes"),
        (np.zeros(0), InvalidError, "0 bytes"),
        (Tensor(np.zeros(0)), InvalidError, "0 bytes"),
        (Elsewhere(8), UnsupportedError, "memory of a Metal device"),
        (Elsewhere(14), UnsupportedError, "memory of a oneAPI device"),
        (object(), TypeError, "the memory is object, expected a writable buffer"),
        (None, TypeError, "the memory is NoneType"),
        (-1, InvalidError, "file descriptor -1"),
        ("/nowhere/kv", UnavailableError, "/nowhere/kv"),
        ("/dev/null", InvalidError, "expected a file"),
    ],
    ids=str,
)
def test_what_is_no_memory_is_refused_by_name(memory: Any, error: type[Exception], words: str) -> None:
    with Agent("here", ["local"]) as agent, pytest.raises(error, match=words):
        agent.register(memory, LAYOUT)


def test_memory_of_pinned_host_tensors_is_this_machines() -> None:
    with Agent("here", ["local"]) as agent:
        agent.register(Elsewhere(3), LAYOUT).write_block(0, bytes(4096))


def test_memory_is_as_long_as_its_layout() -> None:
    with Agent("here", ["shm"]) as agent:
        with pytest.raises(InvalidError, match=r"a region of 4096 bytes, expected the 16384"):
            agent.register(Region.memfd(4096), LAYOUT)
    own = Region.adopt(bytearray(LEN))
    assert not own.shareable and own.writable
    with pytest.raises(UnsupportedError, match="memory of no file"):
        own.fileno()
