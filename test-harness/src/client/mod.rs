//! A client that sends exactly what it is told, in the pieces it is told, and keeps what comes when.

mod h1;
mod h2c;
mod request;
mod response;

use std::net::SocketAddr;
use std::time::Duration;

pub use crate::wire::{Chunk, Fields};
pub use request::{Body, Leave, Request, Version};
pub use response::{Arrived, Response};

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no connection to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The other side kept the connection and sent nothing for too long.
    #[error("nothing came for {patience:?}; before that: {arrived}")]
    Silent {
        /// How long.
        patience: Duration,
        /// What had come.
        arrived: String,
    },
    /// The other side left before the head of its answer was there.
    #[error("the connection ended without an answer; what came: {arrived}")]
    NoAnswer {
        /// What had come.
        arrived: String,
    },
    /// What came is not HTTP.
    #[error("not HTTP ({reason}): {arrived}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
        /// What came.
        arrived: String,
    },
    /// HTTP/2 cannot carry this request; HTTP/1.1 is sent as it stands.
    #[error("HTTP/2 cannot carry this request: {0}")]
    Unsendable(#[from] http::Error),
}

/// Sends a request on a connection of its own and waits for the end of the response.
///
/// A response that breaks off is one with `complete: false`, no error.
///
/// # Errors
/// There is no head of a response, or the rest of it does not come.
///
/// # Panics
/// Where the system gives no runtime, or inside of another one.
pub fn send(address: SocketAddr, request: &Request) -> Result<Response, ClientError> {
    send_watching(address, request, &mut |_| {})
}

/// As [`send`], and shows each piece of the response's body as it arrives.
///
/// # Errors
/// As [`send`].
///
/// # Panics
/// As [`send`].
pub fn send_watching(
    address: SocketAddr,
    request: &Request,
    watch: &mut dyn FnMut(&[u8]),
) -> Result<Response, ClientError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for the client");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .map_err(|source| ClientError::Connect { address, source })?;
        // Small pieces must leave as they are written.
        let _ = stream.set_nodelay(true);
        match request.version {
            Version::H1 => h1::send(stream, request, watch).await,
            Version::H2 => h2c::send(stream, request, watch).await,
        }
    })
}

/// Waits for what the other side does next, within the request's patience.
async fn in_time<T>(
    request: &Request,
    step: impl Future<Output = T>,
    arrived: impl FnOnce() -> String,
) -> Result<T, ClientError> {
    let patience = request.patience;
    tokio::time::timeout(patience, step)
        .await
        .map_err(|_| ClientError::Silent { patience, arrived: arrived() })
}
