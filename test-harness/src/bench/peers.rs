//! Client and upstream of one gateway, both in one thread that never sleeps.
//!
//! Nothing happens in Envoy that was not just caused here, and Envoy never has to wake anyone: what a
//! wake-up costs the waker differs from one moment to the next by more than a filter does.

use std::io::{self, Error, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::http::Connection;
use super::traffic::{LAST_CHUNK, Traffic};

/// A gateway that has said nothing for so long will say nothing more.
const PATIENCE: Duration = Duration::from_secs(10);
/// An event that has not come through by then is being held back by a filter.
const EVENT_PATIENCE: Duration = Duration::from_millis(20);

/// Keep-alive connections to a gateway, and those it keeps to its upstream.
pub(super) struct Peers<'a> {
    clients: Vec<Connection>,
    upstreams: Vec<Connection>,
    listener: &'a TcpListener,
    /// Which upstream connection had the last request.
    last: usize,
}

impl<'a> Peers<'a> {
    pub(super) fn connect(
        gateway: SocketAddr,
        connections: usize,
        listener: &'a TcpListener,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let clients = (0..connections).map(|_| Connection::over(TcpStream::connect(gateway)?));
        Ok(Self { clients: clients.collect::<io::Result<_>>()?, upstreams: Vec::new(), listener, last: 0 })
    }

    /// Sends so many requests, as many at a time as there are connections.
    pub(super) fn load(&mut self, request: &[u8], answer: &[u8], count: usize) -> io::Result<()> {
        let lanes = self.clients.len().min(count);
        for client in &mut self.clients[..lanes] {
            client.send(request)?;
        }
        let (mut sent, mut done) = (lanes, 0);
        let mut pause = Pause::new(PATIENCE);
        while done < count {
            while self.request()? {
                self.upstreams[self.last].send(answer)?;
                pause = Pause::new(PATIENCE);
            }
            for client in &mut self.clients[..lanes] {
                let Some(received) = client.message()? else { continue };
                succeeded(received)?;
                done += 1;
                if sent < count {
                    client.send(request)?;
                    sent += 1;
                }
            }
            self.wait(&mut pause)?;
        }
        Ok(())
    }

    /// One exchange; gives the time from the first byte sent to the last received.
    pub(super) fn exchange(&mut self, request: &[u8], answer: &[u8]) -> io::Result<Duration> {
        let start = Instant::now();
        self.load(request, answer, 1)?;
        Ok(start.elapsed())
    }

    /// One streamed exchange of so many events; gives how many of them a filter held back.
    ///
    /// Each event is written only when the client has the one before, so that it reaches Envoy alone.
    pub(super) fn stream(&mut self, traffic: &Traffic, events: usize) -> io::Result<usize> {
        self.clients[0].send(&traffic.streamed)?;
        let mut pause = Pause::new(PATIENCE);
        while !self.request()? {
            self.wait(&mut pause)?;
        }
        let (client, upstream) = (&mut self.clients[0], &mut self.upstreams[self.last]);
        upstream.send(&traffic.stream_head)?;
        let mut progress = Progress::default();
        // A translated stream begins with events that the vendor's has not.
        upstream.send(&traffic.event)?;
        let mut pause = Pause::new(EVENT_PATIENCE);
        while !pause.is_over() {
            if let Some(piece) = client.piece()? {
                progress.see(piece)?;
                pause = Pause::new(EVENT_PATIENCE);
            }
        }
        let more = progress.events.saturating_sub(1);
        let mut held = usize::from(progress.events == 0);
        for sent in 2..=events {
            upstream.send(&traffic.event)?;
            let mut pause = Pause::new(EVENT_PATIENCE);
            while progress.events + held < sent + more {
                match client.piece()? {
                    Some(piece) => progress.see(piece)?,
                    None if pause.is_over() => held += 1,
                    None => {}
                }
            }
        }
        upstream.send(LAST_CHUNK)?;
        let mut pause = Pause::new(PATIENCE);
        while !progress.is_complete() {
            match client.piece()? {
                Some(piece) => progress.see(piece)?,
                None if pause.is_over() => return Err(ErrorKind::TimedOut.into()),
                None => {}
            }
        }
        Ok(held)
    }

    /// The last request, as the upstream got it.
    pub(super) fn last_request(&self) -> &[u8] {
        self.upstreams.get(self.last).map_or(&[], Connection::last)
    }

    /// Whether an upstream connection has a whole request; it is then the last one.
    fn request(&mut self) -> io::Result<bool> {
        let mut at = 0;
        while at < self.upstreams.len() {
            match self.upstreams[at].message() {
                Ok(Some(_)) => {
                    self.last = at;
                    return Ok(true);
                }
                Ok(None) => at += 1,
                // Envoy may close a connection that it has no use for.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.upstreams.swap_remove(at);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Lets others run, and looks whether Envoy wants another connection.
    fn wait(&mut self, pause: &mut Pause) -> io::Result<()> {
        match self.listener.accept() {
            Ok((stream, _)) => self.upstreams.push(Connection::over(stream)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if pause.is_over() {
            return Err(Error::new(
                ErrorKind::TimedOut,
                "neither client nor upstream hears from the gateway",
            ));
        }
        Ok(())
    }
}

/// A wait for something to come, in which others may use the core.
struct Pause {
    start: Instant,
    limit: Duration,
}

impl Pause {
    fn new(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    fn is_over(&mut self) -> bool {
        std::thread::yield_now();
        self.start.elapsed() > self.limit
    }
}

/// An answer that is no success is an error: it would be measured as something it is not.
fn succeeded(answer: &[u8]) -> io::Result<()> {
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    let shown = String::from_utf8_lossy(&answer[..answer.len().min(400)]).into_owned();
    Err(Error::other(format!("the gateway answered {shown}")))
}

/// How far a streamed answer has come, seen from its pieces.
#[derive(Default)]
struct Progress {
    has_begun: bool,
    events: usize,
    /// The last bytes, at most as many as end a body.
    tail: Vec<u8>,
}

impl Progress {
    const END: &'static [u8] = b"\r\n0\r\n\r\n";

    fn see(&mut self, piece: &[u8]) -> io::Result<()> {
        if !self.has_begun {
            self.has_begun = true;
            succeeded(piece)?;
        }
        let line_end_was_last = self.tail.last() == Some(&b'\n');
        self.events += usize::from(line_end_was_last && piece.first() == Some(&b'\n'));
        self.events += piece.windows(2).filter(|pair| *pair == b"\n\n").count();
        self.tail.extend_from_slice(piece);
        let surplus = self.tail.len().saturating_sub(Self::END.len());
        self.tail.drain(..surplus);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.tail == Self::END
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::traffic::Talk;
    use super::*;

    /// A gateway that connects straight through: each client's connection to one of its own.
    fn tunnel(upstream: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(upstream) else { return };
                let ways = [(client.try_clone().unwrap(), upstream.try_clone().unwrap()), (upstream, client)];
                for (mut from, mut to) in ways {
                    std::thread::spawn(move || io::copy(&mut from, &mut to));
                }
            }
        });
        address
    }

    #[test]
    fn every_request_is_answered_on_any_number_of_connections() {
        let traffic = Traffic::of(Talk::Chats, Talk::Chats);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gateway = tunnel(listener.local_addr().unwrap());
        for (connections, count) in [(1, 3), (8, 100), (8, 3)] {
            let mut peers = Peers::connect(gateway, connections, &listener).unwrap();
            peers.load(&traffic.small, &traffic.completion, count).unwrap();
            assert!(peers.last_request() == traffic.small);
            peers.load(&traffic.large, &traffic.completion, count).unwrap();
            assert!(peers.last_request() == traffic.large);
        }
    }

    #[test]
    fn stream_comes_through_event_by_event() {
        let traffic = Traffic::of(Talk::Chats, Talk::Chats);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gateway = tunnel(listener.local_addr().unwrap());
        let mut peers = Peers::connect(gateway, 1, &listener).unwrap();
        peers.stream(&traffic, 20).unwrap();
        peers.exchange(&traffic.small, &traffic.completion).unwrap();
        peers.stream(&traffic, 20).unwrap();
        assert!(peers.last_request() == traffic.streamed);
    }

    #[test]
    fn answer_that_is_no_success_is_an_error_that_shows_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gateway = tunnel(listener.local_addr().unwrap());
        let mut peers = Peers::connect(gateway, 1, &listener).unwrap();
        let answer = b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\ngone";
        let error =
            peers.exchange(&Traffic::of(Talk::Chats, Talk::Chats).small, answer).unwrap_err().to_string();
        assert!(error.contains("503 No") && error.contains("gone"), "{error}");
    }

    #[test]
    fn progress_is_the_same_however_the_bytes_are_cut() {
        let traffic = Traffic::of(Talk::Chats, Talk::Chats);
        let bytes = [&traffic.stream_head, &traffic.event, &traffic.event, LAST_CHUNK].concat();
        // Envoy writes a status line at once.
        for size in "HTTP/1.1 200 ".len()..=bytes.len() {
            let mut progress = Progress::default();
            for piece in bytes.chunks(size) {
                assert!(!progress.is_complete());
                progress.see(piece).unwrap();
            }
            assert!(progress.is_complete() && progress.events == 2, "pieces of {size}: {}", progress.events);
        }
    }
}
