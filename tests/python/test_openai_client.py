"""What a client sees that nobody wrote for llmd: `openai` from PyPI, through the gateway, to engines on real sockets."""

from __future__ import annotations

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from processes import Engine, Gateway, wait_until

BLOCK_SIZE = 16
MODEL = "tiny"


def conversation(subject: str) -> list[ChatCompletionMessageParam]:
    """A conversation of several blocks that no other test shares."""
    return [
        {"role": "system", "content": f"You know everything about {subject}. " * 40},
        {"role": "user", "content": f"Tell me about {subject}."},
    ]


def whole_blocks(tokens: int) -> int:
    """How many of a prompt's tokens an engine can take from its cache: whole blocks, and never the last token."""
    return (tokens - 1) // BLOCK_SIZE * BLOCK_SIZE


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]


def test_a_completion_comes_whole(client: openai.OpenAI) -> None:
    completion = client.completions.create(model=MODEL, prompt="once upon a time", max_tokens=7)

    assert completion.choices[0].text
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 7
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + 7


def test_a_conversation_comes_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=conversation("tin"), max_tokens=5)

    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.usage is not None and answer.usage.completion_tokens == 5


def test_a_conversation_streams_and_ends_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=conversation("iron"), max_tokens=9, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(deltas) > 1, "an answer of nine tokens comes in pieces"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    usage = chunks[-1].usage
    assert chunks[-1].choices == [] and usage is not None
    assert usage.completion_tokens == 9
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_without_include_usage_has_none(client: openai.OpenAI) -> None:
    stream = client.completions.create(model=MODEL, prompt="a river", max_tokens=3, stream=True)

    assert [chunk.usage for chunk in stream if chunk.usage is not None] == []


def test_the_same_prompt_again_is_found_in_the_cache_as_predicted(
    client: openai.OpenAI, gateway: Gateway, engines: list[Engine]
) -> None:
    messages = conversation("copper")
    ask = client.chat.completions.with_raw_response.create
    first = ask(model=MODEL, messages=messages, max_tokens=2)
    usage = first.parse().usage
    assert usage is not None
    expected = whole_blocks(usage.prompt_tokens)
    assert expected >= 4 * BLOCK_SIZE
    wait_until("the index knows the prompt", lambda: gateway.has_caught_up(engines))

    again = ask(model=MODEL, messages=messages, max_tokens=2)

    usage = again.parse().usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == expected
    assert int(again.headers["x-llmd-predicted-cached-tokens"]) == expected
    assert again.headers["x-llmd-endpoint"] == first.headers["x-llmd-endpoint"]


def test_another_tenants_salt_finds_nothing(client: openai.OpenAI, gateway: Gateway, engines: list[Engine]) -> None:
    messages = conversation("silver")
    client.chat.completions.create(model=MODEL, messages=messages, max_tokens=2)
    wait_until("the index knows the prompt", lambda: gateway.has_caught_up(engines))

    salted = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=messages, max_tokens=2, extra_body={"cache_salt": "another tenant"}
    )

    usage = salted.parse().usage
    assert usage is not None
    assert usage.prompt_tokens_details is None or not usage.prompt_tokens_details.cached_tokens
    assert salted.headers["x-llmd-predicted-cached-tokens"] == "0"


def test_a_stream_that_is_cancelled_ends_on_the_engine_and_gives_its_place_back(
    client: openai.OpenAI, gateway: Gateway, engines: list[Engine]
) -> None:
    # At the engines' own pace, an answer this long takes minutes: it cannot end by itself before the deadline.
    stream = client.completions.create(model=MODEL, prompt="a very long story", max_tokens=20_000, stream=True)
    next(iter(stream))
    assert gateway.reserved() > 0
    assert sum(engine.running() for engine in engines) == 1

    stream.close()

    wait_until("the reservation is released", lambda: gateway.reserved() == 0)
    wait_until("the engine has let it go", lambda: sum(engine.running() for engine in engines) == 0)


def test_a_model_that_nobody_serves_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="enormous", prompt="x")

    assert "enormous" in caught.value.message and MODEL in caught.value.message
    assert isinstance(caught.value.body, dict) and caught.value.body["type"]


def test_what_an_engine_refuses_keeps_its_shape(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=MODEL, prompt="x", max_tokens=-1)

    assert "max_tokens" in caught.value.message and "-1" in caught.value.message


def test_a_body_that_is_no_request_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/completions", body={"prompt": "a request without its model"}, cast_to=object)

    assert "model" in caught.value.message


def test_a_request_keeps_its_id(client: openai.OpenAI) -> None:
    answer = client.completions.with_raw_response.create(
        model=MODEL, prompt="x", max_tokens=1, extra_headers={"x-request-id": "request-of-mine"}
    )

    assert answer.headers["x-request-id"] == "request-of-mine"
