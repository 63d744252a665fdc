"""Runs the commands of docs/vllm.md as they stand there: both engines, the doctor, the two hops, the gateway.

usage: page.py --model FOLDER [--page FILE]

Exits with 0 when each did what the page says. Where vLLM and llmd are is what PYTHONPATH and this interpreter say.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs/vllm.md"
NAMED = re.compile(r"^```sh (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What a tiny model on a CPU takes besides.
FLAGS = "--enforce-eager --dtype bfloat16 --max-model-len 2048 --max-num-seqs 8 --block-size 32 --kv-cache-memory-bytes 16777216"
STARTS = 420.0
WITHIN = 120.0


def blocks(page: Path) -> dict[str, str]:
    """Give the commands of a page that have a name, by it."""
    return dict(NAMED.findall(page.read_text(encoding="utf-8")))


class Shell:
    """A folder in which commands are run."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        tools = folder / "bin"
        tools.mkdir()
        for name in ("python", "python3"):
            # A link would leave the interpreter's environment.
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
            (tools / name).chmod(0o755)
        self.environment = dict(
            os.environ, MODEL=str(model), NAME="tiny", FLAGS=FLAGS, PATH=f"{tools}:{os.environ['PATH']}", VLLM_CPU_OMP_THREADS_BIND="nobind",
            OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_HOST_IP="127.0.0.1",
        )  # fmt: skip

    def run(self, name: str, commands: str) -> str:
        """Run commands to their end: what they printed."""
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=WITHIN, check=False
        )
        print(f"== {name}\n{ran.stdout}", flush=True)
        if ran.returncode != 0:
            raise RuntimeError(f"{name} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def serve(self, stack: ExitStack, name: str, commands: str) -> subprocess.Popen[bytes]:
        """Begin commands that go on until the stack ends."""
        with (self.folder / f"{name}.log").open("wb") as log:
            began = subprocess.Popen(
                ["bash", "-euc", commands], cwd=self.folder, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        stack.callback(end, began)
        return began

    def ready(self, name: str, process: subprocess.Popen[bytes], url: str) -> None:
        """Wait until a URL is answered."""
        until = time.monotonic() + STARTS
        while time.monotonic() < until and process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except OSError:
                time.sleep(0.3)
        raise RuntimeError(f"{name} does not answer at {url}:\n{(self.folder / f'{name}.log').read_text(errors='replace')[-4000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it began."""
    for number, wait in ((signal.SIGTERM, 20), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(wait)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def completed(said: str) -> None:
    """Make sure that the first line is a completion."""
    answer = json.loads(said.splitlines()[0])
    if not answer["choices"][0]["text"] or answer["usage"]["completion_tokens"] != 16:
        raise RuntimeError(f"expected 16 tokens, it is {said[:500]}")


def check(page: Path, model: Path) -> int:
    """Run a page, and say how many blocks of commands it has."""
    commands = blocks(page)
    count = len(commands)
    with tempfile.TemporaryDirectory(prefix="llmd-page-") as folder, ExitStack() as stack:
        shell = Shell(Path(folder), model)
        engines = {name: shell.serve(stack, name, commands.pop(name)) for name in ("prefill", "decode")}
        for (name, process), port in zip(engines.items(), (8001, 8002), strict=True):
            shell.ready(name, process, f"http://127.0.0.1:{port}/health")
        said = shell.run("doctor", commands.pop("doctor"))
        if not said.splitlines()[-1].endswith(" 0 wrong") or "hand-over" not in said:
            raise RuntimeError(f"the doctor found something wrong:\n{said}")
        said = shell.run("hops", commands.pop("hops"))
        completed(said)
        before = fetched(said)
        shell.run("files", commands.pop("files"))
        gateway = shell.serve(stack, "gateway", commands.pop("gateway"))
        shell.ready("gateway", gateway, "http://127.0.0.1:8080/ready")
        wait_until_both_are_known()
        completed(shell.run("ask", commands.pop("ask")))
        after = before
        until = time.monotonic() + 10
        while after == before and time.monotonic() < until:
            time.sleep(0.2)
            with urllib.request.urlopen("http://127.0.0.1:8002/metrics", timeout=10) as answer:
                after = fetched(answer.read().decode())
        if not before or after <= before:
            raise RuntimeError(f"{before:.0f} bytes were fetched by hand, and {after:.0f} with the gateway's: expected more each time")
        if commands:
            raise RuntimeError(f"nobody runs {', '.join(commands)}")
    return count


def wait_until_both_are_known() -> None:
    """Wait until the gateway hears of both caches: it is ready when it knows an engine."""
    exact = [f'llmd_index_state{{endpoint_name="{name}",state="exact"}} 1' for name in ("prefill", "decode")]
    until = time.monotonic() + WITHIN
    while time.monotonic() < until:
        with urllib.request.urlopen("http://127.0.0.1:8080/metrics", timeout=10) as answer:
            said = answer.read().decode().splitlines()
        if all(line in said for line in exact):
            return
        time.sleep(0.2)
    raise RuntimeError("the gateway does not hear of both caches")


def fetched(said: str) -> float:
    """Add up how many bytes a page of metrics says that were fetched."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in said.splitlines() if line.startswith("vllm:llmd_fetched_bytes_total"))


def main() -> int:
    """Run the page that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    check(asked.page, asked.model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
