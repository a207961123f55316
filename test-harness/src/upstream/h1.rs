//! HTTP/1.1, read and written by hand.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::BEFORE_RESET;
use super::answer::{Answer, Then};
use super::record::{Progress, Recorded, Sent, Shared};
use crate::client::Version;
use crate::wire::{
    BodyReader, Chunk, Fields, Framing, Head, Inbox, Piece, has_token, write_chunk, write_fields,
    write_last_chunk,
};

type Connection = Inbox<TcpStream>;

/// The other side left, or this one closed the connection.
struct Over;

/// Serves a connection until either side ends it.
pub(super) async fn serve(mut inbox: Connection, connection: u64, shared: &Shared) {
    while let Some(head) = next_head(&mut inbox, connection, shared).await {
        if exchange(&mut inbox, head, connection, shared).await.is_err() {
            break;
        }
    }
    shared.set_stray(connection, b"");
}

/// The next head; at the end of the connection, whatever was left of one is recorded.
async fn next_head(inbox: &mut Connection, connection: u64, shared: &Shared) -> Option<Head> {
    loop {
        if let Some(head) = inbox.take_head() {
            shared.set_stray(connection, b"");
            return Some(head);
        }
        shared.set_stray(connection, &inbox.waiting);
        if !matches!(inbox.fill().await, Ok(count) if count > 0) {
            if !inbox.waiting.is_empty() {
                shared.record(request(Head::parse(&inbox.waiting), connection));
            }
            return None;
        }
    }
}

/// A record of a head alone.
fn request(head: Head, connection_id: u64) -> Recorded {
    let mut parts = head.start.splitn(2, |byte| *byte == b' ');
    let method = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let rest = parts.next().unwrap_or_default();
    // The target may have spaces in it, however wrongly; the version has none.
    let target_end = rest.iter().rposition(|byte| *byte == b' ').unwrap_or(rest.len());
    Recorded {
        method,
        raw_path: rest[..target_end].to_vec(),
        version: Version::H1,
        headers: head.fields,
        body: Vec::new(),
        trailers: Fields::new(),
        complete: false,
        connection_id,
        sent: Sent::default(),
        id: 0,
    }
}

async fn exchange(inbox: &mut Connection, head: Head, connection: u64, shared: &Shared) -> Result<(), Over> {
    let speaks_http = head.start.ends_with(b" HTTP/1.1");
    let mut record = request(head, connection);
    let framing = Framing::of(&record.headers, Framing::Length(0));
    let Some(framing) = framing.ok().filter(|_| speaks_http) else {
        let id = shared.record(record);
        // As a server would, so that whoever sent it notices.
        let _ = inbox
            .io
            .write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await;
        shared.ended(id, Progress::Done);
        return Err(Over);
    };
    let answer = shared.choose(&record.raw_path);
    let is_head = record.method == "HEAD";
    let closes = has_token(&record.headers, "connection", "close");
    if answer.early {
        let id = shared.record(record.clone());
        send(inbox, &answer, is_head, id, shared).await?;
        receive(inbox, framing, &mut record).await;
        shared.received(id, record);
    } else {
        if has_token(&record.headers, "expect", "100-continue") {
            inbox.io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| Over)?;
        }
        receive(inbox, framing, &mut record).await;
        let was_complete = record.complete;
        let answer = if answer.echo { answer.clone().body(record.echo()) } else { answer };
        let answer = shared.compute(&record).unwrap_or(answer);
        let id = shared.record(record);
        if !was_complete {
            shared.ended(id, Progress::PeerLeft);
            return Err(Over);
        }
        send(inbox, &answer, is_head, id, shared).await?;
    }
    if closes { Err(Over) } else { Ok(()) }
}

async fn receive(inbox: &mut Connection, framing: Framing, record: &mut Recorded) {
    let mut body = BodyReader::new(framing);
    loop {
        match body.next(inbox).await {
            Ok(Piece::Data(data)) => record.body.extend_from_slice(&data),
            Ok(Piece::End(trailers)) => {
                record.trailers = trailers;
                record.complete = true;
                return;
            }
            // Broken framing is as good as a broken connection: nothing after it can be trusted.
            Ok(Piece::Cut) | Err(_) => return,
        }
    }
}

async fn send(
    inbox: &mut Connection,
    answer: &Answer,
    is_head: bool,
    id: u64,
    shared: &Shared,
) -> Result<(), Over> {
    let written = write(inbox, answer, is_head, id, shared).await;
    shared.ended(id, if written.is_ok() { Progress::Done } else { Progress::PeerLeft });
    written?;
    match answer.then {
        Then::Finish if answer.status != 101 => Ok(()),
        Then::Finish | Then::Close | Then::Hang | Then::Reset => Err(Over),
    }
}

/// Writes all that is scripted; `Over` if the other side left before the end of it.
async fn write(
    inbox: &mut Connection,
    answer: &Answer,
    is_head: bool,
    id: u64,
    shared: &Shared,
) -> Result<(), Over> {
    pause(inbox, answer.delay).await?;
    if !answer.silent {
        let coding = Coding::of(answer, is_head);
        put(inbox, &head(answer, coding)).await?;
        for chunk in answer.chunks.iter().filter(|_| !is_head) {
            put_chunk(inbox, chunk, coding).await?;
            shared.sent_chunk(id);
        }
        if coding == Coding::Chunked && answer.then == Then::Finish {
            let mut end = Vec::new();
            write_last_chunk(&answer.trailers, &mut end);
            put(inbox, &end).await?;
        }
    }
    match answer.then {
        Then::Finish | Then::Close => Ok(()),
        Then::Reset => {
            if !answer.silent {
                pause(inbox, BEFORE_RESET).await?;
            }
            inbox.io.set_zero_linger().map_err(|_| Over)
        }
        Then::Hang => loop {
            pause(inbox, Duration::MAX).await?;
        },
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain(Option<u64>),
    Chunked,
}

impl Coding {
    fn of(answer: &Answer, is_head: bool) -> Self {
        match answer.length() {
            _ if answer.is_bodiless() => Self::Plain(None),
            Some(length) => Self::Plain(Some(length)),
            None if is_head => Self::Plain(None),
            None => Self::Chunked,
        }
    }
}

fn head(answer: &Answer, coding: Coding) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {} Scripted\r\n", answer.status).into_bytes();
    write_fields(&answer.fields(), &mut out);
    match coding {
        Coding::Plain(Some(length)) => {
            out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        Coding::Plain(None) => {}
        Coding::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    out
}

async fn put_chunk(inbox: &mut Connection, chunk: &Chunk, coding: Coding) -> Result<(), Over> {
    pause(inbox, chunk.delay).await?;
    match coding {
        Coding::Plain(_) => put(inbox, &chunk.bytes).await,
        Coding::Chunked => {
            let mut framed = Vec::new();
            write_chunk(&chunk.bytes, &mut framed);
            put(inbox, &framed).await
        }
    }
}

async fn put(inbox: &mut Connection, bytes: &[u8]) -> Result<(), Over> {
    inbox.io.write_all(bytes).await.map_err(|_| Over)
}

/// Waits, and notices if the other side leaves meanwhile. What it sends meanwhile is kept.
async fn pause(inbox: &mut Connection, delay: Duration) -> Result<(), Over> {
    if delay.is_zero() {
        return Ok(());
    }
    let waited = tokio::time::sleep(delay);
    tokio::pin!(waited);
    loop {
        tokio::select! {
            () = &mut waited => return Ok(()),
            read = inbox.fill() => if !matches!(read, Ok(count) if count > 0) {
                return Err(Over);
            },
        }
    }
}
