//! A vendor that runs in this process: what the demo and the SDK checks talk to. It speaks OpenAI's API, or Anthropic's.
//!
//! It is as strict as the real ones about what it takes, and its answers follow from the request alone,
//! so that they can be checked: a chat is told what it said, a tool is called when it is mentioned.

mod chat;
mod completions;
mod embeddings;
mod fault;
mod input;
mod message;
mod messages;
mod models;
mod picture;
mod reply;
mod responses;
mod text;
mod tools;

use std::net::SocketAddr;
use std::time::Duration;

use crate::scenario::cut;
use crate::upstream::{Answer, Recorded, Script, Upstream};
use fault::Fault;

/// A running vendor; stops when dropped.
#[derive(Debug)]
pub struct Vendor {
    upstream: Upstream,
}

/// How a vendor behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The only key it takes.
    pub key: String,
    /// Waited before each piece of a stream, so that one can see it stream.
    pub pace: Duration,
    /// Whose API it speaks.
    pub speaks: Dialect,
    /// Streams are cut at random places, which follow from this number and the request, and not between events.
    pub cut: Option<u64>,
}

/// Whose API a vendor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// OpenAI's: chats, responses and more.
    #[default]
    OpenAi,
    /// Anthropic's: Messages.
    Anthropic,
}

impl Vendor {
    /// Starts one on a free port of the loopback.
    pub fn start(options: Options) -> Self {
        let upstream = Upstream::start();
        upstream.script(Script::computed(move |request| answer(request, &options)));
        Self { upstream }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.upstream.addr()
    }

    /// What has arrived since the last `take`. Until taken, all of it is kept.
    pub fn take(&self) -> Vec<Recorded> {
        self.upstream.take()
    }
}

/// One request on its way to an answer.
struct Asked<'a> {
    request: &'a Recorded,
    options: &'a Options,
}

impl Asked<'_> {
    /// A number that is the same for the same body.
    fn seed(&self) -> u64 {
        text::hash(&self.request.body)
    }
}

fn answer(request: &Recorded, options: &Options) -> Answer {
    let asked = Asked { request, options };
    let id = format!("req_{:016x}", asked.seed());
    let mut answer = route(&asked).unwrap_or_else(|fault| fault.answer(options.speaks, &id));
    if let Some(seed) = options.cut
        && answer.chunks.len() > 1
    {
        let body: Vec<u8> = answer.chunks.iter().flat_map(|chunk| &chunk.bytes).copied().collect();
        answer.chunks = cut::at_random(&body, seed ^ asked.seed());
    }
    let name = match options.speaks {
        Dialect::OpenAi => "x-request-id",
        Dialect::Anthropic => "request-id",
    };
    answer.header(name, id)
}

fn route(asked: &Asked<'_>) -> Result<Answer, Fault> {
    let target = asked.request.path();
    let path = target.split('?').next().unwrap_or_default();
    let method = asked.request.method.as_str();
    let speaks = asked.options.speaks;
    let (allowed, serve): (&str, &dyn Fn() -> Result<Answer, Fault>) = match (speaks, path) {
        (Dialect::OpenAi, "/v1/chat/completions") => ("POST", &|| chat::answer(asked)),
        (Dialect::OpenAi, "/v1/responses") => ("POST", &|| responses::answer(asked)),
        (Dialect::OpenAi, "/v1/completions") => ("POST", &|| completions::answer(asked)),
        (Dialect::OpenAi, "/v1/embeddings") => ("POST", &|| embeddings::answer(asked)),
        (Dialect::Anthropic, "/v1/messages") => ("POST", &|| messages::answer(asked)),
        (Dialect::Anthropic, "/v1/messages/count_tokens") => ("POST", &|| messages::count(asked)),
        (_, "/v1/models") => ("GET", &|| Ok(models::list(speaks))),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) => ("GET", &move || models::describe(speaks, id)),
            None => return Err(Fault::no_such_url(method, path)),
        },
    };
    if method != allowed {
        return Err(Fault::not_allowed(method, path));
    }
    authenticate(asked)?;
    serve()
}

fn authenticate(asked: &Asked<'_>) -> Result<(), Fault> {
    let authorization = asked.request.header("authorization");
    let bearer = authorization.and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned));
    let (given, place) = match asked.options.speaks {
        Dialect::OpenAi => (bearer, "authorization"),
        // Its own client has come to send keys as others do; what is published is the header of its own.
        Dialect::Anthropic => (asked.request.header("x-api-key").or(bearer), "x-api-key"),
    };
    match given {
        None => Err(Fault::no_key(place)),
        Some(given) if given != asked.options.key => Err(Fault::wrong_key()),
        Some(_) if asked.options.speaks == Dialect::Anthropic => messages::check_version(asked.request),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "documents are written where they are used")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::client::{Request, Response, Version, send};

    fn vendor() -> Vendor {
        Vendor::start(Options { key: "the-key".to_owned(), ..Options::default() })
    }

    fn ask(vendor: &Vendor, request: Request) -> Response {
        send(vendor.addr(), &request.header("authorization", "Bearer the-key")).unwrap()
    }

    fn post(path: &str, body: &Value) -> Response {
        ask(&vendor(), Request::post_json(path, body))
    }

    fn chat(more: Value) -> Response {
        let mut body = json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": "Hello there, gateway" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post("/v1/chat/completions", &body)
    }

    fn events(response: &Response) -> Vec<Value> {
        let text = response.text();
        let events: Vec<&str> = text.split_terminator("\n\n").map(|event| &event["data: ".len()..]).collect();
        assert_eq!(events.last(), Some(&"[DONE]"));
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    fn weather_and_time() -> Value {
        let tool = |name: &str, property: &str| {
            let parameters = json!({ "type": "object", "properties": { property: { "type": "string" } } });
            json!({ "type": "function", "function": { "name": name, "parameters": parameters } })
        };
        json!([tool("get_weather", "city"), tool("get_time", "city"), tool("send_mail", "to")])
    }

    /// The fault a request ends in: its status, `param` and `code`.
    fn check_fault(response: &Response, status: u16, param: Option<&str>, code: Option<&str>) {
        let error = &response.json()["error"];
        assert_eq!(
            (response.status, error["param"].as_str(), error["code"].as_str()),
            (status, param, code),
            "{error}"
        );
        assert!(error["message"].is_string() && error["type"].is_string(), "{error}");
    }

    #[test]
    fn a_chat_is_told_what_it_said() {
        let answer = chat(json!({})).json();
        let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(content.contains("\"Hello there, gateway\""), "{content}");
        assert_eq!(answer["choices"][0]["finish_reason"], "stop");
        assert_eq!(answer["usage"]["prompt_tokens"], 3);
        assert_eq!(answer["usage"]["completion_tokens"], content.split_whitespace().count());
        assert_eq!(answer["usage"]["total_tokens"], 3 + content.split_whitespace().count());
        assert_eq!(answer, chat(json!({})).json(), "the same question has the same answer");
    }

    #[test]
    fn a_streamed_chat_is_the_same_chat() {
        let whole = chat(json!({ "n": 2 })).json();
        let stream = chat(json!({ "n": 2, "stream": true, "stream_options": { "include_usage": true } }));
        assert_eq!(stream.header("content-type").as_deref(), Some("text/event-stream; charset=utf-8"));
        let events = events(&stream);
        for index in 0..2 {
            let deltas = events
                .iter()
                .filter_map(|event| event["choices"].get(0))
                .filter(|choice| choice["index"] == index);
            let content: String = deltas.filter_map(|choice| choice["delta"]["content"].as_str()).collect();
            assert_eq!(whole["choices"][index]["message"]["content"], content);
        }
        let (last, before) = events.split_last().unwrap();
        assert_eq!(last["usage"], whole["usage"]);
        assert_eq!(last["choices"], json!([]));
        assert!(before.iter().all(|event| event["usage"].is_null() && event.get("usage").is_some()));
        assert!(before.len() > 20, "a piece for each word at least: {}", before.len());
    }

    #[test]
    fn usage_is_streamed_only_where_asked_for() {
        let events = events(&chat(json!({ "stream": true })));
        assert!(events.iter().all(|event| event.get("usage").is_none()));
    }

    #[test]
    fn limits_and_stops_are_kept() {
        let choice = chat(json!({ "max_completion_tokens": 2 })).json()["choices"][0].clone();
        assert_eq!(
            (choice["message"]["content"].as_str(), &choice["finish_reason"]),
            (Some("You said"), &json!("length"))
        );
        let choice = chat(json!({ "stop": [", gate", "never"] })).json()["choices"][0].clone();
        assert_eq!(choice["message"]["content"], "You said \"Hello there");
        assert_eq!(choice["finish_reason"], "stop");
    }

    #[test]
    fn tools_are_called_when_mentioned_or_required() {
        let asked = json!({
            "tools": weather_and_time(),
            "messages": [{ "role": "user", "content": "Weather and time in Paris?" }],
        });
        let message = chat(asked.clone()).json()["choices"][0]["message"].clone();
        assert_eq!(message["content"], Value::Null);
        let names: Vec<&str> = message["tool_calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["function"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["get_weather", "get_time"]);
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], r#"{"city":"Paris"}"#);

        let mut one_by_one = asked;
        one_by_one["parallel_tool_calls"] = json!(false);
        assert_eq!(
            chat(one_by_one).json()["choices"][0]["message"]["tool_calls"].as_array().unwrap().len(),
            1
        );

        let required = chat(json!({ "tools": weather_and_time(), "tool_choice": "required" })).json();
        assert_eq!(required["choices"][0]["finish_reason"], "tool_calls");
        let named = json!({ "type": "function", "function": { "name": "send_mail" } });
        let named = chat(json!({ "tools": weather_and_time(), "tool_choice": named })).json();
        assert_eq!(named["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "send_mail");
        let unasked = chat(json!({ "tools": weather_and_time() })).json();
        assert_eq!(unasked["choices"][0]["finish_reason"], "stop");
    }

    #[test]
    fn streamed_arguments_come_in_pieces_that_make_json() {
        let events =
            events(&chat(json!({ "tools": weather_and_time(), "tool_choice": "required", "stream": true })));
        let calls: Vec<&Value> =
            events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0)).collect();
        assert_eq!(calls[0]["function"]["name"], "get_weather");
        assert!(calls.len() > 2);
        let arguments: String =
            calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
        assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({ "city": "gateway" }));
        assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn the_result_of_a_tool_is_answered() {
        let messages = json!([
            { "role": "user", "content": "Weather in Paris?" },
            { "role": "assistant", "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "get_weather", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "call_1", "content": "sunny" },
        ]);
        let answer = chat(json!({ "messages": messages, "tools": weather_and_time() })).json();
        assert_eq!(answer["choices"][0]["message"]["content"], "The tool answered: \"sunny\".");
    }

    #[test]
    fn calls_are_answered_in_full_or_refused() {
        let check = |messages: Value, param: &str| {
            check_fault(&chat(json!({ "messages": messages })), 400, Some(param), Some("invalid_value"));
        };
        let user = json!({ "role": "user", "content": "Weather in Paris?" });
        let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "a", "arguments": "{}" } });
        let calls = json!({ "role": "assistant", "tool_calls": [call("call_1"), call("call_2")] });
        let result = json!({ "role": "tool", "tool_call_id": "call_1", "content": "sunny" });
        check(json!([user, result]), "messages[1].role");
        check(json!([user, calls, result]), "messages");
        check(json!([user, calls, result, user]), "messages[3]");
    }

    #[test]
    fn models_that_think_have_rules_of_their_own() {
        let check = |more: Value, param: &str, code: &str| {
            check_fault(&chat(more), 400, Some(param), Some(code));
        };
        check(json!({ "reasoning_effort": "low" }), "reasoning_effort", "unknown_parameter");
        check(
            json!({ "model": "gpt-5-mini", "reasoning_effort": "huge" }),
            "reasoning_effort",
            "invalid_value",
        );
        check(json!({ "model": "gpt-5-mini", "max_tokens": 9 }), "max_tokens", "invalid_value");
        check(json!({ "model": "gpt-5-mini", "temperature": 0 }), "temperature", "invalid_value");
        let hidden = chat(json!({ "model": "gpt-5-mini" })).json();
        assert!(hidden["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64() > Some(0));
        assert_eq!(hidden["choices"][0]["message"].get("reasoning_content"), None);
        let shown = chat(json!({ "model": "deepseek-reasoner" })).json();
        assert!(shown["choices"][0]["message"]["reasoning_content"].is_string());
    }

    #[test]
    fn pictures_are_seen() {
        let url = json!({ "url": "data:image/png;base64,QUJD" });
        let content = json!([{ "type": "text", "text": "Look" }, { "type": "image_url", "image_url": url }]);
        let answer = chat(json!({ "messages": [{ "role": "user", "content": content }] })).json();
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(text.contains("\"Look\" and showed image/png of 3 bytes"), "{text}");
    }

    #[test]
    fn a_stream_can_break_off() {
        let stream = chat(json!({ "model": "mock-breaks-off", "stream": true }));
        let events = events(&stream);
        assert_eq!(events.last().unwrap()["error"]["code"], "overloaded");
        check_fault(&chat(json!({ "model": "mock-breaks-off" })), 503, None, Some("overloaded"));
    }

    #[test]
    fn json_is_answered_where_it_is_asked_for() {
        let content = |format: Value| {
            let answer = chat(json!({ "response_format": format })).json();
            serde_json::from_str::<Value>(answer["choices"][0]["message"]["content"].as_str().unwrap())
                .unwrap()
        };
        assert_eq!(
            content(json!({ "type": "json_object" })),
            json!({ "said": "Hello there, gateway", "words": 3 })
        );
        let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" }, "ok": { "type": "boolean" } } });
        let format = json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": schema } });
        assert_eq!(content(format), json!({ "n": 1, "ok": true }));
    }

    #[test]
    fn completions_are_whole_or_streamed() {
        let body =
            json!({ "model": "gpt-3.5-turbo-instruct", "prompt": ["One two", "Three"], "max_tokens": 50 });
        let whole = post("/v1/completions", &body).json();
        assert_eq!(whole["choices"].as_array().unwrap().len(), 2);
        assert!(whole["choices"][1]["text"].as_str().unwrap().contains("\"Three\""));
        assert_eq!(whole["usage"]["prompt_tokens"], 3);
        let mut body = body;
        body["stream"] = json!(true);
        let events = events(&post("/v1/completions", &body));
        let second = events.iter().map(|event| &event["choices"][0]).filter(|choice| choice["index"] == 1);
        let text: String = second.filter_map(|choice| choice["text"].as_str()).collect();
        assert_eq!(whole["choices"][1]["text"], text);
    }

    #[test]
    fn embeddings_are_unit_vectors_in_either_encoding() {
        let body = json!({ "model": "text-embedding-3-small", "input": ["a cat", "the cat", "steam engine"], "dimensions": 256 });
        let answer = post("/v1/embeddings", &body).json();
        let vectors: Vec<Vec<f64>> = (0..3)
            .map(|index| {
                answer["data"][index]["embedding"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|x| x.as_f64().unwrap())
                    .collect()
            })
            .collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        assert_eq!(vectors[0].len(), 256);
        assert!((dot(&vectors[0], &vectors[0]) - 1.0).abs() < 1e-4);
        assert!(
            dot(&vectors[0], &vectors[1]) > dot(&vectors[0], &vectors[2]),
            "what shares a word is nearer"
        );
        let mut body = body;
        body["encoding_format"] = json!("base64");
        let encoded = post("/v1/embeddings", &body).json();
        // 256 floats of 4 bytes, 3 bytes in 4 letters.
        assert_eq!(encoded["data"][0]["embedding"].as_str().unwrap().len(), 1368);
        assert_eq!(encoded["usage"], answer["usage"]);
    }

    #[test]
    fn keys_are_checked_first() {
        let vendor = vendor();
        let request = || Request::post_json("/v1/chat/completions", &json!({}));
        check_fault(&send(vendor.addr(), &request()).unwrap(), 401, None, None);
        let wrong = request().header("authorization", "Bearer another");
        check_fault(&send(vendor.addr(), &wrong).unwrap(), 401, None, Some("invalid_api_key"));
        let two =
            request().header("authorization", "Bearer the-key").header("authorization", "Bearer another");
        check_fault(&send(vendor.addr(), &two).unwrap(), 401, None, Some("invalid_api_key"));
        assert_eq!(vendor.take().len(), 3);
    }

    #[test]
    fn models_are_listed_and_told_apart() {
        let vendor = vendor();
        let list = ask(&vendor, Request::get("/v1/models?limit=2").over(Version::H2)).json();
        assert!(list["data"].as_array().unwrap().iter().any(|model| model["id"] == "gpt-4o-mini"));
        assert_eq!(ask(&vendor, Request::get("/v1/models/gpt-4o")).json()["id"], "gpt-4o");
        check_fault(
            &ask(&vendor, Request::get("/v1/models/nobody")),
            404,
            Some("model"),
            Some("model_not_found"),
        );
        check_fault(&chat(json!({ "model": "nobody" })), 404, Some("model"), Some("model_not_found"));
        check_fault(&chat(json!({ "model": "text-embedding-3-small" })), 404, Some("model"), None);
    }

    #[test]
    fn magic_models_fail() {
        let limited = chat(json!({ "model": "mock-rate-limited" }));
        check_fault(&limited, 429, None, Some("rate_limit_exceeded"));
        assert_eq!(limited.header("retry-after").as_deref(), Some("1"));
        check_fault(&chat(json!({ "model": "mock-broken", "stream": true })), 500, None, None);
    }

    #[test]
    fn bad_input_is_refused_with_its_place() {
        let vendor = vendor();
        let at = "/v1/chat/completions";
        let typed = |kind: &str| Request::new("POST", at).header("content-type", kind);
        check_fault(&ask(&vendor, typed("application/json").body("{\"model\": ")), 400, None, None);
        check_fault(&ask(&vendor, typed("application/json").body("[]")), 400, None, None);
        check_fault(
            &ask(&vendor, typed("text/plain").body("{}")),
            415,
            None,
            Some("unsupported_content_type"),
        );
        check_fault(
            &ask(&vendor, Request::new("POST", at).body("{}")),
            415,
            None,
            Some("unsupported_content_type"),
        );
        check_fault(&ask(&vendor, typed("application/json; charset=utf-8").body("{}")), 400, None, None);
        check_fault(&ask(&vendor, Request::get(at)), 405, None, Some("method_not_supported"));
        check_fault(&ask(&vendor, Request::get("/v1/nothing")), 404, None, None);

        let fault =
            |more: Value, param: &str, code: Option<&str>| check_fault(&chat(more), 400, Some(param), code);
        fault(json!({ "messages": null }), "messages", Some("missing_required_parameter"));
        fault(json!({ "messages": [] }), "messages", Some("empty_array"));
        fault(json!({ "messages": "Hello" }), "messages", Some("invalid_type"));
        fault(
            json!({ "messages": [{ "role": "me", "content": "" }] }),
            "messages[0].role",
            Some("invalid_value"),
        );
        fault(json!({ "messages": [{ "role": "user" }] }), "messages[0].content", Some("invalid_type"));
        fault(json!({ "max_tokens": 0 }), "max_tokens", Some("invalid_value"));
        fault(json!({ "stream": "yes" }), "stream", Some("invalid_type"));
        fault(
            json!({ "stream_options": { "include_usage": true } }),
            "stream_options",
            Some("invalid_value"),
        );
        fault(json!({ "temperature": 3 }), "temperature", Some("invalid_value"));
        fault(json!({ "tool_choice": "required" }), "tool_choice", Some("invalid_value"));
        fault(json!({ "provider": "mock" }), "provider", Some("unknown_parameter"));
    }
}
