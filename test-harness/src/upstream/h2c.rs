//! HTTP/2 with prior knowledge.

use std::future::poll_fn;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderValue, Request, Response};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::BEFORE_RESET;
use super::answer::{Answer, Then};
use super::record::{Progress, Recorded, Sent, Shared};
use crate::client::Version;
use crate::wire::{Fields, Inbox, fields, header_map};

/// The other side reset the stream, or took the connection away.
struct PeerLeft;

/// Serves a connection until either side ends it.
pub(super) async fn serve(inbox: Inbox<TcpStream>, connection: u64, shared: Arc<Shared>) {
    let (read, write) = inbox.io.into_split();
    let io = tokio::io::join(Cursor::new(inbox.waiting).chain(read), write);
    let mut builder = h2::server::Builder::new();
    // Bodies beyond the limits of this side must not wait for it.
    builder.initial_window_size(1 << 24).initial_connection_window_size(1 << 26);
    let Ok(mut streams) = builder.handshake::<_, Bytes>(io).await else { return };
    while let Some(Ok((request, respond))) = streams.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { exchange(request, respond, connection, &shared).await });
    }
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: u64,
    shared: &Shared,
) {
    let (parts, body) = request.into_parts();
    let mut record = record(&parts, connection);
    let answer = shared.choose(&record.raw_path);
    let is_head = record.method == "HEAD";
    if answer.early {
        let id = shared.record(record.clone());
        let sent = send(&mut respond, &answer, is_head, id, shared).await;
        shared.ended(id, progress(sent.is_ok()));
        receive(body, &mut record).await;
        return shared.received(id, record);
    }
    receive(body, &mut record).await;
    let was_complete = record.complete;
    let answer = if answer.echo { answer.body(record.echo()) } else { answer };
    let answer = shared.compute(&record).unwrap_or(answer);
    let id = shared.record(record);
    let is_sent = was_complete && send(&mut respond, &answer, is_head, id, shared).await.is_ok();
    shared.ended(id, progress(is_sent));
}

fn progress(is_sent: bool) -> Progress {
    if is_sent { Progress::Done } else { Progress::PeerLeft }
}

fn record(parts: &http::request::Parts, connection_id: u64) -> Recorded {
    let mut headers = Fields::new();
    let pseudo = [
        (":authority", parts.uri.authority().map(ToString::to_string)),
        (":scheme", parts.uri.scheme_str().map(str::to_owned)),
    ];
    for (name, value) in pseudo {
        headers.extend(value.map(|value| (name.to_owned(), value.into_bytes())));
    }
    headers.extend(fields(&parts.headers));
    Recorded {
        method: parts.method.to_string(),
        raw_path: parts
            .uri
            .path_and_query()
            .map(|path| path.as_str().as_bytes().to_vec())
            .unwrap_or_default(),
        version: Version::H2,
        headers,
        body: Vec::new(),
        trailers: Fields::new(),
        complete: false,
        connection_id,
        sent: Sent::default(),
        id: 0,
    }
}

async fn receive(mut body: RecvStream, record: &mut Recorded) {
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return };
        let _ = body.flow_control().release_capacity(data.len());
        record.body.extend_from_slice(&data);
    }
    let Ok(trailers) = body.trailers().await else { return };
    record.trailers = trailers.as_ref().map(fields).unwrap_or_default();
    record.complete = true;
}

async fn send(
    respond: &mut SendResponse<Bytes>,
    answer: &Answer,
    is_head: bool,
    id: u64,
    shared: &Shared,
) -> Result<(), PeerLeft> {
    pause_before_head(respond, answer.delay).await?;
    if answer.silent {
        return match answer.then {
            Then::Hang => pause_before_head(respond, Duration::MAX).await,
            Then::Finish | Then::Close | Then::Reset => {
                respond.send_reset(Reason::INTERNAL_ERROR);
                Ok(())
            }
        };
    }
    let sends_body = !is_head && !answer.is_bodiless();
    let ends_with_head = answer.then == Then::Finish
        && answer.trailers.is_empty()
        && (!sends_body || answer.chunks.is_empty());
    let mut stream = respond.send_response(head(answer), ends_with_head).map_err(|_| PeerLeft)?;
    if ends_with_head {
        return Ok(());
    }
    for chunk in answer.chunks.iter().filter(|_| sends_body) {
        pause(&mut stream, chunk.delay).await?;
        stream.send_data(Bytes::from(chunk.bytes.clone()), false).map_err(|_| PeerLeft)?;
        shared.sent_chunk(id);
        // The connection is served by another task: without its turn, frames would leave together.
        tokio::task::yield_now().await;
    }
    match answer.then {
        Then::Finish if answer.trailers.is_empty() => {
            stream.send_data(Bytes::new(), true).map_err(|_| PeerLeft)
        }
        Then::Finish => {
            let trailers = header_map(&answer.trailers).expect("scripted trailers that HTTP/2 can carry");
            stream.send_trailers(trailers).map_err(|_| PeerLeft)
        }
        Then::Close | Then::Reset => {
            pause(&mut stream, BEFORE_RESET).await?;
            stream.send_reset(Reason::INTERNAL_ERROR);
            Ok(())
        }
        Then::Hang => pause(&mut stream, Duration::MAX).await,
    }
}

fn head(answer: &Answer) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() =
        http::StatusCode::from_u16(answer.status).expect("a scripted status that HTTP has");
    *response.headers_mut() = header_map(&answer.fields()).expect("scripted fields that HTTP/2 can carry");
    if let Some(length) = answer.length().filter(|_| !answer.is_bodiless()) {
        response.headers_mut().append(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

async fn pause_before_head(respond: &mut SendResponse<Bytes>, delay: Duration) -> Result<(), PeerLeft> {
    if delay.is_zero() {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => Ok(()),
        _ = poll_fn(|context| respond.poll_reset(context)) => Err(PeerLeft),
    }
}

async fn pause(stream: &mut SendStream<Bytes>, delay: Duration) -> Result<(), PeerLeft> {
    if delay.is_zero() {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => Ok(()),
        _ = poll_fn(|context| stream.poll_reset(context)) => Err(PeerLeft),
    }
}
