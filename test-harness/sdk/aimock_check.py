"""Drives a gateway with the official OpenAI client, by both of its APIs, over a vendor that nobody here has written.

The vendor answers as `aimock.json` says. It cuts texts anywhere, within a letter beyond U+FFFF too, which no client
can mend; so such a letter stands where no cut falls. OPENAI_BASE_URL names the gateway and OPENAI_API_KEY the client's own key.
Prints `ok <name>` for each check; the exit status is 0 if all of them pass.
"""

import json
import sys

import openai

import checks
from checks import OVER, check, user

MODEL = {"chats": "deepseek-reasoner", "messages": "claude-haiku-4-5", "responses": "gpt-5-mini"}[OVER]
HELLO = 'Hello! How can I "help" you today? ä 🌍'
THOUGHT = "Let me think about that for a while."
BOTH = [("get_weather", {"city": "São Paulo"}), ("get_time", {"city": "Rome", "exact": True})]
LACKS = {"chats": {}, "messages": {}, "responses": {}}

CLIENT = openai.OpenAI(max_retries=0, timeout=20)


def schema(**properties):
    members = {key: {"type": kind} for key, kind in properties.items()}
    return {"type": "object", "properties": members, "required": list(properties), "additionalProperties": False}


FUNCTIONS = [
    {"name": "get_weather", "parameters": schema(city="string")},
    {"name": "get_time", "parameters": schema(city="string", exact="boolean")},
]
CHAT_TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
TOOLS = [{"type": "function", "strict": False, **function} for function in FUNCTIONS]


def chat(messages, **more):
    return CLIENT.chat.completions.create(model=MODEL, messages=messages, **more)


def respond(said, **more):
    return CLIENT.responses.create(model=MODEL, input=said, **more)


@check
def chat_whole_and_streamed():
    choice = chat(user("Hello")).choices[0]
    assert (choice.message.content, choice.finish_reason) == (HELLO, "stop"), choice
    with CLIENT.chat.completions.stream(model=MODEL, messages=user("Hello")) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert (streamed.message.content, streamed.finish_reason) == (HELLO, "stop"), streamed


@check
def chat_with_tools():
    whole = chat(user("Weather"), tools=CHAT_TOOLS).choices[0]
    with CLIENT.chat.completions.stream(model=MODEL, messages=user("Weather"), tools=CHAT_TOOLS) as stream:
        streamed = stream.get_final_completion().choices[0]
    for choice in [whole, streamed]:
        assert choice.finish_reason == "tool_calls", choice
        calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]
        assert (calls, choice.message.content) == (BOTH, "Let me see."), choice
        said = [{"role": "tool", "tool_call_id": call.id, "content": "good"} for call in choice.message.tool_calls]
        again = choice.message.model_dump(include={"role", "content", "tool_calls"})
        answer = chat([*user("Weather"), again, *said], tools=CHAT_TOOLS)
        assert answer.choices[0].message.content == "It is sunny at noon.", answer


@check
def chat_with_thoughts():
    message = chat(user("Think"), reasoning_effort="low").choices[0].message
    assert (message.reasoning_content, message.content) == (THOUGHT, "Here it is."), message
    deltas = [chunk.choices[0].delta for chunk in chat(user("Think"), stream=True) if chunk.choices]
    thought = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    text = "".join(delta.content or "" for delta in deltas)
    assert (thought, text) == (THOUGHT, "Here it is."), deltas


@check
def response_whole_and_streamed():
    assert respond("Hello").output_text == HELLO
    with CLIENT.responses.stream(model=MODEL, input="Hello") as stream:
        final = stream.get_final_response()
    assert (final.output_text, final.status) == (HELLO, "completed"), final


@check
def response_with_tools():
    whole = respond("Weather", tools=TOOLS)
    with CLIENT.responses.stream(model=MODEL, input="Weather", tools=TOOLS) as stream:
        streamed = stream.get_final_response()
    for response in [whole, streamed]:
        calls = [item for item in response.output if item.type == "function_call"]
        assert [(call.name, json.loads(call.arguments)) for call in calls] == BOTH, response
        assert response.output_text == "Let me see.", response
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": "good"} for call in calls]
        items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]
        for item in items:
            for part in item.get("content") or []:
                part.pop("parsed", None)
        answer = respond([*user("Weather"), *items, *results], tools=TOOLS)
        assert answer.output_text == "It is sunny at noon.", answer


@check
def response_with_thoughts():
    whole = respond("Think", reasoning={"effort": "low", "summary": "auto"})
    with CLIENT.responses.stream(model=MODEL, input="Think") as stream:
        streamed = stream.get_final_response()
    for response in [whole, streamed]:
        assert [item.type for item in response.output] == ["reasoning", "message"], response
        assert response.output[0].summary[0].text == THOUGHT, response
        assert response.output_text == "Here it is.", response


@check
def rate_limits():
    for ask in [lambda: chat(user("Too much")), lambda: respond("Too much", stream=True)]:
        error = checks.raises(openai.OpenAIError, openai.RateLimitError, ask)
        assert error.message.endswith("Not so fast.") or "Not so fast." in str(error.body), error
        assert error.response.headers["retry-after"] == "1", error.response.headers


if __name__ == "__main__":
    sys.exit(checks.run(openai, LACKS))
