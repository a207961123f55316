//! What went wrong with an exchange, and by whose doing.

use std::borrow::Cow;

/// Whose fault it is; decides the log level and how much a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client sent something that cannot be served.
    Client,
    /// The upstream or a called service failed.
    Upstream,
    /// The operator's configuration.
    Config,
    /// The plugin itself, or a host call that failed.
    Internal,
}

/// A failure that ends an exchange with a local reply.
///
/// The message goes to the client, so it names no secret, no prompt and nothing of the gateway's
/// inside; `detail` goes to the log and to the access log's response code details.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Whose fault it is.
    pub side: Side,
    /// HTTP status of the reply.
    pub status: u16,
    /// Machine-readable code in the reply, such as `invalid_json`.
    pub code: &'static str,
    /// What the client is told.
    pub message: Cow<'static, str>,
    /// What the operator is told beyond that.
    pub detail: Cow<'static, str>,
}

impl Fault {
    /// The client's own mistake.
    #[must_use]
    pub fn client(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { side: Side::Client, status, code, message: message.into(), detail: Cow::Borrowed("") }
    }

    /// 502: the upstream, or a service that was called, failed.
    #[must_use]
    pub fn upstream(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { side: Side::Upstream, status: 502, code, message: message.into(), detail: Cow::Borrowed("") }
    }

    /// 500: the configuration that applies to this request is unusable. The client is told no more.
    #[must_use]
    pub fn config(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            side: Side::Config,
            status: 500,
            code: "configuration_error",
            message: Cow::Borrowed("plugin configuration error"),
            detail: detail.into(),
        }
    }

    /// 500: our own failure. The client gets general words, the log gets `detail`.
    #[must_use]
    pub fn internal(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            side: Side::Internal,
            status: 500,
            code: "internal_error",
            message: Cow::Borrowed("internal error"),
            detail: detail.into(),
        }
    }

    /// 413: a body over `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::client(
            413,
            "request_too_large",
            format!("request body is larger than the limit of {limit} bytes"),
        )
    }

    /// Adds words for the operator.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }
}
