//! HTTP/1.1, written and read by hand.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{Body, ClientError, Leave, Request, Response, in_time};
use crate::wire::{
    BodyReader, Framing, Inbox, Piece, has_token, write_chunk, write_fields, write_last_chunk,
};

pub(super) async fn send(
    mut stream: TcpStream,
    request: &Request,
    watch: &mut dyn FnMut(&[u8]),
) -> Result<Response, ClientError> {
    let (read, write) = stream.split();
    let mut inbox = Inbox::new(read);
    let mut response = Response::default();
    let go_on = Notify::new();
    if !has_token(&request.headers, "expect", "100-continue") {
        go_on.notify_one();
    }
    let sending = write_request(write, request, &go_on);
    tokio::pin!(sending);
    let mut is_sending = true;
    {
        let receiving = receive(&mut inbox, request, &mut response, &go_on, watch);
        tokio::pin!(receiving);
        loop {
            tokio::select! {
                // Refused in the middle, a request may still have its answer.
                sent = &mut sending, if is_sending => {
                    is_sending = false;
                    if sent.is_ok() && matches!(request.leave, Some(Leave::AfterSending | Leave::AfterChunks(_))) {
                        break;
                    }
                }
                received = &mut receiving => {
                    received?;
                    break;
                }
            }
        }
    }
    Ok(response)
}

async fn write_request(
    mut out: impl AsyncWrite + Unpin,
    request: &Request,
    go_on: &Notify,
) -> io::Result<()> {
    let is_chunked = matches!(request.body, Body::Chunked(_)) && !request.has("content-length");
    out.write_all(&head(request, is_chunked)).await?;
    go_on.notified().await;
    for (sent, chunk) in request.pieces().iter().enumerate() {
        chunk.wait().await;
        if request.leave == Some(Leave::AfterChunks(sent)) {
            return Ok(());
        }
        let mut framed = Vec::new();
        if is_chunked {
            write_chunk(&chunk.bytes, &mut framed);
        } else {
            framed.extend_from_slice(&chunk.bytes);
        }
        out.write_all(&framed).await?;
    }
    if is_chunked && !matches!(request.leave, Some(Leave::AfterChunks(_))) {
        let mut end = Vec::new();
        write_last_chunk(&request.trailers, &mut end);
        out.write_all(&end).await?;
    }
    Ok(())
}

fn head(request: &Request, is_chunked: bool) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(&request.path);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if !request.has("host") {
        out.extend_from_slice(format!("host: {}\r\n", Request::HOST).as_bytes());
    }
    write_fields(&request.headers, &mut out);
    if is_chunked && !request.has("transfer-encoding") {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if let Body::Whole(bytes) = &request.body
        && !request.has("content-length")
    {
        out.extend_from_slice(format!("content-length: {}\r\n", bytes.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

async fn receive<R: AsyncRead + Unpin>(
    inbox: &mut Inbox<R>,
    request: &Request,
    response: &mut Response,
    go_on: &Notify,
    watch: &mut dyn FnMut(&[u8]),
) -> Result<(), ClientError> {
    read_head(inbox, request, response, go_on).await?;
    if request.leave == Some(Leave::AfterReceiving(0)) {
        return Ok(());
    }
    let bodiless = request.method == "HEAD" || matches!(response.status, 204 | 304);
    let framing =
        if bodiless { Ok(Framing::Length(0)) } else { Framing::of(&response.headers, Framing::UntilClose) };
    let mut body = BodyReader::new(framing.map_err(|error| malformed(&error, response))?);
    loop {
        let piece = in_time(request, body.next(inbox), || response.describe()).await?;
        match piece.map_err(|error| malformed(&error, response))? {
            Piece::Data(data) => {
                watch(&data);
                response.arrived(data);
            }
            Piece::End(trailers) => {
                response.trailers = trailers;
                response.complete = true;
                return Ok(());
            }
            Piece::Cut => return Ok(()),
        }
        if matches!(request.leave, Some(Leave::AfterReceiving(count)) if response.len() >= count) {
            return Ok(());
        }
    }
}

/// Reads heads up to the one that is not interim.
async fn read_head<R: AsyncRead + Unpin>(
    inbox: &mut Inbox<R>,
    request: &Request,
    response: &mut Response,
    go_on: &Notify,
) -> Result<(), ClientError> {
    loop {
        let head = loop {
            if let Some(head) = inbox.take_head() {
                break head;
            }
            let before = String::from_utf8_lossy(&inbox.waiting).into_owned();
            let read = in_time(request, inbox.fill(), || before.clone()).await?;
            if !matches!(read, Ok(count) if count > 0) {
                return Err(ClientError::NoAnswer { arrived: format!("`{before}`") });
            }
        };
        let start = String::from_utf8_lossy(&head.start).into_owned();
        let status = start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        let Some(status) = status else {
            return Err(ClientError::Malformed { reason: "no status line".to_owned(), arrived: start });
        };
        if matches!(status, 100 | 102..=199) {
            response.interim.push(status);
            go_on.notify_one();
            continue;
        }
        response.status = status;
        response.headers = head.fields;
        return Ok(());
    }
}

fn malformed(error: &io::Error, response: &Response) -> ClientError {
    ClientError::Malformed { reason: error.to_string(), arrived: response.describe() }
}
