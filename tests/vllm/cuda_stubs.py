"""Stand-ins for the CUDA libraries that torch is linked with, and never calls on a machine without a GPU.

usage: cuda_stubs.py SITE_PACKAGES

PyPI has torch only as built for CUDA: loading it takes a library of each name, with the symbols in it, 4 GB in all.
Each stand-in has the symbols and no more: a function that is called all the same says its name and aborts. Takes a C
compiler and what comes with it (nm, readelf).
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# What `import torch` opens; the rest follows from what these need.
ENTRIES = ["libtorch_global_deps.so", "libtorch_python.so"]
VENDOR = re.compile(r"lib(cu|nv|nccl)")
COMPILER = os.environ.get("CC", "cc")

NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")
FILE = re.compile(r"File: (\S+)")
VERSION = re.compile(r"Name: (\S+)\s+Flags")

HEADER = """\
#include <stdio.h>
#include <stdlib.h>
static void called(const char *name) {
    fprintf(stderr, "%s: called, but this is a stand-in for a CUDA library\\n", name);
    abort();
}
"""


def said(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def loaded(folder: Path) -> tuple[list[Path], set[str]]:
    """The libraries of `folder` that are loaded, and the names of those from elsewhere that they need."""
    ours: list[Path] = []
    elsewhere: set[str] = set()
    waiting = list(ENTRIES)
    seen = set(waiting)
    while waiting:
        library = folder / waiting.pop()
        if not library.is_file():
            elsewhere.add(library.name)
            continue
        ours.append(library)
        needed = set(NEEDED.findall(said("readelf", "-dW", library)))
        waiting.extend(needed - seen)
        seen |= needed
    return ours, elsewhere


def versions(library: Path) -> dict[str, str]:
    """Which library each version of symbols that `library` asks for belongs to."""
    asked = said("readelf", "-VW", library).partition("Version needs section")[2]
    owners: dict[str, str] = {}
    owner = ""
    for line in asked.splitlines():
        if file := FILE.search(line):
            owner = file[1]
        elif version := VERSION.search(line):
            owners[version[1]] = owner
    return owners


def stem(library: str) -> str:
    """What the functions of a library begin with: `curand` for `libcurand.so.10`."""
    return library.removeprefix("lib").partition(".so")[0].lower()


def wanted(libraries: list[Path], missing: set[str]) -> dict[str, dict[str, set[str]]]:
    """By missing library and version (empty: none), the symbols that are asked for."""
    symbols: dict[str, dict[str, set[str]]] = {name: {} for name in missing}
    # The longest first: `cusparseLtInit` is not of cusparse.
    stems = sorted(missing, key=lambda name: len(stem(name)), reverse=True)
    for library in libraries:
        owners = versions(library)
        for line in said("nm", "-D", "--undefined-only", library).splitlines():
            symbol, _, version = line.split()[-1].partition("@")
            owner = owners.get(version)
            if not version:
                owner = next((name for name in stems if symbol.lower().startswith(stem(name))), None)
            if owner in missing:
                symbols[owner].setdefault(version, set()).add(symbol)
    return symbols


def write_stub(path: Path, symbols: dict[str, set[str]]) -> None:
    names = sorted(set().union(*symbols.values()))
    source = HEADER + "".join(f'void {name}(void) {{ called("{name}"); }}\n' for name in names)
    named = ((version, "; ".join(sorted(of))) for version, of in symbols.items() if version)
    script = "".join(f"{version} {{ global: {of}; }};\n" for version, of in named)
    with tempfile.TemporaryDirectory() as scratch:
        code, exports = Path(scratch, "stub.c"), Path(scratch, "stub.map")
        code.write_text(source)
        exports.write_text(script)
        versioned = [f"-Wl,--version-script={exports}"] if script else []
        said(COMPILER, "-shared", "-fPIC", "-fno-builtin", f"-Wl,-soname,{path.name}", *versioned, "-o", path, code)


def main() -> None:
    packages = Path(sys.argv[1])
    folder = packages / "torch" / "lib"
    libraries, elsewhere = loaded(folder)
    installed = {library.name for library in packages.glob("nvidia/**/lib*.so*")}
    missing = {name for name in elsewhere - installed if VENDOR.match(name)}
    symbols = wanted(libraries, missing)
    for name, of in symbols.items():
        write_stub(folder / name, of)
    count = sum(len(names) for of in symbols.values() for names in of.values())
    print(f"{len(symbols)} stand-ins with {count} functions: {', '.join(sorted(symbols))}")


if __name__ == "__main__":
    main()
