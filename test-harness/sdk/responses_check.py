"""Drives a gateway with the official OpenAI client by its newer API: responses.

OPENAI_BASE_URL names the gateway and OPENAI_API_KEY the client's own key, which the vendor behind the
gateway does not know. Prints `ok <name>` for each check; the exit status is 0 if all of them pass.
"""

import asyncio
import json
import sys

import openai

import checks
from checks import OVER, check, user

CHAT = {"chats": "gpt-4o-mini", "messages": "claude-haiku-4-5", "responses": "gpt-4o-mini"}[OVER]
THINKER = {"chats": "deepseek-reasoner", "messages": "claude-haiku-4-5", "responses": "gpt-5-mini"}[OVER]
THINKING = {"model": THINKER, "reasoning": {"effort": "low", "summary": "auto"}}
# Anthropic's model says a word before it calls tools.
BEFORE_CALLS = ["message"] if OVER == "messages" else []
LACKS = {
    "chats": {},
    "messages": {"codes in errors": "Anthropic's errors have none"},
    "responses": {},
}

CLIENT = openai.OpenAI(max_retries=0, timeout=20)


def tool(name, **properties):
    parameters = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "parameters": parameters, "strict": True}


TOOLS = [tool("get_weather", city="string"), tool("get_time", city="string", exact="boolean")]
BOTH = [("get_weather", {"city": "Rome"}), ("get_time", {"city": "Rome", "exact": True})]


def raises(kind, call):
    return checks.raises(openai.OpenAIError, kind, call)


def create(said, **more):
    return CLIENT.responses.create(**{"model": CHAT, "input": said, **more})


def kinds(response):
    return [item.type for item in response.output]


def called(response):
    calls = [item for item in response.output if item.type == "function_call"]
    assert all(call.call_id and call.status == "completed" for call in calls), calls
    return [(call.name, json.loads(call.arguments)) for call in calls]


@check
def response():
    answer = create("Hello over there", instructions="Be brief.", metadata={"trace": "1"})
    assert (answer.object, answer.status, answer.error) == ("response", "completed", None), answer
    assert "Hello over there" in answer.output_text, answer
    assert (kinds(answer), answer.output[0].role) == (["message"], "assistant"), answer
    assert (answer.instructions, answer.metadata) == ("Be brief.", {"trace": "1"}), answer
    assert answer.id.startswith("resp") and answer.created_at, answer
    usage = answer.usage
    assert (usage.input_tokens, usage.total_tokens) == (5, 5 + usage.output_tokens), usage
    assert usage.output_tokens > 5 and usage.output_tokens_details.reasoning_tokens == 0, usage


@check
def response_keeps_every_letter():
    said = 'ä "quoted" \\ back\u2028slash 🌍 \u0007 </script>'
    assert " ".join(said.split()) in create(said).output_text


@check
def response_to_many_messages():
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Two"}, {"type": "input_text", "text": "parts"}]},
        {"role": "assistant", "content": "So it is."},
        {"type": "message", "role": "user", "content": "Go on"},
    ]
    answer = create(items)
    assert "Go on" in answer.output_text and answer.usage.input_tokens == 9, answer


@check
def response_that_is_gone_on_with():
    first = create("Hello over there")
    answer = create([*user("Hello over there"), *first.output, *user("Go on")])
    assert "Go on" in answer.output_text, answer


@check
def response_that_is_cut():
    answer = create("Go on and on", max_output_tokens=16)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens"), answer
    assert answer.usage.output_tokens == 16, answer
    events = list(create("Go on and on", max_output_tokens=16, stream=True))
    assert events[-1].type == "response.incomplete", events[-1]
    assert events[-1].response.output_text == answer.output_text, events[-1]


@check
def response_to_pictures():
    data, told = checks.png()
    url = "https://example.com/a.png"
    parts = [{"type": "input_text", "text": "Look"}]
    urls = [f"data:image/png;base64,{data}", url]
    parts += [{"type": "input_image", "image_url": url, "detail": "auto"} for url in urls]
    answer = create(user(parts))
    assert f'"Look" and {told} and showed {url}' in answer.output_text, answer


def followed(stream):
    """The final response of a stream, whose events must be as published, and their texts those of the response."""
    events = list(stream)
    names = [event.type for event in events]
    assert names[:2] == ["response.created", "response.in_progress"], names
    assert [event.sequence_number for event in events] == list(range(len(events))), names
    final = events[-1].response
    assert all(event.response.id == final.id for event in events[:2]), events[:2]
    # By item: what it is until it is done, and the text of what of it is being told. Calls may be told side by side.
    open_items, open_parts, texts = {}, {}, {}
    for event in events[2:-1]:
        at = event.output_index
        item = final.output[at]
        match event.type:
            case "response.output_item.added":
                assert at == len(texts) and event.item.type == item.type, event
                assert event.item.id and event.item.id == item.id, event
                open_items[at], texts[at] = event.item.type, ""
            case "response.output_item.done":
                assert open_items.pop(at) and at not in open_parts, event
                assert event.item == item, (event.item, item)
            case "response.content_part.added" | "response.reasoning_summary_part.added":
                assert at in open_items and at not in open_parts, event
                open_parts[at], texts[at] = event.type, ""
            case "response.content_part.done" | "response.reasoning_summary_part.done":
                assert open_parts.pop(at) == event.type.replace("done", "added"), event
                assert event.part.text == texts[at], event
            case "response.output_text.delta" | "response.reasoning_summary_text.delta":
                assert at in open_parts and event.item_id == item.id, event
                texts[at] += event.delta
            case "response.output_text.done" | "response.reasoning_summary_text.done":
                assert at in open_parts and event.text == texts[at], (event, texts)
            case "response.function_call_arguments.delta":
                assert at in open_items and event.item_id == item.id, event
                texts[at] += event.delta
            case "response.function_call_arguments.done":
                assert event.arguments == texts[at] == item.arguments, (event, texts)
            case _:
                raise AssertionError(event)
    assert not open_items and not open_parts and len(texts) == len(final.output), names
    return final, names


@check
def response_streamed():
    whole = create("Stream this")
    final, names = followed(create("Stream this", stream=True))
    assert final.status == "completed" and names[-1] == "response.completed", final
    assert final.output_text == whole.output_text, final
    assert final.usage == whole.usage, final
    assert names.count("response.output_text.delta") > 20, names


@check
def response_by_the_stream_helper():
    with CLIENT.responses.stream(model=CHAT, input="Stream this") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == create("Stream this").output_text, final


@check
def response_streamed_and_left():
    stream = create("Leave early", stream=True)
    next(iter(stream))
    stream.close()
    assert create("Still there?").output_text


@check
def tools_are_called_and_answer():
    question = "Weather and time in Rome?"
    answer = create(question, tools=TOOLS)
    assert called(answer) == BOTH, answer
    assert kinds(answer) == [*BEFORE_CALLS, "function_call", "function_call"], answer
    calls = [item for item in answer.output if item.type == "function_call"]
    said = [*user(question), *answer.output]
    for call, result in zip(calls, ["sunny", [{"type": "input_text", "text": "noon"}]], strict=True):
        said.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    answer = create(said, tools=TOOLS)
    assert answer.output_text == 'The tools answered: "sunny", "noon".', answer


@check
def tools_are_called_in_a_stream():
    final, _ = followed(create("Weather and time in Rome?", tools=TOOLS, stream=True))
    assert called(final) == BOTH, final
    with CLIENT.responses.stream(model=CHAT, input="Weather and time in Rome?", tools=TOOLS) as stream:
        assert called(stream.get_final_response()) == BOTH


@check
def tools_are_chosen():
    for choice in ["required", {"type": "function", "name": "get_time"}]:
        answer = create("Time, please", tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
        assert [name for name, _ in called(answer)] == ["get_time"], answer
    assert called(create("Weather?", tools=TOOLS, tool_choice="none")) == []


@check
def thoughts_are_seen():
    asked = {**THINKING, "said": "Think first"}
    answer = create(**asked)
    assert kinds(answer) == ["reasoning", "message"], answer
    assert "Think first" in answer.output[0].summary[0].text, answer
    final, names = followed(create(**asked, stream=True))
    assert kinds(final) == ["reasoning", "message"], final
    assert final.output[0].summary == answer.output[0].summary, final
    assert final.output_text == answer.output_text, final
    assert names.count("response.reasoning_summary_text.delta") > 5, names


@check
def thoughts_lead_to_calls():
    question = user("Weather and time in Rome?")
    for keeps_thoughts in [True, False]:
        answer = create(question, **THINKING, tools=TOOLS, include=["reasoning.encrypted_content"], store=False)
        assert kinds(answer)[0] == "reasoning" and called(answer) == BOTH, answer
        calls = [item for item in answer.output if item.type == "function_call"]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
        kept = answer.output if keeps_thoughts else calls
        answer = create([*question, *kept, *results], **THINKING, tools=TOOLS, store=False)
        assert answer.output_text == 'The tools answered: "sunny", "sunny".', answer


@check
def json_schema_is_kept():
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "trip", "schema": schema, "strict": True}
    answer = create("A trip to Lima", text={"format": form})
    assert json.loads(answer.output_text) == {"city": "Lima", "days": 1}, answer


@check
def a_response_that_nobody_keeps_is_the_clients_fault():
    error = raises(openai.BadRequestError, lambda: create("Go on", previous_response_id="resp_1"))
    assert error.type and error.message, error.body


@check
def a_model_that_is_not_there_is_not_found():
    for stream in [False, True]:
        error = raises(openai.NotFoundError, lambda: create("Hello", model="nobody", stream=stream))
        assert "nobody" in error.message and error.type, error.body


@check(needs="codes in errors")
def errors_have_codes():
    error = raises(openai.NotFoundError, lambda: create("Hello", model="nobody"))
    assert error.code == "model_not_found", error.body


@check
def a_rate_limit_is_told_with_its_wait():
    for stream in [False, True]:
        error = raises(openai.RateLimitError, lambda: create("Hello", model="mock-rate-limited", stream=stream))
        assert error.response.headers["retry-after"] == "1", error.response.headers
        assert error.message and error.type, error.body


@check
def a_key_that_the_vendor_does_not_take_is_told():
    for stream in [False, True]:
        error = raises(
            openai.AuthenticationError,
            lambda: create("Hello", model="mock-locked", stream=stream),
        )
        assert error.status_code == 401 and "key" in error.message, error.body


@check
def a_broken_vendor_is_an_error():
    raises(openai.InternalServerError, lambda: create("Hello", model="mock-broken"))
    raises(openai.InternalServerError, lambda: create("Hello", model="mock-breaks-off"))


@check
def a_vendor_that_breaks_off_is_an_error():
    try:
        events = list(create("Hello", model="mock-breaks-off", stream=True))
    except openai.APIError as error:
        assert "too much to do" in error.message, error
        return
    last = events[-1]
    assert last.type in ["error", "response.failed"], last
    assert "too much to do" in (last.message if last.type == "error" else last.response.error.message), last


@check
def a_bad_tool_is_the_clients_fault():
    error = raises(openai.BadRequestError, lambda: create("Hello", tools=[tool("no name!", city="string")]))
    assert "name" in error.message and error.type == "invalid_request_error", error.body


@check
def results_of_no_call_are_the_clients_fault():
    orphan = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
    raises(openai.BadRequestError, lambda: create([*user("Hello"), orphan], tools=TOOLS))


@check
async def async_client():
    async with openai.AsyncOpenAI(max_retries=0, timeout=20) as client:

        async def streamed(text):
            async with client.responses.stream(model=CHAT, input=text) as stream:
                return (await stream.get_final_response()).output_text

        texts = [f"Number {number}" for number in range(8)]
        answers = await asyncio.gather(*map(streamed, texts))
        assert all(text in answer for text, answer in zip(texts, answers, strict=True)), answers


if __name__ == "__main__":
    sys.exit(checks.run(openai, LACKS))
