"""Compiles CUDA C to PTX for sm_70 and later with NVRTC, which needs neither a toolkit nor a GPU; the PTX goes to standard output."""

import ctypes
import glob
import pathlib
import sys

import nvidia.cuda_nvrtc as package

folder = pathlib.Path(list(package.__path__)[0]) / "lib"
for name in sorted(glob.glob(str(folder / "libnvrtc-builtins.so*"))):
    ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
nvrtc = ctypes.CDLL(glob.glob(str(folder / "libnvrtc.so*"))[0])

path = pathlib.Path(sys.argv[1])
program = ctypes.c_void_p()
nvrtc.nvrtcCreateProgram(ctypes.byref(program), path.read_bytes(), path.name.encode(), 0, None, None)
options = (ctypes.c_char_p * 1)(b"--gpu-architecture=compute_70")
status = nvrtc.nvrtcCompileProgram(program, 1, options)
size = ctypes.c_size_t()
nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
log = ctypes.create_string_buffer(size.value)
nvrtc.nvrtcGetProgramLog(program, log)
sys.stderr.write(log.value.decode())
if status:
    sys.exit(f"NVRTC: status {status}")
nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
ptx = ctypes.create_string_buffer(size.value)
nvrtc.nvrtcGetPTX(program, ptx)
sys.stdout.write(ptx.value.decode())
