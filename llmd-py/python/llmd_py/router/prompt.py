"""What a client's body asks: its prompt as tokens, and what that prompt is computed under."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmd_py.errors import InvalidError

Body = Mapping[str, Any]

#: What `/tokenize` reads of a chat, and of a text.
_OF_CHATS = (
    "model", "messages", "add_generation_prompt", "continue_final_message", "add_special_tokens", "chat_template",
    "chat_template_kwargs", "mm_processor_kwargs", "tools",
)  # fmt: skip
_OF_TEXTS = ("model", "prompt", "add_special_tokens")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in tokens: as many integers, and of each image or other item its identifier, offset and length in tokens."""

    tokens: Sequence[int]
    mm: Sequence[tuple[str, int, int]] = field(default=())


def path_of(body: Body) -> str:
    """Give the path that takes such a body."""
    return "/v1/chat/completions" if "messages" in body else "/v1/completions"


def model_of(body: Body) -> str:
    """Give the model that a body names.

    Raises `InvalidError` when it names none.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidError(f"model {model!r}: expected a name")
    return model


def given(body: Body) -> Prompt | None:
    """Give the tokens that stand in a body; None when it has text."""
    tokens = body.get("token_ids", body.get("prompt"))
    if isinstance(tokens, list) and len(tokens) == 1 and isinstance(tokens[0], list):
        tokens = tokens[0]
    if isinstance(tokens, list) and tokens and all(isinstance(token, int) for token in tokens):
        return Prompt(tokens)
    return None


def has_items(body: Body) -> bool:
    """Say whether a chat has more than text: images, or others."""
    messages = body.get("messages")
    contents = [m.get("content") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    return any(part.get("type", "text") not in ("text", "refusal", "thinking") for part in parts)


def to_tokenize(body: Body) -> bytes | None:
    """Give what `/tokenize` is asked; None when it cannot be."""
    if isinstance(body.get("messages"), list):
        return json.dumps({name: body[name] for name in _OF_CHATS if body.get(name) is not None}).encode()
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str):
        asked = {name: body[name] for name in _OF_TEXTS if body.get(name) is not None}
        return json.dumps({**asked, "prompt": prompt}).encode()
    return None


def tokenized(answer: bytes) -> Prompt:
    """Read what `/tokenize` says."""
    return Prompt(json.loads(answer)["tokens"])


def rendered(answer: bytes) -> Prompt:
    """Read what `/v1/chat/completions/render` says: the tokens, and the items among them, in the order of the prompt."""
    said = json.loads(answer)
    features = said.get("features") or {}
    hashes, places = features.get("mm_hashes") or {}, features.get("mm_placeholders") or {}
    items = [
        (str(name), int(place["offset"]), int(place["length"]))
        for kind, names in hashes.items()
        for name, place in zip(names, places[kind], strict=True)
    ]
    return Prompt(said["token_ids"], sorted(items, key=lambda item: item[1]))
