"""Drives a gateway with the official Anthropic client, as an application would.

ANTHROPIC_BASE_URL names the gateway and ANTHROPIC_API_KEY the client's own key, which the vendor behind the
gateway does not know. Prints `ok <name>` for each check; the exit status is 0 if all of them pass.
"""

import asyncio
import json
import sys

import anthropic

import checks
from checks import OVER, check, user

CHAT = {"chats": "gpt-4o-mini", "messages": "claude-haiku-4-5", "responses": "gpt-4o-mini"}[OVER]
THINKER = {"chats": "deepseek-reasoner", "messages": "claude-haiku-4-5", "responses": "gpt-5-mini"}[OVER]
THINKING = {"model": THINKER, "thinking": {"type": "enabled", "budget_tokens": 1024}}
# Anthropic's model says a word before it calls tools.
BEFORE_CALLS = ["text"] if OVER == "messages" else []
LACKS = {
    "chats": {
        "matched stops": "a chat does not say which sequence has stopped it",
    },
    "messages": {},
    "responses": {
        "matched stops": "a response has no stop sequences",
        "stop sequences": "a response has no stop sequences",
        "short answers": "a response is granted 16 tokens at least",
        "thoughts": "a response shows a summary only where that is asked for",
    },
}

CLIENT = anthropic.Anthropic(max_retries=0, timeout=20)


def tool(name, **properties):
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }
    return {"name": name, "description": f"The tool {name}.", "input_schema": schema}


TOOLS = [tool("get_weather", city="string"), tool("get_time", city="string", exact="boolean")]


def raises(kind, call):
    return checks.raises(anthropic.AnthropicError, kind, call)


def create(messages, **more):
    return CLIENT.messages.create(**{"model": CHAT, "max_tokens": 2000, "messages": messages, **more})


def streamed(messages, **more):
    asked = {"model": CHAT, "max_tokens": 2000, "messages": messages, **more}
    with CLIENT.messages.stream(**asked) as stream:
        return stream.get_final_message()


def content(answer):
    """As plain values: the blocks of a stream are of another class than those of a message."""
    return [block.model_dump(exclude_none=True) for block in answer.content]


def kinds(answer):
    return [block.type for block in answer.content]


@check
def message():
    answer = create(user("Hello over there"), system="Be brief.", metadata={"user_id": "somebody"})
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn"), answer
    assert "Hello over there" in answer.content[0].text, answer
    assert (answer.usage.input_tokens, answer.usage.output_tokens > 5) == (5, True), answer.usage


@check
def message_keeps_every_letter():
    said = 'ä "quoted" \\ back\u2028slash 🌍 \u0007 </script>'
    assert " ".join(said.split()) in create(user(said)).content[0].text


@check
def message_of_parts():
    data, told = checks.png()
    url = "https://example.com/a.png"
    encoded = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    linked = {"type": "image", "source": {"type": "url", "url": url}}
    parts = [{"type": "text", "text": "Two"}, encoded, {"type": "text", "text": "parts"}, linked]
    answer = create(user(parts))
    assert f'"Two parts" and {told} and showed {url}' in answer.content[0].text, answer


@check
def message_of_many_turns():
    said = [*user("Hello"), {"role": "assistant", "content": "So it is."}, *user("Go"), *user("on")]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    answer = create(said, system=system)
    assert "on" in answer.content[0].text and answer.usage.input_tokens == 8, answer


@check(needs="short answers")
def message_that_is_cut():
    answer = create(user("Go on and on"), max_tokens=2)
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 2), answer


@check
def message_that_is_cut_late():
    answer = create(user("Go on and on"), max_tokens=16)
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 16), answer
    assert content(streamed(user("Go on and on"), max_tokens=16)) == content(answer)


@check(needs="stop sequences")
def message_that_is_stopped():
    answer = create(user("Hello over there"), stop_sequences=[" over", "never"])
    assert answer.content[0].text == 'You said "Hello', answer


@check(needs="matched stops")
def message_tells_what_stopped_it():
    for ask in [create, streamed]:
        answer = ask(user("Hello over there"), stop_sequences=[" over", "never"])
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", " over"), answer


@check
def tokens_are_counted():
    counted = CLIENT.messages.with_raw_response.count_tokens(
        model=CHAT, messages=user("Hello over there"), system="Be brief."
    )
    tokens, mark = counted.parse().input_tokens, counted.headers.get("x-ai-proxy-token-count")
    if OVER == "messages":
        assert (tokens, mark) == (5, None), (tokens, mark)
    else:
        # OpenAI counts no tokens in advance, so the gateway estimates.
        assert 5 <= tokens <= 20 and mark == "estimated", (tokens, mark)


@check
def message_streamed():
    whole = create(user("Stream this"))
    with CLIENT.messages.stream(model=CHAT, max_tokens=2000, messages=user("Stream this")) as stream:
        pieces = list(stream.text_stream)
        answer = stream.get_final_message()
    assert len(pieces) > 20, f"only {len(pieces)} pieces"
    assert "".join(pieces) == answer.content[0].text == whole.content[0].text, answer
    assert (answer.stop_reason, answer.usage.output_tokens) == ("end_turn", whole.usage.output_tokens), answer
    assert answer.usage.input_tokens == whole.usage.input_tokens, answer


@check
def events_in_order():
    kinds = [event.type for event in create(user("Count"), stream=True)]
    assert kinds[:2] == ["message_start", "content_block_start"], kinds
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"], kinds
    assert set(kinds[2:-3]) - {"ping"} == {"content_block_delta"}, kinds


def called(answer):
    assert answer.stop_reason == "tool_use", answer
    return [(block.name, block.input) for block in answer.content if block.type == "tool_use"]


BOTH = [("get_weather", {"city": "Rome"}), ("get_time", {"city": "Rome", "exact": True})]


@check
def tools_are_called_and_answer():
    question = user("Weather and time in Rome?")
    answer = create(question, tools=TOOLS, tool_choice={"type": "auto"})
    assert called(answer) == BOTH, answer
    assert kinds(answer) == [*BEFORE_CALLS, "tool_use", "tool_use"], answer
    calls = [block for block in answer.content if block.type == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": content}
        for call, content in zip(calls, ["it rains", [{"type": "text", "text": "noon"}]], strict=True)
    ]
    said = question + [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    assert create(said, tools=TOOLS).content[0].text == 'The tools answered: "it rains", "noon".'
    results[1] = {**results[1], "is_error": True}
    said[-1] = {"role": "user", "content": [*results, {"type": "text", "text": "And now?"}]}
    assert "And now?" in create(said, tools=TOOLS).content[0].text


@check
def tools_are_called_in_a_stream():
    answer = streamed(user("Weather and time in Rome?"), tools=TOOLS)
    assert called(answer) == BOTH, answer
    assert kinds(answer) == [*BEFORE_CALLS, "tool_use", "tool_use"], answer


@check(needs="thoughts")
def thoughts_are_seen():
    whole, stream = create(user("Think first"), **THINKING), streamed(user("Think first"), **THINKING)
    for answer in [whole, stream]:
        assert kinds(answer) == ["thinking", "text"], answer
        assert "Think first" in answer.content[0].thinking and "Think first" in answer.content[1].text, answer
    assert content(whole) == content(stream), (whole, stream)


@check
def thoughts_lead_to_calls():
    question = user("Weather and time in Rome?")
    for ask in [create, streamed]:
        answer = ask(question, **THINKING, tools=TOOLS)
        assert called(answer) == BOTH, answer
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "it rains"}
            for block in answer.content
            if block.type == "tool_use"
        ]
        said = question + [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
        answer = ask(said, **THINKING, tools=TOOLS)
        assert answer.content[-1].text == 'The tools answered: "it rains", "it rains".', answer


@check
def json_schema_is_kept():
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    answer = create(user("A trip to Lima"), output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(answer.content[0].text) == {"city": "Lima", "days": 1}, answer


@check
def tools_are_chosen():
    named = create(user("Hello"), tools=TOOLS, tool_choice={"type": "tool", "name": "get_time"})
    assert [name for name, _ in called(named)] == ["get_time"], named
    needed = create(user("Hello"), tools=TOOLS, tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert len(called(needed)) == 1, needed
    assert create(user("Weather?"), tools=TOOLS, tool_choice={"type": "none"}).content[0].type == "text"


@check
def an_unknown_model_is_not_found():
    error = raises(anthropic.NotFoundError, lambda: create(user("Hello"), model="no-such-model"))
    assert error.body["error"]["type"] == "not_found_error", error.body
    assert "no-such-model" in error.body["error"]["message"], error.body


@check
def a_key_that_the_vendor_does_not_take_is_told():
    for stream in [False, True]:
        error = raises(
            anthropic.AuthenticationError,
            lambda: create(user("Hello"), model="mock-locked", stream=stream),
        )
        assert error.status_code == 401 and "key" in error.message, error.body
        assert error.body["error"]["type"] == "authentication_error", error.body


@check
def a_broken_vendor_is_an_error():
    error = raises(anthropic.InternalServerError, lambda: create(user("Hello"), model="mock-broken"))
    assert error.body["error"]["type"] == "api_error", error.body


@check
def a_rate_limit_is_told_with_its_wait():
    for ask in [create, streamed]:
        error = raises(anthropic.RateLimitError, lambda: ask(user("Hello"), model="mock-rate-limited"))
        assert error.body["error"]["type"] == "rate_limit_error", error.body
        assert error.response.headers["retry-after"] == "1", error.response.headers


@check
def a_vendor_that_breaks_off_is_an_error():
    try:
        answer = streamed(user("Hello"), model="mock-breaks-off")
    except anthropic.APIStatusError as error:
        assert "too much to do" in error.message, error
        return
    raise AssertionError(f"expected an error, got {answer}")


@check
def a_bad_parameter_is_the_clients_fault():
    error = raises(anthropic.BadRequestError, lambda: create(user("Hello"), extra_body={"temperature": 9}))
    assert error.body["type"] == "error" and "temperature" in error.body["error"]["message"], error.body


@check
async def async_client():
    async with anthropic.AsyncAnthropic(max_retries=0, timeout=20) as client:

        async def answered(text):
            async with client.messages.stream(model=CHAT, max_tokens=2000, messages=user(text)) as stream:
                return await stream.get_final_text()

        texts = [f"Number {number}" for number in range(8)]
        answers = await asyncio.gather(*map(answered, texts))
        assert all(text in answer for text, answer in zip(texts, answers, strict=True)), answers


if __name__ == "__main__":
    sys.exit(checks.run(anthropic, LACKS))
