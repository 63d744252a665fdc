"""Real vLLM engines that hand requests over through llmd: token for token, beside NixlConnector, and whatever goes wrong.

usage: main.py --model FOLDER --json FILE [--short] [--only PART] [--configuration NAME]... [--nixl FOLDER]

Figures go to the file, as one JSON object; what is said on the way goes to standard output.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import beside
import configurations
import faults
import page
import places
import router
from configurations import Configuration
from engine import HERE, Engine, Place, free_port
from identity import Identity, alone, compare, compare_hits, from_another
from prompts import all_kinds, that_begin_alike

Figures = dict[str, float]
ADAPTERS = ("lora-a", "lora-b")


@dataclasses.dataclass
class Bench:
    """What engines are started with."""

    model: Path
    folder: Path
    nixl: Path | None
    #: Of these alone, where some are named.
    configurations: Sequence[str] = ()
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
        model = named.pop("model", self.model)
        loras = {adapter: model.parent / adapter for adapter in ADAPTERS} if model == self.model else {}
        return Engine(name, free_port(), self.folder, model, transfer, loras=loras, place=place, **named)

    def configured(self, configuration: Configuration, role: str, place: Place, blocks: int, besides: Sequence[str]) -> Engine:
        """Make one of the two engines of a configuration."""
        extra = {"transports": list(configuration.transports), "consumers": configuration.consumers}
        arguments = [*configuration.arguments, *besides]
        is_hybrid = configuration.model == configurations.HYBRID
        model, windows = (self.hybrid(), (configurations.WINDOW, None)) if is_hybrid else (self.model, (None,))
        engine = self.engine(f"{configuration.name}-{role}", role, place, blocks=blocks, extra=extra, arguments=arguments, model=model, windows=windows)
        if configuration.is_beside_another:
            engine.transfer = self.beside_another(engine)
        return engine

    def hybrid(self) -> Path:
        """Make the model with two groups, once."""
        folder = self.folder / configurations.HYBRID
        if not folder.exists():
            script = Path(__file__).parent / "make_hybrid.py"
            subprocess.run([sys.executable, str(script), str(self.model), str(folder), str(configurations.WINDOW)], check=True)
        return folder

    def beside_another(self, engine: Engine) -> Mapping[str, Any]:
        """Give what has llmd's connector and one of vLLM's own work side by side: llmd's is asked first."""
        ours = {key: value for key, value in (engine.transfer or {}).items() if key != "engine_id"}
        stored = {"shared_storage_path": str(self.folder / f"{engine.name}-stored")}
        other = {"kv_connector": "ExampleConnector", "kv_role": "kv_both", "kv_connector_extra_config": stored}
        return {
            "kv_connector": "MultiConnector",
            "kv_role": ours["kv_role"],
            "engine_id": engine.name,
            "kv_load_failure_policy": "recompute",
            "kv_connector_extra_config": {"connectors": [ours, other]},
        }


def identical(bench: Bench, short: bool) -> None:
    """Hand every kind of prompt over in every configuration, and hold what is said against one engine alone."""
    may, all_of_it = places.may(), Identity()
    if not may:
        print("no namespaces can be made here: engines in places of their own are not tried")
    named = bench.configurations or ([configurations.PLAIN.name] if short else [each.name for each in configurations.ALL])
    for configuration in configurations.ALL:
        if configuration.name not in named or (configuration.is_apart and not may):
            continue
        with ExitStack() as stack:
            here = stack.enter_context(places.networks(2)) if configuration.is_apart else [HERE, HERE]
            pair = [
                bench.configured(configuration, "kv_producer", here[0], 300, configuration.prefill),
                bench.configured(configuration, "kv_consumer", here[1], 421, configuration.decode),
            ]
            for engine in pair:
                stack.callback(engine.start().stop)
            for engine in pair:
                engine.ready()
            all_of_it.add(handed_over(bench, configuration, *pair))
    bench.figures |= {f"pd.{name}": count for name, count in dataclasses.asdict(all_of_it).items()}


def handed_over(bench: Bench, configuration: Configuration, prefill: Engine, decode: Engine) -> Identity:
    """Hand every kind of prompt over from one engine to another."""
    name, adapters = configuration.name, ADAPTERS if configuration.model is None else ()
    prompts = all_kinds(adapters)
    found = compare(prefill, decode, prompts, alone(decode, prompts))
    if not configuration.has_replicas:
        # Which of several remembers a prompt is not for us to say.
        alike = that_begin_alike()
        found.add(compare_hits(prefill, decode, alike, alone(decode, [("", prompt) for prompt in alike])))
    print(f"{name}: {found}", flush=True)
    bench.figures[f"pd.{name}.identical"] = found.identical
    ways = {way: decode.counted(f"vllm:llmd_{way}_bytes_total") for way in ("mapped", "cma", "staged")}
    bench.figures |= {f"pd.{name}.{way}_bytes": moved for way, moved in ways.items() if moved}
    if configuration.is_apart and "tcp" in configuration.transports:
        with_cut_network(bench, prefill, decode)
    if configuration.is_beside_another:
        decode.forget()
        found.add(from_another(decode))
    return found


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
    blocks = {"kv_producer": 512, "kv_consumer": faults.DECODER_BLOCKS}
    pair = [bench.engine(f"faulty-{role}", role, blocks=count, **made).start() for role, count in blocks.items()]

    def again(engine: Engine) -> Engine:
        engine.stop()
        place = pair.index(engine)
        pair[place] = dataclasses.replace(engine, port=free_port()).start()
        return pair[place].ready()

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
            "pd.ttft_ms.llmd": ours.median() * 1e3,
            "pd.ttft_ms.nixl": theirs.median() * 1e3,
            "pd.ttft_ratio_to_nixl": ours.median() / theirs.median(),
            "pd.ttft_hung.llmd": ours.hung,
            "pd.ttft_hung.nixl": theirs.hung,
            "pd.idle_cpu_percent.llmd": idle_ours,
            "pd.idle_cpu_percent.nixl": idle_theirs,
            "pd.idle_cpu_ratio_to_nixl": idle_ours / idle_theirs,
        }


def routed(bench: Bench, short: bool) -> None:
    """Hold what a router knows of engines against what they report."""
    bench.figures |= router.measure(bench.model, bench.folder, short)


def documented(bench: Bench, short: bool) -> None:
    """Run what docs/vllm.md says, as it stands there."""
    bench.figures["page.commands"] = page.check(page.PAGE, bench.model)


PARTS = {"page": documented, "identity": identical, "faults": broken, "router": routed, "nixl": beside_nixl}


def main() -> int:
    """Do all of it, or one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--nixl", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--configuration", action="append", choices=[each.name for each in configurations.ALL])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llmd-e2e-", ignore_cleanup_errors=True) as folder:
        bench = Bench(asked.model, Path(folder), asked.nixl, asked.configuration or ())
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
