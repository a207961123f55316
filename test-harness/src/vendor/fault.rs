//! What is refused, in the error shapes OpenAI and Anthropic publish.

use serde_json::{Value, json};

use super::Dialect;
use crate::upstream::Answer;

/// Why a request is not answered as it wanted.
#[derive(Debug)]
pub(super) struct Fault {
    status: u16,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    retry_after: Option<u32>,
}

impl Fault {
    fn new(status: u16, message: impl Into<String>) -> Self {
        let kind = if status < 500 { "invalid_request_error" } else { "server_error" };
        Self { status, message: message.into(), kind, param: None, code: None, retry_after: None }
    }

    fn of(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(super) fn no_such_url(method: &str, path: &str) -> Self {
        Self::new(404, format!("Nothing is served at this URL ({method} {path})"))
    }

    pub(super) fn not_allowed(method: &str, path: &str) -> Self {
        Self::new(405, format!("{path} does not take {method}")).code("method_not_supported")
    }

    pub(super) fn no_key(place: &str) -> Self {
        Self::new(401, format!("No API key: send it as `{place}: <key>`"))
    }

    pub(super) fn no_header(name: &str) -> Self {
        Self::new(400, format!("The header `{name}` is required"))
    }

    pub(super) fn wrong_key() -> Self {
        Self::new(401, "This API key is not known").code("invalid_api_key")
    }

    pub(super) fn content_type(given: Option<&str>) -> Self {
        let given = given.unwrap_or("none");
        Self::new(415, format!("The content type must be application/json, but is {given}"))
            .code("unsupported_content_type")
    }

    pub(super) fn not_json(reason: &str) -> Self {
        Self::new(400, format!("The body is not a JSON object: {reason}"))
    }

    pub(super) fn no_model() -> Self {
        Self::new(400, "The body names no model")
    }

    pub(super) fn unknown_model(model: &str) -> Self {
        Self::new(404, format!("There is no model `{model}`, or not for you"))
            .of("model")
            .code("model_not_found")
    }

    pub(super) fn wrong_model(model: &str, api: &str) -> Self {
        Self::new(404, format!("The model `{model}` does not do {api}")).of("model")
    }

    pub(super) fn rate_limited() -> Self {
        let fault =
            Self::new(429, "Too many requests: this model takes none at all").code("rate_limit_exceeded");
        Self { kind: "requests", retry_after: Some(1), ..fault }
    }

    pub(super) fn broken() -> Self {
        Self::new(500, "Something broke here, as it always does with this model")
    }

    /// What is taken as it comes, but not now.
    pub(super) fn overloaded() -> Self {
        Self::new(503, "There is too much to do here, as always with this model").code("overloaded")
    }

    /// A rule that no single parameter breaks.
    pub(super) fn rule(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(400, message).of(param).code("invalid_value")
    }

    pub(super) fn missing(param: &str) -> Self {
        Self::new(400, format!("`{param}` is required")).of(param).code("missing_required_parameter")
    }

    pub(super) fn empty(param: &str) -> Self {
        Self::new(400, format!("`{param}` must not be empty")).of(param).code("empty_array")
    }

    pub(super) fn unknown(param: &str) -> Self {
        Self::new(400, format!("`{param}` is no parameter of this API")).of(param).code("unknown_parameter")
    }

    pub(super) fn wrong_type(param: impl Into<String>, expected: &str) -> Self {
        let param = param.into();
        Self::new(400, format!("`{param}` must be {expected}")).of(param).code("invalid_type")
    }

    pub(super) fn wrong_value(param: impl Into<String>, expected: &str) -> Self {
        let param = param.into();
        Self::new(400, format!("`{param}` must be {expected}")).of(param).code("invalid_value")
    }

    /// With the shape of the vendor's errors.
    pub(super) fn answer(&self, speaks: Dialect, id: &str) -> Answer {
        let answer = match speaks {
            Dialect::OpenAi => Answer::json(self.status, &json!({ "error": self.of_openai() })),
            Dialect::Anthropic => {
                let (status, document) = self.of_anthropic(id);
                Answer::json(status, &document)
            }
        };
        match self.retry_after {
            Some(seconds) => answer.header("retry-after", seconds.to_string()),
            None => answer,
        }
    }

    /// The error alone: <https://platform.openai.com/docs/guides/error-codes>.
    pub(super) fn of_openai(&self) -> Value {
        json!({ "message": self.message, "type": self.kind, "param": self.param, "code": self.code })
    }

    /// Status and document: <https://docs.anthropic.com/en/api/errors>.
    pub(super) fn of_anthropic(&self, id: &str) -> (u16, Value) {
        let status = if self.code == Some("overloaded") { 529 } else { self.status };
        let kind = match status {
            401 => "authentication_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        let error = json!({ "type": kind, "message": self.message });
        (status, json!({ "type": "error", "error": error, "request_id": id }))
    }
}
