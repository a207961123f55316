//! HTTP/2 with prior knowledge.

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Ping, Reason, SendStream};
use http::Uri;
use tokio::net::TcpStream;

use super::{Body, ClientError, Leave, Request, Response, in_time};
use crate::wire::{fields, header_map, values};

pub(super) async fn send(
    stream: TcpStream,
    request: &Request,
    watch: &mut dyn FnMut(&[u8]),
) -> Result<Response, ClientError> {
    let mut response = Response::default();
    let head = head(request)?;
    let trailers = header_map(&request.trailers)?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 24).initial_connection_window_size(1 << 26).enable_push(false);
    let (mut streams, mut connection) =
        in_time(request, builder.handshake::<_, Bytes>(stream), || "nothing".to_owned())
            .await?
            .map_err(broken)?;
    let pings = connection.ping_pong();
    // Ends with the runtime, which is this request's own.
    tokio::spawn(connection);
    let has_no_body = matches!(request.body, Body::None) && trailers.is_empty();
    std::future::poll_fn(|context| streams.poll_ready(context)).await.map_err(broken)?;
    let (answer, mut body) = streams.send_request(head, has_no_body).map_err(broken)?;
    let sending = async {
        if !has_no_body {
            write_body(&mut body, request, trailers).await;
        }
    };
    tokio::pin!(sending);
    let mut is_sending = true;
    let is_left = {
        let receiving = receive(answer, request, &mut response, watch);
        tokio::pin!(receiving);
        loop {
            tokio::select! {
                () = &mut sending, if is_sending => {
                    is_sending = false;
                    if matches!(request.leave, Some(Leave::AfterSending | Leave::AfterChunks(_))) {
                        break true;
                    }
                }
                received = &mut receiving => {
                    received?;
                    break false;
                }
            }
        }
    };
    if let (true, Some(mut pings)) = (is_left, pings) {
        // Leaving would overtake what was written; once a ping is answered, the other side has read it.
        tokio::task::yield_now().await;
        let _ = in_time(request, pings.ping(Ping::opaque()), || "no answer to a ping".to_owned()).await?;
    }
    Ok(response)
}

fn head(request: &Request) -> Result<http::Request<()>, ClientError> {
    let host = values(&request.headers, "host").first().map_or(Request::HOST.as_bytes(), |host| host);
    let uri =
        Uri::builder().scheme("http").authority(host).path_and_query(request.path.as_slice()).build()?;
    let mut head = http::Request::builder().method(request.method.as_str()).uri(uri).body(())?;
    *head.headers_mut() = header_map(&request.headers)?;
    head.headers_mut().remove(http::header::HOST);
    Ok(head)
}

/// Writes the body; a stream that the other side closed takes no more, and may have been answered.
async fn write_body(stream: &mut SendStream<Bytes>, request: &Request, trailers: http::HeaderMap) {
    let pieces = request.pieces();
    let last = pieces.len().saturating_sub(1);
    for (sent, chunk) in pieces.into_iter().enumerate() {
        chunk.wait().await;
        if request.leave == Some(Leave::AfterChunks(sent)) {
            return;
        }
        // As other clients do, so that a small body comes in one callback that ends it.
        let is_end = matches!(request.body, Body::Whole(_)) && sent == last && trailers.is_empty();
        if stream.send_data(Bytes::from(chunk.bytes), is_end).is_err() || is_end {
            return;
        }
        // The connection is served by another task: without its turn, frames would leave together.
        tokio::task::yield_now().await;
    }
    if matches!(request.leave, Some(Leave::AfterChunks(_))) {
        return;
    }
    let _ = if trailers.is_empty() {
        stream.send_data(Bytes::new(), true)
    } else {
        stream.send_trailers(trailers)
    };
}

async fn receive(
    answer: ResponseFuture,
    request: &Request,
    response: &mut Response,
    watch: &mut dyn FnMut(&[u8]),
) -> Result<(), ClientError> {
    let (parts, mut body) =
        in_time(request, answer, || "nothing".to_owned()).await?.map_err(broken)?.into_parts();
    response.status = parts.status.as_u16();
    response.headers = fields(&parts.headers);
    if request.leave == Some(Leave::AfterReceiving(0)) {
        return Ok(());
    }
    while let Some(data) = in_time(request, body.data(), || response.describe()).await? {
        let Ok(data) = data else { return Ok(()) };
        let _ = body.flow_control().release_capacity(data.len());
        if !data.is_empty() {
            watch(&data);
            response.arrived(data.to_vec());
        }
        if matches!(request.leave, Some(Leave::AfterReceiving(count)) if response.len() >= count) {
            return Ok(());
        }
    }
    let Ok(trailers) = in_time(request, body.trailers(), || response.describe()).await? else {
        return Ok(());
    };
    response.trailers = trailers.as_ref().map(fields).unwrap_or_default();
    response.complete = true;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn broken(error: h2::Error) -> ClientError {
    match error.reason() {
        Some(Reason::PROTOCOL_ERROR) if error.is_library() => {
            ClientError::Malformed { reason: error.to_string(), arrived: "not known".to_owned() }
        }
        _ => ClientError::NoAnswer { arrived: error.to_string() },
    }
}
