"""A tiny model for real vLLM engines: random weights, a tokenizer of its own, a chat template. Nothing is downloaded.

usage: make_model.py FOLDER

Two runs with the same libraries write the same files. The weights are real and not `--load-format dummy`, so that two
engines agree token for token.
"""

import random
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils.logging import disable_progress_bar

SEED = 20
VOCABULARY = 512
MAX_TOKENS = 8192
# Wide enough that greedy decoding does not say one token for ever.
SPREAD = 0.2
# In the order of their token ids.
END_OF_TEXT, TURN_STARTS, TURN_ENDS = SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

WORDS = """
    a about after again all answer ask before begin between block book cache cat city day dog door down drink each early
    earth end engine every far fast field fire first flower follow for friend from garden give green hand hash hello
    house how is it journey keep kitchen know large late letter light listen long make model moon morning mountain music
    name never night number of one open paper path people picture place plant prefix question quick quiet rain reader
    river road route say sea short sing sleep small snow something song stone story summer system table tell that the
    token travel tree turn under user voice walk water what when white who why wind window winter with word world write
    yellow you young assistant
""".split()

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, trained on made-up lines: every text has tokens, common words have few."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    rng = random.Random(SEED)
    lines = [" ".join(rng.choices(WORDS, k=24)) for _ in range(256)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet)
    bpe.train_from_iterator(lines, trainer)
    # As many as the model has, so that whatever it says is text.
    assert bpe.get_vocab_size() == VOCABULARY
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=TURN_ENDS,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
    )


def model() -> Qwen3ForCausalLM:
    """Two layers of Qwen3. Heads have 64 dimensions: attention on CPU has no kernel for fewer than 32."""
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=False,
        bos_token_id=SPECIAL.index(END_OF_TEXT),
        eos_token_id=SPECIAL.index(TURN_ENDS),
        dtype="bfloat16",
    )
    weights = Qwen3ForCausalLM(config).to(torch.bfloat16)
    torch.manual_seed(SEED)
    for parameter in weights.parameters():
        if parameter.dim() >= 2:
            torch.nn.init.normal_(parameter, std=SPREAD)
    return weights


def main() -> None:
    folder = Path(sys.argv[1])
    disable_progress_bar()
    tokenizer().save_pretrained(folder)
    model().save_pretrained(folder)


if __name__ == "__main__":
    main()
