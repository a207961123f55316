//! What is refused, in the error shape OpenAI publishes.

use serde_json::json;

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

    pub(super) fn no_key() -> Self {
        Self::new(401, "No API key: send it as `Authorization: Bearer <key>`")
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

    pub(super) fn answer(&self) -> Answer {
        let error =
            json!({ "message": self.message, "type": self.kind, "param": self.param, "code": self.code });
        let answer = Answer::json(self.status, &json!({ "error": error }));
        match self.retry_after {
            Some(seconds) => answer.header("retry-after", seconds.to_string()),
            None => answer,
        }
    }
}
