"""Drives a gateway with the official OpenAI client, as an application would: chats, embeddings and more.

OPENAI_BASE_URL names the gateway and OPENAI_API_KEY the client's own key, which the vendor behind the
gateway does not know. Prints `ok <name>` for each check; the exit status is 0 if all of them pass.
"""

import asyncio
import json
import math
import sys

import openai

import checks
from checks import OVER, check, user

CHAT = {"chats": "gpt-4o-mini", "messages": "claude-haiku-4-5", "responses": "gpt-4o-mini"}[OVER]
# A model that thinks, and how it is told to let others see it.
THINKING = {
    "chats": {"model": "deepseek-reasoner", "reasoning_effort": "low"},
    "messages": {"model": "claude-haiku-4-5", "reasoning_effort": "low"},
    "responses": {
        "model": "gpt-5-mini",
        "reasoning_effort": "low",
        "extra_body": {"reasoning": {"summary": "auto"}},
    },
}[OVER]
# What is said before tools are called.
BEFORE_CALLS = "Let me see." if OVER == "messages" else ""

NOT_OF_ANTHROPIC = "Anthropic has no such API"
NOT_OF_RESPONSES = "a response has no such parameter"
LACKS = {
    "chats": {},
    "messages": {
        "completions": NOT_OF_ANTHROPIC,
        "embeddings": NOT_OF_ANTHROPIC,
        "choices": "a message has one choice",
        "parameters in errors": "Anthropic's errors name none",
        "codes in errors": "Anthropic's errors have none",
        "own errors": "what is unknown is passed on, and so is the error",
        "request ids": "Anthropic's have a header of their own",
    },
    "responses": {
        "choices": "a response has one choice",
        "stop sequences": NOT_OF_RESPONSES,
        "short answers": "a response is granted 16 tokens at least",
        "parameters in errors": "they would be those of a response",
    },
}
EMBEDDING = "text-embedding-3-small"

CLIENT = openai.OpenAI(max_retries=0, timeout=20)


def tool(name, **properties):
    parameters = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [tool("get_weather", city="string"), tool("get_time", city="string", exact="boolean")]


def raises(kind, call):
    return checks.raises(openai.OpenAIError, kind, call)


def assembled(chunks):
    """Text, calls, finish reason and usage of a streamed chat with one choice."""
    text, calls, reason, usage = "", {}, None, None
    for chunk in chunks:
        assert usage is None, "something follows the usage"
        usage = chunk.usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"id": part.id, "name": part.function.name, "arguments": ""})
                call["arguments"] += part.function.arguments or ""
    return text, [calls[index] for index in sorted(calls)], reason, usage


@check
def models_are_listed():
    models = [model.id for model in CLIENT.models.list()]
    assert CHAT in models, models


@check
def model_is_retrieved():
    assert CLIENT.models.retrieve(CHAT).id == CHAT


@check
def chat():
    answer = CLIENT.chat.completions.create(model=CHAT, messages=user("Hello over there"))
    choice = answer.choices[0]
    assert "Hello over there" in choice.message.content, choice
    assert choice.finish_reason == "stop", choice
    assert answer.usage.prompt_tokens == 3, answer.usage
    assert answer.usage.total_tokens == 3 + answer.usage.completion_tokens, answer.usage


@check(needs="request ids")
def chat_has_the_vendors_request_id():
    answer = CLIENT.chat.completions.create(model=CHAT, messages=user("Hello"))
    assert answer._request_id, "the vendor's request id is lost"


@check
def chat_keeps_every_letter():
    said = 'ä "quoted" \\ back\u2028slash 🌍 \u0007 </script>'
    answer = CLIENT.chat.completions.create(model=CHAT, messages=user(said))
    assert " ".join(said.split()) in answer.choices[0].message.content, answer


@check
def chat_of_many_messages():
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Two"}, {"type": "text", "text": "parts"}]},
        {"role": "assistant", "content": "So it is."},
        {"role": "user", "content": "Go", "name": "someone"},
        {"role": "user", "content": "on"},
    ]
    answer = CLIENT.chat.completions.create(model=CHAT, messages=messages)
    assert "on" in answer.choices[0].message.content, answer
    assert answer.usage.prompt_tokens == 9, answer.usage


@check(needs="short answers")
def chat_that_is_cut():
    for limit in ["max_tokens", "max_completion_tokens"]:
        answer = CLIENT.chat.completions.create(model=CHAT, messages=user("Go on"), **{limit: 2})
        assert answer.choices[0].finish_reason == "length", answer
        assert answer.usage.completion_tokens == 2, answer.usage


@check
def chat_that_is_cut_late():
    asked = {"model": CHAT, "messages": user("Go on"), "max_tokens": 16}
    answer = CLIENT.chat.completions.create(**asked)
    assert answer.choices[0].finish_reason == "length", answer
    assert answer.usage.completion_tokens == 16, answer.usage
    text, _, reason, _ = assembled(CLIENT.chat.completions.create(**asked, stream=True))
    assert (text, reason) == (answer.choices[0].message.content, "length"), (text, reason)


@check(needs="stop sequences")
def chat_that_is_stopped():
    for stop in [" over", [" over", "never"]]:
        answer = CLIENT.chat.completions.create(model=CHAT, messages=user("Hello over there"), stop=stop)
        assert answer.choices[0].message.content == 'You said "Hello', answer
        assert answer.choices[0].finish_reason == "stop", answer


@check(needs="choices")
def chat_of_choices():
    answer = CLIENT.chat.completions.create(model=CHAT, messages=user("Hello"), n=2, max_completion_tokens=2)
    assert [choice.finish_reason for choice in answer.choices] == ["length", "length"], answer
    assert answer.usage.completion_tokens == 4, answer.usage


@check
def chat_of_pictures():
    data, told = checks.png()
    url = "https://example.com/a.png"
    parts = [{"type": "text", "text": "Look"}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in [f"data:image/png;base64,{data}", url]]
    answer = CLIENT.chat.completions.create(model=CHAT, messages=user(parts))
    assert f'"Look" and {told} and showed {url}' in answer.choices[0].message.content, answer


@check
def thoughts_are_seen():
    asked = {**THINKING, "messages": user("Think first")}
    answer = CLIENT.chat.completions.create(**asked)
    message = answer.choices[0].message
    assert "Think first" in message.content and "Think first" in message.reasoning_content, message
    thought, text = "", ""
    for chunk in CLIENT.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            more = getattr(choice.delta, "reasoning_content", None) or ""
            assert not (more and text), "a thought comes after the text"
            thought, text = thought + more, text + (choice.delta.content or "")
    assert (thought, text) == (message.reasoning_content, message.content), (thought, text)


@check
def thoughts_lead_to_calls():
    messages = user("Weather and time in Rome?")
    for keeps_thoughts in [True, False]:
        answer = CLIENT.chat.completions.create(**THINKING, messages=messages, tools=TOOLS)
        message = answer.choices[0].message
        assert message.reasoning_content and len(message.tool_calls) == 2, message
        again = message.model_dump(exclude_none=True)
        if not keeps_thoughts:
            again = {"role": "assistant", "tool_calls": again["tool_calls"]}
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls
        ]
        answer = CLIENT.chat.completions.create(**THINKING, messages=[*messages, again, *results], tools=TOOLS)
        assert answer.choices[0].message.content == 'The tools answered: "sunny", "sunny".', answer


@check
def chat_of_a_long_conversation():
    messages = user("word " * 40_000 + "end")
    answer = CLIENT.chat.completions.create(model=CHAT, messages=messages)
    assert answer.usage.prompt_tokens == 40_001, answer.usage


@check
def chat_streamed():
    whole = CLIENT.chat.completions.create(model=CHAT, messages=user("Stream this"))
    stream = CLIENT.chat.completions.create(
        model=CHAT, messages=user("Stream this"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text, calls, reason, usage = assembled(chunks)
    assert text == whole.choices[0].message.content, text
    assert (calls, reason) == ([], "stop"), (calls, reason)
    assert usage == whole.usage, usage
    assert len(chunks) > 20, f"only {len(chunks)} chunks"


@check
def chat_streamed_and_left():
    stream = CLIENT.chat.completions.create(model=CHAT, messages=user("Leave early"), stream=True)
    next(iter(stream))
    stream.close()
    assert CLIENT.models.retrieve(CHAT).id == CHAT


@check
def chat_by_the_stream_helper():
    with CLIENT.chat.completions.stream(model=CHAT, messages=user("Weather in Oslo?"), tools=TOOLS) as stream:
        answer = stream.get_final_completion()
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Oslo"}), call


@check
def tool_calls():
    answer = CLIENT.chat.completions.create(model=CHAT, messages=user("Weather and time in Rome?"), tools=TOOLS)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls", choice
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
    assert calls == [("get_weather", {"city": "Rome"}), ("get_time", {"city": "Rome", "exact": True})], calls

    results = [
        {"role": "tool", "tool_call_id": call.id, "content": said}
        for call, said in zip(choice.message.tool_calls, ["sunny", "noon"], strict=True)
    ]
    answer = CLIENT.chat.completions.create(
        model=CHAT, messages=user("Weather and time in Rome?") + [choice.message] + results, tools=TOOLS
    )
    assert answer.choices[0].message.content == 'The tools answered: "sunny", "noon".', answer


@check
def tool_calls_streamed():
    asked = {"model": CHAT, "messages": user("Weather and time in Rome?"), "tools": TOOLS}
    whole = CLIENT.chat.completions.create(**asked).choices[0].message.tool_calls
    text, calls, reason, _ = assembled(CLIENT.chat.completions.create(**asked, stream=True))
    assert (text, reason) == (BEFORE_CALLS, "tool_calls"), (text, reason)
    expected = [(call.function.name, call.function.arguments) for call in whole]
    assert [(call["name"], call["arguments"]) for call in calls] == expected, calls
    assert all(call["id"] for call in calls) and calls[0]["id"] != calls[1]["id"], calls
    assert json.loads(calls[1]["arguments"]) == {"city": "Rome", "exact": True}, calls


@check
def tool_choice_is_kept():
    for choice in ["required", {"type": "function", "function": {"name": "get_time"}}]:
        answer = CLIENT.chat.completions.create(
            model=CHAT, messages=user("Time, please"), tools=TOOLS, tool_choice=choice, parallel_tool_calls=False
        )
        assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["get_time"], answer


@check
def json_schema_is_kept():
    answer = CLIENT.chat.completions.create(
        model=CHAT,
        messages=user("A trip to Lima"),
        response_format={"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}},
    )
    assert json.loads(answer.choices[0].message.content) == {"city": "Lima", "days": 1}, answer


@check(needs="completions")
def completions():
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon a time", "max_tokens": 20}
    whole = CLIENT.completions.create(**asked)
    assert "Once upon a time" in whole.choices[0].text, whole
    chunks = list(CLIENT.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].text, text
    assert chunks[-1].usage == whole.usage, chunks[-1]


@check(needs="embeddings")
def embeddings():
    answer = CLIENT.embeddings.create(model=EMBEDDING, input=["one cat", "two cats"])
    assert [item.index for item in answer.data] == [0, 1], answer
    for item in answer.data:
        assert len(item.embedding) == 1536, len(item.embedding)
        assert math.isclose(sum(x * x for x in item.embedding), 1, abs_tol=1e-3)
    assert answer.usage.total_tokens == 4, answer.usage


@check(needs="embeddings")
def embeddings_are_the_same_in_both_encodings():
    vectors = []
    for encoding in ["float", "base64"]:
        answer = CLIENT.with_raw_response.embeddings.create(
            model=EMBEDDING, input="one cat", dimensions=64, encoding_format=encoding
        )
        data = json.loads(answer.text)["data"][0]["embedding"]
        assert isinstance(data, list if encoding == "float" else str), data
        parsed = CLIENT.embeddings.create(model=EMBEDDING, input="one cat", dimensions=64)
        vectors.append(data if encoding == "float" else parsed.data[0].embedding)
    assert all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(*vectors, strict=True)), vectors


@check
def a_model_that_is_not_there_is_not_found():
    for stream in [False, True]:
        error = raises(
            openai.NotFoundError,
            lambda: CLIENT.chat.completions.create(model="nobody", messages=user("Hello"), stream=stream),
        )
        assert "nobody" in error.message and error.type, error.body


@check(needs="codes in errors")
def errors_have_codes():
    error = raises(
        openai.NotFoundError, lambda: CLIENT.chat.completions.create(model="nobody", messages=user("Hello"))
    )
    assert error.code == "model_not_found", error.body


@check(needs="parameters in errors")
def a_model_that_is_not_there_is_named():
    for model in ["nobody", EMBEDDING]:
        error = raises(
            openai.NotFoundError, lambda: CLIENT.chat.completions.create(model=model, messages=user("Hello"))
        )
        assert (error.status_code, error.param) == (404, "model"), error
    error = raises(openai.NotFoundError, lambda: CLIENT.models.retrieve("nobody"))
    assert (error.code, error.type) == ("model_not_found", "invalid_request_error"), error


@check
def a_rate_limit_is_told_with_its_wait():
    for stream in [False, True]:
        error = raises(
            openai.RateLimitError,
            lambda: CLIENT.chat.completions.create(model="mock-rate-limited", messages=user("Hello"), stream=stream),
        )
        assert error.response.headers["retry-after"] == "1", error.response.headers
        assert error.message and set(error.body) >= {"message", "type"}, error.body


@check
def a_key_that_the_vendor_does_not_take_is_told():
    for stream in [False, True]:
        error = raises(
            openai.AuthenticationError,
            lambda: CLIENT.chat.completions.create(model="mock-locked", messages=user("Hello"), stream=stream),
        )
        assert error.status_code == 401 and "key" in error.message, error.body


@check
def a_broken_vendor_is_an_error():
    raises(
        openai.InternalServerError,
        lambda: CLIENT.chat.completions.create(model="mock-broken", messages=user("Hello")),
    )


@check
def a_vendor_that_breaks_off_is_an_error():
    asked = {"model": "mock-breaks-off", "messages": user("Hello")}
    error = raises(openai.APIError, lambda: list(CLIENT.chat.completions.create(**asked, stream=True)))
    assert "too much to do" in error.message, error
    raises(openai.InternalServerError, lambda: CLIENT.chat.completions.create(**asked))


@check
def a_bad_tool_is_the_clients_fault():
    tools = [tool("no name!", city="string")]
    error = raises(
        openai.BadRequestError,
        lambda: CLIENT.chat.completions.create(model=CHAT, messages=user("Hello"), tools=tools),
    )
    assert "name" in error.message and error.type == "invalid_request_error", error.body


@check
def results_of_no_call_are_the_clients_fault():
    orphan = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    messages = [*user("Hello"), orphan]
    raises(
        openai.BadRequestError,
        lambda: CLIENT.chat.completions.create(model=CHAT, messages=messages, tools=TOOLS),
    )


@check(needs="parameters in errors")
def a_bad_parameter_is_told_by_name():
    error = raises(
        openai.BadRequestError,
        lambda: CLIENT.chat.completions.create(model=CHAT, messages=user("Hello"), temperature=9),
    )
    assert (error.param, error.code) == ("temperature", "invalid_value"), error


@check(needs="own errors")
def an_unknown_path_is_not_found():
    error = raises(openai.NotFoundError, lambda: CLIENT.post("/nothing/here", body={}, cast_to=object))
    assert set(error.body) >= {"message", "type", "param", "code"}, error.body
    assert error.type == "invalid_request_error", error.body


@check
async def async_client():
    async with openai.AsyncOpenAI(max_retries=0, timeout=20) as client:

        async def whole(text):
            answer = await client.chat.completions.create(model=CHAT, messages=user(text))
            return answer.choices[0].message.content

        async def streamed(text):
            stream = await client.chat.completions.create(model=CHAT, messages=user(text), stream=True)
            chunks = [chunk async for chunk in stream]
            return assembled(chunks)[0]

        texts = [f"Number {number}" for number in range(8)]
        answers = await asyncio.gather(*map(whole, texts))
        streams = await asyncio.gather(*map(streamed, texts))
        assert answers == streams, (answers, streams)
        assert all(text in answer for text, answer in zip(texts, answers, strict=True)), answers


if __name__ == "__main__":
    sys.exit(checks.run(openai, LACKS))
