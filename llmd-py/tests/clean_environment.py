"""Installs a wheel where nothing else is, uses it in every way that has an end, and removes it without a trace.

clean_environment.py WHEEL FOLDER, by a Python that has pip. What is wrong ends it with exit code 1 and one line; figures
are one object of JSON on stdout.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIFE = Path(__file__).with_name("one_life.py")
DEADLINE = 60.0

# Starts of the interpreter to find out what the import costs, and lives of a process.
STARTS = 20
LIVES = 100

# What the import may cost, and what is so gross a miss that no noise explains it.
IMPORT_MS = 100.0
IMPORT_FAILS_MS = 3 * IMPORT_MS

# The package is complete with these.
FILES = {"__init__.py", "_native.abi3.so", "_native.pyi", "errors.py", "gateway.py", "py.typed"}

# What the extension may name: the C library and the compiler's own, in every spelling of glibc. No vendor's library.
LIBRARIES = re.compile(r"(libc|libm|libdl|librt|libpthread|libgcc_s|ld-linux-[\w-]+)\.so\.\d+")

# Examples that need an argument, and so do not end by themselves.
SERVERS = {"gateway.py", "router.py", "scheduler_gateway.py"}


class Wrong(Exception):
    """The wheel does not do what it must."""


class Environment:
    """A Python with its standard library and nothing else, not even pip."""

    def __init__(self, folder: Path) -> None:
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(folder)
        self.folder = folder
        self.python = folder / "bin/python"

    def pip(self, *args: str | Path) -> None:
        command: list[str | Path] = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check"]
        done = subprocess.run([*command, *args], capture_output=True, text=True, timeout=DEADLINE)
        must_succeed("pip", done, quiet=False)

    def run(self, what: str, *args: str | Path) -> str:
        """Runs the interpreter, which forgives nothing: what it printed, and nothing on stderr."""
        command: list[str | Path] = [self.python, "-W", "error", "-X", "dev", *args]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=DEADLINE, env=environment, cwd=self.folder
            )
        except subprocess.TimeoutExpired:
            raise Wrong(f"{what} had not ended after {DEADLINE:.0f} s") from None
        must_succeed(what, done)
        return done.stdout

    def start_ms(self, program: str) -> float:
        """The time that one process takes, as a user would start it."""
        began = time.perf_counter()
        subprocess.run([self.python, "-c", program], check=True, timeout=DEADLINE, cwd=self.folder)
        return (time.perf_counter() - began) * 1e3

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if not path.is_dir()}

    def package(self) -> Path:
        [package] = self.folder.glob("lib/python*/site-packages/llmd_py")
        return package


def must_succeed(what: str, done: subprocess.CompletedProcess[str], *, quiet: bool = True) -> None:
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing")[-2000:]
        raise Wrong(f"{what} ended with {done.returncode}: {last}")
    if quiet and done.stderr:
        raise Wrong(f"{what} said on stderr: {done.stderr[-2000:]}")


def is_complete(environment: Environment) -> dict[str, float]:
    package = environment.package()
    found = {path.name for path in package.iterdir() if path.is_file()}
    if found != FILES:
        raise Wrong(f"the package holds {sorted(found)}: expected {sorted(FILES)}")
    if extra := [path.name for path in package.parent.glob("*.libs")]:
        raise Wrong(f"the wheel brings libraries along: {extra}")
    return {"wheel.unpacked_mb": round((package / "_native.abi3.so").stat().st_size / 1e6, 1)}


def names_no_vendors_library(environment: Environment) -> dict[str, float]:
    command = ["readelf", "--dynamic", "--wide", str(environment.package() / "_native.abi3.so")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    must_succeed("readelf", done)
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", done.stdout)
    if not needed:
        raise Wrong("readelf named no library")
    if strange := [name for name in needed if not LIBRARIES.fullmatch(name)]:
        raise Wrong(f"the extension names {', '.join(strange)}: expected the C library only")
    return {}


def is_imported_quickly(environment: Environment) -> dict[str, float]:
    environment.run("the import", "-c", "import llmd_py; assert llmd_py.__version__")
    bare, full = [], []
    for _ in range(STARTS):
        bare.append(environment.start_ms("pass"))
        full.append(environment.start_ms("import llmd_py"))
    cost = statistics.median(full) - statistics.median(bare)
    if cost > IMPORT_MS:
        print(f"the import takes {cost:.0f} ms: expected {IMPORT_MS:.0f} or less", file=sys.stderr)
    if cost > IMPORT_FAILS_MS:
        raise Wrong(f"the import takes {cost:.0f} ms: expected {IMPORT_MS:.0f}, and {IMPORT_FAILS_MS:.0f} fails")
    return {"wheel.import_ms": round(cost, 1)}


def runs_the_examples(environment: Environment) -> dict[str, float]:
    examples = [path for path in sorted((ROOT / "examples/python").glob("*.py")) if path.name not in SERVERS]
    if not examples:
        raise Wrong("there are no examples")
    for example in examples:
        if not environment.run(example.name, example).strip():
            raise Wrong(f"{example.name} says nothing")
    return {}


def has_the_gateway(environment: Environment) -> dict[str, float]:
    said = environment.run("the gateway", "-m", "llmd_py.gateway", "--help")
    if "--config" not in said:
        raise Wrong(f"the gateway's help is {said!r}: expected --config in it")
    return {}


def has_the_doctor(environment: Environment) -> dict[str, float]:
    said = environment.run("the doctor", "-m", "llmd_py.doctor", "--help")
    if "--json" not in said:
        raise Wrong(f"the doctor's help is {said!r}: expected --json in it")
    return {}


def lives_and_ends(environment: Environment) -> dict[str, float]:
    took = []
    for life in range(LIVES):
        began = time.perf_counter()
        environment.run(f"life {life}", "-X", "faulthandler", LIFE)
        took.append((time.perf_counter() - began) * 1e3)
    return {"wheel.life_ms": round(statistics.median(took), 1)}


CHECKS = [
    is_complete,
    names_no_vendors_library,
    is_imported_quickly,
    runs_the_examples,
    has_the_gateway,
    has_the_doctor,
    lives_and_ends,
]


def check(wheel: Path, folder: Path, figures: dict[str, float]) -> None:
    environment = Environment(folder)
    before = environment.files()
    environment.pip("install", "--no-index", "--no-deps", wheel)
    for holds in CHECKS:
        began = time.perf_counter()
        figures.update(holds(environment))
        print(f"{time.perf_counter() - began:6.1f} s  it {holds.__name__.replace('_', ' ')}", file=sys.stderr)
    environment.pip("uninstall", "--yes", "llmd-py")
    if left := environment.files() - before:
        raise Wrong(f"pip uninstall leaves {sorted(left)}")
    if lost := before - environment.files():
        raise Wrong(f"pip uninstall takes {sorted(lost)} with it")
    print("          it is gone without a trace", file=sys.stderr)


def main() -> int:
    wheel, folder = map(Path, sys.argv[1:])
    figures: dict[str, float] = {}
    try:
        check(wheel.resolve(), folder.resolve(), figures)
    except Wrong as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 1
    finally:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
