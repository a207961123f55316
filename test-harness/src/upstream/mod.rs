//! An upstream that answers as it is told and keeps exactly what it was sent.
//!
//! HTTP/1.1 and HTTP/2 with prior knowledge on one port. HTTP/1.1 is read by hand: the request line
//! and the field values are kept as they came, and bytes left over after a request are read as the
//! next one on that connection, as any real server would.

mod answer;
mod h1;
mod h2c;
mod record;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub use crate::wire::{Chunk, Fields};
pub use answer::{Answer, ContentLength, Script, Then};
pub use record::{Progress, Recorded, Sent};

use crate::wire::{H2_PREFACE, Inbox};
use record::Shared;

/// A reset overtakes the bytes sent before it, so what shall arrive gets this long to do so.
const BEFORE_RESET: Duration = Duration::from_millis(50);

/// A running upstream; stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts one on a free port of the loopback; it answers `{}` until told otherwise.
    ///
    /// # Panics
    /// Where no port can be bound or no thread started.
    pub fn start() -> Self {
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on the loopback");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("the address just bound");
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("upstream".to_owned())
            .spawn(move || serve(listener, &served, stopped))
            .expect("a thread for the upstream");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Says how the requests from now on are answered; forgets what was said before.
    pub fn script(&self, script: impl Into<Script>) {
        self.shared.set_script(script.into());
    }

    /// What has arrived since the last `take`, in the order in which the requests ended.
    pub fn take(&self) -> Vec<Recorded> {
        self.shared.take()
    }

    /// Waits until `count` requests have arrived; gives what there is then, or when time is up.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Vec<Recorded> {
        self.wait_until(timeout, |records| records.len() >= count)
    }

    /// Waits until the records are as wanted; gives them as they are then, or when time is up.
    pub fn wait_until(&self, timeout: Duration, wanted: impl Fn(&[Recorded]) -> bool) -> Vec<Recorded> {
        self.shared.wait_until(timeout, wanted)
    }

    /// Bytes that came on an HTTP/1.1 connection after its last request and are no whole request:
    /// the connection, and the bytes. On a connection at rest there must be none.
    pub fn stray(&self) -> Vec<(u64, Vec<u8>)> {
        self.shared.stray()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed by its thread.
            let _ = thread.join();
        }
    }
}

fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime for the upstream");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("a listener for the runtime");
        let accepting = async {
            let mut connection = 0;
            loop {
                // A connection that is gone before it is accepted is nobody's loss.
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(connect(stream, connection, Arc::clone(shared)));
                connection += 1;
            }
        };
        tokio::select! {
            _ = stopped => {}
            () = accepting => {}
        }
    });
}

/// Finds out which HTTP is spoken, and speaks it.
async fn connect(stream: TcpStream, connection: u64, shared: Arc<Shared>) {
    // Small pieces must leave as they are written.
    let _ = stream.set_nodelay(true);
    let mut inbox = Inbox::new(stream);
    loop {
        let known = inbox.waiting.len().min(H2_PREFACE.len());
        if inbox.waiting[..known] != H2_PREFACE[..known] {
            return h1::serve(inbox, connection, &shared).await;
        }
        if known == H2_PREFACE.len() {
            return h2c::serve(inbox, connection, shared).await;
        }
        if !matches!(inbox.fill().await, Ok(count) if count > 0) {
            return;
        }
    }
}
