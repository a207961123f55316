"""Drives a gateway with the official Anthropic client, over a vendor that speaks OpenAI's chats.

ANTHROPIC_BASE_URL names the gateway and ANTHROPIC_API_KEY the client's own key, which the vendor behind the
gateway does not know. Prints `ok <name>` for each check; the exit status is 0 if all of them pass.
"""

import asyncio
import sys

import anthropic

import checks
from checks import check, user

CHAT = "gpt-4o-mini"

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
    return CLIENT.messages.create(model=CHAT, max_tokens=1000, messages=messages, **more)


@check
def message():
    answer = create(user("Hello over there"), system="Be brief.", extra_body={"temperature": 0})
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn"), answer
    assert "Hello over there" in answer.content[0].text, answer
    assert (answer.usage.input_tokens, answer.usage.output_tokens > 5) == (5, True), answer.usage


@check
def message_keeps_every_letter():
    said = 'ä "quoted" \\ back\u2028slash 🌍 \u0007 </script>'
    assert " ".join(said.split()) in create(user(said)).content[0].text


@check
def message_of_parts():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}}
    answer = create(user([{"type": "text", "text": "Two"}, image, {"type": "text", "text": "parts"}]))
    assert "Two" in answer.content[0].text and "parts" in answer.content[0].text, answer


@check
def message_that_is_cut():
    answer = CLIENT.messages.create(model=CHAT, max_tokens=2, messages=user("Go on and on"))
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 2), answer


@check
def message_streamed():
    whole = create(user("Stream this"))
    with CLIENT.messages.stream(model=CHAT, max_tokens=1000, messages=user("Stream this")) as stream:
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
    assert set(kinds[2:-3]) == {"content_block_delta"}, kinds


def called(answer):
    assert answer.stop_reason == "tool_use", answer
    return [(block.name, block.input) for block in answer.content if block.type == "tool_use"]


BOTH = [("get_weather", {"city": "Rome"}), ("get_time", {"city": "Rome", "exact": True})]


@check
def tools_are_called_and_answer():
    question = user("Weather and time in Rome?")
    answer = create(question, tools=TOOLS, tool_choice={"type": "auto"})
    assert called(answer) == BOTH, answer
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": [{"type": "text", "text": "it rains"}]}
        for block in answer.content
        if block.type == "tool_use"
    ]
    said = question + [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    assert "it rains" in create(said, tools=TOOLS).content[0].text


@check
def tools_are_called_in_a_stream():
    with CLIENT.messages.stream(
        model=CHAT, max_tokens=1000, messages=user("Weather and time in Rome?"), tools=TOOLS
    ) as stream:
        assert called(stream.get_final_message()) == BOTH


@check
def tools_are_chosen():
    named = create(user("Hello"), tools=TOOLS, tool_choice={"type": "tool", "name": "get_time"})
    assert [name for name, _ in called(named)] == ["get_time"], named
    needed = create(user("Hello"), tools=TOOLS, tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert len(called(needed)) == 1, needed
    assert create(user("Weather?"), tools=TOOLS, tool_choice={"type": "none"}).content[0].type == "text"


@check
def an_unknown_model_is_not_found():
    error = raises(
        anthropic.NotFoundError,
        lambda: CLIENT.messages.create(model="no-such-model", max_tokens=9, messages=user("Hello")),
    )
    assert error.body["error"]["type"] == "not_found_error", error.body
    assert "no-such-model" in error.body["error"]["message"], error.body


@check
def a_broken_vendor_is_an_error():
    error = raises(
        anthropic.InternalServerError,
        lambda: CLIENT.messages.create(model="mock-broken", max_tokens=9, messages=user("Hello")),
    )
    assert error.body["error"]["type"] == "api_error", error.body


@check
def a_bad_parameter_is_the_clients_fault():
    error = raises(anthropic.BadRequestError, lambda: create(user("Hello"), extra_body={"temperature": 9}))
    assert error.body["type"] == "error" and "temperature" in error.body["error"]["message"], error.body


@check
async def async_client():
    async with anthropic.AsyncAnthropic(max_retries=0, timeout=20) as client:

        async def streamed(text):
            async with client.messages.stream(model=CHAT, max_tokens=1000, messages=user(text)) as stream:
                return await stream.get_final_text()

        texts = [f"Number {number}" for number in range(8)]
        answers = await asyncio.gather(*map(streamed, texts))
        assert all(text in answer for text, answer in zip(texts, answers, strict=True)), answers


if __name__ == "__main__":
    sys.exit(checks.run(anthropic))
