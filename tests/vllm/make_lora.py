"""Low-rank adapters (LoRA) for the model of make_model.py: random weights, rank 8, on the queries and the values.

usage: make_lora.py MODEL FOLDER...

Each folder becomes an adapter, and each has weights of its own: its seed is its place on the command line.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

RANK = 8


def sizes(model: Path) -> tuple[int, int, dict[str, int]]:
    """Layers, width of the input, and width of the output of each module that is adapted."""
    config = json.loads((model / "config.json").read_text())
    heads, kv_heads, head = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    outputs = {"q_proj": heads * head, "v_proj": kv_heads * head}
    return config["num_hidden_layers"], config["hidden_size"], outputs


def write_adapter(model: Path, folder: Path, seed: int) -> None:
    layers, width, outputs = sizes(model)
    rng = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for layer in range(layers):
        for module, output in outputs.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = torch.randn(RANK, width, generator=rng)
            weights[f"{name}.lora_B.weight"] = torch.randn(output, RANK, generator=rng)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model.name,
        "target_modules": sorted(outputs),
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(weights, folder / "adapter_model.safetensors")


def main() -> None:
    model, *folders = map(Path, sys.argv[1:])
    for seed, folder in enumerate(folders):
        write_adapter(model, folder, seed)


if __name__ == "__main__":
    main()
