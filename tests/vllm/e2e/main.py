"""Real vLLM engines that hand requests over through llmd: token for token, beside NixlConnector, and whatever goes wrong.

usage: main.py --model FOLDER --json FILE [--short] [--only PART] [--nixl FOLDER]

Figures go to the file, as one JSON object; what is said on the way goes to standard output.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import beside
import faults
import places
import router
from engine import HERE, Engine, Place
from identity import Identity, alone, compare, compare_hits
from prompts import all_kinds, that_begin_alike

Figures = dict[str, float]
ADAPTERS = ("lora-a", "lora-b")


#: Ports that are given away: none twice, and none that the system gives to connections by itself meanwhile.
PORTS = iter(random.sample(range(20_000, 32_000), 2_000))


def free_port() -> int:
    """Give a port at which nobody listens."""
    for port in PORTS:
        with socket.socket() as there:
            try:
                there.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


@dataclasses.dataclass
class Bench:
    """What engines are started with."""

    model: Path
    folder: Path
    nixl: Path | None
    figures: Figures = dataclasses.field(default_factory=dict)

    def engine(self, name: str, role: str | None, place: Place = HERE, **named: Any) -> Engine:
        """Make an engine that hands over through llmd, or by itself when it has no role."""
        extra = named.pop("extra", {})
        connector, module = named.pop("connector", ("LlmdConnector", "llmd_py.vllm"))
        transfer = role and {
            "kv_connector": connector,
            "kv_connector_module_path": module,
            "kv_role": role,
            "engine_id": name,
            "kv_load_failure_policy": "recompute",
            "kv_connector_extra_config": {"folder": str(self.folder / "sockets"), **extra},
        }
        loras = {adapter: self.model.parent / adapter for adapter in ADAPTERS}
        return Engine(name, free_port(), self.folder, self.model, transfer, loras=loras, place=place, **named)


def identical(bench: Bench, short: bool) -> None:
    """Hand every kind of prompt over, by every transport and between all places, and hold it against one engine alone."""
    may = places.may()
    configurations: list[tuple[str, str, bool, Sequence[str]]] = [("shm", "shm", False, ())]
    if not short:
        configurations += [("tcp", "tcp", False, ()), ("shm.chunked", "shm", False, ("--max-num-batched-tokens", "256"))]
        configurations += [("shm.apart", "shm", True, ()), ("tcp.apart", "tcp", True, ())] if may else []
    if not may:
        print("no namespaces can be made here: engines in places of their own are not tried")
    prompts, all_of_it = all_kinds(ADAPTERS), Identity()
    for name, transport, is_apart, arguments in configurations:
        with ExitStack() as stack:
            here = stack.enter_context(places.networks(2)) if is_apart else [HERE, HERE]
            extra = {"transports": [transport]}
            pair = [
                bench.engine(f"{name}-{role}", role, place, blocks=blocks, extra=extra, arguments=arguments).start()
                for role, place, blocks in (("kv_producer", here[0], 300), ("kv_consumer", here[1], 421))
            ]
            for engine in pair:
                stack.callback(engine.stop)
            for engine in pair:
                engine.ready()
            prefill, decode = pair
            found = compare(prefill, decode, prompts, alone(decode, prompts))
            alike = that_begin_alike()
            found.add(compare_hits(prefill, decode, alike, alone(decode, [("", prompt) for prompt in alike])))
            print(f"{name}: {found}", flush=True)
            bench.figures[f"pd.{name}.identical"] = found.identical
            ways = {way: decode.counted(f"vllm:llmd_{way}_bytes_total") for way in ("mapped", "cma", "staged")}
            bench.figures |= {f"pd.{name}.{way}_bytes": moved for way, moved in ways.items() if moved}
            all_of_it.add(found)
            if is_apart and transport == "tcp":
                with_cut_network(bench, prefill, decode)
    bench.figures |= {f"pd.{name}": count for name, count in dataclasses.asdict(all_of_it).items()}


def with_cut_network(bench: Bench, prefill: Engine, decode: Engine) -> None:
    """Cut the network between the two while a request is handed over."""
    pair = faults.Pair(prefill, decode)
    with pair.fault("network cut"):
        prompt = pair.prompt()
        right = pair.right(decode, prompt)
        params = faults.prefilled(prefill, prompt, faults.WITHIN)
        places.cut(prefill.place, True)
        try:
            pair.expect(decode.say(prompt, faults.TOKENS, params, faults.WITHIN), right)
        finally:
            places.cut(prefill.place, False)
    told(bench, pair.tally)


def broken(bench: Bench, short: bool) -> None:
    """Break whatever can be broken."""
    switch = bench.folder / "fault"
    extra = {"transports": ["shm"], "lease_seconds": faults.LEASE, "fetch_within": 5.0}
    made = {
        "extra": extra,
        "connector": ("FaultyConnector", "faulty"),
        "environment": {"LLMD_E2E_FAULT": str(switch), "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(Path(__file__).parent)])},
    }
    pair = [bench.engine(f"faulty-{role}", role, **made).start() for role in ("kv_producer", "kv_consumer")]

    def again(engine: Engine) -> Engine:
        engine.stop()
        place = pair.index(engine)
        pair[place] = dataclasses.replace(engine, port=free_port()).start().ready()
        return pair[place]

    try:
        for engine in pair:
            engine.ready()
        told(bench, faults.all_faults(faults.Pair(*pair), again, switch, short))
    finally:
        for engine in pair:
            engine.stop()


def told(bench: Bench, tally: faults.Tally) -> None:
    """Add what came of faults."""
    for said in tally.said:
        print(f"not survived: {said}")
    counted = {
        "tried": len(tally.tried), "survived": len(tally.survived), "wrong_tokens": tally.wrong_tokens, "hung": tally.hung,
    }  # fmt: skip
    for name, count in counted.items():
        bench.figures[f"faults.{name}"] = bench.figures.get(f"faults.{name}", 0) + count


def beside_nixl(bench: Bench, short: bool) -> None:
    """Take the times of both connectors on the same prompts, in turns."""
    if bench.nixl is None:
        print("NIXL is not there: nothing is compared with it")
        return
    packages = os.pathsep.join([os.environ["PYTHONPATH"], str(bench.nixl)])
    with ExitStack() as stack:
        pairs = []
        for connector in ("llmd", "nixl"):
            engines = []
            for role in ("kv_producer", "kv_consumer"):
                extra = {"transports": ["shm"]} if connector == "llmd" else {}
                engine = bench.engine(f"{connector}-{role}", role, blocks=700, extra=extra)
                if connector == "nixl":
                    engine.transfer = {"kv_connector": "NixlConnector", "kv_role": role, "engine_id": f"nixl-{role}"}
                    engine.environment = {
                        "PYTHONPATH": packages,
                        "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1",
                        "VLLM_NIXL_SIDE_CHANNEL_PORT": str(free_port()),
                        "UCX_TLS": "tcp,sm,self",
                        "UCX_NET_DEVICES": "lo",
                    }
                engines.append(engine.start())
                stack.callback(engine.stop)
            for engine in engines:
                engine.ready()
            pairs.append((engines[0], engines[1]))
        ours, theirs = beside.times_to_first_token(pairs, 20 if short else 110)
        idle_ours, idle_theirs = beside.idle(pairs)
        bench.figures |= {
            "pd.ttft_ms.llmd": ours * 1e3,
            "pd.ttft_ms.nixl": theirs * 1e3,
            "pd.ttft_ratio_to_nixl": ours / theirs,
            "pd.idle_cpu_percent.llmd": idle_ours,
            "pd.idle_cpu_percent.nixl": idle_theirs,
            "pd.idle_cpu_ratio_to_nixl": idle_ours / idle_theirs,
        }


def routed(bench: Bench, short: bool) -> None:
    """Hold what a router knows of engines against what they report."""
    bench.figures |= router.measure(bench.model, bench.folder, short)


PARTS = {"identity": identical, "faults": broken, "router": routed, "nixl": beside_nixl}


def main() -> int:
    """Do all of it, or one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--nixl", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmd-e2e-", ignore_cleanup_errors=True) as folder:
        bench = Bench(asked.model, Path(folder), asked.nixl)
        try:
            for name, part in PARTS.items():
                if asked.only in (None, name) and not (asked.short and name == "nixl" and asked.only is None):
                    began = time.monotonic()
                    part(bench, asked.short)
                    bench.figures[f"seconds.{name}"] = time.monotonic() - began
        except Exception:
            traceback.print_exc()
            for log in sorted(Path(folder).glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()
                wrong = [line for line in lines if "Error" in line or "ERROR" in line]
                print(f"--- {log.name}\n" + "\n".join([*wrong[:40], "...", *lines[-15:]]))
            return 1
        finally:
            asked.json.write_text(json.dumps(bench.figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
