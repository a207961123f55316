//! Heads, paths, local replies and faults: HTTP as values, without a connection.

pub mod body;
pub mod encoding;
pub mod fault;
pub mod head;
pub mod media_type;
pub mod multipart;
pub mod path;

pub use fault::{Fault, Side};
pub use head::Head;
pub use media_type::MediaType;

/// An answer that the plugin gives itself instead of the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Header fields; `content-length` is added by the host.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// What the access log shows as `%RESPONSE_CODE_DETAILS%`; never sent to the client.
    pub details: String,
}

impl LocalReply {
    /// A JSON body with the given status.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Vec<u8>>, details: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".into())],
            body: body.into(),
            details: details.into(),
        }
    }
}
