"""A tiny model of which every other layer sees a window alone: vLLM keeps its KV in two groups of blocks.

usage: make_hybrid.py TINY FOLDER WINDOW

It has the tokenizer of the tiny model, and random weights that are the same each time.
"""

import shutil
import sys
from pathlib import Path

import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig
from transformers.utils.logging import disable_progress_bar

SEED = 21
LAYERS = ["sliding_attention", "full_attention"] * 2
VOCABULARY = 512
SPREAD = 0.2


def model(window: int) -> Gemma3ForCausalLM:
    """Give four layers of Gemma 3, of which every other sees so many tokens, with heads as those of the tiny model."""
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=len(LAYERS),
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=8192,
        sliding_window=window,
        layer_types=LAYERS,
        query_pre_attn_scalar=64,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
        dtype="bfloat16",
    )
    weights = Gemma3ForCausalLM(config).to(torch.bfloat16)
    torch.manual_seed(SEED)
    for parameter in weights.parameters():
        if parameter.dim() >= 2:
            torch.nn.init.normal_(parameter, std=SPREAD)
    return weights


def main() -> None:
    tiny, folder, window = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    for file in tiny.iterdir():
        if file.name.startswith(("tokenizer", "special_tokens", "chat_template")):
            shutil.copy(file, folder)
    model(window).save_pretrained(folder)


if __name__ == "__main__":
    main()
