//! Up until someone ends it.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::{DemoError, Gateway};

/// Between two looks at Envoy.
const LOOK: Duration = Duration::from_millis(250);
/// Ctrl-C reaches Envoy as well, and it may be gone before the signal is seen here.
const GRACE: Duration = Duration::from_millis(500);

/// The signals that end the demo, caught from now on instead of ending the process at once.
pub(super) struct Signals {
    runtime: Runtime,
    caught: [Signal; 3],
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let caught = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ];
        drop(guard);
        Ok(Self { runtime, caught })
    }

    /// Waits for one of them.
    pub(super) fn wait(mut self, gateway: &mut Gateway) -> Result<(), DemoError> {
        let caught = &mut self.caught;
        self.runtime.block_on(async {
            while gateway.is_running() {
                if timeout(LOOK, any(caught)).await.is_ok() {
                    return Ok(());
                }
                // Nobody will ask what has arrived, and it must not pile up.
                gateway.vendor().map(crate::vendor::Vendor::take);
            }
            tokio::select! {
                () = any(caught) => Ok(()),
                () = sleep(GRACE) => Err(DemoError::EnvoyEnded { log: gateway.log_tail() }),
            }
        })
    }
}

/// The next of any of the signals.
async fn any([interrupt, terminate, hangup]: &mut [Signal; 3]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
